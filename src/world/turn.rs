//! The turn among those who stop the world: a lock on which one sleeps. Whoever waits for it is outside, so
//! who has it need not wait for that one.

use super::World;
use super::member::Place;
use crate::note::{Deadline, Waited};
use crate::preempt::host::{Backend, Barrier};
use crate::sync::{AtomicU32, Ordering::*, model_const_fn};
use crate::sys;

const FREE: u32 = 0;
const TAKEN: u32 = 1;
/// Taken, and somebody may sleep.
const WAITED_FOR: u32 = 2;

#[derive(Debug)]
pub(super) struct Turn(AtomicU32);

/// The turn of who stops threads of the world, and is not inside (I4): given when this is dropped. A member comes in
/// after that.
pub(super) struct HasTurn<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    pub(super) world: &'static World<R, B, K>,
    own: Option<Place<R, B, K>>,
}

impl<R: Sync, B: Barrier, K: Backend> HasTurn<R, B, K> {
    /// Waits for it, a member outside; `None` if the deadline has passed, a member inside.
    pub(super) fn take(
        world: &'static World<R, B, K>,
        own: Option<Place<R, B, K>>,
        deadline: Option<&Deadline>,
    ) -> Option<Self> {
        let taken = match own {
            Some(own) => own.take_turn(deadline),
            None => world.turn.take(deadline),
        };
        taken.then(|| {
            // ORDERING: Relaxed, here and below: of who has the turn (E4), for itself.
            world.stopper.store(world.own_address(), Relaxed);
            Self { world, own }
        })
    }

    /// Waits for it without a deadline.
    pub(super) fn have(world: &'static World<R, B, K>, own: Option<Place<R, B, K>>) -> Self {
        loop {
            if let Some(turn) = Self::take(world, own, None) {
                return turn;
            }
        }
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for HasTurn<R, B, K> {
    fn drop(&mut self) {
        // ORDERING: Relaxed: as above.
        self.world.stopper.store(0, Relaxed);
        match self.own {
            Some(own) => own.give_turn(),
            None => self.world.turn.give(),
        }
    }
}

impl Turn {
    model_const_fn! {
        pub(super) const fn new() -> Self {
            Self(AtomicU32::new(FREE))
        }
    }

    /// False if the deadline has passed.
    pub(super) fn take(&self, deadline: Option<&Deadline>) -> bool {
        // ORDERING: Acquire: E4 from `give`. Weakened: world two_stoppers. Failure Relaxed: it waits.
        if self.0.compare_exchange(FREE, TAKEN, Acquire, Relaxed).is_ok() {
            return true;
        }
        // ORDERING: Acquire: as above.
        while self.0.swap(WAITED_FOR, Acquire) != FREE {
            if sys::wait(&self.0, WAITED_FOR, deadline) == Waited::TimedOut {
                // It may have been woken, too, and nobody else.
                // ORDERING: Acquire: as above.
                return self.0.swap(WAITED_FOR, Acquire) == FREE;
            }
        }
        true
    }

    pub(super) fn give(&self) {
        // ORDERING: Release: E4 to `take`. Weakened: world two_stoppers.
        if self.0.swap(FREE, Release) == WAITED_FOR {
            sys::wake_one(&self.0);
        }
    }

    /// In the child of a fork.
    pub(super) fn reset(&self) {
        // ORDERING: Relaxed: there is one thread.
        self.0.store(FREE, Relaxed);
    }
}

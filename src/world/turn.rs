//! The turn among those who stop the world: a lock on which one sleeps. Whoever waits for it is outside, so
//! who has it need not wait for that one.

use crate::note::{Deadline, Waited};
use crate::sync::{AtomicU32, Ordering::*, model_const_fn};
use crate::sys;

const FREE: u32 = 0;
const TAKEN: u32 = 1;
/// Taken, and somebody may sleep.
const WAITED_FOR: u32 = 2;

#[derive(Debug)]
pub(super) struct Turn(AtomicU32);

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

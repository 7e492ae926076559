//! The world's end: nobody enters any more, and who is there leaves.

use core::fmt;
use core::time::Duration;

use super::{CLOSED, ShutdownError, Slot, Stopped, USED, World};
use crate::note::Deadline;
use crate::preempt::host::{Backend, Barrier};
use crate::sync::Ordering::*;
use crate::sys;

/// Nothing tells that a thread has ended without leaving: so often it is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The threads that have not left a world that shuts down.
pub struct Remaining<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    world: &'static World<R, B, K>,
}

impl<R: Sync, B: Barrier, K: Backend> World<R, B, K> {
    /// Nobody enters any more, from now on and for ever: neither foreign threads nor births. Waits until all have
    /// left, for ever if one does not. What they did is seen then. Those that ended without leaving are not waited
    /// for. Not async-signal-safe.
    ///
    /// Threads are not told: the runtime has a word of its own for that, and wakes those that sleep.
    ///
    /// # Errors
    ///
    /// The calling thread is a member, or has the world stopped.
    pub fn shutdown(&'static self) -> Result<(), ShutdownError<R, B, K>> {
        self.shuts_down(None)
    }

    /// The same, until a deadline.
    ///
    /// # Errors
    ///
    /// See [`ShutdownError`]: nobody enters any more, whatever it comes to.
    pub fn shutdown_by(&'static self, deadline: &Deadline) -> Result<(), ShutdownError<R, B, K>> {
        self.shuts_down(Some(deadline))
    }

    fn shuts_down(
        &'static self,
        deadline: Option<&Deadline>,
    ) -> Result<(), ShutdownError<R, B, K>> {
        self.is_strangers().map_err(ShutdownError::Refused)?;
        // ORDERING: Acquire: E2 from `use_slot`, E3 from `one_less`: those that left before. Weakened: world
        // all_leave.
        self.word.fetch_or(CLOSED, Acquire);
        let late = || ShutdownError::Late(Remaining { world: self });
        if !self.last.take(deadline) {
            return Err(late());
        }
        let all_left = self.await_all_left(deadline);
        self.last.give();
        if all_left { Ok(()) } else { Err(late()) }
    }

    fn await_all_left(&self, deadline: Option<&Deadline>) -> bool {
        loop {
            // ORDERING: Acquire: E3 from `one_less`: who is counted has left. Weakened: world all_leave.
            let seen = self.left.load(Acquire);
            if self.used_now().iter().all(Slot::is_left) {
                return true;
            }
            if deadline.is_some_and(Deadline::has_passed) {
                return false;
            }
            let left = deadline.and_then(Deadline::left).map_or(LOOK, |left| left.min(LOOK));
            sys::wait(&self.left, seen, Some(&Deadline::after(left)));
        }
    }

    /// A slot has become free.
    pub(super) fn one_less(&self) {
        // ORDERING: Release: E3 to `shuts_down`: the slot is free, or this sees that somebody waits. Weakened: world
        // all_leave.
        if self.word.fetch_or(0, Release) & CLOSED != 0 {
            // ORDERING: Release: E3 to `await_all_left`, the same. Weakened: world all_leave.
            self.left.fetch_add(1, Release);
            sys::wake_one(&self.left);
        }
    }

    /// The slots that are used by now.
    pub(super) fn used_now(&self) -> &[Slot<R, K>] {
        // ORDERING: Acquire: E2 from `use_slot`. Weakened: world each_is_met.
        self.used((self.word.load(Acquire) / USED) as usize)
    }
}

impl<R, K: Backend> Slot<R, K> {
    fn is_left(&self) -> bool {
        self.gate.is_free() || self.gate.has_ended()
    }
}

impl<R: Sync, B: Barrier, K: Backend> Remaining<R, B, K> {
    /// Those that have not left by now. They run.
    pub fn threads(&self) -> impl Iterator<Item = Stopped<R, B, K>> + use<R, B, K> {
        let world = self.world;
        let there = world.used_now().iter().filter(|slot| !slot.is_left());
        there.map(move |slot| Stopped { world, slot })
    }
}

impl<R: Sync, B: Barrier, K: Backend> fmt::Debug for Remaining<R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remaining")
            .field("threads", &self.threads().count())
            .finish_non_exhaustive()
    }
}

//! For conservative collectors: where the stacks of threads begin and end, and that nothing is in registers alone.

use super::Slot;
use crate::preempt::host::Backend;
use crate::sync::Ordering::*;
use crate::sys;

/// The upper end of the calling thread's stack: whatever it has on that stack is below. `None` where the system does
/// not say. The stack is that which the system gave it, not one of a coroutine, nor that for signals.
///
/// It may be slow (Linux reads a file for the main thread): ask once, and keep it in the thread's record; by
/// [`Birth::record`](super::Birth::record), before the thread enters, where it may be suspended at once.
///
/// ```
/// let here = 0_usize;
/// let base = portcullis::world::stack_base().expect("Linux, Windows and Apple's systems say so");
/// assert!(base.addr() > (&raw const here).addr());
/// ```
#[must_use]
pub fn stack_base() -> Option<*const usize> {
    Some(sys::stack_base()).filter(|base| !base.is_null())
}

/// Runs `body` with what the registers hold of the caller's on the stack, and gives it the stack pointer: all that
/// callers have is there or above. For who scans its own stack; `None` where this is not written for the processor.
///
/// ```
/// let here = 0_usize;
/// portcullis::world::with_stack(|top| {
///     if let Some(top) = top {
///         assert!(top.addr() < (&raw const here).addr());
///     }
/// });
/// ```
pub fn with_stack<T>(body: impl FnOnce(Option<*const usize>) -> T) -> T {
    sys::with_saved(|top| body(Some(top).filter(|top| !top.is_null())))
}

/// The slot has a stack pointer noted while this is alive; the one before it then.
pub(super) struct Noted<'a, R, K: Backend> {
    slot: &'a Slot<R, K>,
    before: usize,
}

impl<R, K: Backend> Slot<R, K> {
    /// By its thread, while it is inside, or has the turn.
    pub(super) fn note_stack(&self, top: usize) -> Noted<'_, R, K> {
        // ORDERING: Relaxed, both: the thread's own; published as it goes out (E3, I6).
        let before = self.stack.load(Relaxed);
        self.stack.store(top, Relaxed);
        Noted { slot: self, before }
    }

    /// By who has the world stopped: nobody's is 0.
    pub(super) fn stack(&self) -> Option<*const usize> {
        // ORDERING: Relaxed: of a thread that was seen out (E3).
        let top = self.stack.load(Relaxed);
        Some(core::ptr::with_exposed_provenance(top)).filter(|top: &*const usize| !top.is_null())
    }

    /// In the child of a fork.
    pub(super) fn forget_stack(&self) {
        // ORDERING: Relaxed: there is one thread.
        self.stack.store(0, Relaxed);
    }
}

impl<R, K: Backend> Drop for Noted<'_, R, K> {
    fn drop(&mut self) {
        // ORDERING: Relaxed: as above.
        self.slot.stack.store(self.before, Relaxed);
    }
}

//! The lock behind the facade's mutex: loom's own prints whenever it is taken.

use super::futex::{block, wake};
use super::hook;
use super::state::Run;
use core::sync::atomic::Ordering::{Acquire, Release};

/// A lock whose waiters sleep.
#[derive(Debug)]
pub(crate) struct RawLock(loom::sync::atomic::AtomicBool, usize);

impl RawLock {
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self(loom::sync::atomic::AtomicBool::new(false), super::hook::number())
    }

    /// Its number among the words of the execution.
    pub(crate) fn number(&self) -> usize {
        self.1
    }

    /// Of the one whose name in the lanes is `id`.
    #[track_caller]
    pub(crate) fn lock(&self, id: u32) {
        let mut waited = false;
        while !self.try_lock() {
            waited = true;
            hook::lock_awaited(id, true);
            block(&Run::expect(), core::ptr::from_ref(self).addr());
        }
        if waited {
            hook::lock_awaited(id, false);
        }
    }

    #[track_caller]
    pub(crate) fn try_lock(&self) -> bool {
        // Fails without storing.
        self.0.compare_exchange(false, true, Acquire, Acquire).is_ok()
    }

    #[track_caller]
    pub(crate) fn unlock(&self) {
        self.0.store(false, Release);
        if let Some(run) = Run::current() {
            wake(&run, core::ptr::from_ref(self).addr());
        }
    }
}

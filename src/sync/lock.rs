//! A mutex for code that does not run in signal handlers, which knows who holds it.

use core::ops::{Deref, DerefMut};

use super::{AtomicUsize, Ordering::Relaxed};
use crate::sys::thread_id;

/// In the holder's name: the process is the child of a fork by a handler that interrupted the holder.
const FORKED: usize = 1;

/// Poison is ignored: what it guards is valid between any two statements of the critical sections in this
/// crate.
#[derive(Debug)]
pub(crate) struct Mutex<T> {
    /// The holder, as the system's shim names threads: even; 0 for nobody.
    holder: AtomicUsize,
    inner: std::sync::Mutex<T>,
}

pub(crate) struct MutexGuard<'a, T> {
    holder: &'a AtomicUsize,
    inner: std::sync::MutexGuard<'a, T>,
}

// ORDERING: Relaxed everywhere here: a thread looks for its own name alone, which it wrote itself; the inner
// mutex orders what is guarded.
impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { holder: AtomicUsize::new(0), inner: std::sync::Mutex::new(value) }
    }

    fn held<'a>(&'a self, inner: std::sync::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.holder.store(thread_id() & !FORKED, Relaxed);
        MutexGuard { holder: &self.holder, inner }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.held(self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.inner.try_lock() {
            Ok(guard) => Some(self.held(guard)),
            Err(std::sync::TryLockError::Poisoned(poison)) => Some(self.held(poison.into_inner())),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    /// As `lock`, unless the calling thread holds it already: then it is in a handler that interrupted
    /// itself.
    pub(crate) fn lock_unless_own(&self) -> Option<MutexGuard<'_, T>> {
        // ORDERING: Relaxed: as above.
        let holder = self.holder.load(Relaxed);
        (holder & !FORKED != thread_id() & !FORKED).then(|| self.lock())
    }

    /// In the child of a fork, by a handler that interrupted the holder: who holds it hears of that.
    pub(crate) fn tell_forked(&self) {
        // ORDERING: Relaxed: as above.
        self.holder.fetch_or(FORKED, Relaxed);
    }
}

impl<T> MutexGuard<'_, T> {
    /// Whether a handler that interrupted the holder has forked, and this is the child; once.
    pub(crate) fn take_forked(&self) -> bool {
        // ORDERING: Relaxed: as above.
        let seen = self.holder.load(Relaxed);
        seen & FORKED != 0 && self.holder.swap(seen & !FORKED, Relaxed) & FORKED != 0
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        // Before the inner one goes.
        // ORDERING: Relaxed: as above.
        self.holder.store(0, Relaxed);
    }
}

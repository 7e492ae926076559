//! Locks of the standard library's shape, which know who holds them.
//!
//! A handler that waits for a lock which a frame below it on its own thread holds waits for ever: the kernel
//! reports that with both places. Locks are never poisoned: a panic fails the model.

use super::atomic::AtomicU32;
use super::atomic::Ordering::Relaxed;
use super::futex;
use core::fmt;
use core::ops::{Deref, DerefMut};
use std::sync::{LockResult, TryLockError, TryLockResult};

/// `std::sync::Mutex`. Not async-signal-safe, no more than that one.
#[derive(Debug)]
pub struct Mutex<T>(crate::sync::Mutex<T>);

/// `std::sync::MutexGuard`.
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    guard: crate::sync::MutexGuard<'a, T>,
}

impl<T> Mutex<T> {
    /// A lock that nobody holds.
    #[track_caller]
    pub fn new(value: T) -> Self {
        Self(crate::sync::Mutex::new(value))
    }

    /// Waits until nobody holds it, and takes it. A handler that would wait for its own thread fails the
    /// model.
    ///
    /// # Errors
    ///
    /// Never: it is never poisoned.
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        Ok(MutexGuard { mutex: self, guard: self.0.lock() })
    }

    /// Takes it if nobody holds it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody does.
    #[track_caller]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let guard = self.0.try_lock().ok_or(TryLockError::WouldBlock)?;
        Ok(MutexGuard { mutex: self, guard })
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// `std::sync::Condvar`.
#[derive(Debug)]
pub struct Condvar(AtomicU32);

impl Condvar {
    /// One for which nobody waits.
    #[track_caller]
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Gives the lock back, waits to be told, takes the lock. May return without having been told.
    ///
    /// # Errors
    ///
    /// Never: the lock is never poisoned.
    #[track_caller]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        // With the lock: who tells after that has changed the word.
        let seen = self.0.kernel_read();
        let mutex = guard.mutex;
        drop(guard);
        futex::wait(&self.0, seen, None);
        mutex.lock()
    }

    /// The same, for as long as this holds of what the lock guards.
    ///
    /// # Errors
    ///
    /// Never: the lock is never poisoned.
    #[track_caller]
    pub fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Tells one that waits.
    #[track_caller]
    pub fn notify_one(&self) {
        self.0.fetch_add(1, Relaxed);
        futex::wake_one(&self.0);
    }

    /// Tells all that wait.
    #[track_caller]
    pub fn notify_all(&self) {
        self.0.fetch_add(1, Relaxed);
        futex::wake_all(&self.0);
    }
}

impl Default for Condvar {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

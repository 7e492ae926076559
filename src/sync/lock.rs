//! A mutex for code that does not run in signal handlers, which knows who holds it.

use core::cell::Cell;
use core::ops::{Deref, DerefMut};

use super::{AtomicUsize, Ordering::Relaxed};
use crate::sys::thread_id;

/// In the holder's name: the process is the child of a fork by a handler that interrupted the holder.
const FORKED: usize = 1;

const YIELDS: u32 = 1_000;

std::thread_local! {
    /// Mutexes that the calling thread has, or is about to have, or has just given up.
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// Counted there for as long as this is alive.
struct Inside;

impl Inside {
    fn new() -> Self {
        // Where thread-locals are gone nothing is counted.
        _ = INSIDE.try_with(|inside| inside.set(inside.get() + 1));
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        _ = INSIDE.try_with(|inside| inside.set(inside.get().saturating_sub(1)));
    }
}

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
    /// After the inner one, as it goes last.
    _inside: Inside,
}

// ORDERING: Relaxed everywhere here: a thread looks for its own name alone, which it wrote itself; the inner
// mutex orders what is guarded.
impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { holder: AtomicUsize::new(0), inner: std::sync::Mutex::new(value) }
    }

    fn held<'a>(
        &'a self,
        inner: std::sync::MutexGuard<'a, T>,
        inside: Inside,
    ) -> MutexGuard<'a, T> {
        // FORKED stays: a handler may have forked just before this, or as the one before gave it up.
        // ORDERING: Relaxed: as above.
        self.holder.fetch_or(thread_id() & !FORKED, Relaxed);
        MutexGuard { holder: &self.holder, inner, _inside: inside }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let inside = Inside::new();
        let inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.held(inner, inside)
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let inside = Inside::new();
        match self.inner.try_lock() {
            Ok(guard) => Some(self.held(guard, inside)),
            Err(std::sync::TryLockError::Poisoned(poison)) => {
                Some(self.held(poison.into_inner(), inside))
            }
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    /// As `lock`, unless the calling thread holds it already: then it is in a handler that interrupted
    /// itself.
    pub(crate) fn lock_unless_own(&self) -> Option<MutexGuard<'_, T>> {
        let (me, mut nobody) = (thread_id() & !FORKED, 0);
        let may_be_own = INSIDE.try_with(Cell::get).is_ok_and(|inside| inside > 0);
        if !may_be_own {
            return Some(self.lock());
        }
        loop {
            if let Some(guard) = self.try_lock() {
                return Some(guard);
            }
            // ORDERING: Relaxed: as above.
            match self.holder.load(Relaxed) & !FORKED {
                holder if holder == me => return None,
                0 => nobody += 1,
                _ => nobody = 0,
            }
            // Held, and nobody says so: as for a few instructions before and after. For so long it is the
            // calling thread that stands there.
            if nobody == YIELDS {
                return None;
            }
            std::thread::yield_now();
        }
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
        self.holder.fetch_and(FORKED, Relaxed);
    }
}

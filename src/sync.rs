//! The facade: the only file that names `loom` or `core::sync::atomic`.
//!
//! Everything above is written against the types here. In an ordinary build they are the core
//! ones, unchanged. In a model (`--cfg loom`, with the crate's own tests or feature `loom`) they
//! wrap loom's, and each operation is also a place where the simulated kernel
//! ([`crate::model`]) may run a signal handler on the calling thread and where a row of the
//! execution's lanes is recorded.
//!
//! [`AtomicWord`] is the widest there is: 64 bits, or 32 on processors that exchange no more at once
//! (thumbv7m, powerpc, mips, riscv32, old arm). Nothing that would take a lock for the rest: a handler
//! may interrupt who holds it.
//!
//! `Ordering` is core's on both sides. `SeqCst` loads and stores are not used in this crate:
//! loom reads them as acquire and release.

#![allow(
    dead_code,
    unused_imports,
    reason = "the two sides offer one vocabulary; not every build uses every word of it"
)]

/// Declares a constructor that is `const` in an ordinary build; loom's constructors are not.
macro_rules! model_const_fn {
    ($(#[$meta:meta])* $vis:vis const fn $($rest:tt)*) => {
        #[cfg(not(all(loom, any(test, feature = "loom"))))]
        $(#[$meta])* $vis const fn $($rest)*
        #[cfg(all(loom, any(test, feature = "loom")))]
        $(#[$meta])* $vis fn $($rest)*
    };
    ($(#[$meta:meta])* $vis:vis const unsafe fn $($rest:tt)*) => {
        #[cfg(not(all(loom, any(test, feature = "loom"))))]
        $(#[$meta])* $vis const unsafe fn $($rest)*
        #[cfg(all(loom, any(test, feature = "loom")))]
        $(#[$meta])* $vis unsafe fn $($rest)*
    };
}
pub(crate) use model_const_fn;

/// An array of `n` values made by one expression, `const` in an ordinary build.
macro_rules! filled {
    ($value:expr; $n:expr) => {{
        #[cfg(not(all(loom, any(test, feature = "loom"))))]
        let array = [const { $value }; $n];
        #[cfg(all(loom, any(test, feature = "loom")))]
        let array: [_; $n] = core::array::from_fn(|_| $value);
        array
    }};
}
pub(crate) use filled;

cfg_if::cfg_if! {
    if #[cfg(any(target_has_atomic = "64", all(loom, any(test, feature = "loom"))))] {
        /// The widest word that handlers can exchange at once.
        pub(crate) type Word = u64;
    } else {
        /// The widest word that handlers can exchange at once.
        pub(crate) type Word = u32;
    }
}

mod late;
#[cfg(all(feature = "std", any(unix, windows), not(all(loom, any(test, feature = "loom")))))]
mod lock;
pub(crate) use late::{Lates, Slots, lates};
#[cfg(all(feature = "std", any(unix, windows), not(all(loom, any(test, feature = "loom")))))]
pub(crate) use lock::{Mutex, MutexGuard};

#[cfg(not(all(loom, any(test, feature = "loom"))))]
pub(crate) use core::sync::atomic::Ordering;
pub(crate) use imp::*;

/// How many forks lie between this process and the first: it changes only in a child, while that has
/// one thread.
///
/// The same on both sides, and no step of a model: no thread can be interleaved with a change, and a
/// handler that forks lands at the operations beside a look at this.
#[derive(Debug)]
pub(crate) struct ForkCount(core::sync::atomic::AtomicU32);

impl ForkCount {
    pub(crate) const fn new() -> Self {
        Self(core::sync::atomic::AtomicU32::new(0))
    }
    #[inline]
    pub(crate) fn get(&self) -> u32 {
        // Keeps the compiler from remembering it across what a handler may interrupt.
        core::sync::atomic::compiler_fence(Ordering::AcqRel);
        self.0.load(Ordering::Relaxed)
    }
    /// In the child, by its only thread.
    pub(crate) fn add(&self) {
        self.0.store(self.get().wrapping_add(1), Ordering::Relaxed);
    }
    /// What a copy of the memory has of it.
    #[cfg(all(test, loom))]
    pub(crate) fn set(&self, count: u32) {
        self.0.store(count, Ordering::Relaxed);
    }
}

#[cfg(not(all(loom, any(test, feature = "loom"))))]
mod imp {
    use super::Word;
    #[cfg(not(target_has_atomic = "64"))]
    pub(crate) use core::sync::atomic::AtomicU32 as AtomicWord;
    #[cfg(target_has_atomic = "64")]
    pub(crate) use core::sync::atomic::AtomicU64 as AtomicWord;
    pub(crate) use core::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, compiler_fence, fence,
    };

    /// True in a model of this crate: size constants shrink, nothing else changes.
    pub(crate) const MODEL: bool = false;

    /// `core::cell::UnsafeCell` behind loom's closure interface.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// One step of a loop that waits for another thread.
    pub(crate) fn relax() {
        core::hint::spin_loop();
    }

    /// After a compare-exchange that found `now`: time for others to get done, more for each failure
    /// in a row, and what `reload` finds then.
    #[inline]
    pub(crate) fn back_off(failures: u32, _now: Word, reload: impl FnOnce() -> Word) -> Word {
        (0..16_u32 << failures.min(4)).for_each(|_| core::hint::spin_loop());
        reload()
    }
}

#[cfg(all(loom, any(test, feature = "loom")))]
mod imp {
    use super::Word;
    use crate::model::hook::{self, About, Detail};
    use crate::model::lock::RawLock;

    pub(crate) use core::sync::atomic::compiler_fence;

    /// True in this crate's own models. Whoever models code of theirs over this crate (feature
    /// `loom`) has everything in its real size.
    pub(crate) const MODEL: bool = cfg!(test);

    pub(crate) use crate::model::atomic::AtomicU64 as AtomicWord;
    pub(crate) use crate::model::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };

    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(loom::cell::UnsafeCell<T>, u32);

    impl<T> UnsafeCell<T> {
        #[track_caller]
        pub(crate) fn new(value: T) -> Self {
            Self(loom::cell::UnsafeCell::new(value), hook::new_id())
        }
        /// A signal may land before the access and after it, never half-way: two halves of one
        /// access are two accesses to the protocol that allows it. The row comes first: the lanes are to
        /// show an access that fails.
        #[track_caller]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            hook::before("cell read");
            hook::after_on(About::plain(self.1), "cell read", Detail::Nothing);
            self.0.with(f)
        }
        #[track_caller]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            hook::before("cell write");
            hook::after_on(About::plain(self.1), "cell write", Detail::Nothing);
            self.0.with_mut(f)
        }
    }

    /// Here is no time. What `reload` could find is `now`, or newer: then the next compare-exchange
    /// fails and finds it.
    pub(crate) fn back_off(_failures: u32, now: Word, _reload: impl FnOnce() -> Word) -> Word {
        now
    }

    #[track_caller]
    pub(crate) fn relax() {
        hook::before("relax");
        loom::thread::yield_now();
    }

    /// A mutex; the simulated kernel learns who holds it, so that a handler which awaits what its
    /// own thread holds is reported as a self-deadlock.
    #[derive(Debug)]
    pub(crate) struct Mutex<T> {
        lock: RawLock,
        value: loom::cell::UnsafeCell<T>,
        /// As `FORKED` of `lock.rs`; by the one thread of a child.
        forked: core::cell::Cell<bool>,
        id: u32,
    }

    // SAFETY: the value is reached only through a guard, and one guard exists at a time.
    unsafe impl<T: Send> Sync for Mutex<T> {}

    pub(crate) struct MutexGuard<'a, T>(&'a Mutex<T>);

    impl<T> Mutex<T> {
        #[track_caller]
        pub(crate) fn new(value: T) -> Self {
            let forked = core::cell::Cell::new(false);
            let value = loom::cell::UnsafeCell::new(value);
            Self { lock: RawLock::new(), value, forked, id: hook::new_id() }
        }
        #[track_caller]
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            let address = core::ptr::from_ref(self).addr();
            hook::before_word("lock", self.lock.number());
            hook::lock_wanted(address);
            self.lock.lock(self.id);
            hook::lock_taken(address);
            hook::after_on(About::plain(self.id), "lock", Detail::Nothing);
            MutexGuard(self)
        }
        #[track_caller]
        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            let address = core::ptr::from_ref(self).addr();
            hook::before_word("try_lock", self.lock.number());
            if !self.lock.try_lock() {
                hook::after("try_lock: held", Detail::Nothing);
                return None;
            }
            hook::lock_taken(address);
            hook::after_on(About::plain(self.id), "try_lock", Detail::Nothing);
            Some(MutexGuard(self))
        }
    }

    /// What `lock.rs` promises of forks. Its own steps are tried on the real kernel.
    impl<T> Mutex<T> {
        /// As `lock`, unless the calling thread holds it already.
        #[track_caller]
        pub(crate) fn lock_unless_own(&self) -> Option<MutexGuard<'_, T>> {
            let own = hook::holds_lock(core::ptr::from_ref(self).addr());
            (!own).then(|| self.lock())
        }
        pub(crate) fn tell_forked(&self) {
            self.forked.set(true);
        }
    }

    impl<T> MutexGuard<'_, T> {
        pub(crate) fn take_forked(&self) -> bool {
            self.0.forked.replace(false)
        }
    }

    impl<T> core::ops::Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            // SAFETY: this guard is the only one, and it outlives the reference.
            self.0.value.with(|value| unsafe { &*value })
        }
    }

    impl<T> core::ops::DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: this guard is the only one, borrowed for as long as the reference lives.
            self.0.value.with_mut(|value| unsafe { &mut *value })
        }
    }

    impl<T> Drop for MutexGuard<'_, T> {
        fn drop(&mut self) {
            hook::before_word("unlock", self.0.lock.number());
            self.0.lock.unlock();
            hook::lock_given(core::ptr::from_ref(self.0).addr());
            hook::after_on(About::plain(self.0.id), "unlock", Detail::Nothing);
        }
    }
}

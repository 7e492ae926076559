//! Atomics of a model: loom's, each operation a row of the lanes and a place where a signal lands.
//!
//! All of core's types of a processor that has them, with core's names and orderings. `new` is not `const`,
//! as loom's is not; there is no `get_mut`, but [`with_mut`](AtomicU32::with_mut). Weak compare-exchanges do
//! not fail for no reason. `SeqCst` loads and stores count as acquire and release.
//!
//! A load that finds an older value than was last stored says so in the lanes, and where that store is: the
//! memory order allows it, for nothing orders the two.

use super::hook::{self, About, Detail};
use core::cell::Cell;
use core::panic::Location;
pub use core::sync::atomic::Ordering;

/// What the lanes know of an atomic: the last store, which a load may not have seen, its name, and what it held
/// at first. Apart from the atomic: programs build arrays of those on the small stacks of a model's threads.
#[derive(Debug)]
struct Last {
    store: Cell<Option<Store>>,
    id: u32,
    initial: u64,
    /// Its number among the words of the execution, the same in each.
    word: usize,
}

/// What was stored, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Store {
    pub(super) value: u64,
    pub(super) at: &'static Location<'static>,
}

// SAFETY: loom runs the threads of an execution in turns, on one system thread.
unsafe impl Sync for Last {}

impl Last {
    fn new(initial: u64) -> Box<Self> {
        let (id, word) = (hook::new_id(), hook::number());
        Box::new(Self { store: Cell::new(None), id, initial, word })
    }

    fn about(&self) -> About {
        About::Object { id: self.id, initial: self.initial }
    }

    #[track_caller]
    fn set(&self, value: u64) {
        self.store.set(Some(Store { value, at: Location::caller() }));
    }

    /// The last store, if it is not what was seen.
    fn unseen(&self, seen: u64) -> Option<Store> {
        self.store.get().filter(|last| last.value != seen)
    }
}

/// What the lanes show of a value.
macro_rules! shown {
    ($value:expr) => {
        $value as u64
    };
}

macro_rules! operations {
    ([$($generic:tt)*] $name:ty, $loom:path, $t:ty, |$value:ident| $shown:expr) => {
        impl $($generic)* $name {
            /// See the core type.
            #[track_caller]
            pub fn new(value: $t) -> Self {
                let shown = |$value: $t| $shown;
                Self(<$loom>::new(value), Last::new(shown(value)))
            }
            /// See the core type.
            pub fn into_inner(self) -> $t {
                self.0.into_inner()
            }
            /// See the core type.
            #[track_caller]
            pub fn load(&self, order: Ordering) -> $t {
                hook::before_word("load", self.1.word);
                let $value = self.0.load(order);
                let seen = $shown;
                let detail = Detail::Load { order, seen, unseen: self.1.unseen(seen) };
                hook::after_on(self.1.about(), "load", detail);
                $value
            }
            /// See the core type.
            #[track_caller]
            pub fn store(&self, $value: $t, order: Ordering) {
                hook::before_word("store", self.1.word);
                self.0.store($value, order);
                self.1.set($shown);
                hook::after_on(self.1.about(), "store", Detail::Store { value: $shown, order });
            }
            /// See the core type.
            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $t,
                new: $t,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$t, $t> {
                let shown = |$value: $t| $shown;
                hook::before_word("compare_exchange", self.1.word);
                let result = self.0.compare_exchange(current, new, success, failure);
                if result.is_ok() {
                    self.1.set(shown(new));
                }
                let detail = Detail::Cas {
                    expected: shown(current),
                    new: shown(new),
                    order: if result.is_ok() { success } else { failure },
                    result: result.map(shown).map_err(shown),
                };
                hook::after_on(self.1.about(), "compare_exchange", detail);
                result
            }
            /// See the core type. This one never fails for no reason.
            #[track_caller]
            pub fn compare_exchange_weak(
                &self,
                current: $t,
                new: $t,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$t, $t> {
                self.compare_exchange(current, new, success, failure)
            }
            /// See the core type.
            #[track_caller]
            pub fn swap(&self, value: $t, order: Ordering) -> $t {
                let shown = |$value: $t| $shown;
                hook::before_word("swap", self.1.word);
                let old = self.0.swap(value, order);
                self.1.set(shown(value));
                let value = shown(value);
                let detail = Detail::Swap { value, order, old: shown(old), new: value };
                hook::after_on(self.1.about(), "swap", detail);
                old
            }
            /// See the core type: a load, then compare-exchanges, each of them a step.
            ///
            /// # Errors
            ///
            /// What was there, as soon as `change` returns `None`.
            #[track_caller]
            pub fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                mut change: impl FnMut($t) -> Option<$t>,
            ) -> Result<$t, $t> {
                let mut seen = self.load(fetch);
                while let Some(new) = change(seen) {
                    match self.compare_exchange(seen, new, set, fetch) {
                        Ok(old) => return Ok(old),
                        Err(now) => seen = now,
                    }
                }
                Err(seen)
            }
        }
    };
}

macro_rules! atomic {
    ($name:ident, $t:ty, $($op:ident: $after:expr),*) => {
        /// The core type of the same name; each operation is a place where a signal lands.
        #[derive(Debug)]
        pub struct $name(loom::sync::atomic::$name, Box<Last>);

        operations!([] $name, loom::sync::atomic::$name, $t, |value| shown!(value));

        impl $name {
            $(
                /// See the core type.
                #[track_caller]
                pub fn $op(&self, value: $t, order: Ordering) -> $t {
                    hook::before_word(stringify!($op), self.1.word);
                    let old = self.0.$op(value, order);
                    let after: fn($t, $t) -> $t = $after;
                    let new = shown!(after(old, value));
                    self.1.set(new);
                    let (value, seen) = (shown!(value), shown!(old));
                    let detail = Detail::Swap { value, order, old: seen, new };
                    hook::after_on(self.1.about(), stringify!($op), detail);
                    old
                }
            )*
        }
    };
}

macro_rules! integers {
    ($($name:ident $t:ty),*) => {$(
        atomic!($name, $t,
            fetch_add: |old, value| old.wrapping_add(value),
            fetch_sub: |old, value| old.wrapping_sub(value),
            fetch_and: |old, value| old & value,
            fetch_nand: |old, value| !(old & value),
            fetch_or: |old, value| old | value,
            fetch_xor: |old, value| old ^ value,
            fetch_max: |old, value| old.max(value),
            fetch_min: |old, value| old.min(value)
        );

        impl $name {
            /// The value, of which nobody else knows: core's `get_mut`.
            #[track_caller]
            pub fn with_mut<R>(&mut self, f: impl FnOnce(&mut $t) -> R) -> R {
                let last = &self.1;
                self.0.with_mut(|value| {
                    let result = f(value);
                    last.set(shown!(*value));
                    result
                })
            }
        }

        impl Default for $name {
            #[track_caller]
            fn default() -> Self {
                Self::new(0)
            }
        }

        impl From<$t> for $name {
            #[track_caller]
            fn from(value: $t) -> Self {
                Self::new(value)
            }
        }
    )*};
}

integers!(
    AtomicI8 i8, AtomicI16 i16, AtomicI32 i32, AtomicI64 i64, AtomicIsize isize,
    AtomicU8 u8, AtomicU16 u16, AtomicU32 u32, AtomicU64 u64, AtomicUsize usize
);

atomic!(AtomicBool, bool,
    fetch_and: |old, value| old & value,
    fetch_nand: |old, value| !(old & value),
    fetch_or: |old, value| old | value,
    fetch_xor: |old, value| old ^ value
);

impl AtomicU32 {
    /// Its name in the lanes.
    pub(super) fn about(&self) -> About {
        self.1.about()
    }

    /// What the kernel reads: the newest value, publishing and acquiring nothing. Not a step of the program,
    /// so no signal lands here and no row is recorded.
    pub(crate) fn kernel_read(&self) -> u32 {
        use Ordering::Relaxed;
        // A read-modify-write that changes nothing, whichever way it goes.
        match self.0.compare_exchange(u32::MAX, u32::MAX, Relaxed, Relaxed) {
            Ok(seen) | Err(seen) => seen,
        }
    }
}

/// The core type of the same name; each operation is a place where a signal lands.
pub struct AtomicPtr<T>(loom::sync::atomic::AtomicPtr<T>, Box<Last>);

operations!([<T>] AtomicPtr<T>, loom::sync::atomic::AtomicPtr<T>, *mut T, |value| value.addr() as u64);

impl<T> core::fmt::Debug for AtomicPtr<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("AtomicPtr")
    }
}

/// See the core function.
#[track_caller]
pub fn fence(order: Ordering) {
    hook::before("fence");
    loom::sync::atomic::fence(order);
    hook::after("fence", Detail::Fence(order));
}

pub use core::sync::atomic::compiler_fence;

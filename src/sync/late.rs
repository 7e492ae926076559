//! Words that a model makes when they are first touched.
//!
//! loom pays for each object of an execution, and for each look at one. A table of 64 signals of
//! which a program uses two would cost a scan of 64 steps; so for those who model their own code
//! over this crate a word comes to be at its first use. In every other build, the crate's own models
//! included, it is there from the start.

use super::{AtomicWord, model_const_fn};

/// One word for each number below `N`, all 0 at first.
#[derive(Debug)]
#[cfg_attr(not(all(loom, feature = "loom", not(test))), repr(transparent))]
pub(crate) struct Slots<const N: usize> {
    slots: Lates<AtomicWord, N>,
    /// How many there are: one that is made against one that looks for it.
    #[cfg(all(loom, feature = "loom", not(test)))]
    made: AtomicWord,
}

impl<const N: usize> Slots<N> {
    model_const_fn! {
        pub(crate) const fn new() -> Self {
            Self {
                slots: lates!(AtomicWord::new(0); N),
                #[cfg(all(loom, feature = "loom", not(test)))]
                made: AtomicWord::new(0),
            }
        }
    }

    /// The word of this number.
    #[cfg_attr(all(loom, feature = "loom"), track_caller)]
    pub(crate) fn get(&self, number: usize) -> Option<&AtomicWord> {
        #[cfg(all(loom, feature = "loom", not(test)))]
        if number < N && self.slots.made(number).is_none() {
            // ORDERING: Relaxed: a step, for loom to order against the look in `from`.
            self.made.fetch_add(1, super::Ordering::Relaxed);
        }
        self.slots.get(number, || AtomicWord::new(0))
    }

    /// Those from `first` on, in order. One that was never touched is 0 and left out; one that is
    /// first touched meanwhile may be.
    #[cfg_attr(all(loom, feature = "loom"), track_caller)]
    pub(crate) fn from(&self, first: usize) -> impl Iterator<Item = (usize, &AtomicWord)> {
        #[cfg(all(loom, feature = "loom", not(test)))]
        // ORDERING: Relaxed: as in `get`; the words themselves pass things on.
        self.made.load(super::Ordering::Relaxed);
        (first..N).filter_map(|number| Some((number, self.slots.made(number)?)))
    }
}

#[cfg(not(all(loom, feature = "loom", not(test))))]
mod imp {
    /// Values that are there.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct Lates<T, const N: usize>([T; N]);

    impl<T, const N: usize> Lates<T, N> {
        pub(crate) const fn new(values: [T; N]) -> Self {
            Self(values)
        }
        pub(crate) fn get(&self, at: usize, _: impl FnOnce() -> T) -> Option<&T> {
            self.0.get(at)
        }
        pub(crate) fn made(&self, at: usize) -> Option<&T> {
            self.0.get(at)
        }
    }

    /// So many values made by one expression.
    macro_rules! lates {
        ($value:expr; $n:expr) => {
            $crate::sync::Lates::new($crate::sync::filled!($value; $n))
        };
    }
    pub(crate) use lates;
}

#[cfg(all(loom, feature = "loom", not(test)))]
mod imp {
    use std::sync::OnceLock;

    /// Values each made at its first use, away from the small stacks of a model's threads, which are
    /// coroutines of one real thread: nothing waits here.
    #[derive(Debug)]
    pub(crate) struct Lates<T, const N: usize>(Box<[OnceLock<T>]>);

    impl<T, const N: usize> Lates<T, N> {
        pub(crate) fn new() -> Self {
            Self((0..N).map(|_| OnceLock::new()).collect())
        }
        pub(crate) fn get(&self, at: usize, make: impl FnOnce() -> T) -> Option<&T> {
            Some(self.0.get(at)?.get_or_init(make))
        }
        pub(crate) fn made(&self, at: usize) -> Option<&T> {
            self.0.get(at)?.get()
        }
    }

    /// Room for so many values, each to be made by the same expression.
    macro_rules! lates {
        ($value:expr; $n:expr) => {
            $crate::sync::Lates::new()
        };
    }
    pub(crate) use lates;
}

pub(crate) use imp::{Lates, lates};

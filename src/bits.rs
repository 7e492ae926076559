//! A set of small numbers that are free, taken and given back without a lock.
//!
//! # Contexts
//!
//! [`FreeBits::take`] and [`FreeBits::give`] run anywhere, in handlers nested in one another too.
//!
//! # States
//!
//! A bit for each number, set while it is free. A number whose bit is clear belongs to whoever
//! cleared it.
//!
//! # Invariants
//!
//! - I1: a number has one owner at most.
//!
//! # Happens-before
//!
//! - E1: `give` (release) -> the `take` of the same number (acquire): what the last owner did is
//!   over before the next one begins.
//!
//! # Progress
//!
//! Lock-free: `take` is tried again only when another took the bit that it chose.
//!
//! # Prior art
//!
//! A bitmap instead of a free list: nothing is linked, so there is no ABA.

use crate::sync::{AtomicU64, MODEL, Ordering::*, filled, model_const_fn};

/// Numbers to a word; a model needs few, so that it can run out.
pub(crate) const LANE: usize = if MODEL { 2 } else { 64 };
const ALL_FREE: u64 = if LANE == 64 { u64::MAX } else { (1 << LANE) - 1 };

/// The numbers below `WORDS * LANE`.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct FreeBits<const WORDS: usize>([AtomicU64; WORDS]);

impl<const WORDS: usize> FreeBits<WORDS> {
    model_const_fn! {
        /// All numbers free.
        pub(crate) const fn all() -> Self {
            Self(filled!(AtomicU64::new(ALL_FREE); WORDS))
        }
    }
    model_const_fn! {
        /// No number free: each is given before it is taken.
        pub(crate) const fn none() -> Self {
            Self(filled!(AtomicU64::new(0); WORDS))
        }
    }

    /// Takes a free number. `None` when none was seen free; one that was given before the call, and
    /// by a thread that happens before it, is seen, unless another takes it.
    pub(crate) fn take(&self) -> Option<usize> {
        for (word, free) in self.0.iter().enumerate() {
            // ORDERING: Relaxed: a guess, which the read-modify-write below confirms.
            let mut seen = free.load(Relaxed);
            while seen != 0 {
                let bit = seen & seen.wrapping_neg();
                // ORDERING: Acquire: E1 from `give`. Weakened: sigqueue realtime_is_queued,
                // extra_list two_takers_one_spare, attach recycle_to_new_thread.
                seen = free.fetch_and(!bit, Acquire);
                if seen & bit != 0 {
                    return Some(word * LANE + bit.trailing_zeros() as usize);
                }
            }
        }
        None
    }

    /// Gives a number back; for its owner, who then no longer is. False, and without effect, if it
    /// was free or out of range.
    pub(crate) fn give(&self, at: usize) -> bool {
        let bit = 1 << (at % LANE);
        // ORDERING: Release: E1 to `take`. Weakened: sigqueue realtime_is_queued, extra_list
        // two_takers_one_spare.
        self.0.get(at / LANE).is_some_and(|free| free.fetch_or(bit, Release) & bit == 0)
    }

    /// Frees the numbers that `free` names, and no others. Only while no other thread uses them.
    pub(crate) fn reset(&self, free: impl Fn(usize) -> bool) {
        for (word, bits) in self.0.iter().enumerate() {
            let ours = (0..LANE).filter(|bit| free(word * LANE + bit));
            // ORDERING: Relaxed: no other thread is there.
            bits.store(ours.fold(0, |mask, bit| mask | 1 << bit), Relaxed);
        }
    }

    /// What the child of a fork has of it: the newest bits.
    #[cfg(all(test, loom))]
    pub(crate) fn copied(&self) -> Self {
        let copy = Self::none();
        for (theirs, ours) in copy.0.iter().zip(&self.0) {
            // ORDERING: Relaxed, but by read-modify-writes: a copy has the newest values.
            theirs.swap(ours.fetch_or(0, Relaxed), Relaxed);
        }
        copy
    }

    #[cfg(test)]
    pub(crate) fn all_free(&self) -> bool {
        // ORDERING: Relaxed: asked once all is over.
        self.0.iter().all(|word| word.load(Relaxed) == ALL_FREE)
    }
}

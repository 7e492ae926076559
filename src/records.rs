//! A fixed pool of records of where a signal came from, taken and given back in handlers.
//!
//! # Contexts
//!
//! [`Pool::take`] runs in handlers on any thread, nested in one another. [`Pool::give`] runs
//! wherever a record was read, or in a handler that took one for nothing. Neither blocks.
//!
//! # States
//!
//! A bit for each record, set while it is free. A record whose bit is clear belongs to whoever
//! cleared it: the handler that writes it, then, through the slot that links it, whoever takes the
//! slot's chain.
//!
//! # Invariants
//!
//! - I1: a record is written and read only by its owner.
//! - I2: a record is given back once for each time it was taken.
//!
//! # Happens-before
//!
//! - E1: `give` (release) -> the `take` of the same record (acquire): the reading of its last use
//!   is over before its next use is written.
//!
//! # Progress
//!
//! Lock-free: `take` is tried again only when another took the bit that it chose.
//!
//! # Prior art
//!
//! A bitmap instead of a free list: nothing is linked, so there is no ABA.

use crate::sigqueue::Origin;
use crate::sync::{
    AtomicWord, Lates, MODEL, Ordering::*, UnsafeCell, Word, filled, lates, model_const_fn,
};

/// Records to a word of the bitmap; a model needs few, so that it can run out.
pub(crate) const LANE: usize = if MODEL { 2 } else { Word::BITS as usize };
const ALL_FREE: Word = Word::MAX >> (Word::BITS as usize - LANE);

/// The end of a chain.
pub(crate) const NIL: u16 = 0;

/// One accepted signal: its origin and the record accepted before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) origin: Origin,
    pub(crate) next: u16,
}

/// `WORDS * LANE` records, named by numbers from 1 so that [`NIL`] is free to mean none.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Pool<const WORDS: usize> {
    free: [AtomicWord; WORDS],
    records: [Lates<UnsafeCell<Record>, LANE>; WORDS],
}

// SAFETY: a record is reached by its owner alone (I1): the bitmap gives it to one `take`, the queue's
// slot to whoever takes the chain, and only the queue calls what is here. Ownership passes along E1
// and along the slot's own edges.
unsafe impl<const WORDS: usize> Sync for Pool<WORDS> {}

impl<const WORDS: usize> Pool<WORDS> {
    model_const_fn! {
        /// All records free.
        pub(crate) const fn new() -> Self {
            Self {
                free: filled!(AtomicWord::new(ALL_FREE); WORDS),
                records: filled!(lates!(UnsafeCell::new(BLANK); LANE); WORDS),
            }
        }
    }

    /// Takes a free record and writes the origin into it; `None` when all are in use.
    pub(crate) fn take(&self, origin: Origin) -> Option<u16> {
        for (word, free) in self.free.iter().enumerate() {
            // ORDERING: Relaxed: a guess, which the read-modify-write below confirms.
            let mut seen = free.load(Relaxed);
            while seen != 0 {
                let bit = seen & seen.wrapping_neg();
                // ORDERING: Acquire: E1 from `give`. Weakened: sigqueue realtime_is_queued.
                seen = free.fetch_and(!bit, Acquire);
                if seen & bit != 0 {
                    let name = (word * LANE) as u16 + bit.trailing_zeros() as u16 + 1;
                    self.write(name, Record { origin, next: NIL });
                    return Some(name);
                }
            }
        }
        None
    }

    /// Links a record before another; for its owner, before it is published.
    pub(crate) fn link(&self, name: u16, next: u16) {
        let origin = self.read(name).origin;
        self.write(name, Record { origin, next });
    }

    /// Reads a record; for its owner.
    pub(crate) fn read(&self, name: u16) -> Record {
        // SAFETY: the caller, which is the queue, owns the record (I1): it took it here or from a slot.
        self.cell(name).map_or(BLANK, |cell| cell.with(|record| unsafe { *record }))
    }

    /// Gives a record back; for its owner, who then no longer is.
    pub(crate) fn give(&self, name: u16) {
        let at = usize::from(name).wrapping_sub(1);
        if let Some(free) = self.free.get(at / LANE) {
            // ORDERING: Release: E1 to `take`. Weakened: sigqueue realtime_is_queued.
            free.fetch_or(1 << (at % LANE), Release);
        }
    }

    /// Frees every record but those of these names. Only while no other thread uses the pool.
    pub(crate) fn keep_only(&self, names: impl Iterator<Item = u16>) {
        let mut kept = [0; WORDS];
        for at in names.map(|name| usize::from(name).wrapping_sub(1)) {
            if let Some(word) = kept.get_mut(at / LANE) {
                *word |= 1 << (at % LANE);
            }
        }
        for (free, kept) in self.free.iter().zip(kept) {
            // ORDERING: Relaxed: no other thread is there.
            free.store(ALL_FREE & !kept, Relaxed);
        }
    }

    /// What the child of a fork has of it: every bit and record as the memory holds it.
    #[cfg(all(test, loom))]
    pub(crate) fn copied(&self, chained: impl Fn(u16) -> bool) -> Self {
        let copy = Self::new();
        for (word, (free, theirs)) in self.free.iter().zip(&copy.free).enumerate() {
            // ORDERING: Relaxed, but by read-modify-writes: a copy has the newest values.
            theirs.swap(free.fetch_or(0, Relaxed), Relaxed);
            for name in (1..=LANE).map(|at| (word * LANE + at) as u16).filter(|n| chained(*n)) {
                copy.write(name, self.read(name));
            }
        }
        copy
    }

    #[cfg(test)]
    pub(crate) fn all_free(&self) -> bool {
        // ORDERING: Relaxed: asked once all is over.
        self.free.iter().all(|word| word.load(Relaxed) == ALL_FREE)
    }

    fn write(&self, name: u16, record: Record) {
        if let Some(cell) = self.cell(name) {
            // SAFETY: the caller, which is the queue, owns the record (I1): it took it here or from a slot.
            cell.with_mut(|place| unsafe { *place = record });
        }
    }

    fn cell(&self, name: u16) -> Option<&UnsafeCell<Record>> {
        let at = usize::from(name).wrapping_sub(1);
        self.records.get(at / LANE)?.get(at % LANE, || UnsafeCell::new(BLANK))
    }
}

const BLANK: Record = Record { origin: Origin::UNKNOWN, next: NIL };

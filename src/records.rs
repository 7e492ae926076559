//! A fixed pool of records of where a signal came from, taken and given back in handlers.
//!
//! # Contexts
//!
//! [`Pool::take`] runs in handlers on any thread, nested in one another. [`Pool::give`] runs
//! wherever a record was read, or in a handler that took one for nothing. Neither blocks.
//!
//! # States
//!
//! A record is free or has an owner, by [`FreeBits`]: the handler that writes it, then, through the
//! slot that links it, whoever takes the slot's chain.
//!
//! # Invariants
//!
//! - I1: a record is written and read only by its owner.
//! - I2: a record is given back once for each time it was taken.
//!
//! # Happens-before
//!
//! - E1: that of [`FreeBits`]: the reading of a record's last use is over before its next use is
//!   written.
//!
//! # Progress
//!
//! Lock-free.

use crate::bits::{FreeBits, LANE};
use crate::sigqueue::Origin;
use crate::sync::{UnsafeCell, filled, model_const_fn};

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
    free: FreeBits<WORDS>,
    records: [[UnsafeCell<Record>; LANE]; WORDS],
}

// SAFETY: a record is reached by its owner alone (I1), and ownership passes along E1 and along the
// slot's own edges.
unsafe impl<const WORDS: usize> Sync for Pool<WORDS> {}

impl<const WORDS: usize> Pool<WORDS> {
    model_const_fn! {
        /// All records free.
        pub(crate) const fn new() -> Self {
            Self {
                free: FreeBits::all(),
                records: filled!(filled!(UnsafeCell::new(BLANK); LANE); WORDS),
            }
        }
    }

    /// Takes a free record and writes the origin into it; `None` when all are in use.
    pub(crate) fn take(&self, origin: Origin) -> Option<u16> {
        let name = self.free.take()? as u16 + 1;
        self.write(name, Record { origin, next: NIL });
        Some(name)
    }

    /// Links a record before another; for its owner, before it is published.
    pub(crate) fn link(&self, name: u16, next: u16) {
        let origin = self.read(name).origin;
        self.write(name, Record { origin, next });
    }

    /// Reads a record; for its owner.
    pub(crate) fn read(&self, name: u16) -> Record {
        // SAFETY: the caller owns the record (I1).
        self.cell(name).map_or(BLANK, |cell| cell.with(|record| unsafe { *record }))
    }

    /// Gives a record back; for its owner, who then no longer is.
    pub(crate) fn give(&self, name: u16) {
        // E1 is carried there.
        self.free.give(usize::from(name).wrapping_sub(1));
    }

    /// Frees every record but those that `keep` names. Only while no other thread uses the pool.
    pub(crate) fn keep_only(&self, keep: impl Fn(u16) -> bool) {
        self.free.reset(|at| !keep(at as u16 + 1));
    }

    /// What the child of a fork has of it: every bit and record as the memory holds it.
    #[cfg(all(test, loom))]
    pub(crate) fn copied(&self, chained: impl Fn(u16) -> bool) -> Self {
        let copy = Self { free: self.free.copied(), ..Self::new() };
        for name in (1..=(WORDS * LANE) as u16).filter(|name| chained(*name)) {
            copy.write(name, self.read(name));
        }
        copy
    }

    #[cfg(test)]
    pub(crate) fn all_free(&self) -> bool {
        self.free.all_free()
    }

    fn write(&self, name: u16, record: Record) {
        if let Some(cell) = self.cell(name) {
            // SAFETY: the caller owns the record (I1).
            cell.with_mut(|place| unsafe { *place = record });
        }
    }

    fn cell(&self, name: u16) -> Option<&UnsafeCell<Record>> {
        let at = usize::from(name).wrapping_sub(1);
        self.records.get(at / LANE)?.get(at % LANE)
    }
}

const BLANK: Record = Record { origin: Origin::UNKNOWN, next: NIL };

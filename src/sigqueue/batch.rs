//! What is taken from a slot.
//!
//! Invariants and edges are those of [`crate::sigqueue`].

use super::ACTIVE;
use super::{BARE, Origin, SignalQueue, chain, slot};
use crate::note::{Note, Park};
use crate::records::NIL;
use crate::sync::{Ordering::*, Word};

/// Everything of one signal that was accepted up to one moment: an iterator over the origins, the
/// oldest first. Standard signals yield one, real-time ones as many as were queued.
///
/// Dropping it gives its records back. One that is forgotten (`mem::forget`) keeps those it has not
/// yielded, for good: later origins find fewer, and signals go on without.
#[derive(Debug)]
#[must_use = "what was taken from the queue is in it, and gone once it is dropped"]
pub struct Batch<'q, N: Park = Note> {
    queue: &'q SignalQueue<N>,
    signal: i32,
    /// Records in the order of acceptance.
    oldest: u16,
    bare: bool,
    coalesced: u32,
    active: bool,
}

impl<'q, N: Park> Batch<'q, N> {
    pub(super) fn new(queue: &'q SignalQueue<N>, signal: i32, taken: Word, mark: Word) -> Self {
        let mut batch = Self {
            queue,
            signal,
            oldest: NIL,
            bare: taken & BARE != 0,
            coalesced: slot::coalesced(taken),
            active: mark != 0,
        };
        batch.reverse(chain(taken));
        batch
    }

    /// The chain links each record to the one before it; delivery goes the other way.
    fn reverse(&mut self, newest: u16) {
        let mut name = newest;
        while name != NIL {
            let before = self.queue.record(self.signal, name).next;
            // The only record of a chain needs no new link.
            if before != NIL || self.oldest != NIL {
                self.queue.link_record(self.signal, name, self.oldest);
            }
            self.oldest = name;
            name = before;
        }
    }

    /// The signal number.
    pub fn signal(&self) -> i32 {
        self.signal
    }

    /// How many sends were merged into what this batch yields, as far as the queue counts (65,535 at
    /// least).
    pub fn coalesced(&self) -> u32 {
        self.coalesced
    }
}

impl<N: Park> Iterator for Batch<'_, N> {
    /// `None` inside for a signal whose origin found no record.
    type Item = Option<Origin>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.oldest == NIL {
            return core::mem::take(&mut self.bare).then_some(None);
        }
        let name = self.oldest;
        let record = self.queue.record(self.signal, name);
        self.oldest = record.next;
        self.queue.give_record(self.signal, name);
        Some(Some(record.origin))
    }
}

impl<N: Park> Drop for Batch<'_, N> {
    fn drop(&mut self) {
        self.by_ref().for_each(drop);
        if self.active {
            if let Ok(slot) = self.queue.slot(self.signal) {
                // ORDERING: Release: E5 to `wait_quiet`. Weakened: sigqueue wait_quiet_after_disable.
                slot.fetch_and(!ACTIVE, Release);
            }
        }
    }
}

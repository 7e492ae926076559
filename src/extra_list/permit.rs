//! Between the count and the number: whoever was counted has a right to a record, and looks for it.

use core::convert::Infallible;

use super::word::Word;
use super::{ExtraList, Ticket};
use crate::sync::relax;

/// The right to one record, not yet a certain one. Given back if dropped.
#[derive(Debug)]
#[must_use = "redeem it"]
pub struct Permit<'a, const N: usize> {
    pub(super) list: &'a ExtraList<N>,
    /// The list after it was had.
    pub(super) word: Word,
    /// Tells the process in which it was had from its children.
    pub(super) forks: u32,
}

impl<const N: usize> Permit<'_, N> {
    /// Settles which record it is; `None` in the child of a fork made since, whose list knows of no
    /// permits. Async-signal-safe; with signals masked, if their handlers may fork.
    #[must_use]
    pub fn redeem(self) -> Option<Ticket> {
        let list = self.list;
        let own = self.is_of_this_process();
        core::mem::forget(self);
        if !own {
            return None;
        }
        loop {
            // There is one (see Transitions); others may take it from under the search, and leave
            // another behind it, or it is not seen yet (E1).
            match list.find() {
                None => relax(),
                ticket => return ticket,
            }
        }
    }

    /// Whether the list has fewer spare records now than it should: time to
    /// [`replenish`](ExtraList::replenish).
    #[must_use]
    pub fn short(&self) -> bool {
        self.word.wanted(self.list.reserve, ExtraList::<N>::CAPACITY) > 0
    }

    fn is_of_this_process(&self) -> bool {
        self.list.forks.get() == self.forks
    }
}

impl<const N: usize> Drop for Permit<'_, N> {
    fn drop(&mut self) {
        // A void one was counted by the fork. Given back: extra_list void_permit_is_dropped.
        if self.is_of_this_process() {
            // No number was taken.
            let Ok(_) = self.list.put(Ok::<_, Infallible>);
        }
    }
}

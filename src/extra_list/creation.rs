//! Making more records: asked of the runtime, outside handlers, by one thread at a time.

use super::{ExtraList, Word};

/// What [`ExtraList::replenish`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replenish {
    /// As many as were wanted; none is a number.
    Created(usize),
    /// The runtime made so many and then no more, though more are wanted.
    Refused(usize),
    /// Another thread is at it, and sees to what is wanted meanwhile.
    Busy,
}

/// The one who creates. Takes CREATING away, however `create` ends.
struct Creating<'a, const N: usize> {
    list: &'a ExtraList<N>,
    /// Tells the process whose list knows of it.
    forks: super::Raw,
}

/// A handler forked, and this is the child: its list knows of nobody who creates.
struct InChild;

impl<const N: usize> ExtraList<N> {
    /// Creates records until there is one for each thread that waits and one more than needed, the
    /// reserve counted as needed: at first `reserve + 1`.
    ///
    /// `create` makes what the number names, or refuses; it may block and allocate, and it may
    /// panic: the panic passes through, and what was wanted is wanted still. Not for handlers. A
    /// record that is being made when the process forks is not in the child, which may come to make
    /// one of the same number: what is there of the first is to be overwritten.
    pub fn replenish(&self, mut create: impl FnMut(usize) -> bool) -> Replenish {
        let begun = self.change(|word| match () {
            () if word.creating() => Err(Replenish::Busy),
            () if !self.wants(word) => Err(Replenish::Created(0)),
            () => Ok(word.begin_creating()),
        });
        // No other thread changes the total meanwhile.
        let (first, forks) = match begun {
            Ok(old) => (usize::from(old.total()), old.forks()),
            Err(none) => return none,
        };
        let creating = Creating { list: self, forks };
        let mut index = first;
        while create(index) {
            let Ok(more) = creating.publish(index) else { break };
            index += 1;
            if !more {
                core::mem::forget(creating);
                return Replenish::Created(index - first);
            }
        }
        Replenish::Refused(index - first)
    }

    fn wants(&self, word: Word) -> bool {
        word.wanted(self.reserve, Self::CAPACITY) > 0
    }
}

impl<const N: usize> Creating<'_, N> {
    /// The record that was being made may be had. True if one more is being made now: the last one
    /// wanted ends the creating in the same step, so that whoever comes to want one later begins
    /// it anew.
    fn publish(&self, index: usize) -> Result<bool, InChild> {
        let list = self.list;
        // Held by its creator so far.
        list.free(list.held(index));
        let put = list.put(|word| match word.end_creating() {
            _ if word.forks() != self.forks => Err(InChild),
            made if list.wants(made) => Ok(made.begin_creating()),
            made => Ok(made),
        });
        if put.is_err() {
            // Nobody in the child has seen it free: `find` prefers those that are counted.
            list.hold(index);
        }
        put.map(|word| word.creating())
    }
}

impl<const N: usize> Drop for Creating<'_, N> {
    fn drop(&mut self) {
        let _ = self.list.change(|word| match word.forks() == self.forks {
            true => Ok(word.undo_creating()),
            false => Err(InChild),
        });
    }
}

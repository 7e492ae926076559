//! Making more records: asked of the runtime, outside handlers, by one thread at a time.

use core::convert::Infallible;

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

/// Takes CREATING away, however `create` ends.
struct Creating<'a, const N: usize>(&'a ExtraList<N>);

impl<const N: usize> ExtraList<N> {
    /// Creates records until there is one for each thread that waits and one more than needed, the
    /// reserve counted as needed: at first `reserve + 1`.
    ///
    /// `create` makes what the number names, or refuses; it may block and allocate, and it may
    /// panic: the panic passes through, and what was wanted is wanted still. Not for handlers.
    pub fn replenish(&self, mut create: impl FnMut(usize) -> bool) -> Replenish {
        let wanted = |word: Word| word.wanted(self.reserve, Self::CAPACITY) > 0;
        let begun = self.change(|word| match () {
            () if word.creating() => Err(Replenish::Busy),
            () if !wanted(word) => Err(Replenish::Created(0)),
            () => Ok(word.begin_creating()),
        });
        // No other thread changes the total meanwhile.
        let first = match begun {
            Ok(old) => usize::from(old.total()),
            Err(none) => return none,
        };
        let creating = Creating(self);
        let mut index = first;
        while create(index) {
            // Held by its creator so far.
            self.free(self.held(index));
            index += 1;
            // The last one wanted ends the creating in the same step, so that whoever comes to want
            // one later begins it anew.
            let next = |word: Word| {
                let made = word.end_creating();
                if wanted(made) { made.begin_creating() } else { made }
            };
            if !next(self.put(next).put(self.reserve)).creating() {
                core::mem::forget(creating);
                return Replenish::Created(index - first);
            }
        }
        Replenish::Refused(index - first)
    }
}

impl<const N: usize> Drop for Creating<'_, N> {
    fn drop(&mut self) {
        let Ok(_) = self.0.change(|word| Ok::<_, Infallible>(word.undo_creating()));
    }
}

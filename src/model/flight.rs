//! Flight where it can be seen: an interruption that is still in flight makes a difference only to a thread that
//! reads what was done after it was sent. Up to there the thread's steps may as well have come before it.

use super::state::{COINS, Inner, Run, SEEN, Words, touch};

/// An interruption that has not landed, in a model that has no flight where it cannot be seen.
pub(super) struct Flight {
    to: usize,
    /// Of the interruptions of that thread.
    number: u32,
    /// Threads, a bit each, that know of what the sender did afterwards, itself among them.
    later: u32,
    /// Words that these have written since.
    written: Vec<usize>,
}

/// One more interruption of the thread in slot `to`, by the one in slot `from`.
pub(super) fn begins(inner: &mut Inner, from: usize, to: usize) {
    tells(inner, from, to);
    // Who interrupts itself is interrupted before it goes on.
    if inner.prompt && !inner.never_late && from != to {
        let number = inner.threads[to].posted;
        inner.flights.push(Flight { to, number, later: 1 << from, written: Vec::new() });
    }
}

/// The thread in slot `of` has noticed what it was sent.
pub(super) fn ends(inner: &mut Inner, of: usize) {
    let noticed = inner.threads[of].noticed;
    inner.flights.retain(|flight| flight.to != of || flight.number > noticed);
}

/// What the thread in slot `to` does from here on comes after what the one in slot `from` did.
pub(super) fn tells(inner: &mut Inner, from: usize, to: usize) {
    for flight in inner.flights.iter_mut().filter(|flight| flight.to != to) {
        flight.later |= (flight.later >> from & 1) << to;
    }
}

/// The thread in slot `me` has read `word`, or waited for what it says.
pub(super) fn has_read(inner: &mut Inner, me: usize, word: usize) {
    for flight in inner.flights.iter_mut().filter(|flight| flight.to != me) {
        if flight.written.contains(&word) {
            flight.later |= 1 << me;
        }
    }
}

/// The thread in slot `me` is about to write to `word`, or to try.
pub(super) fn will_write(run: &Run, me: usize, word: usize) {
    let later = |flight: &&mut Flight| flight.later >> me & 1 == 1;
    let any = word != 0 && run.borrow().flights.iter_mut().any(|flight| later(&flight));
    let Some(words) = run.words().filter(|_| any) else { return };
    touch(&words.seen[word % SEEN]);
    run.borrow().flights.iter_mut().filter(later).for_each(|flight| flight.written.push(word));
}

/// Before a thread reads `word`: has what was sent to it stay in flight, or land, if that can be told apart.
pub(super) fn prolong(run: &Run, words: &Words, me: usize, word: usize) {
    let of = |flight: &Flight| flight.to == me;
    let flies = run.borrow().flights.iter().any(of) && run.borrow().threads[me].coin.is_none();
    if word == 0 || !flies {
        return;
    }
    // With a write of the word loom tries both orders of this.
    touch(&words.seen[word % SEEN]);
    let mut inner = run.borrow();
    let seen = inner.flights.iter().any(|flight| of(flight) && flight.written.contains(&word));
    if seen && inner.coins_used < COINS {
        inner.threads[me].coin = Some(inner.coins_used);
        inner.coins_used += 1;
    }
}

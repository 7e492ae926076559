//! Spare thread records: taken by threads that the runtime did not create, given back when they
//! leave.
//!
//! The list deals in numbers, from 0; what they name is the caller's, a slab or whatever else.
//!
//! # Contexts
//!
//! | caller | may call | may not |
//! |---|---|---|
//! | signal handler, any thread | [`take`](ExtraList::take) as [`Taker::Handler`], [`give`](ExtraList::give), [`counts`](ExtraList::counts) | wait, create |
//! | foreign thread | these as [`Taker::Thread`], and [`wait`](ExtraList::wait) | |
//! | attached thread | all, and [`replenish`](ExtraList::replenish) | call `replenish` in a handler |
//! | whoever has handlers that fork | all, with signals masked; open only in the sleep of [`wait_with`](ExtraList::wait_with), and in the making of a record | |
//! | child of a fork | [`reset_after_fork`](ExtraList::reset_after_fork), first | |
//!
//! # States
//!
//! Of each number one word, a [`Ticket`]'s generation and whether somebody holds it. All counts are
//! fields of another, so that no reader ever sees them disagree:
//!
//! | field | meaning |
//! |---|---|
//! | SPARE | records that nobody holds, the reserve among them |
//! | TOTAL | records there are, and one that is being made while CREATING |
//! | WAITING | threads in `wait` that nothing was granted to |
//! | GRANTED | records given to threads in `wait` that have not noticed yet |
//! | CREATING | somebody is in `replenish` |
//! | CLOSED | no more records are handed out |
//!
//! Beside them stands a count of the forks that lie between this process and the first: what a frame
//! counted before a fork inside a handler, it does not count on after it.
//!
//! # Transitions
//!
//! Each is one compare-exchange of the word; `ordinary` stands for `SPARE > reserve`.
//!
//! | event | if | then |
//! |---|---|---|
//! | take, a thread | ordinary, not CLOSED | SPARE - 1 |
//! | take, a handler | SPARE > 0, not CLOSED | SPARE - 1 |
//! | wait begins | not ordinary, not CLOSED, not hopeless | WAITING + 1 |
//! | wait goes on | GRANTED > 0 | GRANTED - 1: a record is had |
//! | wait ends, deadline, CLOSED or hopeless | GRANTED = 0 | WAITING - 1 |
//! | fork, in the child | | SPARE = TOTAL - held by this thread; WAITING, GRANTED, CREATING 0 |
//! | give, create | WAITING > 0, SPARE >= reserve, not CLOSED | WAITING - 1, GRANTED + 1, one wake-up |
//! | give, create | else | SPARE + 1 |
//! | create begins | any wanted, not CREATING | CREATING, TOTAL + 1: no longer a number beyond all |
//! | created | | as give; if more are wanted TOTAL + 1 again, else CREATING goes |
//! | not created | | TOTAL - 1, CREATING goes; one wake-up if that is hopeless for who waits |
//! | close | | CLOSED, one wake-up if anybody waits |
//!
//! Hopeless is a wait while there are no more records than the reserve and nobody makes one: none can
//! ever be given to who waits. Whoever is sent away wakes the next.
//!
//! Which number is had is settled afterwards, by a compare-exchange of a number's own word from free
//! to held. There are at least as many free numbers as records that may be taken, since `give` frees
//! the number first. It does so by a store: while a number is held, nobody else writes its word.
//!
//! # Invariants
//!
//! - I1: a number has one owner at most, and an owner only after a `take` or `wait`, or until it is
//!   created. No two owners' tickets are equal (until 2^31 owners have come and gone).
//! - I2: SPARE + GRANTED + in use = TOTAL (- 1 while CREATING) at all times, by construction.
//! - I3: the threads in `wait` are WAITING + GRANTED; each grant is consumed by one of them.
//! - I4: WAITING > 0 only while SPARE <= reserve: nobody waits beside a record he might have.
//! - I5: only handlers lower SPARE below the reserve, and what is given back fills it first.
//! - I6: nobody sleeps in a hopeless wait.
//!
//! # Happens-before
//!
//! - E1: `give` (release) -> the `take` or `wait` that gets the number (acquire): the last owner's
//!   use is over, and who created it has counted it. Carried by the number's word; that of the
//!   counts only counts, so that a search may come before the number is seen free, and goes on.
//! - E2: `give`, `close` (release, the bell) -> the `wait` that they wake (acquire): it sees what it
//!   was woken for.
//! - E3: a record's creation (release, the word) -> whoever learns that there are so many (acquire).
//!
//! # Progress
//!
//! `take`, `give` and `close` are lock-free: no thread waits for another that was interrupted,
//! suspended or lost to a fork in the middle. `wait` sleeps. A record given is granted to the
//! threads that wait before those that come later may have it.
//!
//! # Limits
//!
//! [`MAX_RECORDS`] records, as many waiting threads. Records are not destroyed.
//!
//! # Prior art
//!
//! Go `runtime/proc.go` lockextra, getExtraM, putExtraM (368c4011): a list whose head doubles as a
//! spin lock, three counters beside it. Here nothing is locked (a handler would spin for a thread
//! that the scheduler, a debugger or the runtime's own suspension has stopped, for ever if its
//! priority is higher) and nothing is linked (no ABA: `historical::untagged_list_aba`).

mod creation;
mod error;
mod permit;
mod word;

use core::convert::Infallible;

use crate::note::{Deadline, Waited};
/// The word as it is exchanged.
use crate::sync::Word as Raw;
use crate::sync::{
    AtomicU32, AtomicWord, ForkCount, Ordering::*, back_off, filled, model_const_fn,
};
use crate::sys;
pub use creation::Replenish;
pub use error::{NotInUse, TakeError};
pub use permit::Permit;
pub use word::RecordCounts;
use word::Word;

/// The most records that a list can have: 32,767, or 127 where the processor exchanges 32 bits at a
/// time and no more (see `docs/platforms.md`).
pub const MAX_RECORDS: usize = word::MAX as usize;

/// On whose behalf a record is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taker {
    /// Ordinary code: leaves the reserve alone.
    Thread,
    /// A signal handler, which cannot wait: may take the reserve too.
    Handler,
}

/// One stay of one owner with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The record's number.
    pub index: usize,
    /// How many stays there were before this one, modulo 2^31.
    pub generation: u32,
}

/// The list. Up to `N` records, no more than [`MAX_RECORDS`].
#[derive(Debug)]
#[repr(align(64))]
pub struct ExtraList<const N: usize> {
    word: AtomicWord,
    /// Counts wake-ups; threads in `wait` sleep on it.
    bell: AtomicU32,
    forks: ForkCount,
    reserve: u16,
    numbers: [AtomicU32; N],
}

/// In a number's word: somebody holds it. The rest is the generation.
const HELD: u32 = 1;

impl<const N: usize> ExtraList<N> {
    /// How many records there can be.
    pub const CAPACITY: usize = if N < MAX_RECORDS { N } else { MAX_RECORDS };

    model_const_fn! {
        /// A list without records, of which `reserve` are to be kept for handlers.
        pub const fn new(reserve: u16) -> Self {
            Self {
                word: AtomicWord::new(0),
                bell: AtomicU32::new(0),
                forks: ForkCount::new(),
                reserve,
                // Its creator's, when it comes to that, by a ticket that nobody was given.
                numbers: filled!(AtomicU32::new(u32::MAX); N),
            }
        }
    }

    /// How many records are kept for handlers.
    #[must_use]
    pub const fn reserve(&self) -> u16 {
        self.reserve
    }

    /// Takes a record if one is spare. Async-signal-safe; never blocks.
    pub fn take(&self, taker: Taker) -> Result<Permit<'_, N>, TakeError> {
        let floor = if taker == Taker::Handler { 0 } else { self.reserve };
        let old = self.change(|word| match () {
            () if word.closed() => Err(TakeError::Closed),
            () if word.spare() > floor => Ok(word.take_spare()),
            () if word.total() > 0 => Err(TakeError::Empty),
            () if taker == Taker::Thread => Err(self.nothing_for_threads()),
            () => Err(TakeError::NoRecords),
        })?;
        Ok(self.permit(old.take_spare()))
    }

    /// Takes a record, waiting for one until the deadline. Not for handlers.
    pub fn wait(&self, deadline: Option<&Deadline>) -> Result<Permit<'_, N>, TakeError> {
        self.wait_with(deadline, |sleep| sleep())
    }

    /// The same. `open` calls what it is given, once, and returns what that returns: the sleep, the one
    /// part of a wait in which handlers may fork. Who waits masked opens the signals around it.
    pub fn wait_with(
        &self,
        deadline: Option<&Deadline>,
        mut open: impl FnMut(&mut dyn FnMut() -> Waited) -> Waited,
    ) -> Result<Permit<'_, N>, TakeError> {
        loop {
            let forks = self.forks.get();
            let old = self.change(|word| match () {
                () if word.closed() => Err(TakeError::Closed),
                () if word.spare() > self.reserve => Ok(word.take_spare()),
                () if word.hopeless(self.reserve) => Err(self.nothing_for_threads()),
                () if word.waiting() == word::MAX => Err(TakeError::Empty),
                () => Ok(word.begin_wait()),
            })?;
            if old.spare() > self.reserve {
                return Ok(self.permit(old.take_spare()));
            }
            if let Some(done) = self.sleep(forks, deadline, &mut open) {
                return done;
            }
        }
    }

    /// Why a wait is hopeless.
    fn nothing_for_threads(&self) -> TakeError {
        if usize::from(self.reserve) < Self::CAPACITY {
            TakeError::NoRecords
        } else {
            TakeError::AllReserved
        }
    }

    /// Of a thread that is counted as waiting (I3), in the process of so many forks; `None` in a child
    /// of that one, which knows of nobody who waits: a handler forked during the sleep.
    fn sleep(
        &self,
        forks: u32,
        deadline: Option<&Deadline>,
        open: &mut dyn FnMut(&mut dyn FnMut() -> Waited) -> Waited,
    ) -> Option<Result<Permit<'_, N>, TakeError>> {
        let mut waited = Waited::Woken;
        loop {
            // ORDERING: Acquire: E2 from `ring`: a wake-up that is seen here explains itself below,
            // one that is not ends the sleep. Weakened: extra_list give_wakes_waiter.
            let seen = self.bell.load(Acquire);
            let left = self.change(|word| match () {
                () if word.granted() > 0 => Ok(word.take_grant()),
                () if word.closed() || waited == Waited::TimedOut => Ok(word.end_wait()),
                () if word.hopeless(self.reserve) => Ok(word.end_wait()),
                () => Err(()),
            });
            if let Ok(old) = left {
                return Some(self.end_wait(old));
            }
            waited = open(&mut || sys::wait(&self.bell, seen, deadline));
            if self.forks.get() != forks {
                return None;
            }
        }
    }

    fn end_wait(&self, old: Word) -> Result<Permit<'_, N>, TakeError> {
        if old.granted() > 0 {
            let now = old.take_grant();
            self.send_next_away(now);
            return Ok(self.permit(now));
        }
        self.send_next_away(old.end_wait());
        Err(match () {
            () if old.closed() => TakeError::Closed,
            () if old.hopeless(self.reserve) => self.nothing_for_threads(),
            () => TakeError::TimedOut,
        })
    }

    /// Whoever waits for nothing is to leave.
    fn send_next_away(&self, now: Word) {
        if now.waiting() > 0 && (now.closed() || now.hopeless(self.reserve)) {
            self.ring();
        }
    }

    fn permit(&self, word: Word) -> Permit<'_, N> {
        Permit { list: self, word, forks: self.forks.get() }
    }

    /// Gives a record back; for its owner, who then no longer is. Async-signal-safe; never blocks.
    /// With signals masked, if their handlers may fork.
    pub fn give(&self, ticket: Ticket) -> Result<(), NotInUse> {
        if !self.free(ticket) {
            return Err(NotInUse(ticket));
        }
        let Ok(_) = self.put(Ok::<_, Infallible>);
        Ok(())
    }

    /// Frees the number; false, and without effect, if the ticket is not in use.
    fn free(&self, ticket: Ticket) -> bool {
        let Some(number) = self.numbers.get(ticket.index) else { return false };
        let held = ticket.generation << 1 | HELD;
        // ORDERING: Relaxed: changed by the owner alone while it is held.
        if number.load(Relaxed) != held {
            return false;
        }
        // ORDERING: Release: E1 to `find`. Weakened: extra_list two_takers_one_spare.
        number.store(held.wrapping_add(1), Release);
        true
    }

    /// Takes the lowest free number that is seen, if any.
    fn find(&self) -> Option<Ticket> {
        self.numbers.iter().enumerate().find_map(|(index, number)| {
            // ORDERING: Relaxed, here and on failure: a guess.
            let free = number.load(Relaxed);
            if free & HELD != 0 {
                return None;
            }
            // ORDERING: Acquire: E1 from `free`. Weakened: extra_list two_takers_one_spare.
            number.compare_exchange(free, free | HELD, Acquire, Relaxed).ok()?;
            Some(Ticket { index, generation: free >> 1 })
        })
    }

    /// The ticket of whoever holds the record; for its owner.
    #[inline]
    pub(crate) fn held(&self, index: usize) -> Ticket {
        // ORDERING: Relaxed: changed by the owner alone while it is held.
        let generation = self.numbers.get(index).map_or(0, |number| number.load(Relaxed) >> 1);
        Ticket { index, generation }
    }

    /// One more record may be had: its number is free. Replaces the word by what `and` makes of it
    /// then, unless that is an error.
    fn put<E>(&self, and: impl Fn(Word) -> Result<Word, E>) -> Result<Word, E> {
        let old = self.change(|word| and(word.put(self.reserve)))?;
        if old.grants(self.reserve) {
            self.ring();
        }
        and(old.put(self.reserve))
    }

    /// Hands out no more records, and sends away those who wait. Async-signal-safe.
    pub fn close(&self) {
        let Ok(old) = self.change(|word| Ok::<_, Infallible>(word.close()));
        if old.waiting() > 0 {
            self.ring();
        }
    }

    /// Whether [`close`](Self::close) was called. Async-signal-safe.
    pub fn is_closed(&self) -> bool {
        // ORDERING: Relaxed: a question about a flag, which orders nothing.
        Word(self.word.load(Relaxed)).closed()
    }

    /// The counts, all of one moment. Async-signal-safe.
    pub fn counts(&self) -> RecordCounts {
        // ORDERING: Acquire: E3 from `replenish`. Weakened: extra_list created_is_published.
        Word(self.word.load(Acquire)).counts()
    }

    /// Makes the child of a fork a list of its own: all records are spare but those that `in_use`
    /// names, wherever other threads were in this code. A closed list stays closed.
    ///
    /// # Safety
    ///
    /// No other thread uses the list: called in the child before it creates threads.
    pub unsafe fn reset_after_fork(&self, in_use: impl Fn(usize) -> bool) {
        // ORDERING: Relaxed, here and below: no other thread is there.
        let word = Word(self.word.load(Relaxed));
        let mut spare = 0;
        for (index, number) in self.numbers.iter().enumerate() {
            let was = number.load(Relaxed);
            match () {
                // Perhaps free already, though not counted yet.
                () if index >= word.made().into() => number.store(was | HELD, Relaxed),
                () if in_use(index) => {}
                () => {
                    spare += 1;
                    number.store(was.wrapping_add(was & HELD), Relaxed);
                }
            }
        }
        // ORDERING: Relaxed: as above.
        self.word.store(word.reset(spare).0, Relaxed);
        self.forks.add();
        // The system goes on with a wait that the caller interrupted, unless this differs.
        self.bell.fetch_add(1, Relaxed);
    }

    /// One wake-up.
    fn ring(&self) {
        // ORDERING: Release: E2 to `sleep`. Weakened: extra_list give_wakes_waiter.
        self.bell.fetch_add(1, Release);
        sys::wake_one(&self.bell);
    }

    /// Replaces the word by what `f` makes of it, unless that is an error; returns what it was.
    fn change<E>(&self, f: impl Fn(Word) -> Result<Word, E>) -> Result<Word, E> {
        // ORDERING: Relaxed: a guess, which the compare-exchange confirms. An error is the answer
        // of a moment, as late as any other.
        let guess = || self.word.load(Relaxed);
        let mut seen = guess();
        for failures in 0.. {
            let new = f(Word(seen))?.0;
            // ORDERING: Release: E3 to `counts`; E1 is the number's. Weakened: extra_list
            // created_is_published. Failure Relaxed: a guess.
            match self.word.compare_exchange(seen, new, Release, Relaxed) {
                Ok(_) => break,
                Err(now) => seen = back_off(failures, now, guess),
            }
        }
        Ok(Word(seen))
    }

    #[cfg(all(test, loom))]
    pub(crate) fn is_free(&self, index: usize) -> bool {
        // ORDERING: Relaxed: asked by who has the list for himself.
        self.numbers[index].load(Relaxed) & HELD == 0
    }

    #[cfg(all(test, loom))]
    pub(crate) fn number_is_free(&self, index: usize) {
        // ORDERING: Relaxed: of a control, in which nobody uses the number.
        self.numbers[index].store(0, Relaxed);
    }

    /// How many forks lie between this process and the first.
    pub(crate) fn forks(&self) -> &ForkCount {
        &self.forks
    }

    #[cfg(test)]
    pub(crate) fn word(&self) -> &AtomicWord {
        &self.word
    }

    /// What the child of a fork has of it.
    #[cfg(all(test, loom))]
    pub(crate) fn copied(&self) -> Self {
        let copy = Self::new(self.reserve);
        copy.forks.set(self.forks.get());
        // ORDERING: Relaxed, but by read-modify-writes: a copy has the newest values.
        copy.word.swap(self.word.fetch_or(0, Relaxed), Relaxed);
        for (theirs, ours) in copy.numbers.iter().zip(&self.numbers) {
            theirs.swap(ours.fetch_or(0, Relaxed), Relaxed);
        }
        copy
    }
}

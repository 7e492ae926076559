//! Spare thread records: taken by threads that the runtime did not create, given back when they
//! leave.
//!
//! The list deals in numbers; what they name is the caller's.
//!
//! # Contexts
//!
//! | caller | may call | may not |
//! |---|---|---|
//! | signal handler, any thread | [`take`](ExtraList::take) as [`Taker::Handler`], [`give`](ExtraList::give), [`counts`](ExtraList::counts) | wait, create |
//! | foreign thread | these as [`Taker::Thread`], and [`wait`](ExtraList::wait) | |
//! | attached thread | all, and [`replenish`](ExtraList::replenish) | call `replenish` in a handler |
//! | child of a fork | [`reset_after_fork`](ExtraList::reset_after_fork), first | |
//!
//! # States
//!
//! All counts are fields of one word, so that no reader ever sees them disagree:
//!
//! | field | meaning |
//! |---|---|
//! | SPARE | records that nobody holds, the reserve among them |
//! | TOTAL | records there are, and one that is being made while CREATING |
//! | WAITING | threads in `wait` that nothing was granted to |
//! | GRANTED | records given to threads in `wait` that have not noticed yet |
//! | CREATING | somebody is in `replenish` |
//! | CLOSED | no more records are handed out |
//! | FORKS | tells the list of a child from that of its parent: what a frame counted before a fork |
//! | | inside a handler is not counted after it |
//!
//! # Transitions
//!
//! Each is one compare-exchange of the word; `ordinary` stands for `SPARE > reserve`.
//!
//! | event | if | then |
//! |---|---|---|
//! | take, a thread | ordinary, not CLOSED | SPARE - 1 |
//! | take, a handler | SPARE > 0, not CLOSED | SPARE - 1 |
//! | wait begins | not ordinary, not CLOSED | WAITING + 1 |
//! | wait goes on | GRANTED > 0 | GRANTED - 1: a record is had |
//! | wait ends, deadline or CLOSED | GRANTED = 0 | WAITING - 1 |
//! | fork, in the child | | SPARE = TOTAL - held by this thread; WAITING, GRANTED, CREATING 0 |
//! | give, create | WAITING > 0, SPARE >= reserve, not CLOSED | WAITING - 1, GRANTED + 1, one wake-up |
//! | give, create | else | SPARE + 1 |
//! | create begins | any wanted, not CREATING | CREATING, TOTAL + 1: no longer a number beyond all |
//! | created | | as give; if more are wanted TOTAL + 1 again, else CREATING goes |
//! | not created | | TOTAL - 1, CREATING goes |
//! | close | | CLOSED, one wake-up if anybody waits |
//!
//! Which number is had is settled afterwards, by [`FreeBits`]: there are at least as many free bits
//! as records that may be taken, since `give` sets the bit first.
//!
//! # Invariants
//!
//! - I1: a number has one owner at most, and an owner only after a `take` or `wait`.
//! - I2: SPARE + GRANTED + in use = TOTAL (- 1 while CREATING) at all times, by construction.
//! - I3: the threads in `wait` are WAITING + GRANTED; each grant is consumed by one of them.
//! - I4: WAITING > 0 only while SPARE <= reserve: nobody waits beside a record he might have.
//! - I5: only handlers lower SPARE below the reserve, and what is given back fills it first.
//!
//! # Happens-before
//!
//! - E1: `give` (release) -> the `take` or `wait` that gets the number (acquire): the last owner's
//!   use is over, and who created it has counted it. Carried by the bit, [`FreeBits`]' E1; the word
//!   only counts, so that a search may be made before the bit is seen, and is made again.
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
//! priority is higher) and nothing is linked (no ABA).

mod creation;
mod word;

use core::convert::Infallible;
use core::fmt;

use crate::bits::{FreeBits, LANE};
use crate::note::{Deadline, Waited};
use crate::sync::{AtomicU32, AtomicU64, Ordering::*, model_const_fn, relax};
use crate::sys;
pub use creation::Replenish;
pub use word::Counts;
use word::Word;

/// The most records that a list can have.
pub const MAX_RECORDS: usize = word::MAX as usize;

/// On whose behalf a record is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taker {
    /// Ordinary code: leaves the reserve alone.
    Thread,
    /// A signal handler, which cannot wait: may take the reserve too.
    Handler,
}

/// Why no record was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeError {
    /// All are in use, or kept for handlers; or so many threads wait that they cannot be counted.
    Empty,
    /// None was created yet.
    NoRecords,
    /// The deadline passed.
    TimedOut,
    /// [`ExtraList::close`] was called.
    Closed,
}

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "every record is in use: wait, or have more created",
            Self::NoRecords => "there are no records: create some first",
            Self::TimedOut => "no record was given back in time",
            Self::Closed => "the list was closed",
        })
    }
}

impl core::error::Error for TakeError {}

/// Why a wait goes on.
enum Stay {
    Asleep,
    Child,
}

/// A number given back that was not in use. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotInUse(pub usize);

impl fmt::Display for NotInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} is not in use: it was given back already, or never taken", self.0)
    }
}

impl core::error::Error for NotInUse {}

/// The right to one record, not yet a certain one. Given back if dropped.
#[derive(Debug)]
#[must_use = "redeem it"]
pub struct Permit<'a, const WORDS: usize> {
    list: &'a ExtraList<WORDS>,
    /// The list after it was had.
    word: Word,
}

/// The list. Up to `WORDS * 64` records, no more than [`MAX_RECORDS`].
#[derive(Debug)]
pub struct ExtraList<const WORDS: usize> {
    word: AtomicU64,
    /// Counts wake-ups; threads in `wait` sleep on it.
    bell: AtomicU32,
    reserve: u16,
    free: FreeBits<WORDS>,
}

impl<const WORDS: usize> ExtraList<WORDS> {
    /// How many records there can be.
    pub const CAPACITY: usize = if WORDS * LANE < MAX_RECORDS { WORDS * LANE } else { MAX_RECORDS };

    model_const_fn! {
        /// A list without records, of which `reserve` are to be kept for handlers.
        pub const fn new(reserve: u16) -> Self {
            Self {
                word: AtomicU64::new(0),
                bell: AtomicU32::new(0),
                reserve,
                free: FreeBits::none(),
            }
        }
    }

    /// Takes a record if one is spare. Async-signal-safe; never blocks.
    pub fn take(&self, taker: Taker) -> Result<Permit<'_, WORDS>, TakeError> {
        let floor = if taker == Taker::Handler { 0 } else { self.reserve };
        let old = self.change(|word| match () {
            () if word.closed() => Err(TakeError::Closed),
            () if word.total() == 0 => Err(TakeError::NoRecords),
            () if word.spare() <= floor => Err(TakeError::Empty),
            () => Ok(word.take_spare()),
        })?;
        Ok(self.permit(old.take_spare()))
    }

    /// Takes a record, waiting for one until the deadline. Not for handlers.
    pub fn wait(&self, deadline: Option<&Deadline>) -> Result<Permit<'_, WORDS>, TakeError> {
        let old = self.change(|word| match () {
            () if word.closed() => Err(TakeError::Closed),
            () if word.total() == 0 => Err(TakeError::NoRecords),
            () if word.spare() > self.reserve => Ok(word.take_spare()),
            () if word.waiting() == word::MAX => Err(TakeError::Empty),
            () => Ok(word.begin_wait()),
        })?;
        match old.spare() > self.reserve {
            true => Ok(self.permit(old.take_spare())),
            false => self.sleep(old.forks(), deadline),
        }
    }

    /// Of a thread that is counted as waiting (I3), in the process that `forks` tells from its
    /// children: a handler that interrupts a wait may fork, and return to it in the child.
    fn sleep(
        &self,
        forks: u64,
        deadline: Option<&Deadline>,
    ) -> Result<Permit<'_, WORDS>, TakeError> {
        let mut waited = Waited::Woken;
        loop {
            // ORDERING: Acquire: E2 from `ring`: a wake-up that is seen here explains itself below,
            // one that is not ends the sleep. Weakened: extra_list give_wakes_waiter.
            let seen = self.bell.load(Acquire);
            let left = self.change(|word| match () {
                () if word.forks() != forks => Err(Stay::Child),
                () if word.granted() > 0 => Ok(word.take_grant()),
                () if word.closed() || waited == Waited::TimedOut => Ok(word.end_wait()),
                () => Err(Stay::Asleep),
            });
            match left {
                Ok(old) => return self.end_wait(old),
                Err(Stay::Child) => return self.wait(deadline),
                Err(Stay::Asleep) => {}
            }
            waited = sys::wait(&self.bell, seen, deadline);
        }
    }

    fn end_wait(&self, old: Word) -> Result<Permit<'_, WORDS>, TakeError> {
        let (granted, closed) = (old.granted() > 0, old.closed());
        let now = if granted { old.take_grant() } else { old.end_wait() };
        if closed && now.waiting() > 0 {
            // The next one is to leave too.
            self.ring();
        }
        match (granted, closed) {
            (true, _) => Ok(self.permit(now)),
            (false, true) => Err(TakeError::Closed),
            (false, false) => Err(TakeError::TimedOut),
        }
    }

    fn permit(&self, word: Word) -> Permit<'_, WORDS> {
        Permit { list: self, word }
    }

    /// Gives a record back; for its owner, who then no longer is. Async-signal-safe; never blocks.
    pub fn give(&self, index: usize) -> Result<(), NotInUse> {
        // I1: a number beyond all is nobody's. An owner's is not: its creator counted it (E1).
        // ORDERING: Relaxed: see above.
        let total = Word(self.word.load(Relaxed)).total();
        if index >= usize::from(total) || !self.free.give(index) {
            return Err(NotInUse(index));
        }
        self.put(|word| word);
        Ok(())
    }

    /// One more record may be had: its bit is set.
    fn put(&self, and: impl Fn(Word) -> Word) -> Word {
        let Ok(old) = self.change(|word| Ok::<_, Infallible>(and(word.put(self.reserve))));
        if old.grants(self.reserve) {
            self.ring();
        }
        old
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
    pub fn counts(&self) -> Counts {
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
        let total = usize::from(word.made());
        let kept = (0..total).filter(|index| in_use(*index)).count();
        self.free.reset(|index| index < total && !in_use(index));
        self.word.store(word.reset((total - kept) as u16).0, Relaxed);
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
        let mut seen = Word(self.word.load(Relaxed));
        loop {
            let new = f(seen)?;
            // ORDERING: Release: E3 to `counts`; E1 is the bit's. Weakened: extra_list
            // created_is_published. Failure Relaxed: a guess.
            match self.word.compare_exchange_weak(seen.0, new.0, Release, Relaxed) {
                Ok(_) => return Ok(seen),
                Err(now) => seen = Word(now),
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn word(&self) -> &AtomicU64 {
        &self.word
    }

    /// What the child of a fork has of it.
    #[cfg(all(test, loom))]
    pub(crate) fn copied(&self) -> Self {
        let copy = Self { free: self.free.copied(), ..Self::new(self.reserve) };
        // ORDERING: Relaxed, but by read-modify-writes: a copy has the newest values.
        copy.word.swap(self.word.fetch_or(0, Relaxed), Relaxed);
        copy
    }
}

impl<const WORDS: usize> Permit<'_, WORDS> {
    /// Settles which record it is; `None` in the child of a fork made since, whose list knows of no
    /// permits. Async-signal-safe; with signals masked, if their handlers may fork.
    #[must_use]
    pub fn redeem(self) -> Option<usize> {
        let list = self.list;
        let own = self.is_of_this_process();
        core::mem::forget(self);
        while own {
            // There is one (see Transitions); others may take it from under the search, and leave
            // another behind it, or it is not seen yet (E1).
            match list.free.take() {
                None => relax(),
                index => return index,
            }
        }
        None
    }

    /// Whether the list has fewer spare records now than it should: time to
    /// [`replenish`](ExtraList::replenish).
    #[must_use]
    pub fn short(&self) -> bool {
        self.word.wanted(self.list.reserve, ExtraList::<WORDS>::CAPACITY) > 0
    }

    fn is_of_this_process(&self) -> bool {
        // ORDERING: Relaxed: changed by this thread, in a handler, or not at all.
        Word(self.list.word.load(Relaxed)).forks() == self.word.forks()
    }
}

impl<const WORDS: usize> Drop for Permit<'_, WORDS> {
    fn drop(&mut self) {
        if self.is_of_this_process() {
            // The bit was never taken.
            self.list.put(|word| word);
        }
    }
}

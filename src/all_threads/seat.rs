//! One thread's seat: whether it is asked, runs the operation, or has run it.
//!
//! States, transitions, invariants and edges are those of [`crate::all_threads`].

use core::fmt;
use core::marker::PhantomData;

use super::host::Reach;
use super::{AllThreads, JoinError, WakeFn};
use crate::sync::{AtomicU32, AtomicUsize, Ordering::*, model_const_fn};
use crate::sys::{self, Errno};

/// A thread has it, or a thread that is being created will.
pub(crate) const LIVE: u32 = 1;
/// Its owner will look at ASKED before it does anything else that matters: nobody interrupts it.
pub(super) const BUSY: u32 = 1 << 1;
/// To run the operation.
pub(super) const ASKED: u32 = 1 << 2;
/// Runs it.
pub(super) const RUNNING: u32 = 1 << 3;
/// The caller is about to interrupt the thread, or to wake it: what `name` says must hold still.
pub(super) const HELD: u32 = 1 << 4;
/// `name` is a [`WakeFn`]'s address.
pub(super) const COOPERATIVE: u32 = 1 << 5;
/// The owner sleeps until HELD is gone.
const WAITING: u32 = 1 << 6;
/// One round.
pub(super) const ROUND: u32 = 1 << 8;
/// The last round that the thread has run, or inherited.
pub(super) const EPOCH: u32 = !(ROUND - 1);

/// A place for one thread, of those that are reached by this [`Reach`]: two words.
pub struct Seat<R> {
    word: AtomicU32,
    /// What the operation returned: a value, or an error number from -4095 to -1.
    result: AtomicU32,
    /// Who sits here, for [`Reach::interrupt`]; or how it is woken.
    name: AtomicUsize,
    /// Seats of one type belong to one [`AllThreads`].
    reach: PhantomData<fn() -> R>,
}

/// How a thread that was asked comes to hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// By a signal to the thread of this name.
    Interrupt(usize),
    /// By its waker, at this address.
    Wake(usize),
    /// By itself.
    Nothing,
}

impl<R> Seat<R> {
    model_const_fn! {
        /// Nobody's.
        pub const fn new() -> Self {
            Self {
                word: AtomicU32::new(0),
                result: AtomicU32::new(0),
                name: AtomicUsize::new(0),
                reach: PhantomData,
            }
        }
    }

    // What the caller does.

    /// Asks the thread to run this round, unless there is none, it has, or it was asked by this sweep.
    pub(super) fn ask(&self, round: u32) -> Option<Call> {
        // ORDERING: Relaxed: a guess, confirmed below. One that is too old shows a thread that came
        // meanwhile, and that is asked in the next sweep if its creator was.
        let mut seen = self.word.load(Relaxed);
        loop {
            // ASKED or RUNNING: of this sweep, for before it nobody was (I1). Seats may tell of one twice.
            if seen & LIVE == 0 || seen & EPOCH == round || seen & (ASKED | RUNNING) != 0 {
                return None;
            }
            let held = if seen & BUSY == 0 { HELD } else { 0 };
            // ORDERING: Release: E1 to `run`. Acquire: E4 from `settle`. Weakened: all_threads
            // blocked_in_syscall, signal_on_parked_thread. Failure Relaxed: a guess.
            match self.word.compare_exchange(seen, seen | ASKED | held, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        // ORDERING: Relaxed: it holds still (I4).
        let name = self.name.load(Relaxed);
        Some(match seen & (BUSY | COOPERATIVE) {
            0 => Call::Interrupt(name),
            COOPERATIVE => Call::Wake(name),
            _ => Call::Nothing,
        })
    }

    /// The thread was interrupted or woken.
    pub(super) fn let_go(&self) {
        // ORDERING: Release: E4 to `be_busy`. Weakened: all_threads parked_memory_is_free.
        if self.word.fetch_and(!(HELD | WAITING), Release) & WAITING != 0 {
            sys::wake_one(&self.word);
        }
    }

    /// Takes the question back. True if the thread had not begun, and will not.
    pub(super) fn withdraw(&self) -> bool {
        // ORDERING: Relaxed: nothing was done.
        let mut seen = self.word.load(Relaxed);
        while seen & ASKED != 0 {
            match self.word.compare_exchange(seen, seen & !ASKED, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// The system knows no such thread: it ended without a word. True if an answer was owed.
    pub(super) fn bury(&self) -> bool {
        // ORDERING: Relaxed: a read-modify-write hands on what its owner's `settle` released.
        self.word.fetch_and(EPOCH, Relaxed) & (ASKED | RUNNING) != 0
    }

    /// Whom to look after: a thread that has not answered, and is neither to be woken instead nor about to
    /// look by itself; and whether it has begun. HELD, if there is one.
    pub(super) fn hold_awaited(&self) -> Option<(usize, bool)> {
        // ORDERING: Relaxed: a guess.
        let mut seen = self.word.load(Relaxed);
        loop {
            if seen & (ASKED | RUNNING) == 0 || seen & (BUSY | COOPERATIVE) != 0 {
                return None;
            }
            // ORDERING: Acquire: E4 from `settle`, for the name. Failure Relaxed: a guess. Weakened
            // together with `ask`, each alone being enough: litmus/seat_held_again; nobody looks again in a model.
            match self.word.compare_exchange(seen, seen | HELD, Acquire, Relaxed) {
                Ok(_) => return Some((self.name.load(Relaxed), seen & RUNNING != 0)),
                Err(now) => seen = now,
            }
        }
    }

    /// The thread that sits here, as the system names it; `None` if there is none, or it is not to be
    /// interrupted now.
    #[must_use]
    pub fn thread(&self) -> Option<usize> {
        // ORDERING: Relaxed: a look.
        let seen = self.word.load(Relaxed);
        (seen & LIVE != 0 && seen & (BUSY | COOPERATIVE) == 0).then(|| self.name.load(Relaxed))
    }

    /// A thread is here that has not run the round.
    pub(super) fn is_missing(&self, round: u32) -> bool {
        // ORDERING: Relaxed: a look, by who has the turn.
        let seen = self.word.load(Relaxed);
        seen & LIVE != 0 && seen & EPOCH != round
    }

    /// By the caller, once all have answered: what this thread's result is, if it has run the round.
    pub(super) fn result(&self, round: u32) -> Option<Result<i32, Errno>> {
        // ORDERING: Relaxed: ordered by `AllThreads::pending` (E2).
        let ran = self.word.load(Relaxed) & EPOCH == round;
        ran.then(|| decode(self.result.load(Relaxed)))
    }

    /// The calling thread has run it, as the first.
    pub(super) fn ran_first(&self, round: u32, result: Result<i32, Errno>) {
        // ORDERING: Relaxed: the caller's own.
        self.result.store(encode(result), Relaxed);
        let seen = self.word.load(Relaxed);
        self.word.fetch_add(round.wrapping_sub(seen & EPOCH), Relaxed);
    }

    // What the thread does.

    /// Takes an empty seat, for a thread that has run this round.
    pub(crate) fn reserve(&self, epoch: u32, result: u32) -> Result<(), JoinError> {
        // ORDERING: Relaxed: a guess.
        let mut seen = self.word.load(Relaxed);
        loop {
            if seen & !EPOCH != 0 {
                return Err(JoinError::SeatTaken);
            }
            // ORDERING: Acquire: from `settle` of the thread before, so that its name is not the newer
            // one. Weakened: all_threads seat_is_the_next_ones. Failure Relaxed: a guess.
            match self.word.compare_exchange(seen, epoch | LIVE | BUSY, Acquire, Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        // ORDERING: Relaxed: nobody reads it for a round that this thread has not run.
        self.result.store(result, Relaxed);
        Ok(())
    }

    /// Whether the calling thread, whose seat it is, is in the middle of something: an operation, or
    /// between two states.
    pub(super) fn is_engaged(&self) -> bool {
        // ORDERING: Relaxed: the thread's own bits.
        self.word.load(Relaxed) & (BUSY | RUNNING) != 0
    }

    /// Epoch and result, for a thread that this one creates; BUSY.
    pub(super) fn legacy(&self) -> (u32, u32) {
        // ORDERING: Relaxed: the thread's own while it is BUSY.
        (self.word.load(Relaxed) & EPOCH, self.result.load(Relaxed))
    }
}

impl<R: Reach> Seat<R> {
    /// Runs the operation if that is asked, and not under way or another's business. Async-signal-safe
    /// as far as the operation is. True if it was.
    pub(super) fn poll(&self, all: &AllThreads<R>) -> bool {
        // ORDERING: Relaxed: a guess, confirmed by `run`.
        let seen = self.word.load(Relaxed);
        seen & (ASKED | BUSY | RUNNING) == ASKED && self.run(all, seen)
    }

    /// As `poll`, in the handler of the signal that asked: it sees it.
    pub(super) fn poll_in_handler(&self, all: &AllThreads<R>) -> bool {
        // ORDERING: Relaxed, but by a read-modify-write: it reads no older value than `ask` wrote
        // before it sent the signal. A load: all_threads blocked_in_syscall.
        let seen = self.word.fetch_or(0, Relaxed);
        seen & (ASKED | BUSY | RUNNING) == ASKED && self.run(all, seen)
    }

    /// From ASKED by RUNNING to neither.
    fn run(&self, all: &AllThreads<R>, mut seen: u32) -> bool {
        while seen & ASKED != 0 {
            // ORDERING: Acquire: E1 from `ask`. Weakened: all_threads blocked_in_syscall.
            // Failure Relaxed: only tried again.
            let new = seen & !ASKED | RUNNING;
            match self.word.compare_exchange(seen, new, Acquire, Relaxed) {
                Ok(_) => {
                    self.finish(all, seen);
                    return true;
                }
                Err(now) => seen = now,
            }
        }
        false
    }

    /// RUNNING. The caller that is waited for may not have been woken when RUNNING is gone: a handler
    /// that interrupts this must not wait for the turn.
    fn finish(&self, all: &AllThreads<R>, seen: u32) {
        all.engaged(|| {
            let (result, round) = all.perform();
            // ORDERING: Relaxed: E2 is carried by `acknowledge`.
            self.result.store(encode(result), Relaxed);
            let ran = round.wrapping_sub(seen & EPOCH).wrapping_sub(RUNNING);
            self.word.fetch_add(ran, Relaxed);
            all.acknowledge();
        });
    }

    /// Nobody interrupts the thread from here on, nor does a handler of it run the operation, until
    /// `settle`; and nobody uses the name.
    pub(super) fn be_busy(&self) {
        // ORDERING: Acquire: E4 from `let_go`. Weakened: all_threads parked_memory_is_free.
        let mut seen = self.word.fetch_or(BUSY, Acquire);
        while seen & HELD != 0 {
            // ORDERING: Acquire: as above.
            seen = self.word.fetch_or(WAITING, Acquire) | WAITING;
            if seen & HELD != 0 {
                // It may end for no reason. Believed: all_threads parked_memory_is_free: hostile.
                sys::wait(&self.word, seen, None);
                // ORDERING: Acquire: as above.
                seen = self.word.load(Acquire);
            }
        }
    }

    /// BUSY no more, but these flags: after it has run what was asked meanwhile.
    pub(crate) fn settle(&self, all: &AllThreads<R>, flags: u32) {
        // ORDERING: Relaxed: a guess.
        let mut seen = self.word.load(Relaxed);
        loop {
            if self.run(all, seen) {
                // ORDERING: Relaxed: a guess.
                seen = self.word.load(Relaxed);
                continue;
            }
            // ORDERING: Release: E4 to `ask`, and to the next `reserve`. Weakened: all_threads
            // caller_in_handler. Failure Relaxed: a guess.
            match self.word.compare_exchange(seen, seen & EPOCH | flags, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Gives up a seat that was reserved for a thread that will not come: nobody has run there what it had
    /// inherited, so that does not count. By a thread that is BUSY itself, or masks signals, so that no handler
    /// waits for a call that waits for this answer (I7): all_threads handler_interrupts_refused_birth.
    pub(super) fn vacate(&self, all: &AllThreads<R>) {
        // ORDERING: Release: to the next `reserve`, as there.
        if self.word.swap(all.epoch_of_strangers(), Release) & ASKED != 0 {
            // Or who asked waits for ever: all_threads birth_given_up.
            all.acknowledge();
        }
    }

    /// BUSY: who sits here or how it is woken, and as which of the two.
    pub(super) fn standing(&self) -> (usize, u32) {
        // ORDERING: Relaxed: the thread's own while it is BUSY.
        (self.name.load(Relaxed), self.word.load(Relaxed) & (LIVE | COOPERATIVE))
    }

    /// Whether the calling thread, whose seat it is, is woken instead of interrupted.
    pub(super) fn is_cooperative(&self) -> bool {
        // ORDERING: Relaxed: the thread's own bit.
        self.word.load(Relaxed) & COOPERATIVE != 0
    }

    /// BUSY: who sits here from now on.
    pub(crate) fn sit(&self, name: usize) {
        // ORDERING: Relaxed: published by `settle` (E4).
        self.name.store(name, Relaxed);
    }

    /// BUSY: how it is woken from now on.
    pub(super) fn be_woken_by(&self, waker: &WakeFn<'_>) {
        self.sit(core::ptr::from_ref(waker).expose_provenance());
    }

    /// What the child of a fork has of it.
    #[cfg(all(test, loom))]
    pub(crate) fn copied(&self) -> Self {
        let copy = Self::new();
        // ORDERING: Relaxed, but by read-modify-writes: a copy has the newest values.
        copy.word.swap(self.word.fetch_or(0, Relaxed), Relaxed);
        copy
    }

    /// In the child of a fork, by its only thread.
    pub(super) fn reset(&self, stays: bool) {
        // ORDERING: Relaxed: there is one thread.
        let seen = self.word.load(Relaxed);
        let flags = if stays { seen & (LIVE | BUSY | COOPERATIVE) } else { 0 };
        self.word.store(seen & EPOCH | flags, Relaxed);
    }
}

impl<R> Default for Seat<R> {
    fn default() -> Self {
        Self::new()
    }
}

/// The last error number, below zero.
const LAST: i32 = -4095;

fn encode(result: Result<i32, Errno>) -> u32 {
    match result {
        Ok(value) => value as u32,
        Err(Errno(errno)) => (-errno).clamp(LAST, -1) as u32,
    }
}

fn decode(bits: u32) -> Result<i32, Errno> {
    match bits as i32 {
        errno @ LAST..0 => Err(Errno(-errno)),
        value => Ok(value),
    }
}

impl<R> fmt::Debug for Seat<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seat({self})")
    }
}

impl<R> fmt::Display for Seat<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ORDERING: Relaxed: a look.
        let seen = self.word.load(Relaxed);
        let state = match () {
            () if seen & LIVE == 0 => "empty",
            () if seen & RUNNING != 0 => "running",
            () if seen & ASKED != 0 => "asked",
            () if seen & BUSY != 0 => "busy",
            () if seen & COOPERATIVE != 0 => "cooperative",
            () => "settled",
        };
        write!(f, "{state} at {}", seen / ROUND)
    }
}

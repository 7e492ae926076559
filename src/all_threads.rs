//! One operation on every thread, exactly once: of what the kernel keeps for each thread, or of the
//! threads themselves.
//!
//! # Contexts
//!
//! | caller | may call | may not |
//! |---|---|---|
//! | a thread that is to be reached | [`AllThreads::join`], once; then by its [`Member`] poll, sleep, create threads | end joined |
//! | any thread, a signal handler too | [`AllThreads::call`] | from inside an operation: [`CallError::Engaged`] |
//! | the handler of the signal | [`AllThreads::on_signal`] | |
//! | the child of a fork | [`AllThreads::reset_after_fork`], first of all | |
//!
//! # States
//!
//! Each thread has a [`Seat`], whose word says, beside the last round that it has run:
//!
//! | state | bits | meaning |
//! |---|---|---|
//! | EMPTY | none | nobody's |
//! | BUSY | LIVE, BUSY | its thread is being created, or between two states: it will look by itself |
//! | SETTLED | LIVE | reached by a signal |
//! | COOPERATIVE | LIVE, COOPERATIVE | asleep where a [`Waker`] reaches it |
//! | ASKED | one of the three, ASKED | to run the operation |
//! | RUNNING | one of the three, RUNNING | runs it |
//!
//! and HELD while the caller interrupts or wakes the thread. All seats share a turn: free, or who has
//! it, and whether others wait.
//!
//! # Transitions
//!
//! | event | steps |
//! |---|---|
//! | call | take the turn, running meanwhile what others ask of this thread; run the operation here; if that fails, give the turn up; publish it with a new round; sweep; clear it; give the turn up |
//! | sweep | for each seat that is not EMPTY and whose round is another: ASKED, HELD unless it is BUSY; interrupt or wake; HELD off. Wait until as many have answered. Again, until nobody was asked |
//! | the thread hears of it | ASKED to RUNNING, run, its round is this one, answer. In a handler, by a poll, or as it settles |
//! | join | BUSY, with the last round, or in a call an earlier one; then settle |
//! | create a thread | the creator BUSY; the new seat BUSY, with the creator's round; create; settle, each by itself |
//! | settle | run what is asked; BUSY off |
//! | leave | BUSY; wait while HELD; run what is asked; EMPTY |
//! | deadline | ASKED is taken back where it stands, and what is RUNNING waited for; the turn is kept until the caller finishes, by another sweep, or abandons |
//!
//! # Invariants
//!
//! - I1: the operation is written and cleared while nobody is ASKED or RUNNING.
//! - I2: whoever takes ASKED away answers, once: the thread after it ran, the caller who withdraws.
//! - I3: a thread runs a round if its seat's is another, and then its seat's is that one. So each that
//!   was there runs it once, and one that was created by a thread that had run it, not at all.
//! - I4: `name` changes only while BUSY and not HELD; HELD is set only while not BUSY.
//! - I5: nobody who is ASKED or RUNNING waits for the turn without running what he is asked.
//! - I6: a thread has its seat for as long as others may interrupt it by its name.
//!
//! # Happens-before
//!
//! - E1: the caller's operation, and all before it -> each thread that runs it.
//! - E2: each thread's run, and its leaving -> the call that returns.
//! - E3: a call -> the next: by the turn.
//! - E4: the thread as it settles -> the caller that reaches it, who lets go -> the thread as it becomes
//!   busy: the waker may go.
//! - E5: creator -> the new thread's seat, found by the sweep after the creator's answer.
//!
//! # Progress
//!
//! A call waits for every thread that it asks, until the deadline, and for the operation where it runs by
//! then. Threads wait for no call, but for
//! the one system call by which they are being interrupted. A sweep more is made for threads that
//! joined or were created meanwhile: who creates threads without end while he never answers ends it
//! by the deadline alone. A handler waits for nothing: not for a call, nor for a state.
//!
//! # Limits
//!
//! 2^24 rounds before one repeats: a seat that stayed BUSY for as long is taken to have run it. The
//! operation must not unwind on a thread that it was sent to: the process aborts.
//!
//! # Prior art
//!
//! Go `runtime/os_linux.go` doAllThreadsSyscall (0a5fae2a0e): waits for every new thread's name before
//! it interrupts any; here a new thread needs no name to be asked. glibc `nptl/nptl_setxid.c`, musl
//! `thread/synccall.c`, libpsx.

mod call;
mod error;
mod initiate;
#[cfg(all(
    feature = "std",
    any(target_os = "linux", target_os = "android"),
    not(all(loom, any(test, feature = "loom")))
))]
pub mod linux;
mod member;
#[cfg(all(feature = "std", unix, not(all(loom, any(test, feature = "loom")))))]
mod posix;
#[cfg(all(
    feature = "std",
    any(target_os = "linux", target_os = "android"),
    not(all(loom, any(test, feature = "loom")))
))]
mod process;
mod seat;

use core::fmt;

use crate::note::Deadline;
use crate::sync::model_const_fn;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering::*, UnsafeCell};
pub use crate::sys::Errno;
use crate::sys::{self, Waited};
pub use call::{Call, Hear, Mismatch, Report, Seats};
pub use error::{CallError, JoinError};
pub use initiate::{Answer, Unfinished};
pub use member::{Birth, Member, Waker};
#[cfg(all(feature = "std", unix, not(all(loom, any(test, feature = "loom")))))]
pub use posix::{System, registered};
#[cfg(all(
    feature = "std",
    any(target_os = "linux", target_os = "android"),
    not(all(loom, any(test, feature = "loom")))
))]
pub use process::{Everyone, Process, call_everyone};
use seat::ROUND;
pub use seat::Seat;

/// What runs on every thread: async-signal-safe, and returns what a system call does.
pub type Operation<'a> = dyn Fn() -> Result<i32, Errno> + Sync + 'a;

/// In `round`: a call is under way.
const ACTIVE: u32 = 1;
/// In `turn`: somebody waits for it.
const CONTENDED: usize = 1 << (usize::BITS - 1);

/// How threads are named, interrupted and told apart on this system.
///
/// # Safety
///
/// `here` returns the same for as long as the calling thread lives, to no other thread, blank at
/// first.
pub unsafe trait Reach: Sync + Sized {
    /// The calling thread's own. Async-signal-safe.
    fn here(&self) -> &Here;
    /// The calling thread's seat. Async-signal-safe.
    fn seat(&self) -> Option<&'static Seat> {
        self.here().seat()
    }
    /// Names the calling thread; not 0. Async-signal-safe.
    fn current(&self) -> usize;
    /// Before the first thread is to be reached.
    fn prepare(&self) -> Result<(), Errno>;
    /// Has the thread call [`AllThreads::on_signal`] soon; false if there is no such thread.
    fn interrupt(&self, name: usize) -> Result<bool, Errno>;
    /// The same for one that has not answered for a while: which may have ended in a way that
    /// `interrupt` does not tell.
    fn interrupt_again(&self, name: usize) -> Result<bool, Errno> {
        self.interrupt(name)
    }
    /// Ends the process, as threads differ that must not. Async-signal-safe.
    fn abort(&self);
    /// Waits for answers: sleeps while the word has this value. [`Wait::Look`] where threads may end
    /// without a word: those that have not answered are then interrupted again, if they are there.
    fn wait(&self, word: &AtomicU32, value: u32, deadline: Option<&Deadline>) -> Wait {
        match sys::wait(word, value, deadline) {
            Waited::Woken => Wait::Woken,
            Waited::TimedOut => Wait::TimedOut,
        }
    }
}

/// Why a wait for answers ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Woken, or for no reason.
    Woken,
    /// The deadline has passed.
    TimedOut,
    /// It has lasted long enough to ask whether all threads are still there.
    Look,
}

/// What each thread has of its own.
#[derive(Debug)]
pub struct Here {
    seat: AtomicPtr<Seat>,
    /// Between having a seat and not.
    engaged: AtomicBool,
}

impl Here {
    model_const_fn! {
        /// A thread without a seat.
        pub const fn new() -> Self {
            Self { seat: AtomicPtr::new(core::ptr::null_mut()), engaged: AtomicBool::new(false) }
        }
    }

    // ORDERING: Relaxed everywhere here: the thread's own, and its handlers'.
    fn seat(&self) -> Option<&'static Seat> {
        // SAFETY: stored by `set`, which has it for ever.
        unsafe { self.seat.load(Relaxed).as_ref() }
    }
    /// The thread's seat from now on.
    pub(crate) fn set(&self, seat: Option<&'static Seat>) {
        let seat = seat.map_or(core::ptr::null_mut(), |seat| core::ptr::from_ref(seat).cast_mut());
        self.seat.store(seat, Relaxed);
    }
    /// The thread is in the middle of something for as long as `body` runs.
    pub(crate) fn engaged<T>(&self, body: impl FnOnce() -> T) -> T {
        // ORDERING: Relaxed, here and below: the thread's own, and its handlers'.
        let before = self.engaged.load(Relaxed);
        self.engaged.store(true, Relaxed);
        let done = body();
        self.engaged.store(before, Relaxed);
        done
    }
    fn is_engaged(&self) -> bool {
        self.engaged.load(Relaxed) || self.seat().is_some_and(Seat::is_engaged)
    }
}

impl Default for Here {
    fn default() -> Self {
        Self::new()
    }
}

/// What all seats of a runtime share. Made to be a `static`.
pub struct AllThreads<R: Reach> {
    reach: R,
    /// 0, or who calls.
    turn: AtomicUsize,
    round: AtomicU32,
    /// How many have yet to answer; below zero while more have than were counted.
    pending: AtomicU32,
    /// Counts what those who wait for the turn are woken for.
    bell: AtomicU32,
    operation: UnsafeCell<Option<*const Operation<'static>>>,
}

// SAFETY: the operation is written and read by turns (I1), and is `Sync` itself.
unsafe impl<R: Reach> Sync for AllThreads<R> {}

impl<R: Reach> AllThreads<R> {
    model_const_fn! {
        /// Nobody calls.
        pub const fn new(reach: R) -> Self {
            Self {
                reach,
                turn: AtomicUsize::new(0),
                round: AtomicU32::new(0),
                pending: AtomicU32::new(0),
                bell: AtomicU32::new(0),
                operation: UnsafeCell::new(None),
            }
        }
    }

    /// How threads are reached.
    pub const fn reach(&self) -> &R {
        &self.reach
    }

    /// To be called by the handler of the signal by which threads are interrupted: runs the operation
    /// if this thread is asked to. True if it was. Async-signal-safe as far as the operation is.
    pub fn on_signal(&self) -> bool {
        self.reach.seat().is_some_and(|seat| seat.poll_in_handler(self))
    }

    /// In a handler: whether a call is under way, that of the signal at least. Saves the handler of
    /// another's signal the search for its seat.
    #[allow(dead_code, reason = "where threads know their seats nobody asks")]
    pub(crate) fn is_calling(&self) -> bool {
        // ORDERING: Relaxed, but by a read-modify-write: it reads no older value than `publish` wrote
        // before the signal was sent. A load: all_threads handler_asks_for_a_call.
        self.round.fetch_or(0, Relaxed) & ACTIVE != 0
    }

    /// The round that a thread of unknown descent is taken to have run: in a call neither that one nor,
    /// should that be undone, the one before.
    fn epoch_of_strangers(&self) -> u32 {
        // ORDERING: Relaxed: whatever it is, the seat's is looked at by the sweep or it is not.
        let round = self.round.load(Relaxed);
        (round & !ACTIVE).wrapping_sub(2 * ROUND * (round & ACTIVE))
    }

    /// By a thread that is RUNNING: the result, and which round it was.
    fn perform(&self) -> (Result<i32, Errno>, u32) {
        /// An operation that unwinds ends the process: beyond are handlers' frames.
        struct Unwinding<'a, R: Reach>(&'a R);
        impl<R: Reach> Drop for Unwinding<'_, R> {
            fn drop(&mut self) {
                self.0.abort();
            }
        }
        // SAFETY: published before this thread was asked, and not cleared until it has answered (I1).
        let operation = self.operation.with(|place| unsafe { (*place).map(|it| &*it) });
        let unwinding = Unwinding(&self.reach);
        let result = operation.map_or(Ok(0), |operation| operation());
        core::mem::forget(unwinding);
        // ORDERING: Relaxed: by E1.
        (result, self.round.load(Relaxed) & !ACTIVE)
    }

    /// One has answered.
    fn acknowledge(&self) {
        // ORDERING: Release: E2 to `wait`. Weakened: all_threads blocked_in_syscall.
        if self.pending.fetch_sub(1, Release) == 1 {
            sys::wake_one(&self.pending);
        }
    }

    /// Becomes the one that calls, running what it is asked meanwhile (I5). A handler that interrupts
    /// this must not wait in turn: what this thread owes, a wake-up that it has to pass on, it would
    /// owe for ever.
    fn take_turn(&self, deadline: Option<&Deadline>) -> Result<(), CallError> {
        let here = self.reach.here();
        if here.is_engaged() {
            return Err(CallError::Engaged);
        }
        here.engaged(|| self.wait_for_turn(deadline))
    }

    fn wait_for_turn(&self, deadline: Option<&Deadline>) -> Result<(), CallError> {
        // Of even address: this leaves room for the flag.
        let me = core::ptr::from_ref(self.reach.here()).addr() / 2;
        let mut contended = 0;
        loop {
            // ORDERING: Acquire: E3 from `ring`: what it was rung for is seen below. Weakened:
            // all_threads two_callers.
            let rung = self.bell.load(Acquire);
            self.reach.seat().inspect(|seat| _ = seat.poll(self));
            // ORDERING: Acquire: E3 from `give_turn`. Weakened: all_threads
            // masked_caller_is_asked. Failure Relaxed: somebody has it.
            let holder = match self.turn.compare_exchange(0, me | contended, Acquire, Relaxed) {
                Ok(_) => return Ok(()),
                Err(holder) => holder,
            };
            if holder & !CONTENDED == me {
                return Err(CallError::Engaged);
            }
            if contended == 0 || holder & CONTENDED == 0 {
                // ORDERING: Acquire: E1 from `remind`, which either finds the flag or is seen by the
                // poll above, the next time around. Weakened: all_threads masked_caller_is_asked.
                // Failure Relaxed: only tried again.
                let flagged = holder | CONTENDED;
                if self.turn.compare_exchange(holder, flagged, Acquire, Relaxed).is_ok() {
                    contended = CONTENDED;
                }
                continue;
            }
            if sys::wait(&self.bell, rung, deadline) == Waited::TimedOut {
                return Err(CallError::TimedOut);
            }
            // ORDERING: Relaxed: a look.
            if self.bell.load(Relaxed) != rung {
                // It may be for another one.
                sys::wake_one(&self.bell);
            }
        }
    }

    fn give_turn(&self) {
        // A handler that interrupts this must not call: those who wait have yet to be woken.
        self.reach.here().engaged(|| {
            // ORDERING: Release: E3 to `take_turn`. Weakened: all_threads masked_caller_is_asked.
            if self.turn.swap(0, Release) & CONTENDED != 0 {
                self.ring();
            }
        });
    }

    /// All were asked: those who wait for the turn, with signals masked perhaps, are to look.
    fn remind(&self) {
        // ORDERING: Release: E1 to `take_turn`. Weakened: all_threads masked_caller_is_asked.
        if self.turn.fetch_or(0, Release) & CONTENDED != 0 {
            self.ring();
        }
    }

    fn ring(&self) {
        // ORDERING: Release: to `take_turn`. Weakened: all_threads masked_caller_is_asked.
        self.bell.fetch_add(1, Release);
        sys::wake_one(&self.bell);
    }

    /// What the child of a fork has of it.
    #[cfg(all(test, loom))]
    pub(crate) fn copied(&self, reach: R) -> Self {
        let copy = Self::new(reach);
        // ORDERING: Relaxed, but by read-modify-writes: a copy has the newest values.
        copy.turn.swap(self.turn.fetch_or(0, Relaxed), Relaxed);
        copy.round.swap(self.round.fetch_or(0, Relaxed), Relaxed);
        copy.pending.swap(self.pending.fetch_or(0, Relaxed), Relaxed);
        copy
    }

    /// In the child of a fork: forgets calls of the parent, empties the seats of its other threads, and
    /// names the calling one anew. Until this was called, nothing else here may be.
    /// Async-signal-safe.
    ///
    /// # Safety
    ///
    /// The calling thread is the only one of its process, and came by its fork: not in an operation,
    /// nor in the middle of joining, leaving or creating a thread. `seats` are all at which threads of
    /// the parent may have been.
    pub unsafe fn reset_after_fork(&self, seats: impl IntoIterator<Item = &'static Seat>) {
        let own = self.reach.here().seat();
        for seat in seats {
            let stays = own.is_some_and(|own| core::ptr::eq(own, seat));
            seat.reset(stays);
            // A waker is where it was; a name is not.
            if stays && !seat.is_cooperative() {
                seat.sit(self.reach.current());
            }
        }
        // ORDERING: Relaxed: there is one thread.
        self.turn.store(0, Relaxed);
        self.pending.store(0, Relaxed);
        let round = self.round.load(Relaxed) & !ACTIVE;
        self.round.store(round, Relaxed);
    }
}

impl<R: Reach> fmt::Debug for AllThreads<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllThreads").finish_non_exhaustive()
    }
}

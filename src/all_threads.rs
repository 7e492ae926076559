//! One operation on every thread, exactly once: of what the kernel keeps for each thread, or of the
//! threads themselves.
//!
//! Who needs this: a program that changes rights, limits or filters which Linux keeps for each thread
//! ([`linux`](https://docs.rs/portcullis/latest/portcullis/all_threads/linux/)), on every thread of the
//! process; a runtime that has each of its threads do something now, whatever that thread is at: running,
//! asleep, in a system call. Threads of a runtime [join](AllThreads::join) and are told exactly;
//! `call_everyone` reaches all others too.
//!
//! ```
//! # #[cfg(all(unix, feature = "std"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use portcullis::all_threads::{Call, Operation, ThreadSeat, registered};
//! use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
//!
//! static SEATS: [ThreadSeat; 2] = [const { ThreadSeat::new() }; 2];
//! static RAN: AtomicU32 = AtomicU32::new(0);
//!
//! let member = registered().join(&SEATS[0])?; // this thread is reached from here on
//! let (tell, told) = std::sync::mpsc::channel::<()>();
//! let other = member.spawn(&SEATS[1], move |_| told.recv().is_err())?; // and this one
//! let report = registered().call(&SEATS, Call::new(Operation::count(&RAN)))?;
//! assert!(report.is_complete() && RAN.load(Relaxed) == 2);
//! drop(tell);
//! # assert!(other.join().unwrap()?);
//! # Ok(())
//! # }
//! # #[cfg(not(all(unix, feature = "std")))]
//! # fn main() {}
//! ```
//!
//! *Who installs the handler*: `registered` and `call_everyone` do, before they use it; for SIGURG, or on Linux for
//! another signal where somebody else has a handler for that one. One that was there before is called for signals that
//! are not this crate's. Your program has nothing to install; a thread that masks the signal is reached when it masks it
//! no more (`call_everyone` has other ways). With a [`Reach`] of your own the handler is yours, and calls
//! [`AllThreads::on_signal`].
//!
//! An [`Operation`] of one's own code runs in signal handlers, and is handed in through `unsafe`; those that
//! are ready-made, system calls among them, need none. What only a runtime with a way of its own to reach
//! threads needs is in [`host`].
//!
//! # Contexts
//!
//! | caller | may call | may not |
//! |---|---|---|
//! | a thread that is to be reached | [`AllThreads::join`], once; then by its [`Member`] poll, sleep, create threads | end joined |
//! | any thread, a signal handler too | [`AllThreads::call`] | from inside an operation: [`CallError::Engaged`] |
//! | the handler of the signal | [`AllThreads::on_signal`] | |
//! | a thread that ends | [`AllThreads::thread_ends`], if its [`Reach`] has it called | join again |
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
//! | COOPERATIVE | LIVE, COOPERATIVE | asleep where a [`WakeFn`] reaches it |
//! | ASKED | one of the three, ASKED | to run the operation |
//! | RUNNING | one of the three, RUNNING | runs it |
//!
//! and HELD while the caller interrupts or wakes the thread. All seats share a turn: free or taken, and
//! whether others wait. Each thread knows whether it is ENGAGED: in a call, an operation, or between having a
//! seat and not; and whether it has ENDED.
//!
//! # Transitions
//!
//! | event | steps |
//! |---|---|
//! | call | ENGAGED, until the end; take the turn, running meanwhile what others ask of this thread; run the operation here; if that fails, give the turn up; publish it with a new round; sweep; clear it; give the turn up |
//! | sweep | for each seat that is not EMPTY and whose round is another: ASKED, HELD unless it is BUSY; interrupt or wake; HELD off. Wait until as many have answered. Again, until nobody was asked |
//! | the thread hears of it | ASKED to RUNNING, run, its round is this one, answer. In a handler, by a poll, or as it settles |
//! | join | BUSY, with the last round, or in a call an earlier one; then settle |
//! | create a thread | the creator BUSY, all signals masked; the new seat BUSY, with the creator's round; create; unmask and settle, each by itself |
//! | give up a birth | EMPTY, with a stranger's round; answer if it was ASKED |
//! | settle | run what is asked; BUSY off |
//! | leave | BUSY; wait while HELD; run what is asked; EMPTY |
//! | the thread ends | leave, if it has not; ENDED |
//! | deadline, or a panic in the call | ASKED is taken back where it stands, and what is RUNNING waited for; then the call asks once more, or ends |
//!
//! # Invariants
//!
//! - I1: the operation is written and cleared while nobody is ASKED or RUNNING.
//! - I2: whoever takes ASKED away answers, once: the thread after it ran, the caller who withdraws.
//! - I3: a thread runs a round if its seat's is another, and then its seat's is that one. So each that
//!   was there runs it once, and one that was created by a thread that had run it, not at all.
//! - I4: `name` changes only while BUSY and not HELD; HELD is set only while not BUSY.
//! - I5: nobody who is ASKED or RUNNING waits for the turn without running what he is asked.
//! - I6: a thread has its seat for as long as others may interrupt it by its name, and lives for as long.
//! - I7: no handler calls on a thread that is BUSY, RUNNING or ENGAGED: it is refused. On a thread that has a seat
//!   and cannot know it yet, as it is being created, none runs.
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
//! then; longer only if its seats stop telling of a thread that was asked. Without a deadline it gives up
//! threads that its reach says are unreachable, two seconds after it waits for no others. Threads wait for no
//! call, but for the one system call by which they are being interrupted. A sweep more is made for threads that
//! joined or were created meanwhile: if they come as fast as they are asked, until the deadline alone; if
//! 1,000 sweeps in a row find nobody, no more. A handler waits for nothing: not for a call, nor for a state.
//!
//! # Limits
//!
//! 2^24 rounds before one repeats: a seat that stayed BUSY for as long is taken to have run it. The
//! operation must not unwind on a thread that it was sent to: the process aborts. A thread that ends without
//! a word, by a raw exit say, is found out by the system where it numbers threads (Linux); elsewhere it is
//! undefined to interrupt one, so a thread that has joined must end as POSIX has threads end.
//!
//! # Prior art
//!
//! Go `runtime/os_linux.go` doAllThreadsSyscall (0a5fae2a0e): waits for every new thread's name before
//! it interrupts any; here a new thread needs no name to be asked. glibc `nptl/nptl_setxid.c`, musl
//! `thread/synccall.c`, libpsx.

mod call;
mod error;
pub mod host;
mod initiate;
#[cfg(all(
    feature = "std",
    any(target_os = "linux", target_os = "android"),
    not(all(loom, any(test, feature = "loom")))
))]
pub mod linux;
mod member;
mod operation;
#[cfg(all(feature = "std", unix, not(all(loom, any(test, feature = "loom")))))]
mod posix;
#[cfg(all(
    feature = "std",
    any(target_os = "linux", target_os = "android"),
    not(all(loom, any(test, feature = "loom")))
))]
mod process;
mod seat;
#[cfg(all(
    feature = "std",
    any(target_os = "linux", target_os = "android"),
    not(all(loom, any(test, feature = "loom")))
))]
mod silent;
#[cfg(all(feature = "std", not(all(loom, any(test, feature = "loom")))))]
mod spawn;

use core::fmt;

use crate::note::Deadline;
use crate::sync::model_const_fn;
use crate::sync::{AtomicU32, Ordering::*, UnsafeCell};
pub use crate::sys::Errno;
use crate::sys::{self, Waited};
pub use call::{Call, Hear, Late, Mismatch, Missing, Report, Seats, WhenLate};
pub use error::{CallError, JoinError};
use host::{Reach, SeatLocal};
pub use member::{Birth, Member};
pub use operation::{Operation, WakeFn};
#[cfg(all(feature = "std", unix, not(all(loom, any(test, feature = "loom")))))]
pub use posix::{SystemReach, ThreadSeat, registered};
#[cfg(all(
    feature = "std",
    any(target_os = "linux", target_os = "android"),
    not(all(loom, any(test, feature = "loom")))
))]
pub use process::{ProcessReach, call_everyone};
#[cfg(all(test, not(loom)))]
pub(crate) use seat::LIVE;
use seat::ROUND;
pub use seat::Seat;
#[cfg(all(feature = "std", not(all(loom, any(test, feature = "loom")))))]
pub use spawn::SpawnError;

/// In `round`: a call is under way.
const ACTIVE: u32 = 1;
/// In `turn`: somebody has it.
const TAKEN: u32 = 1;
/// In `turn`: somebody waits for it.
const CONTENDED: u32 = 1 << 1;

/// What all seats of a runtime share. Made to be a `static`.
pub struct AllThreads<R: Reach> {
    reach: R,
    turn: AtomicU32,
    round: AtomicU32,
    /// How many have yet to answer; below zero while more have than were counted.
    pending: AtomicU32,
    /// Counts what those who wait for the turn are woken for.
    bell: AtomicU32,
    operation: UnsafeCell<Option<Operation<'static>>>,
}

// SAFETY: the operation is written by who has the turn and read by who was asked since (I1): `initiate` and
// `Seat::run` see to that, and that nobody who may still read is buried, `Reach::look_after`. What it borrows is
// `Sync`; so is the reach.
unsafe impl<R: Reach> Sync for AllThreads<R> {}

impl<R: Reach> AllThreads<R> {
    model_const_fn! {
        /// Nobody calls.
        ///
        /// # Safety
        ///
        /// There is one for what this reach's [`here`](Reach::here) returns, and for every [`Seat`] of the
        /// reach's type that is used: for instance, the only one of its type.
        pub const unsafe fn new(reach: R) -> Self {
            Self {
                reach,
                turn: AtomicU32::new(0),
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

    /// The calling thread's own.
    fn here<T>(&self, look: impl FnOnce(&SeatLocal<R>) -> T) -> T {
        // SAFETY: valid while the calling thread lives, as who implements `Reach` promises; it does until
        // this returns.
        look(unsafe { &*self.reach.here() })
    }

    /// The calling thread is in the middle of something for as long as `body` runs: a handler that
    /// interrupts it is refused a call.
    fn engaged<T>(&self, body: impl FnOnce() -> T) -> T {
        self.here(|here| here.engaged(body))
    }

    /// In a handler: whether a call is under way, that of the signal at least. Saves the handler of
    /// another's signal the search for its seat.
    #[cfg(any(test, all(feature = "std", unix, not(all(loom, feature = "loom")))))]
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
        // SAFETY: called by `Seat::finish` alone, RUNNING: published before this thread was asked, and not
        // cleared until it has answered, for which `Sweep` waits (I1).
        let operation = self.operation.with(|place| unsafe { *place });
        let unwinding = Unwinding(&self.reach);
        let result = operation.map_or(Ok(0), |operation| operation.run());
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

    /// Becomes the one that calls, running what it is asked meanwhile (I5).
    fn take_turn(&self, deadline: Option<&Deadline>) -> Result<(), CallError> {
        let mut contended = 0;
        loop {
            // ORDERING: Acquire: E3 from `ring`: what it was rung for is seen below. Weakened:
            // all_threads masked_callers_are_told_nothing.
            let rung = self.bell.load(Acquire);
            self.reach.seat().inspect(|seat| _ = seat.poll(self));
            // ORDERING: Acquire: E3 from `give_turn`. Weakened: all_threads
            // masked_caller_is_asked. Failure Relaxed: somebody has it.
            let taken = match self.turn.compare_exchange(0, TAKEN | contended, Acquire, Relaxed) {
                Ok(_) => return Ok(()),
                Err(taken) => taken,
            };
            if contended == 0 || taken & CONTENDED == 0 {
                // ORDERING: Acquire: E1 from `remind`, which either finds the flag or is seen by the
                // poll above, the next time around. Weakened: all_threads masked_caller_is_asked.
                // Failure Relaxed: only tried again.
                let flagged = taken | CONTENDED;
                if self.turn.compare_exchange(taken, flagged, Acquire, Relaxed).is_ok() {
                    contended = CONTENDED;
                }
                continue;
            }
            if sys::wait(&self.bell, rung, deadline) == Waited::TimedOut {
                return Err(CallError::TimedOut);
            }
            // By a read-modify-write: a wake-up orders no memory, so a load might find what there was before
            // it. Who was woken would pass nothing on, see the bell in the next turn, and sleep.
            // ORDERING: Relaxed: what it was rung for is seen above. A load: all_threads
            // masked_callers_are_told_nothing.
            if self.bell.fetch_or(0, Relaxed) != rung {
                // It may be for another one.
                sys::wake_one(&self.bell);
            }
        }
    }

    fn give_turn(&self) {
        // ORDERING: Release: E3 to `take_turn`. Weakened: all_threads masked_caller_is_asked.
        if self.turn.swap(0, Release) & CONTENDED != 0 {
            self.ring();
        }
    }

    /// All were asked: those who wait for the turn, with signals masked perhaps, are to look.
    fn remind(&self) {
        // ORDERING: Release: E1 to `take_turn`. Weakened: all_threads masked_caller_is_asked.
        if self.turn.fetch_or(0, Release) & CONTENDED != 0 {
            self.ring();
        }
    }

    fn ring(&self) {
        // ORDERING: Release: to `take_turn`. Weakened: all_threads masked_callers_are_told_nothing.
        self.bell.fetch_add(1, Release);
        sys::wake_one(&self.bell);
    }

    /// What the child of a fork has of it.
    #[cfg(all(test, loom))]
    pub(crate) fn copied(&self, reach: R) -> Self {
        // SAFETY: a child has its own of all.
        let copy = unsafe { Self::new(reach) };
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
    /// The calling thread is the only one of its process, and came by its fork: not in a call, nor in an
    /// operation, nor in the middle of joining, leaving or creating a thread. `seats` are all at which threads of
    /// the parent may have been.
    pub unsafe fn reset_after_fork(&self, seats: impl IntoIterator<Item = &'static Seat<R>>) {
        let own = self.here(SeatLocal::seat);
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

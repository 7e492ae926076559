//! For who reaches threads in a way of his own: a runtime on a system that
//! [`registered`](super::registered) does not serve, or with another signal.
//!
//! An implementation of [`Reach`], one `static` [`AllThreads`](super::AllThreads) over it, and a handler
//! that calls [`AllThreads::on_signal`](super::AllThreads::on_signal).

use core::fmt;

use super::Seat;
use crate::note::Deadline;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, Ordering::*, compiler_fence, model_const_fn};
use crate::sys::{self, Errno, Waited};

/// How threads are named, interrupted and told apart on this system.
///
/// Methods that are `unsafe` are called by [`AllThreads`](super::AllThreads) alone, as each says.
///
/// # Safety
///
/// - [`here`](Self::here) returns the same for as long as the calling thread lives, to no other thread,
///   blank at first, valid for that long.
/// - [`seat`](Self::seat), where it is not the one provided, returns a seat at which the calling thread
///   is, or none.
/// - [`interrupt`](Self::interrupt) says false, and [`look_after`](Self::look_after) that one is
///   [`Gone`](Silence::Gone), of threads that do not run any more, and of no others: nobody waits for the
///   answer of such a thread, and what the operation borrows goes.
/// - No method unwinds: others wait for what is held meanwhile.
/// - `interrupt` bears the name of a thread that has ended; or
///   [`watch_end`](Self::watch_end) has each thread leave its seat before it ends.
pub unsafe trait Reach: Sync + Sized + 'static {
    /// The calling thread's own. Async-signal-safe. A raw pointer, as what it points to ends with the
    /// thread.
    fn here(&self) -> *const SeatLocal<Self>;

    /// The calling thread's seat. Async-signal-safe.
    fn seat(&self) -> Option<&'static Seat<Self>> {
        // SAFETY: valid while the calling thread lives, as who implements `here` promises.
        unsafe { (*self.here()).seat() }
    }

    /// Names the calling thread; not 0. Async-signal-safe.
    fn current(&self) -> usize;

    /// Before the first thread is to be reached.
    ///
    /// # Errors
    ///
    /// The system's: threads cannot be reached.
    ///
    /// # Safety
    ///
    /// Called by the [`AllThreads`](super::AllThreads) of this reach, which answers the signal: as a
    /// thread joins, before each call, and while it waits for answers.
    unsafe fn prepare(&self) -> Result<(), Errno>;

    /// Has [`AllThreads::thread_ends`](super::AllThreads::thread_ends) called when the calling thread
    /// ends; once for all times that this was called before.
    ///
    /// # Errors
    ///
    /// The system's: the thread is not registered then.
    ///
    /// # Safety
    ///
    /// Called by the [`AllThreads`](super::AllThreads) of this reach, a `static`, on the thread that joins.
    unsafe fn watch_end(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// Has the thread call [`AllThreads::on_signal`](super::AllThreads::on_signal) soon; false if there
    /// is no such thread. Async-signal-safe.
    ///
    /// # Errors
    ///
    /// The system has no room for the signal: the thread is not reached by the deadline.
    ///
    /// # Safety
    ///
    /// `name` is what [`current`](Self::current) returned to a thread that has not left its seat since:
    /// called by who holds that seat in place.
    unsafe fn interrupt(&self, name: usize) -> Result<bool, Errno>;

    /// Looks after a thread that has not answered for a while, and interrupts it once more if it has not
    /// begun: one that is in the middle of the operation is not to be, for its next signal would come when
    /// the call is over, and be taken for somebody else's. Async-signal-safe.
    ///
    /// # Safety
    ///
    /// As for [`interrupt`](Self::interrupt).
    unsafe fn look_after(&self, name: usize, has_begun: bool) -> Silence {
        // SAFETY: as the caller promises.
        match !has_begun && unsafe { self.interrupt(name) } == Ok(false) {
            true => Silence::Gone,
            false => Silence::Lives,
        }
    }

    /// Ends the process, as threads differ that must not, or an operation unwinds where it must not.
    /// Async-signal-safe.
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
#[non_exhaustive]
pub enum Wait {
    /// Woken, or for no reason.
    Woken,
    /// The deadline has passed.
    TimedOut,
    /// It has lasted long enough to ask whether all threads are still there.
    Look,
}

/// Why a thread does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Silence {
    /// It will, for all that is known.
    Lives,
    /// It has ended, or can never run any code of the process: nobody waits for it.
    Gone,
    /// It lives, and is not to be reached as it is now: it sleeps with the signals masked, say. A call
    /// without a deadline that waits for nobody else gives it up after a while.
    Unreachable,
}

/// What each thread has of its own, for one reach: a thread-local without a destructor.
pub struct SeatLocal<R> {
    seat: AtomicPtr<Seat<R>>,
    /// In the middle of a call, an operation, or between having a seat and not.
    engaged: AtomicBool,
    /// The thread ends, and has no seat any more.
    ended: AtomicBool,
}

impl<R: 'static> SeatLocal<R> {
    model_const_fn! {
        /// A thread without a seat.
        pub const fn new() -> Self {
            Self {
                seat: AtomicPtr::new(core::ptr::null_mut()),
                engaged: AtomicBool::new(false),
                ended: AtomicBool::new(false),
            }
        }
    }

    // ORDERING: Relaxed everywhere here: the thread's own, and its handlers'.
    pub(super) fn seat(&self) -> Option<&'static Seat<R>> {
        // SAFETY: stored by `set`, which was given it for ever.
        unsafe { self.seat.load(Relaxed).as_ref() }
    }

    /// The thread's seat from now on. A handler of this thread finds the seat BUSY: `set` is called
    /// between `reserve` or `be_busy`, which acquires, and `settle`, which releases.
    pub(crate) fn set(&self, seat: Option<&'static Seat<R>>) {
        let seat = seat.map_or(core::ptr::null_mut(), |seat| core::ptr::from_ref(seat).cast_mut());
        self.seat.store(seat, Relaxed);
    }

    /// The thread is in the middle of something for as long as `body` runs, be it left by a panic.
    pub(super) fn engaged<T>(&self, body: impl FnOnce() -> T) -> T {
        struct Before<'a>(&'a AtomicBool, bool);
        impl Drop for Before<'_> {
            fn drop(&mut self) {
                // As below: nothing of the body comes after the store.
                compiler_fence(SeqCst);
                // ORDERING: Relaxed: the thread's own, and its handlers'.
                self.0.store(self.1, Relaxed);
            }
        }
        // ORDERING: Relaxed, here and below: the thread's own, and its handlers'.
        let _before = Before(&self.engaged, self.engaged.load(Relaxed));
        self.engaged.store(true, Relaxed);
        // A handler of this thread that finds any of the body done must find this too. The processor
        // sees to that for one thread; the compiler does not.
        compiler_fence(SeqCst);
        body()
    }

    pub(super) fn is_engaged(&self) -> bool {
        // ORDERING: Relaxed: the thread's own.
        self.engaged.load(Relaxed) || self.seat().is_some_and(Seat::is_engaged)
    }

    /// No seat from here on.
    pub(super) fn end(&self) {
        // ORDERING: Relaxed: the thread's own.
        self.ended.store(true, Relaxed);
    }

    pub(super) fn has_ended(&self) -> bool {
        // ORDERING: Relaxed: the thread's own.
        self.ended.load(Relaxed)
    }
}

impl<R: 'static> Default for SeatLocal<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> fmt::Debug for SeatLocal<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeatLocal").finish_non_exhaustive()
    }
}

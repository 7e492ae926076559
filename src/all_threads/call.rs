//! What a call is told: what to do, to whom, until when; and what it tells.

use core::fmt;
use core::marker::PhantomData;

use super::{Operation, Seat};
use crate::note::Deadline;
use crate::sys::Errno;

/// Which threads are to be reached. Those that are attached may have their seats in their records, and
/// the set is [`Threads::records`](crate::attach::Threads::records).
///
/// Called by the calling thread, which has the turn meanwhile: it must not wait for a thread that calls,
/// nor for one that is being called. What is told need not be the same each time, and nothing of it has
/// to be true for the operation to stay borrowed while it runs: a seat is asked once even if it is told
/// twice. But a call waits for each thread that it has asked; one whose seat is not told any more is
/// waited for without a deadline, until it has answered by itself.
pub trait Seats<R> {
    /// Every seat, empty or not; called more than once.
    fn each(&self, look: &mut dyn FnMut(&Seat<R>));
    /// Before the operation, and before each sweep: gives seats to threads that have none. By the one
    /// that has the turn. `strangers` is the round for them.
    ///
    /// # Errors
    ///
    /// The system does not say which threads there are.
    fn refresh(&self, _strangers: u32) -> Result<(), Errno> {
        Ok(())
    }
    /// The call is over.
    fn done(&self) {}
}

impl<R> Seats<R> for [Seat<R>] {
    fn each(&self, look: &mut dyn FnMut(&Seat<R>)) {
        self.iter().for_each(look);
    }
}

impl<R, const N: usize> Seats<R> for [Seat<R>; N] {
    fn each(&self, look: &mut dyn FnMut(&Seat<R>)) {
        self.iter().for_each(look);
    }
}

/// Hears what an operation returned on a thread. The calling thread calls it, and has the turn: it must
/// not wait for a thread that calls.
pub type Hear<'a, R> = dyn Fn(&Seat<R>, Result<i32, Errno>) + 'a;

/// Says what comes after the deadline: see [`Call::when_late`].
pub type WhenLate<'a, R> = dyn Fn(&Missing<'_, R>) -> Late + 'a;

/// What is to be done, until when, and who hears of it.
pub struct Call<'a, R> {
    pub(super) operation: Operation<'a>,
    pub(super) deadline: Option<&'a Deadline>,
    pub(super) mismatch: Mismatch<'a>,
    pub(super) each: Option<&'a Hear<'a, R>>,
    pub(super) late: Option<&'a WhenLate<'a, R>>,
    seats: PhantomData<fn() -> R>,
}

/// What if the operation returns something else on a thread than on the first.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Mismatch<'a> {
    /// It is counted.
    Report,
    /// This is run on the threads where the operation succeeded, the first one last; then it is counted.
    Undo(Operation<'a>),
    /// The process ends: as in Go and glibc, where no code runs with different rights in one process.
    Abort,
}

/// What a call does about threads that have not run the operation by the deadline.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Late {
    /// Leaves them alone: they will not run it.
    Abandon,
    /// Asks them again, until then.
    Until(Deadline),
    /// Asks them again, for as long as it takes.
    Wait,
}

/// The threads that have not run the operation by the deadline. Nobody is asked while this is looked at.
pub struct Missing<'a, R> {
    pub(super) each: &'a Tells<'a, R>,
}

/// Tells of seats.
type Tells<'a, R> = dyn Fn(&mut dyn FnMut(&Seat<R>)) + 'a;

impl<R> Missing<'_, R> {
    /// How many there are now: more may have come, or some have left, since the deadline.
    #[must_use]
    pub fn count(&self) -> u32 {
        let mut count = 0;
        self.each(&mut |_| count += 1);
        count
    }

    /// Hears of the seat of each.
    pub fn each(&self, look: &mut dyn FnMut(&Seat<R>)) {
        (self.each)(look);
    }
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "perhaps not every thread was reached"]
pub struct Report {
    /// What the operation returned on the calling thread.
    pub first: i32,
    /// Threads on which it ran, that one not counted; and those that were created meanwhile by one on which
    /// it had run, and so have inherited it.
    pub others: u32,
    /// Those of them on which it returned something else.
    pub mismatches: u32,
    /// Threads that had ended without a word.
    pub gone: u32,
    /// Threads on which it was not run, as the call was abandoned.
    pub abandoned: u32,
    /// One of those, as [`Seat::thread`] names it; `None` if there are none, or it is not known.
    pub missing: Option<usize>,
}

impl Report {
    /// Every thread has run it: the call was not abandoned with any missing.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.abandoned == 0
    }
}

impl<'a, R> Call<'a, R> {
    /// This operation, for as long as it takes.
    #[must_use]
    pub fn new(operation: Operation<'a>) -> Self {
        Self {
            operation,
            deadline: None,
            mismatch: Mismatch::Report,
            each: None,
            late: None,
            seats: PhantomData,
        }
    }

    /// Until then, the wait for other calls included. Threads that have not begun by then are left alone,
    /// those that have are waited for; [`Report::abandoned`] says how many were left.
    #[must_use]
    pub fn until(self, deadline: &'a Deadline) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Asked once the deadline has passed and threads are missing, and again after each further one; without one
    /// when nobody is waited for but threads that cannot be reached, and again after as long. It is called on
    /// the calling thread, which has the turn, while nobody is asked. It must not wait for a thread that
    /// calls. If it panics, the call is abandoned.
    #[must_use]
    pub fn when_late(self, late: &'a WhenLate<'a, R>) -> Self {
        Self { late: Some(late), ..self }
    }

    /// What if threads differ.
    #[must_use]
    pub fn on_mismatch(self, mismatch: Mismatch<'a>) -> Self {
        Self { mismatch, ..self }
    }

    /// Hears of each thread on which it ran, the first one apart, once all have; then threads may run
    /// other calls' operations, not before.
    #[must_use]
    pub fn each(self, each: &'a Hear<'a, R>) -> Self {
        Self { each: Some(each), ..self }
    }
}

impl<R> Clone for Call<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for Call<'_, R> {}

impl<R> fmt::Debug for Call<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("operation", &self.operation)
            .field("deadline", &self.deadline)
            .field("mismatch", &self.mismatch)
            .finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for Missing<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Missing").field("count", &self.count()).finish_non_exhaustive()
    }
}

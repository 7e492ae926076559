//! What a call is told: what to do, to whom, until when; and what it tells.

use core::fmt;

use super::{Operation, Seat};
use crate::note::Deadline;
use crate::sys::Errno;

/// Which threads are to be reached. Those that are attached may have their seats in their records, and
/// the set is [`Threads::records`](crate::attach::Threads::records).
pub trait Seats {
    /// Every seat, empty or not; called more than once.
    fn each(&self, look: &mut dyn FnMut(&Seat));
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

impl Seats for [Seat] {
    fn each(&self, look: &mut dyn FnMut(&Seat)) {
        self.iter().for_each(look);
    }
}

impl<const N: usize> Seats for [Seat; N] {
    fn each(&self, look: &mut dyn FnMut(&Seat)) {
        self.iter().for_each(look);
    }
}

/// Hears what an operation returned on a thread.
pub type Hear<'a> = dyn Fn(&Seat, Result<i32, Errno>) + 'a;

/// What is to be done, until when, and who hears of it.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub(super) operation: &'a Operation<'a>,
    pub(super) deadline: Option<&'a Deadline>,
    pub(super) mismatch: Mismatch<'a>,
    pub(super) each: Option<&'a Hear<'a>>,
}

/// What if the operation returns something else on a thread than on the first.
#[derive(Clone, Copy)]
pub enum Mismatch<'a> {
    /// It is counted.
    Report,
    /// This is run on the threads where the operation succeeded, the first one last; then it is counted.
    Undo(&'a Operation<'a>),
    /// The process ends: as in Go and glibc, where no code runs with different rights in one process.
    Abort,
}

/// What became of a call that reached every thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// What the operation returned on the calling thread.
    pub first: i32,
    /// Threads on which it ran, that one not counted.
    pub others: u32,
    /// Those of them on which it returned something else.
    pub mismatches: u32,
    /// Threads that had ended without a word.
    pub gone: u32,
    /// Threads on which it was not run, as the call was abandoned.
    pub abandoned: u32,
}

impl<'a> Call<'a> {
    /// This operation, for as long as it takes.
    pub fn new(operation: &'a Operation<'a>) -> Self {
        Self { operation, deadline: None, mismatch: Mismatch::Report, each: None }
    }

    /// Until then, the wait for other calls included.
    #[must_use]
    pub fn until(self, deadline: &'a Deadline) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// What if threads differ.
    #[must_use]
    pub fn on_mismatch(self, mismatch: Mismatch<'a>) -> Self {
        Self { mismatch, ..self }
    }

    /// Hears of each thread on which it ran, the first one apart, once all have; then threads may run
    /// other calls' operations, not before.
    #[must_use]
    pub fn each(self, each: &'a Hear<'a>) -> Self {
        Self { each: Some(each), ..self }
    }
}

impl fmt::Debug for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Report => "Report",
            Self::Undo(_) => "Undo",
            Self::Abort => "Abort",
        })
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

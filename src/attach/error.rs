//! Why a thread was not attached, or not detached.

use core::fmt;

use crate::sys::Errno;

/// Why the calling thread was not attached. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// Every record is in use, or kept for handlers, and the call was not to wait (longer).
    Full,
    /// There is no record to wait for: none but the reserve for handlers, if any.
    NoRecords,
    /// Every record that there can be is kept for handlers.
    AllReserved,
    /// Called by the runtime's [`create`](super::Runtime::create): the record that it would wait for is the
    /// one that the calling thread makes.
    InCreate,
    /// Another [`Threads`](super::Threads) has these slots.
    SlotsTaken,
    /// [`Threads::shutdown`](super::Threads::shutdown) was called.
    ShuttingDown,
    /// Called from between two steps of an attach or detach of this thread: from
    /// [`Runtime::reset`](super::Runtime::reset), or from a handler of a signal that cannot be masked.
    InTransition,
    /// So many tokens of this thread are alive that no more can be counted.
    TooDeep,
    /// The system does not tell of the thread's end.
    ThreadEnd(Errno),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "every thread record is in use: wait for one, or have more created",
            Self::NoRecords => "there are no thread records to be had: call create first",
            Self::AllReserved => {
                "every thread record is kept for handlers: reserve fewer, or allow more records"
            }
            Self::InCreate => {
                "the runtime's own create would wait for the record that it makes: attach elsewhere"
            }
            Self::SlotsTaken => SLOTS_TAKEN,
            Self::ShuttingDown => "the runtime is shutting down: threads are no longer attached",
            Self::InTransition => "this thread is in the middle of attaching or detaching",
            Self::TooDeep => "this thread is attached 2^24 times: detach",
            Self::ThreadEnd(errno) => {
                return write!(
                    f,
                    "the system cannot watch the thread's end ({errno}): free a thread-specific key"
                );
            }
        })
    }
}

impl core::error::Error for AttachError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::ThreadEnd(errno) => Some(errno),
            _ => None,
        }
    }
}

const SLOTS_TAKEN: &str =
    "another Threads was made of the same slots and used first: declare a slot type for each";

/// Why no records were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateError {
    /// The reserve leaves none for ordinary code.
    ReserveTooLarge {
        /// Records that are to be kept for handlers.
        reserve: usize,
        /// Records that there can be.
        most: usize,
    },
    /// Another [`Threads`](super::Threads) has these slots.
    SlotsTaken,
    /// The system refused a signal stack.
    System(Errno),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReserveTooLarge { reserve, most } => write!(
                f,
                "{reserve} of at most {most} thread records are to be kept for handlers: reserve fewer, \
                 or allow more records"
            ),
            Self::SlotsTaken => f.write_str(SLOTS_TAKEN),
            Self::System(errno) => write!(f, "no memory for a thread's signal stack: {errno}"),
        }
    }
}

impl core::error::Error for CreateError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::System(errno) => Some(errno),
            _ => None,
        }
    }
}

/// Why a token was not given up: it is given back.
#[non_exhaustive]
pub enum DetachError<T> {
    /// Tokens that were made after this one are alive: give them up first.
    NotLast(T),
    /// The calling thread is not attached by this token: it belongs to another thread, or its thread's
    /// record went back at the thread's end.
    NotAttached(T),
}

impl<T> fmt::Debug for DetachError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLast(_) => "NotLast(..)",
            Self::NotAttached(_) => "NotAttached(..)",
        })
    }
}

impl<T> fmt::Display for DetachError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLast(_) => "later tokens of this thread are alive: detach them first",
            Self::NotAttached(_) => {
                "this thread is not attached by that token: it is another thread's, or this thread is \
                 ending"
            }
        })
    }
}

impl<T> core::error::Error for DetachError<T> {}

#[cfg(feature = "std")]
impl From<AttachError> for std::io::Error {
    fn from(error: AttachError) -> Self {
        use std::io::ErrorKind;
        let kind = match error {
            AttachError::ThreadEnd(errno) => return errno.into(),
            AttachError::Full => ErrorKind::WouldBlock,
            AttachError::InTransition | AttachError::InCreate => ErrorKind::Deadlock,
            _ => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(feature = "std")]
impl From<CreateError> for std::io::Error {
    fn from(error: CreateError) -> Self {
        use std::io::ErrorKind;
        match error {
            CreateError::System(errno) => errno.into(),
            CreateError::ReserveTooLarge { .. } => Self::new(ErrorKind::InvalidInput, error),
            CreateError::SlotsTaken => Self::other(error),
        }
    }
}

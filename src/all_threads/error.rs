//! Why an operation did not reach every thread, or none.

use core::fmt;

use crate::sys::Errno;

/// Why nothing was done: on no thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The operation failed on the calling thread, which runs it first.
    First(Errno),
    /// Another call was under way until the deadline.
    TimedOut,
    /// The calling thread is inside an operation or a call, or its handler interrupted one, or a step of
    /// joining, leaving or creating a thread: what it would wait for waits for it.
    Engaged,
    /// The system refused what is needed to reach threads.
    System(Errno),
    /// This thread does not answer: it masks every signal by which it could be reached, or is stopped by a
    /// debugger; or it had not answered by the deadline. 0 if it is not known which.
    Unreachable(usize),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First(errno) => {
                write!(
                    f,
                    "the operation failed on the first thread, and was run on no other: {errno}"
                )
            }
            Self::TimedOut => f.write_str("another call was under way until the deadline"),
            Self::Engaged => f.write_str(
                "this thread is in the middle of a call or operation on all threads: call again \
                 when that is over",
            ),
            Self::System(errno) => write!(f, "threads cannot be reached: {errno}"),
            Self::Unreachable(thread) => write!(
                f,
                "thread {thread} does not answer, and nothing was done on any: have it unmask the \
                 signals by which threads are reached, or end"
            ),
        }
    }
}

impl core::error::Error for CallError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::First(errno) | Self::System(errno) => Some(errno),
            Self::TimedOut | Self::Engaged | Self::Unreachable(_) => None,
        }
    }
}

/// The system's error where there is one, else [`TimedOut`](std::io::ErrorKind::TimedOut) or
/// [`WouldBlock`](std::io::ErrorKind::WouldBlock).
#[cfg(feature = "std")]
impl From<CallError> for std::io::Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::First(Errno(errno)) | CallError::System(Errno(errno)) => {
                Self::from_raw_os_error(errno)
            }
            CallError::TimedOut | CallError::Unreachable(_) => {
                Self::new(std::io::ErrorKind::TimedOut, error)
            }
            CallError::Engaged => Self::new(std::io::ErrorKind::WouldBlock, error),
        }
    }
}

/// Why a thread was not registered. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// The calling thread has a seat already.
    AlreadyJoined,
    /// Another thread has this seat.
    SeatTaken,
    /// The calling thread is inside a call, an operation, or another step of joining, or its handler
    /// interrupted one.
    Engaged,
    /// The calling thread ends, and has left its seat for good.
    ThreadEnding,
    /// The system refused the signal by which threads are reached, or to tell of the thread's end.
    System(Errno),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyJoined => {
                f.write_str("this thread has a seat already: drop that member first")
            }
            Self::SeatTaken => f.write_str("another thread has this seat: use one of its own"),
            Self::Engaged => f.write_str(
                "this thread is in the middle of a call, an operation or another step of joining: \
                 join when that is over",
            ),
            Self::ThreadEnding => {
                f.write_str("this thread ends, and is reached no more: join earlier in its life")
            }
            Self::System(errno) => write!(f, "this thread could not be reached: {errno}"),
        }
    }
}

impl core::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::System(errno) => Some(errno),
            _ => None,
        }
    }
}

/// The system's error where there is one, else of no [kind](std::io::ErrorKind) but `Other`.
#[cfg(feature = "std")]
impl From<JoinError> for std::io::Error {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::System(Errno(errno)) => Self::from_raw_os_error(errno),
            _ => Self::other(error),
        }
    }
}

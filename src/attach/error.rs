//! Why a thread was not attached, or not detached.

use core::fmt;

use crate::sys::Errno;

/// Why the calling thread was not attached. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// Every record is in use, or kept for handlers, and the call was not to wait (longer).
    Full,
    /// There is no record at all to wait for.
    NoRecords,
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
            Self::NoRecords => "there are no thread records: call create first",
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

impl core::error::Error for AttachError {}

/// Why a token was not given up; it is given back where there was one.
pub enum DetachError<T> {
    /// Tokens that were made after this one are alive: give them up first.
    NotLast(T),
    /// The calling thread is not attached by this token: it was given up already, or belongs to
    /// another thread.
    NotAttached,
}

impl<T> fmt::Debug for DetachError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLast(_) => "NotLast(..)",
            Self::NotAttached => "NotAttached",
        })
    }
}

impl<T> fmt::Display for DetachError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLast(_) => "later tokens of this thread are alive: detach them first",
            Self::NotAttached => {
                "this thread is not attached by that token: it was detached already, or by another \
                 thread"
            }
        })
    }
}

impl<T> core::error::Error for DetachError<T> {}

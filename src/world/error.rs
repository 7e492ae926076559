//! What stands in the way of entering and of stopping.

use core::fmt;

use super::{Late, Remaining};
use crate::preempt::RegisterError;
use crate::preempt::host::{Backend, Barrier};
use crate::sys::Errno;

/// Why a thread did not enter. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnterError {
    /// So many threads are in the world, or on their way into it: there is no slot for another one.
    Full(usize),
    /// The world is shutting down, or has: nobody enters any more.
    ShuttingDown,
    /// The calling thread has the world stopped, or is in a handshake: it would wait for itself.
    Stopper,
    /// The thread was not registered at its gate; `AlreadyRegistered` where it is a member already.
    Register(RegisterError),
}

impl fmt::Display for EnterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(slots) => write!(
                f,
                "all {slots} slots of the world are in use: wait until a thread leaves, or give it more"
            ),
            Self::ShuttingDown => {
                f.write_str("the world is shutting down: no thread enters any more")
            }
            Self::Stopper => f.write_str(
                "this thread has the world stopped, or is in a handshake: it would wait for itself",
            ),
            Self::Register(error) => write!(f, "the thread did not enter: {error}"),
        }
    }
}

impl core::error::Error for EnterError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Full(_) | Self::ShuttingDown | Self::Stopper => None,
            Self::Register(error) => Some(error),
        }
    }
}

/// Why the world was not stopped. It runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopError {
    /// The calling thread is a member, or registered at another gate: it would wait for itself. A member has
    /// [`Member::stop`](super::Member::stop).
    Member,
    /// The calling thread made the stop that is in force, or is in a handshake: it would wait for itself.
    Nested,
    /// The system runs no barrier on other threads any more, as a sandbox forbids it: whether they run cannot
    /// be seen. A world that is [`Fenced`](crate::preempt::Fenced) needs none.
    NoBarrier(Errno),
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member => f.write_str(
                "a thread of the world stops it by its own `Member::stop`: else it would wait for itself",
            ),
            Self::Nested => f.write_str(
                "this thread has the world stopped already, or is in a handshake: drop that first",
            ),
            Self::NoBarrier(errno) => write!(
                f,
                "the system runs no barrier on other threads any more ({errno}): use a fenced world"
            ),
        }
    }
}

impl core::error::Error for StopError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Member | Self::Nested => None,
            Self::NoBarrier(errno) => Some(errno),
        }
    }
}

/// Why the world was not stopped until a deadline.
#[non_exhaustive]
pub enum StopByError<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static, W = ()> {
    /// Another stopper had its turn until then.
    Busy,
    /// Some did not stop in time. The others stand until this is dropped.
    Late(Late<R, B, K, W>),
    /// It would not have been stopped without a deadline either.
    Refused(StopError),
}

impl<R: Sync, B: Barrier, K: Backend, W> From<StopError> for StopByError<R, B, K, W> {
    fn from(refused: StopError) -> Self {
        Self::Refused(refused)
    }
}

impl<R: Sync, B: Barrier, K: Backend, W> fmt::Display for StopByError<R, B, K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("another thread had the world stopped until the deadline"),
            Self::Late(late) => write!(
                f,
                "{} threads did not stop in time: they neither poll nor go out",
                late.threads().count()
            ),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl<R: Sync, B: Barrier, K: Backend, W> fmt::Debug for StopByError<R, B, K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StopByError({self})")
    }
}

impl<R: Sync, B: Barrier, K: Backend, W> core::error::Error for StopByError<R, B, K, W> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused(refused) => refused.source(),
            _ => None,
        }
    }
}

/// Why a handshake with a thread did not take place. The thread runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// It has left, or has ended; or is of another world.
    Gone,
    /// It neither polled nor went out until the deadline.
    Late,
    /// Another thread stopped the world, or was in a handshake, until the deadline.
    Busy,
    /// Neither would it be without a deadline.
    Refused(StopError),
}

impl From<StopError> for HandshakeError {
    fn from(refused: StopError) -> Self {
        Self::Refused(refused)
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the thread has left the world, or is of another one"),
            Self::Late => f.write_str("the thread neither polled nor went out until the deadline"),
            Self::Busy => f.write_str("other threads were stopped until the deadline: try again"),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl core::error::Error for HandshakeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused(refused) => refused.source(),
            _ => None,
        }
    }
}

/// Why a shutdown is not over. Nobody enters any more.
#[non_exhaustive]
pub enum ShutdownError<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    /// The calling thread would wait for itself: it is a member, or has the world stopped.
    Refused(StopError),
    /// These had not left by the deadline.
    Late(Remaining<R, B, K>),
}

impl<R: Sync, B: Barrier, K: Backend> fmt::Display for ShutdownError<R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(StopError::Member) => {
                f.write_str("a thread of the world would wait for itself to leave: it leaves first")
            }
            Self::Refused(refused) => refused.fmt(f),
            Self::Late(remaining) => {
                write!(f, "{} threads have not left the world", remaining.threads().count())
            }
        }
    }
}

impl<R: Sync, B: Barrier, K: Backend> fmt::Debug for ShutdownError<R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShutdownError({self})")
    }
}

impl<R: Sync, B: Barrier, K: Backend> core::error::Error for ShutdownError<R, B, K> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused(refused) => refused.source(),
            Self::Late(_) => None,
        }
    }
}

#[cfg(feature = "std")]
impl From<EnterError> for std::io::Error {
    fn from(error: EnterError) -> Self {
        use std::io::ErrorKind;
        match error {
            EnterError::Register(error) => error.into(),
            EnterError::Full(_) => Self::new(ErrorKind::WouldBlock, error),
            EnterError::Stopper => Self::new(ErrorKind::Deadlock, error),
            EnterError::ShuttingDown => Self::other(error),
        }
    }
}

#[cfg(feature = "std")]
impl From<StopError> for std::io::Error {
    fn from(error: StopError) -> Self {
        use std::io::ErrorKind;
        let kind = match error {
            StopError::Member | StopError::Nested => ErrorKind::Deadlock,
            StopError::NoBarrier(_) => ErrorKind::Unsupported,
        };
        Self::new(kind, error)
    }
}

#[cfg(feature = "std")]
impl From<HandshakeError> for std::io::Error {
    fn from(error: HandshakeError) -> Self {
        use std::io::ErrorKind;
        match error {
            HandshakeError::Refused(error) => error.into(),
            HandshakeError::Gone => Self::new(ErrorKind::NotFound, error),
            HandshakeError::Late | HandshakeError::Busy => Self::new(ErrorKind::TimedOut, error),
        }
    }
}

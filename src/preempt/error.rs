//! What stands in the way of registering, suspending, preempting and exiting.

use core::fmt;

use super::host::BackendError;
use crate::sys::Errno;

/// Why a thread was not registered. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// The calling thread has a gate of this backend already.
    AlreadyRegistered,
    /// Another thread is registered at this gate; or was, and ended with its
    /// [`Registration`](super::Registration) forgotten: then the gate is lost.
    GateInUse,
    /// The calling thread's end has begun: nobody would learn when it is over.
    ThreadEnding,
    /// Threads are not to be stopped by this signal: there is none of the number, it cannot be handled,
    /// is the C library's, or says that an instruction failed.
    UnusableSignal(i32),
    /// The system refused a handle of the thread, the handler, or a call at the thread's end.
    System(Errno),
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRegistered => {
                f.write_str("this thread is registered already: drop that registration first")
            }
            Self::GateInUse => {
                f.write_str("another thread is registered at this gate: use one of its own")
            }
            Self::ThreadEnding => {
                f.write_str("this thread's end has begun: register before its destructors run")
            }
            Self::UnusableSignal(signal) => write!(
                f,
                "threads are not to be stopped by signal {signal}: use SIGURG, or another that can be \
                 handled and is neither the C library's nor a fault's"
            ),
            Self::System(errno) => {
                write!(f, "the system refused to have this thread named: {errno}")
            }
        }
    }
}

impl core::error::Error for RegisterError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::System(errno) => Some(errno),
            _ => None,
        }
    }
}

/// Why a thread was not suspended. It runs on, its gate is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SuspendError {
    /// It runs external code.
    External,
    /// It is in the middle of what it must not be suspended in ([`Member::hold`](crate::world::Member::hold)).
    Held,
    /// It has ended, or is no longer registered.
    Gone,
    /// Somebody has suspended it, or it is in the middle of registering.
    Busy,
    /// It is the calling thread.
    Oneself,
    /// It was registered by another [`Gates`](super::Gates), which alone can stop it.
    OtherGates,
    /// It was asked and did not stop in time: it masks the signal, or gets no processor.
    NotAnswering,
    /// The system runs no barrier on others any more, as a sandbox forbids it: what the thread does cannot
    /// be seen, so it is not stopped. A gate that is [`Fenced`](super::Fenced) needs none.
    NoBarrier(Errno),
    /// The system refused.
    Refused(Errno),
}

impl fmt::Display for SuspendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External => {
                f.write_str("the thread runs external code: it is not to be suspended")
            }
            Self::Held => f.write_str(
                "the thread is in the middle of what it must not be suspended in: try again later",
            ),
            Self::Gone => f.write_str("the thread is no longer registered"),
            Self::Busy => f.write_str("the thread is suspended already: try again later"),
            Self::Oneself => f.write_str("a thread cannot suspend itself"),
            Self::OtherGates => {
                f.write_str("the thread was registered by another `Gates`: suspend it by that one")
            }
            Self::NotAnswering => f.write_str(
                "the thread did not stop in time: it masks the signal, or gets no processor",
            ),
            Self::NoBarrier(errno) => write!(
                f,
                "the system runs no barrier on other threads any more ({errno}): use a fenced gate"
            ),
            Self::Refused(errno) => write!(f, "the system refused: {errno}"),
        }
    }
}

impl core::error::Error for SuspendError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused(errno) | Self::NoBarrier(errno) => Some(errno),
            _ => None,
        }
    }
}

impl From<BackendError> for SuspendError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Gone => Self::Gone,
            BackendError::NotAnswering => Self::NotAnswering,
            BackendError::Refused(errno) => Self::Refused(errno),
        }
    }
}

/// Why nobody was asked to be preempted. Whatever was asked before is acknowledged, unless a signal
/// for it is under way.
pub type RequestError = SuspendError;

/// Why the process goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitError {
    /// The calling thread has so many threads suspended. What runs at exit may need what they own.
    HoldsSuspended(u32),
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::HoldsSuspended(count) = self;
        write!(f, "{count} threads are suspended by this one: resume them before exit")
    }
}

impl core::error::Error for ExitError {}

#[cfg(feature = "std")]
impl From<SuspendError> for std::io::Error {
    fn from(error: SuspendError) -> Self {
        use std::io::ErrorKind;
        let kind = match error {
            SuspendError::Refused(errno) => return errno.into(),
            SuspendError::External | SuspendError::Busy | SuspendError::Held => {
                ErrorKind::WouldBlock
            }
            SuspendError::Gone => ErrorKind::NotFound,
            SuspendError::NotAnswering => ErrorKind::TimedOut,
            SuspendError::NoBarrier(_) => ErrorKind::Unsupported,
            SuspendError::Oneself | SuspendError::OtherGates => ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

#[cfg(feature = "std")]
impl From<RegisterError> for std::io::Error {
    fn from(error: RegisterError) -> Self {
        use std::io::ErrorKind;
        match error {
            RegisterError::System(errno) => errno.into(),
            RegisterError::UnusableSignal(_) => Self::new(ErrorKind::InvalidInput, error),
            _ => Self::other(error),
        }
    }
}

#[cfg(feature = "std")]
impl From<ExitError> for std::io::Error {
    fn from(error: ExitError) -> Self {
        Self::new(std::io::ErrorKind::Deadlock, error)
    }
}

#[cfg(feature = "std")]
impl From<BackendError> for std::io::Error {
    fn from(error: BackendError) -> Self {
        SuspendError::from(error).into()
    }
}

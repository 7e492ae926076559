//! What can go wrong with subscriptions, as small typed errors.

use core::error::Error;
use core::fmt;
use std::io::{self, ErrorKind};

use super::flags::MOST;
use super::panic::Panic;
use super::{MAX_CAPACITY, STOP_PATIENCE};
use crate::sigqueue::SIGNALS;
use crate::sys::{Errno, Signal};

/// Why a call of this module was refused. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalError {
    /// The number is zero, negative or past the system's last signal.
    OutOfRange(i32),
    /// The system lets nobody catch or ignore it (SIGKILL, SIGSTOP).
    Unstoppable(i32),
    /// The C library uses it for itself; taking it breaks cancellation and setuid.
    ReservedByLibc(i32),
    /// The hardware raises it for the very instruction that failed; a queue cannot answer it.
    Synchronous(i32),
    /// Threads are interrupted by it, for the gate or for operations on all threads: without its handler they
    /// would not answer.
    Interrupts(i32),
    /// The set of signals was empty.
    NoSignals,
    /// A capacity of zero can hold nothing.
    NoCapacity,
    /// More than [`MAX_CAPACITY`](crate::signal::MAX_CAPACITY).
    CapacityTooLarge(usize),
    /// So many flags and counters are set by it already that no handler could keep them apart.
    TooManyFlags(i32),
    /// The memory for a mailbox of that capacity could not be had.
    NoMemory,
    /// The signal's default action does not end a process, so nothing can die by it.
    NotFatal(i32),
    /// The process has outlived it: the system protects it, as Linux does process 1 of a namespace.
    Survived(i32),
    /// Others have reset or ignored the signals that were waited for.
    TakenAway,
    /// [`shutdown`](crate::signal::shutdown) was called.
    ShutDown,
    /// A receiver runs already, on the crate's thread or a lent one.
    ReceiverTaken,
    /// The receiver's thread could not be started.
    NoThread,
    /// The system refused.
    System {
        /// The signal that the call was about.
        signal: i32,
        /// The system's reason.
        errno: Errno,
    },
}

/// A signal in a message: `SIGKILL (9)`.
struct Named(i32);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Signal::new(self.0)
            .filter(|it| it.name().or(it.realtime_offset().map(|_| "")).is_some())
        {
            Some(signal) => write!(f, "{signal} ({})", self.0),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange(signal) => {
                write!(f, "signal {signal} is out of range: use 1 to {}", SIGNALS - 1)
            }
            Self::Unstoppable(signal) => {
                write!(f, "{} can be neither caught nor ignored: leave it out", Named(*signal))
            }
            Self::ReservedByLibc(signal) => {
                write!(f, "{} belongs to the C library: choose another", Named(*signal))
            }
            Self::Synchronous(signal) => write!(
                f,
                "{} is raised by a failing instruction and cannot be queued: \
                 install a handler of your own for it",
                Named(*signal)
            ),
            Self::Interrupts(signal) => write!(
                f,
                "threads are interrupted by {}: subscribe to it, or leave it out",
                Named(*signal)
            ),
            Self::NoSignals => f.write_str("the set of signals is empty: name at least one"),
            Self::NoCapacity => f.write_str("a capacity of 0 can hold nothing: use 1 or more"),
            Self::CapacityTooLarge(capacity) => {
                write!(f, "a capacity of {capacity} is too large: use at most {MAX_CAPACITY}")
            }
            Self::TooManyFlags(signal) => {
                write!(f, "{} sets {MOST} flags already: share one of them", Named(*signal))
            }
            Self::NoMemory => {
                f.write_str("no memory for the mailbox: use a smaller capacity, or free some")
            }
            Self::NotFatal(signal) => write!(
                f,
                "the default action of {} does not end a process: \
                 use one that does, such as SIGTERM",
                Named(*signal)
            ),
            Self::Survived(signal) => write!(
                f,
                "the process outlived {}, as process 1 of a namespace does: exit instead",
                Named(*signal)
            ),
            Self::TakenAway => {
                f.write_str("the signals were reset or ignored while they were waited for")
            }
            Self::ShutDown => f.write_str("signals were shut down in this process"),
            Self::ReceiverTaken => f.write_str(
                "a receiver runs already: lend the thread before the first subscription",
            ),
            Self::NoThread => f.write_str(
                "the receiver's thread could not be started: lend one with run_receiver, \
                 or free some threads",
            ),
            Self::System { signal, errno } => {
                write!(f, "the system refused a change of {}: {errno}", Named(*signal))
            }
        }
    }
}

impl Error for SignalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::System { errno, .. } => Some(errno),
            _ => None,
        }
    }
}

impl From<SignalError> for io::Error {
    fn from(error: SignalError) -> Self {
        let kind = match error {
            SignalError::ShutDown | SignalError::TakenAway => ErrorKind::BrokenPipe,
            SignalError::ReceiverTaken => ErrorKind::ResourceBusy,
            SignalError::NoMemory => ErrorKind::OutOfMemory,
            SignalError::NoThread => ErrorKind::WouldBlock,
            SignalError::Survived(_) => ErrorKind::Other,
            SignalError::System { errno, .. } => Self::from(errno).kind(),
            _ => ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

/// Why nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The deadline passed.
    TimedOut,
    /// The subscription has no signal left: it was stopped, or all were reset or ignored.
    Stopped,
    /// [`shutdown`](crate::signal::shutdown) was called.
    ShutDown,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "no signal arrived in time",
            Self::Stopped => "the subscription has no signals left: subscribe again",
            Self::ShutDown => "signals were shut down in this process",
        })
    }
}

impl Error for RecvError {}

impl From<RecvError> for io::Error {
    fn from(error: RecvError) -> Self {
        let kind = match error {
            RecvError::TimedOut => ErrorKind::TimedOut,
            RecvError::Stopped | RecvError::ShutDown => ErrorKind::BrokenPipe,
        };
        Self::new(kind, error)
    }
}

/// Why stopping a subscription or a sink did not end as it should. Its signals are given up all the
/// same.
#[derive(Debug)]
#[non_exhaustive]
pub enum StopError {
    /// A call of the sink has not returned within
    /// [`STOP_PATIENCE`](crate::signal::STOP_PATIENCE). It is the last.
    SinkBusy,
    /// The sink panicked, when it was called or dropped, and was not called again.
    SinkPanicked(Panic),
    /// A waker that the subscription was polled with panicked, when it was woken or dropped. Its
    /// task may not have been woken; other tasks, and the receiver, were not disturbed.
    WakerPanicked(Panic),
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SinkBusy => write!(
                f,
                "the sink is still running after {STOP_PATIENCE:?}: have it return sooner, \
                 or stop it again"
            ),
            Self::SinkPanicked(panic) => write!(f, "the sink panicked: {panic}"),
            Self::WakerPanicked(panic) => {
                write!(f, "a waker of the subscription panicked: {panic}")
            }
        }
    }
}

impl Error for StopError {}

impl From<StopError> for io::Error {
    fn from(error: StopError) -> Self {
        let kind = match error {
            StopError::SinkBusy => ErrorKind::TimedOut,
            StopError::SinkPanicked(_) | StopError::WakerPanicked(_) => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

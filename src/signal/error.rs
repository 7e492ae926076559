//! What can go wrong with subscriptions, as small typed errors.

use core::any::Any;
use core::fmt;

use crate::sigqueue::SIGNALS;
use crate::sys::Errno;

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
    /// The set of signals was empty.
    NoSignals,
    /// A capacity of zero can hold nothing.
    NoCapacity,
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

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange(signal) => {
                write!(f, "signal {signal} is out of range: use 1 to {}", SIGNALS - 1)
            }
            Self::Unstoppable(signal) => {
                write!(f, "signal {signal} can be neither caught nor ignored: leave it out")
            }
            Self::ReservedByLibc(signal) => {
                write!(f, "signal {signal} belongs to the C library: choose another")
            }
            Self::Synchronous(signal) => write!(
                f,
                "signal {signal} is raised by a failing instruction and cannot be queued: \
                 install a handler of your own for it"
            ),
            Self::NoSignals => f.write_str("the set of signals is empty: name at least one"),
            Self::NoCapacity => f.write_str("a capacity of 0 can hold nothing: use 1 or more"),
            Self::ShutDown => f.write_str("signals were shut down in this process"),
            Self::ReceiverTaken => f.write_str(
                "a receiver runs already: lend the thread before the first subscription",
            ),
            Self::NoThread => f.write_str(
                "the receiver's thread could not be started: lend one with run_receiver, \
                 or free some threads",
            ),
            Self::System { signal, errno } => {
                write!(f, "the system refused a change of signal {signal}: {errno}")
            }
        }
    }
}

impl core::error::Error for SignalError {}

/// Why nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl core::error::Error for RecvError {}

/// Why stopping a sink did not end as it should. Its signals are given up all the same.
pub enum StopError {
    /// A call of the sink has not returned within
    /// [`STOP_PATIENCE`](crate::signal::STOP_PATIENCE). It is the last.
    SinkBusy,
    /// The sink panicked, and was not called again; this is what it panicked with.
    SinkPanicked(Box<dyn Any + Send>),
}

impl fmt::Debug for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SinkBusy => "SinkBusy",
            Self::SinkPanicked(_) => "SinkPanicked(..)",
        })
    }
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SinkBusy => {
                f.write_str("the sink is still running: it was not waited for longer")
            }
            Self::SinkPanicked(payload) => {
                let text = payload.downcast_ref::<&str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                write!(f, "the sink panicked: {}", text.unwrap_or("(no text)"))
            }
        }
    }
}

impl core::error::Error for StopError {}

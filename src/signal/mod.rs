//! Signals for programs: subscribe, receive, stop; reset and ignore.
//!
//! For any program that wants to hear of SIGINT, SIGTERM, SIGHUP or others in a thread, a task or a
//! function, and to be rid of them again for certain. Nothing runs in a handler but this crate; no
//! code of yours needs to be async-signal-safe.
//!
//! ```no_run
//! use portcullis::signal;
//!
//! let mut hangups = signal::subscribe([libc::SIGHUP, libc::SIGTERM])?;
//! while let Ok(delivery) = hangups.recv() {
//!     println!("signal {} from {:?}", delivery.signal, delivery.origin);
//!     if delivery.signal == libc::SIGTERM {
//!         break;
//!     }
//! }
//! hangups.stop()?; // SIGHUP and SIGTERM do what they did before.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | wanted | use |
//! |---|---|
//! | signals in a thread | [`subscribe`], then [`Subscription::recv`], `recv_timeout`, `try_recv`, or a `for` loop |
//! | signals in a task | [`Subscription::recv_async`], or [`Subscription::poll_recv`] for a `Stream` |
//! | a function called for each | [`Builder::sink`], and [`SinkHandle::detach`] for the life of the process |
//! | the default action, or none | [`reset`], [`ignore`] |
//! | to end as if by the signal | [`die_by`] |
//! | a signal by its name | [`Signal`], or the system's number: both are taken everywhere |
//!
//! # What is promised
//!
//! When [`Subscription::stop`], [`reset`] or [`ignore`] returns, every signal accepted before is
//! in the subscriber's mailbox or counted in [`Subscription::dropped`], and every later one gets
//! the new disposition: never neither, never both. That holds whatever other threads subscribe,
//! stop or ignore meanwhile, and however many other signals arrive. When the last subscriber of a
//! signal goes, the disposition from before the first is restored, unless somebody else has
//! changed it since: then it is left alone and [`Stopped::foreign`] says so.
//!
//! Standard signals of one number may be merged, as the kernel merges them itself;
//! [`Delivery::coalesced`] counts. Real-time signals are queued, [`REALTIME_CAPACITY`] of them.
//!
//! # Threads
//!
//! A receiver fills the mailboxes: a thread that the crate starts at the first subscription, all
//! signals masked in it, or one that the program lends by [`run_receiver`]. A thread blocked in
//! [`Subscription::recv`] takes the receiver's part itself while there are no sinks, so that a
//! signal wakes it directly. Sinks are called on the receiver's thread: one that blocks holds up
//! the others and the subscribers asleep, but no `stop`, no `try_recv` and no other signal's
//! disposition.
//!
//! Sinks and wakers run under the mask of whoever subscribed, also on the crate's thread, so that threads
//! and children which they start hear signals (Linux and Android; elsewhere the crate's thread masks what is
//! subscribed to). Before a disposition changes meanwhile, that thread is interrupted once, to mask what is
//! subscribed to until the sink returns: a signal sent before `stop` is not met by what comes after it. A call
//! that the system does not restart then ends with EINTR (man 7 signal).
//!
//! # Your code
//!
//! Sinks, wakers and what they hold run and are dropped on whichever thread has something for them,
//! never under a lock of this crate and never in a handler. Their panics end there: the thread goes
//! on, others are served, and `stop` tells the owner ([`StopError::SinkPanicked`],
//! [`StopError::WakerPanicked`]). A sink or waker that blocks holds up its thread, and whoever else
//! was to be woken by it; so does a handle that is dropped while its sink runs elsewhere, for
//! [`STOP_PATIENCE`]. A handle that is forgotten (`mem::forget`) leaves its subscription in place for
//! the life of the process.
//!
//! Nothing here but the handler itself is async-signal-safe. In the child of a fork the
//! subscriptions live on, empty of nothing and sharing nothing with the parent; a new receiver
//! thread is started when they are next used, and at once if there are sinks ([`follow_forks`]).
//!
//! [`REALTIME_CAPACITY`]: crate::sigqueue::REALTIME_CAPACITY

pub(crate) mod closing;
mod error;
pub(crate) mod hub;
pub(crate) mod mailbox;
mod panic;
mod recv;
pub(crate) mod set;
mod sink;
pub(crate) mod table;
mod wakes;

use core::time::Duration;

pub use crate::sigqueue::Origin;
pub use crate::sys::{Signal, UnknownSignal};
pub use error::{RecvError, SignalError, StopError};
pub use hub::Stopped;
pub use panic::Panic;
pub use table::{Delivery, SignalCounts};

/// How long [`Subscription::stop`] and [`SinkHandle::stop`] wait for a call of their own sink that
/// does not return.
pub const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The most deliveries that a mailbox may hold; see [`Builder::capacity`].
pub const MAX_CAPACITY: usize = 1 << 20;

#[cfg(not(all(loom, any(test, feature = "loom"))))]
pub(crate) mod global;
#[cfg(not(all(loom, any(test, feature = "loom"))))]
mod ours;
#[cfg(not(all(loom, any(test, feature = "loom"))))]
mod subscription;

#[cfg(not(all(loom, any(test, feature = "loom"))))]
pub use {
    global::{
        counts, die_by, follow_forks, ignore, is_ignored, overflow, reset, run_receiver, shutdown,
        subscribe,
    },
    subscription::{Builder, Iter, SinkHandle, Stopper, Subscription},
};

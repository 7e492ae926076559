//! Signals for programs: subscribe, receive, stop; flags; reset and ignore.
//!
//! For any program that wants to hear of SIGINT, SIGTERM, SIGHUP or others in a thread, a task, an event loop, a
//! function or a flag, and to be rid of them again for certain. Nothing runs in a handler but this crate; no
//! code of yours needs to be async-signal-safe.
//!
//! ```toml
//! [dependencies]
//! portcullis = "0.1" # features = ["futures-core"] for `Stream`
//! ```
//!
//! ```no_run
//! # #[cfg(unix)] {
//! use portcullis::{Signal, signal};
//!
//! let mut hangups = signal::subscribe([Signal::SIGHUP, Signal::SIGTERM])?;
//! while let Ok(delivery) = hangups.recv() {
//!     println!("{delivery}"); // SIGHUP from process 4711
//!     if delivery.name() == Signal::SIGTERM {
//!         break;
//!     }
//! }
//! hangups.stop()?; // SIGHUP and SIGTERM do what they did before.
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | wanted | use |
//! |---|---|
//! | signals in a thread | [`subscribe`], then [`Subscription::recv`], `recv_timeout`, `try_recv`, or a `for` loop |
//! | one of them, once | [`wait_for`] |
//! | signals in a task | [`Subscription::recv_async`], `poll_recv`, or a `Stream` with feature `futures-core` |
//! | signals in an event loop | `Subscription::polled`: `AsFd` and `AsRawFd` for mio, polling, calloop, libuv |
//! | a function called for each | [`Builder::sink`], and [`SinkHandle::detach`] for the life of the process |
//! | a flag or a counter that the handler sets | [`flag`], [`count`] |
//! | time to end well at the first Ctrl-C, and an end at the second | [`graceful`] |
//! | the default action, or none | [`reset`], [`ignore`] |
//! | to end as if by the signal | [`die_by`] |
//! | to stop as if by Ctrl-Z | `suspend` |
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
//! # What a handler does to your program
//!
//! - *System calls go on.* The handler is installed with SA_RESTART: a read, a write or a wait for a child that a
//!   signal interrupts is begun again by the system, and a flag does not end it. Calls that the system restarts for
//!   nobody end with EINTR: poll, select, epoll_wait, nanosleep, and sockets that have a timeout (man 7 signal). Where
//!   a handler was there before that had not asked for SA_RESTART, calls end with EINTR as its program expects.
//! - *It has no stack of its own* unless the thread has a signal stack, as Rust's threads do: SA_ONSTACK is set.
//! - *Handlers from before are called*, after this crate's, as the system would have called them; with
//!   [`Builder::alone`] they are not.
//! - *Children.* To catch SIGCHLD takes nobody's children: wait for those that you made, by their numbers.
//! - *Broken pipes.* Rust's runtime ignores SIGPIPE before `main`, and a write fails with EPIPE. A filter that is to
//!   end quietly when its reader does begins with `signal::reset([Signal::SIGPIPE])`.
//! - *Merged.* Of SIGWINCH, SIGCHLD and other standard signals one delivery may stand for many: look at the window's
//!   size, or for all children that have ended, each time.
//!
//! # Your code
//!
//! Sinks, wakers and what they hold run and are dropped on whichever thread has something for them,
//! never under a lock of this crate and never in a handler. Their panics end there: the thread goes
//! on, others are served, and `stop` tells the owner ([`StopError::SinkPanicked`],
//! [`StopError::WakerPanicked`]). A sink or waker that blocks holds up its thread, and whoever else
//! was to be woken by it; so does a handle that is dropped while its sink runs elsewhere, for
//! [`STOP_PATIENCE`]. A handle that is forgotten (`mem::forget`) leaves its subscription in place for
//! the life of the process; of a sink or a flag, which need nobody, that is what `detach` does.
//!
//! Nothing here but the handler itself is async-signal-safe. In the child of a fork the
//! subscriptions live on, empty of nothing and sharing nothing with the parent; a new receiver
//! thread is started when they are next used, and at once if there are sinks ([`follow_forks`]).
//!
//! # Coming from other crates
//!
//! | signal-hook | here |
//! |---|---|
//! | `flag::register(SIGTERM, Arc<AtomicBool>)` | [`flag`]`(SIGTERM, &STATIC)?`, then [`FlagHandle::detach`] |
//! | `flag::register_conditional_shutdown` and a flag | [`graceful`] |
//! | `iterator::Signals::new([..])?`, `forever()` | `for delivery in &mut `[`subscribe`]`([..])?` |
//! | `Handle::close` | [`Subscription::stopper`], [`Stopper::stop`] |
//! | `exfiltrator::WithOrigin` | [`Delivery::origin`], always |
//! | `unsafe { low_level::register(..) }` | [`Builder::sink`]: no `unsafe`, as it is not called in the handler |
//! | `low_level::unregister` | [`FlagHandle::stop`], [`SinkHandle::stop`]: the disposition from before is back |
//! | `low_level::emulate_default_handler` | [`die_by`], `suspend` |
//! | `low_level::pipe::register`, signal-hook-mio | `Subscription::polled` |
//! | signal-hook-tokio, -async-std | `Stream` with feature `futures-core`, or [`Subscription::recv_async`] |
//!
//! | ctrlc | here |
//! |---|---|
//! | `set_handler(f)` | [`Builder::sink`]`([Signal::SIGINT], f)?`, then [`SinkHandle::detach`] |
//! | feature `termination` | name SIGTERM and SIGHUP too |
//! | `try_set_handler`: an error if there is one | any number of subscriptions; handlers from before are called |
//! | a channel and `recv` in `main` | [`wait_for`], [`graceful`] |
//!
//! | tokio::signal | here |
//! |---|---|
//! | `ctrl_c().await` | [`subscribe`]`([Signal::SIGINT])?.recv_async().await`; dropped, Ctrl-C ends the program again, which tokio's does not |
//! | `unix::signal(SignalKind::hangup())?` | [`subscribe`]`([Signal::SIGHUP])?`: on any executor, or none |
//! | `Signal::recv`, `poll_recv` | [`Subscription::recv_async`], [`Subscription::poll_recv`] |
//! | `wrappers::SignalStream` | the subscription is a `Stream` (feature `futures-core`) |
//! | one value for any number of signals | each, with its origin, and how many were merged into it |
//!
//! [`REALTIME_CAPACITY`]: crate::sigqueue::REALTIME_CAPACITY

pub(crate) mod closing;
mod error;
#[cfg(not(all(loom, any(test, feature = "loom"))))]
mod flag;
mod flagged;
pub(crate) mod flags;
pub(crate) mod hub;
mod leavings;
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
pub use leavings::Stopped;
pub use panic::Panic;
pub use table::{Delivery, SignalCounts};

/// The longest that any stop waits for what another thread is in the middle of: [`SinkHandle::stop`] for a call of
/// its sink, [`FlagHandle::stop`], [`reset`] and [`ignore`] for a handler that sets the flag. [`Subscription::stop`]
/// waits for neither; it interrupts the crate's thread, as the others do, if that runs a sink or a waker meanwhile,
/// and gives up on one that does not answer for as long.
pub const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The most deliveries that a mailbox may hold; see [`Builder::capacity`].
pub const MAX_CAPACITY: usize = 1 << 20;

#[cfg(not(all(loom, any(test, feature = "loom"))))]
pub(crate) mod global;
#[cfg(not(all(loom, any(test, feature = "loom"))))]
mod graceful;
#[cfg(not(all(loom, any(test, feature = "loom"))))]
mod ours;
#[cfg(all(unix, not(all(loom, any(test, feature = "loom")))))]
mod polled;
#[cfg(not(all(loom, any(test, feature = "loom"))))]
mod subscription;

#[cfg(all(unix, not(all(loom, any(test, feature = "loom")))))]
pub use {graceful::suspend, polled::Polled};

#[cfg(not(all(loom, any(test, feature = "loom"))))]
pub use {
    flag::{FlagHandle, count, flag},
    global::{
        counts, die_by, follow_forks, ignore, is_ignored, overflow, reset, run_receiver, shutdown,
        subscribe,
    },
    graceful::{Ending, graceful, graceful_by, wait_for},
    subscription::{Builder, Iter, SinkHandle, Stopper, Subscription},
};

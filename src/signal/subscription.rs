//! The handles that a program holds.

use core::task::{Context, Poll};
use std::sync::Arc;
use std::time::Duration;

use super::global::{HUB, ensure_receiver};
use super::mailbox::{Key, Sink};
use super::set::SignalSet;
use super::table::Delivery;
use super::{RecvError, STOP_PATIENCE, SignalError, StopError, Stopped};
use crate::note::Deadline;
use crate::sync::AtomicBool;
use crate::sys;

const DEFAULT_CAPACITY: usize = 64;

/// How to subscribe.
///
/// [`subscribe`](Self::subscribe) for signals that a thread or a task receives,
/// [`sink`](Self::sink) for a function that is called with each.
///
/// ```
/// let busy = portcullis::signal::Builder::new().capacity(1024).subscribe([10])?;
/// # Ok::<(), portcullis::signal::SignalError>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "nothing is subscribed to until `subscribe` or `sink` is called"]
pub struct Builder {
    capacity: usize,
    alone: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// 64 deliveries in the mailbox.
    pub const fn new() -> Self {
        Self { capacity: DEFAULT_CAPACITY, alone: false }
    }

    /// How many deliveries the mailbox holds, 1 to [`MAX_CAPACITY`](super::MAX_CAPACITY); more are
    /// counted as dropped. All of it is allocated at once, when the subscription is made.
    pub const fn capacity(mut self, deliveries: usize) -> Self {
        self.capacity = deliveries;
        self
    }

    /// Handlers that were there before are not called while the signals are subscribed to, by whomever:
    /// for a host whose own handler would end the process at the first signal.
    pub const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Subscribes to a set of signals, to be received one by one.
    ///
    /// # Errors
    /// A [`SignalError`]; nothing has changed then.
    pub fn subscribe(
        self,
        signals: impl IntoIterator<Item = impl Into<i32>>,
    ) -> Result<Subscription, SignalError> {
        self.add(signals, None).map(|(key, abandoned)| Subscription { key, abandoned })
    }

    /// Has `sink` called for each signal of the set, on the receiver's thread.
    ///
    /// The sink lives as long as its handle, or as the process once that is
    /// [detached](SinkHandle::detach). It should return soon. If it panics it is not called again,
    /// the panic is handed out by [`SinkHandle::stop`], and signals go on. It may subscribe, and
    /// may stop itself.
    ///
    /// # Errors
    /// A [`SignalError`]; nothing has changed then, and the sink is dropped here.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use portcullis::signal::Builder;
    ///
    /// let window = Builder::new().sink([libc::SIGWINCH], |_| println!("resized"))?;
    /// window.detach(); // for the life of the process
    /// # }
    /// # Ok::<(), portcullis::signal::SignalError>(())
    /// ```
    pub fn sink(
        self,
        signals: impl IntoIterator<Item = impl Into<i32>>,
        sink: impl FnMut(&Delivery) + Send + 'static,
    ) -> Result<SinkHandle, SignalError> {
        let (key, abandoned) = self.add(signals, Some(Box::new(sink)))?;
        Ok(SinkHandle { key, abandoned })
    }

    fn add(
        self,
        signals: impl IntoIterator<Item = impl Into<i32>>,
        sink: Option<Sink>,
    ) -> Result<(Key, Arc<AtomicBool>), SignalError> {
        let signals = SignalSet::new(signals)?;
        if HUB.lock().closed {
            return Err(SignalError::ShutDown);
        }
        ensure_receiver()?;
        // First, so that not one is handed on.
        let others = self.alone.then(|| set_alone(signals, true));
        let added = HUB.subscribe(signals, self.capacity, sink);
        if let (Err(_), Some(others)) = (&added, others) {
            set_alone(others, false);
        }
        added
    }
}

/// Whether handlers before ours are called; for which of the signals that has changed. Under the lock, which
/// forks wait for.
fn set_alone(signals: SignalSet, alone: bool) -> SignalSet {
    HUB.locked(|_, _| {
        let mut changed = SignalSet::EMPTY;
        let changes = signals.iter().filter(|signal| sys::set_alone(*signal, alone));
        changes.for_each(|signal| changed.insert(signal));
        changed
    })
}

/// Signals to be received. Dropping it stops it.
///
/// Dropped in a signal handler that interrupted a call of this module, it is stopped when that
/// call ends. It frees memory, though, which the allocator may not survive in a handler.
#[derive(Debug)]
#[must_use = "a subscription that is dropped is stopped at once"]
pub struct Subscription {
    key: Key,
    abandoned: Arc<AtomicBool>,
}

impl Subscription {
    #[cfg(unix)]
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Waits for the next signal: without bound, until one arrives, or the subscription is stopped
    /// by its [`stopper`](Self::stopper), or its signals are reset or ignored.
    ///
    /// # Errors
    /// [`RecvError::Stopped`] once the mailbox is empty and no signal is left,
    /// [`RecvError::ShutDown`].
    pub fn recv(&mut self) -> Result<Delivery, RecvError> {
        self.recv_until(None)
    }

    /// Waits for the next signal, for no longer than `timeout`.
    ///
    /// # Errors
    /// Also [`RecvError::TimedOut`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Delivery, RecvError> {
        self.recv_until(Some(&Deadline::after(timeout)))
    }

    fn recv_until(&mut self, deadline: Option<&Deadline>) -> Result<Delivery, RecvError> {
        // In the child of a fork the thread is started anew. Without one the caller itself
        // receives, so that it could not be started is not an error here.
        let _ = ensure_receiver();
        HUB.recv(self.key, deadline)
    }

    /// The next signal if one has arrived.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<Delivery>, RecvError> {
        HUB.try_recv(self.key).transpose()
    }

    /// The next signal, for any executor: the task is woken when one arrives.
    ///
    /// `None` once no more can come. With feature `futures-core` this is a `Stream`.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let _ = ensure_receiver();
        match HUB.poll(self.key, cx.waker()) {
            Some(done) => Poll::Ready(done.ok()),
            None => Poll::Pending,
        }
    }

    /// Waits for the next signal in a task; `None` once no more can come. Dropping the future
    /// loses nothing.
    pub async fn recv_async(&mut self) -> Option<Delivery> {
        core::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Receives until no more can come.
    pub fn iter(&mut self) -> Iter<'_> {
        Iter { subscription: self }
    }

    /// How many deliveries found the mailbox full.
    pub fn dropped(&self) -> u64 {
        dropped(self.key)
    }

    /// Gives up the signals. What was accepted before can still be received, by
    /// [`try_recv`](Self::try_recv). A second stop changes nothing, and returns after the first.
    /// It waits for nobody; but beside a sink or a waker that the crate's thread runs meanwhile, for that
    /// thread to be interrupted once.
    ///
    /// # Errors
    /// [`StopError::WakerPanicked`] if a waker that it was polled with has panicked; the signals are
    /// given up all the same. It is told once.
    pub fn stop(&self) -> Result<Stopped, StopError> {
        stop(self.key)
    }

    /// For stopping it from another thread, which wakes a blocked [`recv`](Self::recv).
    pub fn stopper(&self) -> Stopper {
        Stopper { key: self.key }
    }
}

/// As [`poll_recv`](Subscription::poll_recv): for `StreamExt` of futures or of tokio-stream, and `select!`.
#[cfg(feature = "futures-core")]
impl futures_core::Stream for Subscription {
    type Item = Delivery;
    fn poll_next(
        mut self: core::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Delivery>> {
        self.poll_recv(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        leave(self.key, &self.abandoned);
    }
}

impl<'a> IntoIterator for &'a mut Subscription {
    type Item = Delivery;
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Blocks for each signal in turn.
#[derive(Debug)]
#[must_use = "iterators are lazy and receive nothing unless consumed"]
pub struct Iter<'a> {
    subscription: &'a mut Subscription,
}

impl Iterator for Iter<'_> {
    type Item = Delivery;
    fn next(&mut self) -> Option<Delivery> {
        self.subscription.recv().ok()
    }
}

/// A sink that is being called. Dropping it stops it.
#[derive(Debug)]
#[must_use = "a sink whose handle is dropped is stopped at once: keep it, or call `detach`"]
pub struct SinkHandle {
    key: Key,
    abandoned: Arc<AtomicBool>,
}

impl SinkHandle {
    /// Gives up the signals and waits for the sink's last call. What was accepted before it is
    /// called with here, on this thread, if the receiver has not got to it: such a call is waited
    /// for without bound, one on another thread for
    /// [`STOP_PATIENCE`](super::STOP_PATIENCE). Called by the sink itself it waits for nothing, and
    /// what was still to come is counted as dropped. What the sink holds is dropped here too.
    ///
    /// # Errors
    /// [`StopError`]; the signals are given up all the same.
    pub fn stop(&self) -> Result<Stopped, StopError> {
        stop(self.key)
    }

    /// Leaves the sink in place for the life of the process, or until [`shutdown`](super::shutdown),
    /// [`reset`](super::reset) or [`ignore`](super::ignore) takes its signals.
    pub fn detach(self) {
        // A sink whose handle is never dropped is never stopped.
        core::mem::forget(self);
    }

    /// How many deliveries found the mailbox full, or the sink gone.
    pub fn dropped(&self) -> u64 {
        dropped(self.key)
    }

    /// For stopping it from another thread, or from the sink.
    pub fn stopper(&self) -> Stopper {
        Stopper { key: self.key }
    }
}

impl Drop for SinkHandle {
    fn drop(&mut self) {
        leave(self.key, &self.abandoned);
    }
}

/// Stops a subscription from elsewhere. Outliving the subscription it does nothing.
#[derive(Debug, Clone)]
#[must_use = "it stops nothing until `stop` is called"]
pub struct Stopper {
    key: Key,
}

impl Stopper {
    /// As [`Subscription::stop`] or [`SinkHandle::stop`].
    ///
    /// # Errors
    /// As there.
    pub fn stop(&self) -> Result<Stopped, StopError> {
        stop(self.key)
    }
}

fn stop(key: Key) -> Result<Stopped, StopError> {
    HUB.stop(key, &Deadline::after(STOP_PATIENCE))
}

/// Stops a subscription whose handle goes.
fn leave(key: Key, abandoned: &AtomicBool) {
    if !HUB.is_reachable() {
        // In a handler that interrupted the holder of the lock, who will see to it.
        return HUB.abandon(abandoned);
    }
    // Nobody is left to be told of a panic, and none leaves a drop.
    let _ = stop(key);
    HUB.forget(key);
}

fn dropped(key: Key) -> u64 {
    HUB.lock().mailboxes.get(key).map_or(0, |mailbox| mailbox.dropped)
}

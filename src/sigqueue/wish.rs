//! Which signals the queue wants, and waiting until one that it no longer wants is done with.
//!
//! States, transitions, invariants and edges are those of [`crate::sigqueue`].

use core::fmt;

use super::{
    ACTIVE, GUEST, IGNORED, NOTED, PRIMARY, SENDING, SIGNALS, SignalQueue, WANTED, WISH, is_pending,
};
use crate::note::Park;
use crate::sync::{Ordering::*, Word};

/// A signal number that the queue has no slot for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchSignal(pub i32);

impl fmt::Display for NoSuchSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signal {} is out of range: use 1 to {}", self.0, SIGNALS - 1)
    }
}

impl core::error::Error for NoSuchSignal {}

#[cfg(feature = "std")]
impl From<NoSuchSignal> for std::io::Error {
    fn from(error: NoSuchSignal) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}

/// What [`SignalQueue::wait_quiet`] ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the signal need not be quiet yet"]
#[non_exhaustive]
pub enum Quiet {
    /// Everything accepted before was taken, and each [`Batch`](super::Batch) of it dropped.
    Quiet,
    /// Something is pending and no receiver exists to take it: use [`SignalQueue::take`].
    NoReceiver,
    /// The caller's `pause` gave up.
    GaveUp,
}

impl<N> SignalQueue<N> {
    /// Changes WANTED, IGNORED and NOTED, which keeps I5, and returns the slot as it was.
    fn set_wish(&self, signal: i32, wish: Word) -> Result<Word, NoSuchSignal> {
        let slot = self.slot(signal)?;
        // ORDERING: Relaxed: a guess, confirmed below.
        let mut seen = slot.load(Relaxed);
        loop {
            let new = (seen & !WISH) | wish;
            // ORDERING: success Release: E6 to `send`. Failure Relaxed: only tried again.
            // Weakened: sigqueue enable_against_send.
            match slot.compare_exchange(seen, new, Release, Relaxed) {
                Ok(_) => return Ok(seen),
                Err(now) => seen = now,
            }
        }
    }

    /// From now on `send` accepts the signal. Call it *before* the handler is installed.
    ///
    /// # Errors
    /// [`NoSuchSignal`], and nothing changes.
    pub fn enable(&self, signal: i32) -> Result<(), NoSuchSignal> {
        self.set_wish(signal, WANTED).map(|_| ())
    }

    /// From now on `send` answers [`Sent::Unwanted`](super::Sent::Unwanted). Call it *after* the disposition has changed.
    /// What is pending stays so, to be received or taken.
    ///
    /// # Errors
    /// [`NoSuchSignal`], and nothing changes.
    pub fn disable(&self, signal: i32) -> Result<(), NoSuchSignal> {
        self.set_wish(signal, 0).map(|_| ())
    }

    /// From now on `send` answers [`Sent::Ignored`](super::Sent::Ignored); otherwise as [`disable`](Self::disable).
    ///
    /// # Errors
    /// [`NoSuchSignal`], and nothing changes.
    pub fn ignore(&self, signal: i32) -> Result<(), NoSuchSignal> {
        self.set_wish(signal, IGNORED).map(|_| ())
    }

    /// From now on `send` answers [`Sent::Noted`](super::Sent::Noted): nobody receives the signal, and its handler
    /// has flags to set. Otherwise as [`disable`](Self::disable).
    #[cfg_attr(
        not(all(feature = "std", any(unix, windows))),
        allow(dead_code, reason = "for subscriptions")
    )]
    pub(crate) fn note_only(&self, signal: i32) -> Result<(), NoSuchSignal> {
        self.set_wish(signal, NOTED).map(|_| ())
    }

    /// Whether the signal was last set by [`ignore`](Self::ignore). Async-signal-safe.
    ///
    /// # Errors
    /// [`NoSuchSignal`].
    pub fn is_ignored(&self, signal: i32) -> Result<bool, NoSuchSignal> {
        // ORDERING: Relaxed: an answer about one word, passing nothing on.
        self.slot(signal).map(|slot| slot.load(Relaxed) & IGNORED != 0)
    }
}

impl<N: Park> SignalQueue<N> {
    /// Waits until what was accepted of `signal` has been received and its [`Batch`](super::Batch) dropped.
    ///
    /// For use after [`disable`](Self::disable) or [`ignore`](Self::ignore): then other signals
    /// cannot delay it (I3), and a signal already quiet is answered at once. `pause` is called
    /// between looks; it yields as the runtime does, and answers `false` to give up, which is how
    /// a caller bounds the wait for a receiver that took the signal and does not come back. A batch
    /// that was forgotten (`mem::forget`) is such a one: the signal is not quiet until a receiver
    /// has taken it again. If `pause` panics nothing has changed.
    ///
    /// # Errors
    /// [`NoSuchSignal`].
    pub fn wait_quiet(
        &self,
        signal: i32,
        mut pause: impl FnMut() -> bool,
    ) -> Result<Quiet, NoSuchSignal> {
        let slot = self.slot(signal)?;
        loop {
            // ORDERING: Acquire: E5 from the drop of the batch. Weakened: sigqueue wait_quiet_after_disable.
            let seen = slot.load(Acquire);
            if !is_pending(seen) && seen & ACTIVE == 0 {
                return Ok(Quiet::Quiet);
            }
            // ORDERING: Relaxed: whether anybody will ever take it; a receiver that comes later
            // is as good as none.
            if seen & ACTIVE == 0 && self.state.load(Relaxed) & (PRIMARY | GUEST) == 0 {
                return Ok(Quiet::NoReceiver);
            }
            if is_pending(seen) {
                // The handler that is to announce it may have been stopped in between (I1).
                self.announce(SENDING);
            }
            if !pause() {
                return Ok(Quiet::GaveUp);
            }
        }
    }
}

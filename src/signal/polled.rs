//! A subscription for event loops: a descriptor that they poll.

use core::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use super::Subscription;
use super::global::{HUB, POLLED};
use crate::sync::Ordering::Relaxed;
use crate::sys::{Bell, Errno};

/// A subscription with a descriptor that can be read while there may be something to receive: for mio, polling,
/// calloop, libuv, or poll(2) itself. Made by [`Subscription::polled`].
///
/// The descriptor is for polling alone, by level or by edge; do not read it. When it is ready, call
/// [`try_recv`](Subscription::try_recv) until that is `None`, which silences it. With `Err` nothing more will come,
/// and it stays ready. It may be ready for nothing.
///
/// It is closed by exec, does not block, and is made on demand: an eventfd on Linux, elsewhere a pipe. In the child of a
/// fork the same number names a descriptor of the child's own, so that neither hears of the other's signals; but an
/// epoll or kqueue instance from before knows the parent's alone: make a new one in the child. If the system has no
/// descriptor left at that moment, the child's is never ready.
///
/// ```no_run
/// # #[cfg(unix)] {
/// use std::os::fd::AsRawFd;
/// use portcullis::{Signal, signal};
///
/// let mut signals = signal::subscribe([Signal::SIGTERM, Signal::SIGHUP])?.polled()?;
/// let mut ready = libc::pollfd { fd: signals.as_raw_fd(), events: libc::POLLIN, revents: 0 };
/// loop {
///     // SAFETY: one entry, which is ours. It waits for the program's other descriptors, too.
///     unsafe { libc::poll(&mut ready, 1, -1) };
///     while let Some(delivery) = signals.try_recv()? {
///         println!("{delivery}");
///     }
/// }
/// # }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a subscription that is dropped is stopped at once"]
pub struct Polled {
    subscription: Subscription,
    bell: Arc<Bell>,
}

impl Subscription {
    /// Gives it a descriptor for event loops.
    ///
    /// # Errors
    /// The system has no descriptor left; the subscription is dropped then.
    pub fn polled(self) -> Result<Polled, Errno> {
        let bell = Arc::new(Bell::new()?);
        // ORDERING: Relaxed: read in the child of a fork.
        POLLED.fetch_add(1, Relaxed);
        HUB.set_bell(self.key(), Arc::clone(&bell));
        Ok(Polled { subscription: self, bell })
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        // ORDERING: Relaxed: as above.
        POLLED.fetch_sub(1, Relaxed);
    }
}

impl Deref for Polled {
    type Target = Subscription;
    fn deref(&self) -> &Subscription {
        &self.subscription
    }
}

impl DerefMut for Polled {
    fn deref_mut(&mut self) -> &mut Subscription {
        &mut self.subscription
    }
}

impl AsFd for Polled {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open for as long as the bell is there, which this holds.
        unsafe { BorrowedFd::borrow_raw(self.bell.descriptor()) }
    }
}

impl AsRawFd for Polled {
    fn as_raw_fd(&self) -> RawFd {
        self.bell.descriptor()
    }
}

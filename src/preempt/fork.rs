//! The child of a fork: one thread lives on, under another name; what the others held is held by
//! nobody.

use super::host::{Backend, Barrier, with_local};
use super::{GONE, Gate, Gates, RegisterError, STATE};
use crate::sync::Ordering::*;

impl<B: Barrier, K: Backend> Gates<B, K> {
    /// In the child of a fork: gives up turn and claims that other threads of the parent had, and
    /// names the calling thread anew. Gates of the others are free to be registered at. Until this was
    /// called, nothing else here may be. Async-signal-safe.
    ///
    /// Of the child of a fork that was taken with a thread suspended, nothing good can be said: what
    /// that one owned, the allocator perhaps, stays so for ever.
    ///
    /// # Errors
    ///
    /// The system gives no handle of the calling thread, or its end has begun. It is as one that is gone.
    ///
    /// # Safety
    ///
    /// The calling thread is the only one of its process, and came by its fork, not in the middle of
    /// registering, of a drop of its registration, or of suspending others, but for the wait for its turn.
    /// What says that it has others suspended is forgotten, not dropped. `gates` are all at which threads
    /// of the parent may have been registered by this, and none of another `Gates`.
    pub unsafe fn reset_after_fork(
        &'static self,
        gates: impl IntoIterator<Item = &'static Gate<K>>,
    ) -> Result<(), RegisterError> {
        self.backend.turn().reset();
        if self.holds() > 0 {
            with_local(&self.backend, |own| own.hold(|_| 0));
            self.backend.unmask();
        }
        let mut done = Ok(());
        for gate in gates {
            // Each, whatever becomes of the caller's own.
            // SAFETY: as the caller promises.
            done = done.and(unsafe { gate.reset(&self.backend) });
        }
        done
    }
}

impl<K: Backend> Gate<K> {
    /// # Safety
    ///
    /// As [`Gates::reset_after_fork`].
    unsafe fn reset(&'static self, backend: &'static K) -> Result<(), RegisterError> {
        // ORDERING: Relaxed, here and below: there is one thread; those to come are made by it.
        let own = self.own.load(Relaxed);
        let (stays, is_ending) = with_local(backend, |own| (own.is_at(self), own.is_ending()));
        self.own.store(if stays { own } else { own & !STATE | GONE }, Relaxed);
        self.claim.0.store(0, Relaxed);
        self.stop.reset();
        self.requests.acknowledge();
        let opened = match stays {
            true if is_ending => Err(RegisterError::ThreadEnding),
            // SAFETY: from here, on a thread whose end has not begun.
            true => unsafe { backend.open() }.map(Some),
            false => Ok(None),
        };
        let (handle, done) = match opened {
            Ok(handle) => (handle, Ok(())),
            Err(error) => (None, Err(error)),
        };
        // Handlers of this thread find no gate while the handle is changed.
        if stays {
            with_local(backend, |own| own.unregister());
        }
        // SAFETY: there is one thread, as the caller promises, and it is here (I6).
        let old = self.handle.with_mut(|place| unsafe { core::mem::replace(&mut *place, handle) });
        // It names a thread of the parent, which closes it.
        core::mem::forget(old);
        if stays {
            with_local(backend, |own| own.register(self));
        }
        done
    }
}

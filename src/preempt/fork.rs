//! The child of a fork: one thread lives on, under another name; what the others held is held by
//! nobody.

use super::{Barrier, GONE, Gate, Gates, STATE};
use crate::preempt::Backend;
use crate::sync::Ordering::*;
use crate::sys::Errno;

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
    /// The system gives no handle of the calling thread. It is as one that is gone.
    ///
    /// # Safety
    ///
    /// The calling thread is the only one of its process, and came by its fork, not in the middle of
    /// registering or of a drop of its member. `gates` are all at which threads of the parent may have
    /// been registered.
    pub unsafe fn reset_after_fork(
        &'static self,
        gates: impl IntoIterator<Item = &'static Gate<K>>,
    ) -> Result<(), Errno> {
        self.turn.reset();
        // SAFETY: as the caller promises.
        gates.into_iter().try_for_each(|gate| unsafe { gate.reset(&self.backend) })
    }
}

impl<K: Backend> Gate<K> {
    /// # Safety
    ///
    /// As [`Gates::reset_after_fork`].
    unsafe fn reset(&self, backend: &'static K) -> Result<(), Errno> {
        // ORDERING: Relaxed, here and below: there is one thread; those to come are made by it.
        let own = self.own.load(Relaxed);
        let stays = backend.here().is_at(self);
        self.own.store(if stays { own } else { own & !STATE | GONE }, Relaxed);
        self.claim.0.store(0, Relaxed);
        self.stop.reset();
        self.requests.acknowledge();
        let opened = if stays { backend.open().map(Some) } else { Ok(None) };
        let (handle, done) = match opened {
            Ok(handle) => (handle, Ok(())),
            Err(errno) => (None, Err(errno)),
        };
        // The old one names a thread of the parent, which closes it.
        // SAFETY: there is one thread, and it is here (I6).
        let old = self.handle.with_mut(|place| unsafe { core::mem::replace(&mut *place, handle) });
        core::mem::forget(old);
        done
    }
}

//! Making records, and whose slots these are.

use core::cell::Cell;

use super::host::{Callback, Host, Slot};
use super::{CREATOR, CreateError, Made, Runtime, Threads, UNCLAIMED};
use crate::extra_list::{ExtraList, Replenish};
use crate::sync::Ordering::*;

impl<R: Runtime, H: Host, const N: usize> Threads<R, H, N> {
    /// Creates the first records, one more than the reserve, or as many as are wanting. A runtime
    /// calls it once before the first thread attaches; later attaches see to it that there is
    /// always one more than needed. Not for handlers.
    ///
    /// # Errors
    ///
    /// See [`CreateError`]; records made before a refusal stay.
    pub fn create(&'static self) -> Result<Replenish, CreateError> {
        if !self.is_claimed() && !self.claim() {
            return Err(CreateError::SlotsTaken);
        }
        let (reserve, most) = (usize::from(self.list.reserve()), ExtraList::<N>::CAPACITY);
        if reserve >= most {
            return Err(CreateError::ReserveTooLarge { reserve, most });
        }
        self.watch_forks();
        let mut refused = Ok(());
        let masked = Masked::new(&self.host);
        let done = self.list.replenish(|index| {
            // Closed again, should the runtime's code panic.
            let _open = masked.open();
            let _creator = Creator::on(self.slot());
            // SAFETY: not in a handler: `create` is not for them.
            match unsafe { self.host.make_stack() } {
                Ok(stack) => self.fill(index, stack),
                Err(errno) => {
                    refused = Err(CreateError::System(errno));
                    false
                }
            }
        });
        refused.map(|()| done)
    }

    fn fill(&self, index: usize, stack: H::Stack) -> bool {
        let mut stack = Unused { host: &self.host, stack: Some(stack) };
        let Some(place) = self.place(index) else { return false };
        let forks = self.list.forks().get();
        let Some(record) = self.runtime.create(index) else { return false };
        if self.list.forks().get() != forks {
            // The child of a fork in there may have made one of this number meanwhile.
            return false;
        }
        let Some(stack) = stack.stack.take() else { return false };
        // Not dropped before: in the child of a fork there may be half of one, whose maker is not.
        // SAFETY: one thread creates at a time, as the list's CREATING says, and a number beyond the
        // total is nobody's; in a child made meanwhile nothing is written.
        place.made.with_mut(|made| unsafe { made.write(Some(Made { record, stack })) });
        true
    }

    #[inline]
    pub(super) fn is_claimed(&self) -> bool {
        // ORDERING: Relaxed: see Happens-before.
        self.stage.load(Relaxed) & UNCLAIMED == 0
    }

    /// The first use: whether the host's slots are this one's from now on (I6). Async-signal-safe.
    #[cold]
    pub(super) fn claim(&'static self) -> bool {
        // SAFETY: this is the `Threads` that the host was given to, and lives for ever.
        if !unsafe { self.host.claim(self.identity()) } {
            return false;
        }
        // ORDERING: Relaxed: see Happens-before.
        self.stage.fetch_and(!UNCLAIMED, Relaxed);
        true
    }

    /// An address that no other has: this one's own may be that of one inside it.
    pub(super) fn identity(&self) -> *const () {
        core::ptr::from_ref(&self.stage).cast()
    }

    /// The host is to tell this one of forks. Not in a handler.
    pub(super) fn watch_forks(&'static self) {
        // SAFETY: by the `Threads` that has claimed the host's slots; the host does it once.
        unsafe { self.host.at_fork(self.callback(Self::forked)) };
    }

    pub(super) fn callback(&'static self, call: unsafe fn(&'static Self)) -> Callback {
        // SAFETY: the two types differ in their argument, a thin pointer that `Callback::run` gets
        // from here.
        let call =
            unsafe { core::mem::transmute::<unsafe fn(&'static Self), unsafe fn(*const ())>(call) };
        Callback { threads: core::ptr::from_ref(self).cast(), call }
    }
}

/// A stack that no record has yet.
struct Unused<'a, H: Host> {
    host: &'a H,
    stack: Option<H::Stack>,
}

impl<H: Host> Drop for Unused<'_, H> {
    fn drop(&mut self) {
        if let Some(stack) = self.stack.take() {
            // SAFETY: made by `create` just now, and no record has it, so nobody registered it.
            unsafe { self.host.free_stack(stack) };
        }
    }
}

/// The calling thread's signals, masked but where they are opened (I7).
struct Masked<'a, H: Host> {
    host: &'a H,
    mask: Cell<Option<H::Mask>>,
}

/// They are open while this is alive.
struct Open<'a, 'b, H: Host>(&'a Masked<'b, H>);

impl<'a, H: Host> Masked<'a, H> {
    fn new(host: &'a H) -> Self {
        // SAFETY: put back on this thread, by this or its `Open`, which do not leave it: a frame of
        // `create` has them.
        Self { host, mask: Cell::new(Some(unsafe { host.block() })) }
    }
    fn open(&self) -> Open<'_, 'a, H> {
        self.put_back();
        Open(self)
    }
    fn put_back(&self) {
        // SAFETY: as in `new`: this thread's own mask.
        self.mask.take().into_iter().for_each(|mask| unsafe { self.host.restore(mask) });
    }
}

impl<H: Host> Drop for Open<'_, '_, H> {
    fn drop(&mut self) {
        // SAFETY: as in `Masked::new`.
        self.0.mask.set(Some(unsafe { self.0.host.block() }));
    }
}

impl<H: Host> Drop for Masked<'_, H> {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// The calling thread creates while this is alive.
struct Creator<'a>(&'a Slot);

impl<'a> Creator<'a> {
    fn on(slot: &'a Slot) -> Self {
        // ORDERING: Relaxed, here and below: the thread's own (I4).
        slot.word.store(slot.word.load(Relaxed) | CREATOR, Relaxed);
        Self(slot)
    }
}

impl Drop for Creator<'_> {
    fn drop(&mut self) {
        self.0.word.store(self.0.word.load(Relaxed) & !CREATOR, Relaxed);
    }
}

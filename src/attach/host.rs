//! For implementers of a system: what the protocol needs of it, and the one word that each thread
//! holds. Who attaches threads needs [`SystemHost`](super::SystemHost), which implements it, and
//! nothing here.
//!
//! A stranger who has a host in hand cannot do harm with it: what touches a thread or a stack is
//! `unsafe`, and called by [`Threads`](super::Threads) alone.

use core::fmt;

#[cfg(all(feature = "std", not(all(loom, any(test, feature = "loom")))))]
pub use super::system::{HostStack, Local, Mask, OwnStack};
use crate::sync::{AtomicU32, AtomicUsize, Ordering::Relaxed, model_const_fn};
use crate::sys::Errno;

/// The calling thread's own word; for each pair of a thread and a [`Threads`](super::Threads) there
/// is one.
///
/// Only its own thread reads and writes it, and the handlers that run on that thread.
#[derive(Debug)]
pub struct Slot {
    /// State and depth; see the tables in [`crate::attach`].
    pub(super) word: AtomicU32,
    /// The number of the record held, while the state says that one is.
    pub(super) index: AtomicU32,
}

impl Slot {
    model_const_fn! {
        /// The slot of a thread that is unknown to the runtime.
        pub const fn new() -> Self {
            Self { word: AtomicU32::new(0), index: AtomicU32::new(0) }
        }
    }
}

#[cfg(all(test, not(loom)))]
impl Slot {
    // ORDERING: Relaxed, here and below: tests of one thread.
    pub(crate) fn tokens(&self) -> u32 {
        self.word.load(Relaxed) / super::DEPTH
    }
    pub(crate) fn looks_held(&self) {
        self.word.store(super::HELD, Relaxed);
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

/// Whose slots those of one type are: the first [`Threads`](super::Threads)' that is used with them.
#[derive(Debug)]
pub struct SlotOwner(AtomicUsize);

impl SlotOwner {
    model_const_fn! {
        /// Nobody's yet.
        pub const fn new() -> Self {
            Self(AtomicUsize::new(0))
        }
    }

    /// Whether they are this one's, now or since before. Async-signal-safe.
    #[must_use]
    pub fn claim(&self, threads: *const ()) -> bool {
        let own = threads.addr();
        // ORDERING: Relaxed, both: one word that passes nothing on.
        match self.0.compare_exchange(0, own, Relaxed, Relaxed) {
            Ok(_) => true,
            Err(owner) => owner == own,
        }
    }
}

impl Default for SlotOwner {
    fn default() -> Self {
        Self::new()
    }
}

/// A call that the system owes: at the end of a thread, in the child of a fork.
#[derive(Clone, Copy)]
pub struct Callback {
    /// What to call it with.
    pub(crate) threads: *const (),
    /// A method of it.
    pub(crate) call: unsafe fn(*const ()),
}

impl Callback {
    /// Runs it.
    ///
    /// # Safety
    ///
    /// Where [`Host::arm`] or [`Host::at_fork`] promised it.
    pub unsafe fn run(self) {
        // SAFETY: `threads` is what `call` expects: `Threads::callback` made the two; it lives for ever.
        unsafe { (self.call)(self.threads) }
    }
}

// SAFETY: an address and a function, used on the threads that `run` names.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").finish_non_exhaustive()
    }
}

/// What attaching needs of the system: the calling thread's word, its signal mask, its alternate
/// stack, its end.
///
/// Everything but [`arm`](Self::arm), [`make_stack`](Self::make_stack),
/// [`free_stack`](Self::free_stack) and [`at_fork`](Self::at_fork) is async-signal-safe and keeps
/// errno.
///
/// # Safety
///
/// `slot` returns the same slot for as long as the calling thread lives, to no other thread, blank
/// at first; it is valid as long. `claim` is true for one `Threads` alone of all that are given the
/// same slots, in whatever hosts. `block` and `restore` change the calling thread's mask alone. A stack
/// made here is not in use by the system once `leave_stack` returned `None`. A `Stack` may be made on one
/// thread and used by reference on any other, a `Saved` dropped on any. Nothing of it unwinds.
pub unsafe trait Host {
    /// A mask as it was, kept on the stack of the thread whose it is.
    type Mask;
    /// An alternate signal stack that belongs to a record.
    type Stack;
    /// What `enter_stack` found, for `leave_stack`.
    type Saved;

    /// The calling thread's slot: valid while that thread lives, and for no other.
    fn slot(&self) -> *const Slot;

    /// The `Threads` that this host was given to is used for the first time, and has these slots from
    /// now on, unless another has them. Async-signal-safe.
    ///
    /// # Safety
    ///
    /// Called by that `Threads`, with an address inside it that nothing else has, and it lives for ever.
    unsafe fn claim(&self, threads: *const ()) -> bool;

    /// Masks every signal but those that the C library keeps for itself (it waits for every thread
    /// to answer some of them: golang/go#42494); returns the mask as it was.
    ///
    /// # Safety
    ///
    /// The mask is put back by `restore` on the same thread, in the reverse order of several.
    unsafe fn block(&self) -> Self::Mask;

    /// Puts the mask back.
    ///
    /// # Safety
    ///
    /// What `block` returned on this thread.
    unsafe fn restore(&self, mask: Self::Mask);

    /// Makes an alternate stack, large enough for a handler of this system with room to spare, and
    /// a guard page below it.
    ///
    /// # Safety
    ///
    /// Not in a handler.
    unsafe fn make_stack(&self) -> Result<Self::Stack, Errno>;

    /// Gives back what `make_stack` made.
    ///
    /// # Safety
    ///
    /// Not in a handler. No thread has it from `enter_stack`, or each that had it has left it.
    unsafe fn free_stack(&self, stack: Self::Stack);

    /// Sees to it that the calling thread has an alternate stack: keeps the one it has if that is
    /// large enough, or if the caller runs on it, else registers `own`.
    ///
    /// # Safety
    ///
    /// `own` is the calling thread's alone until `leave_stack`, and stays where it is; signals are
    /// masked.
    unsafe fn enter_stack(&self, own: &Self::Stack) -> Self::Saved;

    /// Puts back what `enter_stack` replaced, unless somebody has replaced `own` since: that is
    /// left alone. `saved` again where `own` is in force still: the calling thread is a handler that runs on
    /// it, and it keeps the record.
    ///
    /// # Safety
    ///
    /// `saved` is what `enter_stack` returned for `own` on this thread; signals are masked.
    unsafe fn leave_stack(&self, own: &Self::Stack, saved: Self::Saved) -> Option<Self::Saved>;

    /// Has `exit` run when the calling thread ends. Called any number of times, again if the thread attaches
    /// after `exit` ran.
    ///
    /// # Safety
    ///
    /// Not in a handler. The callback is always the same, of the one `Threads` that claimed the slots.
    unsafe fn arm(&'static self, exit: Callback) -> Result<(), Errno>;

    /// The same in a handler; false, and nothing was done, where the system does not let a handler.
    /// Async-signal-safe.
    ///
    /// # Safety
    ///
    /// As for `arm`.
    unsafe fn arm_in_handler(&'static self, exit: Callback) -> bool {
        _ = exit;
        false
    }

    /// Has `child` called in the child of each fork of the C library, with all signals as they
    /// were; whatever else is done at the first use in ordinary code. Called before each making of
    /// records, and then does nothing.
    ///
    /// # Safety
    ///
    /// As for `arm`.
    unsafe fn at_fork(&'static self, child: Callback);
}

//! What the protocol needs of the system, as a trait, and the one word that each thread holds.

use core::fmt;

use crate::sync::{AtomicU32, model_const_fn};
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

impl Default for Slot {
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
        // SAFETY: `threads` is what `call` expects, by construction; it lives for ever.
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
/// [`System`](super::System) is the one of this crate. Everything but [`arm`](Self::arm),
/// [`make_stack`](Self::make_stack) and [`free_stack`](Self::free_stack) is async-signal-safe and
/// keeps errno.
///
/// # Safety
///
/// `slot` returns the same slot for as long as the calling thread lives, to no other thread, blank
/// at first. `block` and `restore` change the calling thread's mask alone. A stack made here is
/// not in use by the system once `leave_stack` returned.
pub unsafe trait Host {
    /// A mask as it was, kept on the stack of the thread whose it is.
    type Mask;
    /// An alternate signal stack that belongs to a record.
    type Stack;
    /// What `enter_stack` found, for `leave_stack`.
    type Saved;

    /// The calling thread's slot.
    fn slot(&self) -> &Slot;

    /// Masks every signal but those that the C library keeps for itself (it waits for every thread
    /// to answer some of them: golang/go#42494); returns the mask as it was.
    fn block(&self) -> Self::Mask;

    /// Puts the mask back.
    fn restore(&self, mask: Self::Mask);

    /// Makes an alternate stack, large enough for a handler of this system with room to spare, and
    /// a guard page below it. Never called in a handler.
    fn make_stack(&self) -> Result<Self::Stack, Errno>;

    /// Gives back what `make_stack` made. Never called in a handler.
    fn free_stack(&self, stack: Self::Stack);

    /// Sees to it that the calling thread has an alternate stack: keeps the one it has if that is
    /// large enough, or if the caller runs on it, else registers `own`.
    fn enter_stack(&self, own: &Self::Stack) -> Self::Saved;

    /// Puts back what `enter_stack` replaced, unless somebody has replaced `own` since: that is
    /// left alone.
    fn leave_stack(&self, own: &Self::Stack, saved: Self::Saved);

    /// Has `exit` run when the calling thread ends. Called once a thread and again if it attaches
    /// after `exit` ran. Never called in a handler.
    fn arm(&'static self, exit: Callback) -> Result<(), Errno>;

    /// Has `child` called in the child of each fork of the C library, with all signals as they
    /// were. Called once, before the first record is made.
    fn at_fork(&'static self, child: Callback);
}

//! The real system as a [`Host`].

use core::fmt;
use core::marker::PhantomData;

use super::host::{Callback, Host, Slot, SlotOwner};
use crate::sync::{AtomicBool, Ordering::Relaxed};
use crate::sys::{AllBlocked, Altstack, Entered, Errno, InChild, ThreadEnd};

/// Where the calling thread's [`Slot`] is.
///
/// [`thread_slot!`](crate::thread_slot) makes one from a `thread_local!` without initialiser and
/// destructor, which is plain memory at a fixed distance from the thread's pointer. How far that
/// is async-signal-safe on a thread that never touched it:
///
/// | the code is in | Linux | other systems |
/// |---|---|---|
/// | an executable, or a library loaded at its start | yes: memory of the thread from its creation | yes; on macOS the first access of a thread allocates |
/// | a library loaded by dlopen, musl | yes: allocated at dlopen and at thread creation | |
/// | a library loaded by dlopen, glibc | not by itself: the first access of a thread may call malloc | as Linux with glibc |
///
/// In the last case either let each thread call [`Threads::state`](super::Threads::state) in
/// ordinary code before its signals may attach, or implement this trait on a variable of the
/// initial-exec model (in C `__thread` with `__attribute__((tls_model("initial-exec")))`), for which
/// glibc keeps room.
///
/// # Safety
///
/// `slot` returns a blank slot of the calling thread, always the same until the thread ends, to no
/// other thread; `owner` always the same, which is no other type's. Both are async-signal-safe.
pub unsafe trait Local {
    /// The calling thread's slot. Valid while the thread lives.
    fn slot() -> *const Slot;
    /// Whose the slots of this type are.
    fn owner() -> &'static SlotOwner;
}

/// Declares a type that is the thread-local half of a [`SystemHost`](crate::attach::SystemHost): for
/// one [`Threads`](crate::attach::Threads), which it tells from others. A second one made with the same
/// type refuses whatever is asked of it
/// ([`AttachError::SlotsTaken`](crate::attach::AttachError::SlotsTaken)).
///
/// ```
/// portcullis::thread_slot!(pub MySlot);
/// ```
#[macro_export]
macro_rules! thread_slot {
    ($(#[$meta:meta])* $vis:vis $name:ident) => {
        $(#[$meta])*
        #[derive(Debug)]
        $vis struct $name;

        // SAFETY: a thread-local without initialiser and destructor: memory of the thread from its
        // first instruction to its last; and a static of this type alone.
        unsafe impl $crate::attach::host::Local for $name {
            #[inline]
            fn slot() -> *const $crate::attach::host::Slot {
                ::std::thread_local! {
                    static SLOT: $crate::attach::host::Slot =
                        const { $crate::attach::host::Slot::new() };
                }
                SLOT.with(::core::ptr::from_ref)
            }
            #[inline]
            fn owner() -> &'static $crate::attach::host::SlotOwner {
                static OWNER: $crate::attach::host::SlotOwner =
                    $crate::attach::host::SlotOwner::new();
                &OWNER
            }
        }
    };
}

/// Signal masks, alternate stacks and ends of threads as the system has them.
///
/// | system | mask | stack | end of a thread |
/// |---|---|---|---|
/// | Unix | pthread_sigmask, all but the C library's own | sigaltstack; the host's is kept if it is large enough (never on NetBSD) | destructor of a pthread key |
/// | Windows | none: handlers run in threads of their own | none | callback of the image, in the thread |
/// | others | none | none | not told: what is bound stays in use |
pub struct SystemHost<L> {
    end: ThreadEnd,
    in_child: InChild,
    /// The system was told about forks.
    watched: AtomicBool,
    local: PhantomData<fn() -> L>,
}

impl<L: Local> SystemHost<L> {
    /// For one `Threads`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            end: ThreadEnd::new(),
            in_child: InChild::new(),
            watched: AtomicBool::new(false),
            local: PhantomData,
        }
    }
}

impl<L: Local> Default for SystemHost<L> {
    fn default() -> Self {
        Self::new()
    }
}

impl<L> fmt::Debug for SystemHost<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemHost").finish_non_exhaustive()
    }
}

/// The mask that a thread had. Of no other use than [`Host::restore`].
#[derive(Debug)]
pub struct Mask(AllBlocked, OwnThread);

/// A record's own stack.
#[derive(Debug)]
pub struct OwnStack(Altstack, OwnThread);

/// The stack that a thread had. Of no other use than [`Host::leave_stack`].
pub struct HostStack(Entered, OwnThread);

/// Neither `Send` nor `Sync`: what is of one thread is passed on by the protocol alone.
type OwnThread = PhantomData<*const ()>;

impl fmt::Debug for HostStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostStack").finish_non_exhaustive()
    }
}

// SAFETY: the slot is `L`'s, which promises it, and so is the owner that `claim` asks; masks and stacks
// are changed for the calling thread only.
unsafe impl<L: Local> Host for SystemHost<L> {
    type Mask = Mask;
    type Stack = OwnStack;
    type Saved = HostStack;

    #[inline]
    fn slot(&self) -> *const Slot {
        L::slot()
    }

    unsafe fn claim(&self, threads: *const ()) -> bool {
        L::owner().claim(threads)
    }

    unsafe fn block(&self) -> Mask {
        Mask(AllBlocked::new(), PhantomData)
    }

    unsafe fn restore(&self, mask: Mask) {
        // Its drop puts the mask back.
        drop(mask.0);
    }

    unsafe fn make_stack(&self) -> Result<OwnStack, Errno> {
        Altstack::new().map(|stack| OwnStack(stack, PhantomData))
    }

    unsafe fn free_stack(&self, stack: OwnStack) {
        // SAFETY: as the caller promises.
        unsafe { stack.0.free() };
    }

    unsafe fn enter_stack(&self, own: &OwnStack) -> HostStack {
        // SAFETY: as the caller promises.
        HostStack(unsafe { own.0.enter() }, PhantomData)
    }

    unsafe fn leave_stack(&self, own: &OwnStack, saved: HostStack) -> Option<HostStack> {
        // SAFETY: as the caller promises.
        unsafe { own.0.leave(saved.0) }.map(|saved| HostStack(saved, PhantomData))
    }

    unsafe fn arm(&'static self, exit: Callback) -> Result<(), Errno> {
        // SAFETY: always the same callback, as the caller promises; `self` lives for ever.
        unsafe { self.end.arm(exit.threads, exit.call) }
    }

    unsafe fn arm_in_handler(&'static self, exit: Callback) -> bool {
        // SAFETY: as in `arm`.
        unsafe { self.end.arm_in_handler(exit.threads, exit.call) }
    }

    unsafe fn at_fork(&'static self, child: Callback) {
        // ORDERING: Relaxed: one thread swaps false; the system orders the rest by itself.
        if !self.watched.load(Relaxed) && !self.watched.swap(true, Relaxed) {
            // SAFETY: once, by the line above; the two fit together, as `Callback` says.
            unsafe { self.in_child.register(child.threads, child.call) };
            // If there is none, `arm` says so, in ordinary code.
            _ = self.end.prepare();
        }
    }
}

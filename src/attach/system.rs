//! The real system as a [`Host`].

use core::fmt;
use core::marker::PhantomData;

use super::{Callback, Host, Slot};
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
/// other thread. It is async-signal-safe. One `Threads` at most uses the type.
pub unsafe trait Local {
    /// The calling thread's slot. Valid while the thread lives.
    fn slot() -> *const Slot;
}

/// Declares a type that is the thread-local half of a [`System`](crate::attach::System): for one
/// [`Threads`](crate::attach::Threads), which it tells from others.
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
        // first instruction to its last.
        unsafe impl $crate::attach::Local for $name {
            #[inline]
            fn slot() -> *const $crate::attach::Slot {
                ::std::thread_local! {
                    static SLOT: $crate::attach::Slot = const { $crate::attach::Slot::new() };
                }
                SLOT.with(::core::ptr::from_ref)
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
pub struct System<L> {
    end: ThreadEnd,
    in_child: InChild,
    local: PhantomData<fn() -> L>,
}

impl<L: Local> System<L> {
    /// For one `Threads`.
    #[must_use]
    pub const fn new() -> Self {
        Self { end: ThreadEnd::new(), in_child: InChild::new(), local: PhantomData }
    }
}

impl<L: Local> Default for System<L> {
    fn default() -> Self {
        Self::new()
    }
}

impl<L> fmt::Debug for System<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").finish_non_exhaustive()
    }
}

/// The mask that a thread had. Of no other use than [`Host::restore`].
#[derive(Debug)]
pub struct Mask(AllBlocked);

/// A record's own stack.
#[derive(Debug)]
pub struct OwnStack(Altstack);

/// The stack that a thread had. Of no other use than [`Host::leave_stack`].
pub struct HostStack(Entered);

impl fmt::Debug for HostStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostStack").finish_non_exhaustive()
    }
}

// SAFETY: the slot is `L`'s, which promises it; masks and stacks are changed for the calling thread
// only.
unsafe impl<L: Local> Host for System<L> {
    type Mask = Mask;
    type Stack = OwnStack;
    type Saved = HostStack;

    #[inline]
    fn slot(&self) -> &Slot {
        // SAFETY: valid while the thread lives, and the reference stays on it (`Slot` is not
        // handed out by this crate).
        unsafe { &*L::slot() }
    }

    fn block(&self) -> Mask {
        Mask(AllBlocked::new())
    }

    fn restore(&self, mask: Mask) {
        // Its drop puts the mask back.
        drop(mask.0);
    }

    fn make_stack(&self) -> Result<OwnStack, Errno> {
        Altstack::new().map(OwnStack)
    }

    fn free_stack(&self, stack: OwnStack) {
        stack.0.free();
    }

    fn enter_stack(&self, own: &OwnStack) -> HostStack {
        HostStack(own.0.enter())
    }

    fn leave_stack(&self, own: &OwnStack, saved: HostStack) {
        own.0.leave(saved.0);
    }

    fn arm(&'static self, exit: Callback) -> Result<(), Errno> {
        // SAFETY: one `Threads` uses this, so the callback is always the same.
        unsafe { self.end.arm(exit.threads, exit.call) }
    }

    fn at_fork(&'static self, child: Callback) {
        // SAFETY: called once.
        unsafe { self.in_child.register(child.threads, child.call) };
    }
}

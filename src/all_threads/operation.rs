//! What runs on threads that did not ask for it: in their handlers, or on the calling thread for them.

use core::fmt;

use crate::note::{Note, Park};
use crate::sigqueue::SignalQueue;
use crate::sync::{AtomicBool, AtomicU32, Ordering::*, fence};
use crate::sys::Errno;

/// What runs on every thread: in a handler of the thread's, mostly.
///
/// Those that are ready-made need no `unsafe`; code of one's own does.
#[derive(Clone, Copy)]
pub struct Operation<'a>(Kind<'a>);

#[derive(Clone, Copy)]
enum Kind<'a> {
    Own(&'a (dyn Fn() -> Result<i32, Errno> + Sync + 'a)),
    Flag(&'a AtomicBool),
    Count(&'a AtomicU32),
    Barrier,
    #[cfg(all(
        feature = "std",
        any(target_os = "linux", target_os = "android"),
        not(all(loom, any(test, feature = "loom")))
    ))]
    Syscall(&'a super::linux::Syscall),
}

impl<'a> Operation<'a> {
    /// Bytes of stack that an operation may use: std gives its threads a signal stack of 8 KiB, of which
    /// the system's frame takes 3 KiB or more.
    pub const STACK: usize = 2048;

    /// This code; it returns what a system call does.
    ///
    /// # Safety
    ///
    /// The code runs on the calling thread, and on others in handlers of theirs, wherever they are
    /// interrupted. So it
    ///
    /// - is async-signal-safe: it allocates nothing, and takes no lock that the interrupted code may hold;
    /// - touches no thread-local, nor other memory, that the interrupted code may be in the middle of
    ///   using, unless by atomics;
    /// - does not unwind on a thread other than the calling one (the process is aborted, unless unwinding
    ///   needs more than the stack there is);
    /// - needs no more than [`STACK`](Self::STACK) bytes of stack;
    /// - does not end the thread, nor leave by any way but returning.
    #[must_use]
    pub unsafe fn new(run: &'a (dyn Fn() -> Result<i32, Errno> + Sync + 'a)) -> Self {
        Self(Kind::Own(run))
    }

    /// Sets the flag.
    #[must_use]
    pub fn flag(flag: &'a AtomicBool) -> Self {
        Self(Kind::Flag(flag))
    }

    /// Adds one, modulo 2^32.
    #[must_use]
    pub fn count(counter: &'a AtomicU32) -> Self {
        Self(Kind::Count(counter))
    }

    /// A full memory barrier.
    #[must_use]
    pub fn barrier() -> Self {
        Self(Kind::Barrier)
    }

    /// This system call, which returns what it does.
    #[cfg(all(
        feature = "std",
        any(target_os = "linux", target_os = "android"),
        not(all(loom, any(test, feature = "loom")))
    ))]
    #[must_use]
    pub fn syscall(call: &'a super::linux::Syscall) -> Self {
        Self(Kind::Syscall(call))
    }

    pub(super) fn run(&self) -> Result<i32, Errno> {
        match self.0 {
            Kind::Own(run) => return run(),
            // ORDERING: Relaxed, here and below: the caller sees it by E2.
            Kind::Flag(flag) => flag.store(true, Relaxed),
            Kind::Count(counter) => _ = counter.fetch_add(1, Relaxed),
            // ORDERING: a barrier is what was asked for.
            Kind::Barrier => fence(SeqCst),
            #[cfg(all(
                feature = "std",
                any(target_os = "linux", target_os = "android"),
                not(all(loom, any(test, feature = "loom")))
            ))]
            Kind::Syscall(call) => return call.perform(),
        }
        Ok(0)
    }

    /// The same without what it borrows.
    ///
    /// # Safety
    ///
    /// It is run, and copied, only while that is borrowed.
    pub(super) unsafe fn for_ever(self) -> Operation<'static> {
        // SAFETY: only the lifetime changes; the caller answers for it.
        unsafe { core::mem::transmute::<Self, Operation<'static>>(self) }
    }
}

/// How a thread that does not run is woken so that it looks at its seat, instead of interrupted.
///
/// Called by the thread that calls for the operation.
#[derive(Clone, Copy)]
pub struct WakeFn<'a>(Wakes<'a>);

#[derive(Clone, Copy)]
enum Wakes<'a> {
    Own(&'a (dyn Fn() + Sync + 'a)),
    Note(&'a Note),
    Queue(&'a SignalQueue),
}

impl<'a> WakeFn<'a> {
    /// Woken by this code, which passes on what came before it to whom it wakes, as a note does: else that
    /// one may not see yet that it is asked, and sleep again.
    ///
    /// # Safety
    ///
    /// The code runs on whichever thread calls for an operation, in a handler perhaps: it is
    /// async-signal-safe, needs no more than [`Operation::STACK`] bytes of stack, and does not unwind.
    #[must_use]
    pub unsafe fn new(wake: &'a (dyn Fn() + Sync + 'a)) -> Self {
        Self(Wakes::Own(wake))
    }

    /// Asleep on this note.
    #[must_use]
    pub fn note(note: &'a Note) -> Self {
        Self(Wakes::Note(note))
    }

    /// Asleep in this queue's receiver, which is then told to run pending work.
    #[must_use]
    pub fn fixup(queue: &'a SignalQueue) -> Self {
        Self(Wakes::Queue(queue))
    }

    pub(super) fn wake(&self) {
        match self.0 {
            Wakes::Own(wake) => wake(),
            Wakes::Note(note) => note.wake(),
            Wakes::Queue(queue) => queue.fixup(),
        }
    }
}

impl fmt::Debug for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Own(_) => "Operation::new",
            Kind::Flag(_) => "Operation::flag",
            Kind::Count(_) => "Operation::count",
            Kind::Barrier => "Operation::barrier",
            #[cfg(all(
                feature = "std",
                any(target_os = "linux", target_os = "android"),
                not(all(loom, any(test, feature = "loom")))
            ))]
            Kind::Syscall(_) => "Operation::syscall",
        })
    }
}

impl fmt::Debug for WakeFn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Wakes::Own(_) => "WakeFn::new",
            Wakes::Note(_) => "WakeFn::note",
            Wakes::Queue(_) => "WakeFn::fixup",
        })
    }
}

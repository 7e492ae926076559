//! The real system as a [`Backend`](super::host::Backend).

use super::host::{GateLocal, Turn};
use crate::sync::{AtomicBool, AtomicU32, Ordering::*};

#[cfg(unix)]
pub use super::posix::{SystemBackend, SystemThread};
#[cfg(windows)]
pub use super::windows::{Registers, SystemBackend, SystemThread};

/// What runs on a thread that is to be preempted: on Unix in the signal handler, with a
/// `*mut ucontext_t`; on Windows on the thread that asks, while the other is suspended, with a
/// `*mut CONTEXT`. What it changes there the thread goes on with.
///
/// The thread was interrupted anywhere in the runtime's code. So what sets a flag or counts is safe, and
/// code of one's own is handed in through `unsafe`.
#[derive(Debug, Clone, Copy)]
pub struct Hook(Run);

#[derive(Debug, Clone, Copy)]
enum Run {
    Nothing,
    Flag(&'static AtomicBool),
    Count(&'static AtomicU32),
    Code(fn(*mut ())),
}

impl Hook {
    /// How much stack code of one's own may need, in bytes. Handlers run on the thread's signal stack, which
    /// has 8 KiB and more above a signal's frame on a thread that registered; others' handlers take of
    /// the same.
    pub const STACK: usize = 2048;

    /// Nothing: requests are acknowledged, and that is all.
    #[must_use]
    pub const fn nothing() -> Self {
        Self(Run::Nothing)
    }

    /// Sets this, for a loop that looks at it. It orders nothing.
    #[must_use]
    pub const fn flag(flag: &'static AtomicBool) -> Self {
        Self(Run::Flag(flag))
    }

    /// Adds one to this. It orders nothing.
    #[must_use]
    pub const fn count(count: &'static AtomicU32) -> Self {
        Self(Run::Count(count))
    }

    /// Calls this, with the context.
    ///
    /// # Safety
    ///
    /// The function:
    ///
    /// - is async-signal-safe: it does not allocate, free or log, and takes no lock, as the thread that it
    ///   interrupts may be in the middle of that;
    /// - does not block, and does not call [`Gates`](super::Gates);
    /// - does not unwind;
    /// - needs no more than [`STACK`](Self::STACK) bytes of stack;
    /// - touches no thread-local that ordinary code of the thread may be in the middle of using, or that is
    ///   made when it is first used;
    /// - writes nothing into the context but what the thread can go on with.
    #[must_use]
    pub const unsafe fn new(function: fn(*mut ())) -> Self {
        Self(Run::Code(function))
    }

    /// Async-signal-safe.
    pub(super) fn run(self, context: *mut ()) {
        match self.0 {
            Run::Nothing => {}
            // ORDERING: Relaxed, both: they say that there was a request; what it is about, and what the
            // thread did before, `Requests` passes on.
            Run::Flag(flag) => flag.store(true, Relaxed),
            Run::Count(count) => _ = count.fetch_add(1, Relaxed),
            Run::Code(function) => function(context),
        }
    }
}

/// One for all backends of the process: any two may stop each other's threads.
pub(super) static TURN: Turn = Turn::new();

std::thread_local! {
    static HERE: GateLocal = const { GateLocal::new() };
}

/// The calling thread's. Plain memory of the thread, without initialiser and destructor, so it is there
/// until the thread's last instruction; for what that means in a library loaded by dlopen see
/// [`Local`](crate::attach::Local).
#[inline]
pub(super) fn here() -> *const GateLocal {
    HERE.with(core::ptr::from_ref)
}

/// As long as an attempt to suspend takes, about; after that its thread needs a processor.
const SPINS: u32 = 300;

pub(super) fn pause(turn: u32) {
    if turn < SPINS { core::hint::spin_loop() } else { std::thread::yield_now() }
}

/// An allocator that in debug builds ends the process when a thread allocates or frees while it has
/// another one suspended: that one may hold the allocator's lock, and then both wait for ever.
///
/// ```
/// use portcullis::preempt::Checked;
/// use std::alloc::System;
///
/// #[global_allocator]
/// static ALLOCATOR: Checked<System> = Checked(System);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Checked<A>(pub A);

fn check() {
    if cfg!(debug_assertions) && HERE.with(GateLocal::holds) > 0 {
        // Nothing that might allocate, to say why.
        std::process::abort();
    }
}

// SAFETY: what the other allocator promises, which is handed every call as it came; `check` allocates
// nothing, and does not unwind.
unsafe impl<A: std::alloc::GlobalAlloc> std::alloc::GlobalAlloc for Checked<A> {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        check();
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: std::alloc::Layout) {
        check();
        // SAFETY: as the caller promises.
        unsafe { self.0.dealloc(memory, layout) };
    }

    unsafe fn alloc_zeroed(&self, layout: std::alloc::Layout) -> *mut u8 {
        check();
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: std::alloc::Layout, size: usize) -> *mut u8 {
        check();
        // SAFETY: as the caller promises.
        unsafe { self.0.realloc(old, layout, size) }
    }
}

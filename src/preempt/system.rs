//! The real system as a [`Backend`](super::Backend).

use super::Here;

/// What runs on a thread that is to be preempted: on Unix in the signal handler, with a
/// `*mut ucontext_t`; on Windows on the thread that asks, while the other is suspended, with a
/// `*mut CONTEXT`. It may be anywhere in the runtime's code, with locks held: it must not block.
pub type Hook = fn(*mut ());

#[cfg(unix)]
pub use super::posix::{Posix as System, PosixThread as OsHandle};
#[cfg(windows)]
pub use super::windows::{Windows as System, WindowsThread as OsHandle};

std::thread_local! {
    static HERE: Here = const { Here::new() };
}

/// The calling thread's. Plain memory of the thread, without initialiser and destructor; for what
/// that means in a library loaded by dlopen see [`Local`](crate::attach::Local).
#[inline]
pub(super) fn here() -> &'static Here {
    HERE.with(|here| {
        // SAFETY: valid while the thread lives; `Here` is not handed to others.
        unsafe { &*core::ptr::from_ref(here) }
    })
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
    if cfg!(debug_assertions) && here().holds() > 0 {
        // Nothing that might allocate, to say why.
        std::process::abort();
    }
}

// SAFETY: the other allocator's, unless the process ends.
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

//! Stacks of loom's threads, kept for the next execution.
//!
//! loom maps a stack for each thread of each execution, forbids its lowest page, and unmaps it. These three calls
//! and the faults of fresh pages are more than a third of a run. So this test program has an `mmap`, `mprotect`
//! and `munmap` of its own, which stand before the C library's: what is mapped as a stack is kept, guard page and
//! all, as it is unmapped, and is the next one of its length. All else goes to the kernel. Nothing that ships has
//! them, and what is explored is the same without them: an execution begins with what loom writes to its stacks.

use core::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering::*};

/// Stacks that are known: an address, and in its lowest bits what is known of it; 0 is nothing.
static KNOWN: [AtomicUsize; 64] = [const { AtomicUsize::new(0) }; 64];
/// The length of those that are known: that of the first.
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Nobody has it.
const KEPT: usize = 1;
/// Its lowest page is forbidden.
const GUARDED: usize = 2;

/// Replaces `state` of a stack by `new`. What is known of a stack says nothing of what is in it.
fn change(state: usize, new: usize) -> bool {
    // ORDERING: Acquire and Release: who gets a stack comes after who had it.
    let exchanged = |known: &AtomicUsize| known.compare_exchange(state, new, AcqRel, Relaxed);
    KNOWN.iter().any(|known| exchanged(known).is_ok())
}

fn take() -> Option<usize> {
    KNOWN.iter().find_map(|known| {
        // ORDERING: Relaxed: a hint; `change` takes it.
        let state = known.load(Relaxed);
        let kept = state & KEPT != 0 && change(state, state & !KEPT);
        kept.then_some(state & !(KEPT | GUARDED))
    })
}

fn is_stack(address: *mut c_void, length: usize, protection: c_int, flags: c_int) -> bool {
    // ORDERING: Relaxed: a number.
    let first = LENGTH.compare_exchange(0, length, Relaxed, Relaxed).unwrap_or_else(|it| it);
    address.is_null()
        && (first == 0 || first == length)
        && protection == libc::PROT_READ | libc::PROT_WRITE
        && flags == libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: libc::off_t,
) -> *mut c_void {
    let stack = flags & libc::MAP_STACK != 0 && is_stack(address, length, protection, flags);
    if let Some(kept) = stack.then(take).flatten() {
        return core::ptr::with_exposed_provenance_mut(kept);
    }
    // SAFETY: the caller's arguments, as the kernel has them.
    let mapped =
        unsafe { libc::syscall(libc::SYS_mmap, address, length, protection, flags, file, offset) }
            as usize;
    if stack && mapped != usize::MAX {
        change(0, mapped);
    }
    core::ptr::with_exposed_provenance_mut(mapped)
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn mprotect(address: *mut c_void, length: usize, protection: c_int) -> c_int {
    let stack = address.expose_provenance();
    let guards = protection == libc::PROT_NONE;
    if guards && change(stack | GUARDED, stack | GUARDED) {
        return 0;
    }
    // SAFETY: the caller's arguments, as the kernel has them.
    let changed =
        unsafe { libc::syscall(libc::SYS_mprotect, address, length, protection) } as c_int;
    if guards && changed == 0 {
        change(stack, stack | GUARDED);
    }
    changed
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn munmap(address: *mut c_void, length: usize) -> c_int {
    let stack = address.expose_provenance() | GUARDED;
    // ORDERING: Relaxed: a number that does not change any more once there is a stack.
    if length == LENGTH.load(Relaxed) && change(stack, stack | KEPT) {
        return 0;
    }
    // SAFETY: the caller's arguments, as the kernel has them.
    unsafe { libc::syscall(libc::SYS_munmap, address, length) as c_int }
}

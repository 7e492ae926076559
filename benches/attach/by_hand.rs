//! What attach and detach do, by the bare system calls.

use std::mem::zeroed;
use std::ptr;

/// Runs the body on a thread of the C library's.
pub(crate) fn on_bare_thread<F: FnOnce() + Send>(body: F) {
    extern "C" fn run<F: FnOnce() + Send>(body: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: a leaked box, passed once.
        (unsafe { Box::from_raw(body.cast::<F>()) })();
        ptr::null_mut()
    }
    let body = Box::into_raw(Box::new(body));
    // SAFETY: zeroed storage for the name of a thread.
    let mut name: libc::pthread_t = unsafe { zeroed() };
    // SAFETY: the function takes what it is passed; the thread is joined.
    unsafe {
        assert_eq!(libc::pthread_create(&raw mut name, ptr::null(), run::<F>, body.cast()), 0);
        libc::pthread_join(name, ptr::null_mut());
    }
}

pub(crate) fn mask_all() -> libc::sigset_t {
    // SAFETY: all zeros is storage for a set, filled next.
    let (mut all, mut old): (libc::sigset_t, libc::sigset_t) = unsafe { zeroed() };
    // SAFETY: both are locals.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
    }
    old
}

pub(crate) fn set_mask(mask: &libc::sigset_t) {
    // SAFETY: a valid set.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
}

pub(crate) fn set_stack(new: &libc::stack_t) -> libc::stack_t {
    // SAFETY: all zeros is a valid stack_t.
    let mut old: libc::stack_t = unsafe { zeroed() };
    // SAFETY: the memory named stays for as long as it is registered.
    unsafe { libc::sigaltstack(new, &raw mut old) };
    old
}

pub(crate) fn ask_stack() -> libc::stack_t {
    // SAFETY: all zeros is a valid stack_t.
    let mut old: libc::stack_t = unsafe { zeroed() };
    // SAFETY: a null new stack only asks.
    unsafe { libc::sigaltstack(ptr::null(), &raw mut old) };
    old
}

/// A stack that lives for ever.
pub(crate) fn stack() -> libc::stack_t {
    let memory = Box::leak(vec![0_u8; 64 * 1024].into_boxed_slice());
    // SAFETY: all zeros is a valid stack_t.
    let mut stack: libc::stack_t = unsafe { zeroed() };
    (stack.ss_sp, stack.ss_size) = (memory.as_mut_ptr().cast(), memory.len());
    stack
}

/// Mask, stack, mask; mask, stack, mask.
pub(crate) fn six(own: &libc::stack_t) {
    let mask = mask_all();
    let old = set_stack(own);
    set_mask(&mask);
    let mask = mask_all();
    set_stack(&old);
    set_mask(&mask);
}

/// As Go's needm and dropm: the mask is read, then set; the stack is asked for, then set.
pub(crate) fn eight(own: &libc::stack_t) {
    // SAFETY: all zeros is storage for a set, filled by the call.
    let mut mask: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: a null new set only asks.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), &raw mut mask) };
    mask_all();
    let old = ask_stack();
    set_stack(own);
    set_mask(&mask);
    mask_all();
    set_stack(&old);
    set_mask(&mask);
}

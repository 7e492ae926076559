//! What threads mask. man 3 pthread_sigmask.

use core::ffi::c_int;
use core::marker::PhantomData;
use core::mem::zeroed;
use core::ptr;

/// By which a failing instruction, or a system call that a filter traps, is told: masked, they end the
/// process though the program has a handler for them (write barriers, stack growth, traps of wasm).
pub(super) const FAULTS: [c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

/// Every signal that may wait. glibc leaves its own out. Async-signal-safe.
pub(super) fn all_but_faults() -> libc::sigset_t {
    // SAFETY: all zeros is storage for a set, filled next.
    let mut all: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: the set is a local.
    unsafe {
        libc::sigfillset(&raw mut all);
        FAULTS.iter().for_each(|signal| _ = libc::sigdelset(&raw mut all, *signal));
    }
    all
}

/// All signals that may wait masked in this thread, until dropped. Async-signal-safe. Stays on the thread
/// whose mask it holds.
#[derive(Debug)]
pub(crate) struct AllBlocked(libc::sigset_t, PhantomData<*mut ()>);

impl AllBlocked {
    pub(crate) fn new() -> Self {
        Self::but(&[])
    }

    /// Those that report faults too: for code that makes none, and starts nothing.
    pub(crate) fn and_faults() -> Self {
        // SAFETY: all zeros is storage for a set, filled next.
        let mut all: libc::sigset_t = unsafe { zeroed() };
        // SAFETY: the set is a local.
        unsafe { libc::sigfillset(&raw mut all) };
        Self::set(&all)
    }

    pub(super) fn but(open: &[c_int]) -> Self {
        let mut all = all_but_faults();
        // SAFETY: the set is a local.
        open.iter().for_each(|signal| _ = unsafe { libc::sigdelset(&raw mut all, *signal) });
        Self::set(&all)
    }

    fn set(new: &libc::sigset_t) -> Self {
        // SAFETY: all zeros is storage for a set, filled next.
        let mut saved: libc::sigset_t = unsafe { zeroed() };
        // SAFETY: both sets are borrowed or a local.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, new, &raw mut saved) };
        Self(saved, PhantomData)
    }
}

/// What a thread masks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mask(pub(super) libc::sigset_t);

impl Mask {
    /// The calling thread's.
    pub(crate) fn current() -> Self {
        // SAFETY: all zeros is storage for a set, filled next.
        let mut now: libc::sigset_t = unsafe { zeroed() };
        // SAFETY: the set is a local; a null new one only asks.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), &raw mut now) };
        Self(now)
    }

    /// The calling thread masks all that may wait but these; returns what it masked before, for `restore`.
    /// Async-signal-safe.
    pub(crate) fn all_but(open: &[c_int]) -> Self {
        let before = AllBlocked::but(open);
        let mask = Self(before.0);
        core::mem::forget(before);
        mask
    }

    /// What `all_but` returned on this thread, or on the one that created it.
    pub(crate) fn restore(&self) {
        // SAFETY: the set was written by the system.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }

    /// Runs this under it, and puts back what was there, also if it panics.
    pub(crate) fn under(&self, body: impl FnOnce()) {
        let _before = AllBlocked::set(&self.0);
        body();
    }
}

impl Drop for AllBlocked {
    fn drop(&mut self) {
        // SAFETY: the set was written by `set`, for this thread: the type does not leave it, but by way of
        // `signal::global::Forking`, from which the same thread takes it back.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

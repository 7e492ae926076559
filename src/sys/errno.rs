//! The thread's error number: where it lies on each Unix, and a way to leave it as it was.
//! man 3 errno; the names of the location's function are those of each system's `errno.h`.

use core::ffi::c_int;

/// Async-signal-safe, and needs no lazily made thread-local.
pub(super) fn location() -> *mut c_int {
    cfg_if::cfg_if! {
        if #[cfg(any(target_vendor = "apple", target_os = "freebsd"))] {
            // SAFETY: no preconditions.
            unsafe { libc::__error() }
        } else if #[cfg(any(target_os = "solaris", target_os = "illumos"))] {
            // SAFETY: no preconditions.
            unsafe { libc::___errno() }
        } else if #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))] {
            // SAFETY: no preconditions.
            unsafe { libc::__errno() }
        } else {
            // SAFETY: no preconditions.
            unsafe { libc::__errno_location() }
        }
    }
}

#[allow(dead_code, reason = "one mechanism of waiting returns its errors")]
pub(super) fn get() -> c_int {
    // SAFETY: the C library's, of the calling thread, which lives.
    unsafe { *location() }
}

/// Runs `f` and puts errno back. Async-signal-safe if `f` is.
#[allow(dead_code, reason = "where waking is nothing and nothing is caught, nothing is kept")]
pub(super) fn kept<R>(f: impl FnOnce() -> R) -> R {
    let location = location();
    // SAFETY: as in `get`, here and below: `f` returns on the thread that called it.
    let saved = unsafe { *location };
    let result = f();
    // SAFETY: as above.
    unsafe { *location = saved };
    result
}

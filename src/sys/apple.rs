//! Wait on address on Apple's systems: `__ulock_wait` and `__ulock_wake` of libSystem
//! (xnu `bsd/sys/ulock.h`, `bsd/kern/sys_ulock.c`), there since macOS 10.12 and iOS 10.
//!
//! Not `os_sync_wait_on_address`, which is the public interface to the same: it came with macOS
//! 14.4, so using it means looking it up at run time, and a look-up is neither async-signal-safe
//! nor to be done before the first signal. Not `__ulock_wait2` either (nanoseconds, macOS 11): its
//! gain, timeouts beyond 71 minutes, is had by sleeping again. The calls are not in the public
//! headers. libc++ rests on them; Rust's std avoids them for that, as the App Store may reject a
//! program that uses them (std `sys/sync/thread_parking/darwin.rs`).

use core::ffi::{c_int, c_void};
use core::time::Duration;

use super::{Deadline, Waited};
use crate::sync::AtomicU32;

const UL_COMPARE_AND_WAIT: u32 = 1;
/// The error number is returned negated, and errno is not touched.
const ULF_NO_ERRNO: u32 = 0x0100_0000;
const OPERATION: u32 = UL_COMPARE_AND_WAIT | ULF_NO_ERRNO;

unsafe extern "C" {
    /// The timeout is in microseconds, 0 is for ever.
    fn __ulock_wait(operation: u32, address: *mut c_void, value: u64, timeout: u32) -> c_int;
    fn __ulock_wake(operation: u32, address: *mut c_void, value: u64) -> c_int;
}

/// See the contract in [`super`]. EINTR and EFAULT (the page was out) are returns for no reason.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
    let left = deadline.and_then(Deadline::left);
    if left == Some(Duration::ZERO) {
        return Waited::TimedOut;
    }
    let micros =
        left.map_or(0, |left| u32::try_from(left.as_nanos().div_ceil(1000)).unwrap_or(u32::MAX));
    // SAFETY: the word outlives the call.
    let done = unsafe { __ulock_wait(OPERATION, word.as_ptr().cast(), expected.into(), micros) };
    let passed = || deadline.and_then(Deadline::left) == Some(Duration::ZERO);
    if done == -libc::ETIMEDOUT && passed() { Waited::TimedOut } else { Waited::Woken }
}

/// See the contract in [`super`]. ENOENT says that nobody sleeps.
pub(crate) fn wake_one(word: &AtomicU32) {
    loop {
        // SAFETY: a wake-up does not touch the word; whoever sleeps there for another reason looks
        // again (`wait` may return early).
        let done = unsafe { __ulock_wake(OPERATION, word.as_ptr().cast(), 0) };
        if done != -libc::EINTR {
            return;
        }
    }
}

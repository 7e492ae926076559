//! Wait on address on OpenBSD: futex(2), since 6.2. The timeout is relative, and FUTEX_WAIT is
//! 1 there. man 2 futex.

use core::ptr;
use core::time::Duration;

use super::{Deadline, Waited, errno};
use crate::sync::AtomicU32;

/// See the contract in [`super`]. EINTR and ECANCELED (a handler ran) are returns for no reason.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
    let left = deadline.and_then(Deadline::left);
    if left == Some(Duration::ZERO) {
        return Waited::TimedOut;
    }
    let left = left.map(|left| libc::timespec {
        tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    // SAFETY: the word outlives the call, the timeout is null or points to a local.
    let done = unsafe {
        libc::futex(
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected as libc::c_int,
            left.as_ref().map_or(ptr::null(), ptr::from_ref),
            ptr::null_mut(),
        )
    };
    let passed = || deadline.and_then(Deadline::left) == Some(Duration::ZERO);
    if done == -1 && errno::get() == libc::ETIMEDOUT && passed() {
        Waited::TimedOut
    } else {
        Waited::Woken
    }
}

/// See the contract in [`super`].
pub(crate) fn wake_one(word: &AtomicU32) {
    errno::kept(|| {
        // SAFETY: a wake-up does not touch the word; whoever sleeps there for another reason looks
        // again (`wait` may return early).
        unsafe {
            libc::futex(
                word.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                1,
                ptr::null(),
                ptr::null_mut(),
            )
        };
    });
}

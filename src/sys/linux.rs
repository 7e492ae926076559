//! Wait on address by futex(2): Linux and Android. man 2 futex.

use core::ptr;

use super::{Deadline, Waited, errno};
use crate::sync::AtomicU32;

/// `linux/futex.h`; the crate libc lacks it for Android.
const FUTEX_BITSET_MATCH_ANY: u32 = u32::MAX;

/// See the contract in [`super`]. The deadline is absolute, so an interrupted call needs no clock.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
    let until = deadline.and_then(Deadline::at).map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the word outlives the call, `until` is null or points to a timespec that does.
    let done = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
            expected,
            until,
            ptr::null::<u32>(),
            FUTEX_BITSET_MATCH_ANY,
        )
    };
    if done == -1 && errno::get() == libc::ETIMEDOUT { Waited::TimedOut } else { Waited::Woken }
}

/// See the contract in [`super`].
pub(crate) fn wake_one(word: &AtomicU32) {
    errno::kept(|| {
        // SAFETY: a wake-up does not touch the word; a stale address wakes nobody.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                1,
            )
        };
    });
}

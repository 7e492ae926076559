//! Wait on address on FreeBSD: `_umtx_op`. man 2 _umtx_op, `sys/umtx.h`.

use core::mem::size_of;
use core::ptr;

use super::{Deadline, Waited, errno};
use crate::sync::AtomicU32;

const UMTX_OP_WAIT_UINT_PRIVATE: libc::c_int = 15;
const UMTX_OP_WAKE_PRIVATE: libc::c_int = 16;
const UMTX_ABSTIME: u32 = 1;

/// See the contract in [`super`]. The deadline is absolute, so an interrupted call needs no clock.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
    let time = deadline.and_then(Deadline::at).map(|until| libc::_umtx_time {
        _timeout: *until,
        _flags: UMTX_ABSTIME,
        _clockid: libc::CLOCK_MONOTONIC as u32,
    });
    // With a time, the first of the two addresses is the size of what the second points to.
    let size = time.as_ref().map_or(0, |_| size_of::<libc::_umtx_time>());
    let time = time.as_ref().map_or(ptr::null_mut(), |time| ptr::from_ref(time).cast_mut().cast());
    // SAFETY: the word outlives the call, and so does the time, which is only read.
    let done = unsafe {
        libc::_umtx_op(
            word.as_ptr().cast(),
            UMTX_OP_WAIT_UINT_PRIVATE,
            libc::c_ulong::from(expected),
            ptr::without_provenance_mut(size),
            time,
        )
    };
    if done == -1 && errno::get() == libc::ETIMEDOUT { Waited::TimedOut } else { Waited::Woken }
}

/// See the contract in [`super`].
pub(crate) fn wake_one(word: &AtomicU32) {
    errno::kept(|| {
        // SAFETY: a wake-up does not touch the word; whoever sleeps there for another reason looks
        // again (`wait` may return early).
        unsafe {
            libc::_umtx_op(
                word.as_ptr().cast(),
                UMTX_OP_WAKE_PRIVATE,
                1,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
    });
}

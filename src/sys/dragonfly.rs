//! Wait on address on DragonFly: umtx_sleep and umtx_wakeup. man 2 umtx.
//!
//! Two quirks. A sleep is of at most 1 000 000 µs by the manual; the kernel wakes a sleeper now
//! and then anyway (2 s), because the address is looked up by its physical page, which a copy on
//! write (a fork) may change under the sleeper: a wake-up may go to the old page. So every sleep
//! here is bounded, with a deadline or without, and a lost wake-up costs a second at worst. And
//! ETIMEDOUT and EINTR say nothing of the deadline: the clock does.

use core::ffi::c_int;
use core::time::Duration;

use super::{Deadline, Waited, errno};
use crate::sync::AtomicU32;

const LONGEST: c_int = 1_000_000;

/// See the contract in [`super`].
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
    let left = deadline.and_then(Deadline::left);
    if left == Some(Duration::ZERO) {
        return Waited::TimedOut;
    }
    let micros = left.map_or(LONGEST, |left| {
        c_int::try_from(left.as_nanos().div_ceil(1000)).unwrap_or(LONGEST).min(LONGEST)
    });
    // SAFETY: the word outlives the call.
    unsafe { libc::umtx_sleep(word.as_ptr().cast_const().cast(), expected as c_int, micros) };
    let passed = deadline.and_then(Deadline::left) == Some(Duration::ZERO);
    if passed { Waited::TimedOut } else { Waited::Woken }
}

/// See the contract in [`super`].
pub(crate) fn wake_one(word: &AtomicU32) {
    errno::kept(|| {
        // SAFETY: a wake-up does not touch the word; whoever sleeps there for another reason looks
        // again (`wait` may return early).
        unsafe { libc::umtx_wakeup(word.as_ptr().cast_const().cast(), 1) };
    });
}

//! Wait on address by futex(2): Linux and Android.

use core::ptr;
use core::time::Duration;

use super::Waited;
use super::unix::errno_kept;
use crate::sync::AtomicU32;

/// A point on CLOCK_MONOTONIC, or for ever.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<libc::timespec>);

impl Deadline {
    /// So long from now. A duration too long for the clock is for ever. Async-signal-safe.
    pub fn after(duration: Duration) -> Self {
        // SAFETY: all zeros is a valid timespec.
        let mut now: libc::timespec = unsafe { core::mem::zeroed() };
        // SAFETY: the pointer is valid for the call; the clock exists on every Linux.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        let nanos = now.tv_nsec + libc::c_long::from(duration.subsec_nanos() as i32);
        let whole = libc::time_t::try_from(duration.as_secs()).ok();
        let seconds = whole
            .and_then(|whole| now.tv_sec.checked_add(whole))
            .and_then(|sum| sum.checked_add(libc::time_t::from(nanos >= 1_000_000_000)));
        Self(seconds.map(|tv_sec| libc::timespec { tv_sec, tv_nsec: nanos % 1_000_000_000 }))
    }
}

/// See the contract in [`super`]. The deadline is absolute, so an interrupted call needs no clock.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
    let until = deadline.and_then(|d| d.0.as_ref()).map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the word outlives the call, `until` is null or points to a timespec that does.
    let done = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
            expected,
            until,
            ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    // SAFETY: errno is always readable.
    if done == -1 && super::unix::errno() == libc::ETIMEDOUT { Waited::TimedOut } else { Waited::Woken }
}

/// See the contract in [`super`].
pub(crate) fn wake_one(word: &AtomicU32) {
    errno_kept(|| {
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

//! Wait on address where no such call is at hand (NetBSD, Solaris, illumos, others): the word is
//! looked at, with pauses of nanosleep(2) that double from 50 µs to 10 ms.
//!
//! Correct and slow: a wake-up is noticed up to 10 ms late, and a sleeper costs a hundred
//! looks a second. A signal ends a pause, and the handler that ran there usually is the waker.
//! NetBSD 10 has a futex and illumos lwp_park; either would take this file's place there.

use core::mem::zeroed;
use core::ptr;
use core::time::Duration;

use super::{Deadline, Waited};
use crate::sync::{AtomicU32, Ordering::Relaxed};

const SHORTEST: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(10);

/// See the contract in [`super`].
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
    let mut pause = SHORTEST;
    // ORDERING: Relaxed: a look, as the kernel's would be; the caller looks again.
    while word.load(Relaxed) == expected {
        let left = deadline.and_then(Deadline::left);
        if left == Some(Duration::ZERO) {
            return Waited::TimedOut;
        }
        sleep(left.map_or(pause, |left| left.min(pause)));
        pause = (pause * 2).min(LONGEST);
    }
    Waited::Woken
}

fn sleep(pause: Duration) {
    // SAFETY: all zeros is a valid timespec.
    let mut time: libc::timespec = unsafe { zeroed() };
    time.tv_nsec = pause.subsec_nanos() as libc::c_long;
    // SAFETY: the pointer is valid for the call. An interrupted pause is a shorter one.
    unsafe { libc::nanosleep(&raw const time, ptr::null_mut()) };
}

/// Nothing: whoever sleeps looks by itself.
pub(crate) fn wake_one(_word: &AtomicU32) {}

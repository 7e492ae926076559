//! Wait on address on Windows: WaitOnAddress and WakeByAddressSingle (Windows 8 and later), with
//! deadlines on the performance counter. learn.microsoft.com, `synchapi.h`.

use core::time::Duration;

use windows_sys::Win32::Foundation::{ERROR_TIMEOUT, GetLastError};
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};
use windows_sys::Win32::System::Threading::{INFINITE, WaitOnAddress, WakeByAddressSingle};

use super::Waited;
use crate::sync::AtomicU32;

/// A reading of the performance counter, or for ever.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<i64>);

const NANOS: u128 = 1_000_000_000;

fn now() -> i64 {
    let mut ticks = 0;
    // SAFETY: the pointer is valid for the call, which does not fail since Windows XP.
    unsafe { QueryPerformanceCounter(&raw mut ticks) };
    ticks
}

/// Ticks a second.
fn frequency() -> i64 {
    let mut ticks = 0;
    // SAFETY: as for `now`.
    unsafe { QueryPerformanceFrequency(&raw mut ticks) };
    ticks.max(1)
}

impl Deadline {
    /// So long from now. A duration too long for the counter is for ever.
    pub fn after(duration: Duration) -> Self {
        let whole = u128::from(duration.as_secs()) * frequency() as u128;
        let part = u128::from(duration.subsec_nanos()) * frequency() as u128;
        let ticks = whole + part.div_ceil(NANOS);
        Self(i64::try_from(ticks).ok().and_then(|ticks| now().checked_add(ticks)))
    }

    /// What is left until then, zero if it has passed; `None` is for ever.
    pub fn left(&self) -> Option<Duration> {
        let ticks = self.0?.saturating_sub(now()).max(0) as u128;
        // Rounded up: zero is what has passed, and nothing else.
        let nanos = (ticks * NANOS).div_ceil(frequency() as u128);
        let seconds = u64::try_from(nanos / NANOS).unwrap_or(u64::MAX);
        Some(Duration::new(seconds, (nanos % NANOS) as u32))
    }

    /// Whether it is over.
    pub fn has_passed(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// Milliseconds left, rounded up; 0 if it has passed, INFINITE is for ever.
    fn millis(&self) -> u32 {
        let Some(left) = self.left() else { return INFINITE };
        let millis = left.as_nanos().div_ceil(1_000_000);
        u32::try_from(millis).unwrap_or(INFINITE).min(INFINITE - 1)
    }
}

/// See the contract in [`super`].
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
    let left = || deadline.map_or(INFINITE, Deadline::millis);
    // SAFETY: the word and the local outlive the call, both are of the size that it is told.
    let woken = unsafe {
        WaitOnAddress(word.as_ptr().cast(), (&raw const expected).cast(), size_of::<u32>(), left())
    };
    // SAFETY: no preconditions.
    if woken == 0 && unsafe { GetLastError() } == ERROR_TIMEOUT && left() == 0 {
        Waited::TimedOut
    } else {
        Waited::Woken
    }
}

/// See the contract in [`super`]. The thread's last error is not touched.
pub(crate) fn wake_one(word: &AtomicU32) {
    // SAFETY: a wake-up does not touch the word; whoever sleeps there for another reason looks
    // again (`wait` may return early).
    unsafe { WakeByAddressSingle(word.as_ptr().cast_const().cast()) };
}

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
        let ticks = whole + part.div_ceil(1_000_000_000);
        Self(i64::try_from(ticks).ok().and_then(|ticks| now().checked_add(ticks)))
    }

    /// Milliseconds left, rounded up; 0 if it has passed, INFINITE is for ever.
    fn left(&self) -> u32 {
        let Some(until) = self.0 else { return INFINITE };
        let ticks = until.saturating_sub(now()).max(0) as u128;
        let millis = (ticks * 1000).div_ceil(frequency() as u128);
        u32::try_from(millis).unwrap_or(INFINITE).min(INFINITE - 1)
    }
}

/// See the contract in [`super`].
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
    let left = || deadline.map_or(INFINITE, Deadline::left);
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
    // SAFETY: a wake-up does not touch the word; a stale address wakes nobody.
    unsafe { WakeByAddressSingle(word.as_ptr().cast_const().cast()) };
}

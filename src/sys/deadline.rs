//! Deadlines of the Unix shims: an absolute timespec on the clock that does not jump.
//! man 2 clock_gettime.
//!
//! Mechanisms that take an absolute time use it as it is, the others ask for what is [left].
//!
//! [left]: Deadline::left

use core::mem::zeroed;
use core::time::Duration;

const NANOS: i64 = 1_000_000_000;

/// A point on CLOCK_MONOTONIC, or for ever.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<libc::timespec>);

fn now() -> libc::timespec {
    // SAFETY: all zeros is a valid timespec.
    let mut now: libc::timespec = unsafe { zeroed() };
    // SAFETY: the pointer is valid for the call; every system here has the clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now
}

/// Of the clock that does not jump. Async-signal-safe.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[cfg(feature = "std")]
pub(crate) fn milliseconds() -> u64 {
    let now = now();
    #[allow(clippy::unnecessary_cast, reason = "its type differs between systems")]
    let seconds = now.tv_sec as u64;
    seconds * 1000 + nanos(&now) as u64 / 1_000_000
}

/// Its type is not the same everywhere: `c_long`, or 64 bits on x32.
#[allow(clippy::unnecessary_cast, reason = "its type differs between systems")]
fn nanos(time: &libc::timespec) -> i64 {
    time.tv_nsec as i64
}

impl Deadline {
    /// So long from now. A duration too long for the clock is for ever. Async-signal-safe.
    pub fn after(duration: Duration) -> Self {
        let mut until = now();
        let nanos = nanos(&until) + i64::from(duration.subsec_nanos());
        // `time_t` is not named: its alias is deprecated on musl, where it is to change.
        let whole = duration.as_secs().try_into().ok();
        let seconds = whole
            .and_then(|whole| until.tv_sec.checked_add(whole))
            .and_then(|sum| sum.checked_add((nanos >= NANOS).into()));
        Self(seconds.map(|seconds| {
            (until.tv_sec, until.tv_nsec) = (seconds, (nanos % NANOS) as _);
            until
        }))
    }

    /// The earlier of the two.
    pub(crate) fn sooner(&self, other: Self) -> Self {
        let at = |deadline: &Self| deadline.0.map(|at| (at.tv_sec, at.tv_nsec));
        match (at(self), at(&other)) {
            (Some(own), Some(others)) if own <= others => *self,
            (Some(_), None) => *self,
            _ => other,
        }
    }

    /// Whether it is over. Async-signal-safe.
    pub fn has_passed(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// The point itself; `None` is for ever.
    #[cfg(target_os = "freebsd")]
    pub(super) fn at(&self) -> Option<&libc::timespec> {
        self.0.as_ref()
    }

    /// Its seconds and nanoseconds, whatever the layout; `None` is for ever.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn parts(&self) -> Option<(i64, i64)> {
        #[allow(clippy::unnecessary_cast, reason = "its type differs between systems")]
        self.0.as_ref().map(|at| (at.tv_sec as i64, nanos(at)))
    }

    /// What is left until then, zero if it has passed; `None` is for ever. Async-signal-safe.
    pub fn left(&self) -> Option<Duration> {
        let until = self.0?;
        let now = now();
        let (mut seconds, mut nanos) = (until.tv_sec - now.tv_sec, nanos(&until) - nanos(&now));
        if nanos < 0 {
            (seconds, nanos) = (seconds - 1, nanos + NANOS);
        }
        let seconds = u64::try_from(seconds).ok();
        Some(seconds.map_or(Duration::ZERO, |seconds| Duration::new(seconds, nanos as u32)))
    }
}

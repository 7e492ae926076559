//! Deadlines of the Unix shims: an absolute timespec on the clock that does not jump.
//! man 2 clock_gettime.
//!
//! Mechanisms that take an absolute time use it as it is, the others ask for what is [left].
//!
//! [left]: Deadline::left

use core::mem::zeroed;
use core::time::Duration;

const NANOS: libc::c_long = 1_000_000_000;

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

impl Deadline {
    /// So long from now. A duration too long for the clock is for ever. Async-signal-safe.
    pub fn after(duration: Duration) -> Self {
        let mut until = now();
        let nanos = until.tv_nsec + duration.subsec_nanos() as libc::c_long;
        // `time_t` is not named: its alias is deprecated on musl, where it is to change.
        let whole = duration.as_secs().try_into().ok();
        let seconds = whole
            .and_then(|whole| until.tv_sec.checked_add(whole))
            .and_then(|sum| sum.checked_add((nanos >= NANOS).into()));
        Self(seconds.map(|seconds| {
            (until.tv_sec, until.tv_nsec) = (seconds, nanos % NANOS);
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
    #[allow(dead_code, reason = "for mechanisms with absolute timeouts")]
    pub(super) fn at(&self) -> Option<&libc::timespec> {
        self.0.as_ref()
    }

    /// What is left until then, zero if it has passed; `None` is for ever. Async-signal-safe.
    pub fn left(&self) -> Option<Duration> {
        let until = self.0?;
        let now = now();
        let (mut seconds, mut nanos) = (until.tv_sec - now.tv_sec, until.tv_nsec - now.tv_nsec);
        if nanos < 0 {
            (seconds, nanos) = (seconds - 1, nanos + NANOS);
        }
        let seconds = u64::try_from(seconds).ok();
        Some(seconds.map_or(Duration::ZERO, |seconds| Duration::new(seconds, nanos as u32)))
    }
}

//! Wait on address where the crate knows no system (wasm, bare metal): the processor spins until
//! the word changes.
//!
//! There is no clock either. A deadline of no duration has passed, any other is for ever. A
//! runtime on such a system gives the queue its own parking, see [`Park`](crate::note::Park).

use core::time::Duration;

use super::Waited;
use crate::sync::{AtomicU32, Ordering::Relaxed, relax};

/// Passed already, or for ever: this system has no clock.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    passed: bool,
}

impl Deadline {
    /// No duration has passed; any other is for ever.
    pub fn after(duration: Duration) -> Self {
        Self { passed: duration == Duration::ZERO }
    }

    /// Zero if it has passed; `None` is for ever.
    #[allow(dead_code, reason = "where this stands in for a system that is another, nobody asks")]
    pub fn left(&self) -> Option<Duration> {
        self.passed.then_some(Duration::ZERO)
    }

    /// Whether it is over.
    pub fn has_passed(&self) -> bool {
        self.passed
    }
}

/// See the contract in [`super`].
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
    // ORDERING: Relaxed: a look, as a kernel's would be; the caller looks again.
    while word.load(Relaxed) == expected {
        if deadline.is_some_and(Deadline::has_passed) {
            return Waited::TimedOut;
        }
        relax();
    }
    Waited::Woken
}

/// Nothing: whoever sleeps looks by itself.
pub(crate) fn wake_one(_word: &AtomicU32) {}

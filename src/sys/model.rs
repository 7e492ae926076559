//! The system as a model has it: the simulated kernel's.

use super::Class;

pub use crate::model::futex::{Deadline, Waited};
pub(crate) use crate::model::futex::{wait, wake_one};

/// Signals 1 and 2 are standard, 3 is a real-time one.
pub(crate) const SIGNALS: usize = 4;
pub(crate) const REALTIME_MIN: i32 = 3;

pub(crate) fn classify(signal: i32) -> Class {
    match signal {
        1 | 2 => Class::Standard,
        3 => Class::RealTime,
        _ => Class::OutOfRange,
    }
}

pub(crate) fn thread_id() -> usize {
    crate::model::thread::current().number() + 1
}

pub(crate) fn prepare_barrier() -> bool {
    true
}

pub(crate) fn barrier() {
    crate::model::Kernel::current().membarrier();
}

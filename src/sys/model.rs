//! The system as a model has it: the simulated kernel's.

use super::Class;
use crate::model::{How, Kernel, SigSet};
use crate::sync::MODEL;

pub use crate::model::futex::{Deadline, Waited};
pub(crate) use crate::model::futex::{wait, wake_one};

/// In this crate's own models 1 and 2 are standard signals, 3 is a real-time one. For others it is
/// as on Linux.
pub(crate) const SIGNALS: usize = if MODEL { 4 } else { 65 };
pub(crate) const REALTIME_MIN: i32 = if MODEL { 3 } else { 35 };

pub(crate) fn classify(signal: i32) -> Class {
    match signal {
        _ if signal < 1 || signal as usize >= SIGNALS => Class::OutOfRange,
        _ if signal >= REALTIME_MIN => Class::RealTime,
        _ => Class::Standard,
    }
}

pub(crate) fn thread_id() -> usize {
    crate::model::thread::current().number() + 1
}

/// Models mask nothing for users' code.
#[derive(Clone, Copy)]
pub(crate) struct Mask(Option<SigSet>);

impl Mask {
    pub(crate) fn current() -> Self {
        Self(None)
    }
    /// The simulated kernel's, if one was booted.
    pub(crate) fn all_but(open: &[i32]) -> Self {
        Self(
            Kernel::booted()
                .map(|kernel| kernel.sigmask(How::Set, SigSet::ALL.minus(SigSet::of(open)))),
        )
    }
    pub(crate) fn restore(&self) {
        if let Some(before) = self.0 {
            Kernel::current().sigmask(How::Set, before);
        }
    }
}

#[cfg(test)]
pub(crate) const OWN_IS_MEMORY: bool = true;

/// A descriptor as the system's, whose calls come one after the other: each is a read-modify-write.
#[derive(Debug)]
pub(crate) struct Bell(crate::sync::AtomicBool);

impl Bell {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self(crate::sync::AtomicBool::new(false))
    }
    pub(crate) fn ring(&self) {
        // ORDERING: AcqRel, here and below: the system's calls, one after the other.
        self.0.fetch_or(true, crate::sync::Ordering::AcqRel);
    }
    pub(crate) fn clear(&self) {
        self.0.swap(false, crate::sync::Ordering::AcqRel);
    }
    pub(crate) fn renew(&self) {
        self.clear();
    }
    /// What poll(2) says: a call of the system's, which sees what was done last.
    #[cfg(test)]
    pub(crate) fn is_rung(&self) -> bool {
        self.0.fetch_or(false, crate::sync::Ordering::AcqRel)
    }
}

pub(crate) fn prepare_barrier() -> bool {
    true
}

pub(crate) fn barrier() -> Result<(), super::Errno> {
    crate::model::Kernel::current().membarrier();
    Ok(())
}

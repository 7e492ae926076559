//! A set of signals that may be subscribed to.

use super::SignalError;
use crate::sigqueue::SIGNALS;
use crate::sys::{self, Class};

const WORDS: usize = SIGNALS.div_ceil(64);

/// Signals that passed [`check`]; 64 to a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SignalSet([u64; WORDS]);

impl SignalSet {
    pub(crate) const EMPTY: Self = Self([0; WORDS]);

    /// Checks every signal first.
    pub(crate) fn new(
        signals: impl IntoIterator<Item = impl Into<i32>>,
    ) -> Result<Self, SignalError> {
        let mut set = Self::default();
        for signal in signals {
            set.insert(check(signal.into())?);
        }
        if set.is_empty() { Err(SignalError::NoSignals) } else { Ok(set) }
    }

    pub(crate) fn insert(&mut self, signal: i32) {
        self.0[signal as usize / 64] |= 1 << (signal % 64);
    }

    pub(crate) fn remove(&mut self, signal: i32) {
        self.0[signal as usize / 64] &= !(1 << (signal % 64));
    }

    pub(crate) fn contains(&self, signal: i32) -> bool {
        self.0[signal as usize / 64] >> (signal % 64) & 1 != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = i32> {
        (1..SIGNALS as i32).filter(move |s| self.0[*s as usize / 64] >> (s % 64) & 1 != 0)
    }
}

/// Whether a signal can be queued; the signal itself if so.
pub(crate) fn check(signal: i32) -> Result<i32, SignalError> {
    match sys::classify(signal) {
        Class::Standard | Class::RealTime if (signal as usize) < SIGNALS => Ok(signal),
        Class::Unstoppable => Err(SignalError::Unstoppable(signal)),
        Class::ReservedByLibc => Err(SignalError::ReservedByLibc(signal)),
        Class::Synchronous => Err(SignalError::Synchronous(signal)),
        _ => Err(SignalError::OutOfRange(signal)),
    }
}

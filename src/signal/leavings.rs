//! What a stop could not put back.

use super::set::SignalSet;
use crate::sigqueue::SIGNALS;
use crate::sys::{Errno, Restored};

/// What `stop` left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Signals whose disposition was changed by somebody else since the first subscription, and
    /// which were therefore left as they are.
    pub foreign: Vec<i32>,
    /// Signals whose disposition the system refused to restore.
    pub refused: Vec<(i32, Errno)>,
}

/// The same while it is being found out, under the lock, where nothing is allocated.
pub(crate) struct Leavings {
    foreign: SignalSet,
    refused: [Option<Errno>; SIGNALS],
    any_refused: bool,
}

impl Leavings {
    pub(super) fn none() -> Self {
        Self { foreign: SignalSet::EMPTY, refused: [None; SIGNALS], any_refused: false }
    }

    /// How putting back what was there went.
    pub(super) fn note(&mut self, signal: i32, restored: Result<Restored, Errno>) {
        match restored {
            Ok(Restored::Previous) => {}
            Ok(Restored::Foreign) => self.foreign.insert(signal),
            Err(errno) => {
                self.refused[signal as usize] = Some(errno);
                self.any_refused = true;
            }
        }
    }

    pub(super) fn into_stopped(self) -> Stopped {
        if self.foreign.is_empty() && !self.any_refused {
            return Stopped::default();
        }
        let refused = self.refused.into_iter().zip(0..);
        let refused = refused.filter_map(|(errno, signal)| Some((signal, errno?)));
        Stopped { foreign: self.foreign.iter().collect(), refused: refused.collect() }
    }
}

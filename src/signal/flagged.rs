//! Flags among the subscriptions: made, ended, left behind. Invariants are those of [`super::hub`] and
//! [`super::flags`].

use super::SignalError;
use super::flags::{Flag, Target};
use super::hub::{Hub, Kernel};
use super::leavings::{Leavings, Stopped};
use super::table::Table;
use crate::sigqueue::SIGNALS;
use crate::sync::Ordering::Relaxed;

impl<K: Kernel> Hub<K> {
    /// Has the handler of this signal, which was checked, set that from now on.
    pub(crate) fn add_flag(
        &self,
        signal: i32,
        target: Target,
    ) -> Result<&'static Flag, SignalError> {
        // Made outside the lock, and dropped there if another one is free.
        let mut spare = Some(Box::new(Flag::new(signal)));
        let added = self.locked(|table, _| {
            if table.closed {
                return Err(SignalError::ShutDown);
            }
            let flag = self.flags.add(&mut spare, signal, target);
            let flag = flag.ok_or(SignalError::TooManyFlags(signal))?;
            let entry = &mut table.entries[signal as usize];
            entry.flags += 1;
            if entry.subscribers == 0 {
                let _ = self.queue.note_only(signal);
            }
            match self.put_in_place(entry, signal) {
                Ok(()) => Ok(Ok(flag)),
                Err(error) => {
                    entry.flags -= 1;
                    self.end_unused(table, signal);
                    flag.end();
                    Ok(Err((flag, error)))
                }
            }
        });
        added?.map_err(|(flag, error)| {
            self.kernel.await_quiet(&mut || flag.is_quiet());
            flag.disown();
            error
        })
    }

    /// The handler sets it no more: what was accepted before is in it (F3).
    pub(crate) fn end_flag(&self, flag: &'static Flag) -> Stopped {
        let mut leavings = Leavings::none();
        let is_last = |table: &Table| {
            let entry = &table.entries[flag.signal as usize];
            flag.is_active() && (entry.flags, entry.subscribers) == (1, 0)
        };
        self.changing(is_last, |table, _| {
            // Struck by a reset it is counted no more.
            if flag.is_active() {
                let entry = &mut table.entries[flag.signal as usize];
                entry.flags -= 1;
                if (entry.flags, entry.subscribers) == (0, 0) {
                    self.uninstall_last(entry, flag.signal, &mut leavings);
                }
                flag.end();
            }
        });
        self.kernel.await_quiet(&mut || flag.is_quiet());
        leavings.into_stopped()
    }

    /// All of a signal, whose disposition has changed or is to.
    pub(super) fn end_flags(&self, table: &mut Table, signal: i32) {
        let entry = &mut table.entries[signal as usize];
        if core::mem::take(&mut entry.flags) == 0 {
            return;
        }
        if entry.installed && entry.subscribers == 0 {
            self.uninstall_last(entry, signal, &mut Leavings::none());
        }
        self.flags.of(signal).for_each(|flag| _ = flag.end());
    }

    /// Waits for handlers that are inside one of those.
    pub(super) fn await_flags(&self, signal: i32) {
        self.kernel.await_quiet(&mut || self.flags.is_quiet(signal));
    }

    /// Gives up those whose handles were dropped where the lock could not be had.
    pub(super) fn sweep_flags(&self) {
        let mut all = (1..SIGNALS as i32).flat_map(|signal| self.flags.of(signal));
        // ORDERING: Relaxed: `sweep` has ordered it.
        while let Some(flag) = all.find(|flag| flag.abandoned.swap(false, Relaxed)) {
            self.end_flag(flag);
            flag.disown();
        }
    }
}

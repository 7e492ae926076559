//! By which signal threads are interrupted, and whose else a signal of that number is.
//!
//! The same over the system (`stop.rs`) and over the simulated kernel.

use core::ffi::c_int;

use super::handlers::{self, Chain, Table};
use super::record::{Record, Whose};
use super::{Class, Errno, SIGNALS};
use crate::sync::{AtomicU32, Ordering::*, filled, model_const_fn};

/// What is asked for the signals by which threads are interrupted, beside a [`Table`].
pub(crate) trait Marked: Table {
    /// The signal by which threads are interrupted as long as nobody else has a handler for it.
    const FIRST: c_int;
    /// Those by one of which they are then.
    const OTHERS: &'static [c_int];

    /// Whether the signal is known to be one of ours.
    fn is_own(&self, given: Self::Given) -> bool;
}

/// Our handler of the signals by which threads are interrupted.
pub(crate) struct Interrupts<T> {
    system: T,
    /// What our handler was put over, for each signal.
    before: [Record; SIGNALS],
    /// Which of the signals it is now; 0 for the first.
    chosen: AtomicU32,
}

/// Who has a handler for a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Company {
    Nobody,
    /// It is in place, and over nobody's.
    Ours,
    Others,
}

impl<T> Interrupts<T> {
    model_const_fn! {
        pub(crate) const fn new(system: T) -> Self {
            Self {
                system,
                before: filled![Record::new(); SIGNALS],
                chosen: AtomicU32::new(0),
            }
        }
    }

    fn before(&self, signal: c_int) -> Option<&Record> {
        self.before.get(usize::try_from(signal).ok()?)
    }

    /// Whether ours was put in place.
    pub(super) fn is_installed(&self, signal: c_int) -> bool {
        self.before(signal).is_some_and(Record::is_installed)
    }
}

impl<T: Marked> Interrupts<T> {
    /// The signal by which threads are interrupted now. Async-signal-safe.
    pub(crate) fn chosen(&self) -> c_int {
        // ORDERING: Relaxed: whichever it is, its handler was put in place before it was chosen.
        match self.chosen.load(Relaxed) {
            0 => T::FIRST,
            chosen => chosen as c_int,
        }
    }

    /// Puts our handler in place, having looked whether it is to be another signal from now on. To
    /// be called before each use. Async-signal-safe.
    pub(crate) fn look(&self) -> Result<(), Errno> {
        let chosen = self.chosen();
        // One question is enough.
        if self.company(chosen) == Company::Ours {
            return Ok(());
        }
        let all = [chosen, T::FIRST].into_iter().chain(T::OTHERS.iter().copied());
        for signal in all {
            // Somebody may come between the question and the change.
            if self.company(signal) != Company::Others && self.put(signal)? {
                self.choose(signal);
                return Ok(());
            }
        }
        // Where everybody has company, one is shared that does not merge, if one may be: a host in Go has a
        // handler for every signal.
        let shared = T::OTHERS.iter().copied().find(|signal| self.may_be_shared(*signal));
        let signal = shared.unwrap_or(T::FIRST);
        self.put(signal)?;
        self.choose(signal);
        Ok(())
    }

    /// Whether neither owner loses a signal: ours are told from theirs, and theirs handed on. Who ignores one
    /// may count on that.
    fn may_be_shared(&self, signal: c_int) -> bool {
        let handled = |now| self.system.action(&now) != libc::SIG_IGN;
        self.system.query(signal).is_ok_and(handled)
    }

    fn choose(&self, signal: c_int) {
        if signal != self.chosen() {
            // Whoever uses the old one meanwhile has a handler for it still.
            // ORDERING: Relaxed: as in `chosen`.
            self.chosen.store(signal as u32, Relaxed);
        }
    }

    fn company(&self, signal: c_int) -> Company {
        let Ok(now) = self.system.query(signal) else { return Company::Others };
        match self.system.action(&now) {
            // Somebody wants to be rid of it, who may count on that.
            libc::SIG_IGN if signal != T::FIRST => Company::Others,
            libc::SIG_IGN | libc::SIG_DFL => Company::Nobody,
            _ => match self.system.which_of_ours(&now).zip(self.before(signal)) {
                Some((at, record))
                    if !record.below(at, at).is_none_or(|below| below.it.is_function()) =>
                {
                    Company::Ours
                }
                _ => Company::Others,
            },
        }
    }

    /// Puts ours in place for this signal, over whatever is there; false if that is a handler of somebody's.
    /// Async-signal-safe.
    pub(crate) fn put(&self, signal: c_int) -> Result<bool, Errno> {
        let before = self.before(signal).ok_or(Errno(libc::EINVAL))?;
        handlers::put(&self.system, before, signal, false)
    }

    /// Our handlers, this one of them, by its entries. To whoever had the signal before us; to who put a handler
    /// over ours, if somebody did, unless that is who calls. One of ours goes on to them too where it may stand for
    /// one of theirs, which came while it was pending.
    pub(crate) fn handle(
        &self,
        signal: c_int,
        level: usize,
        given: T::Given,
        entries: impl FnOnce(),
    ) {
        let Some(record) = self.before(signal) else { return };
        let system = &self.system;
        let chain = Chain { system, record, whose: Whose::Interrupts, signal, given };
        let caller = chain.caller();
        if caller.is_none() {
            entries();
        }
        match system.is_own(given) {
            true if super::classify(signal) != Class::Standard => return,
            true => {}
            // Who comes while ours is put in place is recorded after that, which orders nothing here.
            false => _ = record.newest(),
        }
        chain.call_below(level, caller);
    }
}

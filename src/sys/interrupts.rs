//! By which signal threads are interrupted, and whose else a signal of that number is.
//!
//! The same over the system (`stop.rs`) and over the simulated kernel.

use core::ffi::c_int;

use super::handlers::Table;
use super::record::{Record, Recorded, Whose};
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
            _ if self.system.is_ours(&now) => match self.before(signal).and_then(Record::read) {
                Some(it) if it.over.is_none() && !it.base.is_function() => Company::Ours,
                _ => Company::Others,
            },
            _ => Company::Others,
        }
    }

    /// Puts ours in place for this signal, over whatever is there; false if that is a handler of somebody's.
    /// Async-signal-safe.
    pub(crate) fn put(&self, signal: c_int) -> Result<bool, Errno> {
        let before = self.before(signal).ok_or(Errno(libc::EINVAL))?;
        let system = &self.system;
        let old = system.query(signal)?;
        if system.is_ours(&old) {
            return Ok(true);
        }
        let old = system.disposition(&old);
        before.put_over(&old);
        let found = system.put_ours(signal, &old)?;
        let replaced = system.disposition(&found);
        if system.is_ours(&found) {
            return Ok(true);
        }
        if replaced != old {
            before.put_over(&replaced);
        }
        Ok(!replaced.is_function())
    }

    /// Our handler, by its entries. To whoever had the signal before us; to who put a handler over ours, if
    /// somebody did, unless that is who calls. One of ours goes on to them too where it may stand for one of
    /// theirs, which came while it was pending.
    pub(crate) fn handle(&self, signal: c_int, given: T::Given, entries: impl FnOnce()) {
        let Some(before) = self.before(signal) else { return };
        let system = &self.system;
        let again = before.had_over() && {
            let context = system.context(given);
            system.own(|own| own.chaining(Whose::Interrupts).is_calling(signal, context))
        };
        entries();
        match system.is_own(given) {
            true if super::classify(signal) != Class::Standard => return,
            true => {}
            // Who comes while ours is put in place is recorded after that, which orders nothing here.
            false => _ = before.newest(),
        }
        match before.read() {
            Some(Recorded { over: Some(over), .. }) if !again => {
                // SAFETY: `put_over` records functions there, as the system told them.
                let call = || unsafe { system.call(&over, signal, given) };
                system.own(|own| own.chaining(Whose::Interrupts).around(signal, call));
            }
            Some(Recorded { base, .. }) if base.is_function() => {
                before.used(&base);
                // SAFETY: a function; `put` recorded it as the system told it.
                unsafe { system.call(&base, signal, given) };
            }
            _ => {}
        }
    }
}

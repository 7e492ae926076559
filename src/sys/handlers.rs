//! Our handler of subscribed signals, among those of others: put in place and taken out, and what it does about
//! a signal beside taking it in.
//!
//! The same over the system (`unix.rs`) and over the simulated kernel: what is asked of either is [`Table`].

use core::ffi::c_int;

use super::record::{Below, COVERED, Caller, Disposition, LEVELS, Own, Record, Whose};
use super::{Errno, Restored, SIGNALS, Verdict};
use crate::sync::{Mutex, filled, model_const_fn};

/// The system's table of dispositions, and the handlers of ours that may stand there. All of it is
/// async-signal-safe.
pub(crate) trait Table {
    /// What a handler is given beside the signal.
    type Given: Copy;
    /// A disposition as the system tells it.
    type Found;

    fn query(&self, signal: c_int) -> Result<Self::Found, Errno>;
    /// Puts this one of ours over that; tells what it has replaced.
    fn put_ours(
        &self,
        signal: c_int,
        level: usize,
        before: &Disposition,
    ) -> Result<Self::Found, Errno>;
    /// SIG_DFL, SIG_IGN or a function.
    fn action(&self, found: &Self::Found) -> usize;
    /// The action of this one of ours.
    fn ours(&self, level: usize) -> usize;
    fn disposition(&self, found: &Self::Found) -> Disposition;
    /// Which of ours it is, if it is one.
    fn which_of_ours(&self, found: &Self::Found) -> Option<usize> {
        let action = self.action(found);
        (0..LEVELS).find(|level| self.ours(*level) == action)
    }
    /// Calls a handler, as the system would have.
    ///
    /// # Safety
    ///
    /// It is a function, and the system told of it; the others are what ours was given.
    unsafe fn call(&self, it: &Disposition, signal: c_int, given: Self::Given);
    /// Where the interrupted code's context is, on the stack; 0 if that is not known.
    fn context(&self, given: Self::Given) -> usize;
    /// The calling thread's own.
    fn own<R>(&self, look: impl FnOnce(&Own) -> R) -> R;
}

/// What is asked for subscribed signals beside that.
pub(crate) trait Restore: Table {
    /// Puts this in place; tells what it has replaced.
    ///
    /// # Safety
    ///
    /// It is SIG_DFL, SIG_IGN, or what the system told of.
    unsafe fn put(&self, signal: c_int, new: &Disposition) -> Result<Self::Found, Errno>;
    /// Whether the default does anything.
    fn acts_by_default(&self, signal: c_int) -> bool;
    /// Sends the signal to this thread again: it meets the disposition in force when our handler has
    /// returned, with its origin where the system lets us keep it.
    fn redeliver(&self, signal: c_int, given: Self::Given);
}

/// Our handler of subscribed signals.
pub(crate) struct Handlers<T> {
    system: T,
    records: [Record; SIGNALS],
    /// Who has it is the only one that writes records, but for [`Record::used`]. It is taken under the hub's
    /// lock, so no fork of the C library finds it taken.
    writer: Mutex<()>,
}

impl<T> Handlers<T> {
    model_const_fn! {
        pub(crate) const fn new(system: T) -> Self {
            Self { system, records: filled![Record::new(); SIGNALS], writer: Mutex::new(()) }
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn while_nobody_writes<R>(&self, body: impl FnOnce() -> R) -> R {
        // First, so opened last: a handler that comes in the child at once may want the lock.
        let _masked = super::AllBlocked::new();
        let _writer = self.writer.lock();
        body()
    }

    pub(super) fn record(&self, signal: c_int) -> Option<&Record> {
        self.records.get(usize::try_from(signal).ok()?)
    }

    /// Whether ours was put in place, and not taken out since.
    pub(super) fn is_installed(&self, signal: c_int) -> bool {
        self.record(signal).is_some_and(Record::is_installed)
    }

    /// Whether handlers before ours are to be called, until ours is taken out; true if that has changed.
    pub(super) fn set_alone(&self, signal: c_int, alone: bool) -> bool {
        let _writer = self.writer.lock();
        self.record(signal).is_some_and(|record| record.set_alone(alone))
    }
}

impl<T: Table> Handlers<T> {
    /// To be called now and then, as when a signal has come: whoever has left from below ours gives its place to
    /// the next one.
    pub(crate) fn look(&self, signal: c_int) {
        let Some(record) = self.record(signal).filter(|record| record.is_above_others()) else {
            return;
        };
        let _writer = self.writer.lock();
        let seen = record.seen();
        let now = self.system.query(signal);
        let at = now.ok().and_then(|now| self.system.which_of_ours(&now));
        at.into_iter().for_each(|at| record.found(at, seen));
    }
}

impl<T: Restore> Handlers<T> {
    /// Puts our handler in place, also where somebody has put another over it since; see the contract in
    /// [`super`].
    pub(crate) fn install(&self, signal: c_int) -> Result<(), Errno> {
        let _writer = self.writer.lock();
        let Some(record) = self.record(signal) else { return Ok(()) };
        put(&self.system, record, signal, true).map(drop)
    }

    /// Puts back what was there; see the contract in [`super`].
    pub(crate) fn restore(&self, signal: c_int) -> Result<Restored, Errno> {
        let _writer = self.writer.lock();
        let system = &self.system;
        let Some(record) = self.record(signal) else { return Ok(Restored::Foreign) };
        let Some(at) = system.which_of_ours(&system.query(signal)?) else {
            record.taken_out(None);
            return Ok(Restored::Foreign);
        };
        let mut below = before(record, at);
        // SAFETY: SIG_DFL, or what the system told `install`.
        let mut replaced = unsafe { system.put(signal, &below.it) }?;
        let mut out = system.which_of_ours(&replaced) == Some(at);
        if let Some(lower) = system.which_of_ours(&replaced).filter(|_| !out) {
            // Who was between has left, between the question and the change: it is not put back.
            let left = below.it;
            below = before(record, lower);
            // SAFETY: as above.
            replaced = unsafe { system.put(signal, &below.it) }?;
            out = system.disposition(&replaced) == left;
        }
        if out {
            record.taken_out(Some(below.level));
            return Ok(Restored::Previous);
        }
        // Somebody was quicker: theirs stays, or what they have put in its place since.
        record.taken_out(None);
        let (mut ours, mut theirs) = (below.it, system.disposition(&replaced));
        loop {
            // SAFETY: the system told it just now.
            let found = unsafe { system.put(signal, &theirs) }?;
            let found = system.disposition(&found);
            if found == ours {
                return Ok(Restored::Foreign);
            }
            (ours, theirs) = (theirs, found);
        }
    }

    /// SIG_DFL or SIG_IGN, whoever handled it.
    pub(crate) fn set_simple(&self, signal: c_int, action: usize) -> Result<(), Errno> {
        let _writer = self.writer.lock();
        let new = Disposition::simple(action);
        // SAFETY: SIG_DFL or SIG_IGN, as who calls this says.
        unsafe { self.system.put(signal, &new) }?;
        self.record(signal).into_iter().for_each(|record| record.set(&new));
        Ok(())
    }

    /// The handlers of every signal of ours, this one of them, by their entry. No allocation, no lock; nothing of
    /// the thread's own, unless there is another handler, or the signal is nobody's any more.
    pub(crate) fn handle(
        &self,
        signal: c_int,
        level: usize,
        given: T::Given,
        entry: impl FnOnce() -> Verdict,
    ) {
        let Some(record) = self.record(signal) else { return };
        let system = &self.system;
        let chain = Chain { system, record, whose: Whose::Subscriptions, signal, given };
        if let Some(caller) = chain.caller() {
            return chain.call_below(level, Some(caller));
        }
        match entry() {
            Verdict::Handled if record.is_alone() => {}
            Verdict::Handled => chain.call_below(level, None),
            Verdict::Ignored => {}
            Verdict::Unwanted => unwanted(&chain, level),
        }
    }
}

/// What stands below that one of ours, as far as is known.
fn before(record: &Record, of: usize) -> Below {
    let nothing = Below { level: 0, it: Disposition::simple(libc::SIG_DFL) };
    record.below(of, of).unwrap_or(nothing)
}

/// Puts one of ours in place over whatever is there; false if that is a handler of somebody's. By one thread at a
/// time, or by several. Async-signal-safe.
pub(super) fn put<T: Table>(
    system: &T,
    record: &Record,
    signal: c_int,
    by_one: bool,
) -> Result<bool, Errno> {
    let seen = record.seen();
    let now = system.query(signal)?;
    if let Some(at) = system.which_of_ours(&now) {
        record.found(at, seen);
        return Ok(true);
    }
    let mut before = system.disposition(&now);
    let mut mine = None;
    loop {
        let at = record.next(&before, by_one);
        record.put_over(at, &before);
        let found = system.put_ours(signal, at, &before)?;
        match system.which_of_ours(&found) {
            Some(other) if Some(other) == mine => return Ok(!before.is_function()),
            // Another thread was quicker, and is above.
            Some(above) if above > at => {
                before = self::before(record, above).it;
                system.put_ours(signal, above, &before)?;
                return Ok(true);
            }
            // Who was there has left, between the question and the change; or another thread was quicker.
            Some(other) => {
                if other < at {
                    record.put_over_ours(at);
                }
                return Ok(true);
            }
            None if mine.is_none() && system.disposition(&found) == before => {
                return Ok(!before.is_function());
            }
            // Somebody came, between the question and the change.
            None => (mine, before) = (Some(at), system.disposition(&found)),
        }
    }
}

/// What one of our handlers was given, and whom it goes on to.
pub(super) struct Chain<'a, T: Table> {
    pub(super) system: &'a T,
    pub(super) record: &'a Record,
    pub(super) whose: Whose,
    pub(super) signal: c_int,
    pub(super) given: T::Given,
}

impl<T: Table> Chain<'_, T> {
    /// Which of ours has called whoever calls this one, for the same signal.
    pub(super) fn caller(&self) -> Option<Caller> {
        // Once there was one it may call ours after it was taken out: neighbours foreign_sigaction_anywhere, at
        // bound 4.
        if !self.record.calls_ours() {
            return None;
        }
        let context = self.system.context(self.given);
        self.system.own(|own| own.chaining(self.whose).caller(self.signal, context))
    }

    /// Calls the handler that this one of ours was put over, if it is a function; it calls the one of ours that it
    /// was put over, if it likes. Below the caller, so that it comes to an end.
    pub(super) fn call_below(&self, level: usize, caller: Option<Caller>) {
        let (level, top) = match caller {
            None => (level, level),
            Some(Caller { level: 0, .. }) => return,
            Some(caller) => (level.min(caller.level - 1), caller.top),
        };
        let below = self.record.below(level, top);
        let Some(below) = below.filter(|below| below.it.is_function()) else { return };
        if below.level == 0 {
            self.record.used(&below.it);
        }
        // SAFETY: a function, by the filter above; `put` recorded it as the system told it.
        let call = || unsafe { self.system.call(&below.it, self.signal, self.given) };
        if self.record.calls_ours() {
            let caller = Caller { level: below.level, top };
            self.system.own(|own| own.chaining(self.whose).around(self.signal, caller, call));
        } else {
            call();
        }
    }
}

/// Who has the signal: whatever is in force now, unless that is who called ours.
fn unwanted<T: Restore>(chain: &Chain<'_, T>, level: usize) {
    let (system, signal) = (chain.system, chain.signal);
    let now = system.query(signal);
    let is_ours = now.is_ok_and(|now| system.which_of_ours(&now).is_some());
    let state = chain.record.newest();
    if is_ours {
        return act_as_before(chain, level);
    }
    if state & COVERED != 0 || system.own(|own| own.sent.is_back(signal, state)) {
        return chain.call_below(level, None);
    }
    system.own(|own| own.sent.note(signal, state));
    system.redeliver(signal, chain.given);
}

/// Somebody put ours back, as it had found it, after we took it out: nobody has the signal, and what
/// was there before us acts. A handler is called and not put back, as a subscription may begin
/// meanwhile. sigaction(2) is async-signal-safe.
fn act_as_before<T: Restore>(chain: &Chain<'_, T>, level: usize) {
    let (system, signal) = (chain.system, chain.signal);
    match chain.record.below(level, level) {
        Some(below) if below.it.action == libc::SIG_DFL => {
            // SAFETY: SIG_DFL.
            let forced = || unsafe { system.put(signal, &Disposition::simple(libc::SIG_DFL)) };
            if system.acts_by_default(signal) && forced().is_ok() {
                system.redeliver(signal, chain.given);
            }
        }
        _ => chain.call_below(level, None),
    }
}

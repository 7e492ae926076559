//! Our handler of subscribed signals, among those of others: put in place and taken out, and what it does about
//! a signal beside taking it in.
//!
//! The same over the system (`unix.rs`) and over the simulated kernel: what is asked of either is [`Table`].

use core::ffi::c_int;

use super::record::{COVERED, Disposition, Own, Record, Recorded, Whose};
use super::{Errno, Restored, SIGNALS, Verdict};
use crate::sync::{Mutex, filled, model_const_fn};

/// The system's table of dispositions, and one handler of ours that may stand there. All of it is
/// async-signal-safe.
pub(crate) trait Table {
    /// What a handler is given beside the signal.
    type Given: Copy;
    /// A disposition as the system tells it.
    type Found;

    fn query(&self, signal: c_int) -> Result<Self::Found, Errno>;
    /// Puts ours over this one; tells what it has replaced.
    fn put_ours(&self, signal: c_int, before: &Disposition) -> Result<Self::Found, Errno>;
    /// SIG_DFL, SIG_IGN or a function.
    fn action(&self, found: &Self::Found) -> usize;
    /// The action of ours.
    fn ours(&self) -> usize;
    fn disposition(&self, found: &Self::Found) -> Disposition;
    fn is_ours(&self, found: &Self::Found) -> bool {
        self.action(found) == self.ours()
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

impl<T: Restore> Handlers<T> {
    /// Puts our handler in place, also where somebody has put another over it since; see the contract in
    /// [`super`].
    pub(crate) fn install(&self, signal: c_int) -> Result<(), Errno> {
        let _writer = self.writer.lock();
        let system = &self.system;
        let before = system.query(signal)?;
        let ours = system.is_ours(&before);
        let Some(record) = self.record(signal).filter(|_| !ours) else { return Ok(()) };
        let before = system.disposition(&before);
        record.put_over(&before);
        let old = system.put_ours(signal, &before)?;
        let replaced = system.disposition(&old);
        if !system.is_ours(&old) && replaced != before {
            record.put_over(&replaced);
        }
        Ok(())
    }

    /// Puts back what was there; see the contract in [`super`].
    pub(crate) fn restore(&self, signal: c_int) -> Result<Restored, Errno> {
        let Some(record) = self.record(signal) else {
            return Ok(Restored::Foreign);
        };
        let _writer = self.writer.lock();
        if !self.system.is_ours(&self.system.query(signal)?) {
            record.taken_out(true);
            return Ok(Restored::Foreign);
        }
        let recorded = record.read();
        let old = recorded.map_or(Disposition::simple(libc::SIG_DFL), |Recorded { base, over }| {
            over.unwrap_or(base)
        });
        // SAFETY: SIG_DFL, or what the system told `install`.
        let replaced = unsafe { self.system.put(signal, &old) }?;
        let foreign = !self.system.is_ours(&replaced);
        record.taken_out(foreign);
        if foreign {
            // Somebody was quicker, between the question and the change: theirs stays, or what they have put
            // in its place since.
            let (mut ours, mut theirs) = (old, self.system.disposition(&replaced));
            loop {
                // SAFETY: the system told it just now.
                let found = unsafe { self.system.put(signal, &theirs) }?;
                let found = self.system.disposition(&found);
                if found == ours {
                    return Ok(Restored::Foreign);
                }
                (ours, theirs) = (theirs, found);
            }
        }
        Ok(Restored::Previous)
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

    /// The handler of every signal of ours, by its entry. No allocation, no lock; nothing of the thread's own,
    /// unless another handler was put over ours, or the signal is nobody's any more.
    pub(crate) fn handle(&self, signal: c_int, given: T::Given, entry: impl FnOnce() -> Verdict) {
        let Some(record) = self.record(signal) else { return };
        let delivery = Delivered { handlers: self, signal, given, record };
        // Once there was one it may call ours after it was taken out: neighbours foreign_sigaction_anywhere, at
        // bound 4.
        if record.had_over() && delivery.is_called_by_over() {
            return delivery.call_base();
        }
        match entry() {
            Verdict::Handled if record.is_alone() => {}
            Verdict::Handled => delivery.chain(),
            Verdict::Ignored => {}
            Verdict::Unwanted => delivery.unwanted(),
        }
    }
}

/// What our handler was given.
struct Delivered<'a, T: Table> {
    handlers: &'a Handlers<T>,
    signal: c_int,
    given: T::Given,
    record: &'a Record,
}

impl<T: Restore> Delivered<'_, T> {
    fn is_called_by_over(&self) -> bool {
        let system = &self.handlers.system;
        let context = system.context(self.given);
        system.own(|own| own.chaining(Whose::Subscriptions).is_calling(self.signal, context))
    }

    /// Calls the handler that was there before, if it was a function; the one that was put over ours, if
    /// there is one: it calls ours as the one before it, if it likes.
    fn chain(&self) {
        match self.record.read() {
            Some(Recorded { over: Some(over), .. }) => {
                let (system, signal) = (&self.handlers.system, self.signal);
                // SAFETY: `put_over` records functions there, as the system told them.
                let call = || unsafe { system.call(&over, signal, self.given) };
                system.own(|own| own.chaining(Whose::Subscriptions).around(signal, call));
            }
            Some(_) => self.call_base(),
            None => {}
        }
    }

    fn call_base(&self) {
        if let Some(Recorded { base, .. }) = self.record.read().filter(|it| it.base.is_function()) {
            self.record.used(&base);
            // SAFETY: a function, by the filter above; `install` recorded it as the system told it.
            unsafe { self.handlers.system.call(&base, self.signal, self.given) };
        }
    }

    /// Who has the signal: whatever is in force now, unless that is who called ours.
    fn unwanted(&self) {
        let (system, signal) = (&self.handlers.system, self.signal);
        let is_ours = system.query(signal).is_ok_and(|now| system.is_ours(&now));
        let state = self.record.newest();
        if is_ours {
            return self.act_as_before();
        }
        if state & COVERED != 0 || system.own(|own| own.sent.is_back(signal, state)) {
            return self.call_base();
        }
        system.own(|own| own.sent.note(signal, state));
        system.redeliver(signal, self.given);
    }

    /// Somebody put ours back, as it had found it, after we took it out: nobody has the signal, and what
    /// was there before us acts. A handler is called and not put back, as a subscription may begin
    /// meanwhile. sigaction(2) is async-signal-safe.
    fn act_as_before(&self) {
        let (system, signal) = (&self.handlers.system, self.signal);
        match self.record.read() {
            Some(Recorded { over: None, base }) if base.action == libc::SIG_DFL => {
                // SAFETY: SIG_DFL.
                let forced = || unsafe { system.put(signal, &Disposition::simple(libc::SIG_DFL)) };
                if system.acts_by_default(signal) && forced().is_ok() {
                    system.redeliver(signal, self.given);
                }
            }
            _ => self.chain(),
        }
    }
}

//! Subscriptions: Notify, Stop, Reset, Ignore on top of the queue.
//!
//! # Contexts
//!
//! [`Hub::on_signal`] runs in handlers and reaches the queue alone. Everything else runs in
//! ordinary threads and takes the one lock for a bounded time. Under it nothing sleeps or is woken,
//! nothing is allocated or freed and no code of the user runs, be it a waker, a sink, a drop of
//! either, or a global allocator: none of them can find the lock held or the table half-changed.
//! A handler that interrupts the holder and forks waits for nobody: in the child the holder finishes, and
//! begins the child then.
//! What a user's waker or sink panics with is caught outside the lock and kept for its owner.
//!
//! # States of one signal
//!
//! | disposition | queue | subscribers | meaning |
//! |---|---|---|---|
//! | the program's | unwanted | none | not ours |
//! | ours | wanted | one or more | subscribed |
//! | ours | noted | none, but flags | see [`super::flags`] |
//! | ignore | ignored | none | after `ignore` |
//!
//! # Transitions
//!
//! Each is one critical section, so that they have an order, and ends with the disposition, the
//! queue and the list in agreement:
//!
//! | call | steps |
//! |---|---|
//! | `subscribe` | queue wants, handler installed, subscriber listed |
//! | `stop`, last subscriber | disposition restored, queue no longer wants, pending delivered, subscriber struck |
//! | `stop`, others left | pending delivered, subscriber struck |
//! | `reset`, `ignore` | disposition set, queue told, pending delivered, all struck |
//!
//! # Invariants
//!
//! - I1: a signal is taken from the queue and put into the mailboxes in one critical section, so
//!   each accepted one reaches each mailbox listed at that time once, or is counted as dropped.
//! - I2: the queue wants a signal before our handler is in place, and for as long as it is: a
//!   handler that finds its signal unwanted finds a disposition that is not ours.
//! - I3: once a subscriber is struck nothing more is put into its mailbox; what was accepted
//!   before is in it. The one that stops delivers this itself and waits for no receiver.
//! - I4: a mailbox that a thread waits on is empty, and whoever fills it wakes that thread.
//! - I5: a sink is called by one thread at a time, outside the lock, in the order of delivery.
//!
//! # Progress
//!
//! `stop` waits for the lock, and for a call of its own sink that is under way, for at most
//! [`STOP_PATIENCE`](super::STOP_PATIENCE); never for a receiver or for another signal.
//!
//! # Prior art
//!
//! Go `os/signal`: the list of the stopping and the wait until idle are what I1 and I3 replace.

use super::SignalError;
use super::flags::Flags;
use super::leavings::{Leavings, Stopped};
use super::mailbox::{Key, Mailbox, Mailboxes, Sink};
use super::set::SignalSet;
use super::table::{Entry, SignalCounts, Table};
use super::wakes::Wakes;
use crate::sigqueue::{Origin, SIGNALS, Sent, SignalQueue};
use crate::sync::{
    AtomicBool, AtomicUsize, ForkCount, Mutex, MutexGuard, Ordering::*, fence, model_const_fn,
    relax,
};
use crate::sys::{Errno, Mask, Restored};
use std::sync::Arc;

/// What the hub asks of the system. The calls are made under the hub's lock.
pub(crate) trait Kernel {
    /// Puts our handler in place and remembers what was there.
    fn install(&self, signal: i32) -> Result<(), Errno>;
    /// Ours was put in place before: sees that it is there still, or over what is.
    fn look_again(&self, _signal: i32) -> Result<(), Errno> {
        Ok(())
    }
    /// A signal has come to our handler.
    fn look(&self, _signal: i32) {}
    /// Puts back what was there, unless somebody else has changed it since.
    fn restore(&self, signal: i32) -> Result<Restored, Errno>;
    /// Gives the signal its default action.
    fn set_default(&self, signal: i32) -> Result<(), Errno>;
    /// Has the signal ignored.
    fn set_ignored(&self, signal: i32) -> Result<(), Errno>;
    /// In the child of a fork by a handler that interrupted the lock's holder, which is done now: has
    /// this done by the only thread, of this name, with all signals masked.
    fn in_child_late(&self, _begin: &mut dyn FnMut(usize)) {}
    /// In the same child, when the lock was given back.
    fn serve_child(&self) {}
    /// Runs code of the user's under the mask of whoever subscribed if this is a thread of ours, whose own is
    /// another; and of what is subscribed to, unless it may be heard.
    fn under(&self, _mask: &Mask, _open: bool, body: &mut dyn FnMut()) {
        body();
    }
    /// Whether this thread, otherwise deaf, hears what is subscribed to in [`under`](Self::under).
    fn would_hear(&self) -> bool {
        false
    }
    /// That thread, if it is another, is to hear it no more until the code of the user's returns, which it has
    /// unless `is_open`. Called without the lock, which that takes.
    fn close(&self, _is_open: &mut dyn FnMut() -> bool) {}
    /// Waits until this is so, as handlers on other threads get on; not for one that does not. Without the lock.
    fn await_quiet(&self, is_quiet: &mut dyn FnMut() -> bool) {
        while !is_quiet() {
            relax();
        }
    }
}

pub(crate) struct Hub<K> {
    pub(crate) kernel: K,
    pub(crate) queue: SignalQueue,
    pub(crate) flags: Flags,
    table: Mutex<Table>,
    /// Live sinks; while there are any, subscribers do not take the receiver's part.
    pub(crate) sinks: AtomicUsize,
    /// Some subscription was dropped by a handler that could not have the lock.
    any_abandoned: AtomicBool,
    /// How many forks lie between this process and the first.
    generation: ForkCount,
}

impl<K: Kernel> Hub<K> {
    model_const_fn! {
        pub(crate) const fn new(kernel: K) -> Self {
            Self {
                kernel,
                queue: SignalQueue::new(),
                flags: Flags::new(),
                table: Mutex::new(Table::new()),
                sinks: AtomicUsize::new(0),
                any_abandoned: AtomicBool::new(false),
                generation: ForkCount::new(),
            }
        }
    }

    /// In a handler: takes the signal in, or says that its disposition is to be carried out.
    pub(crate) fn on_signal(&self, signal: i32, origin: Origin) -> Sent {
        loop {
            let flags = self.flags.enter(signal);
            let sent = self.queue.send(signal, origin);
            if flags.leave(sent) || sent != Sent::Noted {
                return sent;
            }
            // A flag was made after this entered, and whoever received was gone before the queue was asked: the flag
            // has the signal. Without: stop flag_beside_a_mailbox.
            // ORDERING: Acquire: E1 and E2 of `flags`, from what told the queue, which `send` has read. Weakened:
            // stop flag_beside_a_mailbox.
            fence(Acquire);
        }
    }

    /// Runs `f` under the lock, then does what it asked for.
    pub(crate) fn locked<R>(&self, f: impl FnOnce(&mut Table, &mut Wakes) -> R) -> R {
        let mut wakes = Wakes::default();
        let mut table = self.table.lock();
        let result = f(&mut table, &mut wakes);
        self.open_for(&mut table, &mut wakes);
        let forked = table.take_forked();
        if forked {
            self.kernel.in_child_late(&mut |survivor| {
                // SAFETY: the kernel says so: this thread is the only one, and masks all signals.
                unsafe { self.in_child(&mut table, survivor) };
            });
        }
        drop(table);
        if forked {
            self.kernel.serve_child();
        }
        if !wakes.is_empty() {
            self.fire(wakes);
        }
        // ORDERING: Relaxed: a hint, confirmed by `sweep`.
        if self.any_abandoned.load(Relaxed) {
            self.sweep();
        }
        result
    }

    /// Wakes everybody who is to be. A thread first, then a task: that runs the user's code.
    fn fire(&self, mut wakes: Wakes) {
        loop {
            let rest = wakes.threads();
            if wakes.owner {
                self.queue.fixup();
            }
            let open = wakes.open;
            let under = |mask: &Mask, body: &mut dyn FnMut()| self.kernel.under(mask, open, body);
            wakes.tasks(under, |key, panic| self.keep_panic(key, panic));
            if rest.is_none() && !open {
                return;
            }
            wakes = Wakes::default();
            let mut table = self.table.lock();
            table.leave(open);
            let Some(from) = rest else { return };
            table.fetch_due(from, &mut wakes);
            self.open_for(&mut table, &mut wakes);
        }
    }

    /// The lock alone.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }

    /// For the fork: `None` in a handler that interrupted the holder. A child of that fork takes care of
    /// the rest when the holder is done: see [`forked_within`](Self::forked_within).
    pub(crate) fn lock_for_fork(&self) -> Option<MutexGuard<'_, Table>> {
        self.table.lock_unless_own()
    }

    /// In the child of a fork that had no lock.
    pub(crate) fn forked_within(&self) {
        self.table.tell_forked();
    }

    /// Whether the lock can be had. It cannot in a signal handler that interrupted its holder, and
    /// only there is that so for ever.
    pub(crate) fn is_reachable(&self) -> bool {
        const TRIES: usize = 1000;
        (0..TRIES).any(|_| {
            self.table.try_lock().is_some() || {
                std::thread::yield_now();
                false
            }
        })
    }

    /// Leaves a subscription to whoever has the lock. Async-signal-safe.
    pub(crate) fn abandon(&self, abandoned: &AtomicBool) {
        // ORDERING: Release: the mark before the call to look for it. Where the lock's holder is
        // the frame interrupted here, its own program order would do. Weakened, or the other way round: stop
        // abandoned_is_given_up.
        abandoned.store(true, Release);
        self.any_abandoned.store(true, Release);
    }

    /// Which process this is, of a line of forks.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// In the child of a fork, with the lock held and all signals masked.
    ///
    /// # Safety
    /// No other thread is there, and no signal arrives; the calling thread is not in the middle of a send, as
    /// a handler that interrupted one is.
    pub(crate) unsafe fn in_child(&self, table: &mut Table, survivor: usize) {
        table.mailboxes.iter_mut().for_each(|(_, mailbox)| mailbox.forked(survivor));
        table.close_forked();
        self.flags.forked();
        self.generation.add();
        // SAFETY: the caller's promise: no other thread, no handler. `locked` holds the lock over
        // every batch, so none is alive. A receiver that the forking thread has, if it forked in a
        // sink, a waker or a handler, is forgotten by `run_receiver` or `recv_leading`, which look at the
        // generation after all three, for the last of which ends their wait.
        unsafe { self.queue.reset_after_fork() };
    }

    fn sweep(&self) {
        // ORDERING: Acquire: the marks, from `abandon`.
        if !self.any_abandoned.swap(false, Acquire) {
            return;
        }
        self.sweep_flags();
        // ORDERING: Relaxed: the swap above has ordered it.
        let left = |(_, mailbox): &(Key, &Mailbox)| mailbox.abandoned.load(Relaxed);
        while let Some(key) = self.locked(|table, _| Some(table.mailboxes.iter().find(left)?.0)) {
            self.give_up(key);
            self.forget(key);
        }
    }

    /// Makes a subscription, and the mark by which its handle may be left behind.
    pub(crate) fn subscribe(
        &self,
        signals: SignalSet,
        capacity: usize,
        sink: Option<Sink>,
    ) -> Result<(Key, Arc<AtomicBool>), SignalError> {
        let mailbox = Mailbox::new(signals, capacity, sink)?;
        let abandoned = Arc::clone(&mailbox.abandoned);
        // Refused, it stays here, and what the sink holds is dropped outside the lock.
        let mut mailbox = Some(mailbox);
        loop {
            let added = self.locked(|table, wakes| match table.mailboxes.full() {
                _ if table.closed => Err(SignalError::ShutDown),
                Some(len) => Ok(Err(len)),
                None => self.add(table, &mut mailbox, wakes).map(Ok),
            });
            match added? {
                Ok(key) => return Ok((key, abandoned)),
                Err(len) => {
                    let mut room = Mailboxes::with_room(len)?;
                    self.locked(|table, _| table.mailboxes.grow_into(&mut room));
                }
            }
        }
    }

    /// All or nothing. There is room for the mailbox.
    fn add(
        &self,
        table: &mut Table,
        mailbox: &mut Option<Box<Mailbox>>,
        wakes: &mut Wakes,
    ) -> Result<Key, SignalError> {
        let signals = mailbox.as_ref().map_or(SignalSet::EMPTY, |mailbox| mailbox.signals);
        self.install_all(table, signals)?;
        let Some(mailbox) = mailbox.take() else { return Err(SignalError::NoSignals) };
        let has_sink = mailbox.has_sink();
        let key = table.list(mailbox);
        // A guest now has to let the primary have its part back.
        wakes.owner = has_sink;
        if has_sink {
            // ORDERING: Relaxed: a hint to guests; the fixup has them look again (E2).
            self.sinks.fetch_add(1, Relaxed);
        }
        Ok(key)
    }

    fn install_all(&self, table: &mut Table, signals: SignalSet) -> Result<(), SignalError> {
        for signal in signals.iter() {
            let entry = &mut table.entries[signal as usize];
            if entry.subscribers == 0 {
                // The number was checked: SignalSet holds no others.
                let _ = self.queue.enable(signal);
            }
            if let Err(error) = self.put_in_place(entry, signal) {
                signals.iter().for_each(|signal| self.end_unused(table, signal));
                return Err(error);
            }
        }
        Ok(())
    }

    /// The queue was told (I2).
    pub(super) fn put_in_place(&self, entry: &mut Entry, signal: i32) -> Result<(), SignalError> {
        let there = match entry.installed {
            true => self.kernel.look_again(signal),
            false => self.kernel.install(signal),
        };
        there.map_err(|errno| SignalError::System { signal, errno })?;
        entry.installed = true;
        Ok(())
    }

    /// What has begun to want the signal does not after all.
    pub(super) fn end_unused(&self, table: &mut Table, signal: i32) {
        let entry = &mut table.entries[signal as usize];
        match (entry.subscribers, entry.flags) {
            (0, 0) if core::mem::take(&mut entry.installed) => _ = self.uninstall(signal),
            (0, 0) => _ = self.queue.disable(signal),
            (0, _) => _ = self.queue.note_only(signal),
            _ => {}
        }
    }

    /// Has the system act as before, then the queue no longer want the signal (I2). Where ours had
    /// to stay in place the signal is ignored: to raise it again would bring it here again.
    fn uninstall(&self, signal: i32) -> Result<Restored, Errno> {
        let restored = self.kernel.restore(signal);
        let _ =
            if restored.is_ok() { self.queue.disable(signal) } else { self.queue.ignore(signal) };
        restored
    }

    /// Nobody is left who wants the signal.
    pub(super) fn uninstall_last(&self, entry: &mut Entry, signal: i32, leavings: &mut Leavings) {
        leavings.note(signal, self.uninstall(signal));
        entry.installed = false;
    }

    /// Takes what is pending of one signal to its subscribers (I1).
    fn deliver(&self, table: &mut Table, signal: i32, by: Option<Key>, wakes: &mut Wakes) {
        if let Ok(batch) = self.queue.take(signal) {
            self.kernel.look(signal);
            table.deliver(batch, by, wakes);
        }
    }

    /// Takes everything pending to its subscribers, letting others have the lock in between.
    pub(crate) fn deliver_all(&self, by: Option<Key>) {
        let mut from = 1;
        while let Some(signal) = self.queue.next_pending(from) {
            self.locked(|table, wakes| self.deliver(table, signal, by, wakes));
            from = signal as usize + 1;
        }
    }

    /// Gives up the subscription's signals. What was accepted before is in its mailbox then.
    pub(crate) fn give_up(&self, key: Key) -> Stopped {
        let mut leavings = Leavings::none();
        let give_up = |table: &mut Table, wakes: &mut Wakes| {
            self.give_up_locked(table, key, wakes, &mut leavings)
        };
        self.changing(|table| table.is_last_somewhere(key), give_up);
        leavings.into_stopped()
    }

    fn give_up_locked(
        &self,
        table: &mut Table,
        key: Key,
        wakes: &mut Wakes,
        leavings: &mut Leavings,
    ) {
        let Some(mailbox) = table.mailboxes.get(key) else { return };
        for signal in mailbox.signals.iter() {
            let entry = &mut table.entries[signal as usize];
            match (entry.subscribers, entry.flags) {
                (1, 0) => self.uninstall_last(entry, signal, leavings),
                (1, _) => _ = self.queue.note_only(signal),
                _ => {}
            }
            self.deliver(table, signal, None, wakes);
            table.unsubscribe(signal, key, wakes);
        }
    }

    /// Gives a signal its default action, or has it ignored, and strikes all its subscribers.
    pub(crate) fn set_disposition(&self, signal: i32, ignored: bool) -> Result<(), SignalError> {
        let done = self.changing(
            |_| true,
            |table, wakes| {
                let done = if ignored {
                    self.kernel.set_ignored(signal)
                } else {
                    self.kernel.set_default(signal)
                };
                done.map_err(|errno| SignalError::System { signal, errno })?;
                let _ =
                    if ignored { self.queue.ignore(signal) } else { self.queue.disable(signal) };
                self.deliver(table, signal, None, wakes);
                table.entries[signal as usize].installed = false;
                table.unsubscribe_all(signal, wakes);
                self.end_flags(table, signal);
                Ok(())
            },
        );
        self.await_flags(signal);
        done
    }

    /// Restores every disposition and ends all receiving.
    pub(crate) fn shut_down(&self) {
        self.changing(
            |_| true,
            |table, wakes| {
                let mut at = 0;
                while let Some(key) = table.mailboxes.key_at(at) {
                    self.give_up_locked(table, key, wakes, &mut Leavings::none());
                    at += 1;
                }
                (1..SIGNALS as i32).for_each(|signal| self.end_flags(table, signal));
                table.closed = true;
            },
        );
        (1..SIGNALS as i32).for_each(|signal| self.await_flags(signal));
        self.queue.close();
    }

    pub(crate) fn counts(&self, signal: i32) -> SignalCounts {
        self.locked(|table, _| table.entries[signal as usize].counts)
    }
}

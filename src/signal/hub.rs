//! Subscriptions: Notify, Stop, Reset, Ignore on top of the queue.
//!
//! # Contexts
//!
//! [`Hub::on_signal`] runs in handlers and reaches the queue alone. Everything else runs in
//! ordinary threads and takes the one lock for a bounded time; no code of the user, no sleep and
//! no wake-up happens under it.
//!
//! # States of one signal
//!
//! | disposition | queue | subscribers | meaning |
//! |---|---|---|---|
//! | the program's | unwanted | none | not ours |
//! | ours | wanted | one or more | subscribed |
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

use std::sync::Arc;
use std::task::Waker;

use super::set::SignalSet;
use super::table::{Counts, Delivery, Key, Mailbox, RECEIVER, Sink, Table, Waiting, Wakes};
use super::{RecvError, SignalError};
use crate::note::{Deadline, Park, Waited};
use crate::sigqueue::{Origin, Receiver, Sent, SignalQueue, Wakeup};
use crate::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering::*, model_const_fn};
use crate::sys::{Errno, Restored};

/// What the hub asks of the system. The calls are made under the hub's lock.
pub(crate) trait Kernel {
    /// Puts our handler in place and remembers what was there.
    fn install(&self, signal: i32) -> Result<(), Errno>;
    /// Puts back what was there, unless somebody else has changed it since.
    fn restore(&self, signal: i32) -> Result<Restored, Errno>;
    /// Gives the signal its default action.
    fn set_default(&self, signal: i32) -> Result<(), Errno>;
    /// Has the signal ignored.
    fn set_ignored(&self, signal: i32) -> Result<(), Errno>;
}

/// What `stop` left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Signals whose disposition was changed by somebody else since the first subscription, and
    /// which were therefore left as they are.
    pub foreign: Vec<i32>,
    /// Signals whose disposition the system refused to restore.
    pub refused: Vec<(i32, Errno)>,
}

pub(crate) struct Hub<K> {
    kernel: K,
    pub(crate) queue: SignalQueue,
    table: Mutex<Table>,
    /// Live sinks; while there are any, subscribers do not take the receiver's part.
    pub(crate) sinks: AtomicUsize,
    /// Some subscription was dropped by a handler that could not have the lock.
    any_abandoned: AtomicBool,
}

impl<K: Kernel> Hub<K> {
    model_const_fn! {
        pub(crate) const fn new(kernel: K) -> Self {
            Self {
                kernel,
                queue: SignalQueue::new(),
                table: Mutex::new(Table::new()),
                sinks: AtomicUsize::new(0),
                any_abandoned: AtomicBool::new(false),
            }
        }
    }

    /// In a handler: takes the signal in, or says that its disposition is to be carried out.
    pub(crate) fn on_signal(&self, signal: i32, origin: Origin) -> Sent {
        self.queue.send(signal, origin)
    }

    /// Runs `f` under the lock, then does what it asked for.
    pub(crate) fn locked<R>(&self, f: impl FnOnce(&mut Table, &mut Wakes) -> R) -> R {
        let mut wakes = Wakes::default();
        let mut table = self.table.lock();
        let result = f(&mut table, &mut wakes);
        drop(table);
        if wakes.fire() {
            self.queue.fixup();
        }
        // ORDERING: Relaxed: a hint, confirmed by `sweep`.
        if self.any_abandoned.load(Relaxed) {
            self.sweep();
        }
        result
    }

    /// The lock alone, for the fork.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
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
        // the frame interrupted here, its own program order would do.
        abandoned.store(true, Release);
        self.any_abandoned.store(true, Release);
    }

    fn sweep(&self) {
        // ORDERING: Acquire: the marks, from `abandon`.
        if !self.any_abandoned.swap(false, Acquire) {
            return;
        }
        let keys: Vec<Key> = self.locked(|table, _| {
            // ORDERING: Relaxed: the swap above has ordered it.
            let left = table.mailboxes.iter().filter(|(_, m)| m.abandoned.load(Relaxed));
            left.map(|(key, _)| *key).collect()
        });
        for key in keys {
            self.give_up(key);
            self.forget(key);
        }
    }

    pub(crate) fn subscribe(
        &self,
        signals: SignalSet,
        capacity: usize,
        sink: Option<Sink>,
    ) -> Result<Key, SignalError> {
        let has_sink = sink.is_some();
        self.locked(|table, wakes| {
            if table.closed {
                return Err(SignalError::ShutDown);
            }
            self.install_all(table, signals)?;
            let key = table.next_key;
            table.next_key += 1;
            signals.iter().for_each(|s| table.entries[s as usize].subscribers.push(key));
            table.mailboxes.insert(key, Mailbox::new(signals, capacity, sink));
            // A guest now has to let the primary have its part back.
            wakes.owner = has_sink;
            if has_sink {
                // ORDERING: Relaxed: a hint to guests; the fixup has them look again (E2).
                self.sinks.fetch_add(1, Relaxed);
            }
            Ok(key)
        })
    }

    fn install_all(&self, table: &mut Table, signals: SignalSet) -> Result<(), SignalError> {
        for signal in signals.iter() {
            let entry = &mut table.entries[signal as usize];
            if entry.installed {
                continue;
            }
            // The number was checked: SignalSet holds no others.
            let _ = self.queue.enable(signal);
            if let Err(errno) = self.kernel.install(signal) {
                let _ = self.queue.disable(signal);
                self.uninstall_unused(table, signals);
                return Err(SignalError::System { signal, errno });
            }
            entry.installed = true;
        }
        Ok(())
    }

    fn uninstall_unused(&self, table: &mut Table, signals: SignalSet) {
        for signal in signals.iter() {
            let entry = &mut table.entries[signal as usize];
            if entry.installed && entry.subscribers.is_empty() {
                let _ = self.kernel.restore(signal);
                let _ = self.queue.disable(signal);
                entry.installed = false;
            }
        }
    }

    /// Takes what is pending of one signal to its subscribers (I1).
    fn deliver(&self, table: &mut Table, signal: i32, by: Option<Key>, wakes: &mut Wakes) {
        if let Ok(batch) = self.queue.take(signal) {
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
        self.locked(|table, wakes| self.give_up_locked(table, key, wakes))
    }

    fn give_up_locked(&self, table: &mut Table, key: Key, wakes: &mut Wakes) -> Stopped {
        let mut stopped = Stopped::default();
        let Some(mailbox) = table.mailboxes.get(&key) else {
            return stopped;
        };
        for signal in mailbox.signals.iter() {
            let entry = &mut table.entries[signal as usize];
            if entry.subscribers.len() == 1 {
                match self.kernel.restore(signal) {
                    Ok(Restored::Previous) => {}
                    Ok(_) => stopped.foreign.push(signal),
                    Err(errno) => stopped.refused.push((signal, errno)),
                }
                let _ = self.queue.disable(signal);
                entry.installed = false;
            }
            self.deliver(table, signal, None, wakes);
            table.unsubscribe(signal, key, wakes);
        }
        stopped
    }

    /// Gives a signal its default action, or has it ignored, and strikes all its subscribers.
    pub(crate) fn set_disposition(&self, signal: i32, ignored: bool) -> Result<(), SignalError> {
        self.locked(|table, wakes| {
            let done = if ignored {
                self.kernel.set_ignored(signal)
            } else {
                self.kernel.set_default(signal)
            };
            done.map_err(|errno| SignalError::System { signal, errno })?;
            let _ = if ignored { self.queue.ignore(signal) } else { self.queue.disable(signal) };
            self.deliver(table, signal, None, wakes);
            let entry = &mut table.entries[signal as usize];
            entry.installed = false;
            for key in core::mem::take(&mut entry.subscribers) {
                table.unsubscribe(signal, key, wakes);
            }
            Ok(())
        })
    }

    /// The next delivery if there is one; else the thread is noted as waiting in this way (I4).
    fn pop_or(&self, key: Key, waiting: Waiting) -> Option<Result<Delivery, RecvError>> {
        self.locked(|table, _| {
            let closed = table.closed;
            let Some(mailbox) = table.mailboxes.get_mut(&key) else {
                return Some(Err(RecvError::Stopped));
            };
            mailbox.waiting = Waiting::No;
            if let Some(delivery) = mailbox.items.pop_front() {
                return Some(Ok(delivery));
            }
            if closed {
                return Some(Err(RecvError::ShutDown));
            }
            if mailbox.signals.is_empty() {
                return Some(Err(RecvError::Stopped));
            }
            mailbox.waiting = waiting;
            None
        })
    }

    pub(crate) fn try_recv(&self, key: Key) -> Option<Result<Delivery, RecvError>> {
        self.deliver_all(Some(key));
        self.pop_or(key, Waiting::No)
    }

    /// Receives as the subscription `key`, of which the caller is the one thread.
    pub(crate) fn recv(
        &self,
        key: Key,
        deadline: Option<&Deadline>,
    ) -> Result<Delivery, RecvError> {
        loop {
            if let Some(done) = self.pop_or(key, Waiting::No) {
                return done;
            }
            let done = match self.lead() {
                Some(receiver) => self.recv_leading(key, receiver, deadline),
                None => self.recv_following(key, deadline),
            };
            if let Some(done) = done {
                return done;
            }
        }
    }

    fn lead(&self) -> Option<Receiver<'_>> {
        // ORDERING: Relaxed: a hint; one that comes too late is made up for by the fixup that
        // `subscribe` sends.
        if self.sinks.load(Relaxed) != 0 {
            return None;
        }
        self.queue.borrow().ok()
    }

    /// Has the waker called when something arrives; `None` if nothing is there yet.
    pub(crate) fn poll(&self, key: Key, waker: &Waker) -> Option<Result<Delivery, RecvError>> {
        let done = self.try_recv(key);
        if done.is_some() {
            return done;
        }
        // Wakers are the user's code: cloned and dropped outside the lock.
        let mut waker = Some(waker.clone());
        self.locked(|table, _| {
            let mailbox = table.mailboxes.get_mut(&key)?;
            core::mem::swap(&mut mailbox.waker, &mut waker);
            Some(())
        });
        drop(waker);
        // Something may have arrived before the waker was there.
        self.pop_or(key, Waiting::No)
    }

    /// In the receiver's part. `None`: the part had to be given back.
    fn recv_leading(
        &self,
        key: Key,
        mut receiver: Receiver<'_>,
        deadline: Option<&Deadline>,
    ) -> Option<Result<Delivery, RecvError>> {
        let done = loop {
            if let Some(done) = self.pop_or(key, Waiting::Leading) {
                break Some(done);
            }
            let wakeup = receiver.wait(deadline);
            if matches!(wakeup, Wakeup::Work { signals: true, .. }) {
                self.deliver_all(Some(key));
            }
            if wakeup == Wakeup::TimedOut {
                break self.pop_or(key, Waiting::No).or(Some(Err(RecvError::TimedOut)));
            }
            // ORDERING: Relaxed: as in `lead`; the fixup that ended the wait came after (E2).
            if wakeup == Wakeup::Closed || self.sinks.load(Relaxed) != 0 {
                break None;
            }
        };
        drop(receiver);
        self.pass_on();
        done
    }

    /// After the part was given back: whoever else waits is to have it, and sinks are to be run.
    fn pass_on(&self) {
        if self.queue.has_primary() {
            // ORDERING: Relaxed: as in `lead`.
            if self.sinks.load(Relaxed) != 0 {
                self.queue.fixup();
            }
            return;
        }
        self.locked(|table, wakes| {
            let follower = |(_, mailbox): &(&Key, &mut Mailbox)| mailbox.waiting == Waiting::Asleep;
            if let Some((key, mailbox)) = table.mailboxes.iter_mut().find(follower) {
                wakes.mailbox(*key, mailbox, None);
            }
        });
    }

    fn recv_following(
        &self,
        key: Key,
        deadline: Option<&Deadline>,
    ) -> Option<Result<Delivery, RecvError>> {
        let note = self.locked(|table, _| Some(Arc::clone(&table.mailboxes.get(&key)?.note)))?;
        let done = self.pop_or(key, Waiting::Asleep);
        if done.is_some() {
            return done;
        }
        let waited = note.sleep(deadline);
        note.clear();
        match self.pop_or(key, Waiting::No) {
            None if waited == Waited::TimedOut => Some(Err(RecvError::TimedOut)),
            done => done,
        }
    }

    /// The receiver's loop, on the crate's thread or a lent one; ends when the hub is shut down.
    pub(crate) fn run_receiver(&self) -> Result<(), SignalError> {
        let mut receiver = self.queue.receiver().map_err(|_| SignalError::ReceiverTaken)?;
        loop {
            let wakeup = receiver.wait(None);
            self.deliver_all(Some(RECEIVER));
            self.run_sinks();
            if wakeup == Wakeup::Closed {
                return Ok(());
            }
        }
    }

    /// Restores every disposition and ends all receiving.
    pub(crate) fn shut_down(&self) {
        self.locked(|table, wakes| {
            let keys: Vec<Key> = table.mailboxes.keys().copied().collect();
            keys.iter().for_each(|key| drop(self.give_up_locked(table, *key, wakes)));
            table.closed = true;
        });
        self.queue.close();
    }

    pub(crate) fn counts(&self, signal: i32) -> Counts {
        self.locked(|table, _| table.entries[signal as usize].counts)
    }
}

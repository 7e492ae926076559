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

use super::SignalError;
use super::set::SignalSet;
use super::table::{Counts, Key, Mailbox, Sink, Table, Wakes};
use crate::sigqueue::{Origin, Sent, SignalQueue};
use crate::sync::{
    AtomicBool, AtomicU32, AtomicUsize, Mutex, MutexGuard, Ordering::*, model_const_fn,
};
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
    /// How many forks lie between this process and the first.
    generation: AtomicU32,
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
                generation: AtomicU32::new(0),
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

    /// Which process this is, of a line of forks.
    pub(crate) fn generation(&self) -> u32 {
        // ORDERING: Relaxed: it changes only while one thread is there.
        self.generation.load(Relaxed)
    }

    /// In the child of a fork, with the lock held since before it and all signals masked.
    ///
    /// # Safety
    /// No other thread is there, and no signal arrives.
    pub(crate) unsafe fn in_child(&self, table: &mut Table, survivor: usize) {
        table.mailboxes.values_mut().for_each(|mailbox| mailbox.forked(survivor));
        // ORDERING: Relaxed: as in `generation`.
        self.generation.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise. Batches live under the lock; a receiver that the forking
        // thread has, if it forked in a sink, is given up unused: see `run_receiver`.
        unsafe { self.queue.reset_after_fork() };
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
                // Where ours had to stay in place the signal is ignored: to raise it again would
                // bring it here again (I2).
                let refused = stopped.refused.last().is_some_and(|(last, _)| *last == signal);
                let _ =
                    if refused { self.queue.ignore(signal) } else { self.queue.disable(signal) };
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

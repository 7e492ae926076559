//! Who is subscribed to what, and the mailboxes: plain data, always under the hub's one lock.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::vec::Vec;

use super::set::SignalSet;
use crate::note::{Note, Park};
use crate::sigqueue::{Batch, Origin, SIGNALS};
use crate::sync::{AtomicBool, filled, model_const_fn};

/// One signal as a subscriber receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The signal number.
    pub signal: i32,
    /// Where it came from; `None` when so many arrived at once that origins were not kept.
    pub origin: Option<Origin>,
    /// How many more of the same number were merged into this one.
    pub coalesced: u32,
}

/// Names a subscription for as long as the process lives.
pub(crate) type Key = u64;

/// Stands for the primary receiver where the doer is named: no subscription has this key.
pub(crate) const RECEIVER: Key = 0;

pub(crate) type Sink = Box<dyn FnMut(&Delivery) + Send>;

/// What the thread of a subscription is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    No,
    /// Asleep on the mailbox's own note.
    Asleep,
    /// Asleep as the queue's guest.
    Leading,
}

/// Where a sink is.
pub(crate) enum SinkState {
    /// The subscription has a channel instead.
    None,
    /// Here, not being called.
    Idle(Sink),
    /// Being called by the thread of this identity.
    Running(usize),
    /// It panicked, with this; the owner has not seen it yet.
    Panicked(Box<dyn Any + Send>),
    /// It will not be called again.
    Gone,
}

pub(crate) struct Mailbox {
    pub(crate) signals: SignalSet,
    pub(crate) items: VecDeque<Delivery>,
    capacity: usize,
    pub(crate) dropped: u64,
    pub(crate) waiting: Waiting,
    pub(crate) note: Arc<Note>,
    pub(crate) waker: Option<Waker>,
    pub(crate) sink: SinkState,
    /// Threads in `stop` that wait for the sink's last call.
    pub(crate) stopping: Vec<Arc<Note>>,
    /// Whether the sink stands in the table's list already.
    pub(crate) ready: bool,
    /// Shared with the handle: set when that was dropped where the lock could not be had.
    pub(crate) abandoned: Arc<AtomicBool>,
}

impl Mailbox {
    pub(crate) fn new(signals: SignalSet, capacity: usize, sink: Option<Sink>) -> Self {
        Self {
            signals,
            items: VecDeque::with_capacity(capacity),
            capacity,
            dropped: 0,
            waiting: Waiting::No,
            note: Arc::new(Note::new()),
            waker: None,
            sink: sink.map_or(SinkState::None, SinkState::Idle),
            stopping: Vec::new(),
            ready: false,
            abandoned: Arc::new(AtomicBool::new(false)),
        }
    }

    pub(crate) fn has_sink(&self) -> bool {
        !matches!(self.sink, SinkState::None)
    }

    /// In the child of a fork: other threads, and a sink that one was calling, are not here.
    pub(crate) fn forked(&mut self, survivor: usize) {
        self.waiting = Waiting::No;
        self.stopping.clear();
        if matches!(self.sink, SinkState::Running(thread) if thread != survivor) {
            self.sink = SinkState::Gone;
        }
    }

    fn push(&mut self, delivery: Delivery) {
        if self.items.len() == self.capacity
            || matches!(self.sink, SinkState::Gone | SinkState::Panicked(_))
        {
            self.dropped += 1;
        } else {
            self.items.push_back(delivery);
        }
    }
}

/// What is to be done once the lock is free.
#[derive(Default)]
pub(crate) struct Wakes {
    notes: Vec<Arc<Note>>,
    wakers: Vec<Waker>,
    /// The queue's guest has something in its mailbox, or the primary a sink to call.
    pub(crate) owner: bool,
}

impl Wakes {
    pub(crate) fn fire(self) -> bool {
        self.notes.iter().for_each(|note| note.wake());
        self.wakers.into_iter().for_each(Waker::wake);
        self.owner
    }

    /// The mailbox has changed; `by` names whose own thread is doing this.
    pub(crate) fn mailbox(&mut self, key: Key, mailbox: &mut Mailbox, by: Option<Key>) {
        match core::mem::replace(&mut mailbox.waiting, Waiting::No) {
            Waiting::Asleep => self.notes.push(Arc::clone(&mailbox.note)),
            Waiting::Leading if by != Some(key) => self.owner = true,
            Waiting::Leading | Waiting::No => {}
        }
        self.wakers.extend(mailbox.waker.take());
        self.notes.append(&mut mailbox.stopping);
    }
}

/// What was counted of one signal number since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Accepted signals that were taken from the queue.
    pub received: u64,
    /// Signals merged into one of those.
    pub coalesced: u64,
    /// Deliveries that a full subscriber had no room for.
    pub dropped: u64,
}

#[derive(Default)]
pub(crate) struct Entry {
    /// Whether our handler was put in place.
    pub(crate) installed: bool,
    pub(crate) subscribers: Vec<Key>,
    pub(crate) counts: Counts,
}

pub(crate) struct Table {
    pub(crate) entries: [Entry; SIGNALS],
    pub(crate) mailboxes: BTreeMap<Key, Mailbox>,
    pub(crate) next_key: Key,
    /// Mailboxes whose sink has something to do.
    pub(crate) ready: VecDeque<Key>,
    pub(crate) closed: bool,
}

const NO_COUNTS: Counts = Counts { received: 0, coalesced: 0, dropped: 0 };

impl Table {
    model_const_fn! {
        pub(crate) const fn new() -> Self {
            Self {
                entries: filled!(
                    Entry { installed: false, subscribers: Vec::new(), counts: NO_COUNTS };
                    SIGNALS
                ),
                mailboxes: BTreeMap::new(),
                next_key: 1,
                ready: VecDeque::new(),
                closed: false,
            }
        }
    }

    /// Gives one batch to every subscriber of its signal.
    pub(crate) fn deliver<N: Park>(
        &mut self,
        batch: Batch<'_, N>,
        by: Option<Key>,
        wakes: &mut Wakes,
    ) {
        let Self { entries, mailboxes, ready, .. } = self;
        let signal = batch.signal();
        let entry = &mut entries[signal as usize];
        let mut coalesced = batch.coalesced();
        entry.counts.coalesced += u64::from(coalesced);
        for origin in batch {
            entry.counts.received += 1;
            let delivery = Delivery { signal, origin, coalesced: core::mem::take(&mut coalesced) };
            for key in &entry.subscribers {
                let Some(mailbox) = mailboxes.get_mut(key) else {
                    continue;
                };
                let before = mailbox.dropped;
                mailbox.push(delivery);
                entry.counts.dropped += mailbox.dropped - before;
                wakes.mailbox(*key, mailbox, by);
                if mailbox.has_sink() && !core::mem::replace(&mut mailbox.ready, true) {
                    ready.push_back(*key);
                    wakes.owner |= by != Some(RECEIVER);
                }
            }
        }
    }

    /// The next sink that has something to do.
    pub(crate) fn next_ready(&mut self) -> Option<Key> {
        let key = self.ready.pop_front()?;
        if let Some(mailbox) = self.mailboxes.get_mut(&key) {
            mailbox.ready = false;
        }
        Some(key)
    }

    /// After a call: the sink goes to the end of the list if there is more for it.
    pub(crate) fn still_ready(&mut self, key: Key) {
        let Some(mailbox) = self.mailboxes.get_mut(&key) else { return };
        let more = !mailbox.items.is_empty() && matches!(mailbox.sink, SinkState::Idle(_));
        if more && !core::mem::replace(&mut mailbox.ready, true) {
            self.ready.push_back(key);
        }
    }

    /// Takes one signal from one subscription.
    pub(crate) fn unsubscribe(&mut self, signal: i32, key: Key, wakes: &mut Wakes) {
        self.entries[signal as usize].subscribers.retain(|other| *other != key);
        if let Some(mailbox) = self.mailboxes.get_mut(&key) {
            mailbox.signals.remove(signal);
            if mailbox.signals.is_empty() {
                wakes.mailbox(key, mailbox, None);
            }
        }
    }
}

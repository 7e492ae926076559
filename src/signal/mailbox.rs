//! What one subscription holds: made outside the hub's lock, used under it, dropped outside.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::vec::Vec;

use super::panic::Panic;
use super::set::SignalSet;
use super::table::Delivery;
use super::{MAX_CAPACITY, SignalError};
use crate::note::{Note, Park};
use crate::sync::AtomicBool;
use crate::sys::{Bell, Mask};

/// Names a subscription for as long as the process lives.
pub(crate) type Key = u64;

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
    /// It will not be called again.
    Gone,
}

/// A thread in `stop` that waits for the sink's last call, and those that came before it. Each
/// brings its own link, so that nothing is allocated under the lock.
pub(crate) struct Stopping {
    pub(crate) note: Arc<Note>,
    pub(crate) before: Option<Box<Stopping>>,
}

pub(crate) struct Mailbox {
    pub(crate) signals: SignalSet,
    /// As long as the capacity from the start: it does not grow.
    pub(crate) items: VecDeque<Delivery>,
    capacity: usize,
    pub(crate) dropped: u64,
    pub(crate) waiting: Waiting,
    pub(crate) note: Arc<Note>,
    pub(crate) waker: Option<Waker>,
    pub(crate) sink: SinkState,
    /// What the sink or a waker panicked with first; the owner has not seen it yet.
    pub(crate) panicked: Option<Panic>,
    pub(crate) stopping: Option<Box<Stopping>>,
    /// What others poll, and whether it is to be rung.
    pub(crate) bell: Option<Arc<Bell>>,
    pub(crate) ring: bool,
    /// Whether the sink has something to do.
    pub(crate) ready: bool,
    /// Whether somebody is about to fetch what is to be woken here.
    pub(crate) due: bool,
    /// Of whoever subscribed.
    pub(crate) mask: Mask,
    /// Shared with the handle: set when that was dropped where the lock could not be had.
    pub(crate) abandoned: Arc<AtomicBool>,
}

impl Mailbox {
    pub(crate) fn new(
        signals: SignalSet,
        capacity: usize,
        sink: Option<Sink>,
    ) -> Result<Box<Self>, SignalError> {
        match capacity {
            0 => return Err(SignalError::NoCapacity),
            1..=MAX_CAPACITY => {}
            _ => return Err(SignalError::CapacityTooLarge(capacity)),
        }
        let mut items = VecDeque::new();
        items.try_reserve_exact(capacity).map_err(|_| SignalError::NoMemory)?;
        Ok(Box::new(Self {
            signals,
            items,
            capacity,
            dropped: 0,
            waiting: Waiting::No,
            note: Arc::new(Note::new()),
            waker: None,
            sink: sink.map_or(SinkState::None, SinkState::Idle),
            panicked: None,
            stopping: None,
            bell: None,
            ring: false,
            ready: false,
            due: false,
            mask: Mask::current(),
            abandoned: Arc::new(AtomicBool::new(false)),
        }))
    }

    pub(crate) fn has_sink(&self) -> bool {
        !matches!(self.sink, SinkState::None)
    }

    /// In the child of a fork: other threads, and a sink that one was calling, are not here.
    /// Threads that were in `stop` are not either; what they left is dropped with the mailbox.
    /// The survivor may have been asleep when its handler forked: it looks who leads now.
    pub(crate) fn forked(&mut self, survivor: usize) {
        if core::mem::replace(&mut self.waiting, Waiting::No) == Waiting::Asleep {
            self.note.wake();
        }
        if let Some(bell) = &self.bell {
            bell.renew();
            // What it holds is the child's, too.
            if !self.items.is_empty() || self.signals.is_empty() {
                bell.ring();
            }
        }
        if matches!(self.sink, SinkState::Running(thread) if thread != survivor) {
            self.sink = SinkState::Gone;
        }
    }

    pub(super) fn push(&mut self, delivery: Delivery) {
        if self.items.len() == self.capacity || matches!(self.sink, SinkState::Gone) {
            self.dropped += 1;
        } else {
            self.ring |= self.items.is_empty();
            self.items.push_back(delivery);
        }
    }

    /// Nobody will be called with what is left.
    pub(crate) fn drop_rest(&mut self) {
        self.dropped += self.items.len() as u64;
        self.items.clear();
    }
}

/// The mailboxes in the order of their keys. Room for more is made outside the lock.
pub(crate) struct Mailboxes(Vec<(Key, Box<Mailbox>)>);

impl Mailboxes {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Room for twice as many as there were.
    pub(crate) fn with_room(len: usize) -> Result<Self, SignalError> {
        let mut room = Vec::new();
        let wanted = len.saturating_mul(2).max(4);
        room.try_reserve_exact(wanted).map_err(|_| SignalError::NoMemory)?;
        Ok(Self(room))
    }

    /// Takes everything over into `larger`, if it is; what is left there is the old room.
    pub(crate) fn grow_into(&mut self, larger: &mut Self) {
        if larger.0.capacity() > self.0.capacity() {
            larger.0.append(&mut self.0);
            core::mem::swap(self, larger);
        }
    }

    /// How many there are, if there is no room for one more.
    pub(crate) fn full(&self) -> Option<usize> {
        (self.0.len() == self.0.capacity()).then_some(self.0.len())
    }

    /// Adds one whose key is above all others. There must be room.
    pub(crate) fn push(&mut self, key: Key, mailbox: Box<Mailbox>) {
        self.0.push((key, mailbox));
    }

    fn position(&self, key: Key) -> Option<usize> {
        self.0.binary_search_by_key(&key, |(own, _)| *own).ok()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Mailbox> {
        self.position(key).map(|at| &*self.0[at].1)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Mailbox> {
        self.position(key).map(|at| &mut *self.0[at].1)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Box<Mailbox>> {
        self.position(key).map(|at| self.0.remove(at).1)
    }

    pub(crate) fn key_at(&self, at: usize) -> Option<Key> {
        self.0.get(at).map(|(key, _)| *key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &Mailbox)> {
        self.0.iter().map(|(key, mailbox)| (*key, &**mailbox))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut Mailbox)> {
        self.iter_from(0)
    }

    /// Those with this key and above.
    pub(crate) fn iter_from(&mut self, key: Key) -> impl Iterator<Item = (Key, &mut Mailbox)> {
        let from = if key == 0 { 0 } else { self.0.partition_point(|(own, _)| *own < key) };
        self.0[from..].iter_mut().map(|(key, mailbox)| (*key, &mut **mailbox))
    }
}

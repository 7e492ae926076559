//! Who is subscribed to what: plain data, always under the hub's one lock. Nothing here allocates,
//! frees, or runs the user's code: an allocator is the user's code too.

use core::fmt;

use super::mailbox::{Key, Mailbox, Mailboxes, SinkState};
use super::wakes::Wakes;
use crate::note::Park;
use crate::sigqueue::{Batch, Origin, SIGNALS};
use crate::sync::{filled, model_const_fn};
use crate::sys::Signal;

/// One signal as a subscriber receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The signal number.
    pub signal: i32,
    /// Where it came from; `None` when so many arrived at once that origins were not kept.
    pub origin: Option<Origin>,
    /// How many more of the same number were merged into this one.
    pub coalesced: u32,
}

impl Delivery {
    /// The signal by name, for `match` and for display.
    #[must_use]
    pub fn name(&self) -> Signal {
        // What was subscribed to was checked: the system has it.
        Signal::new(self.signal).unwrap_or(Signal::FIRST)
    }
}

/// `SIGTERM from process 4711`, or what else is known.
impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        match self.origin {
            Some(origin) if origin.pid != 0 => write!(f, " from process {}", origin.pid),
            _ => Ok(()),
        }
    }
}

/// Stands for the primary receiver where the doer is named: no subscription has this key.
pub(crate) const RECEIVER: Key = 0;

/// What was counted of one signal number since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SignalCounts {
    /// Accepted signals that were taken from the queue.
    pub received: u64,
    /// Signals merged into one of those.
    pub coalesced: u64,
    /// Deliveries that a full subscriber had no room for.
    pub dropped: u64,
}

pub(crate) struct Entry {
    /// Whether our handler was put in place.
    pub(crate) installed: bool,
    /// How many mailboxes have the signal in their set.
    pub(crate) subscribers: usize,
    /// Flags that are set when it comes.
    pub(crate) flags: usize,
    pub(crate) counts: SignalCounts,
}

pub(crate) struct Table {
    pub(crate) entries: [Entry; SIGNALS],
    pub(crate) mailboxes: Mailboxes,
    pub(crate) next_key: Key,
    /// Mailboxes whose sink has something to do.
    ready: usize,
    /// Whose sink was called last: the next one's turn comes first.
    called: Key,
    pub(crate) closed: bool,
    /// Sinks and wakers that the crate's thread runs while it may hear what is subscribed to; see
    /// [`closing`](super::closing).
    open: u32,
    /// Dispositions that are about to change.
    closing: u32,
}

const NO_COUNTS: SignalCounts = SignalCounts { received: 0, coalesced: 0, dropped: 0 };

impl Table {
    model_const_fn! {
        pub(crate) const fn new() -> Self {
            Self {
                entries: filled!(
                    Entry { installed: false, subscribers: 0, flags: 0, counts: NO_COUNTS };
                    SIGNALS
                ),
                mailboxes: Mailboxes::new(),
                next_key: 1,
                ready: 0,
                called: RECEIVER,
                closed: false,
                open: 0,
                closing: 0,
            }
        }
    }

    /// A sink or a waker is about to run, and its thread would hear what is subscribed to: whether it may. Then
    /// it is to [`leave`](Self::leave).
    pub(super) fn enter(&mut self, would_hear: bool) -> bool {
        let open = would_hear && self.closing == 0;
        self.open += u32::from(open);
        open
    }

    pub(super) fn leave(&mut self, open: bool) {
        // A child of a fork has none.
        self.open = self.open.saturating_sub(u32::from(open));
    }

    pub(super) fn is_open(&self) -> bool {
        self.open != 0
    }

    /// No other thread is left, nor what it had begun.
    pub(super) fn close_forked(&mut self) {
        (self.open, self.closing) = (0, 0);
    }

    /// A disposition is about to change, or has been.
    pub(super) fn set_closing(&mut self, begins: bool) {
        self.closing = if begins { self.closing + 1 } else { self.closing.saturating_sub(1) };
    }

    /// Lists a subscription. There must be room for it.
    pub(crate) fn list(&mut self, mailbox: Box<Mailbox>) -> Key {
        let key = self.next_key;
        self.next_key += 1;
        mailbox.signals.iter().for_each(|s| self.entries[s as usize].subscribers += 1);
        self.mailboxes.push(key, mailbox);
        key
    }

    /// Whether a signal has no other subscriber.
    pub(super) fn is_last_somewhere(&self, key: Key) -> bool {
        let signals = self.mailboxes.get(key).map(|mailbox| mailbox.signals);
        signals.is_some_and(|signals| {
            signals.iter().any(|signal| self.entries[signal as usize].subscribers == 1)
        })
    }

    /// Strikes a subscription that has no signals left, for the caller to drop outside the lock.
    pub(crate) fn strike(&mut self, key: Key) -> Option<Box<Mailbox>> {
        let mailbox = self.mailboxes.remove(key)?;
        self.ready -= usize::from(mailbox.ready);
        Some(mailbox)
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
            let wants = |(_, mailbox): &(Key, &mut Mailbox)| mailbox.signals.contains(signal);
            for (key, mailbox) in mailboxes.iter_mut().filter(wants) {
                let before = mailbox.dropped;
                mailbox.push(delivery);
                entry.counts.dropped += mailbox.dropped - before;
                wakes.mailbox(key, mailbox, by);
                if mailbox.has_sink() && !core::mem::replace(&mut mailbox.ready, true) {
                    *ready += 1;
                    wakes.owner |= by != Some(RECEIVER);
                }
            }
        }
    }

    /// The next sink that has something to do, each in its turn.
    pub(crate) fn next_ready(&mut self) -> Option<Key> {
        if self.ready == 0 {
            return None;
        }
        let found = |from: Key, mailboxes: &mut Mailboxes| {
            let (key, mailbox) = mailboxes.iter_from(from).find(|(_, mailbox)| mailbox.ready)?;
            mailbox.ready = false;
            Some(key)
        };
        let next = found(self.called + 1, &mut self.mailboxes);
        let key = next.or_else(|| found(0, &mut self.mailboxes))?;
        self.ready -= 1;
        self.called = key;
        Some(key)
    }

    /// After a call: the sink waits for its next turn if there is more for it. Without: stop sink_has_more.
    pub(crate) fn still_ready(&mut self, key: Key) {
        let Some(mailbox) = self.mailboxes.get_mut(key) else { return };
        let more = !mailbox.items.is_empty() && matches!(mailbox.sink, SinkState::Idle(_));
        if more && !core::mem::replace(&mut mailbox.ready, true) {
            self.ready += 1;
        }
    }

    /// Takes one signal from one subscription.
    pub(crate) fn unsubscribe(&mut self, signal: i32, key: Key, wakes: &mut Wakes) {
        if let Some(mailbox) = self.mailboxes.get_mut(key) {
            let entry = &mut self.entries[signal as usize];
            take_signal(entry, signal, key, mailbox, wakes);
        }
    }

    /// Takes one signal from every subscription.
    pub(crate) fn unsubscribe_all(&mut self, signal: i32, wakes: &mut Wakes) {
        let entry = &mut self.entries[signal as usize];
        for (key, mailbox) in self.mailboxes.iter_mut() {
            take_signal(entry, signal, key, mailbox, wakes);
        }
    }

    /// Those that were to be woken and found no room in the [`Wakes`] before.
    pub(crate) fn fetch_due(&mut self, from: Key, wakes: &mut Wakes) {
        for (key, mailbox) in self.mailboxes.iter_from(from) {
            if core::mem::take(&mut mailbox.due) {
                wakes.mailbox(key, mailbox, None);
            }
        }
    }
}

fn take_signal(entry: &mut Entry, signal: i32, key: Key, mailbox: &mut Mailbox, wakes: &mut Wakes) {
    if !mailbox.signals.contains(signal) {
        return;
    }
    entry.subscribers -= 1;
    mailbox.signals.remove(signal);
    if mailbox.signals.is_empty() {
        mailbox.ring = true;
        wakes.mailbox(key, mailbox, None);
    }
}

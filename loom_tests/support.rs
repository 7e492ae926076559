//! What several files of models share.

use std::sync::Arc;

use crate::model::thread;
use crate::note::Note;
use crate::sigqueue::{Event, Origin, Receiver, Sent, SignalQueue};
use crate::sync::UnsafeCell;

/// Plain data that a protocol is to pass on: loom fails an access that nothing orders.
#[derive(Debug)]
pub(super) struct Payload(UnsafeCell<u32>);

// SAFETY: loom checks every access.
unsafe impl Sync for Payload {}

impl Payload {
    pub(super) fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    #[track_caller]
    pub(super) fn set(&self, value: u32) {
        // SAFETY: loom checks that nobody else has access.
        self.0.with_mut(|cell| unsafe { *cell = value });
    }

    #[track_caller]
    pub(super) fn get(&self) -> u32 {
        // SAFETY: loom checks that nobody writes.
        self.0.with(|cell| unsafe { *cell })
    }
}

/// A queue that wants signals 1 to 3 (3 is a real-time one), and a payload for each sender.
#[derive(Debug)]
pub(super) struct Fixture {
    pub(super) queue: SignalQueue,
    pub(super) payloads: [Payload; 2],
}

pub(super) fn fixture() -> Arc<Fixture> {
    let queue = SignalQueue::new();
    (1..=3).for_each(|signal| queue.enable(signal).unwrap());
    Arc::new(Fixture { queue, payloads: [Payload::new(), Payload::new()] })
}

/// A thread that sends, as a handler on it would.
pub(super) fn sender(
    fixture: &Arc<Fixture>,
    index: usize,
    signal: i32,
) -> thread::JoinHandle<Sent> {
    let fixture = Arc::clone(fixture);
    thread::spawn(format!("sender {index}"), move || fixture.send(index, signal))
}

/// An origin that says who sent.
pub(super) fn from(sender: i32) -> Origin {
    Origin { pid: sender, ..Origin::UNKNOWN }
}

impl Fixture {
    /// Writes the sender's payload, then sends.
    #[track_caller]
    pub(super) fn send(&self, sender: usize, signal: i32) -> Sent {
        self.payloads[sender].set(7);
        self.queue.send(signal, from(sender as i32))
    }

    /// Nothing is left behind: no slot pending, every record free.
    pub(super) fn assert_idle(&self) {
        assert_eq!(self.queue.next_pending(1), None, "a signal was left in the queue");
        self.queue.assert_no_record_in_use();
    }
}

/// What was received, in order: each signal and how many sends it stands for.
pub(super) fn receive(receiver: &mut Receiver<'_, Note>, sends: u32) -> Vec<(i32, u32)> {
    let mut log = Vec::new();
    while log.iter().map(|(_, stands_for)| stands_for).sum::<u32>() < sends {
        match receiver.recv(None, || {}) {
            Event::Signal(batch) => {
                let (signal, coalesced) = (batch.signal(), batch.coalesced());
                log.push((signal, coalesced + batch.count() as u32));
            }
            other => panic!("received {other:?} instead of a signal"),
        }
    }
    log
}

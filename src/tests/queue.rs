//! The queue against a plain reference model.

use std::collections::VecDeque;

use proptest::prelude::*;

use crate::sigqueue::{
    Event, Origin, Quiet, REALTIME_CAPACITY, ReceiverRefused, STANDARD_RECORDS, Sent, SignalQueue,
    Wakeup, is_realtime,
};
use crate::sys::{Deadline, REALTIME_MIN};

/// Two standard signals and two real-time ones.
const SIGNALS: [i32; 4] = if (REALTIME_MIN as usize) < crate::sigqueue::SIGNALS {
    [1, 10, REALTIME_MIN, REALTIME_MIN + 1]
} else {
    [1, 10, 12, 13]
};

#[derive(Debug, Clone)]
enum Action {
    Enable(usize),
    Disable(usize),
    Ignore(usize),
    Send(usize, i32),
    /// More real-time signals than there are records.
    Flood(usize),
    Take(usize),
    Receive,
    Fixup,
}

fn action() -> impl Strategy<Value = Action> {
    let signal = 0..SIGNALS.len();
    prop_oneof![
        2 => signal.clone().prop_map(Action::Enable),
        1 => signal.clone().prop_map(Action::Disable),
        1 => signal.clone().prop_map(Action::Ignore),
        6 => (signal.clone(), 1..1000).prop_map(|(signal, pid)| Action::Send(signal, pid)),
        1 => signal.clone().prop_map(Action::Flood),
        1 => signal.prop_map(Action::Take),
        2 => Just(Action::Receive),
        1 => Just(Action::Fixup),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Not,
    Wanted,
    Ignored,
}

/// What one signal number holds.
#[derive(Debug, Clone)]
struct Slot {
    wish: Wish,
    origins: VecDeque<Option<i32>>,
    coalesced: u32,
}

/// The queue as anybody would write it without handlers.
#[derive(Debug)]
struct Reference {
    slots: Vec<Slot>,
    overflow: u64,
    fixup: bool,
}

impl Reference {
    fn new() -> Self {
        let slot = Slot { wish: Wish::Not, origins: VecDeque::new(), coalesced: 0 };
        Self { slots: vec![slot; SIGNALS.len()], overflow: 0, fixup: false }
    }

    fn queued(&self) -> usize {
        let realtime = |(_, signal): &(&Slot, &i32)| is_realtime(**signal);
        let slots = self.slots.iter().zip(&SIGNALS).filter(realtime);
        slots.map(|(slot, _)| slot.origins.iter().filter(|origin| origin.is_some()).count()).sum()
    }

    fn send(&mut self, at: usize, pid: i32) -> Sent {
        let full = self.queued() == REALTIME_CAPACITY;
        let slot = &mut self.slots[at];
        match slot.wish {
            Wish::Not => Sent::Unwanted,
            Wish::Ignored => Sent::Ignored,
            Wish::Wanted if is_realtime(SIGNALS[at]) && full => {
                self.overflow += 1;
                if slot.origins.back() != Some(&None) {
                    slot.origins.push_back(None);
                }
                Sent::Accepted
            }
            Wish::Wanted if is_realtime(SIGNALS[at]) => {
                // The one without origin stays last.
                let bare = slot.origins.back() == Some(&None);
                let end = slot.origins.len() - usize::from(bare);
                slot.origins.insert(end, Some(pid));
                Sent::Accepted
            }
            Wish::Wanted if !slot.origins.is_empty() => {
                slot.coalesced += 1;
                Sent::Coalesced
            }
            Wish::Wanted => {
                slot.origins.push_back(Some(pid));
                Sent::Accepted
            }
        }
    }

    /// Everything of one signal: its merged ones and its origins.
    fn take(&mut self, at: usize) -> (u32, Vec<Option<i32>>) {
        let slot = &mut self.slots[at];
        (core::mem::take(&mut slot.coalesced), slot.origins.drain(..).collect())
    }
}

fn origin(pid: i32) -> Origin {
    Origin { pid, ..Origin::UNKNOWN }
}

/// One batch: the signal, how many were merged, the senders.
type Received = (i32, u32, Vec<Option<i32>>);

/// Receives until the queue is empty: what came, and how often pending work was to be run.
fn receive(queue: &SignalQueue) -> (Vec<Received>, u32) {
    let (mut log, mut fixups) = (Vec::new(), 0);
    let mut receiver = queue.receiver().unwrap();
    let now = Deadline::after(core::time::Duration::ZERO);
    while let Event::Signal(batch) = receiver.recv(Some(&now), || fixups += 1) {
        let (signal, coalesced) = (batch.signal(), batch.coalesced());
        log.push((signal, coalesced, batch.map(|origin| origin.map(|o| o.pid)).collect()));
    }
    (log, fixups)
}

fn apply(queue: &SignalQueue, reference: &mut Reference, action: Action) {
    match action {
        Action::Enable(at) => {
            queue.enable(SIGNALS[at]).unwrap();
            reference.slots[at].wish = Wish::Wanted;
        }
        Action::Disable(at) => {
            queue.disable(SIGNALS[at]).unwrap();
            reference.slots[at].wish = Wish::Not;
        }
        Action::Ignore(at) => {
            queue.ignore(SIGNALS[at]).unwrap();
            reference.slots[at].wish = Wish::Ignored;
        }
        Action::Send(at, pid) => {
            assert_eq!(queue.send(SIGNALS[at], origin(pid)), reference.send(at, pid));
        }
        Action::Flood(at) => {
            for pid in 0..=REALTIME_CAPACITY as i32 {
                assert_eq!(queue.send(SIGNALS[at], origin(pid)), reference.send(at, pid));
            }
        }
        Action::Take(at) => {
            let batch = queue.take(SIGNALS[at]).unwrap();
            let coalesced = batch.coalesced();
            let origins: Vec<_> = batch.map(|origin| origin.map(|o| o.pid)).collect();
            assert_eq!((coalesced, origins), reference.take(at));
        }
        Action::Receive => {
            let (log, fixups) = receive(queue);
            let taken = (0..SIGNALS.len()).map(|at| (SIGNALS[at], reference.take(at)));
            let taken = taken.filter(|(_, (_, origins))| !origins.is_empty());
            let expected: Vec<_> =
                taken.map(|(s, (merged, origins))| (s, merged, origins)).collect();
            assert_eq!(log, expected);
            assert_eq!(fixups, u32::from(core::mem::take(&mut reference.fixup)));
        }
        Action::Fixup => {
            queue.fixup();
            reference.fixup = true;
        }
    }
    assert_eq!(queue.overflow(), reference.overflow);
    for (at, signal) in SIGNALS.iter().enumerate() {
        assert_eq!(queue.is_ignored(*signal), Ok(reference.slots[at].wish == Wish::Ignored));
    }
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn queue_is_the_reference(actions in prop::collection::vec(action(), 1..60)) {
        let queue = SignalQueue::new();
        let mut reference = Reference::new();
        for action in actions {
            apply(&queue, &mut reference, action);
        }
        apply(&queue, &mut reference, Action::Receive);
        queue.assert_no_record_in_use();
    }
}

#[test]
fn numbers_without_a_slot_are_refused() {
    let queue = SignalQueue::new();
    for signal in [i32::MIN, -1, 0, crate::sigqueue::SIGNALS as i32, i32::MAX] {
        let error = queue.enable(signal).unwrap_err();
        assert!(error.to_string().contains(&signal.to_string()), "{error}");
        assert!(queue.disable(signal).is_err() && queue.ignore(signal).is_err());
        assert!(queue.take(signal).is_err() && queue.is_ignored(signal).is_err());
        assert!(queue.wait_quiet(signal, || panic!("nothing to wait for")).is_err());
        assert_eq!(queue.send(signal, Origin::UNKNOWN), Sent::Unwanted);
    }
}

#[test]
fn a_queue_is_under_8_kib() {
    assert!(size_of::<SignalQueue>() < 8192, "{} bytes", size_of::<SignalQueue>());
}

/// What was announced once is not lost with the user's panic.
#[test]
fn a_fixup_that_panics_loses_no_signal() {
    let queue = SignalQueue::new();
    queue.enable(SIGNALS[0]).unwrap();
    let mut receiver = queue.receiver().unwrap();
    let _ = queue.send(SIGNALS[0], origin(1));
    queue.fixup();
    let panics = || panic!("as the test wants it");
    let recv = std::panic::AssertUnwindSafe(|| drop(receiver.recv(None, panics)));
    assert!(std::panic::catch_unwind(recv).is_err());
    let Event::Signal(batch) = receiver.recv(None, || unreachable!()) else { panic!("lost") };
    assert_eq!((batch.signal(), batch.count()), (SIGNALS[0], 1));
}

/// `wait` leaves what it was told of to the next `recv`, and to the next receiver.
#[test]
fn what_wait_was_told_is_not_lost() {
    let queue = SignalQueue::new();
    queue.enable(SIGNALS[0]).unwrap();
    for drops in [false, true] {
        let mut receiver = queue.receiver().unwrap();
        let _ = queue.send(SIGNALS[0], origin(1));
        assert_eq!(receiver.wait(None), Wakeup::Work { signals: true, fixup: false });
        if drops {
            drop(receiver);
            receiver = queue.receiver().unwrap();
        }
        let Event::Signal(batch) = receiver.recv(None, || {}) else { panic!("lost") };
        assert_eq!((batch.signal(), batch.count()), (SIGNALS[0], 1));
    }
    queue.assert_no_record_in_use();
}

/// Forgotten values cost their records or their part, as documented, and nothing else.
#[test]
fn forgotten_batches_and_receivers() {
    let queue = SignalQueue::new();
    queue.enable(SIGNALS[0]).unwrap();
    let mut receiver = queue.receiver().unwrap();
    for pid in 0..STANDARD_RECORDS as i32 {
        let _ = queue.send(SIGNALS[0], origin(pid));
        core::mem::forget(receiver.recv(None, || {}));
    }
    assert_eq!(queue.send(SIGNALS[0], Origin::UNKNOWN), Sent::Accepted);
    let Event::Signal(batch) = receiver.recv(None, || {}) else { panic!("lost") };
    assert_eq!(batch.collect::<Vec<_>>(), [None], "received, and without origin");
    let _ = queue.send(SIGNALS[0], Origin::UNKNOWN);
    core::mem::forget(receiver.recv(None, || {}));
    let mut looks = 0;
    let quiet = queue.wait_quiet(SIGNALS[0], || core::mem::replace(&mut looks, 1) == 0);
    assert_eq!(quiet, Ok(Quiet::GaveUp), "a forgotten batch is being worked on");
    core::mem::forget(receiver);
    assert_eq!(queue.receiver().unwrap_err(), ReceiverRefused::Taken);
    let _ = queue.send(SIGNALS[0], Origin::UNKNOWN);
    assert_eq!(queue.take(SIGNALS[0]).unwrap().count(), 1, "still to be had");
}

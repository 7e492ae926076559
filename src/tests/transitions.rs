//! Every state of the queue's state word with every event, against the table in
//! [`crate::sigqueue`]. The two change together.

use crate::note::{Deadline, Park, Waited};
use crate::sigqueue::{
    CLOSED, FIXUP, GUEST, PRIMARY, RECEIVING, ReceiverRefused, SENDING, SignalQueue, Wakeup,
};
use crate::sync::{AtomicU32, Ordering::Relaxed};

/// Counts wake-ups; a sleep ends at once, as if the deadline had passed.
#[derive(Debug, Default)]
struct Counter(AtomicU32);

// SAFETY: one atomic operation; nothing is passed on, as there is one thread.
unsafe impl Park for Counter {
    fn sleep(&self, _: Option<&Deadline>) -> Waited {
        Waited::TimedOut
    }
    fn wake(&self) {
        self.0.fetch_add(1, Relaxed);
    }
    fn clear(&self) {}
}

const ANNOUNCED: u32 = SENDING | FIXUP | CLOSED;

/// All that can be: nobody sleeps without an owner, and RECEIVING is set only over an empty word
/// (I2), later announcements being added to it.
fn states() -> impl Iterator<Item = u32> {
    (0..64).filter(|state| state & RECEIVING == 0 || state & (PRIMARY | GUEST) != 0)
}

fn in_state(state: u32) -> SignalQueue<Counter> {
    let queue = SignalQueue::with_notes([Counter::default(), Counter::default()]);
    queue.enable(1).unwrap();
    queue.state_word().store(state, Relaxed);
    queue
}

/// The state word, and the wake-ups of primary and guest.
fn outcome(queue: &SignalQueue<Counter>) -> (u32, [u32; 2]) {
    let woken = queue.sleepers().each_ref().map(|note| note.0.load(Relaxed));
    (queue.state_word().load(Relaxed), woken)
}

/// Whom an announcement must wake.
fn woken_by_announcement(state: u32) -> [u32; 2] {
    let wakes = state & RECEIVING != 0 && state & ANNOUNCED == 0;
    let guest = state & GUEST != 0;
    [u32::from(wakes && !guest), u32::from(wakes && guest)]
}

#[test]
fn send_in_every_state() {
    for state in states() {
        let queue = in_state(state);
        assert_eq!(queue.send(1, Default::default()), crate::sigqueue::Sent::Accepted);
        let expected = (state | SENDING, woken_by_announcement(state));
        assert_eq!(outcome(&queue), expected, "send in {state:#08b}");
    }
}

#[test]
fn fixup_in_every_state() {
    for state in states() {
        let queue = in_state(state);
        queue.fixup();
        let expected = (state | FIXUP, woken_by_announcement(state));
        assert_eq!(outcome(&queue), expected, "fixup in {state:#08b}");
    }
}

#[test]
fn close_in_every_state() {
    for state in states() {
        let queue = in_state(state);
        queue.close();
        assert_eq!(outcome(&queue), (state | CLOSED, [1, 1]), "close in {state:#08b}");
    }
}

#[test]
fn receiver_in_every_state() {
    for state in states() {
        let queue = in_state(state);
        let expected = match state {
            _ if state & CLOSED != 0 => Err(ReceiverRefused::Closed),
            _ if state & PRIMARY != 0 => Err(ReceiverRefused::Taken),
            _ => Ok(state | PRIMARY),
        };
        let claimed = queue.receiver().map(core::mem::forget);
        assert_eq!(claimed.map(|()| outcome(&queue).0), expected, "receiver in {state:#08b}");
    }
}

#[test]
fn borrow_in_every_state() {
    for state in states() {
        let queue = in_state(state);
        let asleep = state & (RECEIVING | SENDING | FIXUP) == RECEIVING;
        let expected = match state {
            _ if state & CLOSED != 0 => Err(ReceiverRefused::Closed),
            _ if state & GUEST != 0 => Err(ReceiverRefused::Busy),
            _ if state & PRIMARY == 0 => Ok(state | GUEST),
            _ if asleep => Ok(state & !RECEIVING | GUEST),
            _ => Err(ReceiverRefused::Busy),
        };
        let claimed = queue.borrow().map(core::mem::forget);
        assert_eq!(claimed.map(|()| outcome(&queue).0), expected, "borrow in {state:#08b}");
    }
}

#[test]
fn guest_leaves_in_every_state() {
    for announced in (0..16).filter(|bits| bits & RECEIVING == 0) {
        for primary in [0, PRIMARY] {
            let state = announced | primary | GUEST;
            let queue = in_state(primary | if primary != 0 { RECEIVING } else { 0 });
            let guest = queue.borrow().unwrap();
            queue.state_word().store(state, Relaxed);
            drop(guest);
            let expected = match (primary, announced) {
                (0, _) => (announced, [0, 0]),
                (_, 0) => (PRIMARY | RECEIVING, [0, 0]),
                _ => (PRIMARY | announced, [1, 0]),
            };
            assert_eq!(outcome(&queue), expected, "the guest leaves in {state:#08b}");
        }
    }
}

#[test]
fn primary_leaves_in_every_state() {
    for rest in (0..64).filter(|bits| bits & PRIMARY == 0) {
        let queue = in_state(0);
        let primary = queue.receiver().unwrap();
        queue.state_word().store(rest | PRIMARY, Relaxed);
        drop(primary);
        let expected = if rest & GUEST != 0 { rest } else { rest & !RECEIVING };
        assert_eq!(outcome(&queue), (expected, [0, 0]), "the primary leaves in {rest:#08b}");
    }
}

#[test]
fn wait_in_every_state() {
    let now = Deadline::after(core::time::Duration::ZERO);
    for rest in (0..64).filter(|bits| bits & PRIMARY == 0) {
        let queue = in_state(0);
        let mut primary = queue.receiver().unwrap();
        queue.state_word().store(rest | PRIMARY, Relaxed);
        let (signals, fixup) = (rest & SENDING != 0, rest & FIXUP != 0);
        let guest_has_it = rest & GUEST != 0;
        let idle = rest & !(SENDING | FIXUP | RECEIVING) | PRIMARY;
        let expected = match () {
            () if guest_has_it && rest & CLOSED != 0 => (Wakeup::Closed, rest | PRIMARY),
            () if guest_has_it => (Wakeup::TimedOut, rest | PRIMARY),
            () if signals || fixup => (Wakeup::Work { signals, fixup }, idle),
            () if rest & CLOSED != 0 => (Wakeup::Closed, idle),
            () => (Wakeup::TimedOut, idle),
        };
        let wakeup = primary.wait(Some(&now));
        assert_eq!((wakeup, outcome(&queue).0), expected, "wait in {rest:#08b}");
        core::mem::forget(primary);
    }
}

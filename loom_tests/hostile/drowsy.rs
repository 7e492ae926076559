//! A queue whose receivers sleep on notes that return for no reason, as the contract of [`Park`] allows.

use std::sync::Arc;

use super::super::support::Payload;
use super::super::{Bound, Model};
use super::{ASLEEP, CLEAR, SET};
use crate::model::futex::{self, Waited};
use crate::model::{Kernel, thread};
use crate::note::{Deadline, Park};
use crate::sigqueue::{Event, Origin, Sent, SignalQueue, Wakeup};
use crate::sync::AtomicU32;
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// A note of a runtime's own that returns for no reason whenever its system does, as [`Park`] allows.
#[derive(Default)]
struct Drowsy(AtomicU32);

// SAFETY: as `Note`, but that it does not look again when its sleep is over.
unsafe impl Park for Drowsy {
    fn sleep(&self, deadline: Option<&Deadline>) -> Waited {
        if self.0.compare_exchange(CLEAR, ASLEEP, Relaxed, Acquire) == Err(SET) {
            return Waited::Woken;
        }
        let waited = futex::wait(&self.0, ASLEEP, deadline);
        match waited {
            Waited::TimedOut => match self.0.compare_exchange(ASLEEP, CLEAR, Relaxed, Acquire) {
                Ok(_) => waited,
                Err(_) => Waited::Woken,
            },
            _ => {
                self.0.load(Acquire);
                waited
            }
        }
    }

    fn wake(&self) {
        if self.0.swap(SET, Release) == ASLEEP {
            futex::wake_one(&self.0);
        }
    }

    fn clear(&self) {
        self.0.swap(CLEAR, Acquire);
    }
}

struct Drowsily {
    queue: SignalQueue<Drowsy>,
    payload: Payload,
}

impl Drowsily {
    fn new() -> Arc<Self> {
        let queue = SignalQueue::with_notes(Default::default());
        queue.enable(1).unwrap();
        Arc::new(Self { queue, payload: Payload::new() })
    }

    fn sender(self: &Arc<Self>) -> thread::JoinHandle<Sent> {
        let theirs = Arc::clone(self);
        thread::spawn("sender", move || {
            theirs.payload.set(7);
            theirs.queue.send(1, Origin::UNKNOWN)
        })
    }

    /// What the calling part has received, which is all there is.
    fn takes(&self) {
        if self.queue.take(1).unwrap().count() == 1 {
            assert_eq!(self.payload.get(), 7);
            self.queue.close();
        }
    }
}

/// Claim: a receiver whose note returns for no reason looks at the queue, and sleeps again (the contract of
/// [`Park`]).
/// Actors: sender, receiver. Exhaustive. Fails, as a deadlock, if a wake-up stands for an announcement.
#[test]
fn receiver_sleeps_drowsily() {
    Model::new("hostile::receiver_sleeps_drowsily").actors(2).hostile(2).check(|| {
        let shared = Drowsily::new();
        let sender = shared.sender();
        let mut receiver = shared.queue.receiver().unwrap();
        let Event::Signal(batch) = receiver.recv(None, || {}) else { panic!("no signal") };
        assert_eq!(batch.count(), 1);
        assert_eq!(shared.payload.get(), 7);
        assert_eq!(sender.join(), Sent::Accepted);
    });
}

/// Claim: a primary that wakes for no reason while a guest has its part, or as it comes back, leaves the one alone
/// and takes the other; the signal is received by one of the two.
/// Actors: primary, guest, sender. Bound 2. Fails, as a deadlock, if the end of a sleep gives the part back.
#[test]
fn primary_sleeps_drowsily() {
    let model = Model::new("hostile::primary_sleeps_drowsily").actors(3);
    model.bound(Bound::At(2)).hostile(1).check(|| {
        let kernel = Kernel::new();
        let shared = Drowsily::new();
        let theirs = Arc::clone(&shared);
        let primary = thread::spawn("primary", move || {
            let Ok(mut receiver) = theirs.queue.receiver() else { return };
            while receiver.await_work(None) != Wakeup::Closed {
                theirs.takes();
            }
            theirs.takes();
        });
        let sender = shared.sender();
        if let Ok(mut guest) = shared.queue.borrow() {
            let deadline = Deadline::after(core::time::Duration::ZERO);
            kernel.expire_deadlines();
            let _ = guest.await_work(Some(&deadline));
            shared.takes();
        }
        let _ = sender.join();
        primary.join();
        assert_eq!(shared.queue.take(1).unwrap().count(), 0, "left in the queue");
    });
}

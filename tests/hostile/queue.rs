//! The queue and its notes.

use std::mem::forget;

use portcullis::note::{Deadline, Note, Park, Waited};
use portcullis::sigqueue::{Event, Origin, Quiet, ReceiverRefused, Sent, SignalQueue, Wakeup};

use super::alone;

#[test]
fn numbers_out_of_range() {
    alone("queue::numbers_out_of_range", || {
        let queue = SignalQueue::new();
        for number in [0, -1, 1000, i32::MAX, i32::MIN] {
            assert_eq!(queue.send(number, Origin::UNKNOWN), Sent::Unwanted);
            let refused = [
                queue.enable(number).map(drop),
                queue.disable(number).map(drop),
                queue.ignore(number).map(drop),
                queue.take(number).map(drop),
                queue.wait_quiet(number, || false).map(drop),
            ];
            for refused in refused {
                assert!(refused.unwrap_err().to_string().contains(&number.to_string()));
            }
        }
    });
}

#[test]
fn receivers_forgotten() {
    alone("queue::receivers_forgotten", || {
        let queue = SignalQueue::new();
        queue.enable(10).unwrap();
        forget(queue.receiver().unwrap());
        assert_eq!(queue.receiver().map(drop).unwrap_err(), ReceiverRefused::Taken);
        assert_eq!(queue.send(10, Origin::UNKNOWN), Sent::Accepted);
        // Any thread takes.
        assert_eq!(queue.take(10).unwrap().count(), 1);
        assert_eq!(queue.wait_quiet(10, || false).unwrap(), Quiet::Quiet);
    });
}

#[test]
fn batches_forgotten() {
    alone("queue::batches_forgotten", || {
        let queue = SignalQueue::new();
        queue.enable(10).unwrap();
        queue.enable(40).unwrap();
        let mut receiver = queue.receiver().unwrap();
        for round in 0..500 {
            for signal in [10, 40] {
                // Records are lost with them: then without an origin.
                assert!(matches!(queue.send(signal, Origin::UNKNOWN), Sent::Accepted), "{round}");
                let Event::Signal(batch) = receiver.recv(None, || ()) else { panic!("{round}") };
                assert_eq!(batch.signal(), signal);
                forget(batch);
            }
        }
        let mut looks = 0;
        let quiet = queue.wait_quiet(10, || {
            looks += 1;
            looks < 10
        });
        assert!(matches!(quiet.unwrap(), Quiet::GaveUp | Quiet::Quiet));
        assert_eq!(queue.send(10, Origin::UNKNOWN), Sent::Accepted);
        let Event::Signal(mut batch) = receiver.recv(None, || ()) else { panic!("not received") };
        assert_eq!(batch.next(), Some(None));
    });
}

#[test]
fn closed() {
    alone("queue::closed", || {
        let queue = SignalQueue::new();
        queue.enable(10).unwrap();
        assert_eq!(queue.send(10, Origin::UNKNOWN), Sent::Accepted);
        let mut receiver = queue.receiver().unwrap();
        queue.close();
        queue.close();
        assert!(matches!(receiver.recv(None, || ()), Event::Signal(_)));
        assert!(matches!(receiver.recv(None, || ()), Event::Closed));
        assert_eq!(receiver.wait(None), Wakeup::Closed);
        drop(receiver);
        assert_eq!(queue.receiver().map(drop).unwrap_err(), ReceiverRefused::Closed);
        assert_eq!(queue.borrow().map(drop).unwrap_err(), ReceiverRefused::Closed);
    });
}

/// A hook that panics in the middle of receiving.
#[test]
fn fixups_that_panic() {
    alone("queue::fixups_that_panic", || {
        std::panic::set_hook(Box::new(|_| ()));
        let queue = SignalQueue::new();
        queue.enable(10).unwrap();
        let mut receiver = queue.receiver().unwrap();
        queue.fixup();
        assert_eq!(queue.send(10, Origin::UNKNOWN), Sent::Accepted);
        let recv = std::panic::AssertUnwindSafe(|| drop(receiver.recv(None, || panic!("fixup"))));
        std::panic::catch_unwind(recv).unwrap_err();
        assert!(matches!(receiver.recv(None, || ()), Event::Signal(_)), "it was not lost");
    });
}

#[test]
fn notes_woken_for_nothing() {
    alone("queue::notes_woken_for_nothing", || {
        let note = Note::new();
        let passed = Deadline::after(std::time::Duration::ZERO);
        assert_eq!(note.sleep(Some(&passed)), Waited::TimedOut);
        (0..10).for_each(|_| note.wake());
        assert_eq!((note.sleep(None), note.sleep(None)), (Waited::Woken, Waited::Woken));
        note.clear();
        assert_eq!(note.sleep(Some(&passed)), Waited::TimedOut);
    });
}

//! The signal queue: nothing lost, nothing invented, nobody asleep who should be awake.
//!
//! Each model carries plain data through the edge it claims: the sender writes before `send`, the
//! receiver reads after `recv`.

mod marks;

use std::sync::Arc;

use super::support::{Fixture, fixture, from, receive, sender};
use super::{Bound, Model};
use crate::model::{Handler, How, Kernel, SigSet, thread};
use crate::note::Deadline;
use crate::sigqueue::{Event, Quiet, Sent, Wakeup};
use crate::sync;

/// Claim: a signal sent while the receiver looks, decides to sleep or sleeps is received, with
/// what was written before (E1, E2).
/// Actors: sender, receiver. Exhaustive. Fails if `send`'s release, `take`'s acquire, or the
/// test for RECEIVING goes.
#[test]
fn send_recv() {
    Model::new("sigqueue::send_recv").actors(2).check_hostile_too(|| {
        let fixture = fixture();
        let sender = sender(&fixture, 0, 1);
        let mut receiver = fixture.queue.receiver().unwrap();
        let Event::Signal(mut batch) = receiver.recv(None, || {}) else { panic!("no signal") };
        assert_eq!((batch.signal(), batch.coalesced()), (1, 0));
        assert_eq!(batch.next(), Some(Some(from(0))), "the origin");
        assert_eq!(batch.next(), None, "once");
        assert_eq!(fixture.payloads[0].get(), 7);
        drop(batch);
        assert_eq!(sender.join(), Sent::Accepted);
        fixture.assert_idle();
    });
}

/// Claim: two signals from two handlers are both received, however they meet on the state word.
/// Actors: two senders, receiver. Fails if the second announcement relies on a failed
/// compare-exchange, or wakes twice.
#[test]
fn two_senders_one_receiver() {
    Model::new("sigqueue::two_senders_one_receiver").actors(3).bound(Bound::At(3)).check(|| {
        let fixture = fixture();
        let senders = [sender(&fixture, 0, 1), sender(&fixture, 1, 2)];
        let mut receiver = fixture.queue.receiver().unwrap();
        let mut log = receive(&mut receiver, 2);
        log.sort_unstable();
        assert_eq!(log, [(1, 1), (2, 1)]);
        assert_eq!(fixture.payloads.each_ref().map(|payload| payload.get()), [7, 7]);
        assert!(senders.map(|s| s.join()).iter().all(|sent| *sent == Sent::Accepted));
        fixture.assert_idle();
    });
}

/// Claim: a send merged into a pending one is received with it or after it, and what its handler
/// wrote before is visible then (E1 for coalesced sends).
/// Actors: two senders of one signal, receiver. Fails if a coalesced send only looks.
#[test]
fn coalesced_send_publishes() {
    Model::new("sigqueue::coalesced_send_publishes").actors(3).bound(Bound::At(3)).check(|| {
        let fixture = fixture();
        let senders = [sender(&fixture, 0, 1), sender(&fixture, 1, 1)];
        let mut receiver = fixture.queue.receiver().unwrap();
        let received = receive(&mut receiver, 2);
        assert!(received.iter().all(|(signal, _)| *signal == 1));
        assert_eq!(fixture.payloads.each_ref().map(|payload| payload.get()), [7, 7]);
        let _ = senders.map(|sender| sender.join());
        fixture.assert_idle();
    });
}

/// Claim: real-time signals are queued one by one and received in the order of acceptance.
/// Actors: sender, receiver. Exhaustive. Fails if a record is linked to a chain that was taken
/// meanwhile.
#[test]
fn realtime_is_queued() {
    Model::new("sigqueue::realtime_is_queued").actors(2).check(|| {
        let fixture = fixture();
        assert_eq!(fixture.queue.send(3, from(0)), Sent::Accepted);
        let theirs = Arc::clone(&fixture);
        let sender = thread::spawn("sender", move || {
            assert_eq!(theirs.queue.send(3, from(1)), Sent::Accepted);
        });
        let mut receiver = fixture.queue.receiver().unwrap();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let Event::Signal(batch) = receiver.recv(None, || {}) else { panic!("no signal") };
            seen.extend(batch.map(|origin| origin.map(|origin| origin.pid)));
        }
        assert_eq!(seen, [Some(0), Some(1)]);
        sender.join();
        fixture.assert_idle();
    });
}

/// Claim: with all records in use a signal is still received, without its origin, and a real-time
/// one is counted.
/// Actors: sender, receiver. Exhaustive.
#[test]
fn records_run_out() {
    Model::new("sigqueue::records_run_out").actors(2).check(|| {
        let fixture = fixture();
        let theirs = Arc::clone(&fixture);
        let sender = thread::spawn("sender", move || {
            (0..3).for_each(|nth| assert_eq!(theirs.queue.send(3, from(nth)), Sent::Accepted));
        });
        let (mut with, mut without) = (0, 0);
        let mut take = || {
            for origin in fixture.queue.take(3).unwrap() {
                *if origin.is_some() { &mut with } else { &mut without } += 1;
            }
        };
        take();
        sender.join();
        take();
        let overflow = fixture.queue.overflow();
        assert_eq!(with + overflow, 3, "queued or counted");
        assert!(without <= overflow && (without == 0) == (overflow == 0), "merged, not lost");
        fixture.assert_idle();
    });
}

/// Installs a handler for each signal that sends it, as a runtime's does.
fn handlers_send(kernel: Kernel, fixture: &Arc<Fixture>) {
    for signal in 1..=2 {
        let fixture = Arc::clone(fixture);
        let handler = Handler::new(move |signal| {
            assert_eq!(fixture.send(signal as usize - 1, signal), Sent::Accepted);
        });
        kernel.sigaction(signal, handler);
    }
}

/// Claim: a handler that interrupts the receiver at any step of `recv`, its falling asleep and
/// its taking included, neither loses its signal nor waits; a handler that interrupts that
/// handler likewise.
/// Actors: kernel, receiver with nested handlers. Exhaustive.
#[test]
fn send_from_nested_handler() {
    Model::new("sigqueue::send_from_nested_handler").actors(2).apart().check(|| {
        let kernel = Kernel::new().at_most(2);
        let fixture = fixture();
        handlers_send(kernel, &fixture);
        let theirs = Arc::clone(&fixture);
        let receiver = thread::spawn("receiver", move || {
            let mut receiver = theirs.queue.receiver().unwrap();
            let mut log = receive(&mut receiver, 2);
            log.sort_unstable();
            assert_eq!(log, [(1, 1), (2, 1)]);
            assert_eq!(theirs.payloads.each_ref().map(|payload| payload.get()), [7, 7]);
        });
        kernel.tgkill(receiver.id(), 1);
        kernel.tgkill(receiver.id(), 2);
        receiver.join();
        fixture.assert_idle();
    });
}

/// Claim: `fixup` has the receiver run the published work, asleep or awake, without inventing a
/// signal; it sleeps again and still receives (E2).
/// Actors: initiator, receiver. Exhaustive. Fails if the receiver is not woken, or the bit is
/// dropped by a receiver that was about to sleep.
#[test]
fn fixup_wakes_receiver() {
    Model::new("sigqueue::fixup_wakes_receiver").actors(2).check_hostile_too(|| {
        let fixture = fixture();
        let theirs = Arc::clone(&fixture);
        let receiver = thread::spawn("receiver", move || {
            let mut receiver = theirs.queue.receiver().unwrap();
            let mut ran = 0;
            let run = || {
                assert_eq!(theirs.payloads[0].get(), 7, "the work is published");
                ran += 1;
            };
            let Event::Signal(batch) = receiver.recv(None, run) else { panic!("no signal") };
            assert_eq!(batch.count(), 1);
            assert_eq!(ran, 1, "the work runs once, before the signal that was sent after it");
        });
        fixture.payloads[0].set(7);
        fixture.queue.fixup();
        assert_eq!(fixture.queue.send(1, from(0)), Sent::Accepted);
        receiver.join();
        fixture.assert_idle();
    });
}

/// Claim: a fixup and a send that meet on the state word are both seen.
/// Actors: initiator, sender, receiver. Fails if either consumes the other's announcement.
#[test]
fn fixup_against_send() {
    Model::new("sigqueue::fixup_against_send").actors(3).bound(Bound::At(3)).check_hostile_too(
        || {
            let fixture = fixture();
            let sender = sender(&fixture, 0, 1);
            let theirs = Arc::clone(&fixture);
            let initiator = thread::spawn("initiator", move || {
                theirs.payloads[1].set(7);
                theirs.queue.fixup();
            });
            let mut receiver = fixture.queue.receiver().unwrap();
            let (mut fixups, mut signals) = (0, 0);
            while fixups + signals < 2 {
                let Wakeup::Work { signals: any, fixup } = receiver.await_work(None) else {
                    panic!()
                };
                if fixup {
                    assert_eq!(fixture.payloads[1].get(), 7);
                    fixups += 1;
                }
                if any {
                    assert_eq!(fixture.queue.take(1).unwrap().count(), 1);
                    assert_eq!(fixture.payloads[0].get(), 7);
                    signals += 1;
                }
            }
            assert_eq!((fixups, signals), (1, 1));
            drop(receiver);
            let _ = sender.join();
            initiator.join();
            fixture.assert_idle();
        },
    );
}

/// Claim: a signal that lands on the initiator at any step of `fixup` is sent from there without
/// waiting for the receiver, which cannot move: the initiator has the world stopped (D3).
/// Actors: kernel, initiator with a handler; the receiver runs afterwards. Exhaustive.
#[test]
fn fixup_with_signal_on_initiator() {
    Model::new("sigqueue::fixup_with_signal_on_initiator").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let fixture = fixture();
        handlers_send(kernel, &fixture);
        let theirs = Arc::clone(&fixture);
        let initiator = thread::spawn("initiator", move || {
            theirs.payloads[1].set(9);
            theirs.queue.fixup();
            // The world is stopped up to here: no receiver takes a step.
        });
        kernel.tgkill(initiator.id(), 1);
        initiator.join();
        let sent = fixture.queue.next_pending(1).is_some();
        let mut receiver = fixture.queue.receiver().unwrap();
        let Wakeup::Work { signals, fixup: true } = receiver.await_work(None) else {
            panic!("no fixup")
        };
        assert_eq!(fixture.payloads[1].get(), 9);
        assert_eq!(signals, sent);
        drop(receiver);
        let taken = fixture.queue.take(1).unwrap().count();
        assert_eq!(taken, usize::from(sent));
        fixture.assert_idle();
    });
}

/// Claim: a signal sent before there is a receiver, or while one is being made, is received.
/// Actors: sender, receiver. Exhaustive.
#[test]
fn first_send_before_first_recv() {
    Model::new("sigqueue::first_send_before_first_recv").actors(2).check(|| {
        let fixture = fixture();
        assert_eq!(fixture.send(0, 1), Sent::Accepted);
        let sender = sender(&fixture, 1, 2);
        let mut receiver = fixture.queue.receiver().unwrap();
        assert_eq!(receive(&mut receiver, 2).len(), 2);
        assert_eq!(fixture.payloads.each_ref().map(|payload| payload.get()), [7, 7]);
        assert_eq!(sender.join(), Sent::Accepted);
        fixture.assert_idle();
    });
}

/// Claim: a `send` that is accepted sees what was set up before `enable` (E6), even if the kernel
/// passes nothing on, as for a signal that was wanted and handled before.
/// Actors: subscriber, sender. Exhaustive. Fails if `enable` does not release or `send` does not
/// acquire.
#[test]
fn enable_against_send() {
    Model::new("sigqueue::enable_against_send").actors(2).check(|| {
        let fixture = fixture();
        fixture.queue.disable(1).unwrap();
        let theirs = Arc::clone(&fixture);
        let sender = thread::spawn("sender", move || {
            let sent = theirs.queue.send(1, from(0));
            if sent == Sent::Accepted {
                assert_eq!(theirs.payloads[0].get(), 7, "what was set up before");
            }
            sent
        });
        fixture.payloads[0].set(7);
        fixture.queue.enable(1).unwrap();
        let sent = sender.join();
        let taken = fixture.queue.take(1).unwrap().count();
        assert_eq!(sent == Sent::Accepted, taken == 1);
        fixture.assert_idle();
    });
}

/// Claim: after `disable` nothing more is accepted, and what was accepted is received or can be
/// taken: I3, without a count of handlers in flight.
/// Actors: sender, disabler. Exhaustive.
#[test]
fn disable_against_send() {
    Model::new("sigqueue::disable_against_send").actors(2).check(|| {
        let fixture = fixture();
        let sender = sender(&fixture, 0, 1);
        fixture.queue.disable(1).unwrap();
        let taken = fixture.queue.take(1).unwrap().count();
        let sent = sender.join();
        assert_eq!(sent == Sent::Accepted, taken == 1, "accepted and not taken, or the reverse");
        assert!(taken == 1 || sent == Sent::Unwanted);
        fixture.assert_idle();
    });
}

/// Claim: `wait_quiet` returns once the batch of the disabled signal was dropped, sees what the
/// receiver did with it (E5), and is not kept by another signal that stays pending.
/// Actors: receiver, disabler. Exhaustive.
#[test]
fn wait_quiet_after_disable() {
    Model::new("sigqueue::wait_quiet_after_disable").actors(2).check(|| {
        let fixture = fixture();
        assert_eq!(fixture.send(0, 1), Sent::Accepted);
        let theirs = Arc::clone(&fixture);
        let receiver = thread::spawn("receiver", move || {
            let mut receiver = theirs.queue.receiver().unwrap();
            let Event::Signal(batch) = receiver.recv(None, || {}) else { panic!("no signal") };
            theirs.payloads[1].set(8);
            assert_eq!(theirs.queue.send(2, from(1)), Sent::Accepted);
            drop(batch);
        });
        fixture.queue.disable(1).unwrap();
        let quiet = fixture.queue.wait_quiet(1, || {
            sync::relax();
            true
        });
        match quiet.unwrap() {
            Quiet::Quiet => assert_eq!(fixture.payloads[1].get(), 8),
            Quiet::NoReceiver => {}
            Quiet::GaveUp => panic!("pause never gives up"),
        }
        receiver.join();
        assert_eq!(fixture.queue.take(2).unwrap().count(), 1);
        fixture.assert_idle();
    });
}

/// Claim: without a receiver `wait_quiet` says so at once, and the signal can be taken (A4).
#[test]
fn wait_quiet_without_receiver() {
    Model::new("sigqueue::wait_quiet_without_receiver").actors(2).check(|| {
        let fixture = fixture();
        let sender = sender(&fixture, 0, 1);
        fixture.queue.disable(1).unwrap();
        let quiet = fixture.queue.wait_quiet(1, || panic!("it waits for nobody")).unwrap();
        let taken = fixture.queue.take(1).unwrap().count();
        assert_eq!(quiet == Quiet::NoReceiver, taken == 1);
        let _ = sender.join();
        fixture.assert_idle();
    });
}

/// Claim: a receiver whose deadline passes has either timed out or the signal, never neither.
/// Actors: sender, clock, receiver. Fails if giving up drops an announcement.
#[test]
fn timeout_against_send() {
    Model::new("sigqueue::timeout_against_send").actors(3).bound(Bound::At(3)).check_hostile_too(
        || {
            let kernel = Kernel::new();
            let fixture = fixture();
            let deadline = Deadline::after(core::time::Duration::ZERO);
            let sender = sender(&fixture, 0, 1);
            let clock = thread::spawn("clock", move || kernel.expire_deadlines());
            let mut receiver = fixture.queue.receiver().unwrap();
            let first = match receiver.recv(Some(&deadline), || {}) {
                Event::Signal(batch) => batch.count(),
                Event::TimedOut => 0,
                Event::Closed => panic!("nobody closed it"),
            };
            let _ = sender.join();
            clock.join();
            if first == 0 {
                assert_eq!(receive(&mut receiver, 1), [(1, 1)]);
            }
            assert_eq!(fixture.payloads[0].get(), 7);
            drop(receiver);
            fixture.assert_idle();
        },
    );
}

/// Claim: `close` wakes the receiver at any step of its falling asleep; what was accepted before
/// is received first.
/// Actors: closer, receiver. Exhaustive.
#[test]
fn close_wakes_receiver() {
    Model::new("sigqueue::close_wakes_receiver").actors(2).check_hostile_too(|| {
        let fixture = fixture();
        let theirs = Arc::clone(&fixture);
        let receiver = thread::spawn("receiver", move || {
            // Closed before it began: what was accepted can still be taken.
            let Ok(mut receiver) = theirs.queue.receiver() else {
                return theirs.queue.take(1).unwrap().count();
            };
            let mut signals = 0;
            loop {
                match receiver.recv(None, || {}) {
                    Event::Signal(batch) => signals += batch.count(),
                    Event::Closed => {
                        assert_eq!(theirs.payloads[1].get(), 8, "what the closer wrote");
                        return signals;
                    }
                    Event::TimedOut => panic!("there was no deadline"),
                }
            }
        });
        assert_eq!(fixture.send(0, 1), Sent::Accepted);
        fixture.payloads[1].set(8);
        fixture.queue.close();
        assert_eq!(receiver.join(), 1);
        assert!(fixture.queue.receiver().is_err());
        assert!(fixture.queue.borrow().is_err());
        fixture.assert_idle();
    });
}

/// Claim: a handler that runs with its signal masked on the receiving thread is held back and runs
/// when the mask opens: the queue needs nothing from the mask.
/// Actors: kernel, receiver. Exhaustive.
#[test]
fn masked_receiver_is_not_interrupted() {
    Model::new("sigqueue::masked_receiver_is_not_interrupted").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let fixture = fixture();
        handlers_send(kernel, &fixture);
        let theirs = Arc::clone(&fixture);
        let masked = thread::spawn("masked", move || {
            let old = kernel.sigmask(How::Block, SigSet::ALL);
            let before = theirs.queue.next_pending(1);
            assert_eq!(theirs.queue.next_pending(1), before, "a masked signal was sent");
            kernel.sigmask(How::Set, old);
        });
        kernel.tgkill(masked.id(), 1);
        masked.join();
        let taken = fixture.queue.take(1).unwrap().count();
        assert!(taken <= 1);
        fixture.assert_idle();
    });
}

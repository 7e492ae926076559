//! Subscriptions on the simulated process: each signal sent is delivered, counted as dropped, or
//! took the disposition in force, and never two of these.

mod bell;
mod flags;
mod left;

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Weak};

use super::{Bound, Model};
use crate::model::{Disposition, Handler, Kernel as Sim, Outcome, SigSet, thread};
use crate::note::Deadline;
use crate::signal::RecvError;
use crate::signal::hub::{Hub, Kernel};
use crate::signal::mailbox::Key;
use crate::signal::set::SignalSet;
use crate::sigqueue::{Origin, Sent};
use crate::sys::{Errno, Restored};

/// The simulated kernel as the hub's system: its handlers feed the hub, and what the hub does not
/// want is raised again, to meet the disposition in force.
struct System {
    sim: Sim,
    hub: Weak<Hub<System>>,
    previous: RefCell<[Option<Disposition>; 4]>,
}

// SAFETY: the threads of a model are coroutines of one real thread.
unsafe impl Send for System {}
// SAFETY: as above.
unsafe impl Sync for System {}

impl Kernel for System {
    fn install(&self, signal: i32) -> Result<(), Errno> {
        let (sim, hub) = (self.sim, self.hub.clone());
        let handler = Handler::new(move |signal| {
            let hub = hub.upgrade().expect("the hub outlives its handlers");
            match hub.on_signal(signal, Origin::UNKNOWN) {
                Sent::Accepted | Sent::Coalesced | Sent::Noted | Sent::Ignored => {}
                Sent::Unwanted => sim.raise(signal),
            }
        });
        let old = self.sim.sigaction(signal, handler.mask(SigSet::ALL));
        self.previous.borrow_mut()[signal as usize] = Some(old);
        Ok(())
    }
    fn restore(&self, signal: i32) -> Result<Restored, Errno> {
        let old = self.previous.borrow_mut()[signal as usize].take();
        self.sim.sigaction(signal, old.expect("it was installed"));
        Ok(Restored::Previous)
    }
    fn set_default(&self, signal: i32) -> Result<(), Errno> {
        self.sim.sigaction(signal, Disposition::Default);
        Ok(())
    }
    fn set_ignored(&self, signal: i32) -> Result<(), Errno> {
        self.sim.sigaction(signal, Disposition::Ignore);
        Ok(())
    }
}

/// One process with a hub.
#[derive(Clone)]
struct Process {
    sim: Sim,
    hub: Arc<Hub<System>>,
}

/// At most so many signals are sent to it.
fn process(signals: u32) -> Process {
    // A signal that nobody wants any more takes the default action: each model counts that.
    let sim = Sim::new().at_most(signals).may_die();
    let hub = Arc::new_cyclic(|hub| {
        Hub::new(System { sim, hub: hub.clone(), previous: RefCell::default() })
    });
    Process { sim, hub }
}

impl Process {
    fn subscribe(&self, signal: i32) -> Key {
        self.hub.subscribe(SignalSet::new([signal]).unwrap(), 2, None).unwrap().0
    }

    /// A thread on which the signal lands while others work.
    fn raiser(&self, signal: i32) -> thread::JoinHandle<()> {
        let sim = self.sim;
        thread::spawn("raiser", move || sim.raise(signal))
    }

    fn stop(&self, key: Key) {
        let patience = Deadline::after(core::time::Duration::ZERO);
        let stopped = self.hub.stop(key, &patience).unwrap();
        assert_eq!(stopped, Default::default());
    }

    fn in_mailbox(&self, key: Key) -> u64 {
        self.hub.locked(|table, _| table.mailboxes.get(key).unwrap().items.len() as u64)
    }

    /// Delivered to the subscription, received or not.
    fn delivered(&self, key: Key) -> u64 {
        self.in_mailbox(key)
    }

    fn died(&self) -> u64 {
        u64::from(self.sim.outcome() != Outcome::Running)
    }

    fn assert_idle(&self) {
        assert_eq!(self.hub.queue.next_pending(1), None, "a signal was left in the queue");
        self.hub.queue.assert_no_record_in_use();
    }
}

/// Claim: guarantee 2 for one Stop and one signal, with no receiver running: what was accepted is
/// in the mailbox when Stop returns, a later one takes the default action. Never neither.
/// Actors: raiser with its handler, stopper. Exhaustive. Fails if Stop takes what is pending before
/// the queue is told, or a late handler drops what it finds unwanted.
#[test]
fn stop_against_send() {
    Model::new("stop::stop_against_send").actors(2).check(|| {
        let process = process(1);
        let key = process.subscribe(1);
        let raiser = process.raiser(1);
        process.stop(key);
        let at_return = process.delivered(key);
        raiser.join();
        assert_eq!(process.delivered(key), at_return, "delivered after Stop returned");
        assert_eq!(at_return + process.died(), 1, "delivered or defaulted, once");
        process.assert_idle();
    });
}

/// Claim: the same with the signal landing on the stopping thread, at any step of Stop.
/// Actors: kernel, stopper with a nested handler. Exhaustive.
#[test]
fn stop_interrupted_by_send() {
    Model::new("stop::stop_interrupted_by_send").actors(2).check(|| {
        let process = process(1);
        let key = process.subscribe(1);
        let theirs = process.clone();
        let stopper = thread::spawn("stopper", move || theirs.stop(key));
        process.sim.tgkill(stopper.id(), 1);
        stopper.join();
        let (delivered, died) = (process.delivered(key), process.died());
        assert!(delivered + died <= 1, "delivered and defaulted");
        process.assert_idle();
    });
}

/// Claim: of two concurrent Stops of one subscription neither returns while the other may still
/// deliver (A13).
/// Actors: raiser, two stoppers. Fails if the second Stop finds nothing to do and returns early.
#[test]
fn stop_stop() {
    Model::new("stop::stop_stop").actors(3).bound(Bound::At(3)).check(|| {
        let process = process(1);
        let key = process.subscribe(1);
        let raiser = process.raiser(1);
        let theirs = process.clone();
        let other = thread::spawn("other stopper", move || {
            theirs.stop(key);
            theirs.delivered(key)
        });
        process.stop(key);
        let mine = process.delivered(key);
        let theirs = other.join();
        raiser.join();
        assert_eq!([mine, theirs], [process.delivered(key); 2], "delivered after a Stop returned");
        assert_eq!(mine + process.died(), 1, "delivered or defaulted, once");
        process.assert_idle();
    });
}

/// Claim: a subscription made while the last other one stops: the signal reaches one of the two,
/// or both where they overlap, each once, or was defaulted in between (A14).
/// Actors: raiser, subscriber, stopper. Fails if the new subscriber is struck with the old one.
#[test]
fn notify_against_stop() {
    Model::new("stop::notify_against_stop").actors(3).bound(Bound::At(3)).check(|| {
        let process = process(1);
        let old = process.subscribe(1);
        let raiser = process.raiser(1);
        let theirs = process.clone();
        let subscriber = thread::spawn("subscriber", move || theirs.subscribe(1));
        process.stop(old);
        let new = subscriber.join();
        raiser.join();
        process.hub.deliver_all(None);
        let delivered = [process.delivered(old), process.delivered(new)];
        assert!(delivered.iter().all(|times| *times <= 1), "delivered twice to one subscriber");
        let reached = delivered.iter().sum::<u64>().min(1);
        assert_eq!(reached + process.died(), 1, "delivered or defaulted: {delivered:?}");
        process.assert_idle();
    });
}

/// Claim: a signal that is subscribed to or ignored at every moment never takes its default
/// action, however subscribe and ignore meet (A11, A12).
/// Actors: raiser, subscriber, ignorer. Fails if the queue is told in two steps.
#[test]
fn notify_against_ignore() {
    Model::new("stop::notify_against_ignore").actors(3).bound(Bound::At(3)).check(|| {
        let process = process(1);
        let old = process.subscribe(1);
        let raiser = process.raiser(1);
        let theirs = process.clone();
        let subscriber = thread::spawn("subscriber", move || theirs.subscribe(1));
        process.hub.set_disposition(1, true).unwrap();
        let at_return = process.delivered(old);
        let new = subscriber.join();
        raiser.join();
        process.hub.deliver_all(None);
        assert_eq!(process.died(), 0, "it was subscribed to or ignored at every moment");
        assert_eq!(process.delivered(old), at_return, "delivered after Ignore returned");
        assert!(process.delivered(new) <= 1);
        process.assert_idle();
    });
}

/// Claim: guarantee 2 for Reset (A15).
/// Actors: raiser, resetter. Exhaustive.
#[test]
fn reset_against_send() {
    Model::new("stop::reset_against_send").actors(2).check(|| {
        let process = process(1);
        let key = process.subscribe(1);
        let raiser = process.raiser(1);
        process.hub.set_disposition(1, false).unwrap();
        let at_return = process.delivered(key);
        raiser.join();
        assert_eq!(process.delivered(key), at_return, "delivered after Reset returned");
        assert_eq!(at_return + process.died(), 1, "delivered or defaulted, once");
        process.assert_idle();
    });
}

/// Claim: guarantee 2 for Ignore: delivered or ignored, and never defaulted.
/// Actors: raiser, ignorer. Exhaustive. Fails if WANTED goes before IGNORED comes.
#[test]
fn ignore_against_send() {
    Model::new("stop::ignore_against_send").actors(2).check(|| {
        let process = process(1);
        let key = process.subscribe(1);
        let raiser = process.raiser(1);
        process.hub.set_disposition(1, true).unwrap();
        let at_return = process.delivered(key);
        raiser.join();
        assert_eq!(process.delivered(key), at_return, "delivered after Ignore returned");
        assert!(at_return <= 1);
        assert_eq!(process.died(), 0, "it was subscribed to or ignored at every moment");
        process.assert_idle();
    });
}

/// Claim: without a receiver Stop returns at once, with what was pending in the mailbox (A4).
/// Actors: stopper, and another subscriber that comes. Fails, as a deadlock, if Stop waits.
#[test]
fn stop_without_receiver() {
    Model::new("stop::stop_without_receiver").actors(2).check(|| {
        let process = process(1);
        let key = process.subscribe(1);
        process.sim.raise(1);
        let theirs = process.clone();
        let other = thread::spawn("other", move || theirs.subscribe(2));
        process.stop(key);
        assert_eq!(process.delivered(key), 1);
        let other = other.join();
        process.stop(other);
        process.assert_idle();
    });
}

/// Claim: Stop of one signal ends while another keeps arriving and its receiver keeps delivering;
/// the other's signals are not touched (A16).
/// Actors: storm on signal 2 with its handler, receiver, stopper of signal 1. Fails, as no
/// progress, if Stop waits for the queue to be idle.
#[test]
fn stop_under_storm() {
    Model::new("stop::stop_under_storm").actors(3).apart().bound(Bound::At(3)).check(|| {
        let process = process(3);
        let key = process.subscribe(1);
        let other = process.subscribe(2);
        let sim = process.sim;
        process.sim.raise(1);
        let storm = thread::spawn("storm", move || {
            sim.raise(2);
            sim.raise(2);
        });
        let theirs = process.clone();
        let receiver = thread::spawn("receiver", move || theirs.hub.deliver_all(None));
        process.stop(key);
        assert_eq!(process.delivered(key), 1);
        storm.join();
        receiver.join();
        process.hub.deliver_all(None);
        let counts = process.hub.counts(2);
        assert_eq!(counts.received + counts.coalesced, 2, "the storm's signals");
        assert_eq!(process.delivered(other), counts.received);
        process.assert_idle();
    });
}

/// Claim: what a full subscriber has no room for is counted, and holds nobody up.
/// Actors: raiser of three, deliverer. Exhaustive.
#[test]
fn full_subscriber_counts() {
    Model::new("stop::full_subscriber_counts").actors(2).check(|| {
        let process = process(3);
        let small = process.hub.subscribe(SignalSet::new([1]).unwrap(), 1, None).unwrap().0;
        let theirs = process.clone();
        let raiser = thread::spawn("raiser", move || {
            for _ in 0..2 {
                theirs.sim.raise(1);
            }
        });
        process.hub.deliver_all(None);
        raiser.join();
        process.hub.deliver_all(None);
        let counts = process.hub.counts(1);
        assert_eq!(counts.received + counts.coalesced, 2);
        assert_eq!(process.in_mailbox(small), 1);
        assert_eq!(counts.dropped, counts.received - 1, "received, and neither kept nor counted");
        let dropped = process.hub.locked(|table, _| table.mailboxes.get(small).unwrap().dropped);
        assert_eq!(dropped, counts.dropped);
        process.assert_idle();
    });
}

/// Claim: after Stop the mailbox can be thrown away: nobody fills it, and the other subscriber of
/// the signal still gets it, once.
/// Actors: raiser, receiver, stopper. Fails if a delivery is made to a subscriber that was struck.
#[test]
fn close_after_stop() {
    Model::new("stop::close_after_stop").actors(3).bound(Bound::At(3)).check(|| {
        let process = process(1);
        let (closing, staying) = (process.subscribe(1), process.subscribe(1));
        let raiser = process.raiser(1);
        let theirs = process.clone();
        let receiver = thread::spawn("receiver", move || theirs.hub.deliver_all(None));
        process.stop(closing);
        process.hub.forget(closing);
        raiser.join();
        receiver.join();
        process.hub.deliver_all(None);
        assert_eq!(process.delivered(staying), 1, "the other subscriber");
        assert_eq!(process.died(), 0);
        process.assert_idle();
    });
}

/// Claim: a thread that blocks in `recv` takes the receiver's part and is woken by the signal
/// wherever it lands, itself included.
/// Actors: kernel, subscriber with a nested handler. Exhaustive.
#[test]
fn recv_against_send() {
    Model::new("stop::recv_against_send").actors(2).check_hostile_too(|| {
        let process = process(1);
        let key = process.subscribe(1);
        let raiser = process.raiser(1);
        assert_eq!(process.hub.recv(key, None).map(|delivery| delivery.signal), Ok(1));
        raiser.join();
        process.assert_idle();
    });
}

/// Claim: a blocked `recv` returns when its subscription is stopped from elsewhere.
/// Actors: subscriber, stopper. Exhaustive. Fails, as a deadlock, if Stop does not wake it.
#[test]
fn recv_against_stop() {
    Model::new("stop::recv_against_stop").actors(2).apart().check(|| {
        let process = process(0);
        let key = process.subscribe(1);
        let theirs = process.clone();
        let stopper = thread::spawn("stopper", move || theirs.stop(key));
        assert_eq!(process.hub.recv(key, None), Err(RecvError::Stopped));
        stopper.join();
        process.assert_idle();
    });
}

/// Claim: of two blocked subscribers one has the part, and both get the signal.
/// Actors: two subscribers, raiser. Fails, as a deadlock, if the one that leads keeps what is the
/// other's. That the part is passed on: `left::follower_takes_the_part`.
#[test]
fn two_blocked_subscribers() {
    Model::new("stop::two_blocked_subscribers").actors(3).bound(Bound::At(3)).check(|| {
        let process = process(1);
        let keys = [process.subscribe(1), process.subscribe(1)];
        let raiser = process.raiser(1);
        let theirs = process.clone();
        let other = thread::spawn("other", move || theirs.hub.recv(keys[1], None).unwrap().signal);
        assert_eq!(process.hub.recv(keys[0], None).map(|delivery| delivery.signal), Ok(1));
        assert_eq!(other.join(), 1);
        raiser.join();
        process.assert_idle();
    });
}

/// Claim: a sink is called once for each signal, by the receiver or by the one that stops it, and
/// not after Stop returned.
/// Actors: raiser, receiver, stopper. Fails if Stop returns while the receiver is calling.
#[test]
fn sink_against_stop() {
    Model::new("stop::sink_against_stop").actors(3).bound(Bound::At(3)).check_hostile_too(|| {
        let process = process(1);
        let called = Arc::new(Mutex::new(0));
        let calls = Arc::clone(&called);
        let sink = Box::new(move |_: &_| *calls.lock().unwrap() += 1);
        let key = process.hub.subscribe(SignalSet::new([1]).unwrap(), 2, Some(sink)).unwrap().0;
        let raiser = process.raiser(1);
        let theirs = process.clone();
        let receiver = thread::spawn("receiver", move || {
            theirs.hub.deliver_all(None);
            theirs.hub.run_sinks();
        });
        process.stop(key);
        let at_return = *called.lock().unwrap();
        raiser.join();
        receiver.join();
        assert_eq!(*called.lock().unwrap(), at_return, "called after Stop returned");
        assert_eq!(at_return + process.died(), 1, "called or defaulted, once");
        process.assert_idle();
    });
}

/// Claim: a sink that comes while a subscriber leads gets the receiver to itself: the one that
/// leads gives the part back, and the receiver's thread calls the sink.
/// Actors: receiver, subscriber that leads, the one that brings the sink and raises. Fails, as a
/// deadlock, if the one that leads is not told.
#[test]
fn sink_against_leader() {
    Model::new("stop::sink_against_leader").actors(3).apart().bound(Bound::At(3)).check(|| {
        let process = process(1);
        let key = process.subscribe(2);
        let theirs = process.clone();
        let receiver = thread::spawn("receiver", move || {
            // Shut down before it began, it has nothing to do.
            let _ = theirs.hub.run_receiver();
        });
        let theirs = process.clone();
        let subscriber =
            thread::spawn("subscriber", move || theirs.hub.recv(key, None).unwrap_err());
        let hub = Arc::downgrade(&process.hub);
        let sink = Box::new(move |_: &_| hub.upgrade().unwrap().shut_down());
        process.hub.subscribe(SignalSet::new([1]).unwrap(), 1, Some(sink)).unwrap();
        process.sim.raise(1);
        let end = subscriber.join();
        assert!(matches!(end, RecvError::ShutDown | RecvError::Stopped));
        receiver.join();
        process.assert_idle();
    });
}

//! What is left to others: subscriptions that nobody could take off, deliveries.

use std::sync::{Arc, Mutex};

use super::super::{Bound, Model};
use super::process;
use crate::model::thread;
use crate::signal::set::SignalSet;

/// Claim: a subscription that is left to whoever has the lock is given up by the next to give that up, however it
/// meets one that gives it up at the same time.
/// Actors: one that leaves it, one that has the lock. Exhaustive. With the two marks set the other way round, or the
/// sweep's exchange or the second mark relaxed, it fails as one that is left for ever.
#[test]
fn abandoned_is_given_up() {
    Model::new("stop::abandoned_is_given_up").actors(2).check(|| {
        let process = process(0);
        let signals = SignalSet::new([1]).unwrap();
        let (key, mark) = process.hub.subscribe(signals, 2, None).unwrap();
        let theirs = process.clone();
        let other = thread::spawn("other", move || theirs.hub.locked(|_, _| ()));
        process.hub.abandon(&mark);
        other.join();
        process.hub.locked(|_, _| ());
        let listed = process.hub.locked(|table, _| table.mailboxes.get(key).is_some());
        assert!(!listed, "left for ever");
        process.assert_idle();
    });
}

/// Claim: a sink that has more to do after a call is called again, whoever calls it, and in its turn.
/// Actors: receiver, two raisers. Bound 3. If it is not put back after a call it fails as one that is not called
/// for all.
#[test]
fn sink_has_more() {
    Model::new("stop::sink_has_more").actors(3).bound(Bound::At(3)).check(|| {
        let process = process(1);
        let called = Arc::new(Mutex::new(0));
        let calls = Arc::clone(&called);
        let sink = Box::new(move |_: &_| *calls.lock().unwrap() += 1);
        let signals = SignalSet::new([1, 2]).unwrap();
        process.hub.subscribe(signals, 2, Some(sink)).unwrap();
        let raisers = [1, 2].map(|signal| process.raiser(signal));
        let run = || {
            process.hub.deliver_all(None);
            process.hub.run_sinks();
        };
        run();
        raisers.into_iter().for_each(thread::JoinHandle::join);
        run();
        assert_eq!(*called.lock().unwrap(), 2, "not called for all");
        process.assert_idle();
    });
}

/// Claim: who gives the part of receiver back hands it to one that waits, or that one takes it: what comes then is
/// received.
/// Actors: one that receives and goes, one that waits. Bound 3. Fails as a deadlock if the one that goes wakes
/// nobody, or if the other does not look once more as it is noted as waiting.
#[test]
fn follower_takes_the_part() {
    Model::new("stop::follower_takes_the_part").actors(2).bound(Bound::At(3)).check(|| {
        let process = process(2);
        let keys = [1, 2].map(|signal| process.subscribe(signal));
        let theirs = process.clone();
        let other = thread::spawn("other", move || theirs.hub.recv(keys[1], None).unwrap().signal);
        process.sim.raise(1);
        assert_eq!(process.hub.recv(keys[0], None).map(|delivery| delivery.signal), Ok(1));
        process.sim.raise(2);
        assert_eq!(other.join(), 2);
        process.assert_idle();
    });
}

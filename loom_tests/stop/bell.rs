//! Subscriptions that an event loop polls: what comes rings, and nothing is left behind a bell that is silent.

use std::sync::Arc;

use super::super::{Bound, Control, Model};
use super::process;
use crate::model::thread;
use crate::signal::RecvError;
use crate::sync::relax;
use crate::sys::Bell;

/// poll(2) on it.
fn poll(bell: &Bell) {
    while !bell.is_rung() {
        relax();
    }
}

/// Two signals for an event loop that receives them as its bell rings: until nothing is left, or one each time it
/// rings. It silences the bell before its last look, as shipped, or after.
fn event_loop(until_none: bool, shipped: bool) {
    let process = process(2);
    let key = process.subscribe(1);
    let bell = Arc::new(Bell::new());
    process.hub.set_bell(key, Arc::clone(&bell));
    let theirs = process.clone();
    let receiver = thread::spawn("receiver", move || {
        for _ in 0..2 {
            theirs.sim.raise(1);
            theirs.hub.deliver_all(None);
        }
    });
    let mut got = 0;
    while got < 2 {
        poll(&bell);
        loop {
            let done = if shipped {
                process.hub.try_recv(key)
            } else {
                let done = process.hub.pop_or(key, crate::signal::mailbox::Waiting::No);
                if done.is_none() {
                    bell.clear();
                }
                done
            };
            let Some(done) = done else { break };
            got += 1 + done.unwrap().coalesced;
            if !until_none {
                break;
            }
        }
    }
    receiver.join();
    process.assert_idle();
}

/// Claim: an event loop that receives until nothing is left gets each signal, whenever it comes.
/// Actors: receiver that raises and delivers, the loop. Bound 3. Fails as no progress if the bell is silenced after
/// the last look (`bell_is_silenced_late`), or is not rung for a mailbox that was empty.
#[test]
fn bell_rings() {
    Model::new("stop::bell_rings").actors(2).bound(Bound::At(3)).check(|| event_loop(true, true));
}

/// Claim: so does one that receives one at a time, as level-triggered loops may.
/// Actors: as `bell_rings`. Bound 3. Fails as no progress if the bell is not rung again after a look that found
/// something behind a silenced bell.
#[test]
fn bell_rings_on() {
    Model::new("stop::bell_rings_on")
        .actors(2)
        .bound(Bound::At(3))
        .check(|| event_loop(false, true));
}

/// Claim: one whose subscription is stopped is told.
/// Actors: stopper, the loop. Exhaustive.
#[test]
fn bell_rings_for_the_end() {
    Model::new("stop::bell_rings_for_the_end").actors(2).check(|| {
        let process = process(0);
        let key = process.subscribe(1);
        let bell = Arc::new(Bell::new());
        process.hub.set_bell(key, Arc::clone(&bell));
        let theirs = process.clone();
        let stopper = thread::spawn("stopper", move || theirs.stop(key));
        loop {
            match process.hub.try_recv(key) {
                None => poll(&bell),
                done => break assert_eq!(done, Some(Err(RecvError::Stopped))),
            }
        }
        stopper.join();
        assert!(bell.is_rung(), "it stays so");
    });
}

/// The loop finds nothing, and silences the bell then: that was rung in between for what has come.
/// Passes: `stop::bell_rings`.
#[test]
fn bell_is_silenced_late() {
    Control::new("stop::bell_is_silenced_late", "no progress")
        .actors(2)
        .bound(Bound::At(3))
        .shows("swap 0 AcqRel -> 1")
        .check(|| event_loop(true, false));
}

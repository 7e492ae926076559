//! Requests to be preempted: none sticks, none is sent twice.

use std::cell::Cell;
use std::rc::Rc;

use super::super::{Bound, Model};
use super::host::{Failing, Way, World};
use crate::model::{How, Kernel, SigSet, sig, thread};
use crate::preempt::{Fenced, SuspendError};
use crate::sync::Ordering::Relaxed;

/// Claim: a request is acknowledged by the time its thread has ended, wherever it was met: inside,
/// outside, on the way, or not at all as it could not be sent; and then what the thread did before
/// is seen.
/// Actors: the thread, its handler, one that asks. Bound 4. Fails, as a request for ever under way, if
/// any way out of the handler, of an attempt or of the thread does not acknowledge.
#[test]
fn request_always_acknowledged() {
    for failing in [None, Some(Failing::Interrupt)] {
        let name = format!("preempt::request_always_acknowledged: fails {}", failing.is_some());
        Model::new(name).actors(3).bound(Bound::At(4)).check(move || {
            let world = World::new(Kernel::new().at_most(2).prompt(), Way::Signal, Fenced);
            world.backend().failing.set(failing);
            let mut member = world.register(0);
            let (theirs, target) = (world.clone(), member.thread());
            let asked = Rc::new(Cell::new(None));
            let told = Rc::clone(&asked);
            let asks = thread::spawn("asks", move || match theirs.gates().request(target) {
                Ok(request) => told.set(Some(request)),
                Err(SuspendError::External | SuspendError::Gone) => {}
                Err(SuspendError::Refused(_)) => {
                    // The next one is not taken to be under way.
                    let sent = theirs.backend().sent.get();
                    if theirs.gates().request(target).is_ok() {
                        assert_eq!(theirs.backend().sent.get(), sent + 1, "not sent");
                    }
                }
                Err(other) => panic!("{other:?}"),
            });
            world.work(0);
            let external = member.external();
            world.call_out(0);
            drop(external);
            drop(member);
            asks.join();
            let request = asked.take();
            assert!(request.is_none_or(|request| request.is_acknowledged()), "under way for ever");
            world.backend().failing.set(None);
            // The next thread's starts with nothing under way.
            let member = world.register(0);
            let (theirs, target) = (world.clone(), member.thread());
            let again = thread::spawn("again", move || {
                theirs.gates().request(target).unwrap();
                theirs.backend().sent.get()
            });
            let before = world.backend().sent.get();
            assert_eq!(again.join(), before + 1, "not sent");
        });
    }
}

/// Claim: a request that is met outside is acknowledged there, and the next one is sent.
/// Actors: the thread, its handler, one that asks. Bound 4, prompt. Fails if the handler acknowledges
/// inside only.
#[test]
fn request_met_outside() {
    Model::new("preempt::request_met_outside").actors(3).bound(Bound::At(4)).check(|| {
        let world = World::new(Kernel::new().at_most(2).prompt(), Way::Signal, Fenced);
        let mut member = world.register(0);
        let (theirs, target) = (world.clone(), member.thread());
        let asks = thread::spawn("asks", move || theirs.gates().request(target).ok());
        let external = member.external();
        let request = asks.join();
        // A place for the signal to land at.
        world.call_out(0);
        let handled = world.statics().shown[0].handled.get() > 0;
        let acknowledged = request.is_none_or(|request| request.is_acknowledged());
        assert!(acknowledged || !handled, "still under way");
        drop(external);
    });
}

/// Claim: what was done before a request is seen by the thread that it preempts, and what the thread
/// did by who finds it acknowledged.
/// Actors: the thread, its handler, one that asks. Exhaustive, prompt. Fails, as an unordered access,
/// if either counter passes nothing on.
#[test]
fn request_publishes() {
    Model::new("preempt::request_publishes").actors(2).check(|| {
        let world = World::new(Kernel::new().at_most(1).prompt(), Way::Signal, Fenced);
        let kernel = Kernel::current();
        kernel.sigmask(How::Block, SigSet::of(&[sig::USR1]));
        let member = world.register(0);
        let (theirs, target) = (world.clone(), member.thread());
        let asks = thread::spawn("asks", move || {
            theirs.statics().shown[1].heap.set(7);
            let request = theirs.gates().request(target).unwrap();
            if request.is_acknowledged() {
                assert_eq!(theirs.statics().shown[0].heap.get(), 1);
            }
        });
        world.work(0);
        kernel.sigmask(How::Unblock, SigSet::of(&[sig::USR1]));
        let shown = &world.statics().shown;
        if shown[0].preempted.get() > 0 {
            assert_eq!(shown[1].heap.get(), 7);
        }
        asks.join();
        drop(member);
    });
}

/// Claim: however many ask, one signal is under way at a time (golang/go#37741).
/// Actors: the thread, its handler, two that ask. Bound 2, prompt. Fails if each sends his own.
#[test]
fn one_signal_for_all() {
    Model::new("preempt::one_signal_for_all").actors(4).bound(Bound::At(2)).check(|| {
        let kernel = Kernel::new().at_most(2).prompt();
        let world = World::new(kernel, Way::Signal, Fenced);
        let member = world.register(0);
        // So that none is handled meanwhile.
        kernel.sigmask(How::Block, SigSet::of(&[sig::USR1]));
        let target = member.thread();
        let both = ["first", "second"].map(|name| {
            let theirs = world.clone();
            thread::spawn(name, move || theirs.gates().request(target).unwrap().generation())
        });
        let generations = both.map(thread::JoinHandle::join);
        assert_eq!((generations, world.backend().sent.get()), ([1, 1], 1));
        // Masked, it is under way; whoever waits for it does so by his own choice.
        kernel.sigmask(How::Unblock, SigSet::of(&[sig::USR1]));
        world.work(0);
        assert_eq!(world.statics().shown[0].preempted.get(), 1);
        drop(member);
    });
}

/// Claim: whoever is told that a request is under way, and finds it acknowledged, was met: what he wanted was
/// seen by a preemption.
/// Actors: the thread, its handler, two that ask. Bound 2, prompt. Fails, as a want that nobody has seen, if who
/// joins a request has published nothing to the handler that acknowledges it
/// (`historical::request_joined_by_a_look`).
#[test]
fn joined_request_is_met() {
    Model::new("preempt::joined_request_is_met").actors(4).bound(Bound::At(2)).check(|| {
        let kernel = Kernel::new().at_most(2).prompt();
        let world = World::new(kernel, Way::Signal, Fenced);
        let member = world.register(0);
        let target = member.thread();
        let asks = [0, 1].map(|at| {
            let theirs = world.clone();
            thread::spawn("asks", move || {
                theirs.statics().wanted[at].store(1, Relaxed);
                let request = theirs.gates().request(target).unwrap();
                request.is_acknowledged()
            })
        });
        world.work(0);
        world.work(0);
        let acknowledged = asks.map(thread::JoinHandle::join);
        for (at, acknowledged) in acknowledged.into_iter().enumerate() {
            let seen = world.statics().seen[at].get();
            assert!(seen || !acknowledged, "acknowledged, and nobody has seen what was wanted");
        }
        drop(member);
    });
}

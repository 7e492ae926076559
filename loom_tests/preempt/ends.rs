//! Threads that end with their registration forgotten, where the system gives their names out again.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::super::{Bound, Control, Model};
use super::both_ways;
use super::host::{Ends, Failing, Thread, Way, World};
use crate::model::thread::JoinHandle;
use crate::model::{Kernel, thread};
use crate::note::{Note, Park};
use crate::preempt::{Fenced, RegisterError, SuspendError};

/// A thread that is registered, forgets that it is, and ends.
fn forgetful(world: &World<Fenced>) -> (JoinHandle<()>, Thread<Fenced>) {
    let (target, registered) = (Rc::new(Cell::new(None)), Arc::new(Note::new()));
    let (theirs, told, note) = (world.clone(), Rc::clone(&target), Arc::clone(&registered));
    let handle = thread::spawn("forgetful", move || {
        let member = theirs.register(0);
        told.set(Some(member.thread()));
        note.wake();
        theirs.work(0);
        core::mem::forget(member);
    });
    registered.sleep(None);
    (handle, target.get().expect("it is registered"))
}

fn suspended_at_its_end(way: Way, ends: Ends) {
    let world = World::new(Kernel::new().at_most(2).prompt(), way, Fenced);
    world.backend().ends.set(ends);
    let (ending, target) = forgetful(&world);
    let attempt = world.suspend(0, target);
    let known = [Ok(()), Err(SuspendError::Gone), Err(SuspendError::External)];
    assert!(known.contains(&attempt), "{attempt:?}");
    ending.join();
    assert_eq!(world.suspend(0, target), Err(SuspendError::Gone));
    assert_eq!(world.gates().request(target).unwrap_err(), SuspendError::Gone);
    assert_eq!(world.backend().refused.get(), 0, "asked for a thread that had ended");
    world.assert_open(0);
    assert_eq!(world.gates().register(world.gate(0)).unwrap_err(), RegisterError::GateInUse);
}

/// Claim: a thread that ends with its registration forgotten is suspended before or not at all, and is
/// gone afterwards; the system is never asked for whom it gives the name to (I7).
/// Actors: one that suspends, a thread, its handler. Bound 4, prompt. Fails if the handle is not marked,
/// or is marked without the claim.
#[test]
fn forgotten_thread_is_gone() {
    both_ways("forgotten_thread_is_gone", 3, Some(4), |way| {
        suspended_at_its_end(way, Ends::Marked);
    });
}

/// Claim: a request to a thread that ends with its registration forgotten is acknowledged by then.
/// Actors: one that asks, a thread, its handler. Bound 4, prompt. Fails, as one for ever under way, if the
/// end does not acknowledge.
#[test]
fn forgotten_thread_acknowledges() {
    both_ways("forgotten_thread_acknowledges", 3, Some(4), |way| {
        let world = World::new(Kernel::new().at_most(2).prompt(), way, Fenced);
        world.backend().ends.set(Ends::Marked);
        let (ending, target) = forgetful(&world);
        let request = world.gates().request(target);
        ending.join();
        match request {
            Ok(request) => assert!(request.is_acknowledged(), "under way for ever"),
            Err(error) => {
                let known = [SuspendError::Gone, SuspendError::External];
                assert!(known.contains(&error), "{error:?}");
            }
        }
    });
}

/// The handle is as it was when the thread ends. Passes: `preempt::forgotten_thread_is_gone`.
#[test]
fn forgotten_thread_without_mark() {
    Control::new("preempt::forgotten_thread_without_mark", "the wrong thread")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| suspended_at_its_end(Way::Signal, Ends::Unmarked));
}

/// It is marked whoever has it claimed, and may have looked already.
/// Passes: `preempt::forgotten_thread_is_gone`.
#[test]
fn forgotten_thread_marked_without_claim() {
    Control::new("preempt::forgotten_thread_marked_without_claim", "the wrong thread")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| suspended_at_its_end(Way::Signal, Ends::Unclaimed));
}

/// Claim: a request to a thread whose registration is dropped is acknowledged by then, be its signal still on its
/// way: the handler that it comes to finds no gate.
/// Actors: one that asks, a thread, its handler. Bound 3. Without the acknowledgement of who unregisters it fails as
/// one for ever under way.
#[test]
fn unregistered_acknowledges() {
    Model::new("preempt::unregistered_acknowledges")
        .actors(3)
        .bound(Bound::At(3))
        .check_hostile_too(|| {
            let world = World::new(Kernel::new().at_most(1), Way::Signal, Fenced);
            let (target, registered) = (Rc::new(Cell::new(None)), Arc::new(Note::new()));
            let (theirs, told, note) = (world.clone(), Rc::clone(&target), Arc::clone(&registered));
            let leaves = thread::spawn("leaves", move || {
                let member = theirs.register(0);
                told.set(Some(member.thread()));
                note.wake();
                drop(member);
            });
            registered.sleep(None);
            let request = world.gates().request(target.get().expect("it is registered"));
            leaves.join();
            match request {
                Ok(request) => assert!(request.is_acknowledged(), "under way for ever"),
                Err(error) => {
                    let known = [SuspendError::Gone, SuspendError::External];
                    assert!(known.contains(&error), "{error:?}");
                }
            }
        });
}

/// Claim: a registration that the system refuses leaves the gate as it was.
/// Actors: a thread that is refused, one that wants to suspend the last thread there. Exhaustive. If the claim is kept
/// it fails as a gate that is closed.
#[test]
fn refused_registration_leaves_gate_open() {
    Model::new("preempt::refused_registration_leaves_gate_open").actors(2).check(|| {
        let world = World::new(Kernel::new().at_most(0), Way::System, Fenced);
        let last = world.register(0).thread();
        world.backend().failing.set(Some(Failing::Open));
        let theirs = world.clone();
        let suspender = thread::spawn("suspender", move || {
            let attempt = theirs.suspend(0, last);
            assert!(matches!(attempt, Err(SuspendError::Gone | SuspendError::Busy)), "{attempt:?}");
        });
        let refused = world.gates().register(world.gate(0)).map(drop);
        assert!(matches!(refused, Err(RegisterError::System(_))), "{refused:?}");
        suspender.join();
        world.assert_open(0);
        drop(world.register(0));
    });
}

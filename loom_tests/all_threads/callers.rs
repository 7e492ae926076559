//! Several callers, callers in handlers, and forks.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::super::{Bound, Model};
use super::beside;
use super::host::World;
use crate::all_threads::CallError;
use crate::model::{Handler, How, Kernel, Outcome, SigSet, sig, thread};
use crate::note::{Note, Park};

/// Claim: of two threads that call each runs the other's operation, and both calls end (I5).
/// Actors: two callers, their handlers. Bound 2, prompt. Fails, as a deadlock, if one that waits for the
/// other does not run what he is asked.
#[test]
fn two_callers() {
    Model::new("all_threads::two_callers").actors(4).bound(Bound::At(2)).check(|| {
        let world = World::new(Kernel::new().at_most(2).prompt());
        let own = world.join(0);
        let other = beside(&world, |world, _| world.call(1).others);
        let report = world.call(0);
        let theirs = other.join();
        drop(own);
        assert!(report.others <= 1 && theirs <= 1);
        // Its own and the other's, if it was there.
        assert_eq!(world.kept(0), 1 + theirs);
        assert_eq!(world.kept(1), 1 + report.others);
    });
}

/// Claim: the same if one of them has all signals masked: he looks by himself.
/// Actors: two callers. Bound 3, prompt. Fails, as a deadlock, if who waits for the turn is not told that he is
/// asked.
#[test]
fn masked_caller_is_asked() {
    Model::new("all_threads::masked_caller_is_asked").actors(2).apart().bound(Bound::At(3)).check(
        || {
            let kernel = Kernel::new().at_most(1).prompt();
            let world = World::new(kernel);
            kernel.sigmask(How::Block, SigSet::ALL);
            let own = world.join(0);
            let other = beside(&world, |world, _| world.call(1).others);
            let report = world.call(0);
            // All that it still has to run it runs as it leaves.
            drop(own);
            let theirs = other.join();
            assert_eq!(world.kept(0), 1 + theirs);
            assert_eq!(world.kept(1), 1 + report.others);
        },
    );
}

/// Two that wait for the turn with all signals masked, while the one that has it calls.
fn two_masked_wait(kernel: Kernel) {
    let world = World::new(kernel);
    kernel.sigmask(How::Block, SigSet::ALL);
    let go = Arc::new([Note::new(), Note::new()]);
    let others = [1, 2].map(|seat| {
        let (there, go) = (Arc::new(Note::new()), Arc::clone(&go));
        let note = Arc::clone(&there);
        let other = world.thread("other", seat, move |world, _| {
            note.wake();
            go[seat - 1].sleep(None);
            let _ = world.call_of(|| Ok(0));
        });
        there.sleep(None);
        other
    });
    let _ = world.call_of(|| {
        if thread::current() == thread::main() {
            // The turn is taken; the others come to wait for it.
            go.iter().for_each(Park::wake);
            (0..4).for_each(|_| world.step());
        }
        Ok(0)
    });
    others.into_iter().for_each(thread::JoinHandle::join);
}

/// Claim: of two that wait for the turn with all signals masked, both are told that they are asked.
/// Actors: three callers. Bound 1, prompt. Fails, as a deadlock, if who is woken does not pass it on.
#[test]
fn masked_callers_tell_each_other() {
    Model::new("all_threads::masked_callers_tell_each_other")
        .actors(3)
        .apart()
        .bound(Bound::At(1))
        .check(|| two_masked_wait(Kernel::new().at_most(1).prompt()));
}

/// Claim: the same where a wake-up tells nothing but that there was one.
/// Actors: three callers. Bound 0, prompt. Fails, as a deadlock, if who is woken looks by a load whether it was
/// (`historical::passed_on_by_a_look`).
#[test]
fn masked_callers_are_told_nothing() {
    Model::new("all_threads::masked_callers_are_told_nothing")
        .actors(3)
        .apart()
        .bound(Bound::At(0))
        .check_hostile_too(|| {
            two_masked_wait(Kernel::new().at_most(1).prompt().wakes_tell_nothing())
        });
}

/// Claim: a call from a handler works, unless it interrupted a call of its own thread: then it is
/// refused.
/// Actors: the caller, its handler, which calls, another thread, its handler. Bound 2, prompt. Fails, as
/// a deadlock, if the handler waits for the turn that its own thread has.
#[test]
fn caller_in_handler() {
    Model::new("all_threads::caller_in_handler").actors(4).apart().bound(Bound::At(2)).check(
        || {
            let kernel = Kernel::new().at_most(2).prompt();
            let world = World::new(kernel);
            let (theirs, calls) = (world.clone(), Rc::new(Cell::new(0)));
            let made = Rc::clone(&calls);
            let handler = move |_| match theirs.try_call(1, None) {
                Ok(report) if report.is_complete() => made.set(made.get() + 1),
                Err(CallError::Engaged) => {}
                other => panic!("{other:?}"),
            };
            kernel.sigaction(sig::USR2, Handler::new(handler).mask(SigSet::ALL));
            let own = world.join(0);
            let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::USR2));
            let other = world.thread("other", 1, |_, _| {});
            let _ = world.call(0);
            sender.join();
            drop(own);
            other.join();
            assert_eq!(world.kept(0), 1 + calls.get());
        },
    );
}

/// Claim: a handler that interrupts an operation, or a step of its thread's, is refused and does not
/// wait for who waits for its thread.
/// Actors: the caller, a thread, its handlers, one of which calls. Bound 3. Fails, as a deadlock, if it
/// waits.
#[test]
fn handler_interrupts_operation() {
    Model::new("all_threads::handler_interrupts_operation")
        .actors(3)
        .apart()
        .bound(Bound::At(3))
        .check(|| {
            let kernel = Kernel::new().at_most(2);
            let world = World::new(kernel);
            let theirs = world.clone();
            let handler = move |_| match theirs.try_call_of(|| Ok(0)) {
                Ok(report) if report.is_complete() => {}
                Err(CallError::Engaged) => {}
                other => panic!("{other:?}"),
            };
            kernel.sigaction(sig::USR2, Handler::new(handler).mask(SigSet::of(&[sig::USR2])));
            let other = world.thread("other", 1, |_, member| _ = member.poll());
            kernel.try_tgkill(other.id(), sig::USR2);
            let _ = world.call_of(|| Ok(0));
            other.join();
        });
}

/// Claim: of three that call at once, each gets its turn.
/// Actors: three callers that have not joined. Bound 3, prompt. Fails, as a deadlock, if a wake-up that
/// was meant for another is not passed on.
#[test]
fn three_callers() {
    Model::new("all_threads::three_callers").actors(3).bound(Bound::At(3)).check_hostile_too(
        || {
            let kernel = Kernel::new().at_most(0).prompt();
            let world = World::new(kernel);
            let callers = ["first", "second"].map(|name| {
                let world = world.clone();
                thread::spawn(name, move || world.call_of(|| Ok(0)))
            });
            let _ = world.call_of(|| Ok(0));
            callers.into_iter().for_each(|caller| assert_eq!(caller.join().others, 0));
        },
    );
}

/// Claim: the child of a fork that was taken in the middle of another thread's call calls for itself.
/// Actors: the caller, a thread that forks, both with all signals masked. Bound 3. Fails, as a deadlock,
/// if the child finds the turn taken.
#[test]
fn fork_during_call() {
    Model::new("all_threads::fork_during_call").actors(3).apart().bound(Bound::At(3)).check(|| {
        let kernel = Kernel::new().at_most(1);
        let world = World::new(kernel);
        // It runs what it is asked as it leaves.
        kernel.sigmask(How::Block, SigSet::ALL);
        let other = beside(&world, move |world, _| {
            let copy = world.copied(kernel, 1);
            let outcome = kernel.fork(move || {
                copy.begin_in_child(kernel);
                let report = copy.call(0);
                assert_eq!((report.others, report.gone + report.abandoned), (0, 0));
            });
            assert_eq!(outcome, Outcome::Running);
        });
        let _ = world.call(0);
        other.join();
        assert_eq!(world.kept(0), 1);
    });
}

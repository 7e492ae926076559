//! Threads that are created: what interrupts one before it has begun, and births that are given up.

use super::super::{Bound, Model};
use super::beside;
use super::host::World;
use crate::all_threads::{Birth, CallError};
use crate::model::{Handler, Kernel, SigSet, sig, thread};

/// A handler on a thread that is being created calls, while another thread's call waits for that thread.
fn handler_in_a_birth(refused: bool) {
    let kernel = Kernel::new().at_most(3).prompt();
    let world = World::new(kernel);
    let theirs = world.clone();
    let call = move |_| match theirs.try_call_of(|| Ok(0)) {
        Ok(report) if report.is_complete() => {}
        Err(CallError::Engaged) => {}
        other => panic!("{other:?}"),
    };
    kernel.sigaction(sig::USR2, Handler::new(call).mask(SigSet::ALL));
    let creator = beside(&world, move |world, member| {
        let create = |birth: Birth<_>| {
            let (theirs, kernel) = (world.clone(), kernel);
            let born = thread::spawn("born", move || {
                if refused {
                    theirs.statics().all.reach().refuses.set(true);
                }
                assert_eq!(birth.begin().is_err(), refused);
            });
            kernel.tgkill(born.id(), sig::USR2);
            born
        };
        // SAFETY: begun by the new thread before it does anything of its own.
        let born = unsafe { member.create(&world.statics().seats[2], create) };
        born.unwrap().join();
    });
    let _ = world.call(0);
    creator.join();
}

/// Claim: a handler that interrupts a thread which is being created may call, or is refused: it waits for no
/// call that waits for its own thread.
/// Actors: the caller, one that creates, the new one, its handler, which calls. Bound 1, prompt. Fails as a
/// deadlock if the new thread can be interrupted before it has begun.
#[test]
fn handler_interrupts_birth() {
    Model::new("all_threads::handler_interrupts_birth")
        .actors(4)
        .apart()
        .bound(Bound::At(1))
        .check(|| handler_in_a_birth(false));
}

/// Claim: so it is if the system refuses to tell of the new thread's end: the birth is given up, and the call that
/// waits for it answered, before a handler runs there.
/// Actors: as above. Bound 1, prompt. Fails as a deadlock if nobody answers, or if the new thread can be interrupted before that.
#[test]
fn handler_interrupts_refused_birth() {
    Model::new("all_threads::handler_interrupts_refused_birth")
        .actors(4)
        .apart()
        .bound(Bound::At(1))
        .check(|| handler_in_a_birth(true));
}

/// Claim: a birth that is given up is answered for if it was asked.
/// Actors: the caller, one that creates and gives up, its handler. Bound 1, prompt. Fails as a deadlock if nobody
/// answers.
#[test]
fn birth_given_up() {
    Model::new("all_threads::birth_given_up").actors(3).bound(Bound::At(1)).check(|| {
        let world = World::new(Kernel::new().at_most(1).prompt());
        let creator = beside(&world, |world, member| {
            // SAFETY: the birth is dropped.
            unsafe { member.create(&world.statics().seats[2], drop) }.unwrap();
        });
        let report = world.call(0);
        creator.join();
        // One more if it was still there when they were counted, and had inherited the round.
        assert!(report.others <= world.kept(1) + 1, "{report:?}");
        assert_eq!(report.gone, 0);
    });
}

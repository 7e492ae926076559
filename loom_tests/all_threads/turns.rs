//! Giving the turn up.

use std::sync::Arc;

use super::super::{Bound, Model};
use super::host::World;
use crate::all_threads::CallError;
use crate::model::{Handler, How, Kernel, SigSet, sig, thread};
use crate::note::{Note, Park};

/// Claim: a handler that interrupts its thread as that gives the turn up is refused a call: the thread owes those
/// who wait for the turn a wake-up.
/// Actors: the caller, its handler, which calls, one that waits for the turn with all signals masked, a sender.
/// Bound 2, prompt. If giving up is not engaged it fails as a deadlock: the handler waits for who waits to be woken.
#[test]
fn handler_as_the_turn_is_given() {
    Model::new("all_threads::handler_as_the_turn_is_given")
        .actors(4)
        .apart()
        .bound(Bound::At(2))
        .check_hostile_too(|| {
            let kernel = Kernel::new().at_most(2).prompt();
            let world = World::new(kernel);
            let theirs = world.clone();
            let call = move |_| match theirs.try_call_of(|| Ok(0)) {
                Ok(report) if report.is_complete() => {}
                Err(CallError::Engaged) => {}
                other => panic!("{other:?}"),
            };
            kernel.sigaction(sig::USR2, Handler::new(call).mask(SigSet::ALL));
            let there = Arc::new(Note::new());
            let note = Arc::clone(&there);
            let other = world.thread("other", 1, move |world, _| {
                kernel.sigmask(How::Block, SigSet::ALL);
                note.wake();
                let _ = world.call_of(|| Ok(0));
            });
            there.sleep(None);
            let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::USR2));
            let _ = world.call_of(|| Ok(0));
            sender.join();
            other.join();
        });
}

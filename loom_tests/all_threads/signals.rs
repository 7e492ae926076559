//! Signals of others on threads that are asked.

use std::sync::Arc;

use super::host::World;
use super::{Bound, Model, beside, sends_to};
use crate::model::{Handler, Kernel, sig};
use crate::note::{Note, Park};
use crate::sigqueue::SignalQueue;

/// Explores this with signals that land at once, bound 3, and with late ones too, bound 2.
fn at_once_and_late(name: &str, program: fn(Kernel)) {
    let model = |name: String| Model::new(name).actors(3).apart();
    model(format!("all_threads::{name}"))
        .bound(Bound::At(3))
        .check(move || program(Kernel::new().at_most(2).prompt().never_late()));
    model(format!("all_threads::{name}: late"))
        .bound(Bound::At(2))
        .check(move || program(Kernel::new().at_most(2).prompt()));
}

/// Claim: a signal that lands on a parked thread does not keep it from running the operation, in the
/// handler of which or when it wakes up.
/// Actors: the caller, the parked thread, its handler. Bound 3 and 2, prompt. Fails, as a deadlock,
/// if the handler waits for the receiver, which the caller has to wake first.
#[test]
fn signal_on_parked_thread() {
    at_once_and_late("signal_on_parked_thread", |kernel| {
        let world = World::new(kernel);
        let queue = Arc::new(SignalQueue::new());
        sends_to(kernel, &queue);
        let over = Arc::new(Note::new());
        let end = Arc::clone(&over);
        let parked = beside(&world, move |world, member| {
            while world.kept(1) == 0 {
                member.sleep(&end, None);
                end.clear();
            }
        });
        kernel.try_tgkill(parked.id(), sig::USR2);
        assert_eq!(world.call(0).others, 1);
        over.wake();
        parked.join();
        assert_eq!(world.kept(1), 1);
    });
}

/// Claim: a signal in the middle of the operation does not run it again, nor wait for its end.
/// Actors: the caller, a thread that polls, its handlers. Bound 3 and 2, prompt. Fails if the handler runs
/// what the interrupted code has begun.
#[test]
fn signal_inside_fixup() {
    at_once_and_late("signal_inside_fixup", |kernel| {
        let world = World::new(kernel);
        let theirs = world.clone();
        // Somebody else's signal, whose handler looks as well.
        let look = move |_| _ = theirs.statics().all.on_signal();
        kernel.sigaction(sig::USR2, Handler::new(look));
        let other = beside(&world, |_, member| {
            member.poll();
            member.poll();
        });
        kernel.try_tgkill(other.id(), sig::USR2);
        let _ = world.call(0);
        other.join();
        assert!(world.kept(1) <= 1);
        assert_eq!(world.kept(0), 1);
    });
}

//! What a stopped thread says of its stack, and where it must not be suspended.

use core::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use super::host::{Runtime, work};
use super::*;
use crate::sync::AtomicU32;

/// A member goes out, with its stack noted or not, is called back, and polls, while the world is stopped. Its record
/// says what is to be found: odd, a stack.
fn notes<B: Barrier + 'static>(kernel: Kernel, barrier: B) {
    let runtime = Runtime::new(1, kernel, barrier);
    let mut own = runtime.enter();
    let theirs = runtime.clone();
    let stopper = thread::spawn("stopper", move || {
        let stop = theirs.stop();
        for thread in stop.threads() {
            assert_eq!(thread.stack().is_some(), thread.record().get() % 2 == 1);
        }
    });
    own.record().set(1);
    own.external_with(|external| {
        let mut inside = external.inside();
        inside.record().set(2);
        drop(inside.external());
        inside.record().set(3);
    });
    own.record().set(4);
    drop(own.external());
    own.record().set(5);
    own.poll();
    own.record().set(6);
    runtime.leave(own, [stopper]);
}

/// Claim: a thread that stands says down to where its stack is the runtime's, if it went out so, and says nothing that
/// is not true any more (E3).
/// Actors: a member, a stopper. Bound 3. Fails if what was noted outlives its call, or holds in a callback.
#[test]
fn stack_is_noted() {
    both_barriers!("stack_is_noted", 2, 3, notes);
}

/// A member holds on to what it does, while another thread stops the world by suspending it if it has to.
fn holds<B: Barrier + 'static>(way: Way, kernel: Kernel, barrier: B) {
    let runtime = Runtime::suspending(1, kernel, way, barrier);
    let mut own = runtime.enter();
    let half = Arc::new(AtomicU32::new(0));
    let deadline = Deadline::after(core::time::Duration::ZERO);
    kernel.expire_deadlines();
    let (theirs, halves) = (runtime.clone(), Arc::clone(&half));
    let stopper = thread::spawn("stopper", move || {
        let whole = || {
            // ORDERING: Relaxed: of a thread that stands.
            assert_eq!(halves.load(Relaxed), 0, "suspended in the middle");
            theirs.write_all();
        };
        let late = match theirs.stop_until(&deadline) {
            Ok(_) => return whole(),
            Err(StopByError::Late(late)) => late,
            Err(other) => panic!("{other}"),
        };
        let mut targets: Vec<_> = late.threads().map(|it| Target::new(it.thread())).collect();
        match late.suspend(&mut targets) {
            Ok(_) => whole(),
            Err(StopByError::Late(late)) => {
                let _stop = late.wait().unwrap();
                whole();
            }
            Err(other) => panic!("{other}"),
        }
    });
    let held = own.hold();
    // ORDERING: Relaxed: the thread's own.
    half.store(1, Relaxed);
    work(held.record());
    half.store(0, Relaxed);
    drop(held);
    work(own.record());
    runtime.leave(own, [stopper]);
}

/// Claim: who holds on is not suspended in the middle, and is waited for (I1).
/// Actors: a member, its handler, a stopper. Bound 3. Fails if holding on does not look at the claim.
#[test]
fn held_is_not_suspended() {
    for (name, way) in [("system", Way::System), ("signal", Way::Signal)] {
        let model = |barrier: &str| {
            let model = Model::new(format!("world::held_is_not_suspended: {name}{barrier}"));
            model.actors(3).bound(Bound::At(3)).apart()
        };
        model("").check(move || holds(way, Kernel::new().at_most(1), Fenced));
        model(": asymmetric").check(move || {
            let kernel = Kernel::new().at_most(4).prompt();
            holds(way, kernel, Asymmetric::new().unwrap());
        });
    }
}

//! The process is not ours alone: what others do to dispositions and signals, at every step of ours.
//! docs/neighbours.md says what is rested on, and which test asks the real kernel.

use std::sync::Arc;

mod forks;
mod host;
mod interrupts;
mod sinks;

use self::host::{Design, Neighbour, process};
use super::{Bound, Control, Model};
use crate::model::{Kernel, thread};
use crate::sys::record::{Disposition, Record};

/// Somebody has noted our handler, and puts it back at any step of our stop; signals at any step.
fn put_back(design: Design, is_handled: bool) {
    // Before us the default action stood there: a signal that comes after us ends the process.
    let kernel = Kernel::new().at_most(2).may_die();
    let before = Neighbour::new(kernel);
    if is_handled {
        before.put(1);
    }
    let process = process(kernel, design);
    let key = process.subscribe(1);
    let noted = kernel.sigaction_query(1);
    let other = thread::spawn("who puts it back", move || kernel.sigaction(1, noted));
    let raiser = thread::spawn("raiser", move || kernel.raise(1));
    process.stop(key);
    raiser.join();
    other.join();
    let delivered = process.delivered(key);
    if !is_handled {
        assert_eq!(delivered + process.died(), 1, "delivered or defaulted, once");
    }
    kernel.raise(1);
    assert_eq!(process.delivered(key), delivered, "delivered after Stop returned");
    match is_handled {
        true => assert_eq!((before.calls(), process.died()), (2, 0), "told of each, once"),
        false => assert_eq!(process.died(), 1, "acts as before us"),
    }
}

/// Claim: a handler of ours that somebody puts back after stop, or in the middle of it, has nobody's signal:
/// what was there before us acts, once for each signal, and nothing goes round for ever.
/// Actors: the one that stops, one that puts ours back, a raiser, their handlers. Bound 3. Fails if a
/// signal that nobody wants is sent again without a look at whose disposition is in force.
/// Shipped: `sys/handlers.rs`, `sys/record.rs`, the hub, the queue. On the real kernel:
/// `neighbours::handlers::ours_put_back_after_stop`, `sys::tests::contested`.
#[test]
fn put_back_after_stop() {
    for is_handled in [false, true] {
        let name = format!("neighbours::put_back_after_stop: handled {is_handled}");
        Model::new(name)
            .actors(3)
            .bound(Bound::At(3))
            .check(move || put_back(Design::Shipped, is_handled));
    }
}

/// Passes: `neighbours::put_back_after_stop`.
#[test]
fn put_back_and_raised_again() {
    Control::new("neighbours::put_back_and_raised_again", "no progress")
        .actors(3)
        .bound(Bound::At(2))
        .max_branches(2_000)
        .stands("raiser", "in the handler of SIGHUP, ")
        .stands("main", "join at neighbours.rs")
        .check(|| put_back(Design::RaisesAgain, false));
}

/// One handler before us; another one comes, over ours or under it, and perhaps leaves, at any step of
/// subscribing and stopping. Signals at any step.
fn changed_by_others(design: Design, leaves: bool) {
    let kernel = Kernel::new().at_most(2);
    let [before, other] = [(); 2].map(|()| Neighbour::new(kernel));
    before.put(1);
    let process = process(kernel, design);
    let theirs = other.clone();
    let neighbour = thread::spawn("neighbour", move || {
        theirs.put(1);
        if leaves {
            theirs.leave(1);
        }
    });
    let raiser = thread::spawn("raiser", move || kernel.raise(1));
    let key = process.subscribe(1);
    let again = process.subscribe(1);
    process.stop(again);
    process.stop(key);
    raiser.join();
    neighbour.join();
    let (delivered, told) = (process.delivered(key), other.calls());
    assert_eq!(before.calls(), 1, "who was there before us is told once");
    // Twice where it is called for a signal, and calls ours while that is being put over it, or taken out.
    assert!(delivered <= 1 && told <= 2, "told too often");
    assert!(leaves || other.is_in_force(1), "cut off");
    kernel.raise(1);
    assert_eq!(before.calls(), 2, "and of the next signal");
    assert_eq!(other.calls(), told + u32::from(!leaves), "it is there, or has left");
    assert_eq!((process.delivered(key), process.died()), (delivered, 0));
}

/// Claim: whenever others change the disposition, who was there before us is told of each signal once; who
/// comes stays in force, or over whom ours was put, and who has left is not put back.
/// Actors: a subscriber, a neighbour that comes or comes and leaves, a raiser, their handlers. Bound 3.
/// Fails if ours is put in place once and what it replaced put back, whatever is in force.
/// Shipped: `sys/handlers.rs`, `sys/record.rs`, the hub, the queue. On the real kernel:
/// `neighbours::handlers::nobody_is_cut_off`, `a_subscription_after_a_foreign_change_is_not_deaf`,
/// `sys::tests::contested::a_handler_set_during_restore_stays`.
#[test]
fn foreign_sigaction_anywhere() {
    for leaves in [false, true] {
        Model::new(format!("neighbours::foreign_sigaction_anywhere: leaves {leaves}"))
            .actors(3)
            .apart()
            .bound(Bound::At(3))
            .check(move || changed_by_others(Design::Shipped, leaves));
    }
}

/// Passes: `neighbours::foreign_sigaction_anywhere`.
#[test]
fn disposition_trusted_for_ever() {
    Control::new("neighbours::disposition_trusted_for_ever", "cut off")
        .actors(3)
        .bound(Bound::At(2))
        .check(|| changed_by_others(Design::TrustsForEver, false));
}

/// Claim: what is remembered of a disposition is read whole, while others are put in its place.
/// Actors: a writer, a reader. Exhaustive. Fails if the reader does not look again.
#[test]
fn record_is_read_whole() {
    Model::new("neighbours::record_is_read_whole").actors(2).check(|| {
        let _kernel = Kernel::new().at_most(0);
        let numbered = |number: usize| {
            let mut disposition = Disposition::simple(number);
            disposition.flags = number as i32;
            disposition
        };
        let record = Arc::new(Record::new());
        record.set(&numbered(2));
        let theirs = Arc::clone(&record);
        let writer = thread::spawn("writer", move || {
            theirs.set(&numbered(3));
            theirs.set(&numbered(4));
        });
        let base = record.below(0, 0).expect("it is known").it;
        assert_eq!(base.flags, base.action as i32, "of two dispositions");
        writer.join();
    });
}

//! The process is not ours alone: what others do to dispositions and signals, at every step of ours.
//! docs/neighbours.md says what is rested on, and which test asks the real kernel.

mod host;

use self::host::{Design, Neighbour, process};
use super::{Bound, Control, Model};
use crate::model::{Disposition, Kernel, thread};

/// Somebody has noted our handler, and puts it back at any step of our stop; signals at any step.
fn put_back(design: Design, is_handled: bool) {
    let kernel = Kernel::new().at_most(2);
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
/// Actors: the one that stops, one that puts ours back, a raiser, their handlers. Bound 2. Fails if a
/// signal that nobody wants is sent again without a look at whose disposition is in force.
/// Shipped: `sys/handlers.rs`, `sys/record.rs`, the hub, the queue. On the real kernel:
/// `neighbours::handlers::ours_put_back_after_stop`, `sys::tests::contested`.
#[test]
fn put_back_after_stop() {
    for is_handled in [false, true] {
        let name = format!("neighbours::put_back_after_stop: handled {is_handled}");
        Model::new(name)
            .actors(3)
            .bound(Bound::At(2))
            .check(move || put_back(Design::Shipped, is_handled));
    }
}

#[test]
fn put_back_and_raised_again() {
    Control::new("neighbours::put_back_and_raised_again", "no progress")
        .actors(3)
        .bound(Bound::At(2))
        .max_branches(2_000)
        .check(|| put_back(Design::RaisesAgain, false));
}

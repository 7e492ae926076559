#![forbid(unsafe_code)]
//! Who is missing is told while the call lasts.
use portcullis::all_threads::{Call, Late, Missing, Operation, SystemReach, ThreadSeat, registered};
use std::cell::Cell;

static SEATS: [ThreadSeat; 1] = [const { ThreadSeat::new() }; 1];

fn main() {
    let kept: Cell<Option<&Missing<'_, SystemReach>>> = Cell::new(None);
    let late = |missing: &Missing<'_, SystemReach>| {
        kept.set(Some(missing));
        Late::Abandon
    };
    let _ = registered().call(&SEATS, Call::new(Operation::barrier()).when_late(&late));
}

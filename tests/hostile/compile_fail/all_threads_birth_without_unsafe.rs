#![forbid(unsafe_code)]
//! A birth that is kept has every call wait.
use portcullis::all_threads::{ThreadSeat, registered};

static SEATS: [ThreadSeat; 2] = [const { ThreadSeat::new() }; 2];

fn main() {
    let member = registered().join(&SEATS[0]).unwrap();
    let kept = member.create(&SEATS[1], |birth| birth).unwrap();
    std::mem::forget(kept);
}

#![forbid(unsafe_code)]
//! A seat is its thread's.
use portcullis::all_threads::{ThreadSeat, registered};

static SEAT: ThreadSeat = ThreadSeat::new();

fn main() {
    let member = registered().join(&SEAT).unwrap();
    std::thread::spawn(move || member.poll());
}

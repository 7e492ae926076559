#![forbid(unsafe_code)]
//! What stops, leaves or resumes when it is dropped says so where it is not kept.
#![deny(unused_must_use)]
use portcullis::all_threads::{ThreadSeat, registered};
use portcullis::preempt::{Fenced, Registration, StoppedAll, Suspended, SystemBackend};
use portcullis::signal::{self, Builder};

static SEAT: ThreadSeat = ThreadSeat::new();

fn registration() -> Registration<Fenced, SystemBackend> {
    unimplemented!()
}
fn suspended() -> Suspended<'static, Fenced, SystemBackend> {
    unimplemented!()
}
fn stopped() -> StoppedAll<'static, Fenced, SystemBackend> {
    unimplemented!()
}

fn main() {
    Builder::new().sink([1], |_| ()).unwrap();
    signal::subscribe([1]).unwrap();
    Builder::new();
    registered().join(&SEAT).unwrap();
    registration();
    registration().external();
    registration().external().inside();
    suspended();
    stopped();
}

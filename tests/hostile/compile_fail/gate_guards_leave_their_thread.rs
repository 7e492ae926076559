#![forbid(unsafe_code)]
//! What is counted in a thread stays on it.
use portcullis::preempt::{Fenced, Registration, Suspended, SystemBackend};

fn send<T: Send>() {}

fn main() {
    send::<Registration<Fenced, SystemBackend>>();
    send::<Suspended<'static, Fenced, SystemBackend>>();
}

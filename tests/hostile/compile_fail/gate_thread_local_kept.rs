#![forbid(unsafe_code)]
//! A thread's own is not handed out as a reference that outlives the thread.
use portcullis::preempt::host::{Backend, GateLocal};
use portcullis::preempt::{Fenced, Gates, Hook, SystemBackend};

static GATES: Gates<Fenced, SystemBackend> =
    Gates::new(Fenced, SystemBackend::new(Hook::nothing()));

fn main() {
    let own: &'static GateLocal = GATES.backend().here();
    std::thread::spawn(move || own.holds());
}

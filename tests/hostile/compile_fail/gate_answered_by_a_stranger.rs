#![forbid(unsafe_code)]
//! No stranger answers for a stopped thread, nor resumes it.
use portcullis::preempt::host::{Backend, StopWord};
use portcullis::preempt::{Fenced, Gate, Gates, Hook, SystemBackend};

static GATES: Gates<Fenced, SystemBackend> =
    Gates::new(Fenced, SystemBackend::new(Hook::nothing()));
static GATE: Gate<SystemBackend> = Gate::new();

fn resumes(word: &StopWord) {
    GATE.on_signal(GATES.backend(), std::ptr::null_mut());
    let handle = GATES.backend().open().unwrap();
    GATES.backend().resume(&handle, word);
}

fn main() {
    let _ = resumes;
}

#![forbid(unsafe_code)]
//! The word by which a thread is stopped is not to be had.
use portcullis::preempt::{Gate, SystemBackend};

static GATE: Gate<SystemBackend> = Gate::new();

fn main() {
    let _ = GATE.stop_word();
}

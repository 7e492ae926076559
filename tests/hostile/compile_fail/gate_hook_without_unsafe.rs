#![forbid(unsafe_code)]
//! Code that runs in a handler is handed in through `unsafe`.
use portcullis::preempt::{Fenced, Gates, Hook, SystemBackend};

fn allocates(_: *mut ()) {
    drop(vec![0_u8; 1 << 16]);
}
static GATES: Gates<Fenced, SystemBackend> = Gates::new(Fenced, SystemBackend::new(Hook::new(allocates)));

fn main() {
    let _ = &GATES;
}

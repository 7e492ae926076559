#![forbid(unsafe_code)]
//! Code that runs in handlers is handed in through `unsafe`.
use portcullis::all_threads::{Call, Operation, call_everyone};

fn main() {
    let allocates = || {
        drop(vec![0_u8; 1 << 16]);
        Ok(0)
    };
    let _ = call_everyone(Call::new(Operation::new(&allocates)));
}

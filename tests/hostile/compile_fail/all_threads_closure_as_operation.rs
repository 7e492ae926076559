#![forbid(unsafe_code)]
//! A closure is no operation.
use portcullis::all_threads::{Call, call_everyone};

fn main() {
    let _ = call_everyone(Call::new(&|| Ok(0)));
}

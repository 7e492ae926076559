#![forbid(unsafe_code)]
//! An arbitrary number does not reach pthread_kill.
use portcullis::all_threads::host::Reach;
use portcullis::all_threads::registered;

fn main() {
    let _ = registered().reach().interrupt(0xdead_beef);
}

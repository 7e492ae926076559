#![forbid(unsafe_code)]
//! No two threads have one signal stack, nor is another thread's put back.
use portcullis::attach::host::{HostStack, Mask, OwnStack};

fn send<T: Send>() {}
fn share<T: Sync>() {}

fn main() {
    send::<HostStack>();
    send::<Mask>();
    share::<OwnStack>();
}

#![forbid(unsafe_code)]
//! The thread's own word is not handed out as a reference that outlives the thread.
use portcullis::attach::SystemHost;
use portcullis::attach::host::{Host, Slot};

portcullis::thread_slot!(Own);
static HOST: SystemHost<Own> = SystemHost::new();

fn main() {
    let slot: &'static Slot = HOST.slot();
    std::thread::spawn(move || println!("{slot:?}"));
}

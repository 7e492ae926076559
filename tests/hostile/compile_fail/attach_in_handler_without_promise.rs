#![forbid(unsafe_code)]
//! A hook that allocates would run in a signal handler.
use portcullis::attach::{Runtime, SystemHost, Threads};

struct Allocates;
impl Runtime for Allocates {
    type Record = std::sync::Mutex<Vec<u8>>;
    fn create(&self, _: usize) -> Option<Self::Record> {
        Some(Default::default())
    }
    fn reset(&self, record: &Self::Record, _: u32) {
        *record.lock().unwrap() = vec![0; 1 << 16];
    }
}
portcullis::thread_slot!(Slot);
static THREADS: Threads<Allocates, SystemHost<Slot>, 4> =
    Threads::new(Allocates, SystemHost::new(), 1);

fn main() {
    drop(THREADS.attach_in_handler());
}

#![forbid(unsafe_code)]
//! A token is its thread's.
use portcullis::attach::{Attached, Binding, Runtime, SystemHost, Threads};

struct Toy;
impl Runtime for Toy {
    type Record = ();
    fn create(&self, _: usize) -> Option<()> {
        Some(())
    }
    fn reset(&self, _: &(), _: u32) {}
}
portcullis::thread_slot!(Slot);
static THREADS: Threads<Toy, SystemHost<Slot>, 4> = Threads::new(Toy, SystemHost::new(), 0);

fn main() {
    let token: Attached<_, _, 4> = THREADS.attach(Binding::Bound).unwrap();
    std::thread::spawn(move || drop(token));
}

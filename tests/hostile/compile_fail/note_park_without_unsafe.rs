#![forbid(unsafe_code)]
//! `wake` is called in handlers: who implements it promises that it may be.
use portcullis::note::{Deadline, Park, Waited};

struct Locks(std::sync::Mutex<bool>);
impl Park for Locks {
    fn sleep(&self, _: Option<&Deadline>) -> Waited {
        Waited::Woken
    }
    fn wake(&self) {
        *self.0.lock().unwrap() = true;
    }
    fn clear(&self) {}
}

fn main() {}

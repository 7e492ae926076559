#![forbid(unsafe_code)]
//! The promise of a handler's code is made by `unsafe`.
use portcullis::attach::{AsyncSignalSafe, Runtime};

struct Toy;
impl Runtime for Toy {
    type Record = ();
    fn create(&self, _: usize) -> Option<()> {
        Some(())
    }
    fn reset(&self, _: &(), _: u32) {}
}
impl AsyncSignalSafe for Toy {}

fn main() {}

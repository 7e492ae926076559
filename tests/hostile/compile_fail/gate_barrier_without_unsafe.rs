#![forbid(unsafe_code)]
//! Who makes a barrier promises what the gate rests on.
use portcullis::Errno;
use portcullis::preempt::host::{Barrier, Claim};

struct Nothing;
impl Barrier for Nothing {
    fn look(&self, _: &Claim) -> u32 {
        0
    }
    fn heavy(&self) -> Result<(), Errno> {
        Ok(())
    }
}

fn main() {}

//! Random numbers: from one seed, so that a run can be had again, as far as the system's scheduler goes along.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(crate) static SEED: AtomicU64 = AtomicU64::new(1);

/// xorshift64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// For one part of the program.
    pub(crate) fn new(part: u64) -> Self {
        let mixed = SEED.load(Relaxed) ^ (part + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = Self(mixed | 1);
        (0..8).for_each(|_| _ = random.next());
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

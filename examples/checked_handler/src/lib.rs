//! What a signal handler tells the program, checked in every interleaving: docs/checking-your-handler.md.

mod sync;

use sync::{AtomicBool, AtomicU32, Ordering::*, new};

/// Requests that signals make, and the program takes.
pub struct Requests {
    pending: AtomicBool,
    count: AtomicU32,
}

impl Requests {
    new! {
        /// None yet.
        pub fn new() -> Self {
            Self { pending: AtomicBool::new(false), count: AtomicU32::new(0) }
        }
    }

    /// What the handler does.
    pub fn on_signal(&self) {
        self.count.fetch_add(1, Relaxed);
        self.pending.store(true, Release);
    }

    /// How many requests came since the last time; a look at a flag if none did.
    pub fn take(&self) -> u32 {
        if !self.pending.load(Relaxed) || !self.pending.swap(false, Acquire) {
            return 0;
        }
        self.count.swap(0, Relaxed)
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, loom))]
mod model;

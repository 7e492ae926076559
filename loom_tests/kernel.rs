//! The simulated kernel's own tests: each rule once kept and, where a program can break it, once
//! broken.

mod deeper;
mod delivery;
mod forks;
mod handlers;
mod harness;
mod hostile;
mod pending;
mod pieces;
mod process;
mod promises;
mod sleep;
mod unmaskable;

use crate::model::{Disposition, Kernel, sig, thread, violation};
use crate::sync::AtomicU32;
use crate::sync::Ordering::Relaxed;
use std::sync::Arc;
use std::sync::atomic::AtomicU32 as Plain;

/// Runs `body` on a thread of its own and sends it one SIGUSR1, handled by `handler`.
fn interrupt(handler: impl Into<Disposition>, body: impl FnOnce() + 'static) {
    let kernel = Kernel::current();
    kernel.sigaction(sig::USR1, handler);
    let target = thread::spawn("target", body);
    kernel.tgkill(target.id(), sig::USR1);
    target.join();
}

/// Two counters that the target moves one after the other, and a check that it stood still.
#[derive(Clone)]
struct Pair(Arc<(AtomicU32, AtomicU32)>);

impl Pair {
    fn new() -> Self {
        Self(Arc::new((AtomicU32::new(0), AtomicU32::new(0))))
    }
    fn step(&self) {
        self.0.0.fetch_add(1, Relaxed);
        self.0.1.fetch_add(1, Relaxed);
    }
    fn newest(&self) -> (u32, u32) {
        (self.0.0.fetch_add(0, Relaxed), self.0.1.fetch_add(0, Relaxed))
    }
    fn check_stands_still(&self) {
        if self.newest() != self.newest() {
            violation("the interrupted code moved");
        }
    }
}

/// A handler that counts.
fn counting(count: &Arc<Plain>) -> impl Fn(i32) + use<> {
    let count = Arc::clone(count);
    move |_| _ = count.fetch_add(1, Relaxed)
}

//! A sleep that a handler ends, as the simulated kernel's hostile system has it (`loom_tests/kernel/hostile.rs`).

use std::mem::zeroed;
use std::ptr;
use std::thread;
use std::time::Duration;

use crate::sync::{AtomicU32, Ordering::*};
use crate::sys::{Waited, wait};

static HANDLED: AtomicU32 = AtomicU32::new(0);

// ORDERING: Relaxed everywhere in this file: counts that pass nothing on.
extern "C" fn handler(_: i32) {
    HANDLED.fetch_add(1, Relaxed);
}

/// Without `SA_RESTART` it returns, though nobody woke it and the word is what it was.
#[test]
fn a_handler_ends_a_sleep_that_nobody_ends() {
    let signal = super::unused_signal();
    // SAFETY: all zeros is a valid sigaction; the handler is async-signal-safe.
    unsafe {
        let mut new: libc::sigaction = zeroed();
        new.sa_sigaction = handler as *const () as usize;
        assert_eq!(libc::sigaction(signal, &raw const new, ptr::null_mut()), 0);
    }
    let (word, over) = (AtomicU32::new(0), AtomicU32::new(0));
    // SAFETY: asks for the calling thread.
    let target = unsafe { libc::pthread_self() };
    thread::scope(|scope| {
        scope.spawn(|| {
            // The first may come before it sleeps.
            while over.load(Relaxed) == 0 {
                // SAFETY: the target waits for this thread, so it is there.
                unsafe { libc::pthread_kill(target, signal) };
                thread::sleep(Duration::from_millis(1));
            }
        });
        assert_eq!(wait(&word, 0, None), Waited::Woken);
        assert_eq!(word.load(Relaxed), 0, "nobody stored");
        assert_ne!(HANDLED.load(Relaxed), 0);
        over.store(1, Relaxed);
    });
}

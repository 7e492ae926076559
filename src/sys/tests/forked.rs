//! What is sent to a thread that forks, as the simulated kernel has it (`loom_tests/kernel/forks.rs`).

use std::mem::zeroed;
use std::ptr;
use std::thread;

use crate::sync::{AtomicU32, Ordering::*};

static HANDLED: AtomicU32 = AtomicU32::new(0);

// ORDERING: Relaxed everywhere in this file: a thread and its handlers, and a flag that passes nothing on.
extern "C" fn handler(_: i32) {
    HANDLED.fetch_add(1, Relaxed);
}

/// The child steps for a while with the handler installed; its exit code says how often that ran in it.
fn child() -> ! {
    let before = HANDLED.load(Relaxed);
    for _ in 0..1_000 {
        // SAFETY: gives way.
        unsafe { libc::sched_yield() };
    }
    let landed = HANDLED.load(Relaxed) - before;
    // SAFETY: ends the child at once.
    unsafe { libc::_exit(landed.min(100) as i32) }
}

/// A thread is sent signals all the while it forks: none lands in a child, and they do land in it. The next is sent
/// when the last has landed, and ever later, then soon again: who is sent them faster than it handles them comes
/// no further, and no fork begins while one is pending.
#[test]
fn a_signal_for_the_parent_is_not_the_childs() {
    let signal = super::unused_signal();
    // SAFETY: all zeros is a valid sigaction; the handler is async-signal-safe.
    unsafe {
        let mut new: libc::sigaction = zeroed();
        new.sa_sigaction = handler as *const () as usize;
        new.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(signal, &raw const new, ptr::null_mut()), 0);
    }
    static OVER: AtomicU32 = AtomicU32::new(0);
    // SAFETY: asks for the calling thread.
    let target = unsafe { libc::pthread_self() };
    let sender = thread::spawn(move || {
        for pause in (0..2_000).step_by(7).cycle() {
            let landed = HANDLED.load(Relaxed);
            // SAFETY: the target joins this thread, so it is there.
            unsafe { libc::pthread_kill(target, signal) };
            while HANDLED.load(Relaxed) == landed && OVER.load(Relaxed) == 0 {
                thread::yield_now();
            }
            if OVER.load(Relaxed) != 0 {
                break;
            }
            (0..pause).for_each(|_| std::hint::spin_loop());
        }
    });
    for _ in 0..20 {
        // SAFETY: the child makes system calls and reads atomics, no more.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child();
        }
        assert!(pid > 0);
        let mut status = 0;
        // SAFETY: the child is this test's own.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(status, 0, "a signal for the parent landed in the child");
    }
    OVER.store(1, Relaxed);
    sender.join().unwrap();
    assert_ne!(HANDLED.load(Relaxed), 0);
}

//! Signals from a timer, from children that end, and from a thread that sends them.

use std::mem::zeroed;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libc::{SIGALRM, SIGCHLD, SIGUSR1};

use crate::runtime::call_in_handler;

extern "C" fn handler(_: i32) {
    // The runtime's part keeps errno; nothing else here changes it.
    call_in_handler();
}

fn handle(signal: i32) {
    // SAFETY: all zeros is a valid sigaction.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
    // Each masks the others: what is interrupted before it attached has a stack of its own, which holds two
    // frames and no more.
    for other in [SIGALRM, SIGCHLD, SIGUSR1] {
        // SAFETY: the set is a local's, made empty above.
        unsafe { libc::sigaddset(&raw mut action.sa_mask, other) };
    }
    // SAFETY: the handler is async-signal-safe, and a function of one argument.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }, 0);
}

fn set_timer(microseconds: libc::suseconds_t) {
    let every = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: the timer is a local.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) }, 0);
}

/// All that sends; stopped by [`Rain::stop`].
pub(crate) struct Rain {
    over: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
}

pub(crate) fn start() -> Rain {
    [SIGALRM, SIGCHLD, SIGUSR1].into_iter().for_each(handle);
    let over = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&over);
    let sender = thread::spawn(move || {
        let mut sent = 0;
        while !theirs.load(Relaxed) {
            // SAFETY: this process, and a signal that is handled.
            unsafe { libc::kill(libc::getpid(), SIGUSR1) };
            sent += 1;
            if sent % 64 == 0 {
                sent += u64::from(child_ends());
            }
            thread::sleep(Duration::from_micros(100));
        }
        sent
    });
    set_timer(500);
    Rain { over, sender }
}

/// A child that ends at once, for its SIGCHLD.
fn child_ends() -> bool {
    // SAFETY: the child does nothing but end.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: no preconditions.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: a child of this process.
    child > 0 && unsafe { libc::waitpid(child, ptr::null_mut(), 0) } == child
}

impl Rain {
    /// Returns how many were sent, those of the timer not counted.
    pub(crate) fn stop(self) -> u64 {
        set_timer(0);
        self.over.store(true, Relaxed);
        self.sender.join().expect("the sender ends")
    }
}

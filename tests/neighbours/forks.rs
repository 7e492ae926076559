//! Forks in odd places.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::*};

use libc::{SIGUSR1, SIGUSR2};
use portcullis::signal;

use super::common::*;

/// What a fork came to: 1 for a child that ended well.
static DONE: AtomicI32 = AtomicI32::new(0);

fn forks() {
    let child = fork(|| 7);
    DONE.fetch_add(i32::from(wait_for(child) == Ended::Exited(7)), Relaxed);
}

struct Forks;
impl Drop for Forks {
    fn drop(&mut self) {
        forks();
    }
}

thread_local! {
    static LATE: Forks = const { Forks };
}

/// In an atexit handler, when thread-locals are gone, and in the destructor of one.
#[test]
fn at_the_end_of_a_process_and_of_a_thread() {
    isolated("forks::at_the_end_of_a_process_and_of_a_thread", || {
        extern "C" fn at_exit() {
            forks();
            // SAFETY: ends the process here.
            unsafe { libc::_exit(if DONE.load(Relaxed) == 2 { 7 } else { 8 }) };
        }
        let child = fork(|| {
            let ours = signal::subscribe([SIGUSR1]).unwrap();
            std::thread::spawn(|| LATE.with(|_| ())).join().unwrap();
            // SAFETY: the function lives for ever.
            assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
            std::mem::forget(ours);
            // SAFETY: as a program ends.
            unsafe { libc::exit(9) }
        });
        assert_eq!(wait_for(child), Ended::Exited(7));
    });
}

static IN_CHILD: AtomicBool = AtomicBool::new(false);
static FORKED: AtomicI32 = AtomicI32::new(0);

/// Forks where it lands; the child goes on from there.
extern "C" fn forks_here(_: i32) {
    if IN_CHILD.load(Relaxed) || FORKED.load(Relaxed) == FORKS {
        return;
    }
    // SAFETY: the child goes on with what this thread was at.
    match unsafe { libc::fork() } {
        0 => {
            IN_CHILD.store(true, Relaxed);
            alarm(20);
        }
        child => {
            let well = wait_for(child) == Ended::Exited(7);
            DONE.fetch_add(i32::from(well), Relaxed);
            FORKED.fetch_add(1, Relaxed);
        }
    }
}

const FORKS: i32 = 100;

/// In a handler that interrupted a call of the module, wherever in it: with its lock held or not. What was
/// interrupted is finished in both processes, and each goes on with signals of its own.
#[test]
fn in_a_handler_that_interrupted_us() {
    isolated("forks::in_a_handler_that_interrupted_us", || {
        set_disposition(SIGUSR2, Disposition::simple(forks_here as *const () as usize));
        let mut kept = signal::subscribe([SIGUSR1]).unwrap();
        let me = pid();
        // SAFETY: no memory is passed.
        let thread = unsafe { libc::pthread_self() } as usize;
        let sender = std::thread::spawn(move || {
            while FORKED.load(Relaxed) < FORKS {
                // SAFETY: that thread waits for this one.
                unsafe { libc::pthread_kill(thread as libc::pthread_t, SIGUSR2) };
                (0..FORKED.load(Relaxed) * 37 % 1000).for_each(|_| std::hint::spin_loop());
            }
        });
        while !sender.is_finished() && !IN_CHILD.load(Relaxed) {
            // Nothing that allocates: to fork in the middle of malloc is not to be done.
            signal::counts(SIGUSR1).unwrap();
            signal::ignore([libc::SIGHUP, libc::SIGWINCH]).unwrap();
            signal::reset([libc::SIGHUP, libc::SIGWINCH]).unwrap();
        }
        if IN_CHILD.load(Relaxed) {
            assert_ne!(pid(), me);
            // What came before is the parent's; then what it is sent itself.
            for _ in 0..3 {
                kill_self(SIGUSR1);
                let got = kept.recv_timeout(SOON).unwrap();
                assert_eq!(
                    (got.signal, got.origin.map(|origin| origin.pid)),
                    (SIGUSR1, Some(pid()))
                );
            }
            exit(7);
        }
        sender.join().unwrap();
        assert_eq!((FORKED.load(Relaxed), DONE.load(Relaxed)), (FORKS, FORKS));
    });
}

/// The child goes on from here, and is sent signals when it should be blocked again.
extern "C" fn forks_and_sends(_: i32) {
    // SAFETY: the child goes on with what this thread was at.
    match unsafe { libc::fork() } {
        0 => {
            IN_CHILD.store(true, Relaxed);
            alarm(20);
        }
        child => {
            for _ in 0..20 {
                std::thread::sleep(std::time::Duration::from_millis(10));
                // SAFETY: no memory is passed; the child was not waited for yet.
                unsafe { libc::kill(child, SIGUSR1) };
            }
            DONE.fetch_add(i32::from(wait_for(child) == Ended::Exited(7)), Relaxed);
            FORKED.fetch_add(1, Relaxed);
        }
    }
}

/// In a handler that interrupted a thread which is blocked in `recv`: the child goes on waiting, and is told.
#[test]
fn in_a_handler_while_blocked() {
    isolated("forks::in_a_handler_while_blocked", || {
        let handler = forks_and_sends as *const () as usize;
        set_disposition(SIGUSR2, Disposition::simple(handler));
        let mut ours = signal::subscribe([SIGUSR1]).unwrap();
        // SAFETY: no memory is passed.
        let thread = unsafe { libc::pthread_self() } as usize;
        let sender = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            // SAFETY: that thread waits for this one.
            unsafe { libc::pthread_kill(thread as libc::pthread_t, SIGUSR2) };
            while FORKED.load(Relaxed) == 0 {
                std::thread::yield_now();
            }
            kill_self(SIGUSR1);
        });
        assert_eq!(ours.recv().unwrap().signal, SIGUSR1);
        if IN_CHILD.load(Relaxed) {
            exit(7);
        }
        sender.join().unwrap();
        assert_eq!((FORKED.load(Relaxed), DONE.load(Relaxed)), (1, 1));
    });
}

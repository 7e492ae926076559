//! Flags and counters on the real kernel: set by the handler itself, and no other action beside.
#![cfg(all(unix, not(loom)))]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::thread;

use common::*;
use libc::{SIGTERM, SIGUSR1, SIGUSR2};
use portcullis::Signal;
use portcullis::signal::{self, SignalError};

/// To the calling thread: it has had it when this returns.
fn raise(signal: i32) {
    // SAFETY: no preconditions.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// No receiver is needed: the code that was interrupted finds the flag set, each time.
#[test]
fn set_when_the_handler_returns() {
    static FLAG: AtomicBool = AtomicBool::new(false);
    static COUNT: AtomicU32 = AtomicU32::new(0);
    isolated("set_when_the_handler_returns", || {
        let flag = signal::flag(SIGUSR1, &FLAG).unwrap();
        let count = signal::count(Signal::SIGUSR1, &COUNT).unwrap();
        for sent in 1..=10_000 {
            raise(SIGUSR1);
            assert!(FLAG.swap(false, Relaxed), "late");
            assert_eq!(COUNT.load(Relaxed), sent);
        }
        assert_eq!(count.stop(), Default::default());
        raise(SIGUSR1);
        assert!(FLAG.swap(false, Relaxed));
        assert_eq!(COUNT.load(Relaxed), 10_000, "counted after stop");
        let before = disposition(SIGUSR1).unwrap();
        drop(flag);
        let after = disposition(SIGUSR1).unwrap();
        assert!(before != after && is_default(SIGUSR1), "not put back");
    });
}

fn is_default(signal: i32) -> bool {
    let mut now = core::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null new action only asks; the other is written.
    let now = unsafe {
        assert_eq!(libc::sigaction(signal, core::ptr::null(), now.as_mut_ptr()), 0);
        now.assume_init()
    };
    now.sa_sigaction == libc::SIG_DFL
}

/// After the last flag the signal does what it did: it ends the process.
#[test]
fn the_default_action_comes_back() {
    static FLAG: AtomicBool = AtomicBool::new(false);
    const NAME: &str = "the_default_action_comes_back";
    if is_harness() {
        let status = command(NAME, "dies").status().unwrap();
        assert_eq!(status.signal(), Some(SIGTERM), "{status}");
        return;
    }
    isolated(NAME, || {
        let flag = signal::flag(SIGTERM, &FLAG).unwrap();
        raise(SIGTERM);
        assert!(FLAG.load(Relaxed));
        flag.stop();
        raise(SIGTERM);
        unreachable!("it has died");
    });
}

/// What comes with values is neither queued nor lost to others for a flag's sake.
#[cfg(target_os = "linux")]
#[test]
fn realtime_signals_are_counted_each() {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    isolated("realtime_signals_are_counted_each", || {
        let signal = Signal::realtime(1).unwrap();
        let count = signal::count(signal, &COUNT).unwrap();
        (0..100_000).for_each(|_| raise(signal.raw()));
        assert_eq!(COUNT.load(Relaxed), 100_000);
        assert_eq!(signal::overflow(), 0, "the queue was not asked to keep them");
        // A subscription has what comes from now on.
        let mut subscribed = signal::subscribe([signal]).unwrap();
        raise(signal.raw());
        assert_eq!(subscribed.recv_timeout(SOON).unwrap().name(), signal);
        assert_eq!(subscribed.try_recv(), Ok(None));
        assert_eq!(COUNT.load(Relaxed), 100_001);
        subscribed.stop().unwrap();
        raise(signal.raw());
        assert_eq!(COUNT.load(Relaxed), 100_002, "the flag stays when the subscription goes");
        count.detach();
        raise(signal.raw());
        assert_eq!(COUNT.load(Relaxed), 100_003);
    });
}

/// Handlers that were there before are called too.
#[test]
fn chained() {
    static THEIRS: AtomicU32 = AtomicU32::new(0);
    static OURS: AtomicU32 = AtomicU32::new(0);
    extern "C" fn theirs(_: i32) {
        THEIRS.fetch_add(1, Relaxed);
    }
    isolated("chained", || {
        // SAFETY: the handler adds to an atomic.
        unsafe { libc::signal(SIGUSR2, theirs as *const () as usize) };
        let count = signal::count(SIGUSR2, &OURS).unwrap();
        (0..10).for_each(|_| raise(SIGUSR2));
        assert_eq!((OURS.load(Relaxed), THEIRS.load(Relaxed)), (10, 10));
        drop(count);
        raise(SIGUSR2);
        assert_eq!((OURS.load(Relaxed), THEIRS.load(Relaxed)), (10, 11));
    });
}

#[test]
fn refused_and_ended() {
    static FLAG: AtomicBool = AtomicBool::new(false);
    isolated("refused_and_ended", || {
        let kill = signal::flag(libc::SIGKILL, &FLAG);
        assert_eq!(kill.err(), Some(SignalError::Unstoppable(libc::SIGKILL)));
        let many: Vec<_> = (0..64).map(|_| signal::flag(SIGUSR1, &FLAG).unwrap()).collect();
        let one_more = signal::flag(SIGUSR1, &FLAG).map(drop);
        assert_eq!(one_more, Err(SignalError::TooManyFlags(SIGUSR1)));
        raise(SIGUSR1);
        assert!(FLAG.swap(false, Relaxed));
        drop(many);
        assert!(is_default(SIGUSR1));
        // Each place is used again.
        for _ in 0..1000 {
            drop(signal::flag(SIGUSR1, &FLAG).unwrap());
        }
        let ignored = signal::flag(SIGUSR1, &FLAG).unwrap();
        signal::ignore([SIGUSR1]).unwrap();
        raise(SIGUSR1);
        assert!(!FLAG.load(Relaxed), "ignored is ignored");
        // It is nobody's any more, and stopping it changes nothing.
        ignored.stop();
        assert_eq!(signal::is_ignored(SIGUSR1), Ok(true));
        let again = signal::flag(SIGUSR1, &FLAG).unwrap();
        raise(SIGUSR1);
        assert!(FLAG.swap(false, Relaxed));
        drop(again);
        assert_eq!(signal::is_ignored(SIGUSR1), Ok(true), "as it was");
        let last = signal::flag(SIGUSR2, &FLAG).unwrap();
        signal::shutdown();
        assert!(is_default(SIGUSR2));
        drop(last);
        assert_eq!(signal::flag(SIGUSR2, &FLAG).map(drop), Err(SignalError::ShutDown));
    });
}

/// The child has its own copy, and nobody to wait for.
#[test]
fn in_the_child_of_a_fork() {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    isolated("in_the_child_of_a_fork", || {
        let count = signal::count(SIGUSR1, &COUNT).unwrap();
        raise(SIGUSR1);
        // SAFETY: one thread; the child ends by itself.
        let child = unsafe { libc::fork() };
        if child == 0 {
            raise(SIGUSR1);
            let counted = COUNT.load(Relaxed);
            count.stop();
            let code = i32::from(counted != 2 || !is_default(SIGUSR1));
            // SAFETY: no preconditions.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: the status is a local.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_eq!(COUNT.load(Relaxed), 1);
        raise(SIGUSR1);
        assert_eq!(COUNT.load(Relaxed), 2);
    });
}

/// Made and ended in a rain of the signal, which a subscription keeps from killing: each flag that is set was alive,
/// none is set after its stop.
#[test]
fn made_and_ended_in_a_rain() {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    static OVER: AtomicBool = AtomicBool::new(false);
    isolated("made_and_ended_in_a_rain", || {
        let kept = signal::subscribe([SIGUSR1]).unwrap();
        let raisers: Vec<_> = (0..2)
            .map(|_| {
                thread::spawn(|| {
                    let mut sent = 0_u64;
                    while !OVER.load(Relaxed) {
                        raise(SIGUSR1);
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        let mut rounds_with_some = 0;
        while rounds_with_some < 50 {
            let before = COUNT.load(Relaxed);
            let count = signal::count(SIGUSR1, &COUNT).unwrap();
            thread::yield_now();
            count.stop();
            let at_stop = COUNT.load(Relaxed);
            rounds_with_some += u32::from(at_stop != before);
            (0..10).for_each(|_| thread::yield_now());
            assert_eq!(COUNT.load(Relaxed), at_stop, "counted after stop");
        }
        OVER.store(true, Relaxed);
        let sent: u64 = raisers.into_iter().map(|raiser| raiser.join().unwrap()).sum();
        assert!(sent >= u64::from(COUNT.load(Relaxed)));
        drop(kept);
    });
}

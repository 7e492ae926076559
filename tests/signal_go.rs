//! Go's own tests of its signals, on this crate: what its users have come to rely on.
//!
//! Bounded: each test is a process of its own with an alarm of 30 s; that a signal does *not*
//! arrive is watched for 100 ms.
#![cfg(all(unix, not(loom)))]

mod common;

use std::sync::atomic::{AtomicBool, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use libc::{SIGCONT, SIGHUP, SIGINT, SIGUSR1, SIGWINCH};
use portcullis::signal::{self, Builder, RecvError, Subscription};

fn expect(subscription: &mut Subscription, signal: i32) {
    let delivery = subscription.recv_timeout(SOON).expect("the signal arrives");
    assert_eq!(delivery.signal, signal);
}

fn expect_nothing(subscription: &mut Subscription) {
    let got = subscription.recv_timeout(SETTLE);
    assert!(matches!(got, Err(RecvError::TimedOut | RecvError::Stopped)), "{got:?}");
}

/// Everything that can be subscribed to, but for what ends these tests.
fn every_signal() -> Vec<i32> {
    (1..65).filter(|s| *s != libc::SIGALRM && signal::counts(*s).is_ok()).collect()
}

/// TestSignal: a full mailbox keeps what it has and holds up nobody else.
#[test]
fn full_mailbox_blocks_nobody() {
    isolated("full_mailbox_blocks_nobody", || {
        let mut first = Builder::new().capacity(1).subscribe([SIGHUP]).unwrap();
        kill_self(SIGHUP);
        expect(&mut first, SIGHUP);
        let mut all = Builder::new().capacity(10).subscribe(every_signal()).unwrap();
        kill_self(SIGWINCH);
        expect(&mut all, SIGWINCH);
        // Two more fill the first mailbox, which nobody reads.
        for _ in 0..2 {
            kill_self(SIGHUP);
            expect(&mut all, SIGHUP);
        }
        kill_self(SIGWINCH);
        expect(&mut all, SIGWINCH);
        expect(&mut first, SIGHUP);
        assert_eq!(first.try_recv(), Ok(None));
        assert_eq!(first.dropped(), 1);
        assert_eq!(signal::counts(SIGHUP).unwrap().dropped, 1);
    });
}

/// TestStress: a storm of one signal against its reader; after the stop there is nothing.
#[test]
fn stress() {
    isolated("stress", || {
        // Whoever kills after the stop must not end the process.
        set_disposition(SIGUSR1, Disposition::simple(libc::SIG_IGN));
        let mut subscription = Builder::new().capacity(4).subscribe([SIGUSR1]).unwrap();
        let stopper = subscription.stopper();
        let done = AtomicBool::new(false);
        let received = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Acquire) {
                    kill_self(SIGUSR1);
                }
            });
            scope.spawn(|| {
                let end = Instant::now() + Duration::from_secs(1);
                while Instant::now() < end {
                    thread::yield_now();
                }
                stopper.stop().unwrap();
                // Under further signals nothing is added: the rest is all there is.
                let rest = signal::counts(SIGUSR1).unwrap().received;
                thread::yield_now();
                assert_eq!(signal::counts(SIGUSR1).unwrap().received, rest);
                done.store(true, Release);
            });
            subscription.iter().count() as u64
        });
        let counts = signal::counts(SIGUSR1).unwrap();
        assert_eq!(received + subscription.dropped(), counts.received);
        assert!(received > 100, "{counts:?}");
        assert_eq!(subscription.try_recv(), Err(RecvError::Stopped));
        assert_eq!(disposition(SIGUSR1).unwrap(), Disposition::simple(libc::SIG_IGN));
    });
}

fn cancelled_by(cancel: impl FnOnce()) {
    let mut window = signal::subscribe([SIGWINCH]).unwrap();
    let mut hangup = signal::subscribe([SIGHUP]).unwrap();
    kill_self(SIGWINCH);
    expect(&mut window, SIGWINCH);
    kill_self(SIGHUP);
    expect(&mut hangup, SIGHUP);
    // Accepted and not yet received: stays.
    kill_self(SIGWINCH);
    while signal::counts(SIGWINCH).unwrap().received < 2 {
        thread::yield_now();
    }
    cancel();
    kill_self(SIGWINCH);
    expect(&mut window, SIGWINCH);
    for subscription in [&mut window, &mut hangup] {
        assert_eq!(subscription.recv(), Err(RecvError::Stopped));
        assert_eq!(subscription.stop().unwrap(), signal::Stopped::default());
    }
}

#[test]
fn reset() {
    isolated("reset", || {
        cancelled_by(|| signal::reset([SIGWINCH, SIGHUP]).unwrap());
        for signal in [SIGWINCH, SIGHUP] {
            assert_eq!(disposition(signal).unwrap(), Disposition::simple(libc::SIG_DFL));
        }
    });
}

#[test]
fn ignore() {
    isolated("ignore", || {
        cancelled_by(|| signal::ignore([SIGWINCH, SIGHUP]).unwrap());
        kill_self(SIGHUP);
        assert!(signal::is_ignored(SIGHUP).unwrap());
        let mut again = signal::subscribe([SIGHUP]).unwrap();
        kill_self(SIGHUP);
        expect(&mut again, SIGHUP);
        again.stop().unwrap();
        assert!(signal::is_ignored(SIGHUP).unwrap(), "what was before the subscription");
    });
}

#[test]
fn ignored() {
    isolated("ignored", || {
        let subscription = signal::subscribe([SIGWINCH]).unwrap();
        assert!(!signal::is_ignored(SIGWINCH).unwrap());
        signal::ignore([SIGWINCH]).unwrap();
        assert!(signal::is_ignored(SIGWINCH).unwrap());
        signal::reset([SIGWINCH]).unwrap();
        assert!(!signal::is_ignored(SIGWINCH).unwrap());
        drop(subscription);
        assert!(!signal::is_ignored(SIGWINCH).unwrap());
    });
}

/// TestStop: before, while and after, for one signal that is ignored anyhow and two that kill.
#[test]
fn stop() {
    isolated("stop", || {
        if role().is_empty() {
            for signal in [SIGWINCH, SIGHUP, SIGUSR1] {
                let helper = Helper::start("stop", "one", &[("SIGNAL", signal as u64)]);
                assert!(helper.finish().success(), "signal {signal}");
            }
            return;
        }
        let signal = number("SIGNAL") as i32;
        // Not to die after the stop.
        set_disposition(signal, Disposition::simple(libc::SIG_IGN));
        let mut subscription = signal::subscribe([signal]).unwrap();
        kill_self(signal);
        expect(&mut subscription, signal);
        expect_nothing(&mut subscription);
        subscription.stop().unwrap();
        kill_self(signal);
        expect_nothing(&mut subscription);
    });
}

#[test]
fn sigcont() {
    isolated("sigcont", || {
        let mut subscription = signal::subscribe([SIGCONT]).unwrap();
        kill_self(SIGCONT);
        expect(&mut subscription, SIGCONT);
    });
}

/// TestNohup: uncaught SIGHUP kills, unless the process was started with it ignored; then
/// subscribe and stop restore the ignoring.
#[test]
fn nohup() {
    isolated("nohup", || match role().as_str() {
        "" => {
            let kills = |role: &str| {
                use std::os::unix::process::ExitStatusExt;
                Helper::start("nohup", role, &[]).finish().signal()
            };
            // These tests may be run by nohup themselves.
            set_disposition(SIGHUP, Disposition::simple(libc::SIG_DFL));
            assert_eq!(kills("bare"), Some(SIGHUP));
            assert_eq!(kills("cycled"), Some(SIGHUP));
            set_disposition(SIGHUP, Disposition::simple(libc::SIG_IGN));
            for role in ["survives", "survives_cycled"] {
                assert!(Helper::start("nohup", role, &[]).finish().success(), "{role}");
            }
        }
        "bare" => kill_self(SIGHUP),
        "cycled" => {
            signal::subscribe([SIGHUP]).unwrap().stop().unwrap();
            kill_self(SIGHUP);
        }
        "survives" => {
            assert!(signal::is_ignored(SIGHUP).unwrap());
            kill_self(SIGHUP);
        }
        _ => {
            let mut subscription = signal::subscribe([SIGHUP]).unwrap();
            assert!(!signal::is_ignored(SIGHUP).unwrap());
            kill_self(SIGHUP);
            expect(&mut subscription, SIGHUP);
            assert!(subscription.stop().unwrap().foreign.is_empty());
            assert!(signal::is_ignored(SIGHUP).unwrap());
            kill_self(SIGHUP);
        }
    });
}

/// SIGINT for a program that was started in the background by a shell: the same as for nohup.
#[test]
fn inherited_ignore_is_not_taken_for_ours() {
    isolated("inherited_ignore_is_not_taken_for_ours", || {
        set_disposition(SIGINT, Disposition::simple(libc::SIG_IGN));
        assert!(signal::is_ignored(SIGINT).unwrap());
        signal::reset([SIGINT]).unwrap();
        assert_eq!(disposition(SIGINT).unwrap().action, libc::SIG_DFL);
    });
}

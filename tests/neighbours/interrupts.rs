//! Two owners of the signal by which threads are interrupted: Go, programs with urgent data, another copy
//! of this crate.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::*};
use std::thread;

use libc::SIGURG;
use portcullis::all_threads::{Call, Operation, ThreadSeat, registered};
use portcullis::signal;

use super::common::*;
use super::{function, gettid, now, set, tgkill};

static SEATS: [ThreadSeat; 3] = [const { ThreadSeat::new() }; 3];
static THEIRS: AtomicU32 = AtomicU32::new(0);

extern "C" fn theirs(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    THEIRS.fetch_add(1, Release);
}

/// Threads that joined, until the end of `body`; it is told their numbers.
fn with_threads(body: impl FnOnce(&[libc::pid_t])) {
    let over = AtomicBool::new(false);
    let numbers = [const { AtomicI32::new(0) }; 2];
    thread::scope(|scope| {
        for (seat, number) in SEATS[1..].iter().zip(&numbers) {
            let over = &over;
            scope.spawn(move || {
                let _member = registered().join(seat).unwrap();
                number.store(gettid(), Release);
                while !over.load(Acquire) {
                    thread::yield_now();
                }
            });
        }
        let number = |place: &AtomicI32| loop {
            match place.load(Acquire) {
                0 => thread::yield_now(),
                number => return number,
            }
        };
        body(&numbers.each_ref().map(number));
        over.store(true, Release);
    });
}

fn call() -> u32 {
    static RAN: AtomicU32 = AtomicU32::new(0);
    registered().call(&SEATS, Call::new(Operation::count(&RAN))).unwrap().others
}

/// A neighbour sends one signal after the other, each only when the one before was handled, as Go's
/// preemption does: one that got lost in one of ours would end it.
fn neighbour_is_told(before_us: bool, signals: &[c_int]) {
    let come = || {
        for signal in signals {
            set(*signal, function(theirs), libc::SA_SIGINFO | libc::SA_ONSTACK);
        }
    };
    if before_us {
        come();
    }
    with_threads(|numbers| {
        if !before_us {
            // We have called before they came.
            assert_eq!(call(), 2);
            come();
        }
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let over = &over;
            let calls = scope.spawn(move || {
                let mut calls = 0;
                while !over.load(Acquire) {
                    assert_eq!(call(), 2);
                    calls += 1;
                }
                calls
            });
            for sent in 1..=4_000 {
                assert!(tgkill(numbers[sent as usize % 2], SIGURG));
                while THEIRS.load(Acquire) < sent {
                    thread::yield_now();
                }
            }
            over.store(true, Release);
            assert!(calls.join().unwrap() > 10);
        });
        assert_eq!(THEIRS.load(Acquire), 4_000, "none of ours was taken for theirs");
    });
}

#[test]
fn a_neighbour_before_us() {
    isolated_open("interrupts::a_neighbour_before_us", 60, || neighbour_is_told(true, &[SIGURG]));
}

#[test]
fn a_neighbour_after_us() {
    isolated_open("interrupts::a_neighbour_after_us", 60, || neighbour_is_told(false, &[SIGURG]));
}

/// As Go has when it is the host: nothing is left that nobody has.
#[test]
fn a_neighbour_with_every_signal() {
    isolated_open("interrupts::a_neighbour_with_every_signal", 60, || {
        let real_time: Vec<_> = (libc::SIGRTMIN()..=libc::SIGRTMAX()).collect();
        let every = [&[SIGURG], real_time.as_slice()].concat();
        neighbour_is_told(true, &every);
        // Theirs of the number that is shared now are theirs still.
        for signal in real_time {
            let before = THEIRS.load(Acquire);
            kill_self(signal);
            while THEIRS.load(Acquire) == before {
                thread::yield_now();
            }
        }
    });
}

/// Somebody takes our handler out between two calls, in every way there is.
#[test]
fn the_handler_is_taken_out() {
    isolated_open("interrupts::the_handler_is_taken_out", 60, || {
        with_threads(|_| {
            for _ in 0..3 {
                assert_eq!(call(), 2);
                set(SIGURG, libc::SIG_IGN, 0);
                assert_eq!(call(), 2);
                set(SIGURG, libc::SIG_DFL, 0);
                assert_eq!(call(), 2);
                // By ourselves: refused.
                let refused = Err(signal::SignalError::Interrupts(SIGURG));
                assert_eq!((signal::ignore([SIGURG]), signal::reset([SIGURG])), (refused, refused));
                assert_eq!(call(), 2);
                let subscription = signal::subscribe([SIGURG]).unwrap();
                assert_eq!(call(), 2);
                drop(subscription);
            }
        });
    });
}

/// Whoever subscribed to the signal, before us or after, receives what is theirs, and nothing of ours.
#[test]
fn no_phantoms_for_subscribers() {
    isolated_open("interrupts::no_phantoms_for_subscribers", 60, || {
        with_threads(|numbers| {
            assert_eq!(call(), 2);
            let mut subscription = signal::subscribe([SIGURG]).unwrap();
            for _ in 0..20 {
                assert_eq!(call(), 2);
            }
            assert_eq!(subscription.try_recv().unwrap(), None);
            assert!(tgkill(numbers[0], SIGURG));
            assert_eq!(subscription.recv_timeout(SOON).unwrap().signal, SIGURG);
            subscription.stop().unwrap();
            assert_eq!(call(), 2);
            assert_ne!(now(SIGURG).sa_sigaction, libc::SIG_IGN);
        });
    });
}

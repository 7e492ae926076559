//! Stopping is atomic, and children of fork and exec find the world as it should be.
//!
//! Bounded: each test is a process of its own with an alarm of 30 s, and so is each child.
#![cfg(all(unix, not(loom)))]

mod common;

use std::sync::atomic::{AtomicBool, Ordering::*};
use std::thread;

use common::*;
use libc::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use portcullis::signal::{self, Builder};

const EXECS: u64 = 20;
const TRIES: u64 = 100;
const RECEIVED: i32 = 0;
const LOST: i32 = 9;

/// TestAtomicStop: a signal that races with `stop` is received, or has the disposition from
/// before (here it kills): never neither. 20 programs of 100 processes each.
#[test]
fn stop_is_atomic() {
    isolated_within("stop_is_atomic", 120, || {
        if role() == "tries" {
            exit(tries(number("EXEC")));
        }
        // What this process ignored its children would ignore.
        let _caught = signal::subscribe([SIGINT]).unwrap();
        let mut received = 0;
        for exec in 0..EXECS {
            let helper = Helper::start("stop_is_atomic", "tries", &[("EXEC", exec)]);
            let code = helper.finish().code();
            received +=
                code.filter(|code| *code as u64 <= TRIES).expect("no try lost its signal") as u64;
        }
        let died = EXECS * TRIES - received;
        eprintln!("stop_is_atomic: {received} received, {died} died of it");
    });
}

/// How many received it; the others died of it. No number of tries if one did neither.
fn tries(exec: u64) -> i32 {
    signal::reset([SIGINT]).unwrap();
    let mut received = 0;
    for attempt in 0..TRIES {
        let head_start = (exec * TRIES + attempt) * 7 % 2000;
        match wait_for(fork(|| one_try(attempt % 10, head_start))) {
            Ended::Exited(RECEIVED) => received += 1,
            Ended::Killed(SIGINT) => {}
            other => panic!("try {attempt}: {other:?}, a lost signal is {LOST}"),
        }
    }
    received
}

/// Of ten tries four give the signal a head start, four the stop, and one each all the time.
fn one_try(order: u64, head_start: u64) -> i32 {
    alarm(60);
    let mut subscription = Builder::new().capacity(1).subscribe([SIGINT]).unwrap();
    let stopper = subscription.stopper();
    let (ready, go) = (AtomicBool::new(false), AtomicBool::new(false));
    let spin = |wanted| {
        (0..if wanted { head_start } else { 0 }).for_each(|_| std::hint::spin_loop());
    };
    thread::scope(|scope| {
        // The signal is for the thread that sends it: it has met its fate when `kill` returns.
        let stops = masked_thread(scope, || {
            ready.store(true, Release);
            while !go.load(Acquire) {
                (0..100).for_each(|_| std::hint::spin_loop());
                thread::yield_now();
            }
            spin(order % 2 == 0);
            stopper.stop().unwrap();
        });
        while !ready.load(Acquire) {
            thread::yield_now();
        }
        if order == 0 {
            kill_self(SIGINT);
        }
        go.store(true, Release);
        if order == 1 {
            stops.join().unwrap();
        }
        spin(order % 2 == 1);
        if order != 0 {
            kill_self(SIGINT);
        }
    });
    match subscription.recv() {
        Ok(delivery) if delivery.signal == SIGINT => RECEIVED,
        _ => LOST,
    }
}

/// TestCgoExecSignalMask: the mask of a child, before and after exec, is the program's own, while
/// signals arrive and subscriptions come and go.
#[test]
fn mask_of_children() {
    isolated("mask_of_children", || {
        const OWN: u128 = 1 << SIGUSR2;
        if role() == "image" {
            assert_eq!(mask(), OWN);
            return;
        }
        let terminate = signal::subscribe([SIGTERM]).unwrap();
        set_mask(OWN);
        let image = Image::new("mask_of_children", "image", &[]);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Acquire) {
                    kill_self(SIGTERM);
                }
            });
            scope.spawn(|| {
                while !done.load(Acquire) {
                    signal::subscribe([SIGUSR1]).unwrap().stop().unwrap();
                }
            });
            let ended: Vec<Ended> = (0..100)
                .map(|at| {
                    wait_for(fork(|| match mask() {
                        OWN if at % 4 == 0 => image.exec(),
                        OWN => 0,
                        _ => 3,
                    }))
                })
                .collect();
            done.store(true, Release);
            assert!(ended.iter().all(|ended| *ended == Ended::Exited(0)), "{ended:?}");
        });
        assert_eq!(mask(), OWN);
        drop(terminate);
    });
}

/// TestSignalDuringExec: a signal to the whole process group meets children between fork and
/// exec, where the handler is still in place.
#[test]
fn signal_to_the_group_during_exec() {
    isolated("signal_to_the_group_during_exec", || {
        if role() == "image" {
            return;
        }
        lead_group();
        let mut subscription = signal::subscribe([SIGWINCH]).unwrap();
        let image = Image::new("signal_to_the_group_during_exec", "image", &[]);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Acquire) {
                    kill(0, SIGWINCH).unwrap();
                }
            });
            for _ in 0..30 {
                assert_eq!(wait_for(fork(|| image.exec())), Ended::Exited(0));
                assert_eq!(subscription.recv_timeout(SOON).unwrap().signal, SIGWINCH);
            }
            done.store(true, Release);
        });
    });
}

//! Storms from other processes: nothing is lost, stops do not wait, errno is kept.
//!
//! What can be said exactly: the kernel queues real-time signals and refuses what it has no room
//! for, so each one that `sigqueue` accepted is received with its value, in order, or counted by
//! `overflow`. Standard signals the kernel merges itself and tells nobody: no more are received
//! than were sent, the mailbox and the counters agree, and one that is sent alone arrives.
//!
//! Bounded: a fixed number of signals, each test a process of its own with an alarm of 60 s.
#![cfg(all(any(target_os = "linux", target_os = "android", target_os = "freebsd"), not(loom)))]

mod common;

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use libc::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use portcullis::signal::{self, Builder, Delivery};

const SENDERS: usize = 4;
/// Signals of each sender; 1 in 5 is a real-time one.
const SIGNALS: usize = 255_000;
const SHARE: usize = 5;
const STANDARD: [i32; 2] = [SIGUSR1, SIGUSR2];
/// Sent once, in the middle of what the others send.
const ALONE: [i32; SENDERS] = [SIGHUP, SIGTERM, SIGINT, SIGQUIT];

/// One storm at a time.
fn alone(name: &str, body: impl FnOnce()) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    isolated_within(name, 60, body);
}

fn realtime(at: usize) -> i32 {
    libc::SIGRTMIN() + 1 + at as i32
}

fn send_all(sender: usize) {
    let target = parent();
    let mut sequence = 0;
    for at in 0..SIGNALS {
        if at % SHARE == 0 {
            queue(target, realtime(sender), sequence).unwrap();
            sequence += 1;
        } else {
            kill(target, STANDARD[at / SHARE % 2]).unwrap();
        }
    }
    kill(target, ALONE[sender]).unwrap();
}

#[derive(Default)]
struct Tally {
    deliveries: u64,
    merged: u64,
    /// Real-time ones whose origin was kept, and deliveries that stand for more.
    told: u64,
    untold: u64,
    last: [Option<usize>; SENDERS],
    alone: [u64; SENDERS],
}

impl Tally {
    fn add(&mut self, delivery: &Delivery) {
        let index = (delivery.signal - realtime(0)) as usize;
        if let Some(at) = ALONE.iter().position(|signal| *signal == delivery.signal) {
            self.alone[at] += 1;
        } else if delivery.signal < realtime(0) {
            self.deliveries += 1;
            self.merged += u64::from(delivery.coalesced);
        } else if let Some(origin) = delivery.origin {
            self.told += 1;
            assert!(self.last[index] < Some(origin.value), "sender {index} out of order");
            self.last[index] = Some(origin.value);
        } else {
            self.untold += 1;
        }
    }
}

#[test]
fn a_million_signals() {
    alone("a_million_signals", || {
        if role() == "sender" {
            return send_all(number("SENDER") as usize);
        }
        limit_queue();
        let senders = 0..SENDERS;
        let set = senders.clone().map(realtime).chain(STANDARD).chain(ALONE);
        let mut subscription = Builder::new().capacity(1 << 20).subscribe(set).unwrap();
        let stopper = subscription.stopper();
        let start = Instant::now();
        let tally = thread::scope(|scope| {
            let reader = masked_thread(scope, || {
                let mut tally = Tally::default();
                subscription.iter().for_each(|delivery| tally.add(&delivery));
                tally
            });
            let start = |at| Helper::start("a_million_signals", "sender", &[("SENDER", at)]);
            let all: Vec<Helper> = (0..SENDERS as u64).map(start).collect();
            for sender in all {
                assert!(sender.finish().success());
            }
            // This thread, which takes all signals, took the last before it saw the sender's end.
            stopper.stop().unwrap();
            reader.join().unwrap()
        });
        let took = start.elapsed();
        let queued = (SENDERS * SIGNALS.div_ceil(SHARE)) as u64;
        let sent = (SENDERS * SIGNALS) as u64 - queued;
        assert_eq!(subscription.dropped(), 0);
        assert_eq!(
            tally.told + signal::overflow(),
            queued,
            "real-time: received + overflow = sent"
        );
        assert!(tally.untold <= signal::overflow());
        assert_eq!(tally.alone, [1; SENDERS], "sent once, received once");
        let counts = STANDARD.map(|signal| signal::counts(signal).unwrap());
        assert_eq!(tally.deliveries, counts.iter().map(|c| c.received).sum());
        assert_eq!(tally.merged, counts.iter().map(|c| c.coalesced).sum());
        assert!(counts.iter().all(|c| c.received > 0));
        assert!(tally.deliveries + tally.merged <= sent);
        eprintln!(
            "a_million_signals: {} sent in {took:.1?}; \
             real-time {} with origin, {} merged into {}; \
             standard {sent} sent, {} received, {} merged by us",
            sent + queued,
            tally.told,
            signal::overflow(),
            tally.untold,
            tally.deliveries,
            tally.merged,
        );
    });
}

/// Sends standard signals for as long as it may.
fn storm() {
    let target = parent();
    while !told_to_end() {
        (0..64).for_each(|_| kill(target, SIGUSR1).unwrap());
    }
}

fn start_storm(name: &str) -> [Helper; 2] {
    [(); 2].map(|()| Helper::start(name, "storm", &[]))
}

/// Receives in a thread that no signal interrupts until `work` is done.
fn under_storm(name: &str, work: impl FnOnce()) {
    let mut subscription = signal::subscribe([SIGUSR1]).unwrap();
    let stopper = subscription.stopper();
    thread::scope(|scope| {
        masked_thread(scope, || (&mut subscription).into_iter().for_each(drop));
        let storms = start_storm(name);
        while signal::counts(SIGUSR1).unwrap().received < 100 {
            thread::yield_now();
        }
        work();
        storms.into_iter().for_each(|storm| assert!(storm.finish().success()));
        // The last of them was for this thread or is for it now.
        stopper.stop().unwrap();
    });
}

/// Whoever stops is interrupted by the storm all the while, and still does not wait for it.
#[test]
fn stops_under_storm() {
    alone("stops_under_storm", || {
        if role() == "storm" {
            return storm();
        }
        under_storm("stops_under_storm", || {
            let stormed = || signal::counts(SIGUSR1).unwrap().received;
            let mut waits: Vec<Duration> = (0..100)
                .map(|_| {
                    let subscription = signal::subscribe([SIGUSR2]).unwrap();
                    kill_self(SIGUSR2);
                    let before = stormed();
                    while stormed() < before + 5 {
                        thread::yield_now();
                    }
                    let start = Instant::now();
                    subscription.stop().unwrap();
                    start.elapsed()
                })
                .collect();
            waits.sort();
            let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
            eprintln!("stops_under_storm: median {median:.1?}, longest {longest:.1?} of 100");
            assert!(longest < Duration::from_secs(1), "{waits:?}");
            let counts = signal::counts(SIGUSR2).unwrap();
            assert_eq!(counts.received, 100, "each was accepted before its stop: {counts:?}");
        });
    });
}

#[test]
fn errno_is_kept_under_storm() {
    alone("errno_is_kept_under_storm", || {
        if role() == "storm" {
            return storm();
        }
        under_storm("errno_is_kept_under_storm", || {
            // Each of them was a run of the handler, in this thread.
            let runs = || {
                let counts = signal::counts(SIGUSR1).unwrap();
                counts.received + counts.coalesced
            };
            let before = runs();
            let mut calls = 0_u64;
            // On one core there is a signal to each turn of a sender, which takes its time.
            let start = Instant::now();
            while runs() < before + 100
                || runs() < before + 20_000 && start.elapsed() < Duration::from_secs(3)
            {
                for _ in 0..1000 {
                    // SAFETY: no descriptor is -1.
                    assert_eq!(errno_of(|| unsafe { libc::close(-1) }), libc::EBADF);
                    // SAFETY: the path is a text that ends with zero.
                    let access = || unsafe { libc::access(c"/no/such/file".as_ptr(), 0) };
                    assert_eq!(errno_of(access), libc::ENOENT);
                    calls += 2;
                }
            }
            eprintln!("errno_is_kept_under_storm: {calls} calls, {} signals", runs() - before);
        });
    });
}

//! Attach and detach in storms on the real kernel: more threads than records, forks, a new
//! program, and an end while threads wait.
//!
//! Bounded: 1,000 threads; 200 forks, 200 in handlers, 100 in a wait; 10 programs. Each test is a
//! process of its own with an alarm of 30 s, each child of 10 s.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;
mod foreign;

use std::ffi::{c_int, c_long, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering::*};
use std::thread;

use common::*;
use foreign::*;
use portcullis::attach::{AttachError, Binding, How, ThreadState};
use portcullis::note::Deadline;

fn until(done: impl Fn() -> bool) {
    while !done() {
        thread::yield_now();
    }
}

static OPEN: AtomicBool = AtomicBool::new(false);
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// The first ones stay until nearly all others wait.
extern "C" fn one_of_many(_: *mut c_void) -> c_long {
    let token = attach(Binding::Unbound);
    visit(&token);
    MOST.fetch_max(INSIDE.fetch_add(1, AcqRel) + 1, Relaxed);
    until(|| OPEN.load(Acquire) || THREADS.counts().waiting >= 900);
    OPEN.store(true, Release);
    INSIDE.fetch_sub(1, AcqRel);
    1
}

/// Each waits for one of eight records, interrupted by handlers, which attach all the same.
#[test]
fn a_thousand_threads_through_eight_records() {
    isolated("a_thousand_threads_through_eight_records", || {
        begin(8);
        let plan = Plan { senders: 2, signals: 20, ..Plan::new(1000, 1, one_of_many) };
        assert_eq!(plan.run(), 1000, "all got one");
        assert_eq!(MOST.load(Relaxed), 8);
        assert_eq!(THREADS.counts().total, RESERVE + 8);
        assert!(HANDLED[0].load(Relaxed) > 1000, "{HANDLED:?}");
        assert_clean();
        eprintln!("a_thousand_threads: handlers {HANDLED:?}");
    });
}

static OVER: AtomicBool = AtomicBool::new(false);

/// Attaches in every way, for as long as it may.
extern "C" fn churn(_: *mut c_void) -> c_long {
    let mut calls = 0;
    while !OVER.load(Acquire) {
        visit(&attach(Binding::Unbound));
        let _ = THREADS.attach_until(Binding::Unbound, &Deadline::after(Default::default()));
        calls += 1;
    }
    // It ends with a record, so that others end while a child is made.
    visit(&attach(Binding::Bound));
    calls
}

/// In the child: what the parent's other threads held is spare, and all of it can be had.
fn use_inherited(held: usize) -> i32 {
    alarm(10);
    let counts = THREADS.counts();
    if (counts.in_use, counts.waiting) != (held, 0) || counts.spare != counts.total - held {
        return 2;
    }
    visit(&attach(Binding::Unbound));
    raise_here(libc::SIGUSR1);
    let calls = Plan { senders: 1, signals: 2, ..Plan::new(4, 5, call_unbound) }.run();
    if calls != 20 || Plan::new(4, 5, call_bound).run() != 20 {
        return 3;
    }
    // As many at a time as the list has.
    let ordinary = counts.total - RESERVE - held;
    static HAD: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn meet(all: *mut c_void) -> c_long {
        let token = THREADS.attach(Binding::Unbound);
        HAD.fetch_add(1, AcqRel);
        until(|| HAD.load(Acquire) >= all.addr());
        c_long::from(token.is_ok())
    }
    let argument = ptr::without_provenance_mut(ordinary);
    if (Plan { argument, ..Plan::new(ordinary as c_int, 1, meet) }).run() != ordinary as c_long {
        return 4;
    }
    i32::from(THREADS.counts().in_use != held || THREADS.misuse() != (0, 0))
}

#[test]
fn two_hundred_forks_in_a_storm() {
    isolated("two_hundred_forks_in_a_storm", || {
        begin(6);
        foreign();
        thread::scope(|scope| {
            let storms = [1, 2].map(|senders| {
                let plan = Plan { senders, signals: 1_000, ..Plan::new(6, 1, churn) };
                // More threads than records; a pointer is not sent.
                scope.spawn(move || Plan { argument: ptr::null_mut(), ..with(plan.senders) }.run())
            });
            for at in 0..200 {
                let token = (at % 2 == 0).then(|| attach(Binding::Unbound));
                let held = usize::from(token.is_some());
                let child = fork(|| use_inherited(held));
                assert_eq!(wait_for(child), Ended::Exited(0), "child {at}");
            }
            OVER.store(true, Release);
            storms.into_iter().for_each(|storm| assert!(storm.join().unwrap() > 0));
        });
        assert_clean();
    });
}

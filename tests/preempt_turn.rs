//! The turn among those who suspend, on the real kernel: who waits for it gets it, however greedy the
//! others are.
//!
//! All on one processor, where who waits can look only now and then. Each test is a process of its own
//! with an alarm.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;

use std::hint::black_box;
use std::mem::zeroed;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Instant;

use common::*;
use portcullis::preempt::{Either, Gate, Gates, Hook, SuspendError, SystemBackend, ThreadRef};

static GATES: LazyLock<Gates<Either, SystemBackend>> =
    LazyLock::new(|| Gates::new(Either::new(), SystemBackend::new(Hook::nothing())));
const THREADS: usize = 3;
static EACH: [Gate<SystemBackend>; THREADS] = [const { Gate::new() }; THREADS];

type Thread = ThreadRef<Either, SystemBackend>;

static OVER: AtomicBool = AtomicBool::new(false);

/// Puts the process on the processor that it is running on.
fn one_processor() {
    // SAFETY: a set of our own, and the calling thread, which is the only one so far.
    unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &raw const set), 0);
    }
}

/// Registered, and busy until all is over.
fn spins(at: usize, told: &Sender<Thread>) {
    let member = GATES.register(&EACH[at]).expect("a gate of its own");
    told.send(member.thread()).expect("it is waited for");
    while !black_box(OVER.load(Acquire)) {}
}

/// Suspends one thread over and over, and never waits between, until somebody has done so often.
fn greedy(thread: Thread, suspensions: &AtomicU64, enough: u64) {
    while !OVER.load(Acquire) {
        match GATES.try_suspend(thread).map(drop) {
            Ok(()) if suspensions.fetch_add(1, Relaxed) < enough => {}
            // Enough, or another one found it so, and the thread ended.
            Ok(()) | Err(SuspendError::Gone) => OVER.store(true, Release),
            Err(other) => panic!("{other}"),
        }
    }
}

struct Over;

impl Drop for Over {
    fn drop(&mut self) {
        OVER.store(true, Release);
    }
}

/// How often each of three that suspend without a pause did so when one has had enough.
fn three_greedy(enough: u64) {
    let start = Instant::now();
    let counts = [const { AtomicU64::new(0) }; 3];
    thread::scope(|scope| {
        let _over = Over;
        let threads = [0, 1, 2].map(|at| {
            let (sender, told) = mpsc::channel();
            scope.spawn(move || spins(at, &sender));
            told.recv().expect("it registers")
        });
        let greedy = [0, 1, 2].map(|at| {
            let (thread, count) = (threads[at], &counts[at]);
            scope.spawn(move || greedy(thread, count, enough))
        });
        greedy.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let counts = counts.map(AtomicU64::into_inner);
    eprintln!("{counts:?} in {:?}", start.elapsed());
    assert!(counts.iter().all(|&count| count > enough / 4), "{counts:?}");
}

/// None is kept waiting for long.
#[test]
fn the_greedy_let_others_by() {
    isolated_within("the_greedy_let_others_by", 100, || {
        one_processor();
        three_greedy(100);
    });
}

/// A process that never waits.
struct Busy(i32);

impl Busy {
    fn start() -> Self {
        let parent = pid();
        Self(fork(|| {
            alarm(100);
            while common::parent() == parent {}
            0
        }))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        kill(self.0, libc::SIGKILL).expect("a child");
        wait_for(self.0);
    }
}

/// Nor where others want the processor: who waits for the turn gets it by what those do who have it, not by
/// when it comes to run.
#[test]
fn the_greedy_let_others_by_on_a_busy_machine() {
    isolated_within("the_greedy_let_others_by_on_a_busy_machine", 100, || {
        one_processor();
        let _busy = [0; 4].map(|_| Busy::start());
        three_greedy(20);
    });
}

//! The gate on Windows: threads suspended by the system, and processes that end meanwhile.
//!
//! Bounded: 2,000 suspensions; 100 ends of a process (or as many as PORTCULLIS_ENDS says), each
//! within ten seconds, and until the first hang, at most 200, of those that end past the gate.
#![cfg(all(windows, not(loom)))]

use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use portcullis::preempt::{
    Asymmetric, Fenced, Gate, Gates, Hook, SuspendError, SystemBackend, Target,
};

static PREEMPTED: AtomicU64 = AtomicU64::new(0);

fn preempted(registers: *mut ()) {
    assert!(!registers.is_null());
    PREEMPTED.fetch_add(1, Relaxed);
}

// SAFETY: it adds to a counter; the registers are there, so it does not panic.
const PREEMPT: Hook = unsafe { Hook::new(preempted) };

static FENCED: Gates<Fenced, SystemBackend> = Gates::new(Fenced, SystemBackend::new(PREEMPT));
static FIRST: Gate<SystemBackend> = Gate::new();
static SECOND: Gate<SystemBackend> = Gate::new();
static OUTSIDE: AtomicBool = AtomicBool::new(false);
static HEAP: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicBool = AtomicBool::new(false);

fn stands_still() {
    assert!(!OUTSIDE.load(Relaxed), "suspended in external code");
    let before = HEAP.load(Relaxed);
    (0..100).for_each(|_| std::hint::spin_loop());
    assert_eq!(HEAP.load(Relaxed), before, "it goes on");
}

#[test]
fn suspended_inside_and_never_outside() {
    let (name, named) = channel();
    let mutator = thread::spawn(move || {
        let mut member = FENCED.register(&FIRST).unwrap();
        name.send(member.thread()).unwrap();
        while !OVER.load(Acquire) {
            (0..500).for_each(|_| _ = HEAP.fetch_add(1, Relaxed));
            let external = member.external();
            OUTSIDE.store(true, Relaxed);
            (0..20).for_each(|_| std::hint::spin_loop());
            OUTSIDE.store(false, Relaxed);
            drop(external);
        }
    });
    let target = named.recv().unwrap();
    let (mut suspended, mut external, mut acknowledged) = (0, 0, 0);
    for round in 0.. {
        if suspended == 2000 {
            break;
        }
        match FENCED.try_suspend(target) {
            Ok(guard) => {
                stands_still();
                assert!(guard.context().flatten().is_some());
                suspended += 1;
            }
            Err(SuspendError::External) => {
                external += 1;
                thread::yield_now();
            }
            Err(other) => panic!("{other}"),
        }
        if round % 16 == 0 {
            acknowledged += u32::from(FENCED.request(target).is_ok_and(|r| r.is_acknowledged()));
        }
    }
    let mut targets = [Target::new(target)];
    drop(FENCED.stop_all(&mut targets));
    OVER.store(true, Release);
    mutator.join().unwrap();
    assert_eq!(FENCED.try_suspend(target).map(drop), Err(SuspendError::Gone));
    println!("{suspended} suspended, {external} external, {acknowledged} preempted");
    assert!(acknowledged > 0 && PREEMPTED.load(Relaxed) >= acknowledged.into());
}

#[test]
fn the_system_has_a_heavy_barrier() {
    static BARRIER: LazyLock<Option<Asymmetric>> = LazyLock::new(Asymmetric::new);
    static ASYMMETRIC: LazyLock<Gates<Asymmetric, SystemBackend>> = LazyLock::new(|| {
        Gates::new(BARRIER.expect("looked at first"), SystemBackend::new(PREEMPT))
    });
    if BARRIER.is_none() {
        println!("left out: wine's FlushProcessWriteBuffers does nothing");
        return;
    }
    let (name, named) = channel();
    let (over, end) = channel::<()>();
    let other = thread::spawn(move || {
        let member = ASYMMETRIC.register(&SECOND).unwrap();
        name.send(member.thread()).unwrap();
        let _ = end.recv();
    });
    let target = named.recv().unwrap();
    assert!(ASYMMETRIC.try_suspend(target).is_ok());
    drop(over);
    other.join().unwrap();
}

const ROLE: &str = "PORTCULLIS_END";

/// Ends while another thread suspends the one that ends it (golang/go#35775), or all that there are,
/// as one that patches code does (KNSoft.SlimDetours#31).
fn end_of(role: &str) -> ! {
    let mut member = FENCED.register(&FIRST).unwrap();
    let target = member.thread();
    let go = std::sync::Arc::new(AtomicBool::new(false));
    let begun = go.clone();
    thread::spawn(move || {
        let mut all = [Target::new(target)];
        loop {
            drop(FENCED.try_suspend(target));
            drop(FENCED.stop_all(&mut all));
            begun.store(true, Release);
            thread::yield_now();
        }
    });
    while !go.load(Acquire) {
        thread::yield_now();
    }
    if role == "gated" {
        let _ = member.exit(7);
    }
    std::process::exit(7)
}

/// The child of the test of that name.
fn child(role: &str) -> Child {
    let own = std::env::current_exe().unwrap();
    let mut command = Command::new(own);
    command.args(["--exact", "a_process_ends", "--nocapture"]).env(ROLE, role);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn ends_in_time(role: &str) -> bool {
    let mut child = child(role);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(7), "{role}");
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

#[test]
fn a_process_ends() {
    if let Ok(role) = std::env::var(ROLE) {
        end_of(&role);
    }
    let ends = std::env::var("PORTCULLIS_ENDS").map_or(100, |text| text.parse().unwrap());
    for run in 0..ends {
        assert!(ends_in_time("gated"), "hung in run {run}");
    }
    let first = (0..200).find(|_| !ends_in_time("past the gate"));
    println!("{ends} ends through the gate, past it the first hang in run {first:?}");
    assert!(first.is_some(), "the control hangs");
}

//! Callers that are held up at every step of the protocol: wherever a runtime's part of it is called, it
//! dawdles, in handlers too. What libpsx 2.76 does not survive with one delay in one place.
//!
//! Bounded: two seconds, or as many as PORTCULLIS_SECONDS says. A process of its own with an alarm.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;

use std::cell::Cell;
use std::ffi::c_int;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use portcullis::all_threads::host::{Reach, SeatLocal};
use portcullis::all_threads::{AllThreads, Call, Errno, Member, Operation, Seat};
use portcullis::note::{Note, Park};

const SIGNAL: c_int = libc::SIGUSR2;

/// A runtime's own way of reaching its threads.
struct Dawdling;

thread_local! {
    static HERE: SeatLocal<Dawdling> = const { SeatLocal::new() };
    static RANDOM: Cell<u32> = const { Cell::new(0) };
    /// How often the thread has run an operation.
    static RAN: Cell<u32> = const { Cell::new(0) };
}

/// Nothing, mostly; or as long as a step, as a system call, as another thread's turn.
fn dawdle() {
    let mut random = RANDOM.get().wrapping_add(gettid() as u32) | 1;
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    RANDOM.set(random);
    match random % 1024 {
        0 => thread::yield_now(),
        1..64 => (0..random >> 22).for_each(|_| spin_loop()),
        64..512 => (0..random >> 27).for_each(|_| spin_loop()),
        _ => {}
    }
}

fn gettid() -> c_int {
    // SAFETY: no preconditions.
    unsafe { libc::gettid() }
}

// SAFETY: `HERE` is a thread-local, that of the one `AllThreads` here. Threads are numbered; all leave before
// they end.
unsafe impl Reach for Dawdling {
    fn here(&self) -> *const SeatLocal<Self> {
        dawdle();
        HERE.with(std::ptr::from_ref)
    }
    fn current(&self) -> usize {
        dawdle();
        gettid() as usize
    }
    unsafe fn prepare(&self) -> Result<(), Errno> {
        Ok(())
    }
    unsafe fn interrupt(&self, name: usize) -> Result<bool, Errno> {
        dawdle();
        // SAFETY: no memory is passed.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, pid(), name as c_int, SIGNAL) };
        dawdle();
        Ok(sent == 0)
    }
    fn abort(&self) {
        exit(99);
    }
}

// SAFETY: the only one of its type.
static ALL: AllThreads<Dawdling> = unsafe { AllThreads::new(Dawdling) };
static EACH: [Seat<Dawdling>; 4] = [const { Seat::new() }; 4];
static CALLS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
static OVER: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: c_int) {
    ALL.on_signal();
}

fn run() -> Result<i32, Errno> {
    dawdle();
    RAN.set(RAN.get() + 1);
    Ok(0)
}

/// Calls for so long; what it is asked meanwhile it runs.
fn caller(at: usize, length: Duration) {
    let start = Instant::now();
    while start.elapsed() < length {
        // SAFETY: it touches cells of its thread that nothing else touches but at worst a random number.
        let run = unsafe { Operation::new(&run) };
        let report = ALL.call(&EACH, Call::new(run)).expect("nothing fails");
        assert_eq!((report.others, report.mismatches), (3, 0));
        CALLS[at].fetch_add(1, Relaxed);
    }
}

/// A thread with this seat, until all are done; how often it ran.
fn member<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    at: usize,
    body: impl FnOnce(&Member<Dawdling>) + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, u32> {
    static JOINED: AtomicU32 = AtomicU32::new(0);
    static DONE: AtomicU32 = AtomicU32::new(0);
    scope.spawn(move || {
        let member = ALL.join(&EACH[at]).expect("a seat of its own");
        JOINED.fetch_add(1, AcqRel);
        while JOINED.load(Acquire) < 4 {
            thread::yield_now();
        }
        body(&member);
        // Nobody leaves before all have called for the last time.
        DONE.fetch_add(1, AcqRel);
        while DONE.load(Acquire) < 4 {
            thread::yield_now();
        }
        drop(member);
        RAN.get()
    })
}

/// Two callers, one that polls, one that sleeps: each runs each call once.
#[test]
fn two_callers_with_delays() {
    static NOTE: Note = Note::new();
    let seconds = std::env::var("PORTCULLIS_SECONDS");
    let seconds = seconds.map_or(2, |text| text.parse().expect("a number"));
    isolated_open("two_callers_with_delays", seconds + 60, || {
        let flags = libc::SA_RESTART | libc::SA_ONSTACK;
        let handler = on_signal as *const () as usize;
        set_disposition(SIGNAL, Disposition { flags, ..Disposition::simple(handler) });
        let length = Duration::from_secs(seconds.into());
        let ran = thread::scope(|scope| {
            let polls = member(scope, 2, |member| {
                while !OVER.load(Acquire) {
                    member.poll();
                }
            });
            let sleeps = member(scope, 3, |member| {
                while !OVER.load(Acquire) {
                    member.sleep(&NOTE, None);
                    NOTE.clear();
                }
            });
            let callers = [0, 1].map(|at| member(scope, at, move |_| caller(at, length)));
            let over = scope.spawn(|| {
                // The callers wait for the two others to be done.
                thread::sleep(length);
                OVER.store(true, Release);
                while !(polls.is_finished() && sleeps.is_finished()) {
                    NOTE.wake();
                    thread::yield_now();
                }
                [polls.join().unwrap(), sleeps.join().unwrap()]
            });
            let [first, second] = callers.map(|caller| caller.join().unwrap());
            let [third, fourth] = over.join().unwrap();
            [first, second, third, fourth]
        });
        let calls = CALLS.each_ref().map(|calls| calls.load(Relaxed));
        eprintln!("two_callers_with_delays: {calls:?} calls, run {ran:?} times");
        let total = calls.iter().sum();
        assert!(calls.iter().all(|&own| own > total / 10), "one was kept waiting: {calls:?}");
        assert_eq!(ran, [total; 4]);
    });
}

//! The gate in storms on the real kernel: threads that go out and come back, take signals, begin and
//! end, while others suspend and preempt them; ends of the process and other programs at any moment.
//!
//! Bounded: 100,000 suspensions (or as many as PORTCULLIS_PAIRS says), 1,000 exits, 20 programs. Each test is a process of its own
//! with an alarm.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;

use std::ffi::c_int;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Mutex, mpsc};
use std::thread;

use common::*;
use portcullis::preempt::{
    Either, Gate, Gates, Hook, Registration, SuspendError, SystemBackend, Target, ThreadRef,
};
use std::sync::LazyLock;

const PAIRS: &str = "PORTCULLIS_PAIRS";

static PREEMPTED: AtomicU64 = AtomicU64::new(0);

fn preempted(context: *mut ()) {
    assert_ne!(context, std::ptr::null_mut());
    PREEMPTED.fetch_add(1, Relaxed);
}

// SAFETY: it adds to a counter; the context is there, so it does not panic.
const PREEMPT: Hook = unsafe { Hook::new(preempted) };

static GATES: LazyLock<Gates<Either, SystemBackend>> =
    LazyLock::new(|| Gates::new(Either::new(), SystemBackend::new(PREEMPT)));
const MUTATORS: usize = 4;
static EACH: [Gate<SystemBackend>; MUTATORS] = [const { Gate::new() }; MUTATORS];

type Thread = ThreadRef<Either, SystemBackend>;

/// What a thread shows of itself.
#[derive(Default)]
struct Shown {
    outside: AtomicBool,
    /// Counts up while inside.
    heap: AtomicU64,
}
static SHOWN: [Shown; MUTATORS] =
    [const { Shown { outside: AtomicBool::new(false), heap: AtomicU64::new(0) } }; MUTATORS];
static THREADS: Mutex<[Option<Thread>; MUTATORS]> = Mutex::new([None; MUTATORS]);
static OVER: AtomicBool = AtomicBool::new(false);

fn register(at: usize) -> Registration<Either, SystemBackend> {
    let member = GATES.register(&EACH[at]).expect("a gate of its own");
    THREADS.lock().unwrap()[at] = Some(member.thread());
    member
}

/// So many rounds of work, each with a call out.
fn mutate(at: usize, rounds: u32) {
    let mut member = register(at);
    let shown = &SHOWN[at];
    for round in 0..rounds {
        for _ in 0..50 {
            shown.heap.fetch_add(1, Relaxed);
        }
        if round % 64 == 32 {
            thread::yield_now();
        }
        let mut external = member.external();
        shown.outside.store(true, Relaxed);
        if round % 64 == 0 {
            thread::yield_now();
        }
        shown.outside.store(false, Relaxed);
        if round % 8 == 0 {
            // Called back.
            let _inside = external.inside();
            shown.heap.fetch_add(1, Relaxed);
        }
    }
}

/// Lives while others do.
fn mutator(at: usize) {
    while !OVER.load(Acquire) {
        thread::spawn(move || mutate(at, 2000)).join().unwrap();
    }
}

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: c_int) {
    HANDLED.fetch_add(1, Relaxed);
}

fn known(at: usize) -> Option<Thread> {
    THREADS.lock().unwrap()[at]
}

/// How attempts went.
#[derive(Debug, Default)]
struct Account {
    suspended: u64,
    external: u64,
    gone: u64,
    /// In the middle of registering.
    busy: u64,
}

/// Ends the mutators, by a panic too.
struct Over;

impl Drop for Over {
    fn drop(&mut self) {
        OVER.store(true, Release);
    }
}

impl Account {
    fn add(&mut self, outcome: Result<(), SuspendError>) {
        match outcome {
            Ok(()) => self.suspended += 1,
            Err(SuspendError::External) => self.external += 1,
            Err(SuspendError::Gone) => self.gone += 1,
            Err(SuspendError::Busy) => self.busy += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn stands_still(at: usize) {
    let shown = &SHOWN[at];
    assert!(!shown.outside.load(Relaxed), "suspended in external code");
    let before = shown.heap.load(Relaxed);
    (0..20).for_each(|_| spin_loop());
    assert_eq!(shown.heap.load(Relaxed), before, "it goes on");
}

#[test]
fn many_suspensions() {
    isolated_within("many_suspensions", 200, || {
        set_disposition(
            libc::SIGUSR1,
            Disposition {
                flags: libc::SA_RESTART,
                ..Disposition::simple(count as *const () as usize)
            },
        );
        let pairs = std::env::var(PAIRS).map_or(100_000, |text| text.parse().expect("a number"));
        let mut account = Account::default();
        thread::scope(|scope| {
            let _over = Over;
            (0..2).for_each(|at| drop(scope.spawn(move || mutator(at))));
            scope.spawn(|| {
                while !OVER.load(Acquire) {
                    // To whichever thread takes it.
                    // SAFETY: no preconditions.
                    unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
                    thread::sleep(std::time::Duration::from_micros(100));
                }
            });
            while account.suspended < pairs {
                for at in 0..2 {
                    let Some(thread) = known(at) else { continue };
                    let attempt = GATES.try_suspend(thread);
                    match attempt {
                        Ok(ref _suspended) => stands_still(at),
                        Err(_) => thread::yield_now(),
                    }
                    account.add(attempt.map(drop));
                }
            }
        });
        eprintln!(
            "many_suspensions: {account:?}, {} handlers, {}",
            HANDLED.load(Relaxed),
            Either::new()
        );
        assert!(account.external > 100 && account.gone > 0, "{account:?}");
        assert!(HANDLED.load(Relaxed) > 0);
    });
}

#[test]
fn the_world_is_stopped_and_preempted() {
    isolated_within("the_world_is_stopped_and_preempted", 100, || {
        let mut account = Account::default();
        let (mut asked, mut acknowledged) = (0, 0);
        thread::scope(|scope| {
            let _over = Over;
            (0..MUTATORS).for_each(|at| drop(scope.spawn(move || mutator(at))));
            for round in 0..20_000 {
                let all: Vec<_> = (0..MUTATORS).filter_map(|at| Some((at, known(at)?))).collect();
                if round % 4 == 3 {
                    for (_, thread) in all {
                        if let Ok(request) = GATES.request(thread) {
                            asked += 1;
                            while !request.is_acknowledged() {
                                thread::yield_now();
                            }
                            acknowledged += 1;
                        }
                    }
                    continue;
                }
                let mut targets: Vec<_> = all.iter().map(|(_, t)| Target::new(*t)).collect();
                let stopped = GATES.stop_all(&mut targets);
                for ((at, _), target) in all.iter().zip(stopped.targets()) {
                    if target.outcome().is_ok() {
                        stands_still(*at);
                    }
                }
                drop(stopped);
                targets.iter().for_each(|target| account.add(target.outcome()));
                thread::yield_now();
            }
        });
        eprintln!(
            "the_world: {account:?}, {asked} requests, {} met inside",
            PREEMPTED.load(Relaxed)
        );
        assert_eq!(asked, acknowledged);
        assert!(account.suspended > 100 && PREEMPTED.load(Relaxed) > 0);
    });
}

/// TestAsyncPreempt's purpose: a loop that never looks is left all the same.
#[test]
fn a_tight_loop_is_preempted() {
    isolated("a_tight_loop_is_preempted", || {
        static STOP: AtomicBool = AtomicBool::new(false);
        static LOOPS: LazyLock<Gates<Either, SystemBackend>> =
            LazyLock::new(|| Gates::new(Either::new(), SystemBackend::new(Hook::flag(&STOP))));
        let (sender, threads) = mpsc::channel();
        for _ in 0..100 {
            STOP.store(false, Relaxed);
            let sender = sender.clone();
            let spins = thread::spawn(move || {
                let member = LOOPS.register(&EACH[0]).unwrap();
                sender.send(member.thread()).unwrap();
                while !black_box(STOP.load(Relaxed)) {}
            });
            let request = LOOPS.request(threads.recv().unwrap()).unwrap();
            spins.join().unwrap();
            assert!(request.is_acknowledged());
        }
    });
}

/// A process that ends at any moment, from outside, with others at its threads.
fn exit_now(seed: u64) -> ! {
    alarm(10);
    let mut member = register(0);
    let thread = member.thread();
    for _ in 0..2 {
        thread::spawn(move || {
            loop {
                drop(GATES.try_suspend(thread));
                let _ = GATES.request(thread);
            }
        });
    }
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    random ^= random >> 29;
    for _ in 0..random % 20_000 {
        spin_loop();
    }
    match member.exit(7) {
        Err(error) => panic!("{error}"),
        Ok(never) => match never {},
    }
}

#[test]
fn a_thousand_exits() {
    isolated_within("a_thousand_exits", 100, || {
        LazyLock::force(&GATES);
        for seed in 0..1000 {
            let child = fork(|| exit_now(seed));
            assert_eq!(wait_for(child), Ended::Exited(7), "{seed}");
        }
    });
}

/// TestExec: other programs begin while this one's threads are preempted.
#[test]
fn exec_while_preempted() {
    let name = "exec_while_preempted";
    isolated(name, || match role().as_str() {
        "" => {
            for _ in 0..20 {
                assert!(command(name, "before").status().unwrap().success());
            }
        }
        "before" => {
            let image = Image::new(name, "after", &[]);
            let member = register(0);
            let thread = member.thread();
            static SENT: AtomicUsize = AtomicUsize::new(0);
            for _ in 0..2 {
                thread::spawn(move || {
                    loop {
                        let _ = GATES.request(thread);
                        drop(GATES.try_suspend(thread));
                        SENT.fetch_add(1, Relaxed);
                    }
                });
            }
            while SENT.load(Relaxed) < 100 {
                spin_loop();
            }
            image.exec()
        }
        _ => assert_eq!(mask(), 0),
    });
}

/// A child is taken while other threads have the turn and this one's claim: after the reset it goes
/// out and back, its thread is suspended, and the gate of a thread that is not in it can be used.
/// Without the reset its own thread has the name of the parent's.
#[test]
fn fork_during_suspensions() {
    fn child(reset: bool, member: &mut Registration<Either, SystemBackend>) -> i32 {
        alarm(10);
        if reset {
            // SAFETY: in the child of a fork, which was taken with no thread suspended.
            unsafe { GATES.reset_after_fork(&EACH) }.expect("this thread has a handle");
            drop(member.external());
            let name = member.thread();
            let others = thread::spawn(move || {
                let own = GATES.register(&EACH[1]).expect("nobody is there");
                let attempt = GATES.try_suspend(name).map(drop);
                drop(own);
                attempt
            });
            return i32::from(others.join().unwrap() != Ok(()));
        }
        let name = member.thread();
        let attempt = thread::spawn(move || GATES.try_suspend(name).map(drop)).join().unwrap();
        i32::from(attempt != Err(SuspendError::Gone))
    }
    isolated_within("fork_during_suspensions", 120, || {
        let mut member = register(0);
        {
            let target = member.thread();
            let quiet = fork(|| child(false, &mut member));
            assert_eq!(wait_for(quiet), Ended::Exited(0), "the control");
            thread::scope(|scope| {
                let over = Over;
                scope.spawn(|| mutator(1));
                scope.spawn(move || {
                    while !OVER.load(Acquire) {
                        let mut account = Account::default();
                        account.add(GATES.try_suspend(target).map(drop));
                        if let Some(other) = known(1) {
                            account.add(GATES.try_suspend(other).map(drop));
                        }
                    }
                });
                for _ in 0..200 {
                    let copy = fork(|| child(true, &mut member));
                    assert_eq!(wait_for(copy), Ended::Exited(0));
                }
                drop(over);
            });
        }
    });
}

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
use portcullis::attach::{AttachError, AttachKind, Binding, Misuse, ThreadState};
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
    let crowded = || INSIDE.load(Acquire) == 8 && THREADS.counts().waiting >= 900;
    until(|| OPEN.load(Acquire) || crowded());
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
    let calls = Plan { senders: 1, signals: 2, ..Plan::new(2, 5, call_unbound) }.run();
    if calls != 10 || Plan::new(2, 5, call_bound).run() != 10 {
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
    i32::from(THREADS.counts().in_use != held || THREADS.misuse() != Misuse::default())
}

#[test]
fn two_hundred_forks_in_a_storm() {
    isolated("two_hundred_forks_in_a_storm", || {
        begin(3);
        foreign();
        thread::scope(|scope| {
            // Twice as many threads as records.
            let storms = [1, 2].map(|senders| {
                let plan = move || Plan { senders, signals: 1000, ..Plan::new(3, 1, churn) };
                scope.spawn(move || plan().run())
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

static IN_CHILD: AtomicBool = AtomicBool::new(false);
static FORKED: AtomicI32 = AtomicI32::new(0);
static TURN: AtomicU64 = AtomicU64::new(0);

fn fork_here() {
    // SAFETY: the interrupted code, that of attach and detach, holds no lock of the C library.
    match unsafe { libc::fork() } {
        0 => {
            IN_CHILD.store(true, Relaxed);
            alarm(10);
        }
        child => FORKED.store(child, Release),
    }
}

/// In turn attached and not.
extern "C" fn fork_in_handler(_: c_int) {
    match TURN.fetch_add(1, Relaxed) % 3 {
        0 => attach_here_and(|_| fork_here()),
        1 => {
            attach_here();
            fork_here();
        }
        _ => {
            fork_here();
            attach_here();
        }
    }
}

/// Else the only thread of a child would end well by a panic.
fn panics_end_the_child() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        if IN_CHILD.load(Relaxed) {
            exit(9);
        }
    }));
}

/// The rest of a thread that finds itself in the child, holding nothing.
fn end_child() -> ! {
    let counts = THREADS.counts();
    if (counts.in_use, counts.waiting) != (0, 0) || counts.spare != counts.total {
        exit(3);
    }
    visit(&attach(Binding::Bound));
    raise_here(libc::SIGUSR1);
    assert_eq!(THREADS.counts().in_use, 1);
    exit(0)
}

fn wait_for_forked() -> Ended {
    until(|| FORKED.load(Acquire) != 0);
    wait_for(FORKED.swap(0, Relaxed))
}

fn signal_to(thread: libc::pthread_t) {
    // SAFETY: the thread is there: it is joined later.
    assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR2) }, 0);
}

/// In the child the thread that waited has what the parent's others held; in the parent it goes on
/// waiting.
#[test]
fn a_fork_in_a_handler_that_interrupts_a_wait() {
    isolated("a_fork_in_a_handler_that_interrupts_a_wait", || {
        begin(1);
        handle(libc::SIGUSR2, fork_in_handler);
        panics_end_the_child();
        static WAITS: AtomicUsize = AtomicUsize::new(0);
        for at in 0..100 {
            let only = attach(Binding::Unbound);
            thread::scope(|scope| {
                scope.spawn(|| {
                    note_host_stack();
                    // SAFETY: no preconditions.
                    WAITS.store(unsafe { libc::pthread_self() } as usize, Release);
                    let token = attach(Binding::Unbound);
                    visit(&token);
                    assert_eq!((token.how(), THREADS.counts().in_use), (AttachKind::Attached, 1));
                    drop(token);
                    if IN_CHILD.load(Relaxed) {
                        end_child();
                    }
                });
                until(|| THREADS.counts().waiting == 1);
                signal_to(WAITS.load(Acquire) as libc::pthread_t);
                // It goes on before, while, or after the child is made.
                if at % 2 == 0 {
                    until(|| FORKED.load(Acquire) != 0);
                    assert_eq!(THREADS.counts().waiting, 1);
                }
                drop(only);
                assert_eq!(wait_for_forked(), Ended::Exited(0), "child {at}");
            });
        }
        assert_clean();
    });
}

/// Wherever it is interrupted.
#[test]
fn two_hundred_forks_in_handlers() {
    isolated("two_hundred_forks_in_handlers", || {
        begin(2);
        handle(libc::SIGUSR2, fork_in_handler);
        panics_end_the_child();
        static THERE: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];
        thread::scope(|scope| {
            for place in &THERE {
                scope.spawn(|| {
                    note_host_stack();
                    // SAFETY: no preconditions.
                    place.store(unsafe { libc::pthread_self() } as usize, Release);
                    while !OVER.load(Acquire) {
                        visit(&attach(Binding::Unbound));
                        if IN_CHILD.load(Relaxed) {
                            end_child();
                        }
                    }
                });
            }
            until(|| THERE.iter().all(|place| place.load(Acquire) != 0));
            for at in 0..200 {
                signal_to(THERE[at % 4].load(Relaxed) as libc::pthread_t);
                assert_eq!(wait_for_forked(), Ended::Exited(0), "child {at}");
            }
            OVER.store(true, Release);
        });
        assert_clean();
    });
}

/// A program begins with the mask and the stack that the thread had, wherever the others were.
#[test]
fn exec_in_a_storm() {
    let name = "exec_in_a_storm";
    isolated(name, || match role().as_str() {
        "" => {
            for _ in 0..10 {
                assert!(command(name, "before").status().unwrap().success());
            }
        }
        "before" => {
            begin(2);
            let image = Image::new(name, "after", &[]);
            for _ in 0..4 {
                thread::spawn(|| {
                    loop {
                        visit(&attach(Binding::Unbound));
                        raise_here(libc::SIGUSR1);
                    }
                });
            }
            until(|| handled() > 100);
            let token = attach(Binding::Bound);
            visit(&token);
            image.exec()
        }
        _ => {
            assert_eq!(mask(), 0, "what was masked in between is not any more");
            begin(2);
            assert_eq!((THREADS.state(), THREADS.counts().in_use), (ThreadState::Unknown, 0));
            visit(&attach(Binding::Unbound));
            raise_here(libc::SIGUSR1);
            assert_clean();
        }
    });
}

extern "C" fn shut_down(_: c_int) {
    THREADS.shutdown();
}

/// 1 if it had a record, 1000 if it was sent away.
extern "C" fn wait_or_hold(_: *mut c_void) -> c_long {
    static EVEN: AtomicUsize = AtomicUsize::new(0);
    let waited = match EVEN.fetch_add(1, Relaxed) % 2 {
        0 => THREADS.attach(Binding::Bound),
        _ => THREADS.attach_until(Binding::Unbound, &Deadline::after(SOON)),
    };
    let Ok(token) = waited else {
        assert_eq!(waited.unwrap_err(), AttachError::ShuttingDown);
        return 1000;
    };
    visit(&token);
    until(|| OPEN.load(Acquire));
    // What is attached stays so, and may call in from outside.
    visit(&attach(Binding::Unbound));
    drop(token);
    for refused in [THREADS.attach(Binding::Unbound), THREADS.attach_in_handler()] {
        assert_eq!(refused.unwrap_err(), AttachError::ShuttingDown);
    }
    1
}

/// By a handler; who waits is sent away, who is attached leaves when he likes.
#[test]
fn shutdown_while_threads_wait() {
    isolated("shutdown_while_threads_wait", || {
        begin(4);
        handle(libc::SIGUSR2, shut_down);
        thread::scope(|scope| {
            let threads = scope.spawn(|| Plan::new(100, 1, wait_or_hold).run());
            // Not before: records are made one after the other.
            until(|| (THREADS.counts().in_use, THREADS.counts().waiting) == (4, 96));
            raise_here(libc::SIGUSR2);
            until(|| THREADS.counts().waiting == 0);
            assert_eq!(THREADS.counts().in_use, 4);
            OPEN.store(true, Release);
            assert_eq!(threads.join().unwrap(), 4 + 96 * 1000);
        });
        assert_clean();
    });
}

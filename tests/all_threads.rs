//! Operations on all threads of the process on the real kernel, after Go's tests of the same names
//! (`syscall/syscall_linux_test.go`, `os/signal/signal_linux_test.go`).
//!
//! Bounded: fixed counts, ten times Go's; each test is a process of its own with an alarm.
//! PORTCULLIS_CALLS says how many calls the storms make instead, PORTCULLIS_THREADS how many threads the
//! largest crowd has.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;
#[path = "common/crowd.rs"]
mod crowd;

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use common::*;
use crowd::Threads;
use portcullis::all_threads::linux::{self, Syscall};
use portcullis::all_threads::{
    Call, CallError, Errno, Late, Mismatch, Missing, Operation, ProcessReach, call_everyone,
};
use portcullis::note::Deadline;

/// How many calls a storm makes.
fn calls(usual: u32) -> u32 {
    said("PORTCULLIS_CALLS").unwrap_or(usual)
}

fn said(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

fn keepcaps() -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::prctl(libc::PR_GET_KEEPCAPS) }
}

fn set_keepcaps(value: u64) -> Result<(), CallError> {
    match value {
        0 | 1 => linux::set_keep_capabilities(value == 1),
        // SAFETY: no pointer; it is an error.
        _ => unsafe { linux::prctl(libc::PR_SET_KEEPCAPS, value) },
    }
}

fn gettid() -> i32 {
    // SAFETY: no preconditions.
    unsafe { libc::gettid() }
}

/// TestAllThreadsSyscall: more and more threads all read the new value; one in five ends meanwhile.
#[test]
fn all_threads_syscall() {
    isolated_open("all_threads_syscall", 30, || {
        let mut threads = Threads::new();
        for launch in 0..110 {
            threads.add(keepcaps);
            let ends = (launch % 5 == 0).then(|| thread::spawn(thread::yield_now));
            for value in [1, 0] {
                set_keepcaps(value).unwrap();
                assert!(threads.all().iter().all(|read| *read == value as i32), "launch {launch}");
            }
            ends.into_iter().for_each(|thread| thread.join().unwrap());
        }
        threads.end();
    });
}

/// TestAllThreadsSyscallError: what fails on the first thread is made on no other.
#[test]
fn all_threads_syscall_error() {
    isolated_open("all_threads_syscall_error", 30, || {
        let mut threads = Threads::new();
        (0..10).for_each(|_| threads.add(keepcaps));
        for _ in 0..10 {
            // SAFETY: a null header is an error.
            let capget = unsafe { Syscall::new(libc::SYS_capget, [0; 6]) };
            let failed = linux::syscall(&capget);
            assert_eq!(failed, Err(CallError::First(Errno(libc::EFAULT))));
            assert_eq!(set_keepcaps(7), Err(CallError::First(Errno(libc::EINVAL))));
            assert!(threads.all().iter().all(|read| *read == 0));
        }
        // SAFETY: there is no such call.
        let unknown = unsafe { Syscall::new(1 << 20, [0; 6]) };
        let unknown = linux::syscall(&unknown);
        assert_eq!(unknown, Err(CallError::First(Errno(libc::ENOSYS))));
        threads.end();
    });
}

/// TestAllThreadsSyscallBlockedSyscall: a thread blocked in read is reached, and reads on.
#[test]
fn all_threads_syscall_blocked() {
    isolated_open("all_threads_syscall_blocked", 30, || {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let blocked = thread::spawn(move || {
            let mut byte = [0];
            io::Read::read_exact(&mut reader, &mut byte).unwrap();
            byte[0]
        });
        for _ in 0..1000 {
            let report = linux::syscall(&Syscall::getppid()).unwrap();
            assert_eq!((report.first, report.mismatches), (parent(), 0));
            assert!(report.others >= 1);
        }
        io::Write::write_all(&mut &writer, &[9]).unwrap();
        assert_eq!(blocked.join().unwrap(), 9);
    });
}

/// TestAllThreadsSyscallSignals: a subscriber hears nothing of it, asleep in the receiver or not.
#[test]
fn all_threads_syscall_signals() {
    isolated_open("all_threads_syscall_signals", 30, || {
        let signals = [libc::SIGUSR1, libc::SIGURG];
        let mut subscription = portcullis::signal::subscribe(signals).unwrap();
        for round in 0..1010 {
            set_keepcaps(round % 2).unwrap();
        }
        assert!(subscription.try_recv().unwrap().is_none());
        kill_self(libc::SIGUSR1);
        assert_eq!(subscription.recv().unwrap().signal, libc::SIGUSR1);
    });
}

/// None of these allocates or takes a lock, but for one that fails the test if it has to; none is deep.
fn operation<'a>(run: &'a (dyn Fn() -> Result<i32, Errno> + Sync + 'a)) -> Operation<'a> {
    // SAFETY: as above.
    unsafe { Operation::new(run) }
}

/// Ends the others, by a panic too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Release);
    }
}

/// Threads are created and end all the time; each that is there afterwards has the value.
#[test]
fn churn() {
    isolated_open("churn", 600, || {
        let (over, born) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let ends = Over(&over);
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Acquire) {
                        let nested = thread::spawn(|| thread::spawn(|| ()).join().unwrap());
                        nested.join().unwrap();
                        born.fetch_add(2, Relaxed);
                    }
                });
            }
            let start = Instant::now();
            let total = calls(1000);
            for round in 0..total {
                let value = u64::from(round % 2);
                set_keepcaps(value).unwrap();
                let differs = Mutex::new(Vec::new());
                // Each reads its own: what it was set to, or has inherited.
                let read = || {
                    let read = keepcaps();
                    if read != value as i32 {
                        differs.lock().unwrap().push(gettid());
                    }
                    Ok(read)
                };
                let report = call_everyone(Call::new(operation(&read))).unwrap();
                assert_eq!((report.mismatches, report.abandoned), (0, 0), "{differs:?}");
            }
            drop(ends);
            let (born, took) = (born.load(Relaxed), start.elapsed());
            println!("churn: {total} calls, {born} threads in {took:?}");
            assert!(born > u64::from(total) / 100, "{born} threads");
        });
    });
}

/// Several call at once, and the C library does too; each call reaches all.
#[test]
fn callers_and_the_c_library() {
    isolated_open("callers_and_the_c_library", 600, || {
        let ran = AtomicU32::new(0);
        let total = calls(1000);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..total {
                        let add = || {
                            ran.fetch_add(1, Relaxed);
                            Ok(0)
                        };
                        let report = call_everyone(Call::new(operation(&add))).unwrap();
                        assert!(report.others >= 1 && report.is_complete());
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..total / 4 {
                    // SAFETY: no memory is passed; the group stays.
                    assert_eq!(unsafe { libc::setgid(libc::getgid()) }, 0);
                }
            });
        });
        assert!(ran.load(Relaxed) >= 3 * total * 2);
    });
}

/// A thread that masks everything and does not return is told by its number, and the call is finished
/// when it does, or never.
#[test]
fn a_deadline() {
    isolated_open("a_deadline", 30, || {
        let (masked, over) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (name, named) = mpsc::channel();
        let (ready, end) = (Arc::clone(&masked), Arc::clone(&over));
        let ran = Arc::new(AtomicU32::new(0));
        let thread = thread::spawn(move || {
            mask_all_raw();
            name.send(gettid()).unwrap();
            ready.wait();
            end.wait();
            set_mask(0);
            end.wait();
        });
        let stubborn = named.recv().unwrap();
        masked.wait();
        let counted = Arc::clone(&ran);
        let count = move || {
            if gettid() == stubborn {
                counted.fetch_add(1, Relaxed);
            }
            Ok(0)
        };
        for (patience, abandons) in [(0, true), (50, true), (50, false)] {
            let deadline = Deadline::after(Duration::from_millis(patience));
            let start = Instant::now();
            let late = |missing: &Missing<'_, ProcessReach>| {
                assert!(start.elapsed() >= Duration::from_millis(patience));
                let mut seats = Vec::new();
                missing.each(&mut |seat| seats.push(seat.thread()));
                // The thread that reads this has none to wait for; with no time the harness's may be
                // among them.
                assert!(seats.contains(&Some(stubborn as usize)), "{seats:?}");
                // No other call meanwhile, from here.
                assert_eq!(set_keepcaps(1), Err(CallError::Engaged));
                if abandons {
                    return Late::Abandon;
                }
                over.wait();
                Late::Wait
            };
            let call = Call::new(operation(&count)).until(&deadline).when_late(&late);
            let report = call_everyone(call).unwrap();
            assert_eq!(report.is_complete(), !abandons, "{report:?}");
        }
        // The signals of the abandoned calls were for nothing.
        assert_eq!(ran.load(Relaxed), 1);
        over.wait();
        thread.join().unwrap();
    });
}

/// What a new user tries.
#[test]
fn misuse() {
    isolated_open("misuse", 30, || {
        // Alone.
        assert_eq!(set_keepcaps(0), Ok(()));
        // From inside the operation, on the first thread and on another.
        let (over, end) = mpsc::channel::<()>();
        let other = thread::spawn(move || _ = end.recv());
        let refused = AtomicU32::new(0);
        let again = || {
            let engaged = set_keepcaps(1) == Err(CallError::Engaged);
            refused.fetch_add(u32::from(engaged), Relaxed);
            Ok(0)
        };
        let report = call_everyone(Call::new(operation(&again))).unwrap();
        assert_eq!(refused.load(Relaxed), 1 + report.others);
        assert_eq!(keepcaps(), 0);
        // A panic on the first thread passes through, and nothing was done.
        let panics = || panic!("in the operation");
        let call = || call_everyone(Call::new(operation(&panics)));
        let caught = std::panic::catch_unwind(call);
        assert!(caught.is_err());
        assert_eq!(set_keepcaps(1), Ok(()), "the turn was given up");
        // Threads that differ.
        let me = gettid();
        let undone = AtomicU32::new(0);
        let differ = || if gettid() == me { Ok(0) } else { Err(Errno(libc::EPERM)) };
        let undo = || {
            undone.fetch_add(1, Relaxed);
            Ok(0)
        };
        let undo = Mismatch::Undo(operation(&undo));
        let report = call_everyone(Call::new(operation(&differ)).on_mismatch(undo)).unwrap();
        assert!(report.mismatches >= 1 && report.mismatches == report.others);
        assert_eq!(undone.load(Relaxed), 1, "on the one where it succeeded");
        drop(over);
        other.join().unwrap();
    });
}

/// On another thread a panic, or a difference that may not be, ends the process.
#[test]
fn what_aborts() {
    isolated_open("what_aborts", 30, || {
        for panics in [true, false] {
            let child = fork(|| {
                // A trace would need more than a handler's stack.
                std::panic::set_hook(Box::new(|_| ()));
                let (over, end) = mpsc::channel::<()>();
                let other = thread::spawn(move || _ = end.recv());
                let me = gettid();
                let differs = || match gettid() == me {
                    true => Ok(0),
                    false if panics => panic!("in a handler"),
                    false => Ok(1),
                };
                // SAFETY: what it promises is broken, to see what comes of it.
                let differs = unsafe { Operation::new(&differs) };
                let _ = call_everyone(Call::new(differs).on_mismatch(Mismatch::Abort));
                drop(over);
                other.join().unwrap();
                0
            });
            // Unwinding may need more than a handler's stack before it comes to the end of it.
            let ended = wait_for(child);
            let overflow = panics && ended == Ended::Killed(libc::SIGSEGV);
            assert!(overflow || ended == Ended::Killed(libc::SIGABRT), "{ended:?}");
        }
    });
}

/// The child of a fork that is taken while others call, calls for itself.
#[test]
fn fork_during_calls() {
    isolated_open("fork_during_calls", 60, || {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Acquire) {
                    set_keepcaps(0).unwrap();
                }
            });
            for _ in 0..100 {
                let child = fork(|| {
                    alarm(10);
                    let Ok(()) = set_keepcaps(1) else { return 2 };
                    let inherits = thread::spawn(keepcaps).join().unwrap();
                    let (over, end) = mpsc::channel::<()>();
                    let other = thread::spawn(move || {
                        let _ = end.recv();
                        keepcaps()
                    });
                    let Ok(()) = set_keepcaps(0) else { return 3 };
                    drop(over);
                    i32::from(inherits != 1 || other.join().unwrap() != 0)
                });
                assert_eq!(wait_for(child), Ended::Exited(0));
            }
            over.store(true, Release);
        });
    });
}

/// A call from a signal handler, on a thread that holds the allocator's lock perhaps, and on one that
/// calls itself.
#[test]
fn calls_from_handlers() {
    static CALLED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn calls_on(_: i32) {
        match call_everyone(Call::new(Operation::barrier())) {
            Ok(_) => _ = CALLED.fetch_add(1, Relaxed),
            Err(CallError::Engaged) => {}
            Err(_) => std::process::abort(),
        }
    }
    isolated_open("calls_from_handlers", 30, || {
        set_keepcaps(0).unwrap();
        set_disposition(libc::SIGUSR1, Disposition::simple(calls_on as *const () as usize));
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Acquire) {
                    drop(std::hint::black_box(vec![0_u8; 4096]));
                }
            });
            scope.spawn(|| {
                while !over.load(Acquire) {
                    set_keepcaps(1).unwrap();
                }
            });
            while CALLED.load(Relaxed) < 500 {
                kill(pid(), libc::SIGUSR1).unwrap();
            }
            over.store(true, Release);
        });
    });
}

/// The first thread has ended and others go on: its number is there, and nobody waits for it.
#[test]
fn the_first_thread_has_ended() {
    isolated_open("the_first_thread_has_ended", 30, || {
        let child = fork(|| {
            alarm(10);
            thread::spawn(|| {
                let leader = format!("/proc/self/task/{}/stat", pid());
                while !fs::read_to_string(&leader).unwrap().contains(") Z") {
                    thread::yield_now();
                }
                exit(if set_keepcaps(1) == Ok(()) { 4 } else { 5 });
            });
            // SAFETY: ends this thread alone; nothing of it is used by others.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
            9
        });
        assert_eq!(wait_for(child), Ended::Exited(4));
    });
}

/// A barrier on all, and 1,000 threads.
#[test]
fn a_thousand_threads() {
    isolated_open("a_thousand_threads", 120, || {
        let mut threads = Threads::new();
        (0..said("PORTCULLIS_THREADS").unwrap_or(1000)).for_each(|_| threads.add(keepcaps));
        for value in [1, 0, 1] {
            set_keepcaps(value).unwrap();
            assert!(threads.all().iter().all(|read| *read == value as i32));
        }
        linux::barrier().unwrap();
        threads.end();
    });
}

//! Operations on threads that have joined, on the real kernel: exactly once on each, in every state that
//! there is.
//!
//! Bounded: fixed counts; each test is a process of its own with an alarm.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;

use std::cell::Cell;
use std::hint::spin_loop;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::sync::{Arc, mpsc};
use std::{io, thread};

use common::*;
use portcullis::all_threads::{
    Birth, Call, Errno, JoinError, Member, Operation, Report, SystemReach, ThreadSeat, WakeFn,
    registered,
};
use portcullis::note::{Note, Park};
use portcullis::sigqueue::{Event, SignalQueue};

const SEATS: usize = 64;
static EACH: [ThreadSeat; SEATS] = [const { ThreadSeat::new() }; SEATS];

thread_local! {
    /// How often the thread has run it, or the one that created it had by then.
    static RAN: Cell<u32> = const { Cell::new(0) };
}

fn run() -> Result<i32, Errno> {
    RAN.with(|ran| ran.set(ran.get() + 1));
    Ok(0)
}

fn call() -> Report {
    // SAFETY: it touches a cell of its thread that nothing else touches meanwhile.
    let run = unsafe { Operation::new(&run) };
    registered().call(&EACH, Call::new(run)).unwrap()
}

/// A thread with this seat that does this; it is there when this returns.
fn joined(
    seat: usize,
    body: impl FnOnce(&Member<SystemReach>) + Send + 'static,
) -> thread::JoinHandle<u32> {
    let (ready, there) = mpsc::channel();
    let handle = thread::spawn(move || {
        let member = registered().join(&EACH[seat]).unwrap();
        ready.send(()).unwrap();
        body(&member);
        drop(member);
        RAN.with(Cell::get)
    });
    there.recv().unwrap();
    handle
}

/// Threads that run, poll, sleep in notes, in the receiver, in read: each runs each call once.
#[test]
fn every_state() {
    const CALLS: u32 = 2000;
    static OVER: AtomicBool = AtomicBool::new(false);
    static QUEUE: SignalQueue = SignalQueue::new();
    static NOTE: Note = Note::new();
    isolated_open("every_state", 60, || {
        let own = registered().join(&EACH[0]).unwrap();
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let threads = [
            joined(1, |_| {
                while !OVER.load(Acquire) {
                    spin_loop();
                }
            }),
            joined(2, |member| {
                while !OVER.load(Acquire) {
                    member.poll();
                }
            }),
            joined(3, |member| {
                while !OVER.load(Acquire) {
                    member.sleep(&NOTE, None);
                    NOTE.clear();
                }
            }),
            joined(4, |member| {
                let mut receiver = QUEUE.receiver().unwrap();
                member.cooperate(&WakeFn::fixup(&QUEUE), |member| {
                    let event = receiver.recv(None, || _ = member.poll());
                    assert!(matches!(event, Event::Closed));
                });
            }),
            joined(5, move |_| {
                let mut byte = [0];
                io::Read::read_exact(&mut reader, &mut byte).unwrap();
            }),
        ];
        for _ in 0..CALLS {
            let Report { first, others, mismatches, gone, abandoned, .. } = call();
            assert_eq!((first, others, mismatches, gone, abandoned), (0, 5, 0, 0, 0));
        }
        OVER.store(true, Release);
        NOTE.wake();
        QUEUE.close();
        io::Write::write_all(&mut &writer, &[1]).unwrap();
        for (at, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), CALLS, "thread {at}");
        }
        drop(own);
        assert_eq!(RAN.with(Cell::get), CALLS);
    });
}

/// Those that sleep in notes and in the receiver get no signal at all.
#[test]
fn sleepers_are_not_interrupted() {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count(_: i32) {
        HANDLED.fetch_add(1, Relaxed);
    }
    isolated_open("sleepers_are_not_interrupted", 30, || {
        let over = Arc::new(AtomicBool::new(false));
        let (note, ends) = (Arc::new(Note::new()), Arc::clone(&over));
        let (sleeps, (say, asleep)) = (Arc::clone(&note), mpsc::channel());
        let sleeper = joined(1, move |member| {
            member.cooperate(&WakeFn::note(&sleeps), |member| {
                say.send(()).unwrap();
                while !ends.load(Acquire) {
                    sleeps.sleep(None);
                    sleeps.clear();
                    member.poll();
                }
            });
        });
        asleep.recv().unwrap();
        set_disposition(libc::SIGURG, Disposition::simple(count as *const () as usize));
        (0..1000).for_each(|_| assert_eq!(call().others, 1));
        assert_eq!(HANDLED.load(Relaxed), 0);
        over.store(true, Release);
        note.wake();
        assert_eq!(sleeper.join().unwrap(), 1000);
    });
}

/// Threads that are created by others, during calls: what each has run and inherited is what was called
/// while it was there, to the number.
#[test]
fn births_during_calls() {
    const ROUNDS: u32 = 2000;
    static CALLS: AtomicU32 = AtomicU32::new(0);
    isolated_open("births_during_calls", 60, || {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let creator = joined(1, move |member| {
            let mut turn = 0;
            while !ends.load(Acquire) {
                turn += 1;
                let seat = &EACH[2 + turn % 8];
                let create = |birth: portcullis::all_threads::Birth<SystemReach>| {
                    let inherited = RAN.with(Cell::get);
                    thread::spawn(move || {
                        RAN.with(|ran| ran.set(inherited));
                        let member = birth.begin().unwrap();
                        thread::yield_now();
                        drop(member);
                        RAN.with(Cell::get)
                    })
                };
                // SAFETY: begun by the new thread, after what stands for its inheritance.
                let created = unsafe { member.create(seat, create) };
                let ran = created.unwrap().join().unwrap();
                // Run twice, it would be more than there were.
                assert!(ran <= CALLS.load(Acquire), "{ran} of {}", CALLS.load(Acquire));
            }
        });
        for _ in 0..ROUNDS {
            CALLS.fetch_add(1, AcqRel);
            let report = call();
            assert!(report.others >= 1 && report.gone == 0, "{report:?}");
        }
        over.store(true, Release);
        assert_eq!(creator.join().unwrap(), ROUNDS);
    });
}

/// Threads that a registered one spawns are reached from their first step to their last.
#[test]
fn spawned_threads() {
    isolated_open("spawned_threads", 30, || {
        let own = registered().join(&EACH[0]).unwrap();
        for round in 0..200 {
            let (ready, there) = mpsc::channel();
            let (over, end) = mpsc::channel::<()>();
            let seat = &EACH[1 + round % 3];
            let spawned = own.spawn(seat, move |member| {
                ready.send(std::ptr::from_ref(member.seat()).addr()).unwrap();
                let _ = end.recv();
                RAN.with(Cell::get)
            });
            assert_eq!(there.recv().unwrap(), std::ptr::from_ref(seat).addr());
            let taken = own.spawn(seat, |_| ()).unwrap_err().to_string();
            assert!(taken.contains("another thread has this seat"), "{taken}");
            assert_eq!(call().others, 1);
            drop(over);
            assert_eq!(spawned.unwrap().join().unwrap().unwrap(), 1);
            assert_eq!(call().others, 0, "it has left");
        }
        // One that panics leaves too.
        let panics = own.spawn(&EACH[1], |_| panic!("in the thread")).unwrap();
        assert!(panics.join().is_err());
        assert_eq!(call().others, 0);
    });
}

thread_local! {
    /// Dropped as the thread ends, before or after it is asked to leave its seat.
    static KEPT: Cell<Option<Member<SystemReach>>> = const { Cell::new(None) };
}

/// Forgotten, or kept in a thread-local: the thread leaves its seat as it ends, and is not named when it is
/// gone.
#[test]
fn threads_leave_as_they_end() {
    isolated_open("threads_leave_as_they_end", 30, || {
        for round in 0..200 {
            let forgets = thread::spawn(move || {
                let member = registered().join(&EACH[1]).unwrap();
                match round % 2 {
                    0 => std::mem::forget(member),
                    _ => KEPT.set(Some(member)),
                }
                assert_eq!(registered().join(&EACH[2]).unwrap_err(), JoinError::AlreadyJoined);
            });
            forgets.join().unwrap();
            let report = call();
            assert_eq!((report.others, report.gone), (0, 0), "round {round}");
        }
    });
}

/// A thread that ends by the raw system call says nothing to anybody: the system tells that it is gone.
#[test]
fn a_thread_ends_without_a_word() {
    extern "C" fn exits(_: *mut libc::c_void) -> *mut libc::c_void {
        std::mem::forget(registered().join(&EACH[1]).unwrap());
        // SAFETY: ends this thread alone; nothing of it is used by others.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
        std::ptr::null_mut()
    }
    isolated_open("a_thread_ends_without_a_word", 30, || {
        // SAFETY: joined once.
        unsafe {
            let mut exiting = std::mem::zeroed();
            let none = std::ptr::null_mut();
            assert_eq!(libc::pthread_create(&raw mut exiting, std::ptr::null(), exits, none), 0);
            assert_eq!(libc::pthread_join(exiting, std::ptr::null_mut()), 0);
        }
        let report = call();
        assert_eq!((report.others, report.gone), (0, 1));
        assert_eq!(call().gone, 0, "once");
        drop(registered().join(&EACH[1]).unwrap());
    });
}

/// A destructor that runs when the thread has left its seat finds it refused another.
#[test]
fn an_ending_thread_joins_no_more() {
    static REFUSED: AtomicU32 = AtomicU32::new(0);
    unsafe extern "C" fn joins(_: *mut libc::c_void) {
        // Made after the library's own: called after it.
        let refused = registered().join(&EACH[2]).map(drop) == Err(JoinError::ThreadEnding);
        REFUSED.fetch_add(u32::from(refused), Relaxed);
    }
    isolated_open("an_ending_thread_joins_no_more", 30, || {
        drop(registered().join(&EACH[0]).unwrap());
        let mut key = 0;
        // SAFETY: the key is a local.
        assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(joins)) }, 0);
        let ends = thread::spawn(move || {
            std::mem::forget(registered().join(&EACH[1]).unwrap());
            // SAFETY: the key was made above; the value is not used.
            unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance(1)) };
        });
        ends.join().unwrap();
        assert_eq!(REFUSED.load(Relaxed), 1);
        assert_eq!(call().others, 0);
    });
}

/// What the calling thread masks, one bit a signal (man 5 proc).
fn masked() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

/// A thread that is being created masks what may wait until it has begun, and then what its creator masked: a
/// handler of its that calls would wait for a call that waits for it.
#[test]
fn births_are_masked() {
    isolated("births_are_masked", || {
        let member = registered().join(&EACH[0]).unwrap();
        let before = masked();
        let create = |birth: Birth<SystemReach>| {
            let born = thread::spawn(move || {
                let unborn = masked();
                let member = birth.begin().unwrap();
                let born = masked();
                drop(member);
                (unborn, born)
            });
            (masked(), born.join().unwrap())
        };
        // SAFETY: begun by the new thread before it does anything of its own.
        let created = unsafe { member.create(&EACH[1], create) };
        let (creating, (unborn, born)) = created.unwrap();
        let named = [libc::SIGINT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGURG, libc::SIGRTMAX()];
        let waits = named.iter().fold(0, |set, signal| set | 1 << (signal - 1));
        assert_eq!((creating & waits, unborn), (waits, creating), "{unborn:x}");
        assert_eq!((born, masked()), (before, before), "{born:x}");
        assert_eq!(before & waits, 0, "{before:x}");
    });
}

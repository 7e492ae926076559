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
    Answer, Call, Errno, Member, Report, Seat, System, Waker, registered,
};
use portcullis::note::{Note, Park};
use portcullis::sigqueue::{Event, SignalQueue};

const SEATS: usize = 64;
static EACH: [Seat; SEATS] = [const { Seat::new() }; SEATS];

thread_local! {
    /// How often the thread has run it, or the one that created it had by then.
    static RAN: Cell<u32> = const { Cell::new(0) };
}

fn run() -> Result<i32, Errno> {
    RAN.with(|ran| ran.set(ran.get() + 1));
    Ok(0)
}

fn call() -> Report {
    match registered().call(&EACH, Call::new(&run)).unwrap() {
        Answer::Complete(report) => report,
        Answer::Unfinished(_) => panic!("there is no deadline"),
    }
}

/// A thread with this seat that does this; it is there when this returns.
fn joined(
    seat: usize,
    body: impl FnOnce(&Member<System>) + Send + 'static,
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
                let wake = || QUEUE.fixup();
                let mut receiver = QUEUE.receiver().unwrap();
                member.cooperate(&Waker::new(&wake), |member| {
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
            assert_eq!(
                call(),
                Report { first: 0, others: 5, mismatches: 0, gone: 0, abandoned: 0 }
            );
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
            let wake = || sleeps.wake();
            member.cooperate(&Waker::new(&wake), |member| {
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
                let created = member.create(seat, |birth| {
                    let inherited = RAN.with(Cell::get);
                    thread::spawn(move || {
                        RAN.with(|ran| ran.set(inherited));
                        let member = birth.begin();
                        thread::yield_now();
                        drop(member);
                        RAN.with(Cell::get)
                    })
                });
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

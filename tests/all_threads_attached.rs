//! Operations on threads that the runtime did not make: their seats are in the records by which they are
//! attached, so that the set of threads is the set of records.
//!
//! Bounded: a fixed count of threads; a process of its own with an alarm.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;

use std::cell::Cell;
use std::ffi::c_void;
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::sync::{Condvar, Mutex};

use common::*;
use portcullis::all_threads::{
    Call, Errno, Operation, Report, Seats, SystemReach, ThreadSeat, registered,
};
use portcullis::attach::{Binding, Runtime, SystemHost, Threads};
use portcullis::note::{Note, Park};

/// What the runtime keeps for each thread.
struct Kept {
    seat: ThreadSeat,
    note: Note,
}

struct Own;

impl Runtime for Own {
    type Record = Kept;
    fn create(&self, _index: usize) -> Option<Kept> {
        Some(Kept { seat: ThreadSeat::new(), note: Note::new() })
    }
    fn reset(&self, _record: &Kept, _generation: u32) {}
}

portcullis::thread_slot!(Slot);
static THREADS: Threads<Own, SystemHost<Slot>, 16> = Threads::new(Own, SystemHost::new(), 2);

/// The threads that are attached.
struct Attached;

impl Seats<SystemReach> for Attached {
    fn each(&self, look: &mut dyn FnMut(&ThreadSeat)) {
        THREADS.records().for_each(|(_, kept)| look(&kept.seat));
    }
}

const CROWD: u32 = 8;
static JOINED: AtomicU32 = AtomicU32::new(0);
/// How many have run just what was called while they were there.
static RIGHT: AtomicU32 = AtomicU32::new(0);
static OVER: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

thread_local! {
    static RAN: Cell<u32> = const { Cell::new(0) };
}

fn is_over() -> bool {
    *OVER.0.lock().unwrap()
}

/// A thread of the C library's, half of them asleep in their record's note, half elsewhere.
extern "C" fn foreign(_: *mut c_void) -> *mut c_void {
    let attached = THREADS.attach(Binding::Bound).expect("a record");
    let index = attached.index();
    let (_, kept) = THREADS.records().find(|(at, _)| *at == index).expect("its own");
    let member = registered().join(&kept.seat).expect("nobody else has the record");
    JOINED.fetch_add(1, AcqRel);
    if index % 2 == 0 {
        while !is_over() {
            member.sleep(&kept.note, None);
            kept.note.clear();
        }
    } else {
        let over = OVER.0.lock().unwrap();
        drop(OVER.1.wait_while(over, |over| !*over).unwrap());
    }
    drop(member);
    RIGHT.fetch_add(u32::from(RAN.get() == 2), AcqRel);
    ptr::null_mut()
}

fn call() -> Report {
    let run = || {
        RAN.set(RAN.get() + 1);
        Ok::<_, Errno>(0)
    };
    // SAFETY: it touches a cell of its thread that nothing else touches meanwhile.
    let run = unsafe { Operation::new(&run) };
    registered().call(&Attached, Call::new(run)).expect("nothing fails")
}

fn create() -> libc::pthread_t {
    // SAFETY: the thread touches statics alone, and is waited for.
    unsafe {
        let mut thread = zeroed();
        assert_eq!(libc::pthread_create(&raw mut thread, ptr::null(), foreign, ptr::null_mut()), 0);
        thread
    }
}

/// Twice: the second crowd has the records, and the seats, of the first.
#[test]
fn threads_of_others_are_reached_by_their_records() {
    isolated_open("threads_of_others_are_reached_by_their_records", 30, || {
        THREADS.create().expect("the first records");
        for round in 1..=2 {
            *OVER.0.lock().unwrap() = false;
            let crowd: Vec<_> = (0..CROWD).map(|_| create()).collect();
            while JOINED.load(Acquire) < round * CROWD {
                std::thread::yield_now();
            }
            for _ in 0..2 {
                let report = call();
                assert_eq!((report.others, report.gone), (CROWD, 0), "round {round}");
            }
            *OVER.0.lock().unwrap() = true;
            OVER.1.notify_all();
            THREADS.records().for_each(|(_, kept)| kept.note.wake());
            for thread in crowd {
                // SAFETY: joined once.
                assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
            }
            assert_eq!(RIGHT.load(Acquire), round * CROWD, "round {round}");
            assert_eq!(call().others, 0, "all have left their seats");
        }
    });
}

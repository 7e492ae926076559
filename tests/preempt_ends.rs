//! Threads that end registered, on the real kernel: they are gone, and no signal is sent to whoever has
//! their name then.
//!
//! Bounded: fixed counts; each test is a process of its own with an alarm of 30 s.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;

use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::sync::mpsc::channel;
use std::thread;

use common::*;
use portcullis::preempt::{
    Either, Gate, Gates, Hook, RegisterError, Registration, SuspendError, SystemBackend, ThreadRef,
};

static PREEMPTED: AtomicU32 = AtomicU32::new(0);
static GATES: LazyLock<Gates<Either, SystemBackend>> =
    LazyLock::new(|| Gates::new(Either::new(), SystemBackend::new(Hook::count(&PREEMPTED))));
static FIRST: Gate<SystemBackend> = Gate::new();
static SECOND: Gate<SystemBackend> = Gate::new();

type Thread = ThreadRef<Either, SystemBackend>;
type Own = Registration<Either, SystemBackend>;

fn attempt(thread: Thread) -> Result<(), SuspendError> {
    GATES.try_suspend(thread).map(drop)
}

static FOREIGN: AtomicU32 = AtomicU32::new(0);

extern "C" fn foreign(_: i32) {
    FOREIGN.fetch_add(1, Relaxed);
}

/// A destructor that runs later than what the crate does at a thread's end: keys are served in their
/// order.
fn late(destructor: unsafe extern "C" fn(*mut c_void)) -> libc::pthread_key_t {
    // The crate's key is made with the first registration.
    drop(GATES.register(&SECOND).unwrap());
    let mut key = 0;
    // SAFETY: the key is a local.
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(destructor)) }, 0);
    key
}

fn set(key: libc::pthread_key_t, value: *const c_void) {
    // SAFETY: the key was made, and is not deleted.
    assert_eq!(unsafe { libc::pthread_setspecific(key, value) }, 0);
}

/// The thread's end has begun, and it is there still: whoever would suspend it is told that it is gone, and
/// it gets no signal. Without that it would be stopped.
#[test]
fn a_registration_is_forgotten() {
    static ENDING: AtomicBool = AtomicBool::new(false);
    static OVER: AtomicBool = AtomicBool::new(false);
    static REFUSED: AtomicBool = AtomicBool::new(false);
    unsafe extern "C" fn lingers(_: *mut c_void) {
        let again = GATES.register(&SECOND).map(drop);
        REFUSED.store(again == Err(RegisterError::ThreadEnding), Relaxed);
        ENDING.store(true, Release);
        while !OVER.load(Acquire) {
            thread::yield_now();
        }
    }
    isolated("a_registration_is_forgotten", || {
        set_disposition(libc::SIGURG, Disposition::simple(foreign as *const () as usize));
        let key = late(lingers);
        let (name, named) = channel();
        let (over, end) = channel::<()>();
        let ending = thread::spawn(move || {
            let own = GATES.register(&FIRST).unwrap();
            set(key, ptr::from_ref(&FIRST).cast());
            // One that nobody will meet.
            set_mask(!0);
            name.send(own.thread()).unwrap();
            std::mem::forget(own);
            let _ = end.recv();
        });
        let target = named.recv().unwrap();
        let request = GATES.request(target).unwrap();
        assert!(!request.is_acknowledged());
        drop(over);
        while !ENDING.load(Acquire) {
            thread::yield_now();
        }
        assert!(request.is_acknowledged(), "none sticks");
        assert_eq!(attempt(target), Err(SuspendError::Gone));
        assert_eq!(GATES.request(target).unwrap_err(), SuspendError::Gone);
        assert!(REFUSED.load(Relaxed), "registered in its last destructors");
        OVER.store(true, Release);
        ending.join().unwrap();
        assert_eq!(attempt(target), Err(SuspendError::Gone));
        assert_eq!((FOREIGN.load(Relaxed), PREEMPTED.load(Relaxed)), (0, 0), "it got a signal");
        // The gate is lost, others are not.
        assert_eq!(GATES.register(&FIRST).unwrap_err(), RegisterError::GateInUse);
        drop(GATES.register(&SECOND).unwrap());
    });
}

/// Whoever suspends a thread that is about to end has it before or not at all.
#[test]
fn suspended_at_the_end() {
    isolated("suspended_at_the_end", || {
        let mut stopped = 0;
        for _ in 0..300 {
            let gate: &'static Gate<SystemBackend> = Box::leak(Box::default());
            let (name, named) = channel();
            let ending = thread::spawn(move || {
                let own = GATES.register(gate).unwrap();
                name.send(own.thread()).unwrap();
                std::mem::forget(own);
            });
            let target = named.recv().unwrap();
            loop {
                match attempt(target) {
                    Ok(()) => stopped += 1,
                    // It waits for its end.
                    Err(SuspendError::External) => {}
                    Err(SuspendError::Gone) => break,
                    Err(other) => panic!("{other}"),
                }
            }
            ending.join().unwrap();
            assert_eq!(attempt(target), Err(SuspendError::Gone));
        }
        eprintln!("suspended_at_the_end: {stopped} times before");
    });
}

/// Dropped by the thread's destructors, before the crate learns of its end and after that.
#[test]
fn a_registration_is_dropped_late() {
    thread_local! {
        static KEPT: RefCell<Option<Own>> = const { RefCell::new(None) };
    }
    static STILL: AtomicBool = AtomicBool::new(false);
    unsafe extern "C" fn drops(own: *mut c_void) {
        // SAFETY: made by `into_raw` on this thread.
        let mut own = unsafe { Box::from_raw(own.cast::<Own>()) };
        drop(own.external());
        let thread = own.thread();
        let other = thread::spawn(move || attempt(thread)).join().unwrap();
        STILL.store(other == Err(SuspendError::Gone), Relaxed);
        drop(own);
    }
    isolated("a_registration_is_dropped_late", || {
        let key = late(drops);
        let of_std = || KEPT.set(Some(GATES.register(&FIRST).unwrap()));
        thread::spawn(of_std).join().unwrap();
        let of_a_key = move || {
            let own = Box::new(GATES.register(&FIRST).unwrap());
            set(key, Box::into_raw(own).cast_const().cast());
        };
        thread::spawn(of_a_key).join().unwrap();
        assert!(STILL.load(Relaxed), "its end had begun");
        drop(GATES.register(&FIRST).unwrap());
    });
}

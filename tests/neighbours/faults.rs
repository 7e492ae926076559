//! Faults that a program handles itself: write barriers, stacks that grow, traps of wasm. They are open
//! wherever its code runs.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::*};

use libc::{SIGSEGV, SIGUSR1};
use portcullis::all_threads::{Call, Operation, ThreadSeat, registered};
use portcullis::signal;

use super::common::*;
use super::{function, set};

static PAGE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static FAULTS: AtomicUsize = AtomicUsize::new(0);
const SIZE: usize = 4096;

/// Opens the page, as a write barrier does.
extern "C" fn fault(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    FAULTS.fetch_add(1, Relaxed);
    protect(libc::PROT_READ | libc::PROT_WRITE);
}

fn protect(access: c_int) {
    // SAFETY: a mapping of this test's.
    assert_eq!(unsafe { libc::mprotect(PAGE.load(Relaxed).cast(), SIZE, access) }, 0);
}

fn touch() {
    protect(libc::PROT_NONE);
    // SAFETY: the handler opens the page.
    unsafe { PAGE.load(Relaxed).write_volatile(1) };
}

fn begin() {
    let (kind, access) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_NONE);
    // SAFETY: new memory.
    let page = unsafe { libc::mmap(ptr::null_mut(), SIZE, access, kind, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED);
    PAGE.store(page.cast(), Relaxed);
    set(SIGSEGV, function(fault), libc::SA_SIGINFO | libc::SA_ONSTACK);
}

#[test]
fn in_a_sink() {
    isolated("faults::in_a_sink", || {
        begin();
        let (tell, told) = std::sync::mpsc::channel();
        let sink = signal::Builder::new().sink([SIGUSR1], move |_| {
            touch();
            tell.send(()).unwrap();
        });
        for _ in 0..3 {
            kill_self(SIGUSR1);
            told.recv_timeout(SOON).unwrap();
        }
        drop(sink.unwrap().stop().unwrap());
        assert_eq!(FAULTS.load(Relaxed), 3);
    });
}

#[test]
fn in_a_handler_that_was_there_before() {
    extern "C" fn touches(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
        touch();
    }
    isolated("faults::in_a_handler_that_was_there_before", || {
        begin();
        set(SIGUSR1, function(touches), libc::SA_SIGINFO);
        let mut ours = signal::subscribe([SIGUSR1]).unwrap();
        kill_self(SIGUSR1);
        ours.recv_timeout(SOON).unwrap();
        assert_eq!(FAULTS.load(Relaxed), 1);
    });
}

#[test]
fn in_an_operation() {
    static SEATS: [ThreadSeat; 2] = [const { ThreadSeat::new() }; 2];
    isolated_open("faults::in_an_operation", 30, || {
        begin();
        let member = registered().join(&SEATS[0]).unwrap();
        let (over, end) = std::sync::mpsc::channel::<()>();
        let other = member.spawn(&SEATS[1], move |_| end.recv().is_err()).unwrap();
        let run = || {
            touch();
            Ok(0)
        };
        // SAFETY: a system call, and a store that the handler of the fault lets through.
        let operation = unsafe { Operation::new(&run) };
        let report = registered().call(&SEATS, Call::new(operation)).unwrap();
        assert_eq!((report.others, FAULTS.load(Relaxed)), (1, 2));
        drop(over);
        assert!(other.join().unwrap().unwrap());
    });
}

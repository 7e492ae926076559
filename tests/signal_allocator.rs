//! A global allocator that uses this crate: whatever allocates or frees, the hub's lock is free.
//!
//! Bounded: one process of its own with an alarm of 30 s, which a lock held by its own thread would
//! ring.
#![cfg(all(unix, not(loom)))]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;

use common::*;
use libc::{SIGHUP, SIGUSR1, SIGUSR2};
use portcullis::signal::{self, Builder};

/// Asks the hub, which takes its lock, whenever it is asked itself.
struct Asking;

static ON: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicUsize = AtomicUsize::new(0);

fn ask() {
    if ON.load(Relaxed) {
        ASKED.fetch_add(1, Relaxed);
        assert!(signal::counts(SIGUSR1).is_ok());
    }
}

// SAFETY: the system's, which is asked after.
unsafe impl GlobalAlloc for Asking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ask();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ask();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Asking = Asking;

struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn an_allocator_that_asks_the_hub() {
    isolated("an_allocator_that_asks_the_hub", || {
        // The receiver's thread and the hooks of the C library come first: not under the hub's lock.
        drop(signal::subscribe([SIGUSR2]).unwrap());
        ON.store(true, Relaxed);
        // Room is made several times, and given back by none.
        let mut all: Vec<_> =
            (0..40).map(|_| signal::subscribe([SIGUSR1, SIGHUP]).unwrap()).collect();
        for subscription in &mut all[..20] {
            let waker = Waker::from(Arc::new(Task));
            for _ in 0..2 {
                assert!(subscription.poll_recv(&mut Context::from_waker(&waker)).is_pending());
            }
        }
        let (tell, told) = mpsc::channel();
        let sinks: Vec<_> = (0..10)
            .map(|_| {
                let tell = tell.clone();
                Builder::new().sink([SIGUSR1], move |_| tell.send(()).unwrap()).unwrap()
            })
            .collect();
        let panics = Builder::new().sink([SIGUSR2], |_| panic!("as the test wants it")).unwrap();
        thread::scope(|scope| {
            for subscription in &mut all[20..] {
                scope.spawn(move || assert!(subscription.recv_timeout(SOON).is_ok()));
            }
            thread::sleep(SETTLE);
            kill_self(SIGUSR1);
            kill_self(SIGUSR2);
            sinks.iter().for_each(|_| told.recv_timeout(SOON).unwrap());
        });
        let child = std::process::Command::new("true").status().unwrap();
        assert!(child.success());
        // SAFETY: the child makes one subscription and leaves.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let mut own = signal::subscribe([SIGUSR2]).unwrap();
            kill_self(SIGUSR2);
            let received = own.recv_timeout(SOON).is_ok();
            // SAFETY: no preconditions.
            unsafe { libc::_exit(if received { 0 } else { 1 }) };
        }
        let mut status = -1;
        // SAFETY: the status is a local.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert!(panics.stop().is_err());
        signal::ignore([SIGHUP]).unwrap();
        sinks[0].stop().unwrap();
        all[0].stop().unwrap();
        drop(sinks);
        all.truncate(10);
        signal::shutdown();
        drop(all);
        ON.store(false, Relaxed);
        assert!(ASKED.load(Relaxed) > 100, "{}", ASKED.load(Relaxed));
    });
}

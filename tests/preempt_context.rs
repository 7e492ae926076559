//! What a suspended thread was doing, as who has it suspended sees it.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::{hint, thread};

use common::*;
use portcullis::all_threads::{Call, Operation, call_everyone};
use portcullis::preempt::{Fenced, Gate, Gates, Hook, SystemBackend, ThreadRef};

static GATES: Gates<Fenced, SystemBackend> =
    Gates::new(Fenced, SystemBackend::new(Hook::nothing()));
static GATE: Gate<SystemBackend> = Gate::new();
static NAME: OnceLock<ThreadRef<Fenced, SystemBackend>> = OnceLock::new();
static GO: AtomicBool = AtomicBool::new(false);
static CALLED: AtomicBool = AtomicBool::new(false);
static OVER: AtomicBool = AtomicBool::new(false);

fn until(flag: &AtomicBool) {
    while !flag.load(Acquire) {
        hint::spin_loop();
    }
}

/// An operation on every thread reaches one that stands in our handler, by another handler there. The registers are
/// those of what the first one interrupted all the same.
#[test]
fn registers_stay_what_they_were() {
    isolated_open("registers_stay_what_they_were", 60, || {
        let stands = thread::spawn(|| {
            let own = GATES.register(&GATE).unwrap();
            NAME.set(own.thread()).unwrap();
            until(&OVER);
        });
        let caller = thread::spawn(|| {
            until(&GO);
            let report = call_everyone(Call::new(Operation::barrier())).unwrap();
            CALLED.store(true, Release);
            report
        });
        let name = loop {
            match NAME.get() {
                Some(name) => break *name,
                None => thread::yield_now(),
            }
        };
        let suspended = GATES.try_suspend(name).unwrap();
        let before = suspended.context();
        GO.store(true, Release);
        until(&CALLED);
        let after = suspended.context();
        drop(suspended);
        OVER.store(true, Release);
        assert!(caller.join().unwrap().is_complete());
        stands.join().unwrap();
        assert_eq!(after, before);
    });
}

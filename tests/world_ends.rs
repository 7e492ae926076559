//! Of a world on the real system: births that a fork comes between, and threads that end without leaving.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;

use std::thread;

use common::*;
use portcullis::preempt::{Fenced, Hook, RegisterError, SystemBackend};
use portcullis::world::{EnterError, Slot, World, WorldOf};

const SLOTS: usize = 8;
static FENCED: WorldOf<(), Fenced, SystemBackend, SLOTS> =
    World::new(Fenced, SystemBackend::new(Hook::nothing()), [const { Slot::new(()) }; SLOTS]);

/// What was reserved for a thread before a fork is free in the child, and stays the next one's there.
#[test]
fn a_birth_before_a_fork() {
    isolated("a_birth_before_a_fork", || {
        let mut births: Vec<_> = (0..2).map(|_| FENCED.birth().unwrap()).collect();
        let child = fork(|| {
            // SAFETY: the only thread of the child, first of all; not in the middle of anything.
            unsafe { FENCED.reset_after_fork() }.unwrap();
            let mut births = births.drain(..);
            let refused = births.next().unwrap().enter().unwrap_err();
            assert_eq!(refused, EnterError::Register(RegisterError::GateInUse));
            let theirs: Vec<_> = (0..SLOTS).map(|_| FENCED.birth().unwrap()).collect();
            // Gives up nothing that is another's by now.
            drop(births);
            assert_eq!(FENCED.birth().unwrap_err(), EnterError::Full(SLOTS));
            drop(theirs);
            drop(FENCED.enter().unwrap());
            0
        });
        assert_eq!(wait_for(child), Ended::Exited(0));
        births.drain(..).for_each(|birth| drop(birth.enter().unwrap()));
    });
}

/// A thread that ends outside, its member forgotten: it waits while the world is stopped, for who has it listed may
/// read its stack; then it is on no list.
#[test]
fn an_end_outside() {
    isolated("an_end_outside", || {
        let name = thread::spawn(|| {
            let mut own = FENCED.enter().unwrap();
            std::mem::forget(own.external());
            let name = own.thread();
            std::mem::forget(own);
            name
        });
        while FENCED.stop().unwrap().threads().count() == 0 && !name.is_finished() {
            thread::yield_now();
        }
        name.join().unwrap();
        assert_eq!(FENCED.stop().unwrap().threads().count(), 0);
    });
}

//! Threads that end without leaving. Each has a stack, which who finds it on the list of a stopped world touches.

use std::sync::Arc;

use super::super::support::Payload;
use super::host::{Runtime, work};
use super::{Bound, Ends, EnterError, Kernel, Model};
use crate::model::thread;
use crate::preempt::host::Barrier;
use crate::preempt::{Asymmetric, Fenced};

/// A thread that ends with its member forgotten, while another stops the world.
fn ends<B: Barrier + 'static>(kernel: Kernel, barrier: B, outside: bool) {
    let runtime = Runtime::new(1, kernel, barrier);
    runtime.world().gates().backend().ends.set(Ends::Marked);
    let stack = Arc::new(Payload::new());
    let (theirs, its) = (runtime.clone(), Arc::clone(&stack));
    let ending = thread::spawn("ending", move || {
        // After the hook of the gate, which comes to stand before this: nobody reads it any more.
        kernel.at_thread_exit(move || its.set(1));
        let mut own = theirs.enter();
        work(own.record());
        if outside {
            core::mem::forget(own.external());
        }
        core::mem::forget(own);
    });
    let stop = runtime.stop();
    let listed = runtime.collect(&stop);
    assert!(listed <= 1);
    (0..listed).for_each(|_| stack.set(2));
    drop(stop);
    ending.join();
    assert_eq!(runtime.collect(&runtime.stop()), 0);
    assert_eq!(runtime.world().enter().unwrap_err(), EnterError::Full(1));
}

/// Claim: a thread that ends with its member forgotten stops nobody's world: a stopper that waits for it is woken
/// (I5), sees what it did (E3), and does not list it.
/// Actors: a member, a stopper. Bound 3. Fails, as a deadlock, if the end does not tell.
#[test]
fn forgotten_member_ends() {
    both_barriers!("forgotten_member_ends", 2, 3, |kernel, barrier| ends(kernel, barrier, false));
}

/// Claim: a thread that ends outside, with its member forgotten, does so before the world is stopped, and is not
/// listed; or after (I2): while it is listed its stack is there.
/// Actors: a member, a stopper. Bound 3. Fails if the end does not wait, or does not tell.
#[test]
fn forgotten_outside_ends() {
    both_barriers!("forgotten_outside_ends", 2, 3, |kernel, barrier| ends(kernel, barrier, true));
}

//! The world's end.

use super::host::{Runtime, work};
use super::*;
use crate::world::ShutdownError;

/// A thread enters, works, and leaves, or is refused, while another shuts the world down.
fn leaves<B: Barrier + 'static>(kernel: Kernel, barrier: B) {
    let runtime = Runtime::new(2, kernel, barrier);
    let own = runtime.enter();
    let theirs = runtime.clone();
    let late = thread::spawn("late", move || match theirs.world().enter() {
        Ok(own) => work(own.record()),
        Err(refused) => assert_eq!(refused, EnterError::ShuttingDown),
    });
    let theirs = runtime.clone();
    let last = thread::spawn("last", move || {
        theirs.world().shutdown().unwrap();
        theirs.write_all();
        assert_eq!(theirs.world().enter().unwrap_err(), EnterError::ShuttingDown);
    });
    work(own.record());
    drop(own);
    late.join();
    last.join();
    runtime.assert_open();
}

/// Claim: when a shutdown is over all have left, and what they did is seen (E2, E3); nobody enters any more; and who
/// waits for the last one is woken (I5).
/// Actors: a member, one that enters, one that shuts down. Bound 2. Fails, as a deadlock, if who leaves does not tell.
#[test]
fn all_leave() {
    both_barriers!("all_leave", 3, 2, leaves);
}

/// Claim: a birth that is given up is not waited for (I5).
/// Actors: who gives it up, one that shuts down. Bound 3. Fails, as a deadlock, if giving it up does not tell.
#[test]
fn birth_is_not_waited_for() {
    both_barriers!("birth_is_not_waited_for", 2, 3, |kernel: Kernel, barrier| {
        let runtime = Runtime::new(1, kernel, barrier);
        let birth = runtime.world().birth().unwrap();
        let theirs = runtime.clone();
        let last = thread::spawn("last", move || {
            theirs.world().shutdown().unwrap();
            theirs.write_all();
        });
        work(birth.record());
        drop(birth);
        last.join();
    });
}

/// Claim: a thread that has ended without leaving is not waited for, and what it did is seen (E3).
/// Actors: that, one that shuts down, at once. Bound 3. Fails if the end is not acquired.
#[test]
fn forgotten_is_not_waited_for() {
    both_barriers!("forgotten_is_not_waited_for", 2, 3, |kernel: Kernel, barrier| {
        let runtime = Runtime::new(1, kernel, barrier);
        runtime.world().gates().backend().ends.set(Ends::Marked);
        let deadline = Deadline::after(core::time::Duration::ZERO);
        kernel.expire_deadlines();
        let theirs = runtime.clone();
        let ending = thread::spawn("ending", move || {
            if let Ok(own) = theirs.world().enter() {
                work(own.record());
                core::mem::forget(own);
            }
        });
        match runtime.world().shutdown_by(&deadline) {
            Ok(()) => runtime.write_all(),
            Err(ShutdownError::Late(remaining)) => assert!(remaining.threads().count() <= 1),
            Err(other) => panic!("{other}"),
        }
        ending.join();
        runtime.world().shutdown().unwrap();
    });
}

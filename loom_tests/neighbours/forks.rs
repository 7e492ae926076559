//! Forks by a handler, at every step of every call of the hub.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::super::{Bound, Control, Model};
use super::host::{Design, Process, process};
use crate::model::{Handler, How, Kernel, SigSet, sig, thread};
use crate::note::{Note, Park};
use crate::signal::mailbox::Key;

/// What the handler interrupts.
#[derive(Clone, Copy, Debug)]
enum Call {
    Subscribe,
    Stop,
    Ignore,
    Reset,
    Deliver,
    Recv,
    Counts,
    ShutDown,
}

/// As `before_fork`, `after_fork` and `in_child` of `signal/global.rs`, around a fork by the calling handler.
fn fork(process: &Process, as_child: bool, waits: bool) {
    let Process { sim, hub } = process;
    let before = sim.sigmask(How::Block, SigSet::ALL);
    let mut held = if waits { Some(hub.lock()) } else { hub.lock_for_fork() };
    if as_child {
        sim.become_child();
        match &mut held {
            Some(table) => {
                _ = table.take_forked();
                // SAFETY: in the child, whose only thread this is; all signals are masked.
                unsafe { hub.in_child(table, crate::sys::thread_id()) };
            }
            None => hub.forked_within(),
        }
    }
    drop(held);
    sim.sigmask(How::Set, before);
}

fn forked_within(call: Call, as_child: bool, waits: bool) {
    // The fork, the one that is there before it, and one after it.
    let kernel = Kernel::new().at_most(3);
    let process = process(kernel, Design::Shipped);
    let forked = Rc::new(Cell::new(false));
    let (theirs, done) = (process.clone(), Rc::clone(&forked));
    let over = Arc::new(Note::new());
    let note = Arc::clone(&over);
    let handler = Handler::new(move |_| {
        done.set(true);
        fork(&theirs, as_child, waits);
        note.wake();
    });
    kernel.sigaction(sig::USR2, handler.mask(SigSet::ALL));
    let forks = SigSet::of(&[sig::USR2]);
    kernel.sigmask(How::Block, forks);
    let (theirs, done) = (process.clone(), Rc::clone(&forked));
    let worker = thread::spawn("worker", move || {
        let key = theirs.subscribe(1);
        if !matches!(call, Call::Recv) {
            kernel.raise(1);
        }
        kernel.sigmask(How::Unblock, forks);
        interrupted(&theirs, key, call);
        // It has come by now, or does not.
        kernel.sigmask(How::Block, forks);
        check(&theirs, key, call, as_child && done.get());
    });
    kernel.tgkill(worker.id(), sig::USR2);
    if matches!(call, Call::Recv) {
        // The child has not what was pending.
        over.sleep(None);
        kernel.tgkill(worker.id(), 1);
    }
    worker.join();
}

fn interrupted(process: &Process, key: Key, call: Call) {
    let hub = &process.hub;
    match call {
        Call::Subscribe => _ = process.subscribe(2),
        Call::Stop => _ = process.stop(key),
        Call::Ignore => hub.set_disposition(1, true).unwrap(),
        Call::Reset => hub.set_disposition(1, false).unwrap(),
        Call::Deliver => hub.deliver_all(None),
        Call::Recv => assert_eq!(hub.recv(key, None).map(|delivery| delivery.signal), Ok(1)),
        Call::Counts => assert!(hub.counts(1).received <= 1),
        Call::ShutDown => hub.shut_down(),
    }
}

/// The hub works, in the child too, and has lost nothing.
fn check(process: &Process, key: Key, call: Call, in_child: bool) {
    let hub = &process.hub;
    // Where the fork came as the lock was given up, whoever has it next begins the child.
    hub.locked(|_, _| ());
    assert_eq!(hub.generation(), u32::from(in_child), "the child begins once");
    hub.deliver_all(None);
    let received = matches!(call, Call::Recv);
    assert_eq!(process.delivered(key), u32::from(!received), "what came before the fork");
    if !matches!(call, Call::ShutDown) {
        let own = process.subscribe(2);
        process.sim.raise(2);
        assert_eq!(hub.recv(own, None).map(|delivery| delivery.signal), Ok(2));
        process.stop(own);
    }
    assert_eq!(process.died(), 0);
    hub.queue.assert_no_record_in_use();
}

/// Claim: a handler that forks wherever it interrupts a call of the hub waits for nothing; what it interrupted is
/// finished in the child too, which begins once and loses nothing that was accepted, as the parent does.
/// Actors: one that calls, its handler, which forks. Exhaustive; in `recv` bound 2. Fails, as a self-deadlock,
/// if the fork waits for the lock; as a deadlock, if who is blocked keeps a part that is not the child's.
/// Shipped: the hub, the queue. Mirrored: `sync/lock.rs`, the hooks of `signal/global.rs`. On the real kernel:
/// `neighbours::forks::in_a_handler_that_interrupted_us`, `sync::lock`'s tests.
#[test]
fn fork_anywhere() {
    use Call::*;
    for call in [Subscribe, Stop, Ignore, Reset, Deliver, Recv, Counts, ShutDown] {
        for as_child in [true, false] {
            let side = if as_child { "child" } else { "parent" };
            // It sleeps, which loom tries in many orders.
            let bound = if matches!(call, Recv) { Bound::At(2) } else { Bound::Exhaustive };
            Model::new(format!("neighbours::fork_anywhere: {call:?}, {side}"))
                .actors(2)
                .bound(bound)
                .check(move || forked_within(call, as_child, false));
        }
    }
}

/// Passes: `neighbours::fork_anywhere`.
#[test]
fn fork_waits_for_its_own_lock() {
    let reason = "self-deadlock: handler awaits a lock held by the frame it interrupted";
    Control::new("neighbours::fork_waits_for_its_own_lock", reason)
        .actors(2)
        .check(|| forked_within(Call::Stop, true, true));
}

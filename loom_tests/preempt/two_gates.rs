//! Two runtimes in one process, each with `Gates` of its own over one backend.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::super::{Bound, Control};
use super::both_ways;
use super::host::{Way, World};
use crate::model::{Kernel, thread};
use crate::note::{Note, Park};
use crate::preempt::host::Turn;
use crate::preempt::{Fenced, SuspendError};

/// A thread of the first suspends one of the second, by the second's gates, and the other way round.
fn each_other(way: Way, own: impl Fn() -> Option<Turn>) {
    let world = World::new(Kernel::new().at_most(2), way, Fenced);
    let beside = world.beside(own(), Fenced);
    let member = world.register(0);
    let (first, theirs, others) = (member.thread(), world.clone(), beside.clone());
    let (second, registered) = (Rc::new(Cell::new(None)), Arc::new(Note::new()));
    let (mine, note) = (Rc::clone(&second), Arc::clone(&registered));
    let other = thread::spawn("other", move || {
        let member = others.register(1);
        mine.set(Some(member.thread()));
        note.wake();
        others.work(1);
        theirs.suspend(0, first).unwrap();
        others.work(1);
    });
    world.work(0);
    registered.sleep(None);
    let attempt = beside.suspend(1, second.get().expect("it is registered"));
    let ended = [SuspendError::External, SuspendError::Gone];
    assert!(attempt.is_ok() || ended.contains(&attempt.unwrap_err()), "{attempt:?}");
    other.join();
    world.work(0);
}

/// Claim: of two threads of two runtimes that suspend each other both come back (I5).
/// Actors: two threads, their handlers. Bound 3. Fails, as a deadlock, if each `Gates` has a turn of its
/// own.
#[test]
fn two_gates_suspend_each_other() {
    both_ways("two_gates_suspend_each_other", 4, Some(3), |way| each_other(way, || None));
}

/// Each has a turn of its own. Passes: `preempt::two_gates_suspend_each_other`.
#[test]
fn two_gates_with_a_turn_each() {
    Control::new("preempt::two_gates_with_a_turn_each", "deadlock")
        .actors(2)
        .bound(Bound::At(3))
        .stands("main", "= stopped at host.rs")
        .stands("other", "= stopped at host.rs")
        .check(|| each_other(Way::System, || Some(Turn::new())));
}

/// The same by signals: each waits in its handler for the other to resume it.
/// Passes: `preempt::two_gates_suspend_each_other`.
#[test]
fn two_gates_with_a_turn_each_by_signal() {
    Control::new("preempt::two_gates_with_a_turn_each_by_signal", "deadlock")
        .actors(4)
        .bound(Bound::At(3))
        .stands("main", "in the handler of SIGUSR1, futex wait: sleeps 2 at host.rs")
        .stands("other", "in the handler of SIGUSR1, futex wait: sleeps 2 at host.rs")
        .check(|| each_other(Way::Signal, || Some(Turn::new())));
}

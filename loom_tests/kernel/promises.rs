//! What a model promises the kernel is checked.

use crate::loom_tests::{Control, Model};
use crate::model::{Disposition, How, Kernel, Outcome, SigSet, sig, thread};
use crate::sync::AtomicU32;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Two senders interrupt one thread, which is promised so many signals.
fn two_signals(promised: u32) {
    let kernel = Kernel::new().at_most(promised);
    let ran = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&ran);
    kernel.sigaction(sig::USR1, Disposition::handler(move |_| _ = count.fetch_add(1, Relaxed)));
    let again = Arc::clone(&ran);
    kernel.sigaction(sig::USR2, Disposition::handler(move |_| _ = again.fetch_add(1, Relaxed)));
    let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::USR1));
    kernel.raise(sig::USR2);
    sender.join();
    // A kernel call: what was sent has come.
    kernel.sigmask(How::Block, SigSet::EMPTY);
    assert_eq!(ran.fetch_add(0, Relaxed), 2, "a signal never ran");
}

/// Claim: as many signals as promised are delivered.
/// Actors: sender, target. Exhaustive. Fails if a thread stops looking too early.
#[test]
fn as_many_as_promised() {
    Model::new("kernel::as_many_as_promised").actors(2).check(|| two_signals(2));
}

/// Claim: one more than promised is told of, though the handler never runs.
/// Actors: sender, target. Exhaustive. Passes: `kernel::as_many_as_promised`.
#[test]
fn more_than_promised() {
    Control::new(
        "kernel::more_than_promised",
        "at_most(1) is broken: interruption 2 of thread \"main\"",
    )
    .actors(2)
    .check(|| two_signals(1));
}

/// Claim: what is masked when it is sent is no interruption, and comes however many there are.
/// Actors: one. Fails if masked signals are counted, as `kernel::more_than_promised` does.
#[test]
fn masked_is_not_counted() {
    Model::new("kernel::masked_is_not_counted").actors(1).check(|| {
        let kernel = Kernel::new().at_most(0);
        let ran = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&ran);
        kernel.sigaction(sig::USR1, Disposition::handler(move |_| _ = count.fetch_add(1, Relaxed)));
        let old = kernel.sigmask(How::Block, SigSet::ALL);
        kernel.raise(sig::USR1);
        kernel.sigmask(How::Set, old);
        assert_eq!(ran.load(Relaxed), 1);
    });
}

/// One thread suspends another, which is promised so many interruptions.
fn suspended(promised: u32) {
    let kernel = Kernel::new().at_most(promised);
    let target = thread::spawn("target", || _ = AtomicU32::new(0).load(Relaxed));
    if kernel.suspend(target.id()) {
        kernel.thread_context(target.id());
        kernel.resume(target.id());
    }
    target.join();
}

/// Claim: a suspension counts: past the promise it would never act, and who waits for it would wait for ever.
/// Actors: suspender, target. Exhaustive. Passes: `kernel::suspended_as_promised`.
#[test]
fn suspended_more_than_promised() {
    Control::new("kernel::suspended_more_than_promised", "at_most(0) is broken: interruption 1")
        .actors(2)
        .check(|| suspended(0));
}

/// Claim: one that is promised acts. Actors: suspender, target. Exhaustive.
#[test]
fn suspended_as_promised() {
    Model::new("kernel::suspended_as_promised").actors(2).check(|| suspended(1));
}

/// One sends a signal and stores then. True if the target has seen that, and the handler has not run.
fn seen_before_it_landed() -> bool {
    let kernel = Kernel::new().at_most(1).prompt();
    let words = Arc::new([0; 2].map(AtomicU32::new));
    let theirs = Arc::clone(&words);
    kernel.sigaction(sig::USR1, Disposition::handler(move |_| theirs[0].store(1, Relaxed)));
    let theirs = Arc::clone(&words);
    let sender = thread::spawn("sender", move || {
        kernel.tgkill(thread::main(), sig::USR1);
        theirs[1].store(1, Release);
    });
    let seen = words[1].load(Acquire) == 1;
    let late = seen && words[0].load(Relaxed) == 0;
    sender.join();
    late
}

/// Claim: a signal of a model without flight flies where it can be seen, past what its sender did afterwards. Nobody
/// has to promise that there is nothing to see.
/// Actors: sender, target. Exhaustive. Fails if every signal lands at the next step.
#[test]
fn late_where_it_is_seen() {
    let late = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&late);
    Model::new("kernel::late_where_it_is_seen").actors(2).check(move || {
        all.lock().unwrap().insert(seen_before_it_landed());
    });
    assert_eq!(late.lock().unwrap().len(), 2, "seen late, and not");
}

/// A model that relies on it that a signal lands before what its sender does next is seen, as all without flight did.
/// Passes: `kernel::nothing_to_be_late_for`.
#[test]
fn nothing_is_late() {
    Control::new("kernel::nothing_is_late", "seen before it landed")
        .actors(2)
        .check(|| assert!(!seen_before_it_landed(), "seen before it landed"));
}

/// Claim: where the sender does nothing afterwards, a signal lands at the next step and no other, with or without
/// a word of it.
/// Actors: sender, target. Exhaustive.
#[test]
fn nothing_to_be_late_for() {
    let explore = |name: &str, prompt| {
        let name = format!("kernel::nothing_to_be_late_for: {name}");
        Model::new(name).actors(2).check(move || {
            let kernel = Kernel::new().at_most(1);
            let kernel = if prompt { kernel.prompt() } else { kernel };
            let word = Arc::new(AtomicU32::new(0));
            let theirs = Arc::clone(&word);
            kernel.sigaction(sig::USR1, Disposition::handler(move |_| theirs.store(1, Relaxed)));
            let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::USR1));
            (0..3).for_each(|_| _ = word.load(Relaxed));
            sender.join();
        })
    };
    let (few, many) = (explore("prompt", true), explore("in flight", false));
    assert!(few < many, "{few}, {many}");
}

/// Claim: a death that nobody said may be fails the model where it happens.
/// Actors: sender, target. Exhaustive. Passes: `kernel::death_that_is_meant`.
#[test]
fn death_by_default_action() {
    Control::new(
        "kernel::death_by_default_action",
        "unexpected death of SIGTERM (thread \"main\", at ",
    )
    .actors(2)
    .check(|| {
        let kernel = Kernel::new().at_most(1);
        let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::TERM));
        AtomicU32::new(0).load(Relaxed);
        sender.join();
    });
}

/// Claim: so does SIGKILL, which no thread takes.
/// Actors: one. Passes: `kernel::death_that_is_meant`.
#[test]
fn death_by_kill() {
    Control::new("kernel::death_by_kill", "unexpected death of SIGKILL")
        .actors(1)
        .check(|| Kernel::new().kill(sig::KILL));
}

/// Claim: so does the death of a child, whose outcome a parent may forget to look at.
/// Actors: one, parent and child. Passes: `kernel::death_that_is_meant`.
#[test]
fn death_of_a_child() {
    Control::new("kernel::death_of_a_child", "unexpected death of SIGTERM").actors(1).check(|| {
        let kernel = Kernel::new();
        kernel.fork(|| kernel.raise(sig::TERM));
    });
}

/// Claim: a model that says so may die, and an exit needs no saying.
/// Actors: one, parent and child. Fails without `may_die` (`kernel::death_of_a_child`).
#[test]
fn death_that_is_meant() {
    Model::new("kernel::death_that_is_meant").actors(1).check(|| {
        let kernel = Kernel::new().may_die();
        assert_eq!(kernel.fork(|| kernel.kill(sig::KILL)), Outcome::DiedOf(sig::KILL));
        assert_eq!(kernel.fork(|| kernel.exit(3)), Outcome::Exited(3));
        kernel.raise(sig::TERM);
        assert_eq!(kernel.outcome(), Outcome::DiedOf(sig::TERM));
    });
}

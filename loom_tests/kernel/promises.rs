//! What a model promises the kernel is checked.

use crate::loom_tests::{Control, Model};
use crate::model::{Disposition, How, Kernel, Outcome, SigSet, sig, thread};
use crate::sync::AtomicU32;
use crate::sync::Ordering::Relaxed;
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
/// Actors: sender, target. Exhaustive.
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

/// Claim: a suspension counts: past the promise it would never act, and who waits for it would wait for ever.
/// Actors: suspender, target. Exhaustive.
#[test]
fn suspended_more_than_promised() {
    Control::new("kernel::suspended_more_than_promised", "at_most(0) is broken: interruption 1")
        .actors(2)
        .check(|| {
            let kernel = Kernel::new().at_most(0);
            let target = thread::spawn("target", || _ = AtomicU32::new(0).load(Relaxed));
            if kernel.suspend(target.id()) {
                kernel.thread_context(target.id());
                kernel.resume(target.id());
            }
            target.join();
        });
}

/// Claim: a death that nobody said may be fails the model where it happens.
/// Actors: sender, target. Exhaustive.
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
/// Actors: one.
#[test]
fn death_by_kill() {
    Control::new("kernel::death_by_kill", "unexpected death of SIGKILL")
        .actors(1)
        .check(|| Kernel::new().kill(sig::KILL));
}

/// Claim: so does the death of a child, whose outcome a parent may forget to look at.
/// Actors: one, parent and child.
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

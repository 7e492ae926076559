//! Ends, dispositions, exit hooks, fork and suspension.

use super::{Pair, counting};
use crate::loom_tests::{Control, Model};
use crate::model::{Disposition, Handler, How, Kernel, Outcome, SigSet, sig, thread, violation};
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicBool, AtomicU32, Mutex};
use std::sync::Arc;
use std::sync::atomic::AtomicU32 as Plain;

/// Claim: the default action ends the process, or does nothing, by the signal's number.
#[test]
fn default_action() {
    Model::new("kernel::default_action").actors(1).check(|| {
        let kernel = Kernel::new().may_die();
        for harmless in [sig::CHLD, sig::URG, sig::WINCH, sig::CONT] {
            kernel.raise(harmless);
        }
        assert!(kernel.alive());
        kernel.raise(sig::TERM);
        assert_eq!(kernel.outcome(), Outcome::DiedOf(sig::TERM));
        kernel.raise(sig::INT);
        kernel.exit(1);
        assert_eq!(kernel.outcome(), Outcome::DiedOf(sig::TERM), "the first end counts");
        violation("nothing after death counts");
    });
}

/// Claim: what is ignored, or pending when it becomes ignored, is gone.
#[test]
fn ignored() {
    Model::new("kernel::ignored").actors(1).check(|| {
        let kernel = Kernel::new();
        kernel.sigaction(sig::TERM, Disposition::Ignore);
        kernel.raise(sig::TERM);
        let old = kernel.sigmask(How::Block, SigSet::ALL);
        kernel.raise(sig::TERM);
        kernel.sigaction(sig::USR1, Disposition::Ignore);
        kernel.sigaction(sig::TERM, Disposition::Ignore);
        kernel.sigaction(sig::TERM, Disposition::handler(|_| violation("it was ignored")));
        kernel.sigmask(How::Set, old);
        assert!(kernel.alive());
    });
}

/// Passes: `kernel::ignored`.
#[test]
fn ignored_too_late() {
    Control::new("kernel::ignored_too_late", "died of it").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1).may_die();
        let sender = thread::spawn("sender", move || {
            kernel.tgkill(thread::main(), sig::TERM);
        });
        kernel.sigaction(sig::TERM, Disposition::Ignore);
        sender.join();
        assert!(kernel.alive(), "died of it");
    });
}

/// Re-raises in a handler, after resetting the disposition or without.
fn reraise(reset: bool) -> Outcome {
    let kernel = Kernel::new().may_die();
    let once = Plain::new(0);
    let handler = Disposition::handler(move |signal| {
        if once.fetch_add(1, Relaxed) == 0 {
            if reset {
                kernel.sigaction(signal, Disposition::Default);
            }
            kernel.raise(signal);
            assert!(kernel.alive(), "masked in its own handler");
        }
    });
    kernel.sigaction(sig::TERM, handler);
    kernel.raise(sig::TERM);
    kernel.outcome()
}

/// Claim: a signal re-raised in its handler meets the disposition in force when that returns.
#[test]
fn reraised() {
    Model::new("kernel::reraised")
        .actors(1)
        .check(|| assert_eq!(reraise(true), Outcome::DiedOf(sig::TERM)));
}

/// Passes: `kernel::reraised`.
#[test]
fn reraised_to_itself() {
    Control::new("kernel::reraised_to_itself", "did not die").actors(1).check(|| {
        if reraise(false) == Outcome::Running {
            violation("did not die");
        }
    });
}

/// Claim: `SA_RESETHAND` serves one signal; the next meets the default.
#[test]
fn resethand() {
    Model::new("kernel::resethand").actors(1).check(|| {
        let kernel = Kernel::new().may_die();
        kernel.sigaction(sig::TERM, Handler::new(|_| ()).resethand());
        kernel.raise(sig::TERM);
        assert!(kernel.alive());
        kernel.raise(sig::TERM);
        assert!(!kernel.alive());
    });
}

/// Claim: exit hooks run on their thread when it exits, last registered first, before its join.
#[test]
fn exit_hooks() {
    Model::new("kernel::exit_hooks").actors(2).check(|| {
        let kernel = Kernel::new();
        let ran = Arc::new(AtomicU32::new(0));
        let theirs = Arc::clone(&ran);
        let other = thread::spawn("other", move || {
            for number in [1, 2] {
                let ran = Arc::clone(&theirs);
                kernel.at_thread_exit(move || {
                    ran.store(ran.load(Relaxed) * 10 + number, Relaxed);
                });
            }
            assert_eq!(theirs.load(Relaxed), 0);
        });
        other.join();
        assert_eq!(ran.load(Relaxed), 21);
    });
}

/// Passes: `kernel::exit_hooks`.
#[test]
fn exit_without_hook() {
    Control::new("kernel::exit_without_hook", "never given back").actors(2).check(|| {
        let lock = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&lock);
        thread::spawn("other", move || theirs.store(true, Relaxed)).join();
        if lock.load(Relaxed) {
            violation("never given back");
        }
    });
}

/// Claim: a forked child is a process of its own, with one thread, the caller's dispositions and
/// nothing pending.
#[test]
fn forked() {
    Model::new("kernel::forked").actors(2).check(|| {
        let kernel = Kernel::new().may_die();
        let count = Arc::new(Plain::new(0));
        kernel.sigaction(sig::USR1, Disposition::handler(counting(&count)));
        let old = kernel.sigmask(How::Block, SigSet::ALL);
        let other = thread::spawn("other", move || {
            kernel.sigmask(How::Set, SigSet::of(&[sig::USR1]));
            AtomicU32::new(0).load(Relaxed);
        });
        kernel.raise(sig::USR1);
        let child = kernel.fork(|| {
            kernel.sigmask(How::Set, old);
            assert_eq!(count.load(Relaxed), 0, "nothing pending in the child");
            kernel.kill(sig::USR1);
            assert_eq!(count.load(Relaxed), 1, "taken by the one thread there is");
            kernel.sigaction(sig::USR1, Disposition::Default);
            kernel.kill(sig::TERM);
        });
        assert_eq!(child, Outcome::DiedOf(sig::TERM));
        assert!(kernel.alive(), "the parent is another process");
        kernel.sigmask(How::Set, old);
        assert_eq!(count.load(Relaxed), 2, "still pending in the parent, and handled");
        other.join();
    });
}

/// Passes: `kernel::forked`.
#[test]
fn not_forked() {
    Control::new("kernel::not_forked", "the parent died").actors(1).check(|| {
        let kernel = Kernel::new().may_die();
        kernel.kill(sig::TERM);
        assert!(kernel.alive(), "the parent died");
    });
}

/// A thread that exits while another suspends it, through a gate or without.
fn exit_while_suspended(gate: bool) {
    let kernel = Kernel::new();
    let lock = Arc::new(Mutex::new(()));
    let theirs = Arc::clone(&lock);
    let suspender = thread::spawn("suspender", move || {
        let held = gate.then(|| theirs.lock());
        if kernel.alive() {
            kernel.suspend(thread::main());
            kernel.thread_context(thread::main());
            kernel.resume(thread::main());
        }
        drop(held);
    });
    let held = gate.then(|| lock.lock());
    kernel.exit_process(0);
    drop(held);
    if kernel.outcome() == Outcome::Ghost {
        panic!("ghost process");
    }
    suspender.join();
}

/// Claim: a suspension is asynchronous, and one under way acts after the other threads ended.
#[test]
fn suspended_exit_gated() {
    Model::new("kernel::suspended_exit_gated").actors(2).check(|| exit_while_suspended(true));
}

/// Passes: `kernel::suspended_exit_gated`.
#[test]
fn suspended_exit() {
    Control::new("kernel::suspended_exit", "ghost process")
        .actors(2)
        .check(|| exit_while_suspended(false));
}

/// Suspends a thread that steps; between context and resume it must not move.
fn suspend(wait_until_stopped: bool) {
    let kernel = Kernel::new();
    let pair = Pair::new();
    let theirs = pair.clone();
    let target = thread::spawn("target", move || theirs.step());
    kernel.suspend(target.id());
    if wait_until_stopped {
        kernel.thread_context(target.id());
    }
    pair.check_stands_still();
    kernel.resume(target.id());
    target.join();
}

/// Claim: a suspended thread stands still once it has stopped, and goes on when resumed.
#[test]
fn suspended() {
    Model::new("kernel::suspended").actors(2).check(|| suspend(true));
}

/// Passes: `kernel::suspended`.
#[test]
fn suspended_not_yet() {
    Control::new("kernel::suspended_not_yet", "the interrupted code moved")
        .actors(2)
        .check(|| suspend(false));
}

/// A handle is closed while another thread has read its value, and opened for a third.
fn handle_reused(looks_again: bool) {
    let kernel = Kernel::new().at_most(0);
    let handle = kernel.open_thread(thread::main());
    let other = thread::spawn("other", move || {
        let named = kernel.thread_of(handle);
        let right = !looks_again || kernel.thread_of(handle) == named;
        (named, right)
    });
    kernel.close_thread(handle);
    assert_eq!(kernel.open_thread(other.id()), handle, "the value is given out again");
    let (id, (named, right)) = (other.id(), other.join());
    assert!(right, "one value, two threads");
    assert!(named.is_none_or(|named| named == thread::main() || named == id));
}

/// Claim: a closed handle's value names nobody, and then whoever gets it.
#[test]
fn handle_names_one_at_a_time() {
    Model::new("kernel::handle_names_one_at_a_time").actors(2).check(|| handle_reused(false));
}

/// Passes: `kernel::handle_names_one_at_a_time`.
#[test]
fn handle_names_another() {
    Control::new("kernel::handle_names_another", "one value, two threads")
        .actors(2)
        .check(|| handle_reused(true));
}

/// A thread that goes on as a child, with a signal pending; whether its process ends by another one.
fn child_goes_on(dies: bool) -> Outcome {
    let kernel = Kernel::new().may_die();
    let count = Arc::new(Plain::new(0));
    kernel.sigaction(sig::USR1, Disposition::handler(counting(&count)));
    thread::spawn("forks", move || {
        let before = kernel.sigmask(How::Block, SigSet::of(&[sig::USR1]));
        kernel.raise(sig::USR1);
        kernel.become_child();
        kernel.sigmask(How::Set, before);
        assert_eq!(count.load(Relaxed), 0, "what is pending is the parent's");
        if dies {
            kernel.raise(sig::TERM);
        }
        kernel.outcome()
    })
    .join()
}

/// Claim: who goes on as the child has nothing pending, and what becomes of it the parent's other threads do not
/// share.
#[test]
fn as_a_child() {
    Model::new("kernel::as_a_child").actors(2).check(|| {
        assert_eq!(child_goes_on(false), Outcome::Running);
        assert_eq!(child_goes_on(true), Outcome::DiedOf(sig::TERM));
        assert!(Kernel::current().alive());
    });
}

/// Passes: `kernel::as_a_child`.
#[test]
fn as_a_child_and_alive() {
    Control::new("kernel::as_a_child_and_alive", "left: DiedOf(15) /  right: Running")
        .actors(2)
        .check(|| {
            assert_eq!(child_goes_on(true), Outcome::Running);
        });
}

//! What no mask keeps away: barriers, and, as soon as a thread unmasks anything, suspensions.

use super::Pair;
use crate::loom_tests::{Control, Model};
use crate::model::futex;
use crate::model::{Disposition, How, Kernel, SigSet, sig, thread, violation};
use crate::sync::AtomicU32;
use crate::sync::Ordering::{Acquire, Release};
use std::sync::Arc;

/// Wakes the thread that sleeps until `word` is 1.
fn wake(word: &AtomicU32) {
    word.store(1, Release);
    futex::wake_one(word);
}

/// Sleeps until then.
fn await_wake(word: &AtomicU32) {
    while word.load(Acquire) == 0 {
        futex::wait(word, 0, None);
    }
}

/// A thread that began with everything masked sleeps until `reach` has come back.
fn reached(unmasks: bool, reach: impl FnOnce(Kernel, thread::ThreadId)) {
    let kernel = Kernel::new().at_most(1);
    kernel.sigaction(sig::USR1, Disposition::handler(|_| ()));
    let word = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&word);
    let before = kernel.sigmask(How::Block, SigSet::ALL);
    let target = thread::spawn("target", move || {
        if unmasks {
            kernel.sigmask(How::Set, before);
        }
        await_wake(&theirs);
    });
    kernel.sigmask(How::Set, before);
    reach(kernel, target.id());
    wake(&word);
    target.join();
}

/// Claim: a barrier returns whatever the other thread masks, and though that one unmasks and sleeps meanwhile.
/// Actors: caller, target. Exhaustive. Fails if the change of the mask forgets it, or a mask keeps it away.
#[test]
fn barrier_reaches_the_masked() {
    Model::new("kernel::barrier_reaches_the_masked").actors(2).check(|| {
        reached(false, |kernel, _| kernel.membarrier());
    });
}

#[test]
fn barrier_reaches_the_unmasking() {
    Model::new("kernel::barrier_reaches_the_unmasking").actors(2).check(|| {
        reached(true, |kernel, _| kernel.membarrier());
    });
}

/// Claim: two barriers at once wait for each other, and both return.
/// Actors: two callers. Exhaustive. Fails if one sleeps that owes the other its own.
#[test]
fn barriers_cross() {
    Model::new("kernel::barriers_cross").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let other = thread::spawn("other", move || kernel.membarrier());
        kernel.membarrier();
        other.join();
    });
}

/// A handshake by signal instead: a mask keeps it away. Passes: `kernel::barrier_reaches_the_masked`.
#[test]
fn signal_does_not_reach_the_masked() {
    Control::new("kernel::signal_does_not_reach_the_masked", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 0 at unmaskable.rs")
        .stands("target", "futex wait: sleeps 0 at unmaskable.rs")
        .check(|| {
            let answered = Arc::new(AtomicU32::new(0));
            let theirs = Arc::clone(&answered);
            reached(false, move |kernel, target| {
                kernel.sigaction(sig::USR1, Disposition::handler(move |_| wake(&theirs)));
                kernel.tgkill(target, sig::USR1);
                await_wake(&answered);
            });
        });
}

/// A thread that is suspended while it masks everything, and steps after it has unmasked, or masked as it is.
fn steps_after_suspension(unmasks: bool) {
    let kernel = Kernel::new().at_most(1).suspending();
    let pair = Pair::new();
    let (theirs, go) = (pair.clone(), Arc::new(AtomicU32::new(0)));
    let gone = Arc::clone(&go);
    let before = kernel.sigmask(How::Block, SigSet::ALL);
    let target = thread::spawn("target", move || {
        let suspended = gone.load(Acquire) == 1;
        if unmasks {
            kernel.sigmask(How::Set, before);
        }
        if suspended {
            theirs.step();
        }
    });
    if kernel.suspend(target.id()) {
        go.store(1, Release);
        kernel.thread_context(target.id());
        if pair.newest() != (0, 0) {
            violation("a step past its suspension");
        }
        kernel.resume(target.id());
    }
    target.join();
}

/// Claim: a suspension that is under way stops its thread before a call that unmasks something returns.
/// Actors: suspender, target. Exhaustive. Fails if the change of the mask forgets it, so that it acts at the next
/// sleep or at the end.
#[test]
fn suspended_at_unmasking() {
    Model::new("kernel::suspended_at_unmasking").actors(2).check(|| steps_after_suspension(true));
}

/// A limit of the simulated kernel: while everything is masked, no suspension acts.
/// Passes: `kernel::suspended_at_unmasking`.
#[test]
fn suspended_and_masked() {
    Control::new("kernel::suspended_and_masked", "a step past its suspension")
        .actors(2)
        .check(|| steps_after_suspension(false));
}

//! Sleeping and waking.

use crate::loom_tests::support::Payload;
use crate::loom_tests::{Control, Model};
use crate::model::futex::{self, Deadline, Waited};
use crate::model::{Disposition, How, Kernel, SigSet, sig, thread};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, Mutex, Ordering};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A thread asleep that only its handler can wake.
fn sleeper(mask: SigSet) {
    let kernel = Kernel::new().at_most(1);
    let word = Arc::new(AtomicU32::new(0));
    let mine = Arc::clone(&word);
    kernel.sigaction(sig::USR1, Disposition::handler(move |_| mine.store(1, Relaxed)));
    let sender = thread::spawn("sender", move || {
        kernel.tgkill(thread::main(), sig::USR1);
    });
    kernel.sigmask(How::Block, mask);
    while word.load(Relaxed) == 0 {
        futex::wait(&word, 0, None);
    }
    sender.join();
}

/// Claim: a signal wakes a sleeper to run its handler, and the sleep ends.
#[test]
fn sleeper_runs_handler() {
    Model::new("kernel::sleeper_runs_handler").actors(2).check(|| sleeper(SigSet::EMPTY));
}

/// Passes: `kernel::sleeper_runs_handler`.
#[test]
fn sleeper_with_mask() {
    Control::new("kernel::sleeper_with_mask", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 0 at sleep.rs")
        .stands("sender", "thread exits")
        .check(|| sleeper(SigSet::ALL));
}

/// Claim: a sleep goes on after a handler that changed nothing which it looks at, until it is woken. Of a friendly
/// system: a hostile one ends it (`kernel::hostile_interrupted_sleep`).
#[test]
fn sleep_goes_on_after_handler() {
    Model::new("kernel::sleep_goes_on_after_handler").actors(2).hostile(0).check(|| {
        slept_through(|word| {
            word.store(1, Relaxed);
            futex::wake_one(word);
        });
    });
}

/// Passes: `kernel::sleep_goes_on_after_handler`.
#[test]
fn sleep_never_woken() {
    Control::new("kernel::sleep_never_woken", "deadlock")
        .actors(3)
        .stands("main", "futex wait: sleeps 0 at sleep.rs")
        .stands("sender", "thread exits")
        .stands("waker", "thread exits")
        .check(|| slept_through(|_| ()));
}

/// A thread sleeps once, a handler lets it be, another thread does this.
fn slept_through(wake: fn(&AtomicU32)) {
    let kernel = Kernel::new().at_most(1);
    let word = Arc::new(AtomicU32::new(0));
    kernel.sigaction(sig::USR1, Disposition::handler(|_| ()));
    let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::USR1));
    let theirs = Arc::clone(&word);
    let waker = thread::spawn("waker", move || wake(&theirs));
    assert_eq!(futex::wait(&word, 0, None), Waited::Woken);
    assert_eq!(word.load(Relaxed), 1, "woken by the handler alone");
    sender.join();
    waker.join();
}

/// Claim: waits for a lock and for a thread are interrupted too.
#[test]
fn blocked_runs_handler() {
    Model::new("kernel::blocked_runs_handler").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let word = Arc::new(AtomicU32::new(0));
        let lock = Arc::new(Mutex::new(()));
        let (mine, locked) = (Arc::clone(&word), Arc::clone(&lock));
        kernel.sigaction(
            sig::USR1,
            Disposition::handler(move |_| {
                mine.store(1, Relaxed);
                futex::wake_one(&mine);
            }),
        );
        let other = thread::spawn("other", move || {
            let held = locked.lock();
            kernel.tgkill(thread::main(), sig::USR1);
            while word.load(Relaxed) == 0 {
                futex::wait(&word, 0, None);
            }
            drop(held);
        });
        drop(lock.lock());
        other.join();
    });
}

/// One sleeper, one waker.
fn wake(store_first: bool, check: bool) {
    let word = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&word);
    let waker = thread::spawn("waker", move || {
        if store_first {
            theirs.store(1, Release);
            futex::wake_one(&theirs);
        } else {
            futex::wake_one(&theirs);
            theirs.store(1, Release);
        }
    });
    while word.load(Acquire) == 0 {
        // Without the check: sleep on whatever is there by now.
        let expected = if check { 0 } else { word.fetch_add(0, Relaxed) };
        futex::wait(&word, expected, None);
    }
    waker.join();
}

/// Claim: the check of the word and falling asleep are one step for a waker.
#[test]
fn wake_not_lost() {
    Model::new("kernel::wake_not_lost").actors(2).check(|| wake(true, true));
}

/// Passes: `kernel::wake_not_lost`.
#[test]
fn wake_before_store() {
    Control::new("kernel::wake_before_store", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 0 at sleep.rs")
        .stands("waker", "thread exits")
        .check(|| wake(false, true));
}

/// A wake that nothing else orders with the sleep comes before it too. Passes: `kernel::wake_not_lost`.
#[test]
fn wake_too_early() {
    Control::new("kernel::wake_too_early", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 0 at sleep.rs")
        .stands("waker", "thread exits")
        .check(|| {
            let word = Arc::new(AtomicU32::new(0));
            let theirs = Arc::clone(&word);
            let waker = thread::spawn("waker", move || futex::wake_one(&theirs));
            futex::wait(&word, 0, None);
            waker.join();
        });
}

/// Passes: `kernel::wake_not_lost`.
#[test]
fn wait_without_check() {
    Control::new("kernel::wait_without_check", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 0 at sleep.rs")
        .stands("waker", "thread exits")
        .check(|| wake(true, false));
}

/// Hands a payload over a word; `publish` is the waker's order.
fn payload_over_futex(publish: Ordering) {
    let shared = Arc::new((AtomicU32::new(0), Payload::new()));
    let theirs = Arc::clone(&shared);
    let waker = thread::spawn("waker", move || {
        theirs.1.set(1);
        theirs.0.store(1, publish);
        futex::wake_one(&theirs.0);
    });
    while shared.0.load(Acquire) == 0 {
        futex::wait(&shared.0, 0, None);
    }
    assert_eq!(shared.1.get(), 1);
    waker.join();
}

/// Claim: the futex itself publishes nothing that a model could lean on.
#[test]
fn futex_publishes_by_word() {
    Model::new("kernel::futex_publishes_by_word").actors(2).check(|| payload_over_futex(Release));
}

/// Passes: `kernel::futex_publishes_by_word`.
#[test]
fn futex_publishes_nothing() {
    Control::new("kernel::futex_publishes_nothing", "Causality violation")
        .actors(2)
        .stands("main", "cell read at sleep.rs")
        .check(|| payload_over_futex(Relaxed));
}

/// One that is woken looks at the word by which it was woken.
fn look_when_woken(tells: bool, look: fn(&AtomicU32) -> u32) {
    let kernel = Kernel::new().at_most(0).prompt();
    let _kernel = if tells { kernel } else { kernel.wakes_tell_nothing() };
    let word = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&word);
    let waker = thread::spawn("waker", move || {
        theirs.fetch_add(1, Release);
        futex::wake_one(&theirs);
    });
    futex::wait(&word, 0, None);
    assert_eq!(look(&word), 1, "an old value");
    waker.join();
}

/// Claim: where wake-ups tell nothing, a read-modify-write sees that there was one.
/// Actors: sleeper, waker. Exhaustive. Fails if it is a load (`kernel::wake_seen_by_a_look`). Of a friendly system:
/// the claim is about a sleep that somebody has ended.
#[test]
fn wake_seen_by_read_modify_write() {
    Model::new("kernel::wake_seen_by_read_modify_write")
        .actors(2)
        .hostile(0)
        .check(|| look_when_woken(false, |word| word.fetch_or(0, Relaxed)));
}

/// Passes: `kernel::wake_seen_by_read_modify_write`.
#[test]
fn wake_seen_by_a_look() {
    Control::new("kernel::wake_seen_by_a_look", "an old value")
        .actors(2)
        .check(|| look_when_woken(false, |word| word.load(Relaxed)));
}

/// What the kernel's wake-ups tell otherwise: more than the real ones do. Friendly, as the one above.
#[test]
fn wake_tells_without_being_told_not_to() {
    Model::new("kernel::wake_tells_without_being_told_not_to")
        .actors(2)
        .hostile(0)
        .check(|| look_when_woken(true, |word| word.load(Relaxed)));
}

/// Claim: nothing else of a sleep changes: one that nobody wakes is a deadlock.
/// Passes: `kernel::wake_seen_by_read_modify_write`.
#[test]
fn nobody_wakes_and_tells_nothing() {
    Control::new("kernel::nobody_wakes_and_tells_nothing", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 0 at sleep.rs")
        .check(|| {
            let _kernel = Kernel::new().at_most(0).wakes_tell_nothing();
            let other = thread::spawn("other", || ());
            futex::wait(&AtomicU32::new(0), 0, None);
            other.join();
        });
}

/// Claim: a deadline comes when the clock says, asleep or not; a sleep without one goes on.
#[test]
fn deadline() {
    let outcomes = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&outcomes);
    Model::new("kernel::deadline").actors(3).check(move || {
        let kernel = Kernel::new();
        let word = Arc::new(AtomicU32::new(0));
        let theirs = Arc::clone(&word);
        let deadline = Deadline::after(core::time::Duration::from_secs(1));
        let clock = thread::spawn("clock", move || kernel.expire_deadlines());
        let waker = thread::spawn("waker", move || {
            theirs.store(1, Relaxed);
            futex::wake_one(&theirs);
        });
        let waited = futex::wait(&word, 0, Some(&deadline));
        seen.lock().unwrap().insert(waited == Waited::TimedOut);
        clock.join();
        waker.join();
    });
    assert_eq!(outcomes.lock().unwrap().len(), 2, "either may come first");
}

/// Passes: `kernel::deadline`.
#[test]
fn deadline_never() {
    Control::new("kernel::deadline_never", "deadlock")
        .actors(1)
        .stands("main", "futex wait: sleeps 0 at sleep.rs")
        .check(|| {
            let deadline = Deadline::after(core::time::Duration::from_secs(1));
            futex::wait(&AtomicU32::new(0), 0, Some(&deadline));
        });
}

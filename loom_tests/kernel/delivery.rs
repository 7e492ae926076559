//! Where signals land, who takes them, and what that publishes.

use super::{Pair, counting, interrupt};
use crate::loom_tests::support::Payload;
use crate::loom_tests::{Control, Model};
use crate::model::{Disposition, Handler, How, Kernel, SigSet, Signal, sig, thread, violation};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::{AtomicBool, AtomicU32};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32 as Plain;

/// Claim: a signal lands before each operation of its target, before the end of the target, or
/// not at all, and nowhere else.
#[test]
fn lands_everywhere() {
    let places = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&places);
    let executions = Model::new("kernel::lands_everywhere").actors(2).check(move || {
        let kernel = Kernel::new().at_most(1);
        let old = kernel.sigmask(How::Block, SigSet::ALL);
        let done = Arc::new(Plain::new(0));
        let landed = Arc::new(Plain::new(99));
        let (count, place) = (Arc::clone(&done), Arc::clone(&landed));
        kernel.sigaction(
            sig::USR1,
            Disposition::handler(move |_| place.store(count.load(Relaxed), Relaxed)),
        );
        let target = thread::spawn("target", move || {
            kernel.sigmask(How::Set, old);
            let word = AtomicU32::new(0);
            let step = || done.fetch_add(1, Relaxed);
            word.store(1, Relaxed);
            step();
            word.fetch_add(1, Relaxed);
            step();
            word.load(Relaxed);
            step();
        });
        kernel.tgkill(target.id(), sig::USR1);
        target.join();
        seen.lock().unwrap().insert(landed.load(Relaxed));
    });
    assert_eq!(*places.lock().unwrap(), BTreeSet::from([0, 1, 2, 3, 99]));
    assert!(executions < 60, "{executions} executions for five landing places");
}

/// Claim: a signal may land after its target saw what its sender did next.
#[test]
fn in_flight() {
    let overtaken = Arc::new(Plain::new(0));
    let seen = Arc::clone(&overtaken);
    Model::new("kernel::in_flight").actors(2).check(move || {
        let kernel = Kernel::new().at_most(1);
        let landed = Arc::new(Plain::new(0));
        kernel.sigaction(sig::USR1, Disposition::handler(counting(&landed)));
        let word = Arc::new(AtomicU32::new(0));
        let (theirs, seen) = (Arc::clone(&word), Arc::clone(&seen));
        let target = thread::spawn("target", move || {
            let saw = theirs.load(Acquire) == 1;
            theirs.load(Relaxed);
            if saw && landed.load(Relaxed) == 0 {
                seen.fetch_add(1, Relaxed);
            }
        });
        kernel.tgkill(target.id(), sig::USR1);
        word.fetch_add(1, AcqRel);
        target.join();
    });
    assert_ne!(overtaken.load(Relaxed), 0);
}

/// Claim: a promised signal lands everywhere too, in fewer executions.
#[test]
fn prompt() {
    let places = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&places);
    Model::new("kernel::prompt").actors(2).check(move || {
        let kernel = Kernel::new().at_most(1).prompt();
        let done = Arc::new(Plain::new(0));
        let landed = Arc::new(Plain::new(99));
        let (count, place) = (Arc::clone(&done), Arc::clone(&landed));
        kernel.sigaction(
            sig::USR1,
            Disposition::handler(move |_| place.store(count.load(Relaxed), Relaxed)),
        );
        let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::USR1));
        let word = AtomicU32::new(0);
        for step in 1..=3 {
            word.store(step, Relaxed);
            done.store(step, Relaxed);
        }
        let landed = landed.load(Relaxed);
        seen.lock().unwrap().insert(landed);
        sender.join();
    });
    assert_eq!(*places.lock().unwrap(), BTreeSet::from([0, 1, 2, 99]));
}

/// Claim: while a handler runs, the code it interrupted does not.
#[test]
fn nested() {
    Model::new("kernel::nested").actors(2).check(|| {
        let _ = Kernel::new().at_most(1);
        let pair = Pair::new();
        let theirs = pair.clone();
        interrupt(Disposition::handler(move |_| pair.check_stands_still()), move || {
            theirs.step();
        });
    });
}

/// A handler that is a thread, as models without this kernel have it. Passes: `kernel::nested`.
#[test]
fn nested_not_as_a_thread() {
    Control::new("kernel::nested_not_as_a_thread", "the interrupted code moved").actors(2).check(
        || {
            let pair = Pair::new();
            let theirs = pair.clone();
            let target = thread::spawn("target", move || theirs.step());
            pair.check_stands_still();
            target.join();
        },
    );
}

/// Runs a region with or without its signal masked; the handler must not find it open.
fn region(masked: bool) {
    let kernel = Kernel::new().at_most(1);
    let open = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&open);
    let handler = move |_| {
        if open.load(Relaxed) {
            violation("handler in the masked region");
        }
    };
    interrupt(Disposition::handler(handler), move || {
        let set = if masked { SigSet::of(&[sig::USR1]) } else { SigSet::EMPTY };
        let old = kernel.sigmask(How::Block, set);
        theirs.store(true, Relaxed);
        theirs.store(false, Relaxed);
        kernel.sigmask(How::Set, old);
    });
}

/// Claim: no handler of a masked signal runs.
#[test]
fn masked() {
    Model::new("kernel::masked").actors(2).check(|| region(true));
}

/// Passes: `kernel::masked`.
#[test]
fn masked_not_at_all() {
    Control::new("kernel::masked_not_at_all", "handler in the masked region")
        .actors(2)
        .check(|| region(false));
}

/// Claim: a masked signal stays pending, once, and is acted on before the unmasking call returns.
#[test]
fn pending() {
    Model::new("kernel::pending").actors(1).check(|| {
        let kernel = Kernel::new();
        let count = Arc::new(Plain::new(0));
        kernel.sigaction(sig::USR1, Disposition::handler(counting(&count)));
        let old = kernel.sigmask(How::Block, SigSet::ALL);
        kernel.raise(sig::USR1);
        kernel.raise(sig::USR1);
        kernel.kill(sig::USR1);
        assert_eq!(count.load(Relaxed), 0);
        kernel.sigmask(How::Set, old);
        assert_eq!(count.load(Relaxed), 2, "one pending for the thread, one for the process");
    });
}

/// Passes: `kernel::pending`.
#[test]
fn pending_not_dropped() {
    Control::new("kernel::pending_not_dropped", "came after all").actors(1).check(|| {
        let kernel = Kernel::new();
        kernel.sigaction(sig::USR1, Disposition::handler(|_| violation("came after all")));
        let old = kernel.sigmask(How::Block, SigSet::ALL);
        kernel.raise(sig::USR1);
        kernel.sigmask(How::Set, old);
    });
}

/// Two threads either of which may take a signal; returns how many did, and which.
fn takers(send: impl Fn(Kernel, [thread::ThreadId; 2])) -> Vec<usize> {
    let kernel = Kernel::new().at_most(1);
    let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mine = Arc::clone(&taken);
    kernel.sigaction(
        sig::USR1,
        Disposition::handler(move |_| {
            let me = usize::from(thread::current() == thread::main());
            mine.lock().unwrap().push(me);
        }),
    );
    let old = kernel.sigmask(How::Block, SigSet::ALL);
    let other = thread::spawn("other", move || _ = kernel.sigmask(How::Set, old));
    send(kernel, [thread::current(), other.id()]);
    kernel.sigmask(How::Set, old);
    other.join();
    taken.lock().unwrap().clone()
}

/// Claim: a process-directed signal is taken by exactly one thread, whichever.
#[test]
fn taken_by_one() {
    let seen = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&seen);
    Model::new("kernel::taken_by_one").actors(2).check(move || {
        let taken = takers(|kernel, _| kernel.kill(sig::USR1));
        assert_eq!(taken.len(), 1);
        all.lock().unwrap().insert(taken[0]);
    });
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([0, 1]), "either thread may take it");
}

/// Passes: `kernel::taken_by_one`.
#[test]
fn taken_by_two() {
    Control::new("kernel::taken_by_two", "taken twice").actors(2).check(|| {
        let taken = takers(|kernel, both| {
            both.iter().for_each(|&thread| kernel.tgkill(thread, sig::USR1));
        });
        if taken.len() == 2 {
            violation("taken twice");
        }
    });
}

/// Claim: a process-directed signal may come before its only taker masks it, or after.
#[test]
fn sent_before_or_after_masking() {
    let seen = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&seen);
    Model::new("kernel::sent_before_or_after_masking").actors(2).check(move || {
        let kernel = Kernel::new().at_most(1);
        let count = Arc::new(Plain::new(0));
        kernel.sigaction(sig::USR1, Disposition::handler(counting(&count)));
        let old = kernel.sigmask(How::Block, SigSet::ALL);
        let sender = thread::spawn("sender", move || kernel.kill(sig::USR1));
        kernel.sigmask(How::Set, old);
        kernel.sigmask(How::Block, SigSet::ALL);
        all.lock().unwrap().insert(count.load(Relaxed));
        sender.join();
        kernel.sigmask(How::Set, old);
        assert_eq!(count.load(Relaxed), 1);
    });
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([0, 1]));
}

/// Claim: a handler chosen before the disposition changed may be entered after.
#[test]
fn entered_late() {
    let late = Arc::new(Plain::new(0));
    let seen = Arc::clone(&late);
    Model::new("kernel::entered_late").actors(2).check(move || {
        let _ = Kernel::new().at_most(1);
        let changed = Arc::new(AtomicBool::new(false));
        let (theirs, seen) = (Arc::clone(&changed), Arc::clone(&seen));
        let kernel = Kernel::current();
        let handler = Disposition::handler(move |_| {
            if theirs.load(Relaxed) {
                seen.fetch_add(1, Relaxed);
            }
        });
        kernel.sigaction(sig::USR1, handler);
        let target = thread::spawn("target", move || kernel.raise(sig::USR1));
        kernel.sigaction(sig::USR1, Disposition::Ignore);
        changed.store(true, Relaxed);
        target.join();
    });
    assert_ne!(late.load(Relaxed), 0);
}

/// Publishes a payload to a handler on another thread: by installing it, or by a relaxed flag.
fn publish(by_disposition: bool, reads: &Arc<Plain>) {
    let reads = Arc::clone(reads);
    let kernel = Kernel::new().at_most(1);
    let shared = Arc::new((Payload::new(), AtomicBool::new(false)));
    let theirs = Arc::clone(&shared);
    let handler = Disposition::handler(move |_| {
        if by_disposition || theirs.1.load(Relaxed) {
            assert_eq!(theirs.0.get(), 7);
            reads.fetch_add(1, Relaxed);
        }
    });
    kernel.sigaction(sig::USR1, Disposition::handler(|_| ()));
    if !by_disposition {
        kernel.sigaction(sig::USR1, handler.clone());
    }
    thread::spawn("sender", move || {
        shared.0.set(7);
        shared.1.store(true, Relaxed);
        if by_disposition {
            kernel.sigaction(sig::USR1, handler);
        }
        kernel.tgkill(thread::main(), sig::USR1);
    });
    // Not joined: that would synchronise.
    let word = AtomicU32::new(0);
    word.load(Relaxed);
    word.load(Relaxed);
}

/// Claim: whoever is handed a handler sees what was written before it was installed.
#[test]
fn disposition_publishes() {
    let reads = Arc::new(Plain::new(0));
    let count = Arc::clone(&reads);
    Model::new("kernel::disposition_publishes").actors(2).check(move || publish(true, &count));
    assert_ne!(reads.load(Relaxed), 0);
}

/// Passes: `kernel::disposition_publishes`.
#[test]
fn sending_publishes_nothing() {
    Control::new("kernel::sending_publishes_nothing", "Causality violation")
        .actors(2)
        .stands("main", "in the handler of SIGUSR1, cell read at delivery.rs")
        .check(|| publish(false, &Arc::default()));
}

/// The values that a handler is told of two signals that were sent while they were masked.
fn values(signal: Signal) -> Vec<usize> {
    let kernel = Kernel::new();
    let told = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&told);
    let handler = Handler::with_info(move |_, info| log.borrow_mut().push(info.value));
    kernel.sigaction(signal, handler);
    let before = kernel.sigmask(How::Block, SigSet::of(&[signal]));
    assert!([5, 6].iter().all(|value| kernel.queue(thread::current(), signal, *value)));
    kernel.sigmask(How::Set, before);
    told.take()
}

/// Claim: of standard signals that are pending the first is handled, with its value; real-time ones are queued.
#[test]
fn merged_or_queued() {
    Model::new("kernel::merged_or_queued").actors(1).check(|| {
        assert_eq!(values(sig::USR1), [5]);
        assert_eq!(values(3), [5, 6]);
    });
}

/// Passes: `kernel::merged_or_queued`.
#[test]
fn merged_and_told_of_both() {
    Control::new("kernel::merged_and_told_of_both", "left: [5] /  right: [5, 6]").actors(1).check(
        || {
            assert_eq!(values(sig::USR1), [5, 6]);
        },
    );
}

//! What a hostile system does: sleeps that return for no reason, wake-ups for the other sleeper, other orders.

use crate::loom_tests::{Bound, Control, Model};
use crate::model::futex;
use crate::model::{Disposition, How, Kernel, SigSet, Signal, sig, thread};
use crate::sync::AtomicU32;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use core::time::Duration;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// A thread sleeps until another has stored to the word, or once.
fn sleep(until_stored: bool) {
    let word = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&word);
    let waker = thread::spawn("waker", move || {
        theirs.store(1, Release);
        futex::wake_one(&theirs);
    });
    futex::wait(&word, 0, None);
    while until_stored && word.load(Acquire) == 0 {
        futex::wait(&word, 0, None);
    }
    assert_eq!(word.fetch_add(0, Relaxed), 1, "woken by nobody");
    waker.join();
}

/// Claim: a sleep may return though nobody woke it, in models without a kernel too; whoever looks again is none
/// the worse.
/// Actors: sleeper, waker. Exhaustive. Fails if one does not look (`kernel::hostile_sleep_believed`).
#[test]
fn hostile_sleep() {
    Model::new("kernel::hostile_sleep").actors(2).hostile(2).check(|| sleep(true));
}

/// Passes: `kernel::hostile_sleep`.
#[test]
fn hostile_sleep_believed() {
    Control::new("kernel::hostile_sleep_believed", "woken by nobody")
        .actors(2)
        .hostile(1)
        .check(|| sleep(false));
}

/// Claim: a friendly system wakes nobody for no reason; neither does the environment make it hostile here.
#[test]
fn friendly_sleep() {
    Model::new("kernel::friendly_sleep").actors(2).hostile(0).check(|| sleep(false));
}

/// Claim: a sleep that returns for no reason does so at once, or when the others have gone as far as they can: a
/// bound does not keep it from that, as it does from most moments between.
/// Actors: sleeper; one that stores and has all deadlines pass. Bound 0. Fails if it returns at once alone.
#[test]
fn hostile_sleep_returns_late() {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&seen);
    Model::new("kernel::hostile_sleep_returns_late")
        .actors(2)
        .bound(Bound::At(0))
        .hostile(1)
        .check(move || {
            let kernel = Kernel::new().at_most(0);
            let [word, stored] = [(); 2].map(|()| Arc::new(AtomicU32::new(0)));
            let theirs = Arc::clone(&stored);
            let other = thread::spawn("other", move || {
                theirs.store(1, Relaxed);
                kernel.expire_deadlines();
            });
            let deadline = futex::Deadline::after(Duration::ZERO);
            let timed_out = futex::wait(&word, 0, Some(&deadline)) == futex::Waited::TimedOut;
            all.lock().unwrap().insert((timed_out, stored.fetch_add(0, Relaxed)));
            other.join();
        });
    let seen = seen.lock().unwrap();
    assert_eq!(*seen, BTreeSet::from([(false, 0), (false, 1), (true, 1)]));
}

/// One sleep, a handler in it, a waker: notes whether the waker had stored by the end, and the handler run.
fn interrupted(seen: &Mutex<BTreeSet<u32>>) {
    let kernel = Kernel::new().at_most(1);
    let ran = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&ran);
    kernel.sigaction(sig::USR1, Disposition::handler(move |_| _ = count.fetch_add(1, Relaxed)));
    let word = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&word);
    let other = thread::spawn("other", move || {
        kernel.tgkill(thread::main(), sig::USR1);
        theirs.store(1, Relaxed);
        futex::wake_one(&theirs);
    });
    futex::wait(&word, 0, None);
    seen.lock().unwrap().insert(word.fetch_add(0, Relaxed) * 10 + ran.load(Relaxed));
    other.join();
}

/// Claim: after a handler a sleep may be over (`EINTR`).
/// Actors: sleeper; sender and waker. Exhaustive. Fails if it always goes on.
#[test]
fn hostile_interrupted_sleep() {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&seen);
    Model::new("kernel::hostile_interrupted_sleep")
        .actors(2)
        .hostile(1)
        .check(move || interrupted(&all));
    let seen = seen.lock().unwrap();
    assert!(seen.contains(&1), "ended by the handler alone");
    assert!(seen.contains(&0) && seen.contains(&11), "for no reason, and by the waker");
}

/// Two sleep on one word, the second after the first, and one is woken: notes which, if both slept.
fn woken(seen: &Mutex<BTreeSet<u32>>) {
    let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let spawn = |number: u32| {
        let words = Arc::clone(&words);
        thread::spawn(format!("sleeper {number}"), move || {
            let [word, woken] = &*words;
            if number == 2 {
                word.fetch_add(0, Relaxed);
                if futex::sleepers(word) != 1 {
                    return;
                }
            }
            futex::wait(word, 0, None);
            let _ = woken.compare_exchange(0, number, Relaxed, Relaxed);
            futex::wake_one(woken);
        })
    };
    let sleepers = [spawn(1), spawn(2)];
    let [word, woken] = &*words;
    word.fetch_add(0, Relaxed);
    if futex::sleepers(word) == 2 {
        futex::wake_one(word);
        while woken.fetch_add(0, Relaxed) == 0 {
            futex::wait(woken, 0, None);
        }
        seen.lock().unwrap().insert(woken.fetch_add(0, Relaxed));
    }
    word.fetch_add(1, Relaxed);
    futex::wake_one(word);
    futex::wake_one(word);
    sleepers.into_iter().for_each(thread::JoinHandle::join);
}

/// Claim: a wake-up is for either of two sleepers; on a friendly system for the one that slept first.
/// Actors: two sleepers, waker. Bound 3. Fails if a program relies on the first (the friendly system's answer).
#[test]
fn hostile_wake() {
    for (name, hostile, expected) in [("friendly", 0, &[1][..]), ("hostile", 1, &[1, 2])] {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let all = Arc::clone(&seen);
        Model::new(format!("kernel::hostile_wake: {name}"))
            .actors(3)
            .bound(Bound::At(3))
            .hostile(hostile)
            .check(move || woken(&all));
        assert_eq!(seen.lock().unwrap().iter().copied().collect::<Vec<_>>(), expected);
    }
}

/// The signals that run, in order, of these that came while they were masked.
fn ran(signals: &[Signal]) -> Vec<Signal> {
    let kernel = Kernel::new();
    let log = Rc::new(RefCell::new(Vec::new()));
    for &signal in signals {
        let mine = Rc::clone(&log);
        let handler = move |signal| mine.borrow_mut().push(signal);
        kernel.sigaction(signal, Disposition::handler(handler));
    }
    let before = kernel.sigmask(How::Block, SigSet::of(signals));
    signals.iter().for_each(|&signal| kernel.raise(signal));
    kernel.sigmask(How::Set, before);
    log.take()
}

/// Claim: where POSIX leaves the order open either is taken first; real-time signals stay in order.
/// Actors: one. Exhaustive. Fails if a program relies on the order (`kernel::hostile_order_relied_on`).
#[test]
fn hostile_order() {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&seen);
    Model::new("kernel::hostile_order").actors(1).hostile(1).check(move || {
        all.lock().unwrap().insert(ran(&[sig::USR2, sig::TERM]));
        assert_eq!(ran(&[51, 50]), [51, 50], "the lowest is taken first");
    });
    let orders = [vec![sig::TERM, sig::USR2], vec![sig::USR2, sig::TERM]];
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from(orders));
}

/// Passes: `kernel::hostile_order`.
#[test]
fn hostile_order_relied_on() {
    Control::new("kernel::hostile_order_relied_on", "left: [12, 15] /  right: [15, 12]")
        .actors(1)
        .hostile(1)
        .check(|| assert_eq!(ran(&[sig::USR2, sig::TERM]), [sig::TERM, sig::USR2]));
}

//! Parking with a handler in it: std's parker on a futex, and crossbeam's on a mutex and a condition variable.
//!
//! Promised by both: a wake-up that comes before the park is not lost, and what was done before each unpark is
//! seen after the park that it ends. Neither says that a handler may call it.

use std::rc::Rc;

use super::super::{Bound, Control, Model};
use crate::model::{Disposition, Kernel, futex, sig, thread, violation};
use crate::sync::Ordering::{self, AcqRel, Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, Mutex, MutexGuard};

const EMPTY: u32 = 0;
const NOTIFIED: u32 = 1;
const PARKED: u32 = u32::MAX;

/// std's: one word.
struct Parker {
    state: AtomicU32,
    /// How a wake-up that is there already is taken: by the step that acquires, or, until rust-lang/rust#54174,
    /// found and then wiped out by a store.
    stored: bool,
    unpark: Ordering,
}

impl Parker {
    fn new(stored: bool, unpark: Ordering) -> Rc<Self> {
        Rc::new(Self { state: AtomicU32::new(EMPTY), stored, unpark })
    }

    fn park(&self) {
        if self.stored {
            match self.state.compare_exchange(EMPTY, PARKED, AcqRel, Acquire) {
                Ok(_) => {}
                Err(_) => return self.state.store(EMPTY, Release),
            }
        } else if self.state.fetch_sub(1, Acquire) == NOTIFIED {
            return;
        }
        loop {
            futex::wait(&self.state, PARKED, None);
            let Err(now) = self.state.compare_exchange(NOTIFIED, EMPTY, Acquire, Acquire) else {
                return;
            };
            if now != PARKED {
                violation(format!("parked, and does not sleep: the state is {now}"));
            }
        }
    }

    fn unpark(&self) {
        if self.state.swap(NOTIFIED, self.unpark) == PARKED {
            futex::wake_one(&self.state);
        }
    }
}

/// A thread that parks until its handler and another thread have each said so.
fn unparked_by_handler_and_thread(stored: bool, unpark: Ordering) {
    let kernel = Kernel::new().at_most(1);
    let parker = Parker::new(stored, unpark);
    let said = Rc::new([0; 2].map(AtomicU32::new));
    let (theirs, told) = (Rc::clone(&parker), Rc::clone(&said));
    let handler = move |_| {
        told[0].store(1, Relaxed);
        theirs.unpark();
    };
    kernel.sigaction(sig::USR1, Disposition::handler(handler));
    let (theirs, told) = (Rc::clone(&parker), Rc::clone(&said));
    let other = thread::spawn("other thread", move || {
        kernel.tgkill(thread::main(), sig::USR1);
        told[1].store(1, Relaxed);
        theirs.unpark();
    });
    while said.iter().any(|said| said.load(Relaxed) == 0) {
        parker.park();
    }
    other.join();
}

/// Claim: std's parker is woken by a handler on the very thread that parks, at any step of the park, and by
/// another thread at the same time, and sees what either has done. Actors: who parks, who unparks. Exhaustive.
#[test]
fn std_unpark_in_a_handler() {
    Model::new("found::parking::std_unpark_in_a_handler")
        .actors(2)
        .check(|| unparked_by_handler_and_thread(false, Release));
}

/// rust-lang/rust#53366: of a wake-up that was there, and came again, only the first is seen.
/// Passes: `found::parking::std_unpark_in_a_handler`.
#[test]
fn rust53366_second_unpark_wiped_out() {
    Control::new("found::parking::rust53366_second_unpark_wiped_out", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 0xffffffff at parking.rs")
        .stands("other thread", "thread exits")
        .check(|| unparked_by_handler_and_thread(true, Release));
}

/// An unpark that releases nothing. Passes: `found::parking::std_unpark_in_a_handler`.
#[test]
fn std_unpark_relaxed() {
    Control::new("found::parking::std_unpark_relaxed", "deadlock")
        .actors(2)
        .shows("load Relaxed -> 0, not yet 1 of parking.rs")
        .stands("main", "futex wait: sleeps 0xffffffff at parking.rs")
        .check(|| unparked_by_handler_and_thread(false, Relaxed));
}

/// Today, if a handler parks on the thread that it interrupted in a park: the state is counted down twice, and
/// is the word of no sleep any more. Neither park sleeps; each spins until somebody unparks.
/// Passes: `found::parking::std_unpark_in_a_handler`.
#[test]
fn today_std_park_in_a_handler_spins() {
    let name = "found::parking::today_std_park_in_a_handler_spins";
    Control::new(name, "parked, and does not sleep").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let parker = Parker::new(false, Release);
        let theirs = Rc::clone(&parker);
        kernel.sigaction(sig::USR1, Disposition::handler(move |_| theirs.park()));
        let theirs = Rc::clone(&parker);
        let other = thread::spawn("other thread", move || {
            kernel.tgkill(thread::main(), sig::USR1);
            theirs.unpark();
            theirs.unpark();
        });
        parker.park();
        other.join();
    });
}

/// crossbeam's: a word, a mutex, and a condition variable, which here is a count that is slept on.
struct Locking {
    state: AtomicU32,
    lock: Mutex<()>,
    notified: AtomicU32,
}

impl Locking {
    fn new() -> Rc<Self> {
        let [state, notified] = [EMPTY; 2].map(AtomicU32::new);
        Rc::new(Self { state, lock: Mutex::new(()), notified })
    }

    fn wait<'a>(&'a self, guard: MutexGuard<'a, ()>) -> MutexGuard<'a, ()> {
        let before = self.notified.load(Relaxed);
        drop(guard);
        futex::wait(&self.notified, before, None);
        self.lock.lock()
    }

    fn take(&self) -> bool {
        self.state.compare_exchange(NOTIFIED, EMPTY, AcqRel, Acquire).is_ok()
    }

    fn park(&self) {
        if self.take() {
            return;
        }
        let mut guard = self.lock.lock();
        if self.state.compare_exchange(EMPTY, PARKED, AcqRel, Acquire).is_err() {
            self.state.swap(EMPTY, AcqRel);
            return;
        }
        loop {
            guard = self.wait(guard);
            if self.take() {
                return;
            }
        }
    }

    fn unpark(&self) {
        if self.state.swap(NOTIFIED, AcqRel) == PARKED {
            // So that the notification does not come before the wait.
            drop(self.lock.lock());
            self.notified.fetch_add(1, Release);
            futex::wake_one(&self.notified);
        }
    }
}

/// Claim: crossbeam's parker loses no wake-up of another thread. Bound 4.
#[test]
fn crossbeam_unpark_by_a_thread() {
    let name = "found::parking::crossbeam_unpark_by_a_thread";
    Model::new(name).actors(2).bound(Bound::At(4)).check(|| {
        let parker = Locking::new();
        let theirs = Rc::clone(&parker);
        let other = thread::spawn("other thread", move || theirs.unpark());
        parker.park();
        other.join();
    });
}

/// Today, if a handler unparks the thread that it interrupted: it waits for the lock of the frame below.
/// Passes: `found::parking::crossbeam_unpark_by_a_thread`.
#[test]
fn today_crossbeam_unpark_in_a_handler() {
    let name = "found::parking::today_crossbeam_unpark_in_a_handler";
    let reason = "self-deadlock: handler awaits a lock held by the frame it interrupted";
    Control::new(name, reason).actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let parker = Locking::new();
        let theirs = Rc::clone(&parker);
        kernel.sigaction(sig::USR1, Disposition::handler(move |_| theirs.unpark()));
        let other = thread::spawn("other thread", move || kernel.tgkill(thread::main(), sig::USR1));
        parker.park();
        other.join();
    });
}

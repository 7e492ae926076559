//! What models of others are made of: atomics, cells, locks, sleep and wake, thread-locals; and what their
//! failures say.

use std::sync::Arc;

use crate::loom_tests::{Control, Model};
use crate::model::atomic::{self, AtomicBool, AtomicU8, AtomicU32, Ordering, Ordering::*};
use crate::model::cell::{Cell, UnsafeCell};
use crate::model::sync::{Condvar, Mutex};
use crate::model::{Handler, How, Kernel, SigSet, futex, sig, thread};

/// For what is used by one system thread alone, as all of a model is.
struct Ours<T>(T);

// SAFETY: loom runs a model on one system thread; what it holds checks accesses itself.
unsafe impl<T> Sync for Ours<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Ours<T> {}

/// Has main interrupted by SIGUSR1, whose handler does this, in the middle of `body`.
fn interrupted(kernel: Kernel, handler: impl Fn() + 'static, body: impl FnOnce()) {
    kernel.sigaction(sig::USR1, Handler::new(move |_| handler()));
    let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::USR1));
    body();
    sender.join();
}

/// Claim: each operation does what core's does.
/// Actors: one. Exhaustive. Fails if one of them is another one's.
#[test]
fn atomics_are_cores() {
    type Ours = AtomicU8;
    type Cores = core::sync::atomic::AtomicU8;
    type Op = (fn(&Ours, u8) -> u8, fn(&Cores, u8) -> u8);
    const OPS: [Op; 9] = [
        (|a, v| a.swap(v, AcqRel), |a, v| a.swap(v, AcqRel)),
        (|a, v| a.fetch_add(v, AcqRel), |a, v| a.fetch_add(v, AcqRel)),
        (|a, v| a.fetch_sub(v, AcqRel), |a, v| a.fetch_sub(v, AcqRel)),
        (|a, v| a.fetch_and(v, AcqRel), |a, v| a.fetch_and(v, AcqRel)),
        (|a, v| a.fetch_nand(v, AcqRel), |a, v| a.fetch_nand(v, AcqRel)),
        (|a, v| a.fetch_or(v, AcqRel), |a, v| a.fetch_or(v, AcqRel)),
        (|a, v| a.fetch_xor(v, AcqRel), |a, v| a.fetch_xor(v, AcqRel)),
        (|a, v| a.fetch_max(v, AcqRel), |a, v| a.fetch_max(v, AcqRel)),
        (|a, v| a.fetch_min(v, AcqRel), |a, v| a.fetch_min(v, AcqRel)),
    ];
    Model::new("kernel::atomics_are_cores").actors(1).check(|| {
        for (ours, cores) in OPS {
            for (from, by) in [(0, 0), (0, 1), (1, 3), (200, 100), (255, 7), (6, 255)] {
                let (own, core) = (Ours::new(from), Cores::new(from));
                assert_eq!(ours(&own, by), cores(&core, by));
                assert_eq!(own.load(Acquire), core.load(Acquire));
            }
        }
        let word = Ours::new(5);
        assert_eq!(word.compare_exchange(4, 6, AcqRel, Acquire), Err(5));
        assert_eq!(word.compare_exchange_weak(5, 6, AcqRel, Acquire), Ok(5));
        assert_eq!(word.fetch_update(AcqRel, Acquire, |seen| seen.checked_mul(2)), Ok(6));
        assert_eq!(word.fetch_update(AcqRel, Acquire, |_| None), Err(12));
        word.store(9, Release);
        assert_eq!(word.into_inner(), 9);
        let mut value = atomic::AtomicI64::new(-3);
        value.with_mut(|value| *value -= 1);
        assert_eq!(value.fetch_min(-9, AcqRel), -4);
        let flag = AtomicBool::new(true);
        assert!(flag.fetch_xor(true, AcqRel) && !flag.fetch_nand(false, AcqRel));
        let mut target = 7;
        let pointer = atomic::AtomicPtr::new(core::ptr::null_mut());
        pointer.store(&raw mut target, Release);
        assert_eq!(pointer.load(Acquire), &raw mut target);
    });
}

/// Claim: a signal lands between the load and the compare-exchange of a `fetch_update`, which counts both.
/// Actors: main, its handler, a sender. Exhaustive. Fails, as one that is lost, if that is a load and a store:
/// the module's own example.
#[test]
fn update_against_handler() {
    Model::new("kernel::update_against_handler").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let count = Arc::new(AtomicU32::new(0));
        let theirs = Arc::clone(&count);
        let add = |count: &AtomicU32| {
            _ = count.fetch_update(Relaxed, Relaxed, |seen| Some(seen + 1));
        };
        interrupted(kernel, move || add(&theirs), || add(&count));
        assert_eq!(count.load(Relaxed), 2);
    });
}

/// Two words that a writer stores to, the second with this order; a reader that has seen the second looks at the
/// first with one that goes with it.
fn second_then_first(publish: Ordering, see: Ordering) {
    let words = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let writer = Arc::clone(&words);
    thread::spawn("writer", move || {
        writer.0.store(1, Relaxed);
        writer.1.store(1, publish)
    });
    if words.1.load(see) == 1 {
        assert_eq!(words.0.load(Relaxed), 1, "seen");
    }
}

/// A value that is older than the last says so, and where that is: nothing orders the two.
/// Passes: `kernel::fresh_read`.
#[test]
fn stale_read_says_so() {
    let line = line!() - 12;
    Control::new("kernel::stale_read_says_so", "seen")
        .actors(2)
        .shows(format!("load Relaxed -> 0, not yet 1 of pieces.rs:{line}"))
        .check(|| second_then_first(Relaxed, Relaxed));
}

/// Claim: what the second publishes is seen.
/// Actors: writer, reader. Exhaustive. Fails if it publishes nothing (`kernel::stale_read_says_so`).
#[test]
fn fresh_read() {
    Model::new("kernel::fresh_read").actors(2).check(|| second_then_first(Release, Acquire));
}

/// A record of two numbers that a handler shows and main changes.
fn shown_record(masked: bool) {
    let kernel = Kernel::new().at_most(1);
    let record = Arc::new(Ours(UnsafeCell::new((0, 0))));
    let theirs = Arc::clone(&record);
    // SAFETY: the cell fails the model if anybody writes meanwhile.
    let show = move || theirs.0.with(|record| assert!(unsafe { (*record).0 == (*record).1 }));
    interrupted(kernel, show, || {
        let before = masked.then(|| kernel.sigmask(How::Block, SigSet::ALL));
        // SAFETY: the cell fails the model if anybody reads meanwhile.
        record.0.with_mut(|record| unsafe { *record = (1, 1) });
        before.map(|before| kernel.sigmask(How::Set, before));
    });
}

/// Claim: a record that is changed with the signal masked is never seen half-way.
/// Actors: main, its handler, a sender. Exhaustive. Fails if the signal is open: `handler_tears_a_record`.
#[test]
fn masked_record_is_whole() {
    Model::new("kernel::masked_record_is_whole").actors(2).check(|| shown_record(true));
}

/// A handler reads what the code it interrupted writes. Passes: `kernel::masked_record_is_whole`.
#[test]
fn handler_tears_a_record() {
    let torn = "torn: the handler of SIGUSR1 reads at";
    Control::new("kernel::handler_tears_a_record", torn).actors(2).check(|| shown_record(false));
}

/// A handler changes what main reads.
fn changed_by_handler(masked: bool) {
    let kernel = Kernel::new().at_most(1);
    let cell = Arc::new(Ours(Cell::new(0)));
    let theirs = Arc::clone(&cell);
    interrupted(
        kernel,
        move || theirs.0.set(1),
        || {
            let before = masked.then(|| kernel.sigmask(How::Block, SigSet::ALL));
            assert!(cell.0.get() < 2);
            before.map(|before| kernel.sigmask(How::Set, before));
        },
    );
}

/// A handler changes what the code it interrupted reads. Passes: `kernel::masked_read_is_whole`.
#[test]
fn handler_changes_what_is_read() {
    let torn = "the cell that the code it interrupted reads at";
    Control::new("kernel::handler_changes_what_is_read", torn)
        .actors(2)
        .check(|| changed_by_handler(false));
}

/// Claim: so with a read.
/// Actors: main, its handler, a sender. Exhaustive. Fails if the signal is open
/// (`kernel::handler_changes_what_is_read`).
#[test]
fn masked_read_is_whole() {
    Model::new("kernel::masked_read_is_whole").actors(2).check(|| changed_by_handler(true));
}

/// Another thread writes to a cell, and main does, after it or beside it.
fn two_write(joined: bool) {
    let cell = Arc::new(Ours(Cell::new(0)));
    let theirs = Arc::clone(&cell);
    let mut other = Some(thread::spawn("other", move || theirs.0.set(1)));
    if joined {
        other.take().map(thread::JoinHandle::join);
    }
    cell.0.set(2);
    other.map(thread::JoinHandle::join);
}

/// Two threads at one cell are loom's to report. Passes: `kernel::one_thread_after_the_other`.
#[test]
fn two_threads_at_a_cell() {
    Control::new("kernel::two_threads_at_a_cell", "Concurrent")
        .actors(2)
        .stands("other", "cell write begins at pieces.rs")
        .check(|| two_write(false));
}

/// Claim: one after the other may write. Actors: two. Exhaustive.
#[test]
fn one_thread_after_the_other() {
    Model::new("kernel::one_thread_after_the_other").actors(2).check(|| two_write(true));
}

/// A list behind a lock, to which a handler adds as well.
fn locked(handler: fn(&Mutex<Vec<u32>>)) {
    let kernel = Kernel::new().at_most(1);
    let list = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&list);
    interrupted(kernel, move || handler(&theirs), || list.lock().unwrap().push(1));
    let list = list.lock().unwrap();
    assert!(list.len() <= 2 && list.contains(&1), "{list:?}");
}

/// Claim: a handler that tries a lock, and does without it, waits for nobody.
/// Actors: main, its handler, a sender. Exhaustive. Fails if the handler waits: `handler_awaits_its_threads_lock`.
#[test]
fn handler_tries_a_lock() {
    Model::new("kernel::handler_tries_a_lock").actors(2).check(|| {
        locked(|list| _ = list.try_lock().map(|mut list| list.push(2)));
    });
}

/// A handler waits for the lock that the code it interrupted holds: named as that, with both places.
/// Passes: `kernel::handler_tries_a_lock`.
#[test]
fn handler_awaits_its_threads_lock() {
    let deadlock = "self-deadlock: handler awaits a lock held by the frame it interrupted";
    Control::new("kernel::handler_awaits_its_threads_lock", deadlock).actors(2).check(|| {
        locked(|list| list.lock().unwrap().push(2));
    });
}

/// One thread waits for another's word.
fn told(with_the_lock: bool) {
    let there = Arc::new((Mutex::new(()), AtomicBool::new(false), Condvar::new()));
    let theirs = Arc::clone(&there);
    let other = thread::spawn("other", move || {
        let (lock, flag, told) = &*theirs;
        let guard = with_the_lock.then(|| lock.lock().unwrap());
        flag.store(true, Relaxed);
        told.notify_one();
        drop(guard);
    });
    let (lock, flag, told) = &*there;
    let guard = lock.lock().unwrap();
    drop(told.wait_while(guard, |()| !flag.fetch_or(false, Relaxed)).unwrap());
    other.join();
}

/// Claim: who changes what is waited for with the lock is heard.
/// Actors: main, another. Exhaustive. Fails if that is done without: `told_without_the_lock`.
#[test]
fn told_with_the_lock() {
    Model::new("kernel::told_with_the_lock").actors(2).check(|| told(true));
}

/// It is told between the look and the sleep. Passes: `kernel::told_with_the_lock`.
#[test]
fn told_without_the_lock() {
    Control::new("kernel::told_without_the_lock", "deadlock: every thread is asleep")
        .actors(2)
        .shows("futex wait: sleeps")
        .check(|| told(false));
}

/// Two threads sleep on one word.
fn woken(wake: fn(&AtomicU32)) {
    let word = Arc::new(AtomicU32::new(0));
    let sleepers = ["first", "second"].map(|name| {
        let word = Arc::clone(&word);
        thread::spawn(name, move || {
            while word.load(Acquire) == 0 {
                futex::wait(&word, 0, None);
            }
        })
    });
    word.store(1, Release);
    wake(&word);
    for sleeper in sleepers {
        sleeper.join();
    }
}

/// Claim: all that sleep are woken.
/// Actors: main, two that sleep. Exhaustive. Fails if one is: `one_of_two_is_woken`.
#[test]
fn all_are_woken() {
    Model::new("kernel::all_are_woken").actors(3).check(|| woken(futex::wake_all));
}

/// The other one sleeps on. Passes: `kernel::all_are_woken`.
#[test]
fn one_of_two_is_woken() {
    Control::new("kernel::one_of_two_is_woken", "deadlock: every thread is asleep")
        .actors(3)
        .stands("second", "futex wait: sleeps 0 at pieces.rs")
        .check(|| woken(futex::wake_one));
}

crate::model::thread_local! {
    static HANDLED: core::cell::Cell<u32> = core::cell::Cell::new(0);
}

crate::model::lazy_static! {
    static ref ALL: AtomicU32 = AtomicU32::new(0);
}

/// Claim: a handler has its thread's thread-locals, and each execution its own statics.
/// Actors: main, its handler, a sender. Exhaustive. Fails if what the handler counts is another thread's, or is
/// still there in the next execution.
#[test]
fn handlers_have_their_threads_locals() {
    Model::new("kernel::handlers_have_their_threads_locals").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let handler = || {
            HANDLED.with(|handled| handled.set(handled.get() + 1));
            ALL.fetch_add(1, Relaxed);
        };
        interrupted(kernel, handler, || assert!(HANDLED.with(core::cell::Cell::get) <= 1));
        assert_eq!(HANDLED.with(core::cell::Cell::get), ALL.load(Relaxed));
        assert_eq!(ALL.load(Relaxed), 1);
    });
}

/// A handler that waits until main is not busy.
fn waits_for_main(masked: bool) {
    let kernel = Kernel::new().at_most(1);
    let busy = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&busy);
    let wait = move || {
        while theirs.load(Relaxed) {
            thread::yield_now();
        }
    };
    interrupted(kernel, wait, || {
        let before = masked.then(|| kernel.sigmask(How::Block, SigSet::ALL));
        busy.store(true, Relaxed);
        busy.store(false, Relaxed);
        before.map(|before| kernel.sigmask(How::Set, before));
    });
}

/// A handler that spins for what the code it interrupted has to do is told as that, and its rows once.
/// Passes: `kernel::handler_has_nothing_to_wait_for`.
#[test]
fn handler_spins() {
    let spins = "the handler of SIGUSR1 on \"main\" spins at";
    Control::new("kernel::handler_spins", spins)
        .actors(2)
        .max_branches(1000)
        .shows("times more")
        .check(|| waits_for_main(false));
}

/// Claim: where the signal is masked while main is busy, the handler finds it is not.
/// Actors: main, its handler, a sender. Exhaustive. Fails if it is open (`kernel::handler_spins`).
#[test]
fn handler_has_nothing_to_wait_for() {
    Model::new("kernel::handler_has_nothing_to_wait_for")
        .actors(2)
        .max_branches(1000)
        .check(|| waits_for_main(true));
}

//! Threads that leave, and seats that change hands.

use std::sync::Arc;

use super::super::support::Payload;
use super::super::{Bound, Control, Model};
use super::beside;
use super::host::World;
use crate::all_threads::{Call, JoinError, Operation};
use crate::model::futex::Deadline;
use crate::model::{Kernel, sig, thread};
use crate::note::{Note, Park};

/// Claim: a seat changes hands in the middle of it: the one and the other ran it once or were not there.
/// Actors: the caller, a thread that leaves, one that comes, handlers. Bound 2, prompt. Fails if the
/// next thread is taken for the last.
#[test]
fn seat_changes_hands() {
    Model::new("all_threads::seat_changes_hands").actors(4).apart().bound(Bound::At(2)).check(
        || {
            let world = World::new(Kernel::new().at_most(2).prompt());
            let theirs = world.clone();
            let first = beside(&world, |_, _| {});
            let second = thread::spawn("second", move || {
                let statics = theirs.statics();
                // Taken, or free.
                statics.all.join(&statics.seats[1]).is_ok()
            });
            let report = world.call(0);
            first.join();
            let _came = second.join();
            let kept = [0, 1, 2].map(|thread| world.kept(thread));
            assert!(kept[0] == 1 && kept.iter().all(|times| *times <= 1), "{kept:?}");
            assert_eq!(report.gone + report.abandoned, 0);
        },
    );
}

/// Claim: who takes a seat that another has left is the one that is named there.
/// Actors: the caller, a thread that leaves, one that comes, handlers. Bound 2, prompt. Fails, as one that is
/// named when it is gone, if taking the seat does not come after leaving it.
#[test]
fn seat_is_the_next_ones() {
    Model::new("all_threads::seat_is_the_next_ones").actors(3).bound(Bound::At(2)).check(|| {
        let world = World::new(Kernel::new().at_most(2).prompt());
        world.statics().all.reach().strict.set(true);
        let over = Arc::new(Note::new());
        let [first, second] = [false, true].map(|stays| {
            let (theirs, end) = (world.clone(), Arc::clone(&over));
            thread::spawn(if stays { "second" } else { "first" }, move || {
                let statics = theirs.statics();
                // Taken, or free.
                let joined = statics.all.join(&statics.seats[1]);
                if stays && joined.is_ok() {
                    end.sleep(None);
                }
            })
        });
        let _ = world.call_of(|| Ok(0));
        over.wake();
        second.join();
        first.join();
    });
}

/// Claim: a signal that meets a thread which has left its seat runs nothing of what the next one there
/// is asked.
/// Actors: the caller, a thread that leaves, its handler, one that comes. Bound 3, prompt. Fails, as an
/// operation that the next one never runs, if the thread still counts the seat as its own.
#[test]
fn late_signal_meets_no_seat() {
    Model::new("all_threads::late_signal_meets_no_seat").actors(3).bound(Bound::At(3)).check(
        || {
            let kernel = Kernel::new().at_most(2).prompt();
            let world = World::new(kernel);
            let [tried, over] = [(), ()].map(|()| Arc::new(Note::new()));
            let first = beside(&world, |_, _| {});
            let (theirs, told, end) = (world.clone(), Arc::clone(&tried), Arc::clone(&over));
            let second = thread::spawn("second", move || {
                let statics = theirs.statics();
                // Taken, or free.
                let joined = statics.all.join(&statics.seats[1]);
                told.wake();
                joined.is_ok().then(|| {
                    end.sleep(None);
                    thread::current().number()
                })
            });
            tried.sleep(None);
            // Somebody else's, by the same number, if it is still there.
            kernel.try_tgkill(first.id(), sig::USR1);
            let report = world.call(0);
            over.wake();
            first.join();
            if let Some(second) = second.join() {
                assert_eq!((report.others, world.kept(second)), (1, 1), "what it was asked");
            }
        },
    );
}

/// A thread whose member is forgotten, called for as it ends where it is undefined to name one that is gone.
fn forgotten_member(leaves: bool) {
    let kernel = Kernel::new().at_most(1);
    let world = World::new(kernel);
    world.statics().all.reach().strict.set(true);
    let (theirs, joined) = (world.clone(), Arc::new(Note::new()));
    let note = Arc::clone(&joined);
    let other = thread::spawn("other", move || {
        std::mem::forget(theirs.join(1));
        note.wake();
        kernel.at_thread_exit(move || {
            let statics = theirs.statics();
            if leaves {
                // SAFETY: the thread ends.
                unsafe { statics.all.thread_ends() };
                let again = statics.all.join(&statics.seats[2]).map(drop);
                assert_eq!(again, Err(JoinError::ThreadEnding));
            }
        });
    });
    joined.sleep(None);
    let report = world.call(0);
    other.join();
    assert_eq!((report.others, report.gone + report.abandoned), (world.kept(1), 0));
    assert_eq!(world.call(0).gone, 0);
}

/// Claim: a thread whose member is forgotten leaves its seat as it ends: it has run it or left before it was
/// asked, is never named when it is gone (I6), and joins no more.
/// Actors: the caller, a thread that ends, its handler. Bound 3. Fails, as one that is named when it is gone, if
/// the thread leaves nothing to its end (`historical::forgotten_member_is_named`).
#[test]
fn forgotten_member_leaves() {
    Model::new("all_threads::forgotten_member_leaves")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| forgotten_member(true));
}

/// This library before threads left their seats as they end. Passes: `all_threads::forgotten_member_leaves`.
#[test]
fn forgotten_member_is_named() {
    Control::new("historical::forgotten_member_is_named", "named when it is gone")
        .actors(3)
        .check(|| forgotten_member(false));
}

/// Claim: a call whose deadline passes while a thread runs the operation waits for it to end: what the operation
/// borrows goes after that.
/// Actors: the caller, a thread, its handler, in which the deadline passes. Bound 3, prompt. Fails, as one that
/// runs what is gone, if only those that have not begun are seen to.
#[test]
fn deadline_while_it_runs() {
    Model::new("all_threads::deadline_while_it_runs")
        .actors(2)
        .bound(Bound::At(3))
        .check_hostile_too(|| {
            let kernel = Kernel::new().at_most(1).prompt();
            let world = World::new(kernel);
            let over = Arc::new(Note::new());
            let end = Arc::clone(&over);
            let other = beside(&world, move |_, _| _ = end.sleep(None));
            let deadline = Deadline::after(core::time::Duration::ZERO);
            let borrowed = Payload::new();
            borrowed.set(7);
            let operation = || {
                if thread::current() != thread::main() {
                    kernel.expire_deadlines();
                }
                assert_eq!(borrowed.get(), 7, "what the operation borrows");
                Ok(0)
            };
            // SAFETY: the model is to show where it runs.
            let call = Call::new(unsafe { Operation::new(&operation) }).until(&deadline);
            let report =
                world.statics().all.call(&world.statics().seats, call).expect("the turn is free");
            borrowed.set(0);
            over.wake();
            other.join();
            assert_eq!((report.others, report.abandoned), (1, 0));
        });
}

//! Threads that leave, and seats that change hands.

use std::sync::Arc;

use super::super::{Bound, Model};
use super::beside;
use super::host::World;
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

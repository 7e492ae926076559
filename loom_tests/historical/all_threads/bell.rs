//! The turn of all threads' calls, as this library had it.

use std::rc::Rc;

use super::super::super::{Bound, Control, Model};
use crate::model::futex;
use crate::model::{Kernel, thread};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, relax};

/// The turn of this library, and two that wait for it with all signals masked: each is asked, the bell is rung
/// once, and who is woken passes it on if the bell has another number, as `look` finds it, than before.
fn pass_on(look: fn(&AtomicU32) -> u32) {
    struct Turn {
        taken: AtomicU32,
        bell: AtomicU32,
        asked: [AtomicU32; 2],
        left: AtomicU32,
    }
    impl Turn {
        fn ring(&self) {
            self.bell.fetch_add(1, Release);
            futex::wake_one(&self.bell);
        }
    }
    let _kernel = Kernel::new().at_most(0).prompt().wakes_tell_nothing();
    let turn = Rc::new(Turn {
        taken: AtomicU32::new(1),
        bell: AtomicU32::new(0),
        asked: core::array::from_fn(|_| AtomicU32::new(0)),
        left: AtomicU32::new(2),
    });
    let others = [0, 1].map(|at| {
        let turn = Rc::clone(&turn);
        thread::spawn("waits", move || {
            loop {
                let rung = turn.bell.load(Acquire);
                if turn.asked[at].swap(0, Acquire) == 1 {
                    turn.left.fetch_sub(1, Release);
                    futex::wake_one(&turn.left);
                }
                if turn.taken.swap(1, Acquire) == 0 {
                    turn.taken.swap(0, Release);
                    return turn.ring();
                }
                futex::wait(&turn.bell, rung, None);
                if look(&turn.bell) != rung {
                    futex::wake_one(&turn.bell);
                }
            }
        })
    });
    // They come to wait.
    relax();
    turn.asked.iter().for_each(|asked| _ = asked.swap(1, Release));
    turn.ring();
    loop {
        match turn.left.load(Acquire) {
            0 => break,
            left => _ = futex::wait(&turn.left, left, None),
        }
    }
    turn.taken.swap(0, Release);
    turn.ring();
    others.into_iter().for_each(thread::JoinHandle::join);
}

/// This library before it looked by a read-modify-write: one that is woken reads what there was before, passes
/// nothing on, and sleeps over the bell that it sees in the next turn. Passes:
/// `historical::passed_on_by_read_modify_write`, `all_threads::masked_callers_are_told_nothing`.
#[test]
fn passed_on_by_a_look() {
    Control::new("historical::passed_on_by_a_look", "deadlock")
        .actors(3)
        .bound(Bound::At(1))
        .stands("main", "futex wait: sleeps 1 at bell.rs")
        .stands("waits", "futex wait: sleeps 0 at bell.rs")
        .check(|| pass_on(|bell| bell.load(Relaxed)));
}

/// Claim: both are told.
/// Actors: one that calls, two that wait. Bound 1. Fails if they look by a load.
#[test]
fn passed_on_by_read_modify_write() {
    Model::new("historical::passed_on_by_read_modify_write")
        .actors(3)
        .bound(Bound::At(1))
        .check(|| pass_on(|bell| bell.fetch_or(0, Relaxed)));
}

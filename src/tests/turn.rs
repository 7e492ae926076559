//! The turn among those who suspend: who comes new lets those by who wait, for so long.

use std::cell::Cell;
use std::sync::{Mutex, mpsc};
use std::thread;

use crate::preempt::turn::{CHANCES, Turn};

fn take(turn: &Turn, pause: impl Fn(u32)) {
    turn.take(pause, |_| ());
}

/// Nobody is there to be let by.
fn alone(_: u32) {
    panic!("waits for nobody");
}

#[test]
fn alone_it_is_taken_at_once() {
    let turn = Turn::new();
    for _ in 0..3 {
        take(&turn, alone);
        turn.give();
    }
}

/// A waiter that looks when it is told to, as one that needs a processor.
#[test]
fn who_comes_new_lets_a_waiter_by() {
    let turn = Turn::new();
    let order = Mutex::new(Vec::new());
    take(&turn, alone);
    thread::scope(|scope| {
        let (looks, look) = mpsc::channel();
        let (waits, waiting) = mpsc::channel();
        let (took, taken) = mpsc::channel();
        let (turn, order) = (&turn, &order);
        scope.spawn(move || {
            take(turn, |_| {
                waits.send(()).unwrap();
                look.recv().unwrap();
            });
            order.lock().unwrap().push("waiter");
            took.send(()).unwrap();
            // Until who came new has seen that it is taken.
            look.recv().unwrap();
            turn.give();
            took.send(()).unwrap();
        });
        waiting.recv().unwrap();
        turn.give();
        take(turn, |after| {
            looks.send(()).unwrap();
            taken.recv().unwrap();
            assert!(after == u32::MAX || after == 0, "after {after}");
        });
        order.lock().unwrap().push("new");
        turn.give();
    });
    assert_eq!(*order.lock().unwrap(), ["waiter", "new"]);
    take(&turn, alone);
}

/// One that waits below on the same stack cannot come: it is given its chances and no more.
#[test]
fn a_waiter_that_does_not_come_holds_nobody_up() {
    let turn = Turn::new();
    let (chances, waited) = (Cell::new(0), Cell::new(0));
    take(&turn, alone);
    take(&turn, |_| {
        waited.set(waited.get() + 1);
        turn.give();
        for _ in 0..2 {
            chances.set(0);
            take(&turn, |after| {
                assert_eq!(after, u32::MAX, "it needs a processor");
                chances.set(chances.get() + 1);
            });
            assert_eq!(chances.get(), CHANCES);
            turn.give();
        }
    });
    assert_eq!(waited.get(), 1);
    turn.give();
    take(&turn, alone);
}

/// A handler forks while its thread waits: in the child that one is counted no more, and its wait's
/// end does not count anybody else away.
#[test]
fn a_wait_may_end_in_the_child_of_a_fork() {
    let turn = Turn::new();
    take(&turn, alone);
    take(&turn, |_| turn.reset());
    turn.give();
    take(&turn, alone);
}

/// Who has the turn has masked; who waits for it has not.
#[test]
fn who_waits_is_not_masked() {
    let turn = Turn::new();
    let masked = Cell::new(0);
    let mask = |on: bool| masked.set(masked.get() + if on { 1 } else { -1 });
    turn.take(alone, mask);
    assert_eq!(masked.replace(0), 1);
    let waited = Cell::new(0);
    turn.take(
        |_| {
            assert_eq!(masked.get(), 0, "it waits");
            waited.set(waited.get() + 1);
            if waited.get() == 3 {
                turn.give();
            }
        },
        mask,
    );
    assert_eq!((waited.get(), masked.get()), (3, 1));
}

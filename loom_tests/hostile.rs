//! Defences against a hostile system, each taken out: what fails on a system that does what it may
//! (`Model::hostile`) passes on a friendly one.

mod drowsy;

use std::sync::Arc;

use super::{Bound, Control, Model};
use crate::model::futex;
use crate::model::{Handler, How, Kernel, SigSet, sig, thread};
use crate::sync::AtomicU32;
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// Whether what sleeps looks again afterwards.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleeper {
    Looks,
    Believes,
}

const CLEAR: u32 = 0;
const SET: u32 = 1;
const ASLEEP: u32 = 2;

/// `Note::sleep` and `Note::wake`, with something that a wake-up passes on.
fn note(sleeper: Sleeper) {
    let shared = Arc::new([(); 2].map(|()| AtomicU32::new(CLEAR)));
    let theirs = Arc::clone(&shared);
    let waker = thread::spawn("waker", move || {
        let [word, passed_on] = &*theirs;
        passed_on.store(7, Relaxed);
        if word.swap(SET, Release) == ASLEEP {
            futex::wake_one(word);
        }
    });
    let [word, passed_on] = &*shared;
    if word.compare_exchange(CLEAR, ASLEEP, Relaxed, Acquire) != Err(SET) {
        loop {
            futex::wait(word, ASLEEP, None);
            if word.load(Acquire) == SET || sleeper == Sleeper::Believes {
                break;
            }
        }
    }
    assert_eq!(passed_on.load(Relaxed), 7, "woken by nobody");
    waker.join();
}

/// Claim: a note that looks for SET sleeps until it is woken.
/// Actors: sleeper, waker. Exhaustive. Fails if it does not look (`hostile::note_believes`). Shipped:
/// `note::wake_against_sleep`.
#[test]
fn note_looks() {
    Model::new("hostile::note_looks").actors(2).hostile(2).check(|| note(Sleeper::Looks));
}

/// `Note::sleep` that returns without SET. Passes: `hostile::note_looks`, and on a friendly system
/// `hostile::note_believes_a_friendly_system`.
#[test]
fn note_believes() {
    Control::new("hostile::note_believes", "woken by nobody")
        .actors(2)
        .hostile(1)
        .shows("futex wait: returns for no reason")
        .check(|| note(Sleeper::Believes));
}

/// Claim: on a friendly system it need not look.
/// Actors: sleeper, waker. Exhaustive; friendly, as that is the claim.
#[test]
fn note_believes_a_friendly_system() {
    Model::new("hostile::note_believes_a_friendly_system")
        .actors(2)
        .hostile(0)
        .check(|| note(Sleeper::Believes));
}

/// A sleep in which a handler may run: what ends it, unless the sleeper looks again, if that was the handler.
fn interrupted(sleeper: Sleeper) {
    let kernel = Kernel::new().at_most(1);
    let shared = Arc::new([(); 3].map(|()| AtomicU32::new(0)));
    let handled = Arc::clone(&shared);
    let handler = Handler::new(move |_| {
        let [_, sleeps, ran] = &*handled;
        ran.store(sleeps.load(Relaxed), Relaxed);
    });
    kernel.sigaction(sig::USR1, handler);
    let theirs = Arc::clone(&shared);
    let other = thread::spawn("other", move || {
        kernel.tgkill(thread::main(), sig::USR1);
        theirs[0].store(1, Release);
        futex::wake_one(&theirs[0]);
    });
    let [word, sleeps, ran] = &*shared;
    loop {
        sleeps.store(1, Relaxed);
        futex::wait(word, 0, None);
        sleeps.store(0, Relaxed);
        let woken = word.load(Acquire) == 1;
        if woken || sleeper == Sleeper::Believes && ran.load(Relaxed) == 1 {
            break;
        }
    }
    assert_eq!(word.load(Relaxed), 1, "the handler ended the sleep");
    other.join();
}

/// Claim: who looks again after a handler sleeps until it is woken.
/// Actors: sleeper with its handler; sender and waker. Exhaustive. Fails if it does not look
/// (`hostile::interrupted_sleep_believed`).
#[test]
fn interrupted_sleep_looks() {
    Model::new("hostile::interrupted_sleep_looks")
        .actors(2)
        .hostile(1)
        .check(|| interrupted(Sleeper::Looks));
}

/// A sleep that a handler ends, taken for one that was ended by who had a reason. Passes:
/// `hostile::interrupted_sleep_looks`, and on a friendly system `hostile::interrupted_on_a_friendly_system`.
#[test]
fn interrupted_sleep_believed() {
    Control::new("hostile::interrupted_sleep_believed", "the handler ended the sleep")
        .actors(2)
        .hostile(1)
        .shows("< handler returns")
        .shows("futex wait: returns for no reason")
        .check(|| interrupted(Sleeper::Believes));
}

/// Claim: on a friendly system a sleep goes on after a handler.
/// Actors: sleeper with its handler; sender and waker. Exhaustive; friendly, as that is the claim.
#[test]
fn interrupted_on_a_friendly_system() {
    Model::new("hostile::interrupted_on_a_friendly_system")
        .actors(2)
        .hostile(0)
        .check(|| interrupted(Sleeper::Believes));
}

/// `Seat::be_busy` and `Seat::let_go`: one holds the seat and uses what the other has lent; the other, whose memory
/// that is, is busy from then on.
fn seat(sleeper: Sleeper) {
    const BUSY: u32 = 1;
    const HELD: u32 = 2;
    const WAITING: u32 = 4;
    let shared = Arc::new([(); 2].map(|()| AtomicU32::new(0)));
    let theirs = Arc::clone(&shared);
    let asker = thread::spawn("asker", move || {
        let [seat, in_use] = &*theirs;
        if seat.compare_exchange(0, HELD, Acquire, Relaxed).is_ok() {
            in_use.fetch_add(1, Relaxed);
            in_use.fetch_sub(1, Relaxed);
            if seat.fetch_and(!(HELD | WAITING), Release) & WAITING != 0 {
                futex::wake_one(seat);
            }
        }
    });
    let [seat, in_use] = &*shared;
    let mut seen = seat.fetch_or(BUSY, Acquire);
    while seen & HELD != 0 {
        seen = seat.fetch_or(WAITING, Acquire) | WAITING;
        if seen & HELD != 0 {
            futex::wait(seat, seen, None);
            seen = seat.load(Acquire);
            if sleeper == Sleeper::Believes {
                break;
            }
        }
    }
    assert_eq!(in_use.fetch_add(0, Relaxed), 0, "freed while it is used");
    asker.join();
}

/// Claim: who looks whether the seat is held still is not busy before it is let go.
/// Actors: the seat's thread, who holds it. Exhaustive. Fails if it does not look (`hostile::seat_believes`).
/// Shipped: `all_threads::parked_memory_is_free`.
#[test]
fn seat_looks() {
    Model::new("hostile::seat_looks").actors(2).hostile(2).check(|| seat(Sleeper::Looks));
}

/// `Seat::be_busy` that does not look again after its sleep. Passes: `hostile::seat_looks`, and on a friendly
/// system `hostile::seat_believes_a_friendly_system`.
#[test]
fn seat_believes() {
    Control::new("hostile::seat_believes", "freed while it is used")
        .actors(2)
        .hostile(1)
        .shows("futex wait: returns for no reason")
        .check(|| seat(Sleeper::Believes));
}

/// Claim: on a friendly system it need not look.
/// Actors: the seat's thread, who holds it. Exhaustive; friendly, as that is the claim.
#[test]
fn seat_believes_a_friendly_system() {
    Model::new("hostile::seat_believes_a_friendly_system")
        .actors(2)
        .hostile(0)
        .check(|| seat(Sleeper::Believes));
}

/// The turn of those who stop the world (`world/turn.rs`), with two of them.
fn turn(sleeper: Sleeper) {
    const FREE: u32 = 0;
    const TAKEN: u32 = 1;
    const WAITED_FOR: u32 = 2;
    let shared = Arc::new((AtomicU32::new(FREE), AtomicU32::new(0)));
    let in_turn = move |(turn, inside): &(AtomicU32, AtomicU32)| {
        if turn.compare_exchange(FREE, TAKEN, Acquire, Relaxed).is_err() {
            while turn.swap(WAITED_FOR, Acquire) != FREE {
                futex::wait(turn, WAITED_FOR, None);
                if sleeper == Sleeper::Believes {
                    turn.swap(WAITED_FOR, Acquire);
                    break;
                }
            }
        }
        assert_eq!(inside.fetch_add(1, Relaxed), 0, "both have the turn");
        inside.fetch_sub(1, Relaxed);
        if turn.swap(FREE, Release) == WAITED_FOR {
            futex::wake_one(turn);
        }
    };
    let theirs = Arc::clone(&shared);
    let other = thread::spawn("other", move || in_turn(&theirs));
    in_turn(&shared);
    other.join();
}

/// Claim: who takes the turn only if it was free is alone in it.
/// Actors: two. Exhaustive. Fails if the end of the sleep is believed (`hostile::turn_believes`). Shipped:
/// `world::two_stoppers`.
#[test]
fn turn_looks() {
    Model::new("hostile::turn_looks").actors(2).hostile(2).check(|| turn(Sleeper::Looks));
}

/// A turn that is taken for free when the sleep is over. Passes: `hostile::turn_looks`, and on a friendly system
/// `hostile::turn_believes_a_friendly_system`.
#[test]
fn turn_believes() {
    Control::new("hostile::turn_believes", "both have the turn")
        .actors(2)
        .hostile(1)
        .shows("futex wait: returns for no reason")
        .check(|| turn(Sleeper::Believes));
}

/// Claim: on a friendly system it is free then, of two.
/// Actors: two. Exhaustive; friendly, as that is the claim.
#[test]
fn turn_believes_a_friendly_system() {
    Model::new("hostile::turn_believes_a_friendly_system")
        .actors(2)
        .hostile(0)
        .check(|| turn(Sleeper::Believes));
}

/// What two sleep on, and what they are told.
#[derive(Default)]
struct Bell {
    rung: AtomicU32,
    asked: [AtomicU32; 2],
    over: AtomicU32,
}

impl Bell {
    fn ring(&self) {
        self.rung.fetch_add(1, Release);
        futex::wake_one(&self.rung);
    }

    /// Answers when it is asked, and returns when it is over.
    fn wait(&self, number: usize, passes_on: bool) {
        loop {
            let rung = self.rung.load(Acquire);
            if self.asked[number].swap(0, Acquire) == 1 {
                self.over.fetch_or(1, Release);
                futex::wake_one(&self.over);
            }
            if self.over.load(Acquire) == 2 {
                return;
            }
            futex::wait(&self.rung, rung, None);
            if passes_on && self.rung.fetch_or(0, Relaxed) != rung {
                futex::wake_one(&self.rung);
            }
        }
    }

    fn sleepers(&self) -> usize {
        // Orders the look with their falling asleep.
        self.rung.fetch_or(0, Relaxed);
        futex::sleepers(&self.rung)
    }
}

/// `AllThreads::take_turn`: two sleep on the bell, the first of them before the second. That one is asked, and the
/// bell rung once; who is woken wakes another, or takes it that the bell was for itself.
fn bell(passes_on: bool) {
    let bell = Arc::new(Bell::default());
    let theirs = Arc::clone(&bell);
    let first = thread::spawn("first", move || theirs.wait(0, passes_on));
    let theirs = Arc::clone(&bell);
    let second = thread::spawn("second", move || {
        // A second one only behind a first.
        if theirs.sleepers() == 1 {
            theirs.wait(1, passes_on);
        }
    });
    bell.asked[0].swap(1, Release);
    bell.ring();
    while bell.over.load(Acquire) == 0 {
        futex::wait(&bell.over, 0, None);
    }
    bell.over.swap(2, Release);
    bell.rung.fetch_add(1, Release);
    futex::wake_all(&bell.rung);
    first.join();
    second.join();
}

/// Claim: a wake-up that reaches the other of two sleepers reaches the one that was meant, if it is passed on.
/// Actors: two that sleep, who rings. Bound 2. Fails if it is not passed on (`hostile::bell_is_kept`). Shipped:
/// `all_threads::masked_callers_are_told_nothing`.
#[test]
fn bell_is_passed_on() {
    Model::new("hostile::bell_is_passed_on")
        .actors(3)
        .bound(Bound::At(2))
        .hostile(1)
        .check(|| bell(true));
}

/// A wake-up that is kept by who was not meant. Passes: `hostile::bell_is_passed_on`, and on a friendly system
/// `hostile::bell_is_kept_on_a_friendly_system`.
#[test]
fn bell_is_kept() {
    Control::new("hostile::bell_is_kept", "deadlock")
        .actors(3)
        .bound(Bound::At(2))
        .hostile(1)
        .shows("futex wake \"second\"")
        .stands("first", "futex wait: sleeps 0 at hostile.rs")
        .stands("main", "futex wait: sleeps 0 at hostile.rs")
        .check(|| bell(false));
}

/// Claim: on a friendly system it is the first's that sleeps.
/// Actors: two that sleep, who rings. Bound 2; friendly, as that is the claim.
#[test]
fn bell_is_kept_on_a_friendly_system() {
    Model::new("hostile::bell_is_kept_on_a_friendly_system")
        .actors(3)
        .bound(Bound::At(2))
        .hostile(0)
        .check(|| bell(false));
}

/// A signal of ours and one of others come while both are masked. Their handler waits for what ours gives.
fn two_at_once(ours: SigSet) {
    // Ours has the higher number: it is taken second, and so runs first.
    const THEIRS: i32 = sig::USR1;
    const OURS: i32 = sig::USR2;
    let kernel = Kernel::new();
    let answered = Arc::new(AtomicU32::new(0));
    let (gives, waits) = (Arc::clone(&answered), answered);
    let answers = Handler::new(move |_| {
        gives.store(1, Release);
        futex::wake_one(&gives);
    });
    kernel.sigaction(OURS, answers.mask(ours));
    let theirs = Handler::new(move |_| {
        while waits.load(Acquire) == 0 {
            futex::wait(&waits, 0, None);
        }
    });
    kernel.sigaction(THEIRS, theirs);
    let before = kernel.sigmask(How::Block, SigSet::of(&[THEIRS, OURS]));
    kernel.raise(OURS);
    kernel.raise(THEIRS);
    kernel.sigmask(How::Set, before);
}

/// Claim: a handler that masks the signals of others has answered before one of theirs waits for it, in whichever
/// order the two are taken.
/// Actors: one, with two handlers. Exhaustive. Fails if it masks none (`hostile::theirs_stands_on_ours`). Shipped:
/// all handlers of this crate, `sys/handlers.rs`.
#[test]
fn ours_masks_theirs() {
    Model::new("hostile::ours_masks_theirs")
        .actors(1)
        .hostile(1)
        .check(|| two_at_once(SigSet::ALL));
}

/// A handler of ours that masks nothing, taken first: theirs stands on it, and waits for it. Passes:
/// `hostile::ours_masks_theirs`, and on a friendly system `hostile::ours_is_taken_second`.
#[test]
fn theirs_stands_on_ours() {
    Control::new("hostile::theirs_stands_on_ours", "deadlock")
        .actors(1)
        .hostile(1)
        .shows("> handler of SIGUSR2")
        .stands("main", "futex wait: sleeps 0 at hostile.rs")
        .check(|| two_at_once(SigSet::EMPTY));
}

/// Claim: on a friendly system ours, of the higher number, stands on theirs.
/// Actors: one, with two handlers. Exhaustive; friendly, as that is the claim.
#[test]
fn ours_is_taken_second() {
    Model::new("hostile::ours_is_taken_second")
        .actors(1)
        .hostile(0)
        .check(|| two_at_once(SigSet::EMPTY));
}

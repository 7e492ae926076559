//! A world as runtimes write it by hand, in small, with each of the parts left out that they leave out. What is
//! looked at is looked at by read-modify-writes: it is not about orderings.

use std::sync::Arc;

use super::super::support::Payload;
use super::super::{Bound, Control, Model};
use crate::model::thread;
use crate::sync::{AtomicU32, Ordering::AcqRel, relax};

const OUTSIDE: u32 = 0;
const INSIDE: u32 = 1;

/// Which part is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Who has waited at a safepoint goes on without looking whether the world is stopped once more.
    LookingAgain,
    /// Who comes back from external code does not look at all.
    Looking,
    /// Who enters is not held: the stopper has taken its snapshot.
    Holding,
    /// A member waits for its turn to stop the world inside.
    SteppingOut,
}

struct Small {
    without: Without,
    stopping: AtomicU32,
    turn: AtomicU32,
    entered: AtomicU32,
    own: [AtomicU32; 2],
    heap: [Payload; 2],
}

fn look(word: &AtomicU32) -> u32 {
    // ORDERING: AcqRel: the newest value, in one order of all; so everywhere here.
    word.fetch_or(0, AcqRel)
}

impl Small {
    fn new(without: Without) -> Arc<Self> {
        Arc::new(Self {
            without,
            stopping: AtomicU32::new(0),
            turn: AtomicU32::new(0),
            entered: AtomicU32::new(0),
            own: core::array::from_fn(|_| AtomicU32::new(OUTSIDE)),
            heap: core::array::from_fn(|_| Payload::new()),
        })
    }

    fn work(&self, at: usize) {
        self.heap[at].set(self.heap[at].get() + 1);
    }

    fn go_out(&self, at: usize) {
        self.own[at].swap(OUTSIDE, AcqRel);
    }

    fn await_open(&self) {
        while look(&self.stopping) != 0 {
            relax();
        }
    }

    fn come_in(&self, at: usize) {
        loop {
            self.own[at].swap(INSIDE, AcqRel);
            if look(&self.stopping) == 0 {
                return;
            }
            self.go_out(at);
            self.await_open();
        }
    }

    fn come_back(&self, at: usize) {
        if self.without == Without::Looking {
            self.own[at].swap(INSIDE, AcqRel);
        } else {
            self.come_in(at);
        }
    }

    fn poll(&self, at: usize) {
        if look(&self.stopping) == 0 {
            return;
        }
        self.go_out(at);
        self.await_open();
        if self.without == Without::LookingAgain {
            self.own[at].swap(INSIDE, AcqRel);
        } else {
            self.come_in(at);
        }
    }

    fn enter(&self, at: usize) {
        if self.without == Without::Holding {
            self.own[at].swap(INSIDE, AcqRel);
            self.entered.fetch_add(1, AcqRel);
        } else {
            self.entered.fetch_add(1, AcqRel);
            self.come_in(at);
        }
    }

    fn collect(&self) {
        while self.turn.swap(1, AcqRel) != 0 {
            relax();
        }
        let entered = look(&self.entered) as usize;
        self.stopping.swap(1, AcqRel);
        for own in self.own.iter().take(entered.max(look(&self.entered) as usize)) {
            while look(own) == INSIDE {
                relax();
            }
        }
        (0..2).for_each(|at| self.work(at));
        self.stopping.swap(0, AcqRel);
        self.turn.swap(0, AcqRel);
    }

    fn stop(&self, at: usize) {
        if self.without != Without::SteppingOut {
            self.go_out(at);
        }
        self.collect();
        if self.without != Without::SteppingOut {
            self.come_in(at);
        }
    }
}

/// A member works, polls, works, while the world is stopped twice.
fn polls(without: Without) {
    let world = Small::new(without);
    world.enter(0);
    let theirs = Arc::clone(&world);
    let stopper = thread::spawn("stopper", move || (0..2).for_each(|_| theirs.collect()));
    world.work(0);
    world.poll(0);
    world.work(0);
    world.go_out(0);
    stopper.join();
}

/// A member is outside as the world is stopped, and comes back.
fn returns(without: Without) {
    let world = Small::new(without);
    world.enter(0);
    world.go_out(0);
    let theirs = Arc::clone(&world);
    let stopper = thread::spawn("stopper", move || theirs.collect());
    world.come_back(0);
    world.work(0);
    world.go_out(0);
    stopper.join();
}

/// A thread enters as the world is stopped.
fn enters(without: Without) {
    let world = Small::new(without);
    let theirs = Arc::clone(&world);
    let stopper = thread::spawn("stopper", move || theirs.collect());
    world.enter(0);
    world.work(0);
    world.go_out(0);
    stopper.join();
}

/// Two members stop the world.
fn both_stop(without: Without) {
    let world = Small::new(without);
    world.enter(0);
    world.enter(1);
    let theirs = Arc::clone(&world);
    let other = thread::spawn("other", move || {
        theirs.stop(1);
        theirs.go_out(1);
    });
    world.stop(0);
    world.go_out(0);
    other.join();
}

/// Claim: with every part in its place the small world holds: the controls below fail for what they leave out.
/// Actors: a member, a stopper. Bound 3.
#[test]
fn world_in_small() {
    for (name, body) in [
        ("polls", polls as fn(Without)),
        ("returns", returns),
        ("enters", enters),
        ("both_stop", both_stop),
    ] {
        let model = Model::new(format!("historical::world_in_small: {name}"));
        model.actors(2).bound(Bound::At(3)).check(move || body(Without::Nothing));
    }
}

fn control(name: &str, reason: &str, shows: &str) -> Control {
    Control::new(format!("historical::{name}"), reason).shows(shows).actors(2).bound(Bound::At(3))
}

/// Julia: a thread that waited at its safepoint goes on though the world is being stopped once more
/// (JuliaLang/julia#62627). Passes: `historical::world_in_small: polls`.
#[test]
fn julia62627_leaves_safepoint_without_looking() {
    control(
        "julia62627_leaves_safepoint_without_looking",
        "Causality violation",
        "swap 1 AcqRel -> 0",
    )
    .check(|| polls(Without::LookingAgain));
}

/// A thread comes back from external code and runs on in the stopped world: whoever writes a world over gates that
/// only keep suspensions away. Passes: `historical::world_in_small: returns`.
#[test]
fn returns_to_a_stopped_world() {
    control("returns_to_a_stopped_world", "Causality violation", "swap 1 AcqRel -> 0")
        .check(|| returns(Without::Looking));
}

/// A thread that enters after the stopper has taken its list is missed. Passes:
/// `historical::world_in_small: enters`.
#[test]
fn enters_after_the_list_was_taken() {
    control("enters_after_the_list_was_taken", "Causality violation", "fetch_add 1 AcqRel -> 0")
        .check(|| enters(Without::Holding));
}

/// Two members stop the world, and each waits for the other to stop. Passes:
/// `historical::world_in_small: both_stop`.
#[test]
fn stopper_waits_for_its_turn_inside() {
    control("stopper_waits_for_its_turn_inside", "no progress", "swap 1 AcqRel -> 1")
        .check(|| both_stop(Without::SteppingOut));
}

//! Of a world on the real system: handshakes with single threads, code that must not be suspended, stacks as a
//! conservative collector reads them, and the end.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use common::*;
use portcullis::note::Deadline;
use portcullis::preempt::{Fenced, Hook, SuspendError, SystemBackend, Target, ThreadRef};
use portcullis::world::{
    EnterError, HandshakeError, Member, ShutdownError, Slot, StopByError, StopError, World,
    WorldOf, stack_base, with_stack,
};

/// What is kept for a thread: how often it came round, and where its stack begins.
#[derive(Default)]
struct Record {
    rounds: AtomicUsize,
    base: AtomicUsize,
}

const fn blank() -> Record {
    Record { rounds: AtomicUsize::new(0), base: AtomicUsize::new(0) }
}

const SLOTS: usize = 8;
type Static = WorldOf<Record, Fenced, SystemBackend, SLOTS>;
type Ours = Member<Record, Fenced, SystemBackend>;
type Name = ThreadRef<Fenced, SystemBackend>;

const fn world() -> Static {
    World::new(Fenced, SystemBackend::new(Hook::nothing()), [const { Slot::new(blank()) }; SLOTS])
}

static WORLD: Static = world();
static OTHER: Static = world();
static OVER: AtomicBool = AtomicBool::new(false);

fn enter() -> Ours {
    let own = WORLD.enter().expect("there is a slot");
    own.record().base.store(stack_base().expect("Linux says so").addr(), Relaxed);
    own
}

/// Comes round and polls, until all is over.
fn comes_round(own: &mut Ours) {
    while !OVER.load(Relaxed) {
        own.record().rounds.fetch_add(1, Relaxed);
        own.poll();
    }
}

/// With threads that come round: their names.
fn with_rounds(threads: usize, body: impl FnOnce(&[Name])) {
    thread::scope(|scope| {
        let (tell, told) = channel();
        for _ in 0..threads {
            let tell = tell.clone();
            scope.spawn(move || {
                let mut own = enter();
                tell.send(own.thread()).expect("it is waited for");
                comes_round(&mut own);
            });
        }
        let names: Vec<Name> = told.iter().take(threads).collect();
        body(&names);
        OVER.store(true, Relaxed);
    });
}

fn rounds(name: Name) -> usize {
    WORLD.record_of(name).expect("it is there").rounds.load(Relaxed)
}

fn await_rounds(name: Name) {
    let before = rounds(name);
    while rounds(name) == before {
        thread::yield_now();
    }
}

/// One stands, the other goes on.
#[test]
fn a_handshake() {
    isolated("a_handshake", || {
        with_rounds(2, |names| {
            for turn in 0..200 {
                let (one, other) = (names[turn % 2], names[1 - turn % 2]);
                let stood = WORLD.handshake(one, |stopped| {
                    assert_eq!(stopped.thread(), one);
                    let before = rounds(one);
                    await_rounds(other);
                    rounds(one) - before
                });
                assert_eq!(stood, Ok(0));
                await_rounds(one);
            }
            let mut met = Vec::new();
            WORLD.each(|stopped| met.push(stopped.thread())).unwrap();
            assert!(names.iter().all(|name| met.contains(name)));
            assert_eq!(met.len(), 2);
        });
    });
}

/// Members shake hands with each other, and with themselves, while the world is stopped over and over.
#[test]
fn handshakes_of_members() {
    isolated_within("handshakes_of_members", 60, || {
        with_rounds(1, |names| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut own = enter();
                    let myself = own.thread();
                    for _ in 0..500 {
                        own.handshake(names[0], |stopped| assert!(stopped.stack().is_some()))
                            .unwrap();
                        let other = own.handshake(myself, |stopped| stopped.thread()).unwrap();
                        assert_eq!(other, myself);
                        let mut met = 0;
                        own.each(|_| met += 1).unwrap();
                        assert_eq!(met, 2);
                    }
                });
                (0..500).for_each(|_| drop(WORLD.stop().unwrap()));
            });
        });
    });
}

#[test]
fn what_is_refused() {
    isolated("what_is_refused", || {
        let soon = || Deadline::after(Duration::from_millis(1));
        let gone = thread::spawn(|| WORLD.enter().unwrap().thread()).join().unwrap();
        assert_eq!(WORLD.handshake(gone, |_| ()), Err(HandshakeError::Gone));
        assert!(WORLD.record_of(gone).is_none());
        let own = WORLD.enter().unwrap();
        let name = own.thread();
        let refused = WORLD.handshake(name, |_| ()).unwrap_err();
        assert!(refused.to_string().contains("a thread of the world"), "{refused}");
        thread::spawn(move || {
            assert_eq!(WORLD.handshake_by(name, &soon(), |_| ()), Err(HandshakeError::Late));
            assert_eq!(OTHER.handshake(name, |_| ()), Err(HandshakeError::Gone));
            assert!(std::collections::HashSet::from([name]).contains(&name));
        })
        .join()
        .unwrap();
        drop(own);
        // One who has the world stopped keeps handshakes waiting.
        let stop = WORLD.stop().unwrap();
        let busy = thread::spawn(move || WORLD.handshake_by(name, &soon(), |_| ()));
        assert_eq!(busy.join().unwrap(), Err(HandshakeError::Busy));
        drop(stop);
    });
}

/// Whoever has the world stopped, or is in a handshake, is told where it would wait for itself.
#[test]
fn who_would_wait_for_itself() {
    isolated("who_would_wait_for_itself", || {
        let refused = |name: Name| {
            let soon = Deadline::after(Duration::from_secs(1000));
            assert_eq!(WORLD.stop().map(drop), Err(StopError::Nested));
            let refused = WORLD.stop_by(&soon).map(drop).unwrap_err();
            assert!(matches!(refused, StopByError::Refused(StopError::Nested)), "{refused}");
            let nested = Err(HandshakeError::Refused(StopError::Nested));
            assert_eq!(WORLD.handshake(name, |_| ()), nested);
            assert_eq!(WORLD.each(|_| ()), Err(StopError::Nested));
            assert_eq!(WORLD.enter().map(drop), Err(EnterError::Stopper));
            let refused = WORLD.shutdown().unwrap_err();
            assert!(matches!(refused, ShutdownError::Refused(StopError::Nested)), "{refused}");
            // Another world is another matter.
            drop(OTHER.stop().unwrap());
            drop(OTHER.enter().unwrap());
        };
        let mut own = enter();
        let name = own.thread();
        let external = own.external();
        thread::spawn(move || {
            let stop = WORLD.stop().unwrap();
            refused(name);
            // It may be ended elsewhere.
            thread::spawn(move || drop(stop)).join().unwrap();
            WORLD.handshake(name, |_| refused(name)).unwrap();
            drop(WORLD.stop().unwrap());
            drop(WORLD.enter().unwrap());
        })
        .join()
        .unwrap();
        drop(external);
        drop(own);
    });
}

/// A profiler, and who stops the world by force, leave a thread alone that holds on.
#[test]
fn who_holds_on() {
    isolated("who_holds_on", || {
        let mut own = enter();
        let name = own.thread();
        let mut held = own.hold();
        let nested = held.hold();
        let (tell, told) = channel();
        let other = thread::spawn(move || {
            let refused = WORLD.gates().try_suspend(name).map(drop).unwrap_err();
            assert_eq!(refused, SuspendError::Held);
            let refused = WORLD.gates().request(name).map(drop).unwrap_err();
            assert_eq!(refused, SuspendError::Held);
            let soon = Deadline::after(Duration::from_millis(1));
            let Err(StopByError::Late(late)) = WORLD.stop_by(&soon) else {
                panic!("it stopped");
            };
            let mut targets: Vec<_> = late.threads().map(|it| Target::new(it.thread())).collect();
            let Err(StopByError::Late(late)) = late.suspend(&mut targets) else {
                panic!("it was suspended");
            };
            assert_eq!(targets[0].outcome(), Err(SuspendError::Held));
            tell.send(()).unwrap();
            let stop = late.wait().unwrap();
            OVER.store(true, Relaxed);
            drop(stop);
        });
        told.recv().unwrap();
        drop(nested);
        assert!(!OVER.load(Relaxed), "it holds on still");
        drop(held);
        // It stood as it let go.
        assert!(OVER.load(Relaxed));
        drop(own.external());
        other.join().unwrap();
    });
}

/// Values that a thread has, some of them in registers alone.
struct Kept([usize; 14]);

impl Kept {
    /// Nothing else in the process has them.
    fn of(seed: usize) -> Self {
        Self(core::array::from_fn(|at| Self::value(seed, at)))
    }

    fn value(seed: usize, at: usize) -> usize {
        (seed * 31 + at + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// All alive across `body`.
    #[inline(never)]
    fn across(self, body: impl FnOnce()) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = self.0.map(black_box);
        body();
        let sum = [a, b, c, d, e, f, g, h, i, j, k, l, m, n];
        assert_eq!(black_box(sum).len(), 14);
    }

    /// Of a thread that stands, down to where it has noted.
    fn words(top: *const usize, base: usize) -> impl Iterator<Item = usize> {
        let count = (base - top.addr()) / size_of::<usize>();
        // SAFETY: on its stack.
        (0..count).map(move |at| unsafe { top.add(at).read_volatile() })
    }

    /// Which of them are among these words.
    fn seen(seed: usize, words: impl Iterator<Item = usize>) -> [bool; 14] {
        let values: [_; 14] = core::array::from_fn(|at| Self::value(seed, at));
        let mut seen = [false; 14];
        for word in words {
            if let Some(at) = values.iter().position(|value| *value == word) {
                seen[at] = true;
            }
        }
        seen
    }

    /// How many of them are on that stack.
    fn found(seed: usize, top: *const usize, base: usize) -> usize {
        Self::seen(seed, Self::words(top, base)).iter().filter(|seen| **seen).count()
    }
}

/// Whatever a thread has is on its stack where a collector finds it: at a poll, outside, waiting for its turn to stop
/// the world, and in a callback out of the middle of external code.
#[test]
fn all_is_on_the_stack() {
    static AT: AtomicUsize = AtomicUsize::new(0);
    fn here(step: usize) {
        AT.store(step, Release);
        while AT.load(Acquire) == step {
            spin_loop();
        }
    }
    isolated("all_is_on_the_stack", || {
        let thread = thread::spawn(|| {
            let mut own = enter();
            Kept::of(1).across(|| {
                AT.store(1, Release);
                while AT.load(Acquire) == 1 {
                    own.poll();
                }
            });
            Kept::of(3).across(|| own.external_with(|_| here(3)));
            own.external_with(|external| {
                Kept::of(5).across(|| external.inside().external_with(|_| here(5)));
            });
            // Without a word of where its stack ends.
            let external = own.external();
            here(7);
            drop(external);
        });
        for step in [1, 3, 5, 7] {
            while AT.load(Acquire) != step {
                thread::yield_now();
            }
            let stop = WORLD.stop().unwrap();
            let found = stop.threads().map(|it| {
                let base = it.record().base.load(Relaxed);
                it.stack().map(|top| Kept::found(step, top, base))
            });
            let found: Vec<_> = found.collect();
            drop(stop);
            assert_eq!(found, [(step != 7).then_some(14)], "step {step}");
            AT.store(step + 1, Release);
        }
        thread.join().unwrap();
        let base = stack_base().unwrap().addr();
        Kept::of(9).across(|| {
            with_stack(|top| assert_eq!(Kept::found(9, top.expect("Linux"), base), 14));
        });
    });
}

/// A thread that is suspended somewhere has all that it has in its registers, or on its stack.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn all_is_in_the_registers() {
    isolated("all_is_in_the_registers", || {
        let (tell, told) = channel();
        let thread = thread::spawn(move || {
            let own = enter();
            Kept::of(1).across(|| {
                tell.send(own.thread()).unwrap();
                while !OVER.load(Acquire) {
                    spin_loop();
                }
            });
        });
        let name = told.recv().unwrap();
        // A sum that does not allocate, as a thread is suspended meanwhile.
        let found = |registers: portcullis::preempt::Interrupted<'_>| {
            let base = WORLD.record_of(name).unwrap().base.load(Relaxed);
            let top = registers.stack();
            let words = Kept::seen(1, registers.words());
            let stack = Kept::seen(1, Kept::words(top, base));
            (0..14).filter(|at| words[*at] || stack[*at]).count()
        };
        for _ in 0..100 {
            let suspended = WORLD.gates().try_suspend(name).unwrap();
            let all = found(suspended.registers().unwrap());
            let counter = suspended.registers().unwrap().program_counter();
            drop(suspended);
            assert_eq!(all, 14);
            assert_ne!(counter, 0);
        }
        let soon = Deadline::after(Duration::from_millis(1));
        let Err(StopByError::Late(late)) = WORLD.stop_by(&soon) else {
            panic!("it does not poll");
        };
        let mut targets: Vec<_> = late.threads().map(|it| Target::new(it.thread())).collect();
        let forced = late.suspend(&mut targets).unwrap();
        let all = forced.registers().map(|(_, registers)| found(registers)).sum::<usize>();
        drop(forced);
        assert_eq!(all, 14);
        OVER.store(true, Release);
        thread.join().unwrap();
    });
}

/// Two members stop the world: who waits for its turn is on the other's list, with its stack.
#[test]
fn a_stopper_that_waits_has_a_stack() {
    isolated("a_stopper_that_waits_has_a_stack", || {
        let stops = |seed: usize, other: usize| {
            let mut own = enter();
            Kept::of(seed).across(|| {
                for _ in 0..2000 {
                    let stop = own.stop().unwrap();
                    for thread in stop.threads() {
                        if let Some(top) = thread.stack() {
                            let base = thread.record().base.load(Relaxed);
                            let found = Kept::found(other, top, base);
                            // It has just entered, or is about to leave; or it waits.
                            assert!(found == 14 || found == 0, "{found}");
                            OVER.fetch_or(found == 14, Relaxed);
                        }
                    }
                }
            });
        };
        while !OVER.load(Relaxed) {
            thread::scope(|scope| {
                scope.spawn(|| stops(1, 2));
                scope.spawn(|| stops(2, 1));
            });
        }
    });
}

#[test]
fn a_shutdown() {
    isolated("a_shutdown", || {
        let soon = || Deadline::after(Duration::from_millis(1));
        let (tell, told) = channel();
        let tell_too = tell.clone();
        let member = thread::spawn(move || {
            let mut own = WORLD.enter().unwrap();
            let refused = WORLD.shutdown().unwrap_err();
            assert!(matches!(refused, ShutdownError::Refused(StopError::Member)), "{refused}");
            tell.send(own.thread()).unwrap();
            while !OVER.load(Relaxed) {
                own.poll();
            }
            // It may do all that a member does, but bear.
            drop(own.stop().unwrap());
            assert_eq!(own.birth().unwrap_err(), EnterError::ShuttingDown);
            own.record().rounds.store(1, Relaxed);
        });
        let name = told.recv().unwrap();
        let birth = WORLD.birth().unwrap();
        // One that ends without leaving.
        let forgets = thread::spawn(move || {
            let own = WORLD.enter().unwrap();
            tell_too.send(own.thread()).unwrap();
            std::mem::forget(own);
            while !OVER.load(Relaxed) {
                thread::yield_now();
            }
        });
        told.recv().unwrap();
        let Err(ShutdownError::Late(remaining)) = WORLD.shutdown_by(&soon()) else {
            panic!("it is over");
        };
        assert_eq!(remaining.threads().count(), 3);
        assert!(remaining.threads().any(|thread| thread.thread() == name));
        assert_eq!(WORLD.enter().unwrap_err(), EnterError::ShuttingDown);
        OVER.store(true, Relaxed);
        // A birth of before may come in still, and leaves.
        drop(birth.enter().unwrap());
        let both = [(); 2].map(|()| thread::spawn(|| WORLD.shutdown().unwrap()));
        both.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(remaining.threads().count(), 0);
        assert!(WORLD.records().any(|record| record.rounds.load(Relaxed) == 1));
        member.join().unwrap();
        forgets.join().unwrap();
    });
}

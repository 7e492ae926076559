//! Stopping the world and opening it: threads that are outside, asleep, and threads that poll.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::thread;
use std::time::Instant;

use portcullis::preempt::{Fenced, Hook, SystemBackend};
use portcullis::world::{Slot, World, WorldOf};

use crate::naive::Naive;
use crate::stats;

type Ours = World<(), Fenced, SystemBackend>;

const fn of<const N: usize>() -> WorldOf<(), Fenced, SystemBackend, N> {
    World::new(Fenced, SystemBackend::new(Hook::nothing()), [const { Slot::new(()) }; N])
}

/// A stop looks at each slot that was ever used: those of the many are not in the way of the few.
static MANY: WorldOf<(), Fenced, SystemBackend, 1024> = of();
static FEW: WorldOf<(), Fenced, SystemBackend, 16> = of();

/// Nanoseconds of a stop and its end, with what is said of the threads in the middle of it.
fn stop(world: &'static Ours, threads: usize) -> u64 {
    let start = Instant::now();
    let stop = world.stop().expect("they poll, or are outside");
    let took = start.elapsed();
    assert_eq!(stop.threads().count(), threads);
    let start = Instant::now();
    drop(stop);
    (took + start.elapsed()).as_nanos() as u64
}

fn stop_naively(world: &Naive) -> u64 {
    let start = Instant::now();
    world.stop();
    world.open();
    start.elapsed().as_nanos() as u64
}

/// With so many threads that are in, and do `body` until all is over.
fn with<R>(threads: usize, body: impl Fn(&AtomicBool) + Sync, measure: impl FnOnce() -> R) -> R {
    let (over, ready) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..threads {
            let spawned = thread::Builder::new().stack_size(64 * 1024);
            let run = || {
                ready.fetch_add(1, Release);
                body(&over);
            };
            spawned.spawn_scoped(scope, run).expect("a thread");
        }
        while ready.load(Acquire) < threads {
            thread::yield_now();
        }
        let measured = measure();
        over.store(true, Release);
        measured
    })
}

fn sleeps(over: &AtomicBool) {
    while !over.load(Acquire) {
        thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn median(rounds: usize, mut once: impl FnMut() -> u64) -> u64 {
    let mut samples: Vec<u64> = (0..rounds).map(|_| once()).collect();
    stats::summary(&mut samples).0
}

/// All outside: what a stop costs for each thread.
fn outside(threads: usize, rounds: usize) -> u64 {
    let body = |over: &AtomicBool| {
        let mut own = MANY.enter().expect("there is a slot");
        let external = own.external();
        sleeps(over);
        drop(external);
    };
    with(threads, body, || {
        while MANY.stop().expect("they go out").threads().count() < threads {
            thread::yield_now();
        }
        median(rounds, || stop(&MANY, threads))
    })
}

/// How often each of the threads that poll has come round.
static ROUNDS: [AtomicUsize; 16] = [const { AtomicUsize::new(0) }; 16];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Polls until all is over.
fn come_round(over: &AtomicBool, mut poll: impl FnMut()) {
    let own = &ROUNDS[NEXT.fetch_add(1, Relaxed) % ROUNDS.len()];
    while !over.load(Relaxed) {
        poll();
        own.fetch_add(1, Relaxed);
    }
}

/// A stop each time that all of them run again.
fn each_time(threads: usize, rounds: usize, stop: impl Fn() -> u64) -> u64 {
    median(rounds, || {
        let before = ROUNDS.each_ref().map(|rounds| rounds.load(Relaxed));
        let run = |at: &usize| ROUNDS[*at].load(Relaxed) != before[*at];
        while (0..threads).filter(run).count() < threads {
            thread::yield_now();
        }
        stop()
    })
}

fn polling(threads: usize, rounds: usize) -> u64 {
    NEXT.store(0, Relaxed);
    let body = |over: &AtomicBool| {
        let mut own = FEW.enter().expect("there is a slot");
        come_round(over, || own.poll());
    };
    with(threads, body, || each_time(threads, rounds, || stop(&FEW, threads)))
}

fn polling_naively(threads: usize, rounds: usize) -> u64 {
    NEXT.store(0, Relaxed);
    let world = Naive::default();
    let body = |over: &AtomicBool| {
        world.come_in();
        come_round(over, || world.poll());
        world.go_out();
    };
    with(threads, body, || each_time(threads, rounds, || stop_naively(&world)))
}

/// Prints what each takes; returns the promises and what was measured of them.
pub(crate) fn table(rounds: usize) -> Vec<Vec<String>> {
    let row = |threads: usize| vec![threads.to_string(), stats::micros(outside(threads, rounds))];
    let rows: Vec<_> = [1, 4, 64, 1024].map(row).into();
    stats::table("Threads outside, stop and open", &["threads", "us"], &rows);
    let mut ratios = Vec::new();
    let mut row = |threads: usize| {
        let (ours, naive) = (polling(threads, rounds), polling_naively(threads, rounds));
        ratios.push(vec![
            format!("stop of {threads} that poll, to the mutex"),
            "1.00".into(),
            stats::ratio(ours, naive),
        ]);
        vec![threads.to_string(), stats::micros(ours), stats::micros(naive)]
    };
    let rows: Vec<_> = [1, 4, 16].map(&mut row).into();
    let head = ["threads", "us", "mutex and condition variable, us"];
    stats::table("Threads that poll, stop and open", &head, &rows);
    ratios
}

//! What a thread pays while nobody stops the world.

use std::hint::black_box;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::time::Instant;

use portcullis::preempt::host::Barrier;
use portcullis::preempt::{Asymmetric, Fenced, Gate, Gates, Hook, SystemBackend};
use portcullis::world::{Slot, World, WorldOf};

use crate::naive::Naive;
use crate::stats;

const BACKEND: SystemBackend = SystemBackend::new(Hook::nothing());

static GATES: Gates<Fenced, SystemBackend> = Gates::new(Fenced, BACKEND);
static ASYMMETRIC_GATES: LazyLock<Option<Gates<Asymmetric, SystemBackend>>> =
    LazyLock::new(|| Some(Gates::new(Asymmetric::new()?, BACKEND)));
static GATE: Gate<SystemBackend> = Gate::new();

type Ours<B> = World<(), B, SystemBackend>;
type Static<B> = WorldOf<(), B, SystemBackend, 2>;

const fn with<B: Barrier>(barrier: B) -> Static<B> {
    World::new(barrier, BACKEND, [const { Slot::new(()) }; 2])
}

static FENCED: Static<Fenced> = with(Fenced);
static ASYMMETRIC: LazyLock<Option<Static<Asymmetric>>> =
    LazyLock::new(|| Asymmetric::new().map(with));

const TURNS: u32 = 100_000;

/// Picoseconds a turn.
fn timed(turns: u32, mut body: impl FnMut()) -> u64 {
    let start = Instant::now();
    (0..turns).for_each(|_| body());
    (start.elapsed().as_nanos() * 1000 / u128::from(turns)) as u64
}

fn by_gate<B: Barrier>(gates: &'static Gates<B, SystemBackend>) -> u64 {
    let mut own = gates.register(&GATE).expect("a gate of its own");
    timed(TURNS, || {
        let external = own.external();
        black_box(());
        drop(external);
    })
}

fn by_world<B: Barrier>(world: &'static Ours<B>) -> u64 {
    let mut own = world.enter().expect("there is a slot");
    timed(TURNS, || {
        let external = own.external();
        black_box(());
        drop(external);
    })
}

fn naively() -> u64 {
    let world = Naive::default();
    world.come_in();
    timed(TURNS, || {
        let world = black_box(&world);
        world.go_out();
        black_box(());
        world.come_in();
    })
}

fn polls() -> u64 {
    let mut own = FENCED.enter().expect("there is a slot");
    timed(TURNS, || black_box(&mut own).poll())
}

fn loads() -> u64 {
    let word = AtomicU32::new(0);
    timed(TURNS, || _ = black_box(black_box(&word).load(Relaxed)))
}

fn enters() -> u64 {
    timed(TURNS / 100, || drop(FENCED.enter().expect("there is a slot")))
}

fn registers() -> u64 {
    timed(TURNS / 100, || drop(GATES.register(&GATE).expect("a gate of its own")))
}

/// Prints what each takes; returns the promises and what was measured of them.
pub(crate) fn table(rounds: usize) -> Vec<Vec<String>> {
    const NAMES: [&str; 9] = [
        "out and in, fenced",
        "out and back by the gate, fenced",
        "out and in, asymmetric",
        "out and back by the gate, asymmetric",
        "out and in, mutex and condition variable",
        "poll",
        "one load",
        "enter and leave",
        "register at a gate and drop that",
    ];
    let (world, gates) = (ASYMMETRIC.as_ref(), ASYMMETRIC_GATES.as_ref());
    let samples: Vec<[u64; 9]> = (0..rounds)
        .map(|_| {
            [
                by_world(&FENCED),
                by_gate(&GATES),
                world.map_or(0, |world| by_world(world)),
                gates.map_or(0, by_gate),
                naively(),
                polls(),
                loads(),
                enters(),
                registers(),
            ]
        })
        .collect();
    let rows: Vec<_> = (0..NAMES.len())
        .map(|case| {
            let mut of_case: Vec<u64> = samples.iter().map(|round| round[case]).collect();
            let median = stats::summary(&mut of_case).0 as f64 / 1000.0;
            vec![NAMES[case].to_owned(), format!("{median:.2}")]
        })
        .collect();
    stats::table("While nobody stops the world", &["", "ns"], &rows);
    let ratio = |of: usize, to: usize| {
        let mut ratios: Vec<u64> =
            samples.iter().map(|round| round[of] * 1000 / round[to].max(1)).collect();
        format!("{:.2}", stats::summary(&mut ratios).0 as f64 / 1000.0)
    };
    vec![
        vec!["out and in, fenced, to the gate's".into(), "1.10".into(), ratio(0, 1)],
        vec!["out and in, asymmetric, to the gate's".into(), "1.10".into(), ratio(2, 3)],
        vec!["enter and leave, to the gate's".into(), "1.10".into(), ratio(7, 8)],
        vec!["out and in, fenced, to the mutex".into(), "1.00".into(), ratio(0, 4)],
    ]
}

//! Going out and coming back.

use std::hint::black_box;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::thread;
use std::time::Instant;

use portcullis::preempt::host::Barrier;
use portcullis::preempt::{Asymmetric, Fenced, Gate, Gates, Hook, Registration, SystemBackend};

use crate::stats;

static FENCED: Gates<Fenced, SystemBackend> =
    Gates::new(Fenced, SystemBackend::new(Hook::nothing()));
static ASYMMETRIC: LazyLock<Option<Gates<Asymmetric, SystemBackend>>> =
    LazyLock::new(|| Some(Gates::new(Asymmetric::new()?, SystemBackend::new(Hook::nothing()))));
static GATE: Gate<SystemBackend> = Gate::new();

/// Picoseconds a turn.
fn timed(turns: u32, mut body: impl FnMut()) -> u64 {
    let start = Instant::now();
    (0..turns).for_each(|_| body());
    (start.elapsed().as_nanos() * 1000 / u128::from(turns)) as u64
}

const TURNS: u32 = 100_000;

fn out_and_back<B: Barrier>(gates: &'static Gates<B, SystemBackend>) -> u64 {
    let mut member = gates.register(&GATE).expect("a gate of its own");
    timed(TURNS, || {
        let external = member.external();
        black_box(());
        drop(external);
    })
}

/// The same while another thread tries to suspend this one all the time.
fn contended<B: Barrier>(gates: &'static Gates<B, SystemBackend>) -> u64 {
    let mut member: Registration<B, SystemBackend> =
        gates.register(&GATE).expect("a gate of its own");
    let target = member.thread();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                drop(gates.try_suspend(target));
            }
        });
        let took = timed(TURNS / 10, || {
            let external = member.external();
            black_box(());
            drop(external);
        });
        over.store(true, Relaxed);
        took
    })
}

fn by_hand() -> u64 {
    let word = AtomicU32::new(0);
    timed(TURNS, || {
        let word = black_box(&word);
        let _ = word.compare_exchange(0, 1, AcqRel, Relaxed);
        word.store(0, Release);
    })
}

fn stores() -> u64 {
    let word = AtomicU32::new(0);
    timed(TURNS, || {
        let word = black_box(&word);
        word.store(1, Release);
        word.store(0, Release);
    })
}

/// Prints what each takes; returns the promises and what was measured of them.
pub(crate) fn table(rounds: usize) -> Vec<Vec<String>> {
    const NAMES: [&str; 6] = [
        "out and back, fenced",
        "out and back, asymmetric",
        "compare-exchange and store",
        "two stores",
        "fenced, under attempts to suspend",
        "asymmetric, under attempts to suspend",
    ];
    let asymmetric = ASYMMETRIC.as_ref();
    let samples: Vec<[u64; 6]> = (0..rounds)
        .map(|_| {
            [
                out_and_back(&FENCED),
                asymmetric.map_or(0, out_and_back),
                by_hand(),
                stores(),
                contended(&FENCED),
                asymmetric.map_or(0, contended),
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
    stats::table("Going out and coming back", &["", "ns"], &rows);
    let ratio = |of: usize, to: usize| {
        let mut ratios: Vec<u64> =
            samples.iter().map(|round| round[of] * 1000 / round[to].max(1)).collect();
        format!("{:.2}", stats::summary(&mut ratios).0 as f64 / 1000.0)
    };
    vec![
        vec!["fenced, to compare-exchange and store".into(), "1.30".into(), ratio(0, 2)],
        vec!["asymmetric, to fenced".into(), "0.20".into(), ratio(1, 0)],
    ]
}

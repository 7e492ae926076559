//! Random walks: what can be seen of a program whose exploration does not end.

use super::explore::Explorer;
use super::path::Path;
use super::report;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many turns a walk has at most.
const TURNS: usize = 100;

/// What the environment asks for.
pub(super) struct Walks {
    /// None: a single walk.
    seconds: Option<f64>,
    seed: u64,
}

impl Walks {
    /// `PORTCULLIS_RANDOM=seconds`, and `PORTCULLIS_SEED=seed` for the first walk; a seed alone is one walk.
    pub(super) fn wanted() -> Option<Self> {
        let seconds = variable("PORTCULLIS_RANDOM");
        let seed = variable("PORTCULLIS_SEED");
        if seconds.is_none() && seed.is_none() {
            return None;
        }
        Some(Self { seconds, seed: seed.unwrap_or_else(any_seed) })
    }

    /// Walks until the time is over; returns how many walks there were.
    pub(super) fn take(&self, explorer: &Explorer) -> usize {
        let start = Instant::now();
        let time = Duration::from_secs_f64(self.seconds.unwrap_or(0.0));
        // All begin with the same execution.
        let Some(first) = explorer.some(&Path::root(None), 1) else { return 1 };
        let mut walks = 0;
        while walks == 0 || start.elapsed() < time {
            let seed = self.seed.wrapping_add(walks as u64);
            report::note(&format!("PORTCULLIS_SEED={seed}"));
            walk(explorer, first.clone(), seed);
            walks += 1;
        }
        report::note("");
        walks
    }
}

/// One walk: a few executions at a time, the first of them as the one before up to some branch, and then
/// otherwise. Mostly the branches go forward, so that the executions grow more preempted.
pub(super) fn walk(explorer: &Explorer, first: Path, seed: u64) {
    let mut dice = Dice(seed);
    // Programs differ in what they need: many turns or few, and how much is tried after each.
    let strides = 1 + dice.below(4);
    let tries = 1 << dice.below(6);
    let mut path = first;
    let mut from = 0;
    for _ in 0..TURNS {
        // What shows that an early branch matters may be a late one.
        if dice.below(4) == 0 {
            from = 0;
        }
        let turns = path.turns(from);
        let Some(choice) = (0..strides).map(|_| dice.below(turns.len())).min() else { return };
        let Some(&turn) = turns.get(choice) else { return };
        path.take(turn);
        from = turn.branch + 1;
        match explorer.some(&path, 1 + dice.below(tries)) {
            Some(next) => path = next,
            None => return,
        }
    }
}

/// A small generator: SplitMix64 (Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        // The excess of some results over others is below 2^-40 for limits that occur.
        (z % limit.max(1) as u64) as usize
    }
}

fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Short enough to be typed.
    (now.as_nanos() as u64 ^ u64::from(std::process::id())) % 1_000_000_000
}

/// The number in an environment variable.
pub(super) fn variable<T: core::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    let parsed = value.parse().ok();
    Some(parsed.unwrap_or_else(|| panic!("{name}={value}: not a number")))
}

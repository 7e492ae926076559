//! Tries mutants: first the tests that the comment beside one names, then the others that reach it.

use crate::mutant::Mutant;
use crate::results::{Results, Verdict};
use crate::stage::{Outcome, Stage, Test};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Runs `work` on every item, on two threads; the answers in the items' order.
pub fn two_at_a_time<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((at, item)) =
                    Some(next.fetch_add(1, Relaxed)).and_then(|at| Some((at, items.get(at)?)))
                {
                    let answer = work(item);
                    done.lock().unwrap().push((at, answer));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, answer)| answer).collect()
}

/// How long a run may take: of one test with one mutant, and in all.
pub struct Limits {
    pub seconds: u64,
    pub until: Option<Instant>,
}

pub fn all(
    stage: &Stage,
    mutants: &[(&Mutant, String)],
    results: &Mutex<Results>,
    limits: &Limits,
) {
    let start = Instant::now();
    let count = AtomicUsize::new(0);
    two_at_a_time(mutants, |(mutant, comment)| {
        if limits.until.is_some_and(|until| Instant::now() > until) {
            return;
        }
        let verdict = one(stage, mutant, comment, limits);
        let done = count.fetch_add(1, Relaxed) + 1;
        let left = start.elapsed().mul_f64((mutants.len() - done) as f64 / done as f64);
        eprintln!(
            "{done} of {}, about {} min left: {} {}: {}",
            mutants.len(),
            left.as_secs().div_ceil(60),
            verdict.word,
            mutant.key(),
            verdict.how
        );
        results.lock().unwrap().add(mutant, verdict);
    });
}

/// After so many models that were cut a mutant is undecided.
const CUT: usize = 4;

fn one(stage: &Stage, mutant: &Mutant, comment: &str, limits: &Limits) -> Verdict {
    let mut tests: Vec<&Test> =
        stage.tests.iter().filter(|test| test.reached.contains(&mutant.id)).collect();
    // Sorted by time already; what is named, then the protocol's own, then the rest.
    let protocol = mutant.file.split(['/', '.']).next().unwrap_or_default();
    let named = |test: &Test| {
        let last = test.name.rsplit("::").next().unwrap_or_default();
        comment.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == last)
    };
    let rank = |test: &Test| {
        if named(test) {
            0
        } else if test.name.contains(protocol) {
            1
        } else {
            2
        }
    };
    tests.sort_by_key(|test| (rank(test), (test.seconds * 100.0) as u64));
    let verdict =
        |word: &str, how: String| Verdict { word: word.to_owned(), how, by: String::new() };
    let (mut passed, mut not_ended) = (0, Vec::new());
    for test in &tests {
        match stage.with(test, mutant.id, limits.seconds) {
            Outcome::Passed => passed += 1,
            Outcome::Failed(how) => {
                return Verdict { word: "killed".to_owned(), how, by: test.name.clone() };
            }
            Outcome::NotEnded => {
                not_ended.push(test.name.trim_start_matches("loom_tests::").to_owned())
            }
        }
        // Three that end without the mutant and not with it: the others would wait as long.
        let hangs = not_ended.len() - not_ended.iter().filter(|it| long(stage, it, limits)).count();
        if hangs >= 3 || not_ended.len() >= CUT {
            break;
        }
    }
    // One that was cut without the mutant may come by later than it was let.
    let cut = stage.tests.iter().filter(|test| !test.ended && !tests.contains(test)).count();
    let tried = format!("{passed} models pass");
    if not_ended.is_empty() {
        return match (cut, tests.is_empty()) {
            (0, true) => verdict("unreached", "no model comes by".to_owned()),
            (0, false) => verdict("survives", tried),
            _ => verdict("undecided", format!("{tried}; {cut} were cut before they came by")),
        };
    }
    let fast = not_ended.iter().filter(|it| !long(stage, it, limits)).count();
    let left = tests.len() - passed - not_ended.len();
    let left = if left > 0 { format!("; {left} not run") } else { String::new() };
    let late =
        format!("{tried}; not ended in {} s: {}{left}", limits.seconds, not_ended.join(", "));
    verdict(if fast > 0 { "unended" } else { "undecided" }, late)
}

/// A test that takes long without a mutant too.
fn long(stage: &Stage, name: &str, limits: &Limits) -> bool {
    let test = stage.tests.iter().find(|test| test.name.ends_with(name));
    test.is_none_or(|test| !test.ended || test.seconds > limits.seconds as f64 / 4.0)
}

pub fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

//! Deeper explorations: what is found past the bound is found again. Each test runs another of these in a
//! process of its own, as whoever asks for a deeper exploration does.

use std::process::Command;
use std::sync::Arc;

use crate::loom_tests::Control;
use crate::model::{thread, violation};
use crate::sync::AtomicU32;
use crate::sync::Ordering::Relaxed;

/// What `test` says with these variables in its environment.
fn explore(test: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().expect("a test binary"));
    command.args(["--exact", &format!("loom_tests::kernel::deeper::{test}"), "--nocapture"]);
    for ours in std::env::vars().filter(|(name, _)| name.starts_with("PORTCULLIS_")) {
        command.env_remove(ours.0);
    }
    let output = command.envs(variables.iter().copied()).output().expect("it can be run again");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What follows `mark` in `text`, up to one of `ends`.
fn after<'a>(text: &'a str, mark: &str, ends: &[char]) -> &'a str {
    let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("no {mark} in {text}"));
    rest.split(ends).next().unwrap_or_default()
}

/// The harness: two threads that answer each other, three preemptions deep.
///
/// Fails as it must: an answer to the second question is possible.
#[test]
fn control_three_preemptions_deep() {
    let expected = "both were answered";
    Control::new("kernel::control_three_preemptions_deep", expected).actors(2).check(|| {
        let words = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
        let theirs = Arc::clone(&words);
        let other = thread::spawn("other", move || {
            let (question, answer) = &*theirs;
            for number in 1..=2 {
                if question.load(Relaxed) != number {
                    return;
                }
                answer.store(number, Relaxed);
            }
        });
        let (question, answer) = &*words;
        for number in 1..=2 {
            question.store(number, Relaxed);
            if answer.load(Relaxed) != number {
                break;
            }
            if number == 2 {
                violation("both were answered");
            }
        }
        other.join();
    });
}

/// The harness: a random walk finds what is three preemptions deep, and the seed that it names leads to the
/// same execution, by a single walk.
#[test]
fn a_walk_is_taken_again() {
    let test = "control_three_preemptions_deep";
    let found = explore(test, &[("PORTCULLIS_RANDOM", "20"), ("PORTCULLIS_LANES", "1")]);
    let seed = after(&found, "PORTCULLIS_SEED=", &[')']);
    let again = explore(test, &[("PORTCULLIS_SEED", seed), ("PORTCULLIS_LANES", "1")]);
    assert_eq!(after(&again, "PORTCULLIS_SEED=", &[')']), seed, "{again}");
    let lanes = |text: &str| text.split_once(" step ").expect("lanes").1.to_owned();
    assert_eq!(lanes(&found), lanes(&again));
    let walk: usize = after(&again, "found after ", &[' ']).parse().expect("a number");
    assert!(walk > 1, "{again}");
}

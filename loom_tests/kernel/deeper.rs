//! Deeper explorations: what is found past the bound is found again. Each test runs another of these in a
//! process of its own, as whoever asks for a deeper exploration does.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::loom_tests::{Bound, Control, Model};
use crate::model::{Disposition, Kernel, sig, thread, violation};
use crate::sync::AtomicU32;
use crate::sync::Ordering::Relaxed;

/// A run of `test` of this directory with these variables in its environment.
fn command(test: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test binary"));
    command.args(["--exact", &format!("loom_tests::kernel::{test}"), "--nocapture"]);
    for ours in std::env::vars().filter(|(name, _)| name.starts_with("PORTCULLIS_")) {
        command.env_remove(ours.0);
    }
    command.envs(variables.iter().copied());
    command
}

/// What it says.
fn explore(test: &str, variables: &[(&str, &str)]) -> String {
    let output = command(test, variables).output().expect("it can be run again");
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
    let test = "deeper::control_three_preemptions_deep";
    let found = explore(test, &[("PORTCULLIS_RANDOM", "20"), ("PORTCULLIS_LANES", "1")]);
    let seed = after(&found, "PORTCULLIS_SEED=", &[')']);
    let again = explore(test, &[("PORTCULLIS_SEED", seed), ("PORTCULLIS_LANES", "1")]);
    assert_eq!(after(&again, "PORTCULLIS_SEED=", &[')']), seed, "{again}");
    let lanes = |text: &str| text.split_once(" step ").expect("lanes").1.to_owned();
    assert_eq!(lanes(&found), lanes(&again));
    let walk: usize = after(&again, "found after ", &[' ']).parse().expect("a number");
    assert!(walk > 1, "{again}");
}

/// The harness: a handler that finds the thread that it interrupts between two steps, while another handler
/// runs on another thread.
///
/// Fails as it must, and the other handler has nothing to do with it.
#[test]
fn control_one_signal_of_two() {
    let expected = "between two steps";
    Control::new("kernel::control_one_signal_of_two", expected).actors(3).check(|| {
        let kernel = Kernel::new().at_most(1);
        let between = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&between);
        kernel.sigaction(sig::USR1, Disposition::handler(|_| ()));
        let looks = move |_| {
            if seen.fetch_add(0, Relaxed) == 1 {
                violation("between two steps");
            }
        };
        kernel.sigaction(sig::USR2, Disposition::handler(looks));
        let turn = Arc::new(AtomicU32::new(0));
        let theirs = Arc::clone(&turn);
        let bystander = thread::spawn("bystander", move || {
            theirs.fetch_add(1, Relaxed);
            // A kernel call, so the signal lands.
            let _ = kernel.sigpending();
        });
        let target = thread::spawn("target", move || {
            turn.fetch_add(1, Relaxed);
            between.store(1, Relaxed);
            between.store(0, Relaxed);
        });
        kernel.tgkill(bystander.id(), sig::USR1);
        kernel.tgkill(target.id(), sig::USR2);
        bystander.join();
        target.join();
    });
}

/// The harness: the smallest failure is shown, of a control and of a model in a process of its own, and unless
/// it is not wanted.
#[test]
fn a_failure_is_shrunk() {
    let test = "deeper::control_one_signal_of_two";
    let handlers = |text: &str| text.matches("> handler of").count();
    let first = explore(test, &[("PORTCULLIS_SHRINK", "0"), ("PORTCULLIS_LANES", "1")]);
    assert!(handlers(&first) == 2 && !first.contains("smallest"), "{first}");
    let smallest = explore(test, &[("PORTCULLIS_LANES", "1")]);
    assert!(smallest.contains("; smallest found: 0 preemptions, 1 signal: "), "{smallest}");
    assert_eq!(handlers(&smallest), 1, "{smallest}");

    let model = explore("harness::model_apart_fails", &[]);
    let text = "FAILED in execution 1; smallest found: 0 preemptions, 0 signals: there";
    assert!(model.contains(text), "{model}");
}

/// Three threads, a handler, and a race that none of them minds.
fn race() {
    let kernel = Kernel::new().at_most(1);
    let word = Arc::new(AtomicU32::new(0));
    let (handled, theirs, others) = (Arc::clone(&word), Arc::clone(&word), Arc::clone(&word));
    let handler = Disposition::handler(move |_| _ = handled.fetch_add(1, Relaxed));
    kernel.sigaction(sig::USR1, handler);
    let target = thread::spawn("target", move || theirs.store(2, Relaxed));
    let other = thread::spawn("other", move || others.store(3, Relaxed));
    kernel.tgkill(target.id(), sig::USR1);
    word.load(Relaxed);
    target.join();
    other.join();
}

/// The harness: what two processes explore together, and go on with after an interruption.
#[test]
fn race_within_a_bound() {
    Model::new("kernel::race_within_a_bound").actors(3).bound(Bound::At(2)).check(race);
}

/// The harness: the same without a bound.
#[test]
fn race_without_a_bound() {
    Model::new("kernel::race_without_a_bound").actors(3).check(race);
}

/// How many executions `text` says there were.
fn executions(text: &str, test: &str) -> usize {
    let (_, last) = text.rsplit_once(&format!("model kernel::{test}: ")).expect(text);
    last.split(' ').next().and_then(|number| number.parse().ok()).expect(text)
}

/// The harness: several processes explore the executions of one, with a bound and without.
#[test]
fn split_explores_the_same() {
    for test in ["race_within_a_bound", "race_without_a_bound"] {
        let whole = explore(&format!("deeper::{test}"), &[]);
        let split = explore(&format!("deeper::{test}"), &[("PORTCULLIS_PROCESSES", "3")]);
        assert_eq!(executions(&split, test), executions(&whole, test), "{split}");
    }
}

/// The harness: what was interrupted goes on where it was, and comes to the same end.
#[test]
fn split_is_resumed() {
    let test = "race_without_a_bound";
    let directory = std::env::temp_dir().join(format!("portcullis-resume-{}", std::process::id()));
    let file = directory.join("kernel__race_without_a_bound.json");
    let directory = directory.to_str().expect("of plain characters").to_owned();
    let variables = [("PORTCULLIS_PROCESSES", "2"), ("PORTCULLIS_RESUME", &*directory)];

    // It may end before it can be killed.
    for _ in 0..20 {
        let mut first = command(&format!("deeper::{test}"), &variables);
        let mut first = first.stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("ours");
        while !file.exists() && first.try_wait().expect("ours").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        first.kill().expect("ours");
        first.wait().expect("ours");
        if file.exists() {
            break;
        }
    }

    let resumed = explore(&format!("deeper::{test}"), &variables);
    assert!(after(&resumed, "goes on after ", &[' ']) != "0", "{resumed}");
    let whole = explore(&format!("deeper::{test}"), &[]);
    assert_eq!(executions(&resumed, test), executions(&whole, test), "{resumed}");
    assert!(!file.exists(), "there is nothing left to be done");
    std::fs::remove_dir_all(directory).expect("ours");
}

/// The harness: what one of several processes finds is said, and fails the model.
#[test]
fn split_fails() {
    let failed = explore("harness::model_apart_fails", &[("PORTCULLIS_PROCESSES", "2")]);
    let text = "FAILED in execution 1 (of one of several processes); smallest found: ";
    assert!(failed.contains(text), "{failed}");
}

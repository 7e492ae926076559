//! The harness itself.

use std::process::Command;
use std::sync::Arc;

use crate::loom_tests::{Control, Model};
use crate::model::{futex, thread, violation};
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicU32, Mutex};

/// The harness: a control that does not fail is an error.
#[test]
#[should_panic(expected = "NOT FOUND")]
fn control_not_found() {
    Control::new("kernel::control_not_found", "anything").actors(1).check(|| ());
}

/// The harness: a control that fails for another reason is an error.
#[test]
#[should_panic(expected = "failed for another reason")]
fn control_other_reason() {
    Control::new("kernel::control_other_reason", "anything").check(|| violation("another"));
}

/// The harness: waiting for ever by spinning is told from every other failure.
#[test]
fn control_no_progress() {
    Control::new("kernel::control_no_progress", "no progress")
        .max_branches(500)
        .stands("main", " at harness.rs")
        .check(|| {
            let word = AtomicU32::new(0);
            while word.load(Relaxed) == 0 {
                crate::sync::relax();
            }
        });
}

/// The harness: an exploration that is cut short does not count.
#[test]
#[should_panic(expected = "exploration cut")]
fn model_cut_short() {
    Model::new("kernel::model_cut_short").max_duration(core::time::Duration::ZERO).check(|| ());
}

/// The harness: a model that fails in a process of its own fails.
#[test]
#[should_panic(expected = "failed in a process of its own")]
fn model_apart_fails() {
    Model::new("kernel::model_apart_fails").apart().check(|| violation("there"));
}

/// The harness: a failure that the program catches, as what runs users' code does, is one all the same.
#[test]
#[should_panic(expected = "caught its own failure")]
fn model_catches_its_failure() {
    Model::new("kernel::model_catches_its_failure").check(|| {
        let caught = std::panic::catch_unwind(|| violation("of a promise"));
        assert!(caught.is_err());
    });
}

/// The harness: a panic that is meant is raised without the hook, and caught.
#[test]
fn model_means_its_panic() {
    Model::new("kernel::model_means_its_panic").check(|| {
        let caught = std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new("meant")));
        assert!(caught.is_err());
    });
}

/// The harness: a process of its own explores the same.
#[test]
fn model_apart_counts() {
    let program = || {
        let word = Arc::new(AtomicU32::new(0));
        let theirs = Arc::clone(&word);
        let other = thread::spawn("other", move || theirs.fetch_add(1, Relaxed));
        word.fetch_add(1, Relaxed);
        other.join();
    };
    let apart = Model::new("kernel::model_apart_counts: apart").actors(2).apart().check(program);
    let here = Model::new("kernel::model_apart_counts: here").actors(2).check(program);
    assert!(here > 1, "{here}");
    assert_eq!(apart, here);
}

/// Kernel: who waits in a deadlock without a step of its own, for a lock or for the end of a thread, is in its
/// lanes.
#[test]
fn deadlock_shows_who_waits() {
    Control::new("kernel::deadlock_shows_who_waits", "deadlock")
        .actors(3)
        .shows("lock: waits")
        .shows("join: waits for the end of holds")
        .check(|| {
            let lock = Arc::new(Mutex::new(()));
            let theirs = Arc::clone(&lock);
            let holds = thread::spawn("holds", move || {
                let _held = theirs.lock();
                futex::wait(&AtomicU32::new(0), 0, None);
            });
            thread::spawn("wants", move || drop(lock.lock()));
            holds.join();
        });
}

/// The harness: a failing model and a control are drawn where pictures are wanted, the file named after them.
#[test]
fn pictures_are_written() {
    let directory =
        std::env::temp_dir().join(format!("portcullis-pictures-{}", std::process::id()));
    let drawn = |test: &str| {
        let again = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("loom_tests::kernel::harness::{test}")])
            .env("PORTCULLIS_PICTURE", &directory)
            .output()
            .unwrap();
        assert!(again.status.success(), "{again:?}");
        std::fs::read_to_string(directory.join(format!("kernel.{test}.svg"))).unwrap()
    };
    let (control, model) = (drawn("control_no_progress"), drawn("model_catches_its_failure"));
    std::fs::remove_dir_all(&directory).unwrap();
    for (svg, reason) in [(control, "no progress"), (model, "of a promise")] {
        assert!(
            svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains(reason),
            "{svg}"
        );
    }
}

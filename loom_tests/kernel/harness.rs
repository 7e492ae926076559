//! The harness itself.

use std::sync::Arc;

use crate::loom_tests::{Control, Model};
use crate::model::{thread, violation};
use crate::sync::AtomicU32;
use crate::sync::Ordering::Relaxed;

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
    Control::new("kernel::control_no_progress", "no progress").max_branches(500).check(|| {
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

//! Hostile programs: safe code alone, which uses what this crate offers as it should not be used. Each
//! ends in a typed error, in the order that the docs name, or does not compile; none crashes, corrupts or
//! waits for ever.
//!
//! Bounded: each test is a process of its own, which is killed after a minute, far longer than any takes.
#![forbid(unsafe_code)]
#![cfg(all(unix, not(loom)))]

mod all_threads;
mod attach;
mod gate;
mod queue;
mod signals;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "PORTCULLIS_HOSTILE";
/// What tells that the body ran to its end.
const RAN: i32 = 42;
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `body` in a process of its own, which must end well. `name` is the test's.
#[track_caller]
fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var(CHILD).as_deref() == Ok(name) {
        body();
        std::process::exit(RAN);
    }
    let program = std::env::current_exe().expect("this binary has a path");
    let mut command = Command::new(program);
    command.args(["--exact", name, "--nocapture", "--test-threads=1", "--quiet"]);
    command.env(CHILD, name).stdout(Stdio::null());
    let mut child = command.spawn().expect("the test binary runs again");
    let start = Instant::now();
    let status = loop {
        match child.try_wait().expect("a child is waited for") {
            Some(status) => break status,
            None if start.elapsed() > PATIENCE => {
                child.kill().expect("a child is ended");
                panic!("{name} did not end");
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    // No test of that name would have succeeded, too.
    assert_eq!(status.code(), Some(RAN), "{name}: {status}");
}

/// Programs that must not compile, and what the compiler says of the duty.
#[test]
#[cfg(target_os = "linux")]
fn programs_that_must_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/hostile/compile_fail/*.rs");
}

//! The runtime of `examples/runtime`, under faults: random signals to random threads, threads that end in the middle,
//! forks, no slot left, signals masked, calls of the system that fail.
//!
//! Ten seconds, and by other random numbers each time. `PORTCULLIS_SOAK=60` in the environment has it take 60;
//! `PORTCULLIS_SEED=7` has the same random numbers again, which a failure prints.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(target_feature = "crt-static"),
    not(loom)
))]

mod common;
#[path = "../examples/runtime/mod.rs"]
mod runtime;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::SystemTime;

use common::*;
use runtime::{Options, run};

#[global_allocator]
static ALLOCATOR: portcullis::preempt::Checked<std::alloc::System> =
    portcullis::preempt::Checked(std::alloc::System);

fn number_or(name: &str, other: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(other)
}

/// Runs it in a process of its own, and tells what it told. `meanwhile` is called when it runs.
fn in_a_process(name: &str, options: Options, meanwhile: impl FnOnce(i32)) -> ExitStatus {
    if !is_harness() {
        alarm(options.seconds as u32 + 60);
        // Whoever runs the tests in the background may have it ignored, which the runtime leaves so.
        // SAFETY: no handler.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        let well = run(options).expect("it begins");
        std::process::exit(if well { 42 } else { 1 });
    }
    println!("PORTCULLIS_SEED={}", options.seed);
    let mut command = bare_command(name, "");
    command.env("PORTCULLIS_SEED", options.seed.to_string()).stdout(Stdio::piped());
    let mut helper = Helper(command.spawn().expect("the test binary runs again"));
    let mut told = BufReader::new(helper.0.stdout.take().expect("its output is a pipe"));
    let mut text = String::new();
    // The first line of its status, when all has begun.
    while !text.contains("turns") && told.read_line(&mut text).expect("text") > 0 {}
    meanwhile(helper.0.id() as i32);
    told.read_to_string(&mut text).expect("text");
    println!("{text}");
    helper.finish()
}

fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
    number_or("PORTCULLIS_SEED", u64::from(now.subsec_nanos()))
}

#[test]
fn soak() {
    let seconds = number_or("PORTCULLIS_SOAK", 10);
    let options = Options { seconds, soak: true, seed: seed(), misses_one: false };
    assert_eq!(in_a_process("soak", options, |_| ()).code(), Some(42));
}

/// The control: a collector that leaves out a thread is found at fault.
#[test]
fn a_missed_thread_is_found() {
    let options = Options { seconds: 2, soak: false, seed: seed(), misses_one: true };
    let status = in_a_process("a_missed_thread_is_found", options, |_| ());
    assert_eq!(status.code(), Some(1));
}

/// It ends in order, and by the signal, for a shell to see.
#[test]
fn dies_by_the_signal_that_asked_for_it() {
    let options = Options { seconds: 60, soak: false, seed: seed(), misses_one: false };
    let interrupt = |pid| kill(pid, libc::SIGINT).expect("it runs");
    let status = in_a_process("dies_by_the_signal_that_asked_for_it", options, interrupt);
    assert_eq!(status.signal(), Some(libc::SIGINT));
}

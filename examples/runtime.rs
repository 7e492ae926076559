//! A small runtime over one world: all that a runtime has to do with the system, at once.
//!
//! ```text
//! cargo run --release --example runtime                  # some seconds, or until Ctrl-C
//! cargo run --release --example runtime -- --seconds 60
//! cargo run --release --example runtime -- --soak 60      # under faults; --seed N for other ones
//! cargo run --release --example runtime -- --miss-one     # the collector leaves a thread out: it is found
//! ```
//!
//! Workers run tasks from a queue, which build trees in a heap. Whoever finds the heap used up stops the world and
//! marks what is alive, by every word of every thread's stack: a thread that a stop missed loses its nodes to
//! another one, and sees that they are not what they were. Meanwhile threads of C call in and end, signals become
//! tasks, a profiler suspends threads, an operation changes every thread of the process, and a child is forked,
//! collects, and executes another program. Ctrl-C ends all that in order, and the process by SIGINT.
//!
//! It exits with 1 if a node was lost, a signal was, or anything else is wrong.
//!
//! To read it: `threads.rs` (the world), `heap.rs`, `collector.rs`, `queue.rs` (what tasks do), `people.rs` (the
//! runtime's own threads), `callers.rs` (threads of C), `child.rs`, `run.rs`.
#![cfg_attr(
    not(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(loom)
    )),
    allow(dead_code)
)]

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(loom)
))]
use std::process::ExitCode;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(loom)))]
#[path = "runtime/mod.rs"]
mod runtime;

/// In debug builds: nobody allocates while he has threads suspended.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(loom)))]
#[global_allocator]
static ALLOCATOR: portcullis::preempt::Checked<std::alloc::System> =
    portcullis::preempt::Checked(std::alloc::System);

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(loom)))]
fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut options = runtime::Options { seconds: 5, soak: false, seed: 1, misses_one: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--miss-one" {
            options.misses_one = true;
            continue;
        }
        let value = arguments.next().and_then(|value| value.parse().ok());
        match (argument.as_str(), value) {
            ("--seconds", Some(seconds)) => options.seconds = seconds,
            ("--soak", Some(seconds)) => (options.seconds, options.soak) = (seconds, true),
            ("--seed", Some(seed)) => options.seed = seed,
            _ => {
                return Err(
                    "usage: runtime [--seconds N | --soak N] [--seed N] [--miss-one]".into()
                );
            }
        }
    }
    Ok(if runtime::run(options)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(loom)
)))]
fn main() {
    println!("this runtime makes its threads on Linux; see the tests for other systems");
}

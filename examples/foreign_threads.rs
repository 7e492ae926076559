//! Threads made by C call into a toy runtime, while signals rain.
//!
//! ```text
//! cargo run --release --example foreign_threads
//! ```
//!
//! Some call once, some a million times, some call out and are called back, some are more than the
//! runtime has records for; and handlers of SIGALRM, SIGCHLD and SIGUSR1 call in from wherever they
//! interrupt. The table at the end accounts for all of it. Exits with 1 if a record is leaked or a
//! check failed. Needs a C compiler.
#![cfg_attr(not(all(target_os = "linux", not(loom))), allow(dead_code))]

#[cfg(all(target_os = "linux", not(loom)))]
#[path = "foreign_threads/c.rs"]
mod c;
#[cfg(all(target_os = "linux", not(loom)))]
#[path = "foreign_threads/rain.rs"]
mod rain;
#[cfg(all(target_os = "linux", not(loom)))]
#[path = "foreign_threads/runtime.rs"]
mod runtime;

#[cfg(all(target_os = "linux", not(loom)))]
fn main() {
    std::process::exit(runtime::run());
}

#[cfg(not(all(target_os = "linux", not(loom))))]
fn main() {
    println!("this example makes its threads on Linux; see the tests for other systems");
}

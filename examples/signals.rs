//! Signals, live: run it and press Ctrl-C, or see it count storms with `--demo`.
//!
//! ```text
//! cargo run --release --example signals            # needs somebody to send signals
//! cargo run --release --example signals -- --demo  # needs nobody
//! ```
//!
//! Live, each signal is printed with its sender. One Ctrl-C is only printed; a second one within a
//! second ends the process by SIGINT itself, so that a shell sees 130.
//!
//! The demo sends itself storms from child processes, lets `stop` race arriving signals, and
//! accounts for every signal that was sent. It exits with 1 if one is missing.
#![cfg_attr(not(unix), allow(dead_code))]

#[cfg(unix)]
#[path = "signals/demo.rs"]
mod demo;
#[cfg(unix)]
#[path = "signals/live.rs"]
mod live;

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => live::run(),
        ["--demo"] => demo::run(),
        // What the demo's child processes are started with.
        [demo::STORM, sender] => demo::storm(sender.parse()?),
        [demo::RACE, seed] => demo::race(seed.parse()?),
        _ => Err("usage: signals [--demo]".into()),
    }
}

#[cfg(not(unix))]
fn main() {
    println!("this example is about Unix signals; see the tests for console events");
}

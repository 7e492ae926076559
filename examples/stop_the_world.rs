//! A collector stops the world ten thousand times, or for ten seconds, a profiler suspends threads at random, mutators
//! work, call out, and end, and in the end the process exits in the middle of it all.
//!
//! `cargo run --release --example stop_the_world`. What it has seen it prints; that the process ended
//! is seen by the shell: it exits with 7 where all was well.
#![allow(missing_docs, reason = "a binary")]

#[cfg(all(any(unix, windows), not(loom)))]
#[path = "stop_the_world/world.rs"]
mod world;

#[cfg(all(any(unix, windows), not(loom)))]
fn main() {
    world::run();
}

#[cfg(not(all(any(unix, windows), not(loom))))]
fn main() {
    println!("threads are not suspended here");
}

//! A hundred threads in every state there is, on each of which something that the kernel keeps for it
//! alone is changed a thousand times: keepcaps on all threads of the process, whoever made them, and
//! the timer slack on those that have joined.
//!
//! `cargo run --release --example all_threads`. Each thread's value is read back from /proc.
#![allow(missing_docs, reason = "a binary")]

#[cfg(all(target_os = "linux", not(loom)))]
#[path = "all_threads/crowd.rs"]
mod crowd;

#[cfg(all(target_os = "linux", not(loom)))]
fn main() {
    crowd::run();
}

#[cfg(not(all(target_os = "linux", not(loom))))]
fn main() {
    println!("this is about what Linux keeps for each thread");
}

//! Attaching, side by side with the system calls it consists of, a thread-local increment, and
//! lists under a mutex.
//!
//! Everything is measured by turns in one run, on a thread of the C library's, which unlike Rust's
//! has no alternate stack. Only ratios within one run mean anything; the last table holds them
//! against what is promised.
#![allow(missing_docs, reason = "a binary")]

#[cfg(all(target_os = "linux", not(loom)))]
mod alone;
#[cfg(all(target_os = "linux", not(loom)))]
mod by_hand;
#[cfg(all(target_os = "linux", not(loom)))]
mod contended;
#[cfg(all(target_os = "linux", not(loom)))]
#[allow(dead_code, reason = "shared")]
#[path = "../signals/stats.rs"]
mod stats;

#[cfg(all(target_os = "linux", not(loom)))]
fn main() {
    let testing = std::env::args().any(|argument| argument == "--test");
    let rounds = if testing { 3 } else { 60 };
    alone::THREADS.create().expect("memory for the first records");
    by_hand::on_bare_thread(move || {
        let mut promised = alone::table(rounds);
        promised.extend(contended::table(rounds));
        promised.push(alone::memory());
        stats::table("Promised", &["", "at most", "measured"], &promised);
    });
}

#[cfg(not(all(target_os = "linux", not(loom))))]
fn main() {}

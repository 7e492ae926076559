//! The gate, side by side with the instructions and system calls it consists of.
//!
//! Everything is measured by turns in one run. Only ratios within one run mean anything; the last
//! table holds them against what is promised.
#![allow(missing_docs, reason = "a binary")]

#[cfg(all(target_os = "linux", not(loom)))]
mod alone;
#[cfg(all(target_os = "linux", not(loom)))]
#[allow(dead_code, reason = "shared")]
#[path = "../signals/stats.rs"]
mod stats;
#[cfg(all(target_os = "linux", not(loom)))]
mod suspend;

#[cfg(all(target_os = "linux", not(loom)))]
fn main() {
    let testing = std::env::args().any(|argument| argument == "--test");
    let rounds = if testing { 3 } else { 40 };
    let mut promised = alone::table(rounds);
    promised.push(suspend::table(rounds));
    suspend::world(if testing { 2 } else { 200 });
    promised.push(vec![
        "bytes a gate".into(),
        "64".into(),
        size_of::<portcullis::preempt::Gate<portcullis::preempt::SystemBackend>>().to_string(),
    ]);
    stats::table("Promised", &["", "at most", "measured"], &promised);
}

#[cfg(not(all(target_os = "linux", not(loom))))]
fn main() {}

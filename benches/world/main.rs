//! The world, side by side with the gate that it stands on, and with a world by a mutex and a condition variable.
//!
//! Everything is measured by turns in one run. Only ratios within one run mean anything; the last table holds
//! them against what is promised.
#![allow(missing_docs, reason = "a binary")]

#[cfg(all(target_os = "linux", not(loom)))]
mod alone;
#[cfg(all(target_os = "linux", not(loom)))]
mod naive;
#[cfg(all(target_os = "linux", not(loom)))]
#[allow(dead_code, reason = "shared")]
#[path = "../signals/stats.rs"]
mod stats;
#[cfg(all(target_os = "linux", not(loom)))]
mod stops;

#[cfg(all(target_os = "linux", not(loom)))]
fn main() {
    let testing = std::env::args().any(|argument| argument == "--test");
    let mut promised = alone::table(if testing { 3 } else { 40 });
    promised.extend(stops::table(if testing { 3 } else { 200 }));
    stats::table("Promised", &["", "at most", "measured"], &promised);
}

#[cfg(not(all(target_os = "linux", not(loom))))]
fn main() {}

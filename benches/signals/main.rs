//! Signals side by side with signal-hook, tokio, ctrlc and a bare thread in sigwaitinfo.
//!
//! Criterion measures what one thread does alone: handlers, `send`, subscribing and stopping. The
//! tables after it measure what takes two threads or processes; there the implementations take
//! turns, so that whatever else the machine does hits all alike. Only ratios within one run mean
//! anything.
//!
//! Each implementation has a signal number of its own, as dispositions belong to the process. All
//! threads but one mask all signals: that one takes each signal for whoever is measured. It is the
//! main one, and under storms one that does nothing else.
#![allow(missing_docs, reason = "a binary")]

#[cfg(all(target_os = "linux", not(loom)))]
mod contestants;
#[cfg(all(target_os = "linux", not(loom)))]
mod handler;
#[cfg(all(target_os = "linux", not(loom)))]
mod latency;
#[cfg(all(target_os = "linux", not(loom)))]
mod os;
#[cfg(all(target_os = "linux", not(loom)))]
mod senders;
#[cfg(all(target_os = "linux", not(loom)))]
mod stats;
#[cfg(all(target_os = "linux", not(loom)))]
mod stop;
#[cfg(all(target_os = "linux", not(loom)))]
mod storm;

#[cfg(all(target_os = "linux", not(loom)))]
fn main() {
    use std::time::Duration;

    // First of all, while there is one thread.
    let mut senders = senders::Senders::start(2).expect("senders start");
    [libc::SIGHUP, libc::SIGTERM].into_iter().for_each(os::ignore);
    let mut criterion = criterion::Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .without_plots()
        .configure_from_args();
    // `cargo test --benches` only wants to see it run.
    let testing = std::env::args().any(|argument| argument == "--test");
    let mut cases = handler::Cases::new();
    handler::criterion(&mut criterion, &mut cases);
    stop::criterion(&mut criterion);
    criterion.final_summary();
    let rounds = if testing { 1 } else { 8 };
    handler::table(rounds, cases);
    latency::table(rounds, &mut senders);
    storm::table(rounds, &mut senders);
    stop::table(rounds, &mut senders);
}

#[cfg(not(all(target_os = "linux", not(loom))))]
fn main() {}

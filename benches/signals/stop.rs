//! Subscribing and stopping, alone and under a storm of another signal.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use portcullis::signal::{self, counts};

use crate::senders::Senders;
use crate::{os, stats};

const STOPPED: i32 = libc::SIGWINCH;
const STORMED: i32 = libc::SIGTERM;
const STOPS: usize = 100;

pub(crate) fn criterion(criterion: &mut criterion::Criterion) {
    let mut group = criterion.benchmark_group("subscribe and stop");
    group.bench_function("both", |bencher| {
        bencher.iter(|| {
            let subscription = signal::subscribe([black_box(STOPPED)]).expect("subscribed");
            subscription.stop().expect("stopped")
        })
    });
    group.finish();
}

/// Wall-clock and processor nanoseconds of each stop.
fn stops() -> (Vec<u64>, Vec<u64>) {
    let one = |_| {
        let subscription = signal::subscribe([STOPPED]).expect("subscribed");
        let (wall, cpu) = (os::now(), os::cpu_time());
        subscription.stop().expect("stopped");
        // In the opposite order, so that neither holds the other.
        let cpu = os::cpu_time() - cpu;
        (os::now() - wall, cpu)
    };
    (0..STOPS).map(one).unzip()
}

/// In a thread that no signal interrupts.
fn masked_stops() -> (Vec<u64>, Vec<u64>) {
    os::masked(|| thread::spawn(stops)).join().expect("stops")
}

pub(crate) fn table(rounds: usize, senders: &mut Senders) {
    let mut storm_receiver = signal::subscribe([STORMED]).expect("subscribed");
    let stopper = storm_receiver.stopper();
    let receiver = os::masked(|| {
        thread::spawn(move || storm_receiver.iter().for_each(|d| drop(black_box(d))))
    });
    // Of each: idle and stormed, in an interrupted thread and in a masked one; wall and processor.
    let mut samples: [[Vec<u64>; 2]; 4] = Default::default();
    for _ in 0..rounds {
        for (at, stops) in [stops, masked_stops].into_iter().enumerate() {
            let mut add = |at: usize, (wall, cpu): (Vec<u64>, Vec<u64>)| {
                samples[at][0].extend(wall);
                samples[at][1].extend(cpu);
            };
            add(2 * at, stops());
            senders.storm(STORMED);
            thread::sleep(Duration::from_millis(10));
            add(2 * at + 1, stops());
            senders.calm();
            thread::sleep(Duration::from_millis(5));
        }
    }
    stopper.stop().expect("stopped");
    receiver.join().expect("the receiver ends");
    let names = ["interrupted: idle", "interrupted: storm", "masked: idle", "masked: storm"];
    let mut rows = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        for (which, clock) in ["wall", "cpu"].into_iter().enumerate() {
            let idle = stats::summary(&mut samples[at & !1][which]).0;
            let (median, late, max) = stats::summary(&mut samples[at][which]);
            let mut row = vec![format!("{name}, {clock}")];
            row.extend([median, late, max].map(stats::micros));
            row.extend([median, max].map(|time| stats::ratio(time, idle)));
            rows.push(row);
        }
    }
    let head = ["", "median", "p99", "max", "median/idle", "max/idle"];
    stats::table("d. stop, idle and under a storm of another signal (us)", &head, &rows);
    let seen = counts(STORMED).expect("a valid number");
    println!("  the storm: {} received, {} coalesced", seen.received, seen.coalesced);
}

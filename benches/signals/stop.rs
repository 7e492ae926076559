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

/// Wall-clock and processor nanoseconds of each stop, in a thread that no signal interrupts.
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

pub(crate) fn table(rounds: usize, senders: &mut Senders) {
    let mut storm_receiver = signal::subscribe([STORMED]).expect("subscribed");
    let stopper = storm_receiver.stopper();
    let receiver = os::masked(|| {
        thread::spawn(move || storm_receiver.iter().for_each(|delivery| _ = black_box(delivery)))
    });
    // Idle and stormed; wall and processor.
    let mut samples: [[Vec<u64>; 2]; 2] = Default::default();
    os::with_taker(|| {
        for _ in 0..rounds {
            for (at, storm) in [false, true].into_iter().enumerate() {
                if storm {
                    senders.storm(STORMED);
                }
                thread::sleep(Duration::from_millis(10));
                let (wall, cpu) = stops();
                senders.calm();
                samples[at][0].extend(wall);
                samples[at][1].extend(cpu);
            }
        }
    });
    stopper.stop().expect("stopped");
    receiver.join().expect("the receiver ends");
    let mut rows = Vec::new();
    for (at, name) in ["idle", "storm"].into_iter().enumerate() {
        for (which, clock) in ["wall", "cpu"].into_iter().enumerate() {
            let idle = stats::summary(&mut samples[0][which]).0;
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

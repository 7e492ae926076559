//! From kill to the program's code, within one process and from another.

use std::sync::atomic::Ordering::*;
use std::thread;
use std::time::Duration;

use crate::contestants::{self, DELIVERED, RECEIVED_AT, REFERENCE};
use crate::senders::Senders;
use crate::{os, stats};

const SAMPLES: usize = 250;
const WARM_UP: usize = 20;
/// In which a receiver goes to sleep again.
const SETTLE: Duration = Duration::from_micros(20);

pub(crate) fn table(rounds: usize, senders: &mut Senders) {
    measure("b1. kill to delivered, within one process (us)", rounds, |signal| {
        let stamp = os::now();
        os::kill(os::pid(), signal);
        await_delivery();
        RECEIVED_AT.load(SeqCst).saturating_sub(stamp)
    });
    measure("b2. kill to delivered, from another process (us)", rounds, |signal| {
        senders.send(signal);
        await_delivery();
        RECEIVED_AT.load(SeqCst).saturating_sub(senders.shared.stamp.load(SeqCst))
    });
}

fn await_delivery() {
    while DELIVERED.load(Acquire) == 0 {
        thread::park_timeout(Duration::from_secs(1));
    }
}

fn measure(title: &str, rounds: usize, mut one: impl FnMut(i32) -> u64) {
    let all = contestants::all();
    os::block(&os::set_of(all[0].signal));
    let mut samples = vec![Vec::new(); all.len()];
    for _ in 0..rounds {
        for (contestant, samples) in all.iter().zip(&mut samples) {
            let running = contestant.start(1);
            thread::sleep(Duration::from_millis(2));
            for at in 0..WARM_UP + SAMPLES {
                contestants::reset(true);
                thread::sleep(SETTLE);
                let took = one(contestant.signal);
                if at >= WARM_UP {
                    samples.push(took);
                }
            }
            running();
        }
    }
    let summaries: Vec<_> = samples.iter_mut().map(|samples| stats::summary(samples)).collect();
    let reference = all.iter().position(|c| c.name == REFERENCE).map_or(0, |at| summaries[at].0);
    let row = |(contestant, (median, late, _)): (&contestants::Contestant, &(u64, u64, u64))| {
        let name = contestant.name.to_string();
        vec![name, stats::micros(*median), stats::micros(*late), stats::ratio(*median, reference)]
    };
    let rows: Vec<_> = all.iter().zip(&summaries).map(row).collect();
    stats::table(title, &["", "median", "p99", "to ctrlc"], &rows);
}

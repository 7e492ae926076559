//! Deliveries per second while two processes send the same standard signal without a pause.

use std::sync::atomic::Ordering::*;
use std::thread;
use std::time::{Duration, Instant};

use crate::contestants::{self, DELIVERED, MERGED, REFERENCE};
use crate::senders::Senders;
use crate::{os, stats};

const ROUND: Duration = Duration::from_millis(100);
const WARM_UP: Duration = Duration::from_millis(10);

pub(crate) fn table(rounds: usize, senders: &mut Senders) {
    os::block(&os::set_of(libc::SIGVTALRM));
    for subscribers in [1, 10] {
        os::with_taker(|| measure(subscribers, rounds, senders));
    }
}

fn measure(subscribers: usize, rounds: usize, senders: &mut Senders) {
    let all: Vec<_> =
        contestants::all().into_iter().filter(|c| c.many || subscribers == 1).collect();
    let mut rates = vec![Vec::new(); all.len()];
    let mut sent = vec![Vec::new(); all.len()];
    let mut merged = vec![Vec::new(); all.len()];
    for _ in 0..rounds {
        for (at, contestant) in all.iter().enumerate() {
            let running = contestant.start(subscribers);
            thread::sleep(Duration::from_millis(2));
            senders.storm(contestant.signal);
            thread::sleep(WARM_UP);
            contestants::reset(false);
            let before = senders.shared.sent.load(SeqCst);
            let start = Instant::now();
            while start.elapsed() < ROUND {
                thread::sleep(ROUND.saturating_sub(start.elapsed()));
            }
            let seconds = start.elapsed().as_secs_f64();
            let delivered = DELIVERED.load(SeqCst) / subscribers as u64;
            let also = MERGED.load(SeqCst) / subscribers as u64;
            let offered = senders.shared.sent.load(SeqCst) - before;
            senders.calm();
            running();
            rates[at].push((delivered as f64 / seconds) as u64);
            merged[at].push(((delivered + also) as f64 / seconds) as u64);
            sent[at].push((offered as f64 / seconds) as u64);
        }
    }
    let rates: Vec<u64> = rates.iter_mut().map(|rates| stats::summary(rates).0).collect();
    let sent: Vec<u64> = sent.iter_mut().map(|sent| stats::summary(sent).0).collect();
    let merged: Vec<u64> = merged.iter_mut().map(|all| stats::summary(all).0).collect();
    let reference = all.iter().position(|c| c.name == REFERENCE).map_or(0, |at| rates[at]);
    let rows: Vec<_> = (0..all.len())
        .map(|at| {
            let (rate, sent) = (rates[at], sent[at]);
            let name = all[at].name.to_string();
            let both = merged[at];
            let ratios = [rate, both].map(|rate| stats::ratio(rate, reference));
            let mut row = vec![name];
            row.extend([rate, both, sent].map(|rate| rate.to_string()));
            row.extend(ratios);
            row
        })
        .collect();
    let title = format!("c. delivered per second under a storm, each of {subscribers} subscribers");
    stats::table(
        &title,
        &["", "delivered/s", "with merged", "sent/s", "to ctrlc", "with merged"],
        &rows,
    );
}

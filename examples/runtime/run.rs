//! All of it: begun, watched, and ended in order.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use portcullis::note::Deadline;
use portcullis::signal;

use super::account::{COUNTS, Status, get, table, wrong};
use super::callers::maker;
use super::collector::{MISSES_ONE, last_count};
use super::people::{
    ASKED_BY, OVER, all_received, is_over, operator, profiler, receiver, sender, spawn, subscribe,
    worker,
};
use super::queue::{QUEUE, Task};
use super::random::SEED;
use super::threads::{self, SLOTS, world};
use super::{shim, soak};

const WORKERS: usize = 4;
const TASKS: u64 = 16;
/// In which all threads must have left, at the end.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) seconds: u64,
    pub(crate) soak: bool,
    pub(crate) seed: u64,
    /// The collector leaves out a thread.
    pub(crate) misses_one: bool,
}

/// Whether all was well; the process dies by the signal that asked for the end, if one did.
pub(crate) fn run(options: Options) -> Result<bool, Box<dyn std::error::Error>> {
    SEED.store(options.seed, Relaxed);
    MISSES_ONE.store(options.misses_one, Relaxed);
    println!(
        "{WORKERS} workers, {TASKS} tasks, {SLOTS} slots; {} seconds, or Ctrl-C",
        options.seconds
    );
    let subscription = subscribe()?;
    let stopper = subscription.stopper();
    let mut own = threads::enter(world().birth()?)?;
    (0..TASKS).for_each(|part| QUEUE.push(&mut own, Task::new(part)));
    let mut threads: Vec<_> = (0..WORKERS).map(|_| spawn(&mut own, worker)).collect();
    threads.push(spawn(&mut own, operator));
    threads.push(spawn(&mut own, |own| receiver(own, subscription)));
    if options.soak {
        threads.extend(soak::begin(&mut own));
    }
    drop(own);
    threads.extend([thread::spawn(maker), thread::spawn(profiler)]);
    let sender = thread::spawn(sender);

    let mut status = Status::new();
    while !is_over() && status.elapsed() < Duration::from_secs(options.seconds) {
        status.tell();
        thread::sleep(Duration::from_millis(20));
    }
    OVER.store(true, Relaxed);
    shim::disarm();
    sender.join().map_err(|_| "the sender panicked")?;
    // All that was sent was accepted; all that was accepted is received.
    stopper.stop()?;
    if let Err(error) = world().shutdown_by(&Deadline::after(PATIENCE)) {
        wrong(&format!("the world was not left: {error}"));
    }
    threads.into_iter().try_for_each(thread::JoinHandle::join).map_err(|_| "a thread panicked")?;
    status.end();
    Ok(end())
}

fn end() -> bool {
    let (alive, owned) = last_count();
    table();
    let well = get(&COUNTS.wrong) == 0 && alive == owned && all_received();
    println!(
        "\n{}",
        if well { "nothing is lost, and nothing wrong" } else { "SOMETHING IS WRONG" }
    );
    let asked = ASKED_BY.load(Relaxed);
    if well && asked != 0 {
        println!("dying by signal {asked}, which asked for the end");
        eprintln!("{}", signal::die_by(asked));
    }
    well && asked == 0
}

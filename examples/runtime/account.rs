//! What happened: counted as it happens, told in a line meanwhile and in a table at the end.

use std::io::{IsTerminal, Write, stdout};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::collector::pauses;
use super::heap::HEAP;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident: $text:literal,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counts {
            $($(#[$doc])* pub(crate) $name: AtomicU64,)*
        }

        pub(crate) static COUNTS: Counts = Counts { $($name: AtomicU64::new(0),)* };

        fn rows() -> impl Iterator<Item = (&'static str, u64)> {
            [$(($text, COUNTS.$name.load(Relaxed)),)*].into_iter()
        }
    };
}

counts! {
    turns: "turns of tasks",
    scanned: "stacks scanned",
    suspended: "  of threads that did not stop in time",
    entries: "entries by threads of C",
    refused: "  refused, for want of a slot or of memory",
    callbacks: "callbacks from outside",
    born: "threads of C made and ended",
    sent: "signals sent, one by one",
    received: "signals received",
    samples: "samples of the profiler",
    outside: "  not sampled, for they were outside",
    gone: "  not sampled, for they had ended",
    busy: "  not sampled for another reason",
    operations: "operations on every thread",
    reached: "  threads reached by them",
    children: "forked, collected in the child, executed",
    rained: "signals for whichever thread",
    heard: "  of those, calls of a sink",
    masked: "times that a thread masked all",
    ended: "threads that ended in the middle",
    used_up: "times that all slots were taken",
    interrupted: "sleeps ended by EINTR",
    not_created: "threads refused, EAGAIN",
    not_mapped: "mappings refused, ENOMEM",
    not_sent: "signals to threads refused, EAGAIN",
    not_reached: "operations refused",
    not_forked: "forks refused by the system",
    wrong: "wrong",
}

pub(crate) fn add(count: &AtomicU64, by: u64) {
    count.fetch_add(by, Relaxed);
}

pub(crate) fn get(count: &AtomicU64) -> u64 {
    count.load(Relaxed)
}

/// Something that must not be.
pub(crate) fn wrong(what: &str) {
    if COUNTS.wrong.fetch_add(1, Relaxed) < 10 {
        eprintln!("\nWRONG: {what}");
    }
}

/// The line that tells how it goes.
pub(crate) struct Status {
    start: Instant,
    terminal: bool,
    /// When it is told next.
    next: Duration,
}

impl Status {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), terminal: stdout().is_terminal(), next: Duration::ZERO }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Over the one before it in a terminal, ten times a second; else a line a second.
    pub(crate) fn tell(&mut self) {
        if self.elapsed() < self.next {
            return;
        }
        let every = if self.terminal { 100 } else { 1000 };
        self.next += Duration::from_millis(every);
        let [start, end] = if self.terminal { ["\r\x1b[K", ""] } else { ["", "\n"] };
        // It fits a terminal of 80 columns.
        let count = |count| get(count);
        print!(
            "{start}{:5.1} s  {} turns  {} collections  {} entries  {} signals  {} wrong{end}",
            self.elapsed().as_secs_f32(),
            count(&COUNTS.turns),
            HEAP.cycle(),
            count(&COUNTS.entries),
            count(&COUNTS.received),
            count(&COUNTS.wrong),
        );
        // Who reads it may be gone.
        _ = stdout().flush();
    }

    pub(crate) fn end(&self) {
        if self.terminal {
            println!();
        }
    }
}

pub(crate) fn table() {
    let [allocated, alive] = HEAP.counts();
    println!("\n{:<44}{:>14}", "nodes allocated", allocated);
    println!("{:<44}{:>14}", "  reclaimed", allocated.saturating_sub(alive));
    println!("{:<44}{:>14}", "  alive at the end, by marks and by tasks", alive);
    println!("{:<44}{:>14}", "collections", HEAP.cycle());
    for (name, count) in rows().filter(|(_, count)| *count != 0) {
        println!("{name:<44}{count:>14}");
    }
    let mut pauses = pauses();
    pauses.sort_unstable();
    if let Some(last) = pauses.len().checked_sub(1) {
        let at = |share: usize| pauses[last * share / 100];
        println!("\n{:<44}{:>10}{:>10}{:>10}", "", "p50", "p99", "max");
        println!("{:<44}{:>10.1?}{:>10.1?}{:>10.1?}", "pauses", at(50), at(99), at(100));
    }
}

//! Collecting: the world stands, each thread's stack is looked at word by word, and the queue.
//!
//! From `stopped` on nothing here allocates, prints, or takes a lock that is not taken under a hold: a thread that
//! had to be suspended may be in the middle of that.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use portcullis::preempt::Interrupted;
use portcullis::world::with_stack;

use super::account::{COUNTS, add};
use super::heap::{HEAP, Marking, Ref};
use super::queue::QUEUE;
use super::threads::{Name, Runs, Stands, Stopped, Thread, world};

/// How long each pause was: from when somebody wants to collect, until all go on.
static PAUSES: Mutex<Vec<Duration>> = Mutex::new(Vec::new());

/// Whether the collector leaves out a thread: a check is one only if it fails where it has to.
pub(crate) static MISSES_ONE: AtomicBool = AtomicBool::new(false);

pub(crate) fn pauses() -> Vec<Duration> {
    PAUSES.lock().expect("nobody panics with it").clone()
}

/// Makes a node that refers to these. Whoever holds nodes holds them on his stack.
pub(crate) fn allocate(own: &mut impl Runs, left: Option<Ref>, right: Option<Ref>) -> Ref {
    for _ in 0..3 {
        if let Some(node) = HEAP.take(own.hold().record(), left, right) {
            return node;
        }
        let pause = collect(own);
        PAUSES.lock().expect("nobody panics with it").push(pause);
    }
    panic!("the heap is full: {:?}", HEAP.counts());
}

/// Collects, unless another thread does so before it is this one's turn. How long the pause was.
pub(crate) fn collect(own: &mut impl Runs) -> Duration {
    let (cycle, start, record) = (HEAP.cycle(), Instant::now(), own.record());
    with_stack(|top| {
        let top = top.expect("written for this processor");
        own.stopped(|stands| {
            if HEAP.cycle() != cycle {
                return;
            }
            let mut roots =
                Roots { marking: HEAP.mark(), skip: MISSES_ONE.load(Relaxed), made: made() };
            match stands {
                Stands::All(stop) => roots.mark(stop.threads()),
                Stands::Some(forced) => {
                    roots.mark(forced.threads());
                    forced.registers().for_each(|(name, it)| roots.mark_suspended(name, it));
                }
            }
            // The stopper's own.
            roots.scan(top.addr(), record.base());
            roots.finish();
        });
    });
    start.elapsed()
}

struct Roots<'a> {
    marking: Marking<'a>,
    /// Whether the next thread is left out.
    skip: bool,
    /// How many nodes threads have made, while none should.
    made: u64,
}

impl Roots<'_> {
    /// Every word there may be an address: what it was is not known.
    fn scan(&mut self, start: usize, end: usize) {
        if start >= end || std::mem::take(&mut self.skip) {
            return;
        }
        let mut at: *const usize = std::ptr::with_exposed_provenance(start);
        while at.addr() < end {
            // SAFETY: the stack of a thread that stands: mapped, and nobody writes it.
            self.marking.word(unsafe { at.read_volatile() });
            at = at.wrapping_add(1);
        }
        add(&COUNTS.scanned, 1);
    }

    /// One that stands where its handler found it.
    fn mark_suspended(&mut self, name: Name, registers: Interrupted<'_>) {
        let record = world().record_of(name).expect("it is in the world while it is suspended");
        registers.words().for_each(|word| self.marking.word(word));
        self.scan(registers.stack().addr(), record.base());
        add(&COUNTS.suspended, 1);
    }

    /// Those that stand at a poll, or outside.
    fn mark(&mut self, threads: impl Iterator<Item = Stopped>) {
        for thread in threads {
            // One that has nothing of the heap may have gone out without noting its stack.
            let top = thread.stack().map_or(usize::MAX, <*const usize>::addr);
            self.scan(top, thread.record().base());
        }
    }

    fn finish(self) {
        let (alive, owned) = finish(self.marking);
        // A thread ran on while the world stood; or less is alive than tasks have.
        add(&COUNTS.wrong, u64::from(made() != self.made) + u64::from(alive < owned));
    }
}

fn made() -> u64 {
    world().records().map(Thread::made).sum()
}

/// How many nodes are alive, and how many the tasks in the queue say that they have.
fn finish(mut marking: Marking<'_>) -> (u64, u64) {
    let queue = QUEUE.tasks.try_lock().expect("nobody stands who has it");
    queue.iter().filter_map(|task| task.tree).for_each(|tree| marking.root(tree));
    let owned = queue.iter().map(|task| task.nodes).sum();
    (marking.finish(), owned)
}

/// When no thread is in the world any more: exactly what tasks have is alive.
pub(crate) fn last_count() -> (u64, u64) {
    let stop = world().stop().expect("the calling thread is no member");
    let threads = stop.threads().count();
    let (alive, owned) = finish(HEAP.mark());
    add(&COUNTS.wrong, threads as u64 + u64::from(alive != owned));
    (alive, owned)
}

//! The list alone, taken from and given to by several threads at once.

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

use portcullis::extra_list::{ExtraList, Taker};

use crate::stats;

const RECORDS: usize = 16;

trait List: Sync {
    fn pair(&self);
}

impl List for ExtraList<64> {
    fn pair(&self) {
        let ticket = self.take(Taker::Thread).expect("more records than threads").redeem();
        self.give(black_box(ticket).expect("no fork")).expect("taken before");
    }
}

impl List for Mutex<Vec<usize>> {
    fn pair(&self) {
        let index = self.lock().expect("no panic").pop();
        let index = black_box(index).expect("more records than threads");
        self.lock().expect("no panic").push(index);
    }
}

/// Linked through itself, as Go's, under a mutex of the C library's.
struct Linked {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    /// The head, then each record's next; the number past the last is none.
    links: UnsafeCell<[usize; RECORDS + 1]>,
}

// SAFETY: the links are reached under the mutex.
unsafe impl Sync for Linked {}

impl Linked {
    fn new() -> Self {
        let mut links = core::array::from_fn(|index| index);
        links[0] = 1;
        (1..=RECORDS).for_each(|record| links[record] = (record + 1) % (RECORDS + 1));
        let mutex = UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER);
        Self { mutex, links: UnsafeCell::new(links) }
    }

    fn locked<R>(&self, f: impl FnOnce(&mut [usize; RECORDS + 1]) -> R) -> R {
        // SAFETY: a mutex that is never moved while threads use it.
        unsafe { libc::pthread_mutex_lock(self.mutex.get()) };
        // SAFETY: under the mutex.
        let result = f(unsafe { &mut *self.links.get() });
        // SAFETY: locked above.
        unsafe { libc::pthread_mutex_unlock(self.mutex.get()) };
        result
    }
}

impl List for Linked {
    fn pair(&self) {
        let index = self.locked(|links| {
            let first = links[0];
            links[0] = links[first];
            first
        });
        assert_ne!(black_box(index), 0, "more records than threads");
        self.locked(|links| {
            links[index] = links[0];
            links[0] = index;
        });
    }
}

/// Pairs a millisecond, of so many threads.
fn throughput(list: &dyn List, threads: usize) -> u64 {
    const WINDOW: Duration = Duration::from_millis(4);
    let (over, pairs) = (AtomicBool::new(false), AtomicU64::new(0));
    let ready = Barrier::new(threads + 1);
    let work = || {
        ready.wait();
        let mut own = 0;
        while !over.load(Relaxed) {
            (0..16).for_each(|_| list.pair());
            own += 16;
        }
        pairs.fetch_add(own, Relaxed);
    };
    thread::scope(|scope| {
        (0..threads).for_each(|_| _ = scope.spawn(work));
        ready.wait();
        thread::sleep(WINDOW);
        over.store(true, Relaxed);
    });
    pairs.into_inner() / WINDOW.as_millis() as u64
}

/// Prints the throughput of each list; returns the promise and what was measured of it.
pub(crate) fn table(rounds: usize) -> Vec<Vec<String>> {
    let ours = ExtraList::<64>::new(0);
    fill(&ours);
    let vector = Mutex::new((0..RECORDS).collect::<Vec<_>>());
    let linked = Linked::new();
    let lists: [&dyn List; 3] = [&ours, &vector, &linked];
    let (mut rows, mut promised) = (Vec::new(), Vec::new());
    for threads in [1, 2, 4, 8] {
        let mut samples: [Vec<u64>; 3] = Default::default();
        for _ in 0..rounds {
            for (list, samples) in lists.iter().zip(&mut samples) {
                samples.push(throughput(*list, threads));
            }
        }
        // Each round's own ratio to the faster of the others.
        let mut ratios: Vec<u64> = (0..rounds)
            .map(|round| samples[1][round].max(samples[2][round]) * 1000 / samples[0][round].max(1))
            .collect();
        let ratio = stats::summary(&mut ratios).0 as f64 / 1000.0;
        let medians = samples.map(|mut samples| stats::summary(&mut samples).0);
        let mut row = vec![format!("{threads} threads")];
        row.extend(medians.map(|median| median.to_string()));
        rows.push(row);
        let name = format!("mutexes, to the list, {threads} threads");
        promised.push(vec![name, "1.00".into(), format!("{ratio:.2}")]);
    }
    let head = ["Take and give, pairs a millisecond", "ours", "Mutex<Vec>", "pthread list"];
    stats::table(head[0], &["", head[1], head[2], head[3]], &rows);
    promised
}

/// Takes all there are, for as long as more are created, and gives them back.
fn fill(list: &ExtraList<64>) {
    let mut held = Vec::new();
    while held.len() < RECORDS {
        list.replenish(|_| true);
        held.push(list.take(Taker::Thread).expect("just created").redeem().expect("no fork"));
    }
    held.into_iter().for_each(|ticket| list.give(ticket).expect("taken before"));
}

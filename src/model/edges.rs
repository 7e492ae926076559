//! What happens before what, in the rows of one execution.

use super::lanes::{About, Cause, Detail, Row};
use super::state::MAX_THREADS;
use core::sync::atomic::Ordering;
use std::collections::HashMap;

/// From the row that comes first to the one that comes after it, on another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An acquiring read, from the store that released what it read.
    Read,
    /// The same, of one of several equal stores: the last that it may have been.
    Guess,
    /// A thread begins, or is joined.
    Life,
    /// A lock is taken, from who gave it back.
    Lock,
    /// A sleep ends.
    Wake,
    /// A handler is entered, from who sent the signal.
    Signal,
    /// A thread stops, or runs a barrier, for who asked.
    Ask,
}

/// The edges of these rows, in the order of their ends.
pub(super) fn of(rows: &[Row]) -> Vec<Edge> {
    let mut search = Search { rows, ..Search::default() };
    for (index, row) in rows.iter().enumerate() {
        search.step(index, row);
    }
    search.edges
}

/// For each thread the rows of its that are known.
type Clock = [usize; MAX_THREADS];

/// What a store made known: the row that its edge begins at, and all that was done by then.
#[derive(Clone, Copy)]
struct Released {
    row: usize,
    clock: Clock,
}

struct Store {
    row: usize,
    slot: usize,
    value: u64,
    released: Option<Released>,
}

#[derive(Default)]
struct Object {
    stores: Vec<Store>,
    unlocked: Option<Released>,
}

#[derive(Default)]
struct Search<'a> {
    rows: &'a [Row],
    edges: Vec<Edge>,
    objects: HashMap<u32, Object>,
    clocks: [Clock; MAX_THREADS],
    begun: [bool; MAX_THREADS],
    /// At the last fence that releases.
    fenced: [Option<Clock>; MAX_THREADS],
    /// What was read since the last fence that acquires.
    relaxed: [Vec<Released>; MAX_THREADS],
    spawned: [Option<Released>; MAX_THREADS],
    exited: [Option<Released>; MAX_THREADS],
}

impl Search<'_> {
    fn step(&mut self, index: usize, row: &Row) {
        let me = row.slot;
        self.clocks[me][me] = index + 1;
        if !core::mem::replace(&mut self.begun[me], true)
            && let Some(spawned) = self.spawned[me]
        {
            self.learn(index, spawned, Kind::Life);
        }
        let now = Released { row: index, clock: self.clocks[me] };
        match (row.about, row.op) {
            (About::Thread(slot), "spawn") => self.spawned[slot] = Some(now),
            (About::Thread(slot), "join") => {
                if let Some(exited) = self.exited[slot] {
                    self.learn(index, exited, Kind::Life);
                }
            }
            (About::Cause(cause), op) => self.caused(index, cause, kind(op)),
            (About::Object { id, .. }, "lock" | "try_lock") => {
                if let Some(unlocked) = self.objects.entry(id).or_default().unlocked {
                    self.learn(index, unlocked, Kind::Lock);
                }
            }
            (About::Object { id, .. }, "unlock") => {
                self.objects.entry(id).or_default().unlocked = Some(now);
            }
            (About::Object { id, initial }, _) => self.access(index, id, initial),
            (About::Nothing, "thread exits") => self.exited[me] = Some(now),
            (About::Nothing | About::Thread(_), _) => {
                if let Detail::Fence(order) = row.detail {
                    self.fence(index, order);
                }
            }
        }
    }

    /// Row `to` knows what `released` made known.
    fn learn(&mut self, to: usize, released: Released, kind: Kind) {
        self.draw(released.row, to, kind);
        let known = &mut self.clocks[self.rows[to].slot];
        *known = joined(*known, released.clock);
    }

    /// Between two threads; of several reads of one store by a thread, the first.
    fn draw(&mut self, from: usize, to: usize, kind: Kind) {
        let slot = |row: usize| self.rows[row].slot;
        let drawn = |edge: &Edge| edge.from == from && slot(edge.to) == slot(to);
        if slot(from) != slot(to) && !self.edges.iter().rev().take(FAR).any(drawn) {
            self.edges.push(Edge { from, to, kind });
        }
    }

    /// Ends of sleeps, signals: they order nothing that a program may rely on.
    fn caused(&mut self, to: usize, cause: Cause, kind: Kind) {
        let mut rows = self.rows.iter().enumerate().skip(cause.row as usize);
        if let Some((from, _)) = rows.find(|(_, row)| row.slot == cause.slot as usize) {
            // A barrier is asked for by a call that ends when it was run.
            self.draw(from.min(to), from.max(to), kind);
        }
    }

    fn access(&mut self, index: usize, id: u32, initial: u64) {
        let row = &self.rows[index];
        match row.detail {
            Detail::Load { order, seen, .. } => {
                let Some((store, sure)) = self.candidates(row.slot, id, initial, seen) else {
                    return;
                };
                self.read(index, id, store, order, sure);
            }
            Detail::Store { value, order } => self.write(index, id, value, order, false),
            Detail::Swap { order, new, .. } => {
                self.read_last(index, id, order);
                self.write(index, id, new, order, true);
            }
            Detail::Cas { new, order, result, .. } => {
                self.read_last(index, id, order);
                if result.is_ok() {
                    self.write(index, id, new, order, true);
                }
            }
            _ => {}
        }
    }

    /// The last store of what was seen, of those that may have been read; and whether it is the only one.
    fn candidates(
        &mut self,
        slot: usize,
        id: u32,
        initial: u64,
        seen: u64,
    ) -> Option<(usize, bool)> {
        let clock = self.clocks[slot];
        let stores = &self.objects.get(&id)?.stores;
        // Nobody reads what is older than a store that is known.
        let known = stores.iter().rposition(|store| store.row < clock[store.slot]);
        let mut found =
            (known.unwrap_or(0)..stores.len()).rev().filter(|&at| stores[at].value == seen);
        let last = found.next()?;
        let first = known.is_none() && initial == seen;
        Some((last, found.next().is_none() && !first))
    }

    /// A read-modify-write reads the last store.
    fn read_last(&mut self, index: usize, id: u32, order: Ordering) {
        if let Some(last) =
            self.objects.get(&id).and_then(|object| object.stores.len().checked_sub(1))
        {
            self.read(index, id, last, order, true);
        }
    }

    fn read(&mut self, index: usize, id: u32, store: usize, order: Ordering, sure: bool) {
        let Some(released) = self.objects[&id].stores[store].released else { return };
        match (acquires(order), sure) {
            (true, true) => self.learn(index, released, Kind::Read),
            (true, false) => self.draw(released.row, index, Kind::Guess),
            (false, true) => self.relaxed[self.rows[index].slot].push(released),
            (false, false) => {}
        }
    }

    fn write(&mut self, index: usize, id: u32, value: u64, order: Ordering, modifies: bool) {
        let slot = self.rows[index].slot;
        let own = if releases(order) { Some(self.clocks[slot]) } else { self.fenced[slot] };
        let own = own.map(|clock| Released { row: index, clock });
        let stores = &mut self.objects.entry(id).or_default().stores;
        // Who reads what was modified reads what released it before.
        let before = stores.last().filter(|_| modifies).and_then(|last| last.released);
        let released = match (own, before) {
            (Some(own), Some(before)) => {
                Some(Released { row: own.row, clock: joined(own.clock, before.clock) })
            }
            (own, before) => own.or(before),
        };
        stores.push(Store { row: index, slot, value, released });
    }

    fn fence(&mut self, index: usize, order: Ordering) {
        let slot = self.rows[index].slot;
        if acquires(order) {
            for released in core::mem::take(&mut self.relaxed[slot]) {
                self.learn(index, released, Kind::Read);
            }
        }
        if releases(order) {
            self.fenced[slot] = Some(self.clocks[slot]);
        }
    }
}

fn joined(one: Clock, other: Clock) -> Clock {
    core::array::from_fn(|slot| one[slot].max(other[slot]))
}

fn acquires(order: Ordering) -> bool {
    !matches!(order, Ordering::Relaxed | Ordering::Release)
}

fn releases(order: Ordering) -> bool {
    !matches!(order, Ordering::Relaxed | Ordering::Acquire)
}

fn kind(op: &str) -> Kind {
    match op {
        "futex wait: awake" | "= resumed" => Kind::Wake,
        "= stopped" | "= barrier" => Kind::Ask,
        _ => Kind::Signal,
    }
}

/// So many of the last edges are looked through for one like the next.
const FAR: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use core::panic::Location;
    use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

    fn row(slot: usize, op: &'static str, detail: Detail, about: About) -> Row {
        Row { slot, depth: 0, op, detail, at: Location::caller(), about }
    }

    fn store(slot: usize, value: u64, order: Ordering) -> Row {
        row(slot, "store", Detail::Store { value, order }, About::plain(1))
    }

    fn load(slot: usize, seen: u64, order: Ordering) -> Row {
        row(slot, "load", Detail::Load { order, seen, unseen: None }, About::plain(1))
    }

    fn add(slot: usize, old: u64, order: Ordering) -> Row {
        let detail = Detail::Swap { value: 1, order, old, new: old + 1 };
        row(slot, "fetch_add", detail, About::plain(1))
    }

    fn fence(slot: usize, order: Ordering) -> Row {
        row(slot, "fence", Detail::Fence(order), About::Nothing)
    }

    fn drawn(rows: &[Row]) -> Vec<(usize, usize, Kind)> {
        of(rows).into_iter().map(|edge| (edge.from, edge.to, edge.kind)).collect()
    }

    /// An acquiring read of a release store, the first of several; none that is relaxed on either side.
    #[test]
    fn reads_acquire_what_was_released() {
        let rows = [store(0, 1, Release), load(1, 1, Acquire), load(1, 1, Acquire)];
        assert_eq!(drawn(&rows), [(0, 1, Kind::Read)]);
        assert_eq!(drawn(&[store(0, 1, Relaxed), load(1, 1, Acquire)]), []);
        assert_eq!(drawn(&[store(0, 1, Release), load(1, 1, Relaxed)]), []);
        assert_eq!(drawn(&[store(0, 1, Release), load(0, 1, Acquire)]), []);
        assert_eq!(drawn(&[store(0, 1, Release), load(1, 0, Acquire)]), []);
    }

    /// Through a read-modify-write of a third thread, relaxed; not through a store.
    #[test]
    fn what_is_modified_stays_released() {
        let rows = [store(0, 1, Release), add(2, 1, Relaxed), load(1, 2, Acquire)];
        assert_eq!(drawn(&rows), [(0, 2, Kind::Read)]);
        assert_eq!(drawn(&[store(0, 1, Release), store(2, 2, Relaxed), load(1, 2, Acquire)]), []);
        // Its own edge is the nearer one.
        let rows = [store(0, 1, Release), add(2, 1, Release), load(1, 2, Acquire)];
        assert_eq!(drawn(&rows), [(1, 2, Kind::Read)]);
    }

    /// Fences make relaxed accesses release and acquire.
    #[test]
    fn fences_count() {
        let rows =
            [fence(0, Release), store(0, 1, Relaxed), load(1, 1, Relaxed), fence(1, Acquire)];
        assert_eq!(drawn(&rows), [(1, 3, Kind::Read)]);
    }

    /// Of equal stores the reader may have read either, unless it knows of the later one.
    #[test]
    fn equal_stores_are_told_apart_where_they_can_be() {
        let rows = [store(0, 1, Release), store(2, 1, Release), load(1, 1, Acquire)];
        assert_eq!(drawn(&rows), [(1, 2, Kind::Guess)]);
        let knows =
            [store(2, 1, Release), store(1, 5, Relaxed), store(0, 1, Release), load(1, 1, Acquire)];
        assert_eq!(drawn(&knows), [(2, 3, Kind::Read)]);
        // The value at first counts too.
        assert_eq!(drawn(&[store(0, 0, Release), load(1, 0, Acquire)]), [(0, 1, Kind::Guess)]);
    }

    /// Births, ends, locks, wake-ups, signals.
    #[test]
    fn the_kernel_makes_edges() {
        let nothing = || Detail::Nothing;
        let by = |slot, row| About::Cause(Cause { slot, row });
        let rows = [
            row(0, "spawn", nothing(), About::Thread(1)),
            row(0, "futex wait: sleeps", nothing(), About::plain(1)),
            row(1, "lock", nothing(), About::plain(2)),
            row(1, "unlock", nothing(), About::plain(2)),
            row(1, "futex wake", nothing(), About::plain(1)),
            row(0, "futex wait: awake", nothing(), by(1, 4)),
            row(1, "tgkill", nothing(), About::Nothing),
            row(0, "lock", nothing(), About::plain(2)),
            row(0, "> handler of", nothing(), by(1, 6)),
            row(1, "thread exits", nothing(), About::Nothing),
            row(0, "join", nothing(), About::Thread(1)),
        ];
        let expected = [
            (0, 2, Kind::Life),
            (4, 5, Kind::Wake),
            (3, 7, Kind::Lock),
            (6, 8, Kind::Signal),
            (9, 10, Kind::Life),
        ];
        assert_eq!(drawn(&rows), expected);
    }

    /// Who runs a barrier does so before the call that asked for it returns.
    #[test]
    fn barriers_are_before_their_call() {
        let rows = [
            row(1, "= barrier", Detail::Nothing, About::Cause(Cause { slot: 0, row: 0 })),
            row(0, "membarrier", Detail::Nothing, About::Nothing),
        ];
        assert_eq!(drawn(&rows), [(0, 1, Kind::Ask)]);
    }
}

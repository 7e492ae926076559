//! Go's needm and dropm over lockextra, each step where a version of it had it.
//!
//! golang/go runtime/proc.go and signal_unix.go before f8e64186 (S1), before 368c4011 (S4) and
//! since; one thread record or two, `g` a word for each thread.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering as Std};

use super::super::support::Payload;
use crate::model::{Handler, How, Kernel, SigSet, thread, violation};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, AtomicU64, relax};

const NIL: u32 = 0;
const LOCKED: u32 = u32::MAX;
const THREADS: usize = 4;
/// Stacks by number: the records' own from here on.
const OWN: u32 = 100;

/// The order of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// 368c4011 and efd93a412e: masked first, restored last, from a local.
    S4,
    /// Nothing is masked; `g` before the stack.
    BeforeS1,
    /// Masked after the record is taken.
    BeforeS4,
    /// f8e64186's dropm: the mask is restored, then the list unlocked.
    S1,
    /// The mask is restored last, but from the record that was given.
    MaskFromRecord,
    /// The record is used after it was given (e252dcf9d3 mended that in mexit).
    UsedAfterGiven,
    /// A stack that was adopted stays the record's (before 292558be02).
    AdoptedStackKept,
    /// The record says "in C" until the signals are open.
    FlagClearedLate,
    /// lockextra counts a record in use, whatever it was locked for (before 7911f7c21d).
    LockCountsInUse,
    /// A waiter that was served takes itself off the count, which Go's never do.
    ServedUncounted,
    /// Threads leave the last record to handlers, which Go's do not.
    Reserve,
}

pub(super) struct Go {
    kernel: Kernel,
    order: Order,
    head: AtomicU32,
    records: [Record; 2],
    g: [AtomicU32; THREADS],
    /// extraMLength, extraMInUse, extraMWaiters: read when all is over, so std's too.
    length: AtomicUsize,
    in_use: AtomicUsize,
    waiters: AtomicUsize,
    /// What the model knows and the algorithm does not: std's, of no interest to loom.
    locks: [AtomicBool; THREADS],
    taken: [AtomicUsize; THREADS],
    runs_go: [AtomicBool; THREADS],
}

struct Record {
    next: AtomicU32,
    mask: AtomicU64,
    stack: AtomicU32,
    /// isExtraInC.
    in_c: AtomicU32,
    data: Payload,
}

pub(super) struct Needed {
    index: usize,
    old_stack: Option<usize>,
}

fn me() -> usize {
    thread::current().number() % THREADS
}

impl Go {
    pub(super) fn new(kernel: Kernel, order: Order, records: u32) -> Self {
        let record = |index: u32| Record {
            next: AtomicU32::new(if index + 1 < records { index + 2 } else { NIL }),
            mask: AtomicU64::new(0),
            stack: AtomicU32::new(OWN + index),
            in_c: AtomicU32::new(1),
            data: Payload::new(),
        };
        Self {
            kernel,
            order,
            head: AtomicU32::new(1),
            records: [record(0), record(1)],
            g: core::array::from_fn(|_| AtomicU32::new(0)),
            length: (records as usize).into(),
            in_use: 0.into(),
            waiters: 0.into(),
            locks: core::array::from_fn(|_| AtomicBool::new(false)),
            taken: core::array::from_fn(|_| AtomicUsize::new(0)),
            runs_go: core::array::from_fn(|_| AtomicBool::new(false)),
        }
    }

    /// lockextra. Where it would spin for what its own thread holds, it says so.
    fn lock(&self, nil_ok: bool) -> u32 {
        let mut counted = false;
        loop {
            let seen = self.head.load(Relaxed);
            if seen == LOCKED && self.locks[me()].load(Std::Relaxed) {
                violation("self-deadlock: lockextra awaits the frame that it interrupted");
            }
            let empty = seen == NIL && !nil_ok;
            if empty && self.taken[me()].load(Std::Relaxed) > 0 {
                violation("the handler waits for the record that its own thread took");
            }
            if empty && !counted {
                counted = true;
                self.waiters.fetch_add(1, Std::Relaxed);
            }
            let free = seen != LOCKED && !empty;
            if free && self.head.compare_exchange(seen, LOCKED, Acquire, Relaxed).is_ok() {
                break self.locked(seen, counted);
            }
            relax();
        }
    }

    fn locked(&self, head: u32, counted: bool) -> u32 {
        self.locks[me()].store(true, Std::Relaxed);
        if self.order == Order::LockCountsInUse {
            self.in_use.fetch_add(1, Std::Relaxed);
        }
        if counted && self.order == Order::ServedUncounted {
            self.waiters.fetch_sub(1, Std::Relaxed);
        }
        head
    }

    fn unlock(&self, head: u32) {
        self.head.store(head, Release);
        self.locks[me()].store(false, Std::Relaxed);
    }

    /// getExtraM.
    pub(super) fn pop(&self) -> usize {
        loop {
            match self.pop_from(self.lock(false)) {
                None => relax(),
                Some(index) => return index,
            }
        }
    }

    /// The same for a thread that does not wait.
    pub(super) fn try_pop(&self) -> Option<usize> {
        self.pop_from(self.lock(true))
    }

    /// Of the list, locked, with this head.
    fn pop_from(&self, head: u32) -> Option<usize> {
        let index = (head != NIL).then(|| head as usize - 1);
        let next = index.map_or(NIL, |index| self.records[index].next.load(Relaxed));
        let reserved = self.order == Order::Reserve && next == NIL && self.kernel.depth() == 0;
        let Some(index) = index.filter(|_| !reserved) else {
            self.unlock(head);
            return None;
        };
        self.taken[me()].fetch_add(1, Std::Relaxed);
        self.length.fetch_sub(1, Std::Relaxed);
        if self.order != Order::LockCountsInUse {
            self.in_use.fetch_add(1, Std::Relaxed);
        }
        self.unlock(next);
        Some(index)
    }

    /// putExtraM.
    pub(super) fn push(&self, index: usize) {
        self.in_use.fetch_sub(1, Std::Relaxed);
        let head = self.lock(true);
        self.push_onto(head, index);
    }

    fn push_onto(&self, head: u32, index: usize) {
        self.records[index].next.store(head, Relaxed);
        self.taken[me()].fetch_sub(1, Std::Relaxed);
        self.length.fetch_add(1, Std::Relaxed);
        self.unlock(index as u32 + 1);
    }

    /// newextram: how many records it would make.
    pub(super) fn to_create(&self) -> usize {
        match (self.waiters.swap(0, Std::Relaxed), self.length.load(Std::Relaxed)) {
            (0, 0) => 1,
            (waiters, _) => waiters,
        }
    }

    pub(super) fn in_use(&self) -> usize {
        self.in_use.load(Std::Relaxed)
    }

    fn block(&self) -> SigSet {
        self.kernel.sigmask(How::Block, SigSet::ALL)
    }

    fn restore(&self, mask: SigSet) {
        self.kernel.sigmask(How::Set, mask);
    }

    /// minitSignalStack: adopts the thread's stack, or installs the record's.
    fn enter_stack(&self, record: &Record) -> Option<usize> {
        let old = self.kernel.altstack();
        match old {
            Some(host) if self.order == Order::AdoptedStackKept => {
                record.stack.store(host as u32, Relaxed);
            }
            Some(_) => {}
            None => {
                let own = record.stack.load(Relaxed) as usize;
                let _ = self.kernel.sigaltstack(Some(own));
            }
        }
        old
    }

    fn set_g(&self, index: Option<usize>) {
        self.g[me()].store(index.map_or(0, |index| index as u32 + 1), Relaxed);
    }

    pub(super) fn needm(&self) -> Needed {
        self.needm_with(|| ())
    }

    /// `taken` happens when the record was taken and nothing else was done.
    pub(super) fn needm_with(&self, taken: impl FnOnce()) -> Needed {
        let masks_late = matches!(self.order, Order::BeforeS1 | Order::BeforeS4);
        let early = (!masks_late).then(|| self.block());
        let index = self.pop();
        taken();
        let record = &self.records[index];
        let mask = early.or_else(|| (self.order != Order::BeforeS1).then(|| self.block()));
        if let Some(mask) = mask {
            record.mask.store(mask.bits(), Relaxed);
        }
        if self.order == Order::BeforeS1 {
            // There was no flag yet.
            record.in_c.store(0, Relaxed);
            self.set_g(Some(index));
        }
        let old_stack = self.enter_stack(record);
        self.set_g(Some(index));
        if self.order != Order::FlagClearedLate {
            record.in_c.store(0, Relaxed);
        }
        mask.into_iter().for_each(|mask| self.restore(mask));
        record.in_c.store(0, Relaxed);
        self.runs_go[me()].store(true, Std::Relaxed);
        record.data.set(1);
        Needed { index, old_stack }
    }

    pub(super) fn dropm(&self, needed: Needed) {
        let record = &self.records[needed.index];
        self.runs_go[me()].store(false, Std::Relaxed);
        record.in_c.store(1, Relaxed);
        let unminit = || {
            let _ = self.kernel.sigaltstack(needed.old_stack);
            self.set_g(None);
        };
        let from_record = || SigSet::from_bits(record.mask.load(Relaxed));
        match self.order {
            Order::BeforeS1 => {
                unminit();
                self.push(needed.index);
            }
            Order::S1 => {
                self.in_use.fetch_sub(1, Std::Relaxed);
                let head = self.lock(true);
                self.block();
                unminit();
                self.restore(from_record());
                self.push_onto(head, needed.index);
            }
            Order::MaskFromRecord => {
                self.block();
                unminit();
                self.push(needed.index);
                self.restore(from_record());
            }
            _ => {
                let mask = from_record();
                self.block();
                unminit();
                self.push(needed.index);
                if self.order == Order::UsedAfterGiven {
                    record.data.set(2);
                }
                self.restore(mask);
            }
        }
    }

    /// sigtrampgo: a thread without `g`, or whose record says "in C", is foreign.
    pub(super) fn handle(&self) {
        let g = self.g[me()].load(Relaxed);
        let foreign = g == 0 || self.records[g as usize - 1].in_c.load(Relaxed) == 1;
        if foreign {
            if self.runs_go[me()].load(Std::Relaxed) {
                violation("the handler took the runtime's code for foreign code");
            }
            let outer = self.g[me()].load(Relaxed);
            let needed = self.needm();
            self.dropm(needed);
            self.g[me()].store(outer, Relaxed);
        } else if !self.kernel.on_altstack() {
            violation("handler on the wrong stack");
        }
    }

    /// The thread's record says whether it is in C.
    pub(super) fn set_in_c(&self, needed: &Needed, in_c: bool) {
        self.records[needed.index].in_c.store(u32::from(in_c), Relaxed);
    }

    /// Returns to C without dropm.
    pub(super) fn keep(&self, _: Needed) {
        self.runs_go[me()].store(false, Std::Relaxed);
    }
}

pub(super) fn handler(go: &std::sync::Arc<Go>) -> Handler {
    let go = std::sync::Arc::clone(go);
    Handler::new(move |_| go.handle()).onstack()
}

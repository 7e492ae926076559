//! The list of spare records: what Go counts beside it, and what the shipped one does without.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Std};

use super::super::needm::{Go, Order, handler};
use super::super::{Bound, Control, Model};
use super::one_call;
use crate::model::{Kernel, sig, thread, violation};
use crate::note::{Note, Park};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::{AtomicU32, AtomicU64};

/// golang/go#60540 (B16): lockextra counts a record in use, and the give of one locks too.
/// Passes: `extra_list::counts_add_up`: one word, no counter beside the list. Go's since
/// 7911f7c21d: `historical::go_368c4011_order`.
#[test]
fn go60540_in_use_leaks() {
    Control::new("historical::go60540_in_use_leaks", "a record in use that nobody holds")
        .actors(2)
        .check(|| one_call(Order::LockCountsInUse, 2));
}

/// A foreign thread's handler waits for a record, is served by one that is given back, and is
/// gone. Then an attached thread looks how many are wanted.
fn served_waiter(order: Order) {
    let kernel = Kernel::new().at_most(0);
    let go = Arc::new(Go::new(kernel, order, 2));
    let needed = go.needm();
    let another = go.pop();
    let theirs = Arc::clone(&go);
    let waiter = thread::spawn("waiter", move || {
        let needed = theirs.needm();
        theirs.dropm(needed);
    });
    go.push(another);
    waiter.join();
    if go.to_create() != 0 {
        violation("created for nobody: one is spare, and nobody waits");
    }
    go.dropm(needed);
}

/// B9, in Go today: a waiter counts itself, is served by a record given back, and is created for
/// all the same.
/// Passes: `extra_list::create_hook_keeps_one_more`: who is served is no longer counted.
#[test]
fn waiter_overcount() {
    Control::new("historical::waiter_overcount", "created for nobody")
        .actors(2)
        .check(|| served_waiter(Order::S4));
}

/// The same with waiters that take themselves off the count.
#[test]
fn waiter_uncounted() {
    Model::new("historical::waiter_uncounted")
        .actors(2)
        .check(|| served_waiter(Order::ServedUncounted));
}

/// Who holds every record that a thread may have awaits the next step of a foreign thread, and
/// sends it a signal.
fn exhausted(order: Order) {
    let kernel = Kernel::new().at_most(1);
    let go = Arc::new(Go::new(kernel, order, 2));
    kernel.sigaction(sig::USR1, handler(&go));
    let stepped = Arc::new(Note::new());
    let steps = Arc::clone(&stepped);
    let foreign = thread::spawn("foreign", move || steps.wake());
    let held: Vec<_> = core::iter::from_fn(|| go.try_pop()).collect();
    kernel.tgkill(foreign.id(), sig::USR1);
    stepped.sleep(None);
    held.into_iter().for_each(|index| go.push(index));
    foreign.join();
}

/// 368c4011's order on a list without a reserve: the handler awaits another thread's record, and
/// that thread the code which the handler interrupted.
/// Passes: `attach::handler_needs_no_holder`: the reserve.
#[test]
fn sentinel_lock_in_reserve() {
    Control::new("historical::sentinel_lock_in_reserve", "no progress")
        .actors(3)
        .bound(Bound::At(3))
        .max_branches(300)
        .stands("foreign", "in the handler of SIGUSR1, ")
        .stands("main", "futex wait: sleeps 2 at note.rs")
        .check(|| exhausted(Order::S4));
}

/// The same with the last record kept for handlers.
#[test]
fn sentinel_lock_with_reserve() {
    Model::new("historical::sentinel_lock_with_reserve")
        .actors(3)
        .bound(Bound::At(3))
        .max_branches(300)
        .check(|| exhausted(Order::Reserve));
}

/// A list by compare-exchange of its head, which may carry a count of its changes.
struct Linked {
    tagged: bool,
    head: AtomicU64,
    next: [AtomicU32; 3],
    /// The model's, of no interest to loom.
    owned: [AtomicBool; 3],
}

impl Linked {
    fn new(tagged: bool) -> Self {
        let (head, next) = (AtomicU64::new(1), [2, 3, 0].map(AtomicU32::new));
        Self { tagged, head, next, owned: [false; 3].map(AtomicBool::new) }
    }

    fn change(&self, seen: u64, first: u32) -> bool {
        let tag = if self.tagged { (seen >> 32) + 1 } else { 0 };
        let new = tag << 32 | u64::from(first);
        self.head.compare_exchange(seen, new, AcqRel, Relaxed).is_ok()
    }

    fn pop(&self) -> Option<usize> {
        loop {
            let seen = self.head.load(Acquire);
            let index = (seen as u32 as usize).checked_sub(1)?;
            let next = self.next[index].load(Relaxed);
            if self.change(seen, next) {
                if self.owned[index].swap(true, Std::Relaxed) {
                    violation("one record, two owners");
                }
                return Some(index);
            }
        }
    }

    fn push(&self, index: usize) {
        self.owned[index].store(false, Std::Relaxed);
        loop {
            let seen = self.head.load(Acquire);
            self.next[index].store(seen as u32, Relaxed);
            if self.change(seen, index as u32 + 1) {
                return;
            }
        }
    }
}

/// A thread has read the head and its next, while another takes both and gives the first back.
fn linked_list(tagged: bool) {
    let list = Arc::new(Linked::new(tagged));
    let theirs = Arc::clone(&list);
    let other = thread::spawn("other", move || {
        let first = theirs.pop();
        let _kept = theirs.pop();
        first.into_iter().for_each(|index| theirs.push(index));
    });
    // The second of these may be what the other has kept.
    let _ = (list.pop(), list.pop());
    other.join();
}

/// Why nothing is linked in the shipped list: the head is exchanged for a next that is no longer
/// its next.
/// Passes: `extra_list::two_takers_one_spare`: a number is taken by its own word.
#[test]
fn untagged_list_aba() {
    Control::new("historical::untagged_list_aba", "one record, two owners")
        .actors(2)
        .check(|| linked_list(false));
}

/// The same with a count of the changes beside the head.
#[test]
fn tagged_list() {
    Model::new("historical::tagged_list").actors(2).check(|| linked_list(true));
}

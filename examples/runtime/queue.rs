//! The tasks that workers run, and what a task does: it has a tree, builds another, grafts, and looks at all of it.

use std::collections::VecDeque;
use std::hint::spin_loop;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::account::{COUNTS, add, wrong};
use super::collector::allocate;
use super::heap::Ref;
use super::random::Random;
use super::threads::Runs;

/// A task between two of its turns. Its tree is the queue's while it is in there, its worker's while it runs.
pub(crate) struct Task {
    pub(crate) tree: Option<Ref>,
    pub(crate) nodes: u64,
    pub(crate) random: Random,
}

pub(crate) struct Queue {
    /// Taken inside alone, under a hold: who collects finds it free.
    pub(crate) tasks: Mutex<VecDeque<Task>>,
    /// Where workers sleep, outside.
    idle: (Mutex<()>, Condvar),
}

pub(crate) static QUEUE: Queue =
    Queue { tasks: Mutex::new(VecDeque::new()), idle: (Mutex::new(()), Condvar::new()) };

impl Queue {
    pub(crate) fn push(&self, own: &mut impl Runs, task: Task) {
        let _held = own.hold();
        self.tasks.lock().expect("nobody panics with it").push_back(task);
        self.idle.1.notify_one();
    }

    pub(crate) fn pop(&self, own: &mut impl Runs) -> Option<Task> {
        let _held = own.hold();
        self.tasks.lock().expect("nobody panics with it").pop_front()
    }

    /// Until there may be a task.
    pub(crate) fn sleep(&self, own: &mut impl Runs) {
        own.outside(|_| {
            let guard = self.idle.0.lock().expect("nobody panics with it");
            drop(self.idle.1.wait_timeout(guard, Duration::from_millis(1)));
        });
    }
}

/// A whole tree of this depth.
pub(crate) fn build(own: &mut impl Runs, depth: u32) -> Ref {
    let children = (depth > 1).then(|| [build(own, depth - 1), build(own, depth - 1)]);
    allocate(own, children.map(|it| it[0]), children.map(|it| it[1]))
}

pub(crate) const fn nodes(depth: u32) -> u64 {
    (1 << depth) - 1
}

/// Looks at every node of a tree; how many there are.
pub(crate) fn verify(own: &mut impl Runs, tree: Ref) -> u64 {
    own.poll();
    let children = tree.children();
    // Before it looks further: what a wrong node refers to is anything.
    if !tree.is_right() {
        wrong("a node is not what its holder knows");
        return 0;
    }
    children.into_iter().flatten().map(|child| verify(own, child)).sum::<u64>() + 1
}

/// Work that neither polls nor goes out for a while; what it holds is wherever the compiler has it.
fn compute(tree: Ref, turns: u64) {
    (0..turns).for_each(|_| spin_loop());
    if !tree.is_right() {
        wrong("a node changed while it was held");
    }
}

/// Goes out, and is called back there.
fn call_out(own: &mut impl Runs, tree: Ref, microseconds: u64) -> u64 {
    own.outside(|outside| {
        std::thread::sleep(Duration::from_micros(microseconds));
        outside.called(|inside| {
            add(&COUNTS.callbacks, 1);
            _ = build(inside, 4);
            verify(inside, tree)
        })
    })
}

impl Task {
    pub(crate) fn new(seed: u64) -> Self {
        Self { tree: None, nodes: 0, random: Random::new(seed) }
    }

    /// One turn of it.
    pub(crate) fn run(mut self, own: &mut impl Runs) -> Self {
        let depth = 3 + self.random.below(6) as u32;
        let random = self.random.next();
        let tree = match self.tree {
            Some(tree) => tree,
            None => {
                self.nodes = nodes(depth);
                build(own, depth)
            }
        };
        let found = match random % 16 {
            0 => call_out(own, tree, random >> 8 & 63),
            1 => {
                compute(tree, random >> 8 & 0xffff);
                verify(own, tree)
            }
            2..6 => {
                self.graft(own, tree, depth);
                verify(own, tree)
            }
            6..12 => {
                let other = build(own, depth);
                if verify(own, other) != nodes(depth) {
                    wrong("a new tree has another number of nodes");
                }
                verify(own, tree)
            }
            _ => verify(own, tree),
        };
        if found != self.nodes {
            wrong("a tree has another number of nodes than its task knows");
        }
        self.tree = (self.random.below(8) != 0).then_some(tree);
        self.nodes = self.tree.map_or(0, |_| self.nodes);
        add(&COUNTS.turns, 1);
        self
    }

    /// Gives the tree another left half.
    fn graft(&mut self, own: &mut impl Runs, tree: Ref, depth: u32) {
        let left = build(own, depth);
        let [old, right] = tree.children();
        let dropped = old.map_or(0, |old| verify(own, old));
        tree.set(Some(left), right);
        self.nodes = (self.nodes + nodes(depth)).saturating_sub(dropped);
    }
}

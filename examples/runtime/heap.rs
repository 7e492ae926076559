//! The heap: nodes of four words, taken block by block, and found alive by marks.
//!
//! What a collection does not mark is poison from then on, and soon another one's. So who holds a node that the
//! collector missed finds it wrong: each has a stamp that no other ever had, which whoever holds it knows, and a sum
//! over its own stamp and those of the nodes that it refers to.

use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{LazyLock, Mutex, MutexGuard};

use super::threads::{Thread, world};

const NODES: usize = 1 << 15;
const BLOCK: usize = 256;
/// The stamp of what nobody has.
const POISON: u64 = 0;

#[derive(Debug, Default)]
pub(crate) struct Node {
    stamp: AtomicU64,
    left: AtomicUsize,
    right: AtomicUsize,
    sum: AtomicU64,
}

/// A node, as somebody holds it. The collector finds it wherever it is, by its address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ref {
    node: &'static Node,
    stamp: u64,
}

pub(crate) struct Heap {
    nodes: Box<[Node]>,
    marks: Box<[AtomicBool]>,
    /// The next block that is handed out.
    next: AtomicUsize,
    /// How often it was collected.
    cycle: AtomicU64,
    allocated: AtomicU64,
    live: AtomicU64,
    /// What is marked and not traced yet: room for all, for who collects allocates nothing.
    grey: Mutex<Vec<u32>>,
}

pub(crate) static HEAP: LazyLock<Heap> = LazyLock::new(|| Heap {
    nodes: (0..NODES).map(|_| Node::default()).collect(),
    marks: (0..NODES).map(|_| AtomicBool::new(false)).collect(),
    next: AtomicUsize::new(0),
    cycle: AtomicU64::new(0),
    allocated: AtomicU64::new(0),
    live: AtomicU64::new(0),
    grey: Mutex::new(Vec::with_capacity(NODES)),
});

fn mix(stamp: u64, left: u64, right: u64) -> u64 {
    let mixed = stamp ^ left.rotate_left(21) ^ right.rotate_left(42);
    mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn stamp_of(child: Option<Ref>) -> u64 {
    child.map_or(POISON, |child| child.stamp)
}

fn address_of(child: Option<Ref>) -> usize {
    child.map_or(0, |child| std::ptr::from_ref(child.node).expose_provenance())
}

impl Ref {
    /// By its address, and nothing else at any moment: who is suspended between two steps of a calculation has
    /// half an address in a register, which no collector knows.
    fn child(at: &AtomicUsize) -> Option<Self> {
        let node: *const Node = std::ptr::with_exposed_provenance(at.load(Relaxed));
        // SAFETY: what `set` stored, or null: a node of the heap, which is for ever.
        let node = unsafe { node.as_ref() }?;
        Some(Self { node, stamp: node.stamp.load(Relaxed) })
    }

    pub(crate) fn children(self) -> [Option<Self>; 2] {
        [Self::child(&self.node.left), Self::child(&self.node.right)]
    }

    /// Has it refer to these, by who owns it.
    pub(crate) fn set(self, left: Option<Self>, right: Option<Self>) {
        self.node.left.store(address_of(left), Relaxed);
        self.node.right.store(address_of(right), Relaxed);
        self.node.sum.store(mix(self.stamp, stamp_of(left), stamp_of(right)), Relaxed);
    }

    /// Whether it is what its holder knows, and refers to what it did.
    pub(crate) fn is_right(self) -> bool {
        let [left, right] = self.children().map(stamp_of);
        let [stamp, sum] = [&self.node.stamp, &self.node.sum].map(|word| word.load(Relaxed));
        stamp == self.stamp && sum == mix(stamp, left, right)
    }
}

impl Heap {
    /// The node that this is an address in.
    fn index(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.nodes.as_ptr().addr())?;
        Some(offset / size_of::<Node>()).filter(|index| *index < NODES)
    }

    /// A node that refers to these; `None` if it is time to collect. The caller must not be stopped here.
    pub(crate) fn take(
        &'static self,
        own: &Thread,
        left: Option<Ref>,
        right: Option<Ref>,
    ) -> Option<Ref> {
        loop {
            let free = own.block().find(|index| !self.marks[*index].load(Relaxed));
            if let Some(index) = free {
                own.set_block(index + 1..own.block().end);
                let taken = Ref { node: &self.nodes[index], stamp: own.next_stamp() };
                taken.node.stamp.store(taken.stamp, Relaxed);
                taken.set(left, right);
                // The address itself is somewhere before the hold ends.
                return Some(black_box(taken));
            }
            own.set_block(self.take_block()?);
        }
    }

    fn take_block(&self) -> Option<Range<usize>> {
        let start = self.next.fetch_add(1, Relaxed).saturating_mul(BLOCK);
        (start < NODES).then(|| start..start + BLOCK)
    }

    pub(crate) fn cycle(&self) -> u64 {
        self.cycle.load(Relaxed)
    }

    /// Allocated, and alive at the last collection.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [&self.allocated, &self.live].map(|count| count.load(Relaxed))
    }

    /// Whoever holds one of those all the same finds it so.
    fn poison_dead(&self) {
        let dead = self.nodes.iter().zip(&self.marks).filter(|(_, mark)| !mark.load(Relaxed));
        for (node, _) in dead.filter(|(node, _)| node.stamp.load(Relaxed) != POISON) {
            node.stamp.store(POISON, Relaxed);
            [&node.left, &node.right].iter().for_each(|child| child.store(0, Relaxed));
        }
    }

    /// Begins to mark. While this is kept the world stands.
    pub(crate) fn mark(&self) -> Marking<'_> {
        self.marks.iter().for_each(|mark| mark.store(false, Relaxed));
        let grey = self.grey.lock().expect("nobody panics with it");
        Marking { heap: self, grey, marked: 0 }
    }
}

pub(crate) struct Marking<'a> {
    heap: &'a Heap,
    grey: MutexGuard<'a, Vec<u32>>,
    marked: u64,
}

impl Marking<'_> {
    /// What this word refers to, if it is the address of a node or of something in it.
    pub(crate) fn word(&mut self, word: usize) {
        let Some(index) = self.heap.index(word) else { return };
        if !self.heap.marks[index].swap(true, Relaxed) {
            self.marked += 1;
            self.grey.push(index as u32);
        }
    }

    pub(crate) fn root(&mut self, root: Ref) {
        self.word(std::ptr::from_ref(root.node).addr());
    }

    /// Marks all that is referred to, and has what is not handed out again. How many are alive.
    pub(crate) fn finish(mut self) -> u64 {
        while let Some(index) = self.grey.pop() {
            let node = &self.heap.nodes[index as usize];
            self.word(node.left.load(Relaxed));
            self.word(node.right.load(Relaxed));
        }
        let heap = self.heap;
        heap.poison_dead();
        let new: u64 = world().records().map(Thread::give_back).sum();
        heap.allocated.fetch_add(new, Relaxed);
        heap.live.store(self.marked, Relaxed);
        heap.next.store(0, Relaxed);
        heap.cycle.fetch_add(1, Relaxed);
        self.marked
    }
}

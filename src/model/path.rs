//! loom's decisions, read and written through its checkpoint files.
//!
//! The types mirror `rt::path` of loom 0.7.2, whose feature `checkpoint` writes them as JSON. An
//! execution is decided by its path: which thread goes on, which store a load reads. What a path
//! does not say loom decides by default, and appends.

use serde::{Deserialize, Serialize};

/// The decisions of an execution, and what is left to be tried at each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Path {
    preemption_bound: Option<u8>,
    pos: usize,
    branches: Branches,
    exploring: bool,
    skipping: bool,
    exploring_on_start: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Branches {
    entries: Vec<Branch>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Branch {
    Schedule(Schedule),
    Load(Load),
    Spurious(Spurious),
}

/// Which thread goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Schedule {
    preemptions: u8,
    initial_active: Option<u8>,
    threads: Vec<Thread>,
    prev: Option<Before>,
    exploring: bool,
}

/// The schedule branch before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    index: usize,
    _p: (),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Thread {
    Disabled,
    /// Could go on, and nothing yet says that it matters.
    Skip,
    Yield,
    /// Is to be tried.
    Pending,
    /// Goes on.
    Active,
    /// Has been tried.
    Visited,
}

/// Which store is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Load {
    values: Vec<u8>,
    pos: u8,
    len: u8,
    exploring: bool,
}

/// Whether a wake-up is spurious.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Spurious {
    spur: bool,
    exploring: bool,
}

/// Another decision than the one taken: at which branch, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) branch: usize,
    to: u8,
}

impl Path {
    /// Decides nothing.
    pub(super) fn root(preemption_bound: Option<usize>) -> Self {
        let preemption_bound =
            preemption_bound.map(|bound| bound.try_into().expect("a bound below 256"));
        Self {
            preemption_bound,
            pos: 0,
            branches: Branches { entries: Vec::new() },
            exploring: true,
            skipping: false,
            exploring_on_start: true,
        }
    }

    pub(super) fn from_json(text: &str) -> Self {
        serde_json::from_str(text).expect("loom writes paths so")
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a path is plain data")
    }

    /// The turns that loom wants tried at `from` or later, in the order of their branches.
    ///
    /// loom hands a path over with its last branch already turned: that turn counts.
    pub(super) fn turns(&self, from: usize) -> Vec<Turn> {
        let branches = &self.branches.entries;
        let mut turns = Vec::new();
        for (branch, entry) in branches.iter().enumerate().skip(from) {
            let last = branch + 1 == branches.len();
            entry.for_each_turn(last, |to| turns.push(Turn { branch, to }));
        }
        turns
    }

    /// Takes `turn`: what comes after it is open.
    pub(super) fn take(&mut self, turn: Turn) {
        self.branches.entries.truncate(turn.branch + 1);
        match &mut self.branches.entries[turn.branch] {
            Branch::Schedule(schedule) => schedule.switch_to(turn.to),
            Branch::Load(load) => load.pos = turn.to,
            Branch::Spurious(spurious) => spurious.spur = turn.to != 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.branches.entries.len()
    }

    /// The turns left, besides the decisions taken, at the branches from `from` to before `to`.
    pub(super) fn open(&self, from: usize, to: usize) -> Vec<Turn> {
        let mut turns = Vec::new();
        for branch in from..to {
            let turn = |to| turns.push(Turn { branch, to });
            self.branches.entries[branch].for_each_turn(false, turn);
        }
        turns
    }

    /// Leaves no turn at `branch` but the one taken; others that loom finds later are marked as ever.
    pub(super) fn close(&mut self, branch: usize) {
        match &mut self.branches.entries[branch] {
            Branch::Schedule(schedule) => {
                let states = schedule.threads.iter_mut();
                let left = states.filter(|state| **state == Thread::Pending);
                left.for_each(|state| *state = Thread::Visited);
            }
            Branch::Load(load) => load.exploring = false,
            Branch::Spurious(spurious) => spurious.exploring = false,
        }
    }

    /// The first `count` decisions, a character each.
    pub(super) fn decisions(&self, count: usize) -> String {
        let decision = |branch: &Branch| match branch {
            Branch::Schedule(schedule) => schedule.active().map_or('-', digit),
            Branch::Load(load) => digit(load.pos),
            Branch::Spurious(spurious) => digit(u8::from(spurious.spur)),
        };
        self.branches.entries.iter().take(count).map(decision).collect()
    }

    /// An estimate: which share of what lies behind the first `from` decisions lies behind the first `to`.
    pub(super) fn share(&self, from: usize, to: usize) -> f64 {
        self.branches.entries[from..to].iter().map(|branch| 1.0 / branch.ways().1).product()
    }

    /// An estimate: which share of what lies behind the first `from` decisions has been explored.
    pub(super) fn explored(&self, from: usize) -> f64 {
        let mut share = 1.0;
        let mut explored = 0.0;
        for branch in &self.branches.entries[from..] {
            let (tried, ways) = branch.ways();
            explored += share * tried / ways;
            share /= ways;
        }
        explored
    }

    /// How many preemptions the decisions of this path are. What loom decides after them preempts nobody.
    pub(super) fn preemptions(&self) -> usize {
        let last = self.branches.entries.iter().rev().find_map(|branch| match branch {
            Branch::Schedule(schedule) => Some(schedule.preemptions()),
            _ => None,
        });
        last.unwrap_or(0)
    }
}

/// Threads and stores to be read are at most seven.
fn digit(number: u8) -> char {
    char::from(b'0' + number)
}

impl Branch {
    fn for_each_turn(&self, last: bool, mut turn: impl FnMut(u8)) {
        match self {
            Self::Schedule(schedule) if schedule.exploring => {
                for (thread, state) in (0..).zip(&schedule.threads) {
                    if *state == Thread::Pending || (last && *state == Thread::Active) {
                        turn(thread);
                    }
                }
            }
            Self::Load(load) if load.exploring => {
                let first = if last { load.pos } else { load.pos + 1 };
                (first..load.len).for_each(turn);
            }
            Self::Spurious(spurious) if spurious.exploring && (last || !spurious.spur) => turn(1),
            _ => {}
        }
    }
}

impl Branch {
    /// How many ways were tried before the one taken, and how many there are.
    fn ways(&self) -> (f64, f64) {
        match self {
            Self::Schedule(schedule) => {
                let count = |wanted| schedule.threads.iter().filter(|&&it| it == wanted).count();
                let (tried, left) = (count(Thread::Visited), count(Thread::Pending));
                (tried as f64, (tried + 1 + left) as f64)
            }
            Self::Load(load) if load.exploring => (f64::from(load.pos), f64::from(load.len)),
            Self::Spurious(spurious) if spurious.exploring => {
                (f64::from(u8::from(spurious.spur)), 2.0)
            }
            _ => (0.0, 1.0),
        }
    }
}

impl Schedule {
    fn active(&self) -> Option<u8> {
        let active = self.threads.iter().position(|&state| state == Thread::Active);
        active.map(|thread| thread as u8)
    }

    fn switch_to(&mut self, thread: u8) {
        if let Some(active) = self.active() {
            self.threads[usize::from(active)] = Thread::Visited;
        }
        self.threads[usize::from(thread)] = Thread::Active;
    }

    fn preemptions(&self) -> usize {
        let preempts = self.initial_active.is_some() && self.initial_active != self.active();
        usize::from(self.preemptions) + usize::from(preempts)
    }
}

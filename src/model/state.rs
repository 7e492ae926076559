//! What the simulated kernel knows of one execution.
//!
//! loom runs every thread of a model as a coroutine on one system thread and switches only inside
//! loom's own operations. So a thread-local serves all of them, plain fields need no lock, and a
//! change of plain fields is atomic with the loom operation just before it. No borrow of the
//! state may be held across a loom operation.

use super::cause::{Sent, Waits};
use super::disposition::{Action, Disposition};
use super::kernel::Outcome;
use super::lanes::{About, Cause, Detail, Row};
use super::signals::{SigSet, Signal};
use core::panic::Location;
use core::sync::atomic::Ordering::Relaxed;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;

/// loom's own limit.
pub(super) const MAX_THREADS: usize = 5;

/// How many interruptions of one execution may be delayed; later ones land at the next step.
pub(super) const COINS: usize = 6;

/// How often the system may be hostile in one execution.
pub(super) const HOSTILITIES: usize = 3;

/// Signal numbers share this many words, so that two signals seldom synchronise by accident.
pub(super) const TABLES: usize = 4;

/// The words of a program share so many of these.
pub(super) const SEEN: usize = 8;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Run>>> = const { RefCell::new(None) };
    /// Rows of the last execution, kept to be used again: executions come by the 100,000.
    static SPARE_ROWS: RefCell<Vec<Row>> = const { RefCell::new(Vec::new()) };
}

/// One execution of a model.
pub(super) struct Run {
    inner: RefCell<Inner>,
    /// Slot of the thread that ran last: the common case is that it still runs.
    last: Cell<Option<(loom::thread::ThreadId, usize)>>,
    words: RefCell<Option<Rc<Words>>>,
    /// Words that are there before a kernel, if the system is hostile.
    tossed: RefCell<Option<Rc<Words>>>,
}

/// The loom objects of the kernel: each orders the plain fields named with it.
pub(super) struct Words {
    /// Order the posts to each thread with the steps it takes.
    pub(super) lines: [loom::sync::atomic::AtomicU32; MAX_THREADS],
    /// Coins. Each was stored to by a thread that nobody synchronises with, so a relaxed load
    /// of it reads false or true as loom pleases: the signal is still in flight, or it lands.
    pub(super) coins: [loom::sync::atomic::AtomicBool; COINS],
    /// Coins that say when the system is hostile, and behind them whether it is late then.
    pub(super) hostilities: Vec<loom::sync::atomic::AtomicBool>,
    /// Orders the process-directed pending set and every mask change.
    pub(super) shared: loom::sync::atomic::AtomicU32,
    /// Order dispositions, and publish what was written before they were installed.
    pub(super) tables: [loom::sync::atomic::AtomicU32; TABLES],
    /// Order what is written after a signal was sent with the steps that could see it before it lands: a word for
    /// some of the program's each.
    pub(super) seen: [loom::sync::atomic::AtomicU32; SEEN],
    /// Orders the expiry of deadlines.
    pub(super) clock: loom::sync::atomic::AtomicU32,
}

/// The plain fields.
pub(super) struct Inner {
    pub(super) threads: Vec<Thread>,
    pub(super) processes: Vec<Process>,
    pub(super) sleepers: Vec<Sleeper>,
    /// Whom the porter is to wake, if there is one.
    pub(super) errands: Option<VecDeque<loom::thread::Thread>>,
    pub(super) deadlines: Vec<bool>,
    /// Open thread handles, by value.
    pub(super) handles: Vec<Option<super::thread::ThreadId>>,
    pub(super) coins_used: usize,
    /// What is dropped when the last thread has exited.
    pub(super) kept: Vec<Box<dyn core::any::Any>>,
    /// How often the system may still be hostile.
    pub(super) hostile: usize,
    /// And if a sleep that it ends may end late, the first of the coins that say so.
    pub(super) hostile_late: Option<usize>,
    /// Nothing is in flight where that cannot be seen.
    pub(super) prompt: bool,
    /// Nor where it can be seen.
    pub(super) never_late: bool,
    /// So many words of the program have been made.
    pub(super) words: usize,
    /// What has not landed, to know where that can be seen.
    pub(super) flights: Vec<super::flight::Flight>,
    /// Sleeping passes on what a thread did, to who has it suspended.
    pub(super) suspending: bool,
    pub(super) at_most: Option<u32>,
    /// A death by a default action is meant.
    pub(super) may_die: bool,
    /// Takes the process's signals if it can.
    pub(super) chosen: Option<usize>,
    pub(super) rows: Vec<Row>,
    /// Signals on their way, for the pictures.
    pub(super) sent: Vec<Sent>,
}

pub(super) struct Process {
    pub(super) dispositions: Vec<Disposition>,
    pub(super) pending: Vec<Signal>,
    pub(super) outcome: Outcome,
}

impl Process {
    pub(super) fn new() -> Self {
        Self {
            dispositions: vec![Disposition::Default; 64],
            pending: Vec::new(),
            outcome: Outcome::Running,
        }
    }
}

/// A thread, a frame of which may be a handler.
pub(super) struct Thread {
    pub(super) id: Option<loom::thread::ThreadId>,
    pub(super) name: String,
    pub(super) process: usize,
    /// While it plays the child of a fork: itself in the parent, and in the parent's, if that is a child too.
    pub(super) away: Vec<Away>,
    pub(super) mask: SigSet,
    /// Thread-directed signals.
    pub(super) pending: Vec<Pending>,
    /// Posts that interrupt this thread, and how many of them it has noticed.
    pub(super) posted: u32,
    pub(super) noticed: u32,
    /// The coin that says when it notices the next.
    pub(super) coin: Option<usize>,
    /// An unnoticed post says: look at the process's pending set.
    pub(super) rung: bool,
    /// Its last sleep ended by a wake-up.
    pub(super) woken: bool,
    /// Who ended its last sleep, and who wants it to stop: for the pictures.
    pub(super) told: Option<Cause>,
    /// What it waits for without a step: for the lanes of a deadlock.
    pub(super) waits: Option<Waits>,
    pub(super) asked: Option<Cause>,
    /// The operation that it has begun, for who asks where it stands.
    pub(super) doing: Option<Doing>,
    /// Handlers running, innermost last.
    pub(super) frames: Vec<Frame>,
    pub(super) altstack: Option<usize>,
    pub(super) attached: bool,
    pub(super) locks: Vec<Held>,
    pub(super) at_exit: Vec<Box<dyn FnOnce()>>,
    /// Suspensions not yet taken back.
    pub(super) suspended: u32,
    /// Owes a barrier to who waits for it.
    pub(super) barrier: bool,
    pub(super) exited: bool,
    /// And has handed over what it returned: it does nothing any more.
    pub(super) over: bool,
}

/// A thread that waits in its call of fork, as it is in the parent.
pub(super) struct Away {
    pub(super) process: usize,
    pub(super) mask: SigSet,
    pub(super) pending: Vec<Pending>,
    /// What was posted to it meanwhile that will interrupt it, and whether some of that is the process's.
    pub(super) posted: u32,
    pub(super) rung: bool,
}

pub(super) struct Pending {
    pub(super) signal: Signal,
    /// Of the post that brought it; 0 if it was masked then, for the kernel interrupts nobody for a masked
    /// signal.
    pub(super) number: u32,
    pub(super) value: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Doing {
    pub(super) op: &'static str,
    /// The number of the one that it is on.
    pub(super) word: usize,
    pub(super) at: &'static Location<'static>,
}

pub(super) struct Frame {
    pub(super) signal: Signal,
    pub(super) interrupted: &'static Location<'static>,
    pub(super) on_altstack: bool,
    /// The mask that the handler's return puts in force.
    pub(super) returns_to: SigSet,
}

pub(super) struct Held {
    pub(super) address: usize,
    pub(super) depth: usize,
    pub(super) taken: &'static Location<'static>,
}

/// A thread parked in a kernel call.
pub(super) struct Sleeper {
    pub(super) slot: usize,
    pub(super) address: usize,
    pub(super) deadline: Option<usize>,
    pub(super) handle: loom::thread::Thread,
}

impl Thread {
    /// Itself as a thread of `process`, if it has left that one for a child.
    pub(super) fn away_from(&mut self, process: usize) -> Option<&mut Away> {
        self.away.iter_mut().find(|away| away.process == process)
    }

    /// Its mask as a thread of `process`; none if it is no thread of that, or no longer.
    pub(super) fn mask_in(&self, process: usize) -> Option<SigSet> {
        let away = self.away.iter().find(|away| away.process == process).map(|away| away.mask);
        away.or((self.process == process).then_some(self.mask)).filter(|_| !self.exited)
    }

    pub(super) fn new(name: String, process: usize, mask: SigSet) -> Self {
        Self {
            id: None,
            name,
            process,
            away: Vec::new(),
            mask,
            pending: Vec::new(),
            posted: 0,
            noticed: 0,
            coin: None,
            rung: false,
            woken: false,
            told: None,
            waits: None,
            asked: None,
            doing: None,
            frames: Vec::new(),
            altstack: None,
            attached: false,
            locks: Vec::new(),
            at_exit: Vec::new(),
            suspended: 0,
            barrier: false,
            exited: false,
            over: false,
        }
    }
}

/// Orders this thread's kernel call after every earlier one on `word` without writing it.
pub(super) fn touch(word: &loom::sync::atomic::AtomicU32) {
    // A failing compare-exchange reads the newest value and stores nothing.
    let _ = word.compare_exchange(u32::MAX, u32::MAX, Relaxed, Relaxed);
}

impl Run {
    /// Starts an execution; its thread is the model's main thread.
    pub(super) fn begin() {
        Self::end();
        let rows = SPARE_ROWS.with_borrow_mut(core::mem::take);
        let run = Rc::new(Self {
            inner: RefCell::new(Inner {
                threads: Vec::with_capacity(MAX_THREADS),
                processes: Vec::new(),
                sleepers: Vec::new(),
                errands: None,
                deadlines: Vec::new(),
                handles: Vec::new(),
                coins_used: 0,
                kept: Vec::new(),
                hostile: 0,
                hostile_late: None,
                prompt: false,
                never_late: false,
                words: 0,
                flights: Vec::new(),
                suspending: false,
                at_most: None,
                may_die: false,
                chosen: None,
                rows,
                sent: Vec::new(),
            }),
            last: Cell::new(None),
            words: RefCell::new(None),
            tossed: RefCell::new(None),
        });
        let mut main = Thread::new("main".to_owned(), 0, SigSet::EMPTY);
        main.id = Some(loom::thread::current().id());
        run.borrow().threads.push(main);
        CURRENT.set(Some(run));
    }

    /// Ends the execution, if one is left.
    pub(super) fn end() {
        if let Some(run) = CURRENT.take() {
            let mut rows = core::mem::take(&mut run.borrow().rows);
            rows.clear();
            SPARE_ROWS.set(rows);
        }
    }

    /// The execution in progress on this system thread.
    pub(super) fn current() -> Option<Rc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// The execution in progress.
    #[track_caller]
    pub(super) fn expect() -> Rc<Self> {
        Self::current().expect("no model is running: use portcullis::model::Model")
    }

    pub(super) fn borrow(&self) -> RefMut<'_, Inner> {
        self.inner.borrow_mut()
    }

    /// Like `borrow`, for the panic hook: the panic may have happened inside a borrow.
    pub(super) fn try_borrow(&self) -> Option<RefMut<'_, Inner>> {
        self.inner.try_borrow_mut().ok()
    }

    /// The kernel's words, once a kernel was asked for.
    pub(super) fn words(&self) -> Option<Rc<Words>> {
        self.words.borrow().clone()
    }

    pub(super) fn set_words(&self, words: Rc<Words>) {
        *self.words.borrow_mut() = Some(words);
    }

    pub(super) fn tossed(&self) -> Option<Rc<Words>> {
        self.tossed.borrow().clone()
    }

    pub(super) fn set_tossed(&self, words: Rc<Words>) {
        *self.tossed.borrow_mut() = Some(words);
    }

    /// Slot of the calling thread; a thread loom started by itself is registered here.
    pub(super) fn me(&self) -> usize {
        let id = loom::thread::current().id();
        if let Some((last, slot)) = self.last.get()
            && last == id
        {
            return slot;
        }
        let mut inner = self.borrow();
        let slot = inner.threads.iter().position(|t| t.id == Some(id)).unwrap_or_else(|| {
            let slot = inner.threads.len();
            let mut thread = Thread::new(format!("thread {slot}"), 0, SigSet::EMPTY);
            thread.id = Some(id);
            inner.threads.push(thread);
            slot
        });
        self.last.set(Some((id, slot)));
        slot
    }

    /// Adds a row to the lanes.
    pub(super) fn row(
        &self,
        slot: usize,
        op: &'static str,
        detail: Detail,
        at: &'static Location<'static>,
    ) {
        self.row_about(About::Nothing, slot, op, detail, at);
    }

    /// The same, of a step with an object or a cause.
    pub(super) fn row_about(
        &self,
        about: About,
        slot: usize,
        op: &'static str,
        detail: Detail,
        at: &'static Location<'static>,
    ) {
        let mut inner = self.borrow();
        let depth = inner.threads[slot].frames.len();
        inner.rows.push(Row { slot, depth, op, detail, at, about });
    }
}

impl Inner {
    pub(super) fn process_of(&mut self, slot: usize) -> &mut Process {
        let process = self.threads[slot].process;
        &mut self.processes[process]
    }

    /// The disposition in force for `signal` in the process of `slot`.
    pub(super) fn action(&mut self, slot: usize, signal: Signal) -> Action {
        self.process_of(slot).dispositions[signal as usize].action(signal)
    }
}

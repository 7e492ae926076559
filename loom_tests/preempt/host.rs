//! The two ways of stopping a thread on the simulated kernel, and a runtime's threads.

use std::cell::Cell;
use std::sync::Arc;

use super::super::support::Payload;
use crate::model::futex::{self, Deadline, Waited};
use crate::model::thread::{self, ThreadId};
use crate::model::{Handler, How, Kernel, SigSet, ThreadHandle, sig, violation};
use crate::preempt::host::{
    Backend, BackendError, Barrier, GateLocal, Met, StopAnswer, StopWord, Turn,
};
use crate::preempt::{Gate, Gates, RegisterError, Registration, SuspendError, ThreadRef};
use crate::sync::{AtomicBool, AtomicU32, Ordering::Relaxed, relax};
use crate::sys::Errno;

/// Threads that a model may have.
const MOST: usize = 4;

/// Which of the system's calls fails, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    Open,
    Ask,
    Confirm,
    Interrupt,
}

/// How threads are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the system, as on Windows: asynchronous, and confirmed by asking for the context.
    System,
    /// By a signal and a handshake.
    Signal,
}

/// What a suspender does about others that suspend threads by signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// Nothing: in models without such, or where that is to be found.
    Unmasked,
    /// It masks their signals, and waits all the same, which is to be found.
    Masked,
    /// It masks their signals, and gives way if it does not get an answer.
    GivesWay,
}

pub(crate) const WAYS: [Way; 2] = [Way::System, Way::Signal];

/// What becomes of a thread's name when the thread ends registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// It is the thread's for ever.
    Named,
    /// The system gives it to another; the handle is marked before.
    Marked,
    /// It is not marked, which is to be found.
    Unmarked,
    /// It is marked without the claim, which is to be found.
    Unclaimed,
}

/// The handle of a registered thread.
#[derive(Debug)]
pub(crate) struct Named {
    handle: ThreadHandle,
    /// Whom it is to name.
    thread: ThreadId,
    /// Its end has begun.
    ended: AtomicBool,
}

/// What all backends of a process share.
pub(crate) struct Process {
    here: [GateLocal; MOST],
    turn: Turn,
}

pub(crate) struct Simulated {
    kernel: Kernel,
    way: Way,
    process: Arc<Process>,
    /// The process's, unless the model says otherwise.
    turn: Option<Turn>,
    pub(crate) ends: Cell<Ends>,
    pub(crate) failing: Cell<Option<Failing>>,
    /// What is done about others that stop threads.
    pub(crate) others: Cell<Others>,
    /// What is masked besides, by thread; no two change the same.
    before: [Cell<Option<SigSet>>; MOST],
    /// Until when an answer is waited for: for ever, unless the model says otherwise.
    pub(crate) patience: Cell<Option<Deadline>>,
    /// Signals sent for requests; of no interest to loom.
    pub(crate) sent: Cell<u32>,
    /// Calls for threads that had ended.
    pub(crate) refused: Cell<u32>,
    /// What a backend may keep of its own, without a lock (E4).
    asked: Payload,
}

// SAFETY: for loom's single system thread.
unsafe impl Sync for Simulated {}

impl Process {
    pub(crate) fn new() -> Arc<Self> {
        let here = core::array::from_fn(|_| GateLocal::new());
        Arc::new(Self { here, turn: Turn::new() })
    }
}

impl Simulated {
    pub(crate) fn new(process: Arc<Process>, turn: Option<Turn>, kernel: Kernel, way: Way) -> Self {
        Self {
            kernel,
            way,
            process,
            turn,
            ends: Cell::new(Ends::Named),
            failing: Cell::new(None),
            others: Cell::new(Others::Unmasked),
            before: [const { Cell::new(None) }; MOST],
            patience: Cell::new(None),
            sent: Cell::new(0),
            refused: Cell::new(0),
            asked: Payload::new(),
        }
    }

    fn fails(&self, call: Failing) -> Result<(), BackendError> {
        if self.failing.get() == Some(call) {
            self.failing.set(None);
            return Err(BackendError::Refused(Errno(1)));
        }
        Ok(())
    }

    fn tgkill(&self, handle: &Named) -> Result<(), BackendError> {
        match self.look_up(handle)? {
            Some(thread) if self.kernel.try_tgkill(thread, sig::USR1) => Ok(()),
            _ => self.refuses(),
        }
    }

    /// Whom the system takes the handle for, unless that is marked.
    fn look_up(&self, handle: &Named) -> Result<Option<ThreadId>, BackendError> {
        if handle.ended.load(Relaxed) {
            return Err(BackendError::Gone);
        }
        let named = self.kernel.thread_of(handle.handle);
        if named.is_some_and(|thread| thread != handle.thread) {
            violation("asked for the wrong thread");
        }
        Ok(named)
    }

    /// The thread of a handle that is open, as those of claimed gates are.
    fn named(&self, handle: &Named) -> ThreadId {
        self.kernel.thread_of(handle.handle).expect("claimed, so it is open")
    }

    /// The calling thread ends, registered or not.
    fn thread_ends(&'static self, handle: ThreadHandle) {
        let mark = |named: &Named| {
            if self.ends.get() != Ends::Unmarked {
                named.ended.store(true, Relaxed);
            }
        };
        // SAFETY: the calling thread's own, which the statics of the execution outlive; of this backend.
        let here = unsafe { &*self.here() };
        if self.ends.get() == Ends::Unclaimed {
            // SAFETY: as above.
            let gate = unsafe { here.gate::<Self>() };
            gate.and_then(Gate::handle).into_iter().for_each(mark);
        } else {
            // SAFETY: as above; in no handler.
            unsafe { here.thread_ends::<Self>(mark, |turn| self.pause(turn)) };
        }
        // The next that asks for a name has this one's.
        self.kernel.close_thread(handle);
        self.kernel.open_thread(thread::main());
    }

    fn before(&self) -> &Cell<Option<SigSet>> {
        &self.before[thread::current().number() % MOST]
    }

    /// Asked for a thread that has ended.
    fn refuses(&self) -> Result<(), BackendError> {
        self.refused.set(self.refused.get() + 1);
        Err(BackendError::Gone)
    }
}

// SAFETY: stops are the simulated kernel's, or the handshake's.
unsafe impl Backend for Simulated {
    type Handle = Named;
    type Context = ();
    type Exited = ();
    type Patience = (Option<Deadline>, Cell<bool>);

    fn here(&self) -> *const GateLocal {
        &raw const self.process.here[thread::current().number() % MOST]
    }
    fn turn(&self) -> &Turn {
        self.turn.as_ref().unwrap_or(&self.process.turn)
    }
    unsafe fn open(&'static self) -> Result<Named, RegisterError> {
        self.fails(Failing::Open).map_err(|_| RegisterError::System(Errno(1)))?;
        let thread = thread::current();
        let handle = self.kernel.open_thread(thread);
        if self.ends.get() != Ends::Named {
            self.kernel.at_thread_exit(move || self.thread_ends(handle));
        }
        Ok(Named { handle, thread, ended: AtomicBool::new(false) })
    }
    unsafe fn close(&self, handle: Named) {
        self.kernel.close_thread(handle.handle);
    }
    fn patience(&self, _: u32) -> Self::Patience {
        (self.patience.get(), Cell::new(false))
    }
    fn mask(&self) {
        if self.others.get() != Others::Unmasked {
            let before = self.kernel.sigmask(How::Set, SigSet::ALL.without(sig::USR1));
            self.before().set(Some(before));
        }
    }
    fn unmask(&self) {
        if let Some(before) = self.before().take() {
            self.kernel.sigmask(How::Set, before);
        }
    }
    fn gave_way(&self, patience: &Self::Patience) -> bool {
        patience.1.get()
    }
    unsafe fn ask(
        &self,
        handle: &Named,
        word: &StopWord,
        _: &Self::Patience,
    ) -> Result<(), BackendError> {
        self.asked.set(self.asked.get() + 1);
        self.fails(Failing::Ask)?;
        match self.way {
            Way::System => match self.look_up(handle)? {
                Some(thread) if self.kernel.suspend(thread) => Ok(()),
                _ => self.refuses(),
            },
            Way::Signal => {
                let pause = |turn| {
                    self.pause(turn);
                    true
                };
                // SAFETY: in `ask`, the word that it was given.
                let asked = unsafe { word.ask(pause) };
                assert!(asked, "waited for as long as it took");
                // SAFETY: as above.
                self.tgkill(handle).inspect_err(|_| _ = unsafe { word.withdraw() })
            }
        }
    }
    unsafe fn confirm(
        &self,
        handle: &Named,
        word: &StopWord,
        (until, gave_way): &Self::Patience,
    ) -> Result<(), BackendError> {
        self.asked.set(self.asked.get() + 1);
        let failed = self.fails(Failing::Confirm);
        let answer = match self.way {
            Way::System => {
                if failed.is_err() {
                    self.kernel.resume(self.named(handle));
                    return failed;
                }
                self.kernel.thread_context(self.named(handle));
                StopAnswer::Stopped
            }
            // SAFETY: in `confirm`, the word that it was given.
            Way::Signal if failed.is_err() => unsafe { word.withdraw() },
            Way::Signal => {
                let wait = |word: &AtomicU32, value| {
                    if matches!(self.others.get(), Others::Unmasked | Others::Masked) {
                        return futex::wait(word, value, until.as_ref()) != Waited::TimedOut;
                    }
                    // The system's looks now and then; this one whenever loom lets it.
                    relax();
                    if self.kernel.sigpending() == SigSet::EMPTY {
                        return !gave_way.get();
                    }
                    // SAFETY: the calling thread's own. Who holds others cannot give way: its patience is over.
                    gave_way.set(unsafe { (*self.here()).holds() } == 0);
                    false
                };
                // SAFETY: as above.
                unsafe { word.wait(wait) }
            }
        };
        match answer {
            StopAnswer::Stopped => Ok(()),
            StopAnswer::Withdrawn => Err(BackendError::NotAnswering),
        }
    }
    unsafe fn context(&self, _: &Named, _: &StopWord) {}
    unsafe fn resume(&self, handle: &Named, word: &StopWord) {
        match self.way {
            Way::System => self.kernel.resume(self.named(handle)),
            // SAFETY: in `resume`, the word that it was given.
            Way::Signal => unsafe { word.resume(futex::wake_one) },
        }
    }
    unsafe fn interrupt(&self, handle: &Named, _: &StopWord) -> Result<bool, BackendError> {
        self.fails(Failing::Interrupt)?;
        self.sent.set(self.sent.get() + 1);
        self.tgkill(handle).map(|()| false)
    }
    fn pause(&self, _: u32) {
        relax();
    }
    unsafe fn wait_stopped(&self, word: &AtomicU32, value: u32) {
        futex::wait(word, value, None);
    }
    fn wake(&self, word: &AtomicU32) {
        futex::wake_one(word);
    }
    fn exit(&self, code: i32) {
        self.kernel.exit_process(code);
    }
}

/// What a thread of the model shows of itself. Cells: what is true, not what others may see.
pub(crate) struct Shown {
    pub(crate) outside: Cell<bool>,
    /// How often its handler has run.
    pub(crate) handled: Cell<u32>,
    /// Requests met while inside.
    pub(crate) preempted: Cell<u32>,
    /// Written inside by its thread, and by who has it stopped.
    pub(crate) heap: Payload,
}

/// `static`s, of one execution.
pub(crate) struct Statics<B: Barrier> {
    gates: Gates<B, Simulated>,
    each: [Gate<Simulated>; 2],
    pub(crate) shown: [Shown; 2],
    /// What those who ask for a preemption want by it, and whether one has seen that.
    pub(crate) wanted: [AtomicU32; 2],
    pub(crate) seen: [Cell<bool>; 2],
}

pub(crate) struct World<B: Barrier>(Arc<Statics<B>>);

impl<B: Barrier> Clone for World<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

pub(crate) type Ours<B> = Registration<B, Simulated>;
pub(crate) type Thread<B> = ThreadRef<B, Simulated>;

impl<B: Barrier + 'static> World<B> {
    pub(crate) fn new(kernel: Kernel, way: Way, barrier: B) -> Self {
        Self::of(Process::new(), None, kernel, way, barrier)
    }

    /// Gates of another runtime in the same process; with a turn of their own, if there is one.
    pub(crate) fn beside(&self, turn: Option<Turn>, barrier: B) -> Self {
        let Simulated { process, kernel, way, .. } = self.backend();
        Self::of(Arc::clone(process), turn, *kernel, *way, barrier)
    }

    fn of(process: Arc<Process>, turn: Option<Turn>, kernel: Kernel, way: Way, barrier: B) -> Self {
        let kernel = if way == Way::System { kernel.suspending() } else { kernel };
        let simulated = Simulated::new(process, turn, kernel, way);
        let shown = || Shown {
            outside: Cell::new(false),
            handled: Cell::new(0),
            preempted: Cell::new(0),
            heap: Payload::new(),
        };
        let world = Self(Arc::new(Statics {
            gates: Gates::new(barrier, simulated),
            each: core::array::from_fn(|_| Gate::new()),
            shown: core::array::from_fn(|_| shown()),
            wanted: core::array::from_fn(|_| AtomicU32::new(0)),
            seen: [const { Cell::new(false) }; 2],
        }));
        let theirs = world.clone();
        let handler = Handler::new(move |_| theirs.on_signal()).mask(SigSet::ALL);
        kernel.sigaction(sig::USR1, handler);
        world
    }

    fn on_signal(&self) {
        // SAFETY: the calling thread's own, which the statics of the execution outlive; of this backend.
        let gate = unsafe { (*self.backend().here()).gate::<Simulated>() };
        let Some(gate) = gate else { return };
        let at = usize::from(core::ptr::eq(gate, &self.statics().each[1]));
        let shown = &self.statics().shown[at];
        // SAFETY: its thread's, in the handler, which masks all.
        let met = unsafe { gate.on_signal(self.backend(), core::ptr::null_mut()) };
        shown.handled.set(shown.handled.get() + 1);
        if met == Met::Preempt {
            assert!(!shown.outside.get(), "preempted in external code");
            shown.preempted.set(shown.preempted.get() + 1);
            let wanted = &self.statics().wanted;
            for (wanted, seen) in wanted.iter().zip(&self.statics().seen) {
                seen.set(seen.get() || wanted.load(Relaxed) == 1);
            }
        }
    }

    pub(crate) fn statics(&self) -> &'static Statics<B> {
        // SAFETY: longer than true: whoever uses it has a clone, and members go before that.
        unsafe { &*Arc::as_ptr(&self.0) }
    }
    pub(crate) fn gates(&self) -> &'static Gates<B, Simulated> {
        &self.statics().gates
    }
    pub(crate) fn gate(&self, at: usize) -> &'static Gate<Simulated> {
        &self.statics().each[at]
    }
    pub(crate) fn backend(&self) -> &'static Simulated {
        self.gates().backend()
    }
    pub(crate) fn register(&self, at: usize) -> Ours<B> {
        self.gates().register(self.gate(at)).unwrap()
    }

    /// Inside: writes what is its own while it is not suspended.
    pub(crate) fn work(&self, at: usize) {
        let heap = &self.statics().shown[at].heap;
        heap.set(heap.get() + 1);
    }

    /// External code: must not be suspended.
    pub(crate) fn call_out(&self, at: usize) {
        let outside = &self.statics().shown[at].outside;
        outside.set(true);
        // A place to be suspended at.
        futex::wait(self.gate(at).claim_word(), u32::MAX, None);
        outside.set(false);
    }

    /// One attempt; what is then looked at is the thread's own while it runs.
    pub(crate) fn suspend(&self, at: usize, thread: Thread<B>) -> Result<(), SuspendError> {
        let shown = &self.statics().shown[at];
        let suspended = self.gates().try_suspend(thread)?;
        assert!(!shown.outside.get(), "suspended in external code");
        shown.heap.set(shown.heap.get() + 1);
        drop(suspended);
        Ok(())
    }

    /// Nobody holds anything any more.
    pub(crate) fn assert_open(&self, at: usize) {
        // A thread that has ended stays in it: that claims nothing.
        let claimed = self.gate(at).claim_word().kernel_read() & super::CLAIMED_AND_WANTED;
        assert_eq!(claimed, 0, "the gate is closed");
    }
}

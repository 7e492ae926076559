//! The two ways of stopping a thread on the simulated kernel, and a runtime's threads.

use std::cell::Cell;
use std::sync::Arc;

use super::super::support::Payload;
use crate::model::futex::{self, Deadline, Waited};
use crate::model::thread::{self, ThreadId};
use crate::model::{Handler, Kernel, SigSet, ThreadHandle, sig};
use crate::preempt::{
    Answer, Backend, Barrier, Gate, Gates, Here, Member, Met, StopError, StopWord, SuspendError,
    ThreadRef,
};
use crate::sync::{AtomicU32, relax};
use crate::sys::Errno;

/// Threads that a model may have.
const MOST: usize = 4;

/// Which of the system's calls fails, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
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

pub(crate) const WAYS: [Way; 2] = [Way::System, Way::Signal];

pub(crate) struct Simulated {
    kernel: Kernel,
    way: Way,
    here: [Here; MOST],
    pub(crate) failing: Cell<Option<Failing>>,
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

impl Simulated {
    fn fails(&self, call: Failing) -> Result<(), StopError> {
        if self.failing.get() == Some(call) {
            self.failing.set(None);
            return Err(StopError::Refused(Errno(1)));
        }
        Ok(())
    }

    fn tgkill(&self, handle: ThreadHandle) -> Result<(), StopError> {
        match self.kernel.thread_of(handle) {
            Some(thread) if self.kernel.try_tgkill(thread, sig::USR1) => Ok(()),
            _ => self.refuses(),
        }
    }

    /// The thread of a handle that is open, as those of claimed gates are.
    fn named(&self, handle: ThreadHandle) -> ThreadId {
        self.kernel.thread_of(handle).expect("claimed, so it is open")
    }

    /// Asked for a thread that has ended.
    fn refuses(&self) -> Result<(), StopError> {
        self.refused.set(self.refused.get() + 1);
        Err(StopError::Gone)
    }
}

// SAFETY: stops are the simulated kernel's, or the handshake's.
unsafe impl Backend for Simulated {
    type Handle = ThreadHandle;
    type Context = ();
    type Exited = ();
    type Patience = Option<Deadline>;

    fn here(&self) -> &Here {
        &self.here[thread::current().number() % MOST]
    }
    fn open(&'static self) -> Result<ThreadHandle, Errno> {
        Ok(self.kernel.open_thread(thread::current()))
    }
    fn close(&self, handle: ThreadHandle) {
        self.kernel.close_thread(handle);
    }
    fn patience(&self) -> Option<Deadline> {
        self.patience.get()
    }
    fn ask(
        &self,
        handle: &ThreadHandle,
        word: &StopWord,
        _: &Option<Deadline>,
    ) -> Result<(), StopError> {
        self.asked.set(self.asked.get() + 1);
        self.fails(Failing::Ask)?;
        match self.way {
            Way::System => match self.kernel.thread_of(*handle) {
                Some(thread) if self.kernel.suspend(thread) => Ok(()),
                _ => self.refuses(),
            },
            Way::Signal => {
                let asked = word.ask(|turn| {
                    self.pause(turn);
                    true
                });
                assert!(asked, "waited for as long as it took");
                self.tgkill(*handle).inspect_err(|_| _ = word.withdraw())
            }
        }
    }
    fn confirm(
        &self,
        handle: &ThreadHandle,
        word: &StopWord,
        until: &Option<Deadline>,
    ) -> Result<(), StopError> {
        self.asked.set(self.asked.get() + 1);
        let failed = self.fails(Failing::Confirm);
        let answer = match self.way {
            Way::System => {
                if failed.is_err() {
                    self.kernel.resume(self.named(*handle));
                    return failed;
                }
                self.kernel.thread_context(self.named(*handle));
                Answer::Stopped
            }
            Way::Signal if failed.is_err() => word.withdraw(),
            Way::Signal => word
                .wait(|word, value| futex::wait(word, value, until.as_ref()) != Waited::TimedOut),
        };
        match answer {
            Answer::Stopped => Ok(()),
            Answer::Withdrawn => Err(StopError::NotAnswering),
        }
    }
    fn context(&self, _: &ThreadHandle, _: &StopWord) {}
    fn resume(&self, handle: &ThreadHandle, word: &StopWord) {
        match self.way {
            Way::System => self.kernel.resume(self.named(*handle)),
            Way::Signal => word.resume(futex::wake_one),
        }
    }
    fn interrupt(&self, handle: &ThreadHandle, _: &StopWord) -> Result<bool, StopError> {
        self.fails(Failing::Interrupt)?;
        self.sent.set(self.sent.get() + 1);
        self.tgkill(*handle).map(|()| false)
    }
    fn pause(&self, _: u32) {
        relax();
    }
    fn wait_stopped(&self, word: &AtomicU32, value: u32) {
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
}

pub(crate) struct World<B: Barrier>(Arc<Statics<B>>);

impl<B: Barrier> Clone for World<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

pub(crate) type Ours<B> = Member<B, Simulated>;
pub(crate) type Thread = ThreadRef<Simulated>;

impl<B: Barrier + 'static> World<B> {
    pub(crate) fn new(kernel: Kernel, way: Way, barrier: B) -> Self {
        let kernel = if way == Way::System { kernel.suspending() } else { kernel };
        let simulated = Simulated {
            kernel,
            way,
            here: core::array::from_fn(|_| Here::new()),
            failing: Cell::new(None),
            patience: Cell::new(None),
            sent: Cell::new(0),
            refused: Cell::new(0),
            asked: Payload::new(),
        };
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
        }));
        let theirs = world.clone();
        let handler = Handler::new(move |_| theirs.on_signal()).mask(SigSet::ALL);
        kernel.sigaction(sig::USR1, handler);
        world
    }

    fn on_signal(&self) {
        // SAFETY: of this backend.
        let gate = unsafe { self.gates().backend().here().gate::<Simulated>() };
        let Some(gate) = gate else { return };
        let at = usize::from(core::ptr::eq(gate, &self.statics().each[1]));
        let shown = &self.statics().shown[at];
        let met = gate.on_signal(self.gates().backend(), core::ptr::null_mut());
        shown.handled.set(shown.handled.get() + 1);
        if met == Met::Preempt {
            assert!(!shown.outside.get(), "preempted in external code");
            shown.preempted.set(shown.preempted.get() + 1);
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
    pub(crate) fn suspend(&self, at: usize, thread: Thread) -> Result<(), SuspendError> {
        let shown = &self.statics().shown[at];
        let suspended = self.gates().try_suspend(thread)?;
        assert!(!shown.outside.get(), "suspended in external code");
        shown.heap.set(shown.heap.get() + 1);
        drop(suspended);
        Ok(())
    }

    /// Nobody holds anything any more.
    pub(crate) fn assert_open(&self, at: usize) {
        assert_eq!(self.gate(at).claim_word().kernel_read(), 0, "the gate is closed");
    }
}

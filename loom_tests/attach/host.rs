//! A runtime and a host on the simulated kernel, and the claims that hold at every delivery.

use std::sync::Arc;

use super::super::support::Payload;
use crate::attach::host::{Callback, Host, Slot};
use crate::attach::{
    AsyncSignalSafe, AttachKind, Attached, Binding, Misuse, Runtime, ThreadState, Threads,
};
use crate::extra_list::RecordCounts;
use crate::model::{Handler, How as Change, Kernel, SigSet, Signal, thread, violation};
use crate::note::{Note, Park};
use crate::sync::AtomicU32;
use crate::sync::Ordering::AcqRel;
use crate::sys::Errno;

/// Stacks by number: a record's own is `OWN + index`.
const OWN: usize = 100;
/// A host's stack that is too small to be adopted, and one that is large enough.
pub(crate) const SMALL: usize = 1;
pub(crate) const LARGE: usize = 2;
/// The signal that the simulated C library waits for every thread to answer.
pub(crate) const SETXID: Signal = 33;

/// Threads that a model may have.
const MOST: usize = 4;

pub(crate) struct Simulated {
    kernel: Kernel,
    slots: [Slot; MOST],
    stay_open: SigSet,
    /// How many were made; of no interest to loom.
    stacks: std::sync::atomic::AtomicUsize,
}

// SAFETY: for loom's single system thread.
unsafe impl Sync for Simulated {}

pub(crate) enum Saved {
    Adopted,
    Replaced(Option<usize>),
}

// SAFETY: a slot for each thread by its number; masks and stacks are the simulated kernel's.
unsafe impl Host for Simulated {
    type Mask = SigSet;
    type Stack = usize;
    type Saved = Saved;

    fn slot(&self) -> *const Slot {
        &raw const self.slots[thread::current().number() % MOST]
    }
    unsafe fn claim(&self, _: *const ()) -> bool {
        true
    }
    unsafe fn block(&self) -> SigSet {
        self.kernel.sigmask(Change::Block, SigSet::ALL.minus(self.stay_open))
    }
    unsafe fn restore(&self, mask: SigSet) {
        self.kernel.sigmask(Change::Set, mask);
    }
    unsafe fn make_stack(&self) -> Result<usize, Errno> {
        Ok(OWN + self.stacks.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
    unsafe fn free_stack(&self, _: usize) {}
    unsafe fn enter_stack(&self, own: &usize) -> Saved {
        match self.kernel.sigaltstack(Some(*own)) {
            Err(()) => Saved::Adopted,
            Ok(Some(LARGE)) => {
                let _ = self.kernel.sigaltstack(Some(LARGE));
                Saved::Adopted
            }
            Ok(old) => Saved::Replaced(old),
        }
    }
    unsafe fn leave_stack(&self, own: &usize, saved: Saved) -> Option<Saved> {
        let Saved::Replaced(old) = saved else { return None };
        match self.kernel.sigaltstack(old) {
            Ok(now) if now == Some(*own) => None,
            Ok(now) => {
                _ = self.kernel.sigaltstack(now);
                None
            }
            Err(()) => Some(Saved::Replaced(old)),
        }
    }
    unsafe fn arm(&'static self, exit: Callback) -> Result<(), Errno> {
        // SAFETY: on the thread that asks, at its end.
        self.kernel.at_thread_exit(move || unsafe { exit.run() });
        Ok(())
    }
    unsafe fn at_fork(&'static self, _: Callback) {}
}

/// What the toy runtime keeps for each thread.
pub(crate) struct Kept {
    /// Written by the owner; loom fails two owners, and a use that is not over.
    pub(crate) data: Payload,
    /// For handlers that interrupt the owner.
    nested: Payload,
    /// For whoever runs a handler on the record's stack.
    stack: Payload,
}

pub(crate) struct Toy;

impl Runtime for Toy {
    type Record = Kept;
    fn create(&self, _: usize) -> Option<Kept> {
        Some(Kept { data: Payload::new(), nested: Payload::new(), stack: Payload::new() })
    }
    fn reset(&self, kept: &Kept, _: u32) {
        kept.data.set(0);
    }
}

// SAFETY: a store.
unsafe impl AsyncSignalSafe for Toy {}

pub(crate) type Lot = Threads<Toy, Simulated, 4>;
pub(crate) type Token = Attached<Toy, Simulated, 4>;

/// A `static`, of one execution.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Lot>);

impl Shared {
    /// With one record more than `reserve`, if any is wanted.
    pub(crate) fn new(kernel: Kernel, reserve: u16) -> Self {
        Self::with_open(kernel, reserve, SigSet::EMPTY)
    }

    pub(crate) fn with_open(kernel: Kernel, reserve: u16, stay_open: SigSet) -> Self {
        let slots = core::array::from_fn(|_| Slot::new());
        let host = Simulated { kernel, slots, stay_open, stacks: 0.into() };
        let shared = Self(Arc::new(Threads::new(Toy, host, reserve)));
        // Threads that end use it.
        kernel.keep(shared.clone());
        assert!(shared.lot().create().is_ok());
        shared
    }

    pub(crate) fn lot(&self) -> &'static Lot {
        // SAFETY: longer than true: whoever uses it has a clone, and tokens go before that.
        unsafe { &*Arc::as_ptr(&self.0) }
    }

    /// A first attach must find a clean record; leaves it dirty.
    #[track_caller]
    pub(crate) fn use_fresh(&self, token: &Token) {
        assert_eq!(token.how(), AttachKind::Attached);
        let kept = token.record();
        assert_eq!(kept.data.get(), 0, "carried over from the last owner");
        kept.data.set(7);
    }

    #[track_caller]
    pub(crate) fn attach(&self, binding: Binding) -> Token {
        self.lot().attach(binding).unwrap()
    }

    /// The handler of a runtime: makes the checks that hold at every delivery, and attaches.
    pub(crate) fn handle(&self, kernel: Kernel) {
        let state = self.lot().state();
        let stack = kernel.altstack();
        if state != ThreadState::Unknown {
            let own = self.lot().current();
            if own.is_none() || !kernel.on_altstack() {
                violation("handler on the wrong stack");
            }
            if stack != Some(LARGE) {
                // Two handlers on one stack, or one on a stack whose thread has left.
                own.into_iter().for_each(|kept| kept.stack.set(1));
            }
        }
        match self.lot().attach_in_handler() {
            Ok(token) => {
                let nested = matches!(state, ThreadState::Inside | ThreadState::External);
                assert_eq!(token.how() == AttachKind::Nested, nested);
                assert_eq!(token.was_inside(), state == ThreadState::Inside);
                if nested { token.record().nested.set(1) } else { self.use_fresh(&token) }
            }
            Err(error) => violation(format!("handler refused: {error}")),
        }
        assert_eq!((self.lot().state(), kernel.altstack()), (state, stack));
    }

    pub(crate) fn handler(&self, kernel: Kernel) -> Handler {
        let shared = self.clone();
        Handler::new(move |_| shared.handle(kernel)).onstack()
    }

    #[track_caller]
    pub(crate) fn assert_all_spare(&self) {
        let counts = self.lot().counts();
        let total = counts.total;
        assert_eq!(counts, RecordCounts { total, spare: total, in_use: 0, waiting: 0 });
        assert_eq!(self.lot().misuse(), Misuse::default());
    }
}

/// What a thread had before must be there after.
pub(crate) struct Before(Kernel, SigSet, Option<usize>);

impl Before {
    pub(crate) fn note(kernel: Kernel) -> Self {
        Self(kernel, kernel.sigmask(Change::Block, SigSet::EMPTY), kernel.altstack())
    }
    #[track_caller]
    pub(crate) fn check(&self) {
        assert_eq!(self.0.sigmask(Change::Block, SigSet::EMPTY), self.1, "the mask");
        assert_eq!(self.0.altstack(), self.2, "the alternate stack");
    }
}

const MARKED: u32 = 1;
const EXITING: u32 = 2;

/// glibc's setxid against the end of a thread: each waits for the thread's answer, unless the other
/// came first (nptl/pthread_create.c, nptl/nptl_setxid.c).
pub(crate) struct Setxid {
    flags: AtomicU32,
    thread: Note,
    caller: Note,
}

impl Setxid {
    pub(crate) fn new() -> Self {
        Self { flags: AtomicU32::new(0), thread: Note::new(), caller: Note::new() }
    }

    /// In the handler of the thread that is asked.
    pub(crate) fn answer(&self) {
        self.flags.fetch_and(!MARKED, AcqRel);
        self.thread.wake();
        self.caller.wake();
    }

    pub(crate) fn thread_ends(&self) {
        if self.flags.fetch_or(EXITING, AcqRel) & MARKED != 0 {
            self.thread.sleep(None);
        }
    }

    pub(crate) fn call(&self, kernel: Kernel, thread: thread::ThreadId) {
        if self.flags.fetch_or(MARKED, AcqRel) & EXITING == 0 {
            kernel.tgkill(thread, SETXID);
            self.caller.sleep(None);
        }
    }
}

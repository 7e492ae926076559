//! For those who stop threads in a way of their own: what a backend of the gate is made of, and the
//! barrier's two halves. Who uses [`SystemBackend`](super::SystemBackend) needs nothing of this.
//!
//! What a backend is handed by the gate is the gate's: nothing here can be made or had otherwise, and
//! what would break the gate if a stranger called it is `unsafe`.

use core::fmt;
use core::ptr;

pub use super::barrier::{Barrier, Claim};
pub use super::stop::{StopAnswer, StopWord};
pub use super::turn::Turn;
use super::{Gate, RegisterError};
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, Ordering::*, compiler_fence, model_const_fn};
use crate::sys::Errno;

/// What a signal handler met at the gate of its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Met {
    /// Nothing was asked for: somebody else's signal, or one that came late.
    Nothing,
    /// It was dealt with.
    Something,
    /// A request, and the runtime's code was interrupted: the thread is to be preempted.
    Preempt,
}

/// What each thread has of its own; made to be a thread-local of the backend's.
#[derive(Debug)]
pub struct GateLocal {
    /// The gate at which the thread is registered, if any.
    gate: AtomicPtr<()>,
    /// How many threads it has suspended.
    holds: AtomicU32,
    /// Whether its end has begun.
    ending: AtomicBool,
}

impl GateLocal {
    model_const_fn! {
        /// A thread that is not registered.
        pub const fn new() -> Self {
            Self {
                gate: AtomicPtr::new(ptr::null_mut()),
                holds: AtomicU32::new(0),
                ending: AtomicBool::new(false),
            }
        }
    }

    // ORDERING: Relaxed everywhere here: the thread's own, and its handlers'.
    pub(crate) fn is_registered(&self) -> bool {
        !self.gate.load(Relaxed).is_null()
    }
    pub(super) fn may_register(&self) -> Result<(), RegisterError> {
        match () {
            () if self.is_ending() => Err(RegisterError::ThreadEnding),
            () if self.is_registered() => Err(RegisterError::AlreadyRegistered),
            () => Ok(()),
        }
    }
    /// The gate's handle is there.
    pub(super) fn register<K: Backend>(&self, gate: &'static Gate<K>) {
        // For the thread's own handlers: who finds the gate finds its handle (`gate`).
        // ORDERING: Release, compiler only: a handler runs between two instructions of its thread.
        compiler_fence(Release);
        self.gate.store(ptr::from_ref(gate).cast_mut().cast(), Relaxed);
    }
    pub(crate) fn is_at<K: Backend>(&self, gate: &Gate<K>) -> bool {
        ptr::eq(self.gate.load(Relaxed).cast_const().cast(), gate)
    }
    /// The gate's handle may be changed after that.
    pub(crate) fn unregister(&self) {
        self.gate.store(ptr::null_mut(), Relaxed);
        // For the thread's own handlers: while one can find the gate, its handle is there (`gate`).
        // ORDERING: AcqRel, compiler only: as in `register`; nothing of what follows comes before.
        compiler_fence(AcqRel);
    }

    /// The gate of the calling thread, for the handler of the backend's signal.
    ///
    /// # Safety
    ///
    /// It is the calling thread's, and `K` the backend whose [`here`](Backend::here) gives it.
    pub unsafe fn gate<K: Backend>(&self) -> Option<&'static Gate<K>> {
        // ORDERING: Relaxed: the thread's own.
        let gate = self.gate.load(Relaxed).cast::<Gate<K>>();
        // What `register` did before it stored the pointer, and `unregister` does after it took it away.
        // ORDERING: Acquire, compiler only: to the fences there.
        compiler_fence(Acquire);
        // SAFETY: null, or stored by `register`, which has it for ever; of the same backend, as the
        // caller promises.
        unsafe { gate.as_ref() }
    }

    /// The calling thread's end has begun: it is not registered any more from now on. If it is still, as
    /// its [`Registration`](super::Registration) was forgotten, or is dropped later, then `mark` is
    /// called with its handle, once nobody else has the gate claimed and before anybody else has: what
    /// it wrote there is seen by whoever uses the handle afterwards, who is to be told [`Gone`]. `pause`
    /// is as [`Backend::pause`].
    ///
    /// Waits for the suspension of the calling thread that is under way, if one is.
    ///
    /// [`Gone`]: BackendError::Gone
    ///
    /// # Safety
    ///
    /// As [`gate`](Self::gate). Not in a handler.
    pub unsafe fn thread_ends<K: Backend + 'static>(
        &self,
        mark: impl FnOnce(&K::Handle),
        pause: impl Fn(u32),
    ) {
        // ORDERING: Relaxed: the thread's own.
        self.ending.store(true, Relaxed);
        // SAFETY: as the caller promises.
        if let Some(gate) = unsafe { self.gate::<K>() } {
            gate.thread_ends(mark, pause);
        }
    }
    pub(super) fn is_ending(&self) -> bool {
        // ORDERING: Relaxed: the thread's own.
        self.ending.load(Relaxed)
    }

    /// How many threads the calling one has suspended: while there are any it must not block,
    /// allocate, log or free. Async-signal-safe.
    pub fn holds(&self) -> u32 {
        // ORDERING: Relaxed: the thread's own.
        self.holds.load(Relaxed)
    }
    pub(super) fn hold(&self, change: impl Fn(u32) -> u32) {
        // ORDERING: Relaxed: the thread's own; a handler leaves it as it was.
        self.holds.store(change(self.holds()), Relaxed);
    }
}

impl Default for GateLocal {
    fn default() -> Self {
        Self::new()
    }
}

/// The calling thread's own, for as long as `body` runs.
pub(crate) fn with_local<K: Backend, R>(backend: &K, body: impl FnOnce(&GateLocal) -> R) -> R {
    // SAFETY: `Backend`'s implementer promises that it is there while the calling thread lives, and
    // that is longer than the call. `body` cannot keep it.
    body(unsafe { &*backend.here() })
}

/// Why a backend could not do what it was asked to do to a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendError {
    /// There is no such thread any more.
    Gone,
    /// It did not stop in time, and will not any more.
    NotAnswering,
    /// The system refused.
    Refused(Errno),
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the thread has ended"),
            Self::NotAnswering => f.write_str("the thread did not stop in time"),
            Self::Refused(errno) => write!(f, "the system refused: {errno}"),
        }
    }
}

impl core::error::Error for BackendError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused(errno) => Some(errno),
            _ => None,
        }
    }
}

/// How threads are stopped on this system.
///
/// Methods that act on a handle or a stop word are `unsafe`: the gate calls them, each with what
/// belongs to one gate, and each says when.
///
/// # Safety
///
/// The implementer promises:
///
/// - `here` returns the same for as long as the calling thread lives, valid for that long, to no other
///   thread, blank at first; and all backends of a process that can stop the same thread return the same.
/// - `turn` returns the same always; and all backends of a process that can stop the same thread return
///   the same: two that are stopped by each other, by turns of their own, wait for ever.
/// - After `confirm` succeeded the thread runs no instruction of its own, and what it did is visible,
///   until `resume`. After `ask` or `confirm` failed it runs on.
/// - A handle names its thread and no other for as long as the gate has it, also if the thread ends
///   without `close`: [`GateLocal::thread_ends`] is made for systems that give names out again.
/// - None of them unwinds.
pub unsafe trait Backend: Sync + Sized {
    /// Names a thread to the system, also when others end.
    type Handle;
    /// The registers of a stopped thread.
    type Context;
    /// What there is after the process's end: nothing, but in a model.
    type Exited;
    /// How long a wait for threads may be.
    type Patience;

    /// The calling thread's own. Async-signal-safe.
    fn here(&self) -> *const GateLocal;
    /// The turn among all that stop threads.
    fn turn(&self) -> &Turn;

    /// A handle of the calling thread.
    ///
    /// # Errors
    ///
    /// The thread is not registered.
    ///
    /// # Safety
    ///
    /// Called by [`Gates::register`](super::Gates::register), and in the child of a fork by
    /// [`reset_after_fork`](super::Gates::reset_after_fork), on a thread whose end has not begun.
    unsafe fn open(&'static self) -> Result<Self::Handle, RegisterError>;

    /// The calling thread's handle is of no use any more.
    ///
    /// # Safety
    ///
    /// Called by the drop of a [`Registration`](super::Registration), on its thread, once, when nobody
    /// uses the handle any more.
    unsafe fn close(&self, handle: Self::Handle);

    /// Until when threads may take to stop: asked once for all that are stopped together, in the turn;
    /// after so many attempts that [gave way](Self::gave_way).
    fn patience(&self, attempts: u32) -> Self::Patience;

    /// Keeps others in the process from stopping the calling thread, until [`unmask`](Self::unmask): by a
    /// signal of theirs, say. Called before the turn may be had; never twice.
    fn mask(&self) {}

    /// Takes [`mask`](Self::mask) back: the calling thread has neither the turn nor any thread stopped.
    fn unmask(&self) {}

    /// Whether [`confirm`](Self::confirm) gave up on a thread within this patience because somebody else
    /// wants to stop the calling thread, who may have stopped that other one already. All that were
    /// asked are let go then, and asked anew when the calling thread has been unmasked for a moment.
    fn gave_way(&self, _: &Self::Patience) -> bool {
        false
    }

    /// Asks the thread to stop.
    ///
    /// # Errors
    ///
    /// Why it was not asked.
    ///
    /// # Safety
    ///
    /// Called by who has the turn, and has claimed the gate that handle and word belong to: no two at a
    /// time, and each happens after the one before.
    unsafe fn ask(
        &self,
        handle: &Self::Handle,
        word: &StopWord,
        patience: &Self::Patience,
    ) -> Result<(), BackendError>;

    /// Waits until it has.
    ///
    /// # Errors
    ///
    /// Why it has not.
    ///
    /// # Safety
    ///
    /// Called after [`ask`](Self::ask) succeeded, in the same turn and under the same claim, once.
    unsafe fn confirm(
        &self,
        handle: &Self::Handle,
        word: &StopWord,
        patience: &Self::Patience,
    ) -> Result<(), BackendError>;

    /// What the stopped thread was doing.
    ///
    /// # Safety
    ///
    /// Called between [`confirm`](Self::confirm) and [`resume`](Self::resume) by the thread that called
    /// the one and will call the other.
    unsafe fn context(&self, handle: &Self::Handle, word: &StopWord) -> Self::Context;

    /// Lets it go on.
    ///
    /// # Safety
    ///
    /// Called once after [`confirm`](Self::confirm) succeeded, under the same claim, by the same thread.
    unsafe fn resume(&self, handle: &Self::Handle, word: &StopWord);

    /// Interrupts the thread so that it comes to be preempted: true if that is over already, false
    /// if the thread will call [`Gate::on_signal`].
    ///
    /// # Errors
    ///
    /// Why it was not interrupted.
    ///
    /// # Safety
    ///
    /// Called by who has the turn and has claimed the gate that handle and word belong to, whose thread
    /// is not stopped.
    unsafe fn interrupt(
        &self,
        handle: &Self::Handle,
        word: &StopWord,
    ) -> Result<bool, BackendError>;

    /// One turn of a wait for another thread, after so many others. It may need this processor; after
    /// `u32::MAX` it does.
    fn pause(&self, turn: u32);

    /// Sleeps while the word has this value, or less.
    ///
    /// # Safety
    ///
    /// Called by [`Gate::on_signal`], in the handler of a thread that is to stand still.
    unsafe fn wait_stopped(&self, word: &AtomicU32, value: u32);

    /// Wakes who sleeps on the word. Async-signal-safe.
    fn wake(&self, word: &AtomicU32);

    /// Ends the process.
    fn exit(&self, code: i32) -> Self::Exited;
}

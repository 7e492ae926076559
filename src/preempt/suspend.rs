//! Suspending: the steps of one attempt, and of many at once.

use core::fmt;
use core::marker::PhantomData;
use core::ptr;

use super::{
    Barrier, EXTERNAL, Gate, Gates, INSIDE, Request, STATE, StopWord, SuspendError, ThreadRef,
    WANTED,
};
use crate::preempt::request::Asked;
use crate::sync::{AtomicPtr, AtomicU32, Ordering::*, model_const_fn};
use crate::sys::Errno;

/// What each thread has of its own.
#[derive(Debug)]
pub struct Here {
    /// The gate at which the thread is registered, if any.
    gate: AtomicPtr<()>,
    /// How many threads it has suspended.
    holds: AtomicU32,
}

impl Here {
    model_const_fn! {
        /// A thread that is not registered.
        pub const fn new() -> Self {
            Self { gate: AtomicPtr::new(ptr::null_mut()), holds: AtomicU32::new(0) }
        }
    }

    // ORDERING: Relaxed everywhere here: the thread's own, and its handlers'.
    pub(super) fn is_registered(&self) -> bool {
        !self.gate.load(Relaxed).is_null()
    }
    pub(super) fn register<K: Backend>(&self, gate: &'static Gate<K>) {
        self.gate.store(ptr::from_ref(gate).cast_mut().cast(), Relaxed);
    }
    pub(super) fn is_at<K: Backend>(&self, gate: &Gate<K>) -> bool {
        ptr::eq(self.gate.load(Relaxed).cast_const().cast(), gate)
    }
    pub(crate) fn unregister(&self) {
        self.gate.store(ptr::null_mut(), Relaxed);
    }
    /// The gate of the calling thread, for the handler of the backend's signal.
    ///
    /// # Safety
    ///
    /// `K` is the backend whose `here` this is.
    pub unsafe fn gate<K: Backend>(&self) -> Option<&'static Gate<K>> {
        // ORDERING: Relaxed: the thread's own.
        // SAFETY: stored by `register`, which has it for ever, of the same backend.
        unsafe { self.gate.load(Relaxed).cast::<Gate<K>>().as_ref() }
    }
    /// How many threads the calling one has suspended: while there are any it must not block,
    /// allocate, log or free.
    pub fn holds(&self) -> u32 {
        // ORDERING: Relaxed: the thread's own.
        self.holds.load(Relaxed)
    }
    fn hold(&self, change: impl Fn(u32) -> u32) {
        // ORDERING: Relaxed: the thread's own; a handler leaves it as it was.
        self.holds.store(change(self.holds()), Relaxed);
    }
}

impl Default for Here {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a thread did not stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopError {
    /// There is no such thread any more.
    Gone,
    /// It did not stop in time, and will not any more.
    NotAnswering,
    /// The system refused.
    Refused(Errno),
}

/// How threads are stopped on this system.
///
/// # Safety
///
/// `here` returns the same for as long as the calling thread lives, to no other thread, blank at
/// first. After `confirm` succeeded the thread runs no instruction of its own, and what it did is
/// visible, until `resume`. After `ask` or `confirm` failed it runs on.
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
    fn here(&self) -> &Here;
    /// A handle of the calling thread.
    fn open(&'static self) -> Result<Self::Handle, Errno>;
    /// The calling thread's handle is of no use any more.
    fn close(&self, handle: Self::Handle);
    /// Until when threads may take to stop: asked once for all that are stopped together.
    fn patience(&self) -> Self::Patience;
    /// Asks the thread to stop. By turns, as `confirm` is: no two at a time, and each happens after
    /// the one before.
    fn ask(
        &self,
        handle: &Self::Handle,
        word: &StopWord,
        patience: &Self::Patience,
    ) -> Result<(), StopError>;
    /// Waits until it has.
    fn confirm(
        &self,
        handle: &Self::Handle,
        word: &StopWord,
        patience: &Self::Patience,
    ) -> Result<(), StopError>;
    /// What the stopped thread was doing.
    fn context(&self, handle: &Self::Handle, word: &StopWord) -> Self::Context;
    /// Lets it go on.
    fn resume(&self, handle: &Self::Handle, word: &StopWord);
    /// Interrupts the thread so that it comes to be preempted: true if that is over already, false
    /// if the thread will call [`Gate::on_signal`].
    fn interrupt(&self, handle: &Self::Handle, word: &StopWord) -> Result<bool, StopError>;
    /// One turn of a wait for another thread, after so many others. It may need this processor; after
    /// `u32::MAX` it does.
    fn pause(&self, turn: u32);
    /// In the handler of a stopped thread: sleeps while the word has this value, or less.
    fn wait_stopped(&self, word: &AtomicU32, value: u32);
    /// Wakes who sleeps on the word. Async-signal-safe.
    fn wake(&self, word: &AtomicU32);
    /// Ends the process.
    fn exit(&self, code: i32) -> Self::Exited;
}

/// A thread that is to be stopped with others.
#[derive(Debug)]
pub struct Target<K: Backend + 'static> {
    thread: ThreadRef<K>,
    outcome: Result<(), SuspendError>,
}

impl<K: Backend> Target<K> {
    /// This thread.
    #[must_use]
    pub const fn new(thread: ThreadRef<K>) -> Self {
        Self { thread, outcome: Err(SuspendError::Busy) }
    }
    /// This thread.
    #[must_use]
    pub const fn thread(&self) -> ThreadRef<K> {
        self.thread
    }
    /// Whether it was stopped.
    ///
    /// # Errors
    ///
    /// Why not.
    pub const fn outcome(&self) -> Result<(), SuspendError> {
        self.outcome
    }
}

/// A suspended thread; resumed when this is dropped. If this is forgotten, it never is.
///
/// While there is one the calling thread must not block, allocate, free, log, or take any lock:
/// the suspended thread may have it.
#[must_use = "the thread is resumed when this is dropped"]
pub struct Suspended<'a, B: Barrier, K: Backend + 'static> {
    gates: &'a Gates<B, K>,
    thread: ThreadRef<K>,
    /// Not `Send`: it is counted in its thread.
    own: PhantomData<*const ()>,
}

/// Suspended threads; resumed when this is dropped. As [`Suspended`].
#[must_use = "the threads are resumed when this is dropped"]
pub struct StoppedAll<'a, B: Barrier, K: Backend + 'static> {
    gates: &'a Gates<B, K>,
    targets: &'a mut [Target<K>],
    own: PhantomData<*const ()>,
}

impl<B: Barrier, K: Backend> Gates<B, K> {
    /// Suspends a thread, and returns when it stands still.
    ///
    /// # Errors
    ///
    /// See [`SuspendError`]; the thread runs on.
    pub fn try_suspend(&self, thread: ThreadRef<K>) -> Result<Suspended<'_, B, K>, SuspendError> {
        self.take_turn();
        let done = self.claim(thread).and_then(|()| {
            self.barrier.heavy();
            let patience = self.backend.patience();
            self.ask(thread, &patience)?;
            self.confirm(thread, &patience)
        });
        self.turn.give();
        done?;
        self.backend.here().hold(|count| count + 1);
        Ok(Suspended { gates: self, thread, own: PhantomData })
    }

    /// Suspends threads: asks all of them before it waits for any. Those that could not be are
    /// left alone and say why. One that was outside comes back when it likes: a runtime whose world
    /// it must not find running asks a word of its own there, as after every callback.
    pub fn stop_all<'a>(&'a self, targets: &'a mut [Target<K>]) -> StoppedAll<'a, B, K> {
        self.take_turn();
        targets.iter_mut().for_each(|target| target.outcome = self.claim(target.thread));
        self.barrier.heavy();
        let patience = self.backend.patience();
        for step in [Self::ask, Self::confirm] {
            for Target { thread, outcome } in targets.iter_mut() {
                *outcome = outcome.and_then(|()| step(self, *thread, &patience));
            }
        }
        self.turn.give();
        let stopped = targets.iter().filter(|target| target.outcome.is_ok()).count();
        self.backend.here().hold(|held| held + stopped as u32);
        StoppedAll { gates: self, targets, own: PhantomData }
    }

    /// Asks a thread to be preempted: where it runs the runtime's code next, or has since, its
    /// handler finds it so ([`Gate::on_signal`]). Sends a signal only if none is under way.
    ///
    /// # Errors
    ///
    /// See [`SuspendError`]: external code is not preempted, nor is a thread that is suspended.
    pub fn request(&self, thread: ThreadRef<K>) -> Result<Request<K>, SuspendError> {
        self.with_claim(thread, |gate| match gate.requests.ask() {
            Asked::UnderWay(generation) => Ok(Request::new(thread, generation)),
            Asked::New(generation) => {
                self.interrupt(gate).map(|()| Request::new(thread, generation))
            }
        })
    }

    /// Sends the signal of a request once more: for one that another handler, or sigwait, may have
    /// swallowed. Not more often than that can be: the thread has to handle it.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request).
    pub fn send_again(&self, request: &Request<K>) -> Result<(), SuspendError> {
        if request.is_acknowledged() {
            return Ok(());
        }
        self.with_claim(request.thread(), |gate| self.interrupt(gate))
    }

    fn interrupt(&self, gate: &Gate<K>) -> Result<(), SuspendError> {
        let sent = gate
            .handle()
            .map_or(Err(StopError::Gone), |handle| self.backend.interrupt(handle, &gate.stop));
        if sent != Ok(false) {
            // There will be no handler to do it.
            gate.requests.acknowledge();
        }
        sent.map(|_| ()).map_err(refused)
    }

    fn with_claim<T>(
        &self,
        thread: ThreadRef<K>,
        body: impl FnOnce(&Gate<K>) -> Result<T, SuspendError>,
    ) -> Result<T, SuspendError> {
        self.take_turn();
        let done = self.claim(thread).and_then(|()| {
            self.barrier.heavy();
            let done = self.is_inside(thread).and_then(|()| body(thread.gate));
            thread.gate.release();
            done
        });
        self.turn.give();
        done
    }

    fn claim(&self, thread: ThreadRef<K>) -> Result<(), SuspendError> {
        if self.backend.here().is_at(thread.gate) {
            // ORDERING: Relaxed: the thread's own.
            let own = thread.gate.own.load(Relaxed) & !STATE;
            let same = own == thread.generation;
            return Err(if same { SuspendError::Oneself } else { SuspendError::Gone });
        }
        thread.gate.claim().map_err(|seen| match seen {
            seen if seen & WANTED != 0 => SuspendError::External,
            _ => SuspendError::Busy,
        })
    }

    /// By who has claimed it, after the barrier.
    fn is_inside(&self, thread: ThreadRef<K>) -> Result<(), SuspendError> {
        // ORDERING: Acquire: E3 from `go_out`. Weakened: preempt external_is_published.
        let own = thread.gate.own.load(Acquire);
        match own & STATE {
            _ if own & !STATE != thread.generation => Err(SuspendError::Gone),
            INSIDE => Ok(()),
            EXTERNAL if thread.gate.is_waiting() => Ok(()),
            EXTERNAL => Err(SuspendError::External),
            _ => Err(SuspendError::Gone),
        }
    }

    /// Releases the claim unless it succeeds (I2).
    fn ask(&self, thread: ThreadRef<K>, patience: &K::Patience) -> Result<(), SuspendError> {
        let gate = thread.gate;
        let asked = self.is_inside(thread).and_then(|()| {
            let handle = gate.handle().ok_or(SuspendError::Gone)?;
            self.backend.ask(handle, &gate.stop, patience).map_err(refused)
        });
        asked.inspect_err(|_| gate.release())
    }

    /// Releases the claim unless it succeeds (I2).
    fn confirm(&self, thread: ThreadRef<K>, patience: &K::Patience) -> Result<(), SuspendError> {
        let gate = thread.gate;
        let confirmed = match gate.handle() {
            Some(handle) => self.backend.confirm(handle, &gate.stop, patience).map_err(refused),
            None => Err(SuspendError::Gone),
        };
        confirmed.inspect_err(|_| gate.release())
    }

    /// Nothing but the backend's call, and the gate: see [`Suspended`].
    fn resume(&self, gate: &Gate<K>) {
        if let Some(handle) = gate.handle() {
            self.backend.resume(handle, &gate.stop);
        }
        gate.release();
    }

    pub(crate) fn take_turn(&self) {
        self.turn.take(|turn| self.backend.pause(turn));
    }
}

fn refused(error: StopError) -> SuspendError {
    match error {
        StopError::Gone => SuspendError::Gone,
        StopError::NotAnswering => SuspendError::NotAnswering,
        StopError::Refused(errno) => SuspendError::Refused(errno),
    }
}

impl<B: Barrier, K: Backend> Suspended<'_, B, K> {
    /// The suspended thread.
    #[must_use]
    pub fn thread(&self) -> ThreadRef<K> {
        self.thread
    }

    /// What it was doing.
    #[must_use]
    pub fn context(&self) -> Option<K::Context> {
        self.thread.gate.context(&self.gates.backend)
    }
}

impl<K: Backend> Gate<K> {
    /// By who has its thread stopped.
    fn context(&self, backend: &K) -> Option<K::Context> {
        Some(backend.context(self.handle()?, &self.stop))
    }
}

impl<B: Barrier, K: Backend> Drop for Suspended<'_, B, K> {
    fn drop(&mut self) {
        self.gates.resume(self.thread.gate);
        self.gates.backend.here().hold(|count| count.saturating_sub(1));
    }
}

impl<B: Barrier, K: Backend> StoppedAll<'_, B, K> {
    /// All that were to be stopped, with what became of each.
    #[must_use]
    pub fn targets(&self) -> &[Target<K>] {
        self.targets
    }

    /// Those that were, and what they were doing.
    pub fn stopped(&self) -> impl Iterator<Item = (ThreadRef<K>, Option<K::Context>)> {
        let stopped = self.targets.iter().filter(|target| target.outcome.is_ok());
        stopped.map(|target| (target.thread, target.thread.gate.context(&self.gates.backend)))
    }
}

impl<B: Barrier, K: Backend> Drop for StoppedAll<'_, B, K> {
    fn drop(&mut self) {
        let mut count = 0;
        for target in self.targets.iter().filter(|target| target.outcome.is_ok()) {
            self.gates.resume(target.thread.gate);
            count += 1;
        }
        self.gates.backend.here().hold(|held| held.saturating_sub(count));
    }
}

impl<B: Barrier, K: Backend> fmt::Debug for Suspended<'_, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspended").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl<B: Barrier, K: Backend> fmt::Debug for StoppedAll<'_, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoppedAll").finish_non_exhaustive()
    }
}

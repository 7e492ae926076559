//! Suspending: the steps of one attempt, and of many at once.

use core::fmt;
use core::marker::PhantomData;
use core::ptr;

use super::host::{Backend, BackendError, Barrier, with_local};
use super::{EXTERNAL, Gate, Gates, HELD, INSIDE, Request, STATE, SuspendError, ThreadRef, WANTED};
use crate::preempt::request::Asked;
use crate::sync::Ordering::*;
use crate::sys::Errno;

/// A thread that is to be stopped with others.
#[derive(Debug)]
pub struct Target<B: Barrier + 'static, K: Backend + 'static> {
    thread: ThreadRef<B, K>,
    outcome: Result<(), SuspendError>,
}

impl<B: Barrier, K: Backend> Target<B, K> {
    /// This thread.
    #[must_use]
    pub const fn new(thread: ThreadRef<B, K>) -> Self {
        Self { thread, outcome: Err(SuspendError::Busy) }
    }
    /// This thread.
    #[must_use]
    pub const fn thread(&self) -> ThreadRef<B, K> {
        self.thread
    }
    /// Whether it was stopped by the last [`Gates::stop_all`] that this was given to.
    ///
    /// # Errors
    ///
    /// Why not. As for one that is busy where it was given to none.
    pub const fn outcome(&self) -> Result<(), SuspendError> {
        self.outcome
    }
}

/// A suspended thread; resumed when this is dropped. If this is forgotten, it never is: others are told
/// that it is busy, and the calling thread counts as holding it for ever, its signals masked.
///
/// While there is one the calling thread must not block, allocate, free, log, or take any lock:
/// the suspended thread may have it. Nor do its handlers run, but for faults and what interrupts it for
/// this crate: on Unix it masks the signals of others.
#[must_use = "the thread is resumed when this is dropped"]
pub struct Suspended<'a, B: Barrier + 'static, K: Backend + 'static> {
    gates: &'a Gates<B, K>,
    thread: ThreadRef<B, K>,
    /// Not `Send`: it is counted in its thread.
    own: PhantomData<*const ()>,
}

/// Suspended threads; resumed when this is dropped. As [`Suspended`]: if this is forgotten they never are,
/// and whoever uses the targets again finds them busy.
#[must_use = "the threads are resumed when this is dropped"]
pub struct StoppedAll<'a, B: Barrier + 'static, K: Backend + 'static> {
    gates: &'a Gates<B, K>,
    targets: &'a mut [Target<B, K>],
    own: PhantomData<*const ()>,
}

impl<B: Barrier, K: Backend> Gates<B, K> {
    /// Suspends a thread, and returns when it stands still. Waits for its turn among all that suspend
    /// threads, and for as long as the backend is patient with the thread. Not for handlers: one that
    /// interrupts a suspension would wait for what it interrupted.
    ///
    /// # Errors
    ///
    /// See [`SuspendError`]; the thread runs on.
    pub fn try_suspend(
        &self,
        thread: ThreadRef<B, K>,
    ) -> Result<Suspended<'_, B, K>, SuspendError> {
        let mut attempts = 0;
        loop {
            self.take_turn();
            let patience = self.backend.patience(attempts);
            let done = self.attempt(thread, &patience);
            self.give_turn(u32::from(done.is_ok()));
            match done {
                Err(SuspendError::NotAnswering) if self.backend.gave_way(&patience) => {}
                done => return done.map(|()| Suspended { gates: self, thread, own: PhantomData }),
            }
            attempts += 1;
        }
    }

    fn attempt(&self, thread: ThreadRef<B, K>, patience: &K::Patience) -> Result<(), SuspendError> {
        self.claim(thread)?;
        self.barrier.heavy().map_err(|errno| no_barrier(thread, errno))?;
        self.ask(thread, patience)?;
        self.confirm(thread, patience)
    }

    /// Suspends threads: asks all of them before it waits for any. Those that could not be are
    /// left alone and say why. One that was outside comes back when it likes: a runtime whose world
    /// it must not find running asks a word of its own there, as after every callback.
    pub fn stop_all<'a>(&'a self, targets: &'a mut [Target<B, K>]) -> StoppedAll<'a, B, K> {
        let mut attempts = 0;
        loop {
            self.take_turn();
            let patience = self.backend.patience(attempts);
            self.attempt_all(targets, &patience);
            let gave_way = self.backend.gave_way(&patience);
            if gave_way {
                targets.iter_mut().for_each(|target| self.let_go(target));
            }
            let stopped = targets.iter().filter(|target| target.outcome.is_ok()).count() as u32;
            self.give_turn(stopped);
            if !gave_way {
                return StoppedAll { gates: self, targets, own: PhantomData };
            }
            attempts += 1;
        }
    }

    fn attempt_all(&self, targets: &mut [Target<B, K>], patience: &K::Patience) {
        targets.iter_mut().for_each(|target| target.outcome = self.claim(target.thread));
        if let Err(errno) = self.barrier.heavy() {
            for Target { thread, outcome } in targets.iter_mut() {
                *outcome = outcome.and_then(|()| Err(no_barrier(*thread, errno)));
            }
        }
        for step in [Self::ask, Self::confirm] {
            for Target { thread, outcome } in targets.iter_mut() {
                *outcome = outcome.and_then(|()| step(self, *thread, patience));
            }
        }
    }

    /// One that stopped in an attempt that gave way.
    fn let_go(&self, target: &mut Target<B, K>) {
        if target.outcome.is_ok() {
            self.resume(target.thread.gate);
            target.outcome = Err(SuspendError::NotAnswering);
        }
    }

    /// Asks a thread to be preempted: where it runs the runtime's code next, or has since, its
    /// handler finds it so ([`Gate::on_signal`]). Sends a signal only if none is under way. Waits as
    /// [`try_suspend`](Self::try_suspend) does.
    ///
    /// # Errors
    ///
    /// See [`SuspendError`]: external code is not preempted, nor is a thread that is suspended.
    pub fn request(&self, thread: ThreadRef<B, K>) -> Result<Request<B, K>, SuspendError> {
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
    pub fn send_again(&self, request: &Request<B, K>) -> Result<(), SuspendError> {
        self.is_ours(request.thread())?;
        if request.is_acknowledged() {
            return Ok(());
        }
        self.with_claim(request.thread(), |gate| self.interrupt(gate))
    }

    fn interrupt(&self, gate: &Gate<K>) -> Result<(), SuspendError> {
        let sent = gate.handle().map_or(Err(BackendError::Gone), |handle| {
            // SAFETY: in a turn, the gate claimed, by `with_claim`; its thread was seen INSIDE.
            unsafe { self.backend.interrupt(handle, &gate.stop) }
        });
        if sent != Ok(false) {
            // There will be no handler to do it.
            gate.requests.acknowledge();
        }
        sent.map(|_| ()).map_err(SuspendError::from)
    }

    fn with_claim<T>(
        &self,
        thread: ThreadRef<B, K>,
        body: impl FnOnce(&Gate<K>) -> Result<T, SuspendError>,
    ) -> Result<T, SuspendError> {
        self.take_turn();
        let done = self.claim(thread).and_then(|()| {
            self.barrier.heavy().map_err(|errno| no_barrier(thread, errno))?;
            let done = self.is_inside(thread).and_then(|()| body(thread.gate));
            thread.gate.release();
            done
        });
        self.give_turn(0);
        done
    }

    /// By the barrier of another one E1 does not hold (I8).
    fn is_ours(&self, thread: ThreadRef<B, K>) -> Result<(), SuspendError> {
        if ptr::eq(self, thread.gates) { Ok(()) } else { Err(SuspendError::OtherGates) }
    }

    fn claim(&self, thread: ThreadRef<B, K>) -> Result<(), SuspendError> {
        self.is_ours(thread)?;
        if with_local(&self.backend, |own| own.is_at(thread.gate)) {
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

    /// By who has claimed it, after the barrier. One that waits to go out might be told External as well: it is out
    /// as soon as the caller lets go. But until then it runs the runtime's code, so the caller gets what it asks for.
    fn is_inside(&self, thread: ThreadRef<B, K>) -> Result<(), SuspendError> {
        // ORDERING: Acquire: E3 from `go_out`. Weakened: preempt external_is_published.
        let own = thread.gate.own.load(Acquire);
        match own & STATE {
            _ if own & !STATE != thread.generation => Err(SuspendError::Gone),
            INSIDE => Ok(()),
            EXTERNAL | HELD if thread.gate.is_waiting() => Ok(()),
            EXTERNAL => Err(SuspendError::External),
            HELD => Err(SuspendError::Held),
            _ => Err(SuspendError::Gone),
        }
    }

    /// Releases the claim unless it succeeds (I2).
    fn ask(&self, thread: ThreadRef<B, K>, patience: &K::Patience) -> Result<(), SuspendError> {
        let gate = thread.gate;
        let asked = self.is_inside(thread).and_then(|()| {
            let handle = gate.handle().ok_or(SuspendError::Gone)?;
            // SAFETY: in a turn, the gate claimed, by the two callers.
            unsafe { self.backend.ask(handle, &gate.stop, patience) }.map_err(SuspendError::from)
        });
        asked.inspect_err(|_| gate.release())
    }

    /// Releases the claim unless it succeeds (I2).
    fn confirm(&self, thread: ThreadRef<B, K>, patience: &K::Patience) -> Result<(), SuspendError> {
        let gate = thread.gate;
        let confirmed = match gate.handle() {
            // SAFETY: after `ask`, in the same turn and under the same claim, by the two callers.
            Some(handle) => unsafe { self.backend.confirm(handle, &gate.stop, patience) },
            None => Err(BackendError::Gone),
        };
        let confirmed = confirmed.map_err(SuspendError::from);
        confirmed.inspect_err(|_| gate.release())
    }

    /// Nothing but the backend's call, and the gate: see [`Suspended`].
    fn resume(&self, gate: &Gate<K>) {
        if let Some(handle) = gate.handle() {
            // SAFETY: it is confirmed, and its claim the caller's: from the drop of what says so, which
            // happens once, on the thread that confirmed it.
            unsafe { self.backend.resume(handle, &gate.stop) };
        }
        // Behind it, so that the handle is used under a claim, as I6 has it. In front of it would do: a thread that
        // stands still changes no handle, and who claims it meanwhile waits in `StopWord::ask` until it has left
        // its handler, or is counted beside us by the system.
        gate.release();
    }

    pub(crate) fn take_turn(&self) {
        self.backend.turn().take(|turn| self.backend.pause(turn), |on| self.mask(on));
    }

    /// With so many threads stopped in it.
    fn give_turn(&self, stopped: u32) {
        self.backend.turn().give();
        with_local(&self.backend, |own| own.hold(|held| held.saturating_add(stopped)));
        self.mask(false);
    }

    fn lets_go(&self, stopped: u32) {
        with_local(&self.backend, |own| own.hold(|held| held.saturating_sub(stopped)));
        self.mask(false);
    }

    /// Who holds threads is masked already, and stays so (I9).
    fn mask(&self, on: bool) {
        match on {
            _ if self.holds() > 0 => {}
            true => self.backend.mask(),
            false => self.backend.unmask(),
        }
    }
}

impl<B: Barrier, K: Backend> Suspended<'_, B, K> {
    /// The suspended thread.
    #[must_use]
    pub fn thread(&self) -> ThreadRef<B, K> {
        self.thread
    }

    /// What it was doing. A pointer in it is good until the thread is resumed.
    #[must_use]
    pub fn context(&self) -> Option<K::Context> {
        self.thread.gate.context(&self.gates.backend)
    }
}

impl<K: Backend> Gate<K> {
    /// By who has its thread stopped.
    fn context(&self, backend: &K) -> Option<K::Context> {
        // SAFETY: its thread is stopped, by what the caller lends: that is not `Send`, so it is the
        // thread that confirmed it.
        Some(unsafe { backend.context(self.handle()?, &self.stop) })
    }
}

impl<B: Barrier, K: Backend> Drop for Suspended<'_, B, K> {
    fn drop(&mut self) {
        self.gates.resume(self.thread.gate);
        self.gates.lets_go(1);
    }
}

impl<B: Barrier, K: Backend> StoppedAll<'_, B, K> {
    /// All that were to be stopped, with what became of each.
    #[must_use]
    pub fn targets(&self) -> &[Target<B, K>] {
        self.targets
    }

    /// Those that were, and what they were doing.
    pub fn stopped(&self) -> impl Iterator<Item = (ThreadRef<B, K>, Option<K::Context>)> {
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
        if count > 0 {
            self.gates.lets_go(count);
        }
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

/// The thread, which the caller has claimed, may be outside and not be seen to be (I2).
fn no_barrier<B: Barrier, K: Backend>(thread: ThreadRef<B, K>, errno: Errno) -> SuspendError {
    thread.gate.release();
    SuspendError::NoBarrier(errno)
}

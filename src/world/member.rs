//! A thread of the world, from its own side: entering, polling, going out and coming in, leaving.

use core::fmt;
use core::marker::PhantomData;

use super::stop::{Back, Late, Outcome};
use super::{EnterError, OwnStop, Reserved, StopError, ThreadRef, World};
use crate::note::Deadline;
use crate::preempt::host::{Backend, Barrier};

/// The calling thread is in the world while this is alive, and leaves when it is dropped.
///
/// If this is forgotten, the thread counts as running the runtime's code until it ends, if the backend is told of
/// that ([`GateLocal::thread_ends`]): whoever stops the world waits for it. Its slot is lost.
///
/// [`GateLocal::thread_ends`]: crate::preempt::host::GateLocal::thread_ends
#[must_use = "the thread leaves the world when this is dropped"]
pub struct Member<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static>(Place<R, B, K>);

/// A slot that waits for its thread; free again if this is dropped.
#[must_use = "the slot is free again when this is dropped"]
pub struct Birth<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    world: &'static World<R, B, K>,
    reserved: Reserved<R, K>,
}

/// The calling thread is outside while this is alive: nobody waits for it. It comes in when this is dropped,
/// by a panic too, and waits for that while the world is stopped. If this is forgotten, it comes in when it
/// goes out and comes in the next time, or leaves.
#[must_use = "the thread comes in when this is dropped"]
pub struct External<'a, R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    place: Place<R, B, K>,
    inner: PhantomData<&'a mut ()>,
}

/// The calling thread was called back by external code, and is inside while this is alive.
#[must_use = "the thread is out again when this is dropped"]
pub struct Inside<'a, R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    place: Place<R, B, K>,
    outer: PhantomData<&'a mut ()>,
}

/// The calling thread's slot.
pub(super) struct Place<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    world: &'static World<R, B, K>,
    thread: ThreadRef<B, K>,
    record: &'static R,
    /// Not `Send`: it is its thread's.
    own: PhantomData<*const ()>,
}

impl<R: Sync, B: Barrier, K: Backend> Clone for Place<R, B, K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R: Sync, B: Barrier, K: Backend> Copy for Place<R, B, K> {}

impl<R: Sync, B: Barrier, K: Backend> Place<R, B, K> {
    #[inline]
    pub(super) fn come_in(self) {
        self.world.gates.come_in(self.thread);
    }

    #[inline]
    fn go_out(self) {
        self.world.gates.steps_out(self.thread);
    }

    fn external<'a>(self) -> External<'a, R, B, K> {
        self.go_out();
        External { place: self, inner: PhantomData }
    }

    #[inline]
    fn poll(self) {
        if self.thread.is_shut() {
            self.world.gates.stand(self.thread);
        }
    }

    /// Comes in when that is over, or refused: not before, as its own gate is shut, too.
    fn steps_aside<'a>(self) -> Back<'a, R, B, K> {
        self.go_out();
        Back(self, PhantomData)
    }

    fn stop<'a>(self) -> Result<OwnStop<'a, R, B, K>, StopError> {
        Late::begin(self.world, self.steps_aside()).wait()
    }

    fn stop_by<'a>(self, deadline: &Deadline) -> Outcome<R, B, K, Back<'a, R, B, K>> {
        Late::begin_by(self.world, self.steps_aside(), deadline)?.wait_by(deadline)
    }
}

impl<R: Sync, B: Barrier, K: Backend> Birth<R, B, K> {
    pub(super) fn new(world: &'static World<R, B, K>, reserved: Reserved<R, K>) -> Self {
        Self { world, reserved }
    }

    /// What the runtime keeps for the thread: for what is handed to it, for a stopper to find.
    #[must_use]
    pub fn record(&self) -> &'static R {
        &self.reserved.slot.record
    }

    /// The calling thread is the one that the slot waited for. Waits while the world is stopped. Not
    /// async-signal-safe.
    ///
    /// # Errors
    ///
    /// See [`EnterError`]; the slot is free again. `GateInUse` in the child of a fork, of a birth before that.
    pub fn enter(self) -> Result<Member<R, B, K>, EnterError> {
        let Self { world, reserved: Reserved { slot, generation, shut } } = self;
        let adopted = world.gates.adopt(&slot.gate, generation);
        let thread = adopted.map_err(EnterError::Register)?;
        core::mem::forget(self);
        if shut {
            world.let_stop_pass();
        }
        let place = Place { world, thread, record: &slot.record, own: PhantomData };
        place.come_in();
        Ok(Member(place))
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for Birth<R, B, K> {
    fn drop(&mut self) {
        let Reserved { slot, generation, .. } = self.reserved;
        slot.gate.give_up_reserved(generation);
    }
}

impl<R: Sync, B: Barrier, K: Backend> Member<R, B, K> {
    /// What the runtime keeps for this thread.
    #[must_use]
    pub const fn record(&self) -> &'static R {
        self.0.record
    }

    /// The calling thread, as others name it.
    #[must_use]
    pub const fn thread(&self) -> ThreadRef<B, K> {
        self.0.thread
    }

    /// A safepoint: waits while the world is stopped. One load while it is not.
    #[inline]
    pub fn poll(&mut self) {
        self.0.poll();
    }

    /// Goes out: for code that may block, or run for long, and touches nothing of the runtime's.
    #[inline]
    pub fn external(&mut self) -> External<'_, R, B, K> {
        self.0.external()
    }

    /// As [`World::birth`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn birth(&mut self) -> Result<Birth<R, B, K>, EnterError> {
        self.0.world.birth()
    }

    /// Stops the world: when this returns, none of its threads is inside, and this one alone goes on. Waits for
    /// other stoppers, and stands for them meanwhile: what it knew of the runtime's it looks at anew.
    ///
    /// # Errors
    ///
    /// See [`StopError`].
    pub fn stop(&mut self) -> Result<OwnStop<'_, R, B, K>, StopError> {
        self.0.stop()
    }

    /// The same, until a deadline.
    ///
    /// # Errors
    ///
    /// See [`StopByError`](super::StopByError).
    pub fn stop_by(&mut self, deadline: &Deadline) -> Outcome<R, B, K, Back<'_, R, B, K>> {
        self.0.stop_by(deadline)
    }
}

impl<R: Sync, B: Barrier, K: Backend> External<'_, R, B, K> {
    /// Called back: comes in until that is dropped. Waits while the world is stopped.
    #[inline]
    pub fn inside(&mut self) -> Inside<'_, R, B, K> {
        self.place.come_in();
        Inside { place: self.place, outer: PhantomData }
    }
}

impl<R: Sync, B: Barrier, K: Backend> Inside<'_, R, B, K> {
    /// As [`Member::record`].
    #[must_use]
    pub const fn record(&self) -> &'static R {
        self.place.record
    }

    /// As [`Member::poll`].
    #[inline]
    pub fn poll(&mut self) {
        self.place.poll();
    }

    /// Goes out again.
    #[inline]
    pub fn external(&mut self) -> External<'_, R, B, K> {
        self.place.external()
    }

    /// As [`Member::stop`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn stop(&mut self) -> Result<OwnStop<'_, R, B, K>, StopError> {
        self.place.stop()
    }

    /// As [`Member::stop_by`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn stop_by(&mut self, deadline: &Deadline) -> Outcome<R, B, K, Back<'_, R, B, K>> {
        self.place.stop_by(deadline)
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for Member<R, B, K> {
    fn drop(&mut self) {
        self.0.world.gates.leave(self.0.thread);
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for External<'_, R, B, K> {
    #[inline]
    fn drop(&mut self) {
        self.place.come_in();
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for Inside<'_, R, B, K> {
    #[inline]
    fn drop(&mut self) {
        self.place.go_out();
    }
}

impl<R: Sync, B: Barrier, K: Backend> fmt::Debug for Member<R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("thread", &self.thread()).finish_non_exhaustive()
    }
}

impl<R: Sync, B: Barrier, K: Backend> fmt::Debug for Birth<R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Birth").finish_non_exhaustive()
    }
}

impl<R: Sync, B: Barrier, K: Backend> fmt::Debug for External<'_, R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("External").finish_non_exhaustive()
    }
}

impl<R: Sync, B: Barrier, K: Backend> fmt::Debug for Inside<'_, R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").finish_non_exhaustive()
    }
}

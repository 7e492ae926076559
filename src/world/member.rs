//! A thread of the world, from its own side: entering, polling, going out and coming in, leaving.

use core::fmt;
use core::marker::PhantomData;

use super::stack::Noted;
use super::stop::{Back, Outcome};
use super::{EnterError, OwnStop, Reserved, Slot, StopError, ThreadRef, World};
use crate::note::Deadline;
use crate::preempt::host::{Backend, Barrier};
use crate::sys;

/// The calling thread is in the world while this is alive, and leaves when it is dropped.
///
/// If this is forgotten, the thread counts as running the runtime's code until it ends, if the backend is told of
/// that ([`GateLocal::thread_ends`]): whoever stops the world waits for it. Its slot is lost.
///
/// [`GateLocal::thread_ends`]: crate::preempt::host::GateLocal::thread_ends
#[must_use = "the thread leaves the world when this is dropped"]
pub struct Member<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    place: Place<R, B, K>,
    own: Own,
}

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
    inner: PhantomData<&'a mut Own>,
}

/// The calling thread was called back by external code, and is inside while this is alive.
#[must_use = "the thread is out again when this is dropped"]
pub struct Inside<'a, R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    /// First: what is noted is of the outer call again before the thread is out.
    _unnoted: Noted<'static, R, K>,
    out: GoesOut<R, B, K>,
    outer: PhantomData<&'a mut Own>,
}

/// The calling thread is inside, and is not suspended while this is alive: in an allocator, or with a lock that who
/// suspends it may want. Whoever stops the world waits for it: it polls when this is dropped.
#[must_use = "the thread may be suspended when this is dropped"]
pub struct Held<'a, R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    place: Place<R, B, K>,
    nested: bool,
    inner: PhantomData<&'a mut Own>,
}

/// Not `Send`: it is its thread's.
type Own = PhantomData<*const ()>;

/// Goes out when it is dropped.
struct GoesOut<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static>(Place<R, B, K>);

/// A thread's slot; whoever has this keeps it to its thread.
pub(super) struct Place<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    world: &'static World<R, B, K>,
    thread: ThreadRef<B, K>,
    slot: &'static Slot<R, K>,
}

impl<R: Sync, B: Barrier, K: Backend> Clone for Place<R, B, K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R: Sync, B: Barrier, K: Backend> Copy for Place<R, B, K> {}

impl<R: Sync, B: Barrier, K: Backend> Place<R, B, K> {
    pub(super) fn world(self) -> &'static World<R, B, K> {
        self.world
    }

    #[inline]
    pub(super) fn come_in(self) {
        self.world.gates.come_in(self.thread);
    }

    #[inline]
    fn go_out(self) {
        self.world.gates.steps_out(self.thread);
    }

    #[inline]
    fn external<'a>(self) -> External<'a, R, B, K> {
        self.go_out();
        External { place: self, inner: PhantomData }
    }

    fn external_with<T>(self, body: impl FnOnce(&mut External<'_, R, B, K>) -> T) -> T {
        self.noted(|| body(&mut self.external()))
    }

    /// Runs `body` with all that the thread has on its stack, and noted how far that goes.
    fn noted<T>(self, body: impl FnOnce() -> T) -> T {
        sys::with_saved(|top| {
            let _noted = self.slot.note_stack(top.expose_provenance());
            body()
        })
    }

    #[inline]
    fn poll(self) {
        if self.thread.is_shut() {
            self.stand();
        }
    }

    #[cold]
    fn stand(self) {
        self.noted(|| self.world.gates.stand(self.thread));
    }

    /// Goes out, and has the turn to stop threads: or is in again, if the deadline has passed.
    pub(super) fn take_turn(self, deadline: Option<&Deadline>) -> bool {
        self.noted(|| {
            self.go_out();
            let taken = self.world.turn.take(deadline);
            if !taken {
                self.come_in();
            }
            taken
        })
    }

    /// The end of what was begun by that: it comes in afterwards, as its own gate is shut before.
    pub(super) fn give_turn(self) {
        self.noted(|| {
            self.world.turn.give();
            self.come_in();
        });
    }

    fn hold<'a>(self) -> Held<'a, R, B, K> {
        Held { place: self, nested: self.world.gates.hold(self.thread), inner: PhantomData }
    }
}

impl<R: Sync, B: Barrier, K: Backend> Birth<R, B, K> {
    pub(super) fn new(world: &'static World<R, B, K>, reserved: Reserved<R, K>) -> Self {
        Self { world, reserved }
    }

    pub(super) fn in_a_world_that_is(mut self, shut: bool) -> Self {
        self.reserved.shut = shut;
        self
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
        if world.is_stopped_by_this() {
            return Err(EnterError::Stopper);
        }
        let adopted = world.gates.adopt(&slot.gate, generation);
        let thread = adopted.map_err(EnterError::Register)?;
        core::mem::forget(self);
        if shut {
            world.let_stop_pass();
        }
        let place = Place { world, thread, slot };
        place.come_in();
        Ok(Member { place, own: PhantomData })
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for Birth<R, B, K> {
    fn drop(&mut self) {
        let Reserved { slot, generation, .. } = self.reserved;
        slot.gate.give_up_reserved(generation);
        self.world.one_less();
    }
}

impl<R: Sync, B: Barrier, K: Backend> Member<R, B, K> {
    /// What the runtime keeps for this thread.
    #[must_use]
    pub const fn record(&self) -> &'static R {
        &self.place.slot.record
    }

    /// The calling thread, as others name it.
    #[must_use]
    pub const fn thread(&self) -> ThreadRef<B, K> {
        self.place.thread
    }

    /// A safepoint: waits while the world is stopped. One load while it is not.
    #[inline]
    pub fn poll(&mut self) {
        self.place.poll();
    }

    /// Goes out: for code that may block, or run for long, and touches nothing of the runtime's.
    #[inline]
    pub fn external(&mut self) -> External<'_, R, B, K> {
        self.place.external()
    }

    /// Goes out for as long as `body` runs, with what the registers hold of the runtime's on the stack, and noted how
    /// far that goes ([`Stopped::stack`](super::Stopped::stack)): for conservative collectors.
    pub fn external_with<T>(&mut self, body: impl FnOnce(&mut External<'_, R, B, K>) -> T) -> T {
        self.place.external_with(body)
    }

    /// Keeps suspensions off: for code in the middle of which the thread must not be suspended. Waits for the one that
    /// is under way, if one is. Such a thread is inside: it is waited for, as one that does not poll.
    pub fn hold(&mut self) -> Held<'_, R, B, K> {
        self.place.hold()
    }

    /// As [`World::birth`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn birth(&mut self) -> Result<Birth<R, B, K>, EnterError> {
        self.place.world.birth()
    }

    /// Stops the world: when this returns, none of its threads is inside, and this one alone goes on. Waits for
    /// other stoppers, and stands for them meanwhile: what it knew of the runtime's it looks at anew.
    ///
    /// # Errors
    ///
    /// See [`StopError`].
    pub fn stop(&mut self) -> Result<OwnStop<'_, R, B, K>, StopError> {
        self.place.world.stops(Some(self.place))
    }

    /// The same, until a deadline.
    ///
    /// # Errors
    ///
    /// See [`StopByError`](super::StopByError).
    pub fn stop_by(&mut self, deadline: &Deadline) -> Outcome<R, B, K, Back<'_>> {
        self.place.world.stops_by(Some(self.place), deadline)
    }
}

impl<R: Sync, B: Barrier, K: Backend> Held<'_, R, B, K> {
    /// What the runtime keeps for this thread.
    #[must_use]
    pub const fn record(&self) -> &'static R {
        self.place.slot.record()
    }

    /// Nested.
    pub fn hold(&mut self) -> Held<'_, R, B, K> {
        self.place.hold()
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for Held<'_, R, B, K> {
    fn drop(&mut self) {
        if !self.nested {
            self.place.world.gates.unhold(self.place.thread);
            self.place.poll();
        }
    }
}

impl<R: Sync, B: Barrier, K: Backend> External<'_, R, B, K> {
    /// Called back: comes in until that is dropped. Waits while the world is stopped.
    #[inline]
    pub fn inside(&mut self) -> Inside<'_, R, B, K> {
        let place = self.place;
        place.come_in();
        Inside { _unnoted: place.slot.note_stack(0), out: GoesOut(place), outer: PhantomData }
    }
}

impl<R: Sync, B: Barrier, K: Backend> Inside<'_, R, B, K> {
    /// As [`Member::record`].
    #[must_use]
    pub const fn record(&self) -> &'static R {
        &self.out.0.slot.record
    }

    /// As [`Member::poll`].
    #[inline]
    pub fn poll(&mut self) {
        self.out.0.poll();
    }

    /// Goes out again.
    #[inline]
    pub fn external(&mut self) -> External<'_, R, B, K> {
        self.out.0.external()
    }

    /// As [`Member::hold`].
    pub fn hold(&mut self) -> Held<'_, R, B, K> {
        self.out.0.hold()
    }

    /// As [`Member::external_with`].
    pub fn external_with<T>(&mut self, body: impl FnOnce(&mut External<'_, R, B, K>) -> T) -> T {
        self.out.0.external_with(body)
    }

    /// As [`Member::stop`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn stop(&mut self) -> Result<OwnStop<'_, R, B, K>, StopError> {
        self.out.0.world.stops(Some(self.out.0))
    }

    /// As [`Member::stop_by`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn stop_by(&mut self, deadline: &Deadline) -> Outcome<R, B, K, Back<'_>> {
        self.out.0.world.stops_by(Some(self.out.0), deadline)
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for Member<R, B, K> {
    fn drop(&mut self) {
        self.place.world.gates.leave(self.place.thread);
        self.place.world.one_less();
    }
}

impl<R: Sync, B: Barrier, K: Backend> Member<R, B, K> {
    pub(super) fn place(&self) -> Place<R, B, K> {
        self.place
    }
}

impl<R: Sync, B: Barrier, K: Backend> Inside<'_, R, B, K> {
    pub(super) fn place(&self) -> Place<R, B, K> {
        self.out.0
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for External<'_, R, B, K> {
    #[inline]
    fn drop(&mut self) {
        self.place.come_in();
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for GoesOut<R, B, K> {
    #[inline]
    fn drop(&mut self) {
        self.0.go_out();
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

impl<R: Sync, B: Barrier, K: Backend> fmt::Debug for Held<'_, R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
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

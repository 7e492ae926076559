//! Stopping the world, and what is seen of it while it stands.

use core::fmt;
use core::ops::Deref;

use super::member::Place;
use super::{SHUT, Slot, StopError, ThreadRef, USED, World};
use crate::note::Deadline;
use crate::preempt::host::{Backend, Barrier};
use crate::preempt::safepoint::Where;
use crate::sync::Ordering::*;

/// The world stands while this is alive, and goes on when it is dropped; if this is forgotten, never.
#[must_use = "the world goes on when this is dropped"]
pub struct Stop<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static>(Closed<R, B, K>);

/// The same, made by a member: that is outside meanwhile, and comes in after it.
#[must_use = "the world goes on when this is dropped"]
pub struct OwnStop<'a, R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    /// First: dropped before the member comes in.
    stop: Stop<R, B, K>,
    _back: Back<'a, R, B, K>,
}

/// A stop that some threads did not come to in time. The others stand while this is alive.
#[must_use = "the others go on when this is dropped"]
pub struct Late<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static>(Closed<R, B, K>);

/// A thread of a stopped world.
pub struct Stopped<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    world: &'static World<R, B, K>,
    slot: &'static Slot<R, K>,
}

/// The turn, and the world shut.
struct Closed<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static>(
    &'static World<R, B, K>,
);

/// A member that is outside, and comes in when this is dropped.
pub(super) struct Back<'a, R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static>(
    pub(super) Place<R, B, K>,
    pub(super) core::marker::PhantomData<&'a mut ()>,
);

impl<R: Sync, B: Barrier, K: Backend> World<R, B, K> {
    /// By a thread that is not inside (I4).
    pub(super) fn stop_outside(
        &'static self,
        deadline: Option<&Deadline>,
    ) -> Result<Stop<R, B, K>, StopError<R, B, K>> {
        if !self.turn.take(deadline) {
            return Err(StopError::Busy);
        }
        // ORDERING: Acquire: E2 from `use_slot`. Weakened: world enters_during_stop.
        let used = self.word.fetch_or(SHUT, Acquire) / USED;
        Closed(self).await_all(used, deadline)
    }

    fn used(&self, used: u32) -> &'static [Slot<R, K>] {
        self.slots.get(..used as usize).unwrap_or(self.slots)
    }
}

impl<R: Sync, B: Barrier, K: Backend> Closed<R, B, K> {
    /// Shuts all slots that are used, and waits for their threads.
    fn await_all(
        self,
        mut used: u32,
        deadline: Option<&Deadline>,
    ) -> Result<Stop<R, B, K>, StopError<R, B, K>> {
        let mut shut = 0;
        loop {
            let slots = self.0.used(used);
            slots[shut..].iter().for_each(|slot| slot.gate.shut());
            self.0.gates.heavy().map_err(StopError::NoBarrier)?;
            let pause = |turn| self.0.gates.backend().pause(turn);
            let outside = |slot: &Slot<R, K>| slot.gate.await_outside(deadline, pause);
            if !slots.iter().all(outside) {
                return Err(StopError::Late(Late(self)));
            }
            shut = slots.len();
            // What members bore before they went out (I2).
            // ORDERING: Relaxed: `place` acquired what they did.
            let now = self.0.word.load(Relaxed) / USED;
            if now == used {
                break;
            }
            used = now;
        }
        self.list(used);
        Ok(Stop(self))
    }

    /// One that is inside now wants to come in, and has not looked yet (I1).
    fn list(&self, used: u32) {
        for (at, slot) in self.0.slots.iter().enumerate() {
            let listed = at < used as usize && slot.gate.place() != Where::Nobody;
            // ORDERING: Relaxed: of who has the turn (E4).
            slot.listed.store(u32::from(listed), Relaxed);
        }
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for Closed<R, B, K> {
    fn drop(&mut self) {
        // ORDERING: Release: E5 to `use_slot`. Acquire: E2: those are opened, too. Weakened: world
        // enters_during_stop.
        let used = self.0.word.fetch_and(!SHUT, AcqRel) / USED;
        self.0.used(used).iter().for_each(|slot| slot.gate.open());
        self.0.turn.give();
    }
}

impl<R: Sync, B: Barrier, K: Backend> Stop<R, B, K> {
    /// All threads of the world, each once: the stopper too, if it is one, and those that are being born.
    pub fn threads(&self) -> impl Iterator<Item = Stopped<R, B, K>> + use<'_, R, B, K> {
        let world = self.0.0;
        // ORDERING: Relaxed: by who has the turn (E4).
        let listed = world.slots.iter().filter(|slot| slot.listed.load(Relaxed) != 0);
        listed.map(move |slot| Stopped { world, slot })
    }
}

impl<R: Sync, B: Barrier, K: Backend> Late<R, B, K> {
    /// Those that run still.
    pub fn threads(&self) -> impl Iterator<Item = Stopped<R, B, K>> + use<'_, R, B, K> {
        let world = self.0.0;
        let inside = world.slots.iter().filter(|slot| slot.gate.place() == Where::Inside);
        inside.map(move |slot| Stopped { world, slot })
    }

    /// Waits for them again.
    ///
    /// # Errors
    ///
    /// As before.
    pub fn wait(self, deadline: Option<&Deadline>) -> Result<Stop<R, B, K>, StopError<R, B, K>> {
        // ORDERING: Relaxed: `await_all` looks again when all are out.
        let used = self.0.0.word.load(Relaxed) / USED;
        self.0.await_all(used, deadline)
    }
}

impl<R: Sync, B: Barrier, K: Backend> Stopped<R, B, K> {
    /// What the runtime keeps for it.
    #[must_use]
    pub fn record(&self) -> &'static R {
        &self.slot.record
    }

    /// Its name for others. One that is being born cannot be suspended yet.
    #[must_use]
    pub fn thread(&self) -> ThreadRef<B, K> {
        self.world.gates.thread_at(&self.slot.gate)
    }
}

impl<'a, R: Sync, B: Barrier, K: Backend> OwnStop<'a, R, B, K> {
    pub(super) fn new(stop: Stop<R, B, K>, back: Back<'a, R, B, K>) -> Self {
        Self { stop, _back: back }
    }
}

impl<R: Sync, B: Barrier, K: Backend> Deref for OwnStop<'_, R, B, K> {
    type Target = Stop<R, B, K>;

    fn deref(&self) -> &Self::Target {
        &self.stop
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for Back<'_, R, B, K> {
    fn drop(&mut self) {
        self.0.come_in();
    }
}

impl<R: Sync, B: Barrier, K: Backend> fmt::Debug for Stop<R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("world", &self.0.0).finish_non_exhaustive()
    }
}

impl<R: Sync, B: Barrier, K: Backend> fmt::Debug for OwnStop<'_, R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnStop").field("stop", &self.stop).finish_non_exhaustive()
    }
}

impl<R: Sync, B: Barrier, K: Backend> fmt::Debug for Late<R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late").field("threads", &self.threads().count()).finish_non_exhaustive()
    }
}

impl<R: Sync, B: Barrier, K: Backend> fmt::Debug for Stopped<R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopped")
            .field("slot", &core::ptr::from_ref(self.slot))
            .finish_non_exhaustive()
    }
}

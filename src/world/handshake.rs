//! Handshakes: one thread stands at a poll, or outside, while something is done with what it owns; the rest run. A
//! stop of one: its gate is SHUT, in the turn of those who stop the world.

use super::member::Place;
use super::turn::HasTurn;
use super::{HandshakeError, Inside, Member, Slot, StopError, Stopped, ThreadRef, World};
use crate::note::Deadline;
use crate::preempt::host::{Backend, Barrier};

/// One slot is shut while this is alive.
struct Stands<'a, R, K: Backend>(&'a Slot<R, K>);

impl<R, K: Backend> Drop for Stands<'_, R, K> {
    fn drop(&mut self) {
        self.0.gate.open();
    }
}

impl<R: Sync, B: Barrier, K: Backend> World<R, B, K> {
    /// Runs `body` while this thread stands, at a poll or outside: it does not run the runtime's code meanwhile.
    /// The others go on. Waits for it, for ever if it neither polls nor goes out. For threads that are not members;
    /// those have [`Member::handshake`]. Not async-signal-safe.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]; `body` was not run.
    pub fn handshake<T>(
        &'static self,
        thread: ThreadRef<B, K>,
        body: impl FnOnce(&Stopped<R, B, K>) -> T,
    ) -> Result<T, HandshakeError> {
        self.is_strangers()?;
        self.shakes(None, thread, None, body)
    }

    /// The same, until a deadline.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]; `body` was not run.
    pub fn handshake_by<T>(
        &'static self,
        thread: ThreadRef<B, K>,
        deadline: &Deadline,
        body: impl FnOnce(&Stopped<R, B, K>) -> T,
    ) -> Result<T, HandshakeError> {
        self.is_strangers()?;
        self.shakes(None, thread, Some(deadline), body)
    }

    /// A handshake with each thread that is in the world, one after the other; also with those that enter meanwhile
    /// and are met. Nobody else stops threads of the world in between.
    ///
    /// # Errors
    ///
    /// See [`StopError`]; with some it may have taken place.
    pub fn each(&'static self, body: impl FnMut(&Stopped<R, B, K>)) -> Result<(), StopError> {
        self.is_strangers()?;
        self.shakes_all(None, body)
    }

    /// What the runtime keeps for this thread, if it is in this world.
    pub fn record_of(&'static self, thread: ThreadRef<B, K>) -> Option<&'static R> {
        let slot = self.slot_of(thread)?;
        self.gates.is_its(thread).then(|| slot.record())
    }

    fn slot_of(&self, thread: ThreadRef<B, K>) -> Option<&Slot<R, K>> {
        let gate = thread.address();
        let at = gate.wrapping_sub(self.slots.as_ptr().addr()) / size_of::<Slot<R, K>>();
        self.slots.get(at).filter(|slot| core::ptr::from_ref(&slot.gate).addr() == gate)
    }

    fn shakes<T>(
        &'static self,
        own: Option<Place<R, B, K>>,
        thread: ThreadRef<B, K>,
        deadline: Option<&Deadline>,
        body: impl FnOnce(&Stopped<R, B, K>) -> T,
    ) -> Result<T, HandshakeError> {
        let slot = self.slot_of(thread).ok_or(HandshakeError::Gone)?;
        let _turn = HasTurn::take(self, own, deadline).ok_or(HandshakeError::Busy)?;
        self.with_standing(slot, deadline, |stopped| {
            self.gates.is_its(thread).then(|| body(stopped)).ok_or(HandshakeError::Gone)
        })?
    }

    fn shakes_all(
        &'static self,
        own: Option<Place<R, B, K>>,
        mut body: impl FnMut(&Stopped<R, B, K>),
    ) -> Result<(), StopError> {
        let _turn = HasTurn::have(self, own);
        for slot in self.used_now() {
            match self.with_standing(slot, None, &mut body) {
                Ok(())
                | Err(HandshakeError::Gone | HandshakeError::Late | HandshakeError::Busy) => {}
                Err(HandshakeError::Refused(refused)) => return Err(refused),
            }
        }
        Ok(())
    }

    /// By who has the turn.
    fn with_standing<T>(
        &'static self,
        slot: &'static Slot<R, K>,
        deadline: Option<&Deadline>,
        body: impl FnOnce(&Stopped<R, B, K>) -> T,
    ) -> Result<T, HandshakeError> {
        slot.shut();
        let stands = Stands(slot);
        self.gates.heavy().map_err(StopError::NoBarrier)?;
        if !slot.comes_out(deadline, |turn| self.gates.backend().pause(turn)) {
            return Err(HandshakeError::Late);
        }
        if !slot.is_somebodys() {
            return Err(HandshakeError::Gone);
        }
        let done = body(&Stopped { world: self, slot });
        drop(stands);
        Ok(done)
    }
}

macro_rules! handshakes {
    ($($ours:ty: $place:ident),*) => {$(
        impl<R: Sync, B: Barrier, K: Backend> $ours {
            /// As [`World::handshake`]. This thread is outside meanwhile: what it knew of the runtime's it looks at
            /// anew.
            ///
            /// # Errors
            ///
            /// As there.
            pub fn handshake<T>(
                &mut self,
                thread: ThreadRef<B, K>,
                body: impl FnOnce(&Stopped<R, B, K>) -> T,
            ) -> Result<T, HandshakeError> {
                let place = self.$place();
                place.world().shakes(Some(place), thread, None, body)
            }

            /// As [`World::handshake_by`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn handshake_by<T>(
                &mut self,
                thread: ThreadRef<B, K>,
                deadline: &Deadline,
                body: impl FnOnce(&Stopped<R, B, K>) -> T,
            ) -> Result<T, HandshakeError> {
                let place = self.$place();
                place.world().shakes(Some(place), thread, Some(deadline), body)
            }

            /// As [`World::each`]; with this thread, too.
            ///
            /// # Errors
            ///
            /// As there.
            pub fn each(&mut self, body: impl FnMut(&Stopped<R, B, K>)) -> Result<(), StopError> {
                let place = self.$place();
                place.world().shakes_all(Some(place), body)
            }
        }
    )*};
}

handshakes!(Member<R, B, K>: place, Inside<'_, R, B, K>: place);

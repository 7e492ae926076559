//! Gates that are shut: what a [`World`](crate::world) does with the gates of its threads. The protocol is
//! there, with the edges (E) and invariants (I) that are named here; each step is one of its transitions.

use super::host::{Backend, Barrier, GateLocal, with_local};
use super::turn::turns;
use super::{
    ASLEEP, ENDED, EXTERNAL, Errno, GENERATION, GONE, Gate, Gates, HELD, INSIDE, LEAVING,
    RegisterError, SHUT, STATE, ThreadRef, WATCHED,
};
use crate::note::{Deadline, Waited};
use crate::sync::Ordering::*;
use crate::sys;

/// What who stops the world finds of a thread that it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The deadline has passed, and it runs.
    Late,
    /// It is out, and waits if it wants to come in; or nobody has the gate.
    Out,
    /// It has ended without leaving.
    Ended,
}

fn is_inside(own: u32) -> bool {
    own & STATE == INSIDE || own & STATE == HELD
}

/// How often a stopper looks for a thread before it sleeps.
const LOOKS: usize = if crate::sync::MODEL { 1 } else { 100 };

impl<K: Backend> Gate<K> {
    /// Reserves the gate for a thread to come, which counts as outside: the generation. `None` if somebody
    /// has it.
    pub(crate) fn reserve(&self) -> Option<u32> {
        // ORDERING: Relaxed: a guess, which saves the claim.
        if self.own.load(Relaxed) & STATE != GONE || self.claim().is_err() {
            return None;
        }
        // ORDERING: Acquire: E3 from `give_up_reserved` and `unregister`. Weakened: world
        // members_stop_each_other.
        let own = self.own.load(Acquire);
        let generation = (own & !STATE).wrapping_add(GENERATION);
        let free = own & STATE == GONE;
        if free {
            // ORDERING: Release: E3 to `place`, of what the last thread here did. Weakened: world
            // slot_changes_hands.
            self.own.store(generation | EXTERNAL, Release);
        }
        self.release();
        free.then_some(generation)
    }

    /// Nobody came: the gate is free again. By who reserved it: what was reserved before a fork is not its
    /// any more in the child.
    pub(crate) fn give_up_reserved(&self, generation: u32) {
        let (reserved, free) = (generation | EXTERNAL, generation | GONE);
        // ORDERING: Release: E3 to the next `reserve`. Weakened: world birth_is_given_up.
        _ = self.own.compare_exchange(reserved, free, Release, Relaxed);
    }

    /// Whether the world is being stopped: one load, for a thread that is inside.
    #[inline]
    pub(crate) fn is_shut(&self) -> bool {
        // ORDERING: Relaxed: a thread sees it some time; `come_in` acquires.
        self.claim.0.load(Relaxed) & SHUT != 0
    }

    /// The same for certain, for who has just come in: by the newest value, of which a look that found the gate
    /// claimed may tell nothing.
    #[cold]
    fn is_shut_now(&self) -> bool {
        // ORDERING: Release: E1 to `shut`. Acquire: E5 from `open`. Weakened: world claimed_as_it_comes_in.
        self.claim.0.fetch_or(0, AcqRel) & SHUT != 0
    }

    /// Out: sleeps while the gate is shut.
    #[cold]
    fn wait_while_shut(&self) {
        loop {
            // ORDERING: Relaxed: `come_in` looks again, and acquires.
            let seen = self.claim.0.fetch_or(ASLEEP, Relaxed);
            if seen & SHUT == 0 {
                break;
            }
            sys::wait(&self.claim.0, seen | ASLEEP, None);
        }
        // ORDERING: Relaxed: as above.
        self.claim.0.fetch_and(!ASLEEP, Relaxed);
    }

    /// Shuts it: who is out, or comes out, stays there until it is opened. True if its thread has ended without
    /// leaving.
    pub(crate) fn shut(&self) -> bool {
        // ORDERING: Acquire: E1 from who came in before, by a read-modify-write; E3 from `end`. Weakened: world
        // nobody_runs_while_stopped.
        self.claim.0.fetch_or(SHUT, Acquire) & ENDED != 0
    }

    /// Whether its thread runs; if not, what it did before it went out is seen.
    pub(crate) fn is_inside(&self) -> bool {
        // ORDERING: Acquire: E3 from `go_out`. Weakened: world returns_are_held.
        is_inside(self.own.load(Acquire))
    }

    /// Whether a thread has it, or is being born to it.
    pub(crate) fn is_somebodys(&self) -> bool {
        // ORDERING: Relaxed: of a world that is stopped.
        let own = self.own.load(Relaxed);
        is_inside(own) || own & STATE == EXTERNAL
    }

    /// Whether its thread has left, or was not born; what it did is seen then.
    pub(crate) fn is_free(&self) -> bool {
        // ORDERING: Acquire: E3 from `unregister`, `give_up_reserved`. Weakened: world all_leave.
        self.own.load(Acquire) & STATE == GONE
    }

    /// Whether its thread has ended without leaving.
    pub(crate) fn has_ended(&self) -> bool {
        // ORDERING: Acquire: E3 from `end`. Weakened: world forgotten_is_not_waited_for.
        self.claim.0.load(Acquire) & ENDED != 0
    }

    /// Waits until its thread is out, once it is shut and the barrier is through. By the one who stops the
    /// world. Once it has been seen out, it is: it may be seen inside after that, and goes out again (I1 of
    /// `world`).
    pub(crate) fn await_outside(&self, deadline: Option<&Deadline>, pause: impl Fn(u32)) -> Found {
        for turn in turns().take(LOOKS) {
            if !self.is_inside() {
                return Found::Out;
            }
            pause(turn);
        }
        loop {
            // ORDERING: Acquire: E3: who is out by now, or has ended, is seen to be. Weakened: world
            // nobody_runs_while_stopped, world forgotten_member_ends.
            let seen = self.claim.0.fetch_or(WATCHED, Acquire) | WATCHED;
            if seen & ENDED != 0 {
                return Found::Ended;
            }
            if !self.is_inside() {
                return Found::Out;
            }
            if sys::wait(&self.claim.0, seen, deadline) == Waited::TimedOut {
                return if self.is_inside() { Found::Late } else { Found::Out };
            }
        }
    }

    /// In the thread, at its end without leaving. Who stops the world waits for it if it is inside; if not, it may
    /// be listed, with its stack: so it ends when the world is open.
    pub(super) fn end(&self) {
        // ORDERING: Relaxed: the thread's own.
        if is_inside(self.own.load(Relaxed)) {
            // ORDERING: Release: E3 to `await_outside`, `shut`. Weakened: world forgotten_member_ends.
            self.claim.0.fetch_or(ENDED, Release);
            return;
        }
        // ORDERING: Relaxed: a guess.
        let mut seen = self.claim.0.load(Relaxed);
        loop {
            if seen & SHUT != 0 {
                self.wait_while_shut();
            }
            let open = seen & !SHUT;
            // ORDERING: Release: E3 to `shut`. Acquire: E5 from `open`: who found it listed is done with its stack.
            // Weakened: world forgotten_outside_ends.
            match self.claim.0.compare_exchange(open, open | ENDED, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Opens it, and wakes its thread.
    pub(crate) fn open(&self) {
        // ORDERING: Release: E5 to `come_in`. Weakened: world returns_are_held.
        if self.claim.0.fetch_and(!(SHUT | WATCHED | ASLEEP), Release) & ASLEEP != 0 {
            sys::wake_one(&self.claim.0);
        }
    }
}

impl<B: Barrier, K: Backend> Gates<B, K> {
    /// The calling thread has the gate that was reserved for it; it is outside.
    pub(crate) fn adopt(
        &'static self,
        gate: &'static Gate<K>,
        generation: u32,
    ) -> Result<ThreadRef<B, K>, RegisterError> {
        with_local(&self.backend, GateLocal::may_register)?;
        for turn in turns() {
            if gate.claim().is_ok() {
                break;
            }
            self.backend.pause(turn);
        }
        // ORDERING: Relaxed: this thread's, or that of who handed the reservation to it.
        let handle = match gate.own.load(Relaxed) == generation | EXTERNAL {
            // SAFETY: from here, on a thread whose end has not begun, as was asked above.
            true => unsafe { self.backend.open() },
            // The child of a fork: what was reserved before that is free.
            false => Err(RegisterError::GateInUse),
        };
        let adopted = handle.map(|handle| {
            // SAFETY: claimed, and its thread is this one, outside (I6); no handler finds the gate yet.
            gate.handle.with_mut(|place| unsafe { *place = Some(handle) });
            with_local(&self.backend, |own| own.register(gate));
            ThreadRef { gates: self, gate, generation }
        });
        gate.release();
        adopted
    }

    /// The calling thread comes in, once its gate is not shut.
    #[inline]
    pub(crate) fn come_in(&self, ThreadRef { gate, generation, .. }: ThreadRef<B, K>) {
        loop {
            self.come_back(gate, generation);
            if self.barrier.look(&gate.claim) == 0 || !gate.is_shut_now() {
                return;
            }
            self.go_out(gate, generation);
            gate.wait_while_shut();
        }
    }

    /// The calling thread goes out.
    #[inline]
    pub(crate) fn steps_out(&self, ThreadRef { gate, generation, .. }: ThreadRef<B, K>) {
        self.go_out(gate, generation);
    }

    /// The calling thread goes out, and comes in when it may.
    #[cold]
    pub(crate) fn stand(&self, thread: ThreadRef<B, K>) {
        self.go_out(thread.gate, thread.generation);
        thread.gate.wait_while_shut();
        self.come_in(thread);
    }

    /// The calling thread is inside, and not to be suspended. True if that is so already.
    pub(crate) fn hold(&self, ThreadRef { gate, generation, .. }: ThreadRef<B, K>) -> bool {
        // ORDERING: Relaxed: the thread's own.
        let held = gate.own.load(Relaxed) & STATE == HELD;
        if !held {
            self.step_out(gate, generation | HELD);
        }
        held
    }

    /// It may be suspended again.
    pub(crate) fn unhold(&self, ThreadRef { gate, generation, .. }: ThreadRef<B, K>) {
        self.come_back(gate, generation);
    }

    /// The calling thread leaves for good: from inside, as who is outside may be listed.
    pub(crate) fn leave(&self, thread: ThreadRef<B, K>) {
        let ThreadRef { gate, generation, .. } = thread;
        // ORDERING: Relaxed: the thread's own.
        if gate.own.load(Relaxed) & STATE != INSIDE {
            self.come_in(thread);
        }
        self.step_out(gate, generation | LEAVING);
        self.unregister(gate, generation);
    }

    /// The rare half of the barrier.
    pub(crate) fn heavy(&self) -> Result<(), Errno> {
        self.barrier.heavy()
    }

    /// Whether the gate is of this world's, and the thread has it.
    pub(crate) fn is_its(&self, thread: ThreadRef<B, K>) -> bool {
        let gate = thread.gate;
        // ORDERING: Relaxed: of a gate that is shut, or a guess.
        let own = gate.own.load(Relaxed);
        own & !STATE == thread.generation && gate.is_somebodys()
    }

    /// The name of the thread that has a gate of these now.
    pub(crate) fn thread_at(&'static self, gate: &'static Gate<K>) -> ThreadRef<B, K> {
        // ORDERING: Relaxed: of a world that is stopped.
        let generation = gate.own.load(Relaxed) & !STATE;
        ThreadRef { gates: self, gate, generation }
    }
}

impl<B: Barrier, K: Backend> ThreadRef<B, K> {
    /// Where its gate is.
    pub(crate) fn address(self) -> usize {
        core::ptr::from_ref(self.gate).addr()
    }

    /// Of the calling thread: whether its gate is shut.
    #[inline]
    pub(crate) fn is_shut(self) -> bool {
        self.gate.is_shut()
    }
}

//! Stopping the world, and what is seen of it while it stands.

use core::fmt;
use core::marker::PhantomData;

use super::member::Place;
use super::turn::HasTurn;
use super::{SHUT, Slot, StopByError, StopError, ThreadRef, USED, World};
use crate::note::Deadline;
use crate::preempt::host::{Backend, Barrier};
use crate::preempt::safepoint::Found;
use crate::preempt::{StoppedAll, Target};
use crate::sync::Ordering::*;

/// The world stands while this is alive, and goes on when it is dropped; if this is forgotten, never. `W` is
/// [`Back`] if a member made it.
#[must_use = "the world goes on when this is dropped"]
pub struct Stop<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static, W = ()> {
    closed: Closed<R, B, K>,
    back: PhantomData<W>,
}

/// A [`Stop`] that a member made: it is outside meanwhile, and comes in after it.
pub type OwnStop<'a, R, B, K> = Stop<R, B, K, Back<'a>>;

/// A stop that some threads did not come to in time. The others stand while this is alive.
#[must_use = "the others go on when this is dropped"]
pub struct Late<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static, W = ()> {
    closed: Closed<R, B, K>,
    back: PhantomData<W>,
}

/// A [`Late`] stop that a member tried: it is outside meanwhile, and comes in after it.
pub type OwnLate<'a, R, B, K> = Late<R, B, K, Back<'a>>;

/// The world stands, some of its threads suspended where they were. As [`Suspended`]: whoever has this must not
/// block, allocate, free or log.
///
/// [`Suspended`]: crate::preempt::Suspended
#[must_use = "the world goes on when this is dropped"]
pub struct Forced<'a, R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static, W = ()> {
    /// First: resumed before their gates are opened.
    suspended: StoppedAll<'a, B, K>,
    stop: Stop<R, B, K, W>,
}

/// A thread of a stopped world.
pub struct Stopped<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    pub(super) world: &'static World<R, B, K>,
    pub(super) slot: &'static Slot<R, K>,
}

/// The turn, and the world shut.
struct Closed<R: Sync + 'static, B: Barrier + 'static, K: Backend + 'static> {
    world: &'static World<R, B, K>,
    /// So many slots are shut.
    shut: usize,
    _turn: HasTurn<R, B, K>,
}

/// What a stop found out of a slot, in `found`: nothing yet; its thread was seen out, and stays so, or nobody has
/// it; it has ended without leaving; it is one of the threads of the stopped world.
const UNKNOWN: u32 = 0;
const OUT: u32 = 1;
const ENDED: u32 = 2;
const LISTED: u32 = 3;

/// Marks what a member made: it is outside meanwhile, and comes in afterwards, on its own thread.
#[derive(Debug)]
pub struct Back<'a>(PhantomData<(&'a mut (), *const ())>);

/// What a stop comes to that is tried until a deadline, with this way back.
pub type Outcome<R, B, K, W> = Result<Stop<R, B, K, W>, StopByError<R, B, K, W>>;

/// What [`Late::suspend`] comes to.
pub type ForcedOutcome<'a, R, B, K, W> = Result<Forced<'a, R, B, K, W>, StopByError<R, B, K, W>>;

/// The same while it is not known whether the deadline has passed.
type Tried<R, B, K, W> = Result<Result<Stop<R, B, K, W>, Late<R, B, K, W>>, StopError>;

impl<R: Sync, B: Barrier, K: Backend> World<R, B, K> {
    pub(super) fn stops<W>(
        &'static self,
        own: Option<Place<R, B, K>>,
    ) -> Result<Stop<R, B, K, W>, StopError> {
        Late::of(HasTurn::have(self, own)).wait()
    }

    pub(super) fn stops_by<W>(
        &'static self,
        own: Option<Place<R, B, K>>,
        deadline: &Deadline,
    ) -> Outcome<R, B, K, W> {
        let turn = HasTurn::take(self, own, Some(deadline)).ok_or(StopByError::Busy)?;
        Late::of(turn).wait_by(deadline)
    }

    pub(super) fn used(&self, used: usize) -> &[Slot<R, K>] {
        self.slots.get(..used).unwrap_or(&self.slots)
    }
}

impl<R, K: Backend> Slot<R, K> {
    // ORDERING: Relaxed, of `found` here: of who has the turn (E4).
    fn found(&self) -> u32 {
        self.found.load(Relaxed)
    }

    fn find(&self, found: u32) {
        self.found.store(found, Relaxed);
    }

    pub(super) fn shut(&self) {
        self.find(if self.gate.shut() { ENDED } else { UNKNOWN });
    }

    /// Waits until nobody runs there: false if the deadline has passed.
    pub(super) fn comes_out(&self, deadline: Option<&Deadline>, pause: impl Fn(u32)) -> bool {
        if self.found() == UNKNOWN {
            self.find(match self.gate.await_outside(deadline, pause) {
                Found::Late => UNKNOWN,
                Found::Out => OUT,
                Found::Ended => ENDED,
            });
        }
        self.found() != UNKNOWN
    }

    /// Whether its thread, if there is one, was seen out since the slot was shut.
    fn is_out(&self) -> bool {
        self.found() != UNKNOWN || !self.gate.is_inside()
    }

    /// Whether a thread of the stopped world has it.
    pub(super) fn is_somebodys(&self) -> bool {
        self.found() != ENDED && self.gate.is_somebodys()
    }
}

impl<R: Sync, B: Barrier, K: Backend> Closed<R, B, K> {
    /// Shuts the slots that are used and not shut: all of those that are used.
    fn shut(&mut self, used: u32) -> Result<&'static [Slot<R, K>], StopError> {
        let slots = self.world.used(used as usize);
        slots[self.shut..].iter().for_each(Slot::shut);
        self.shut = slots.len();
        self.world.gates.heavy().map_err(StopError::NoBarrier)?;
        Ok(slots)
    }

    /// Those that are shut.
    fn slots(&self) -> &'static [Slot<R, K>] {
        self.world.used(self.shut)
    }

    /// One that is inside now wants to come in, and has not looked yet (I1); or it is suspended.
    fn list(&self) {
        for slot in self.slots().iter().filter(|slot| slot.is_somebodys()) {
            slot.find(LISTED);
        }
    }
}

impl<R: Sync, B: Barrier, K: Backend> Drop for Closed<R, B, K> {
    fn drop(&mut self) {
        // ORDERING: Release: E5 to `use_slot`. Acquire: E2: those are opened, too. Weakened: world
        // enters_during_stop.
        let used = self.world.word.fetch_and(!SHUT, AcqRel) / USED;
        self.world.used(used as usize).iter().for_each(|slot| slot.gate.open());
    }
}

impl<R: Sync, B: Barrier, K: Backend, W> Stop<R, B, K, W> {
    /// All threads of the world, each once: the stopper too, if it is one, and those that are being born.
    pub fn threads(&self) -> impl Iterator<Item = Stopped<R, B, K>> + use<'_, R, B, K, W> {
        let world = self.closed.world;
        let listed = self.closed.slots().iter().filter(|slot| slot.found() == LISTED);
        listed.map(move |slot| Stopped { world, slot })
    }
}

impl<R: Sync, B: Barrier, K: Backend, W> Late<R, B, K, W> {
    /// Nothing is shut yet.
    fn of(turn: HasTurn<R, B, K>) -> Self {
        Self { closed: Closed { world: turn.world, shut: 0, _turn: turn }, back: PhantomData }
    }

    /// Shuts all slots that are used, and waits for their threads.
    fn await_all(mut self, deadline: Option<&Deadline>) -> Tried<R, B, K, W> {
        let world = self.closed.world;
        let pause = |turn| world.gates.backend().pause(turn);
        // ORDERING: Acquire: E2 from `use_slot`. Weakened: world enters_during_stop.
        let mut used = world.word.fetch_or(SHUT, Acquire) / USED;
        loop {
            let slots = self.closed.shut(used)?;
            if !slots.iter().all(|slot| slot.comes_out(deadline, pause)) {
                return Ok(Err(self));
            }
            // What members bore before they went out (I2).
            // ORDERING: Relaxed: `is_inside` acquired what they did.
            let now = world.word.load(Relaxed) / USED;
            if now == used {
                break;
            }
            used = now;
        }
        self.closed.list();
        let Self { closed, back } = self;
        Ok(Ok(Stop { closed, back }))
    }

    /// Those that run still.
    pub fn threads(&self) -> impl Iterator<Item = Stopped<R, B, K>> + use<'_, R, B, K, W> {
        let world = self.closed.world;
        let inside = self.closed.slots().iter().filter(|slot| !slot.is_out());
        inside.map(move |slot| Stopped { world, slot })
    }

    /// Waits for them, for ever if one neither polls nor goes out.
    ///
    /// # Errors
    ///
    /// See [`StopError`].
    pub fn wait(mut self) -> Result<Stop<R, B, K, W>, StopError> {
        loop {
            // Without a deadline nobody is late.
            match self.await_all(None)? {
                Ok(stop) => return Ok(stop),
                Err(late) => self = late,
            }
        }
    }

    /// Waits for them until another deadline.
    ///
    /// # Errors
    ///
    /// See [`StopByError`].
    pub fn wait_by(self, deadline: &Deadline) -> Outcome<R, B, K, W> {
        self.await_all(Some(deadline))?.map_err(StopByError::Late)
    }

    /// Suspends those that are named, wherever they are in the runtime's code, by their gates: made of
    /// [`threads`](Self::threads). Those that have gone out or left since are not, and need not be.
    ///
    /// # Errors
    ///
    /// One is inside and was not suspended: it was not named, or does not answer, or somebody else has it
    /// suspended. Those that were suspended run on; [`Target::outcome`] says why.
    pub fn suspend(mut self, targets: &mut [Target<B, K>]) -> ForcedOutcome<'_, R, B, K, W> {
        let world = self.closed.world;
        let suspended = world.gates.stop_all(targets);
        // What those bore that are suspended now, too.
        // ORDERING: Relaxed: `stop_all` acquired what they did.
        let used = world.word.load(Relaxed) / USED;
        let slots = self.closed.shut(used)?;
        let stands = |slot: &'static Slot<R, K>| {
            let name = world.gates.thread_at(&slot.gate);
            let mut targets = suspended.targets().iter();
            slot.is_out() || targets.any(|it| it.thread() == name && it.outcome().is_ok())
        };
        if !slots.iter().all(stands) {
            drop(suspended);
            return Err(StopByError::Late(self));
        }
        self.closed.list();
        let Self { closed, back } = self;
        Ok(Forced { suspended, stop: Stop { closed, back } })
    }
}

impl<R: Sync, B: Barrier, K: Backend, W> Forced<'_, R, B, K, W> {
    /// All threads of the world, as [`Stop::threads`].
    pub fn threads(&self) -> impl Iterator<Item = Stopped<R, B, K>> + use<'_, R, B, K, W> {
        self.stop.threads()
    }

    /// Those that are suspended, and what they were doing, as [`StoppedAll::stopped`].
    pub fn suspended(&self) -> impl Iterator<Item = (ThreadRef<B, K>, Option<K::Context>)> {
        self.suspended.stopped()
    }
}

#[cfg(all(
    feature = "std",
    any(target_os = "linux", target_os = "android"),
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64",
    not(all(loom, any(test, feature = "loom")))
))]
impl<R: Sync, B: Barrier, W> Forced<'_, R, B, crate::preempt::SystemBackend, W> {
    /// Those that are suspended, and their registers.
    pub fn registers(
        &self,
    ) -> impl Iterator<
        Item = (ThreadRef<B, crate::preempt::SystemBackend>, crate::preempt::Interrupted<'_>),
    > {
        self.suspended.registers()
    }
}

impl<R: Sync, B: Barrier, K: Backend> Stopped<R, B, K> {
    /// What the runtime keeps for it.
    #[must_use]
    pub fn record(&self) -> &'static R {
        &self.slot.record
    }

    /// Down to where its stack may hold what is the runtime's: its registers are there, too. Of a thread that stands
    /// at a poll, waits for its turn to stop the world, or is in [`Member::external_with`]. `None` if it went out in
    /// another way, has not been in, or is the stopper, which has [`with_stack`]; and where that is not written
    /// for the processor. Of one that is suspended the registers say it (`Forced::registers`).
    ///
    /// [`Member::external_with`]: super::Member::external_with
    /// [`with_stack`]: super::with_stack
    #[must_use]
    pub fn stack(&self) -> Option<*const usize> {
        self.slot.stack()
    }

    /// Its name for others. One that is being born cannot be suspended yet.
    #[must_use]
    pub fn thread(&self) -> ThreadRef<B, K> {
        self.world.gates.thread_at(&self.slot.gate)
    }
}

impl<R: Sync, B: Barrier, K: Backend, W> fmt::Debug for Stop<R, B, K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("world", &self.closed.world).finish_non_exhaustive()
    }
}

impl<R: Sync, B: Barrier, K: Backend, W> fmt::Debug for Late<R, B, K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late").field("threads", &self.threads().count()).finish_non_exhaustive()
    }
}

impl<R: Sync, B: Barrier, K: Backend, W> fmt::Debug for Forced<'_, R, B, K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forced").field("stop", &self.stop).finish_non_exhaustive()
    }
}

impl<R: Sync, B: Barrier, K: Backend> fmt::Debug for Stopped<R, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopped")
            .field("slot", &core::ptr::from_ref(self.slot))
            .finish_non_exhaustive()
    }
}

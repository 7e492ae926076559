//! The world: the threads of a runtime, and stopping all of them, so that none is missed.
//!
//! For runtimes that stop their threads: to collect, to patch code, to take a snapshot. A thread enters the world
//! once. From then on it runs the runtime's code, and polls; or it is outside, in code that does not touch what the
//! runtime owns. While the world is stopped every thread stands: who polls waits, who comes back waits, who enters
//! waits.
//!
//! ```
//! # #[cfg(all(feature = "std", any(unix, windows), not(loom)))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use portcullis::preempt::{Fenced, Hook, SystemBackend};
//! use portcullis::world::{Slot, World, WorldOf};
//! use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
//!
//! /// What this runtime keeps for each thread: how much it has allocated.
//! static WORLD: WorldOf<AtomicU64, Fenced, SystemBackend, 16> = World::new(
//!     Fenced,
//!     SystemBackend::new(Hook::nothing()),
//!     [const { Slot::new(AtomicU64::new(0)) }; 16],
//! );
//!
//! let mut own = WORLD.enter()?;
//! // A thread of the runtime's own is counted before it runs.
//! let birth = own.birth()?;
//! let thread = std::thread::spawn(move || {
//!     let mut own = birth.enter().unwrap();
//!     for _ in 0..1000 {
//!         own.record().fetch_add(1, Relaxed);
//!         own.poll();
//!     }
//! });
//! let stop = own.stop()?;
//! let allocated: u64 = stop.threads().map(|thread| thread.record().load(Relaxed)).sum();
//! drop(stop); // the others go on, and so does this one
//! let outside = own.external();
//! thread.join().unwrap(); // may be waited for: nobody waits for who is outside
//! # assert!(allocated <= 1000);
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "std", any(unix, windows), not(loom))))]
//! # fn main() {}
//! ```
//!
//! A [`handshake`](World::handshake) is a stop of one thread, while the others run; [`hold`](Member::hold) keeps
//! suspensions off. Conservative collectors find where a thread's stack ends by [`Stopped::stack`], if it goes out by
//! [`Member::external_with`]. In the end there is [`shutdown`](World::shutdown).
//!
//! Each slot has a gate of [`preempt`](crate::preempt), and the transitions are that gate's: so a profiler may
//! suspend threads of the world ([`World::gates`], [`Member::thread`]) wherever they run the runtime's code, and
//! finds none of them in external code.
//!
//! # Contexts
//!
//! | caller | may call | may not |
//! |---|---|---|
//! | any thread | [`World::enter`], [`World::birth`] | enter twice |
//! | one that is no member | [`World::stop`], [`World::handshake`], [`World::each`], [`World::shutdown`] and their like | |
//! | a member, inside | [`Member::poll`], [`Member::external`], [`Member::hold`], [`Member::birth`], [`Member::stop`], [`Member::handshake`] and their like; drop the member | block for what another thread of the world has to do: it goes out for that; poll, go out or stop with a thread suspended |
//! | a member, outside | come back | touch what the runtime owns |
//! | who has the world stopped, or is in a handshake | read and change what the runtime owns, or that thread; [`Stop::threads`] | come in, wait for a thread that does; enter and stop others: refused |
//! | the child of a fork | [`World::reset_after_fork`], first of all | |
//! | signal handler | nothing here: what it interrupted may be half-way | |
//!
//! # States
//!
//! A thread's: that of its gate, in the word `own` that it alone writes.
//!
//! | `own` | meaning |
//! |---|---|
//! | GONE | the slot is nobody's |
//! | EXTERNAL | outside; or reserved for a thread that is being born |
//! | INSIDE | runs the runtime's code |
//! | HELD | the same, and is not to be suspended |
//! | LEAVING | has left: what it had is not the world's any more |
//!
//! Of the gate's word `claim`, which others write, three bits are the world's; a fourth says that the thread has ENDED
//! without leaving:
//!
//! | bit | meaning |
//! |---|---|
//! | SHUT | the world is being stopped, or is |
//! | WATCHED | the stopper sleeps on `claim`, until the thread is out |
//! | ASLEEP | the thread sleeps on `claim`, until it is opened |
//!
//! Of the world one word: SHUT, CLOSED to those who enter, and how many slots have ever been used. And the turn of
//! those who stop it.
//!
//! # Transitions
//!
//! | event | steps |
//! |---|---|
//! | birth | a slot that is GONE: EXTERNAL; tell the world that it is used; if that is CLOSED, GONE |
//! | enter | birth, by the thread itself; register at the gate; if the world said SHUT, wait for the turn; come in |
//! | come in | INSIDE; look at `claim`; if it is SHUT: go out, sleep while it is, again |
//! | go out | EXTERNAL; look at `claim`; if it is WATCHED, that no more, and wake the stopper |
//! | end without leaving | inside: ENDED, and as going out; outside: sleep while `claim` is SHUT, ENDED |
//! | poll | look at `claim`; if it is SHUT, go out and come in |
//! | hold | HELD; look at `claim`, as going out; in the end INSIDE, and poll |
//! | leave | LEAVING; look at `claim`, as going out; unregister; GONE; if the world is CLOSED, wake who waits for that |
//! | stop | go out; take the turn; the world SHUT; each used slot SHUT; heavy barrier; wait for each until it is not INSIDE, or ENDED; the same for slots used since; list all that somebody has |
//! | force, at the deadline | [suspend](crate::preempt) those that are INSIDE still; shut slots used since; list |
//! | handshake | go out; take the turn; the slot SHUT; heavy barrier; wait until it is not INSIDE, or ENDED; then the slot not SHUT, wake, give the turn, come in |
//! | shut down | the world CLOSED; sleep until each used slot is GONE or ENDED |
//! | open | resume those that are suspended; the world not SHUT; each used slot not SHUT, and wake who sleeps there; give the turn; come in |
//! | fork, in the child | the gates' own; the world not SHUT; no turn |
//!
//! # Invariants
//!
//! - I1: from the end of `stop` to the begin of `open` no thread runs that is past a `come in` and has not gone
//!   out since: one that is INSIDE then has not looked yet, and goes out; or it is suspended.
//! - I2: a slot that somebody has when all are out is listed, and no other: what is born by a member is there
//!   before that goes out, whoever leaves does so from inside, and who ends outside waits while it may be listed.
//! - I3: who comes in waits for stops alone; who goes out or leaves waits for none.
//! - I4: a stopper is outside from before it takes the turn until after it has given it: another one need not
//!   wait for it.
//! - I5: who sleeps is woken: the stopper by who goes out and saw WATCHED, a thread by who opens and saw ASLEEP, who
//!   shuts down by who leaves or gives a birth up and saw CLOSED.
//! - I6: what a slot says of its thread's stack is written before that goes out, and taken back before the thread
//!   goes out in another way.
//!
//! # Happens-before
//!
//! - E1: coming in -> `stop`: it sees INSIDE, or who comes in sees SHUT. By
//!   [`Barrier`], or one word.
//! - E2: `birth` -> `stop`: it sees the slot, or who enters sees SHUT. By the world's word.
//! - E3: going out, leaving, polling, ending -> who has the world stopped: what the thread did inside.
//! - E4: the turn given -> taken: one stopper's work before the next one's.
//! - E5: `open` -> coming in, entering: what the stopper did.
//!
//! # Progress
//!
//! `poll` is one load while nobody stops the world. Going out and leaving wait for a suspension at most, as the
//! gate's do. Coming in waits while the world is stopped. `stop` waits for its turn, and for each thread until
//! it polls, goes out or leaves: for ever, or until its deadline, and then says who did not. With several stoppers
//! without a pause, who wants to enter in the middle of it takes turns with them.
//!
//! # Limits
//!
//! Threads stop at polls and transitions. One that runs on without a poll is waited for, or suspended wherever it is
//! in the runtime's code ([`Late::suspend`]): who does that must not allocate, or take a lock, until it goes on. A
//! member that is forgotten counts as it did last, until its thread ends; then its slot is lost. A member that is kept
//! in a thread-local is not inside any more once the backend has been told of the thread's end, but for its drop. A
//! stop looks at every slot that was ever used. 2^29 threads a slot before generations repeat; 2^30 slots.
//! Who shuts down looks every 20 ms for threads that have ended without leaving: nothing tells it.
//!
//! # Prior art
//!
//! HotSpot `safepoint.cpp`, `handshake.cpp`: states and transitions of threads; V8 `LocalHeap` park and unpark;
//! CPython 3.13 `stop_the_world` in `pystate.c`; Julia `safepoint.c`, which left its safepoint without looking
//! again (JuliaLang/julia#62627). MMTk's `Collection` asks for what is here.

mod error;
mod handshake;
mod member;
mod shutdown;
mod stack;
mod stop;
mod turn;

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

use crate::note::Deadline;
use crate::preempt::host::{Backend, Barrier, GateLocal, with_local};
use crate::preempt::{Gate, Gates, ThreadRef};
use crate::sync::{AtomicU32, AtomicUsize, Ordering::*, model_const_fn};
pub use error::{EnterError, HandshakeError, ShutdownError, StopByError, StopError};
pub use member::{Birth, External, Held, Inside, Member};
pub use shutdown::Remaining;
pub use stack::{stack_base, with_stack};
pub use stop::{Back, Forced, ForcedOutcome, Late, Outcome, OwnLate, OwnStop, Stop, Stopped};
use turn::Turn;

/// In the world's word: it is being stopped, or is.
const SHUT: u32 = 1;
/// In the world's word: nobody enters any more.
const CLOSED: u32 = 2;
/// In the world's word: one used slot.
const USED: u32 = 4;

/// A place for one thread of a world, with what the runtime keeps for that; two cache lines and the record.
#[derive(Debug)]
pub struct Slot<R, K: Backend> {
    gate: Gate<K>,
    /// What a stop found there; by who has the turn.
    found: AtomicU32,
    /// Down to where the thread's stack may hold what is the runtime's, if it has noted that; by the thread, inside.
    stack: AtomicUsize,
    record: R,
}

/// The threads of a runtime. Made to be a `static`, with its slots in it ([`WorldOf`]): two worlds over the same
/// slots would open what the other has shut.
pub struct World<R, B, K, S = [Slot<R, K>]>
where
    R: Sync + 'static,
    B: Barrier + 'static,
    K: Backend + 'static,
    S: ?Sized,
{
    gates: Gates<B, K>,
    word: AtomicU32,
    turn: Turn,
    /// Who has it: the address of what that thread has of its own, or 0.
    stopper: AtomicUsize,
    /// Counts those that leave once it is CLOSED, for who waits until all have left.
    left: AtomicU32,
    /// Among those who wait for that.
    last: Turn,
    record: PhantomData<R>,
    slots: S,
}

/// A [`World`] of so many slots.
pub type WorldOf<R, B, K, const SLOTS: usize> = World<R, B, K, [Slot<R, K>; SLOTS]>;

/// A slot that the caller has, and where others may see it.
struct Reserved<R: 'static, K: Backend + 'static> {
    slot: &'static Slot<R, K>,
    generation: u32,
    /// The world was being stopped.
    shut: bool,
}

impl<R, K: Backend> Clone for Reserved<R, K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R, K: Backend> Copy for Reserved<R, K> {}

impl<R, K: Backend> Slot<R, K> {
    model_const_fn! {
        /// Nobody's, with this record: who has the slot next has it as the last one left it.
        pub const fn new(record: R) -> Self {
            Self { gate: Gate::new(), found: AtomicU32::new(0), stack: AtomicUsize::new(0), record }
        }
    }

    /// What the runtime keeps for the thread that has this slot.
    pub const fn record(&self) -> &R {
        &self.record
    }

    #[cfg(all(test, loom))]
    pub(crate) fn gate(&self) -> &Gate<K> {
        &self.gate
    }
}

impl<R: Sync, B: Barrier, K: Backend, const N: usize> World<R, B, K, [Slot<R, K>; N]> {
    model_const_fn! {
        /// A world without threads, of as many slots as there may be threads at once.
        pub const fn new(barrier: B, backend: K, slots: [Slot<R, K>; N]) -> Self {
            Self {
                gates: Gates::new(barrier, backend),
                word: AtomicU32::new(0),
                turn: Turn::new(),
                stopper: AtomicUsize::new(0),
                left: AtomicU32::new(0),
                last: Turn::new(),
                record: PhantomData,
                slots,
            }
        }
    }
}

/// All that there is to do with a world does not depend on how many slots it has.
impl<R: Sync, B: Barrier, K: Backend, const N: usize> Deref for World<R, B, K, [Slot<R, K>; N]> {
    type Target = World<R, B, K>;

    fn deref(&self) -> &Self::Target {
        self
    }
}

impl<R: Sync, B: Barrier, K: Backend> World<R, B, K> {
    /// The gates of its threads, to suspend one of them or to have it preempted.
    pub const fn gates(&self) -> &Gates<B, K> {
        &self.gates
    }

    /// What is kept in each slot, whoever has it, or had it last.
    pub fn records(&self) -> impl Iterator<Item = &R> {
        self.slots.iter().map(Slot::record)
    }

    #[cfg(all(test, loom))]
    pub(crate) fn slots(&self) -> &[Slot<R, K>] {
        &self.slots
    }

    /// The calling thread is a member from now on, and inside. Waits while the world is stopped. Not
    /// async-signal-safe.
    ///
    /// # Errors
    ///
    /// See [`EnterError`].
    pub fn enter(&'static self) -> Result<Member<R, B, K>, EnterError> {
        self.birth()?.enter()
    }

    /// A slot for a thread that is yet to come: it counts as outside from now on. For threads that
    /// members make, by [`Member::birth`] or by this; what they hand to it a stopper finds in the record.
    ///
    /// # Errors
    ///
    /// All slots are in use, or the world is shutting down.
    pub fn birth(&'static self) -> Result<Birth<R, B, K>, EnterError> {
        let mut slots = self.slots.iter().enumerate();
        let reserved = slots.find_map(|(at, slot)| Some((at, slot, slot.gate.reserve()?)));
        let (at, slot, generation) = reserved.ok_or_else(|| self.why_full())?;
        let birth = Birth::new(self, Reserved { slot, generation, shut: false });
        // If that is refused, the birth is given up.
        let shut = self.use_slot(at)?;
        Ok(birth.in_a_world_that_is(shut))
    }

    fn why_full(&self) -> EnterError {
        // ORDERING: Relaxed: it says why, and nothing more.
        match self.word.load(Relaxed) & CLOSED {
            0 => EnterError::Full(self.slots.len()),
            _ => EnterError::ShuttingDown,
        }
    }

    /// Tells the world that a slot is used: whether it was being stopped.
    fn use_slot(&self, at: usize) -> Result<bool, EnterError> {
        // ORDERING: Relaxed: a guess.
        let mut seen = self.word.load(Relaxed);
        loop {
            if seen & CLOSED != 0 {
                return Err(EnterError::ShuttingDown);
            }
            let used = (seen / USED).max(at as u32 + 1) * USED + (seen & SHUT);
            // ORDERING: Release: E2 to `stop`. Acquire: E5 from `open`. Weakened: world enters_during_stop.
            match self.word.compare_exchange(seen, used, AcqRel, Relaxed) {
                Ok(_) => return Ok(seen & SHUT != 0),
                Err(now) => seen = now,
            }
        }
    }

    /// Waits for a stop that may not know of the caller's slot: after it the next ones do.
    fn let_stop_pass(&self) {
        self.turn.take(None);
        self.turn.give();
    }

    /// Stops the world: when this returns, none of its threads is inside. For threads that are not members;
    /// those have [`Member::stop`]. Waits for all of them, for ever if one neither polls nor goes out. Not
    /// async-signal-safe.
    ///
    /// # Errors
    ///
    /// See [`StopError`]; the world runs on.
    pub fn stop(&'static self) -> Result<Stop<R, B, K>, StopError> {
        self.is_strangers()?;
        self.stops(None)
    }

    /// The same, until a deadline.
    ///
    /// # Errors
    ///
    /// See [`StopByError`]; the world runs on, but for [`StopByError::Late`], while that is kept.
    pub fn stop_by(
        &'static self,
        deadline: &Deadline,
    ) -> Result<Stop<R, B, K>, StopByError<R, B, K>> {
        self.is_strangers()?;
        self.stops_by(None, deadline)
    }

    pub(crate) fn is_strangers(&self) -> Result<(), StopError> {
        match with_local(self.gates.backend(), GateLocal::is_registered) {
            true => Err(StopError::Member),
            false if self.is_stopped_by_this() => Err(StopError::Nested),
            false => Ok(()),
        }
    }

    /// The calling thread made the stop, or began the handshake, that is in force: it would wait for itself.
    pub(crate) fn is_stopped_by_this(&self) -> bool {
        let own = self.own_address();
        // ORDERING: Relaxed: its own, or somebody else's. By a read-modify-write, as who was given the stop may have
        // ended it since.
        self.stopper.load(Relaxed) == own && self.stopper.fetch_or(0, Relaxed) == own
    }

    fn own_address(&self) -> usize {
        with_local(self.gates.backend(), |own| core::ptr::from_ref(own).addr())
    }

    /// In the child of a fork: the calling thread is the only one, a member or not, and nobody stops the world.
    /// Async-signal-safe.
    ///
    /// # Errors
    ///
    /// As [`Gates::reset_after_fork`].
    ///
    /// # Safety
    ///
    /// As [`Gates::reset_after_fork`]; the calling thread was not in the middle of entering, leaving or
    /// stopping, and whatever says that it has the world stopped is forgotten.
    pub unsafe fn reset_after_fork(&'static self) -> Result<(), crate::preempt::RegisterError> {
        // ORDERING: Relaxed: there is one thread.
        self.word.fetch_and(!SHUT, Relaxed);
        self.turn.reset();
        self.last.reset();
        // ORDERING: Relaxed: there is one thread.
        self.stopper.store(0, Relaxed);
        let others =
            |slot: &&Slot<R, K>| !with_local(self.gates.backend(), |own| own.is_at(&slot.gate));
        self.slots.iter().filter(others).for_each(Slot::forget_stack);
        // SAFETY: as the caller promises.
        unsafe { self.gates.reset_after_fork(self.slots.iter().map(|slot| &slot.gate)) }
    }
}

impl<R: Sync, B: Barrier, K: Backend, S: ?Sized> fmt::Debug for World<R, B, K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("gates", &self.gates).finish_non_exhaustive()
    }
}

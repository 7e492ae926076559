//! Flags and counters that the handler itself sets, for programs that look and do not wait.
//!
//! # Contexts
//!
//! [`Flags::enter`] and [`Entered::leave`] run in handlers, on any thread: neither allocates, waits, or
//! takes a lock. Everything else runs in ordinary threads; what changes a list does so under the hub's lock.
//!
//! # States
//!
//! Each signal has a list of [`Flag`]s, which grows and never shrinks: handlers walk it at any time. A flag is one
//! word:
//!
//! | part | meaning |
//! |---|---|
//! | ACTIVE | it is set when the signal comes |
//! | OWNED | its handle is alive, or kept for ever |
//! | INSIDE | how many handlers are between entering and leaving it |
//!
//! One of which nothing is left, 0, may be given another target.
//!
//! # Transitions
//!
//! | step | by | operation | edge |
//! |---|---|---|---|
//! | on the list | `add`, under the lock | store of the head | E1 |
//! | ACTIVE, OWNED | `add`, under the lock | fetch-or | E2 |
//! | INSIDE + 1 | a handler enters, before the queue is asked | fetch-add | E2, E4 |
//! | the target is set | the handler, if it was ACTIVE then and the queue has accepted the signal | | |
//! | INSIDE - 1 | the handler leaves | fetch-sub | E3 |
//! | not ACTIVE | `end`, under the lock, after the queue was told | fetch-and | E4 |
//! | `is_quiet` | who has ended it, without the lock | load | E3 |
//! | not OWNED | the handle is dropped | fetch-and | E3 |
//!
//! # Invariants
//!
//! - F1: a signal that the queue accepts is in every flag that was ACTIVE as its handler entered, and stays so
//!   until its handler has left. Acceptance is the queue's word's alone (its I3): one that it does not accept is in
//!   none, and takes the disposition in force.
//! - F2: one that nobody receives is in one flag at least: a handler that has entered none, and is told that it is
//!   noted, enters again (`Hub::on_signal`).
//! - F3: when a flag is quiet after `end`, what was accepted before is in it, and nothing sets it any more.
//! - F4: a flag that handlers are inside of, or whose handle is alive, gets no other target.
//!
//! # Happens-before
//!
//! - E1: what a flag is made of -> a handler that finds it on the list.
//! - E2: its target -> a handler that finds it ACTIVE.
//! - E3: a handler's set of the target, and its last look at it -> who finds it quiet.
//! - E4: what the queue was told before `end` -> a handler that finds it not ACTIVE: it finds that told.
//! - E5: what its thread did before the signal -> who sees the target set, by an acquire load.
//!
//! # Progress
//!
//! A handler takes a step or two for each flag of its signal. Who ends a flag waits for handlers that are inside:
//! a few instructions of theirs each, on other threads, as they mask what may wait. One that does not get on, as
//! a debugger has its thread, is waited for no longer than [`STOP_PATIENCE`](super::STOP_PATIENCE).
//!
//! # Prior art
//!
//! signal-hook's `flag`: the handler stores without a count, so one that was chosen before `unregister` sets the
//! flag after it.

use crate::sigqueue::{SIGNALS, Sent};
use crate::sync::{
    AtomicBool, AtomicPtr, AtomicU32, Ordering::*, UnsafeCell, filled, model_const_fn,
};

/// What the handler sets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// To true.
    Flag(&'static AtomicBool),
    /// To one more.
    Count(&'static AtomicU32),
}

impl Target {
    fn set(self) {
        // ORDERING: Release, both: E5. Weakened: stop flag_passes_on.
        match self {
            Self::Flag(flag) => flag.store(true, Release),
            Self::Count(counter) => _ = counter.fetch_add(1, Release),
        }
    }
}

const ACTIVE: u32 = 1;
const OWNED: u32 = 1 << 1;
/// One handler.
const INSIDE: u32 = 1 << 2;

/// Flags that a signal may have at once: handlers keep a bit for each.
pub(crate) const MOST: usize = 64;

/// One flag of one signal.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) signal: i32,
    state: AtomicU32,
    target: UnsafeCell<Option<Target>>,
    /// Set before the flag is on the list, and never again.
    next: Option<&'static Flag>,
    /// The handle was dropped where the lock could not be had.
    pub(crate) abandoned: AtomicBool,
}

// SAFETY: the target is written by `add` under the hub's lock while nobody may read it: no handler does that did
// not find ACTIVE (E2), and those that had are gone (E3).
unsafe impl Sync for Flag {}

impl Flag {
    /// One that is on no list.
    pub(crate) fn new(signal: i32) -> Self {
        Self {
            signal,
            state: AtomicU32::new(0),
            target: UnsafeCell::new(None),
            next: None,
            abandoned: AtomicBool::new(false),
        }
    }

    /// Whether it is set; under the lock, where that does not change.
    pub(crate) fn is_active(&self) -> bool {
        // ORDERING: Relaxed: written under the lock alone.
        self.state.load(Relaxed) & ACTIVE != 0
    }

    fn is_free(&self) -> bool {
        // ORDERING: Acquire: E3, from the last handler that was inside, and the handle. Weakened: stop
        // flag_is_used_again.
        self.state.load(Acquire) == 0
    }

    fn begin(&self, target: Target) {
        // SAFETY: it is free, and the caller has the lock.
        self.target.with_mut(|place| unsafe { *place = Some(target) });
        // ORDERING: Relaxed: marked by who has the handle, that is given out after this. Release: E2 to `enter`.
        // Weakened: stop flag_is_used_again.
        self.abandoned.store(false, Relaxed);
        self.state.fetch_or(ACTIVE | OWNED, Release);
    }

    /// It is set no more by handlers that come now; under the lock, after the queue was told. Whether it was set
    /// until now.
    pub(crate) fn end(&self) -> bool {
        // ORDERING: Release: E4 to `enter`. Weakened: litmus/flag_ends; loom reads the newest in the queue's word.
        self.state.fetch_and(!ACTIVE, Release) & ACTIVE != 0
    }

    /// Whether it was ended, and no handler is inside.
    pub(crate) fn is_quiet(&self) -> bool {
        // ORDERING: Acquire: E3 from `leave`. Weakened: stop flag_against_stop.
        let state = self.state.load(Acquire);
        state & ACTIVE != 0 || state / INSIDE == 0
    }

    /// Its handle is gone.
    pub(crate) fn disown(&self) {
        // ORDERING: Release: what the handle's owner saw of the target, to the next `begin` (E3). Weakened:
        // litmus/flag_given_back; the lock orders the two in loom's models.
        self.state.fetch_and(!OWNED, Release);
    }

    /// In a handler. Whether it is to be set.
    fn enter(&self) -> bool {
        // ORDERING: Acquire: E2 from `begin`, E4 from `end`. Weakened: stop flag_is_used_again.
        self.state.fetch_add(INSIDE, Acquire) & ACTIVE != 0
    }

    fn leave(&self, set: bool) {
        if set {
            // SAFETY: found ACTIVE, so it was written before (E2), and not since (F4).
            self.target.with(|target| unsafe { *target }).into_iter().for_each(Target::set);
        }
        // ORDERING: Release: E3. Weakened: stop flag_against_stop, flag_is_used_again.
        self.state.fetch_sub(INSIDE, Release);
    }

    /// In the child of a fork: handlers of other threads are not here.
    fn forked(&self) {
        // ORDERING: Relaxed: no other thread is there.
        self.state.fetch_and(ACTIVE | OWNED, Relaxed);
    }
}

/// The flags of all signals.
#[derive(Debug)]
pub(crate) struct Flags {
    heads: [AtomicPtr<Flag>; SIGNALS],
}

/// A handler is inside the flags of its signal.
pub(crate) struct Entered {
    first: Option<&'static Flag>,
    /// Those that were active, from the first on.
    active: u64,
}

/// Those from this one on.
fn from(first: Option<&'static Flag>) -> impl Iterator<Item = &'static Flag> {
    core::iter::successors(first, |flag| flag.next)
}

impl Flags {
    model_const_fn! {
        pub(crate) const fn new() -> Self {
            Self { heads: filled![AtomicPtr::new(core::ptr::null_mut()); SIGNALS] }
        }
    }

    /// Those of this signal.
    fn first(&self, signal: i32) -> Option<&'static Flag> {
        let head = self.heads.get(usize::try_from(signal).ok()?)?;
        // ORDERING: Acquire: E1 from `add`. Weakened: stop flag_beside_a_mailbox.
        let first = head.load(Acquire);
        // SAFETY: null, or what `add` was given, which is for ever.
        unsafe { first.as_ref() }
    }

    /// Those of this signal.
    pub(crate) fn of(&self, signal: i32) -> impl Iterator<Item = &'static Flag> {
        from(self.first(signal))
    }

    /// In a handler, before the queue is asked. Async-signal-safe.
    pub(crate) fn enter(&self, signal: i32) -> Entered {
        let first = self.first(signal);
        let bits = from(first).enumerate().map(|(at, flag)| u64::from(flag.enter()) << (at % MOST));
        Entered { first, active: bits.fold(0, |active, bit| active | bit) }
    }

    /// Another flag of `spare`'s signal, under the hub's lock: one that is free, else `spare`. `None` if there are
    /// too many.
    pub(crate) fn add(
        &self,
        spare: &mut Option<Box<Flag>>,
        signal: i32,
        target: Target,
    ) -> Option<&'static Flag> {
        let flag = match self.of(signal).find(|flag| flag.is_free()) {
            Some(flag) => flag,
            None if self.of(signal).count() == MOST => return None,
            None => {
                let mut spare = spare.take()?;
                spare.next = self.first(signal);
                let flag: &'static Flag = Box::leak(spare);
                let place = core::ptr::from_ref(flag).cast_mut();
                // ORDERING: Release: E1 to `first`. Weakened: as there.
                self.heads.get(usize::try_from(signal).ok()?)?.store(place, Release);
                flag
            }
        };
        flag.begin(target);
        Some(flag)
    }

    /// Whether no handler is inside a flag of this signal that was ended.
    pub(crate) fn is_quiet(&self, signal: i32) -> bool {
        self.of(signal).all(Flag::is_quiet)
    }

    /// In the child of a fork, by its only thread, with all signals masked.
    pub(crate) fn forked(&self) {
        (1..SIGNALS as i32).flat_map(|signal| self.of(signal)).for_each(Flag::forked);
    }
}

impl Entered {
    /// The queue has answered. Whether there was a flag to set. Async-signal-safe.
    pub(crate) fn leave(self, sent: Sent) -> bool {
        let accepted = matches!(sent, Sent::Accepted | Sent::Coalesced | Sent::Noted);
        for (at, flag) in from(self.first).enumerate() {
            flag.leave(accepted && self.active >> (at % MOST) & 1 != 0);
        }
        self.active != 0
    }
}

//! The turn among those who suspend.
//!
//! Whoever waits may be suspended meanwhile by who has the turn, and held for as long as that one
//! likes, who may want the turn again before it lets go: so nobody may have to wait for one that waits,
//! as in a queue. But who comes new lets those by who wait already, while they take it. A waiter that
//! has been given so many chances and does not come is stopped, or has no processor.
//!
//! Those that wait are served before any that come after them, then, unless they cannot run.
//!
//! Others in the process suspend threads too, and take no turns (bdwgc, Julia): whom they stop while he
//! waits for a thread that is stopped here waits for ever, and they with him. So who has the turn, and who
//! holds threads, is stopped by nobody else: he masks their signals (I9).
//!
//! It is one for all that can stop each other, whatever `Gates` they stop each other by: so the backend
//! has it, and not each `Gates`.

use crate::sync::{AtomicU32, Ordering::*, model_const_fn};

/// How often who comes new sees the turn free, and nobody take it, before it does.
pub(crate) const CHANCES: u32 = 4;

/// For [`Backend::pause`](super::host::Backend::pause): a wait may have any number of turns.
pub(crate) fn turns() -> impl Iterator<Item = u32> {
    (0..u32::MAX).chain(core::iter::repeat(u32::MAX))
}

/// The turn among those who stop threads: one at a time asks and waits until they have stopped. A backend
/// has one ([`Backend::turn`](super::host::Backend::turn)); taking and giving it is the gate's.
#[derive(Debug)]
pub struct Turn {
    taken: AtomicU32,
    /// How many wait. A courtesy: it orders nothing, and if it is wrong some chances are lost.
    waiting: AtomicU32,
}

impl Turn {
    model_const_fn! {
        /// Nobody's.
        pub const fn new() -> Self {
            Self { taken: AtomicU32::new(0), waiting: AtomicU32::new(0) }
        }
    }

    /// Spins: a sleep would take locks of the system's, which a stopped thread may have. `pause` is
    /// [`Backend::pause`](super::host::Backend::pause). `mask` is called with true before it may be had, and
    /// with false if it was not: whoever has it is masked, who waits for it is not.
    pub(crate) fn take(&self, pause: impl Fn(u32), mask: impl Fn(bool)) {
        self.let_others_by(&pause);
        if self.try_take(&mask) {
            return;
        }
        // ORDERING: Relaxed: a courtesy.
        self.waiting.fetch_add(1, Relaxed);
        for turn in turns() {
            pause(turn);
            // ORDERING: Relaxed: a guess, which saves the mask's system calls.
            if self.taken.load(Relaxed) == 0 && self.try_take(&mask) {
                break;
            }
        }
        self.waits_no_more();
    }

    /// Takes the caller off the count, unless that has begun anew: a handler forked while the caller
    /// waited, and this is the child.
    fn waits_no_more(&self) {
        // ORDERING: Relaxed, both: a courtesy.
        let mut count = self.waiting.load(Relaxed);
        while let Some(others) = count.checked_sub(1) {
            match self.waiting.compare_exchange(count, others, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(seen) => count = seen,
            }
        }
    }

    fn let_others_by(&self, pause: impl Fn(u32)) {
        let (mut turns, mut chances) = (turns(), 0);
        // ORDERING: Relaxed, both: a courtesy.
        while self.waiting.load(Relaxed) != 0 && chances < CHANCES {
            if self.taken.load(Relaxed) == 0 {
                chances += 1;
                pause(u32::MAX);
            } else {
                turns.next().into_iter().for_each(&pause);
            }
        }
    }

    fn try_take(&self, mask: impl Fn(bool)) -> bool {
        mask(true);
        let taken = self.swap();
        if !taken {
            mask(false);
        }
        taken
    }

    fn swap(&self) -> bool {
        // ORDERING: Acquire: E4 from `give`. Weakened: preempt system_is_asked_by_turns.
        // Failure Relaxed: it goes on.
        self.taken.compare_exchange(0, 1, Acquire, Relaxed).is_ok()
    }

    pub(crate) fn give(&self) {
        // ORDERING: Release: E4 to `swap`. Weakened: preempt system_is_asked_by_turns.
        self.taken.store(0, Release);
    }

    /// In the child of a fork.
    pub(crate) fn reset(&self) {
        // ORDERING: Relaxed: there is one thread.
        self.taken.store(0, Relaxed);
        self.waiting.store(0, Relaxed);
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self::new()
    }
}

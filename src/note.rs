//! One-shot event: one thread sleeps, anybody wakes it, a signal handler included.
//!
//! # Contexts
//!
//! | caller | may call | may not |
//! |---|---|---|
//! | signal handler, any thread | [`Note::wake`] | sleep, clear |
//! | the one sleeper | [`Note::sleep`], [`Note::clear`] | be two threads at once |
//!
//! # States
//!
//! | word | meaning |
//! |---|---|
//! | CLEAR | nobody asleep, no wake-up outstanding |
//! | ASLEEP | the sleeper waits on the word's address, or is about to |
//! | SET | woken; stays so until cleared |
//!
//! # Transitions
//!
//! | from | to | by | operation |
//! |---|---|---|---|
//! | CLEAR | ASLEEP | `sleep` | compare-exchange |
//! | ASLEEP | CLEAR | `sleep`, deadline passed | compare-exchange |
//! | any | SET | `wake` | swap; system wake-up only from ASLEEP |
//! | any | CLEAR | `clear` | swap |
//!
//! # Invariants
//!
//! - I1: a `wake` that is not followed by a `clear` ends the present or the next `sleep`.
//! - I2: `sleep` without a deadline returns only with the word SET.
//!
//! # Happens-before
//!
//! - E1: `wake` (release) -> the `sleep` it ends (acquire).
//! - E2: `wake` (release) -> the `clear` that wipes it out (acquire). A `clear` that merely stored
//!   could wipe out a wake-up whose reason its caller then fails to see.
//!
//! # Progress
//!
//! `wake` is wait-free: one swap and at most one system call. `sleep` may return early for a
//! wake-up that was meant for an earlier sleep: callers look at their own state again.
//!
//! # Prior art
//!
//! Go `runtime/lock_futex.go` notesleep, notewakeup, noteclear (there a second wake-up throws);
//! Rust std's futex parker.

use crate::sync::{AtomicU32, Ordering::*, model_const_fn};
use crate::sys;
pub use crate::sys::{Deadline, Waited};

const CLEAR: u32 = 0;
const SET: u32 = 1;
const ASLEEP: u32 = 2;

/// What a protocol needs to put a thread to sleep and to have it woken.
///
/// [`Note`] is the one of this crate. A runtime with its own parking offers it by this trait; the
/// contract is [`Note`]'s: `wake` is async-signal-safe, a wake-up before the sleep ends the sleep,
/// sleeps may end early, and [`E1`, `E2`](self) hold.
pub trait Park {
    /// Sleeps until woken or until the deadline has passed. One thread at a time.
    fn sleep(&self, deadline: Option<&Deadline>) -> Waited;
    /// Ends the present or next sleep. Async-signal-safe.
    fn wake(&self);
    /// Forgets a wake-up. The sleeper alone calls it.
    fn clear(&self);
}

/// A one-shot event on the system's wait-on-address: no descriptor, no allocation.
#[derive(Debug)]
pub struct Note {
    word: AtomicU32,
}

impl Note {
    model_const_fn! {
        /// A clear note.
        pub const fn new() -> Self {
            Self { word: AtomicU32::new(CLEAR) }
        }
    }
}

impl Default for Note {
    fn default() -> Self {
        Self::new()
    }
}

impl Park for Note {
    /// Blocks, so it is not for signal handlers.
    fn sleep(&self, deadline: Option<&Deadline>) -> Waited {
        // ORDERING: success Relaxed, nothing is passed on by falling asleep. Failure Acquire: E1
        // from `wake`. Weakened: note wake_against_sleep.
        if self.word.compare_exchange(CLEAR, ASLEEP, Relaxed, Acquire) == Err(SET) {
            return Waited::Woken;
        }
        loop {
            let waited = sys::wait(&self.word, ASLEEP, deadline);
            // ORDERING: Acquire: E1 from `wake`. Weakened: note wake_against_sleep.
            if self.word.load(Acquire) == SET {
                return Waited::Woken;
            }
            if waited == Waited::TimedOut {
                return self.give_up();
            }
        }
    }

    /// Async-signal-safe; errno is kept.
    fn wake(&self) {
        // ORDERING: Release: E1, E2 to `sleep` and `clear`. Weakened: note wake_against_sleep.
        if self.word.swap(SET, Release) == ASLEEP {
            sys::wake_one(&self.word);
        }
    }

    fn clear(&self) {
        // ORDERING: Acquire: E2 from `wake`, hence a swap and not a store. Weakened: note
        // clear_against_wake.
        self.word.swap(CLEAR, Acquire);
    }
}

impl Note {
    fn give_up(&self) -> Waited {
        // ORDERING: success Relaxed, nothing is passed on. Failure Acquire: E1, a `wake` got in
        // first. Weakened: note wake_against_deadline.
        match self.word.compare_exchange(ASLEEP, CLEAR, Relaxed, Acquire) {
            Ok(_) => Waited::TimedOut,
            Err(_) => Waited::Woken,
        }
    }
}

//! One-shot event: one thread sleeps, anybody wakes it, a signal handler included.
//!
//! For whoever has one thread wait for another or for a handler, and can use neither a condition
//! variable (whose notify is not async-signal-safe) nor a pipe. A [`Note`] is four bytes.
//!
//! ```
//! # #[cfg(not(loom))] {
//! use portcullis::note::{Deadline, Note, Park, Waited};
//! use std::time::Duration;
//!
//! static DONE: Note = Note::new();
//!
//! let worker = std::thread::spawn(|| DONE.wake()); // or a signal handler
//! assert_eq!(DONE.sleep(None), Waited::Woken);
//! DONE.clear();
//! let soon = Deadline::after(Duration::from_millis(1));
//! assert_eq!(DONE.sleep(Some(&soon)), Waited::TimedOut);
//! # worker.join().unwrap();
//! # }
//! ```
//!
//! [`Park`] is for runtimes that bring their own way to sleep.
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
/// [`Note`] is the one of this crate, and enough for most. A runtime whose threads sleep in a
/// scheduler of its own offers that by this trait; [`Deadline::left`] tells for how long.
///
/// ```
/// # #[cfg(all(feature = "std", not(loom)))] {
/// use portcullis::note::{Deadline, Note, Park, Waited};
/// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
///
/// /// Notes that count the sleeps, for a monitor.
/// struct Counted(Note, AtomicUsize);
///
/// // SAFETY: the count is touched by the sleeper alone; the rest is the note's.
/// unsafe impl Park for Counted {
///     fn sleep(&self, deadline: Option<&Deadline>) -> Waited {
///         self.1.fetch_add(1, Relaxed);
///         self.0.sleep(deadline)
///     }
///     fn wake(&self) {
///         self.0.wake();
///     }
///     fn clear(&self) {
///         self.0.clear();
///     }
/// }
/// # }
/// ```
///
/// # Safety
///
/// `wake` is called in signal handlers, on any thread, nested in anything:
/// - it is async-signal-safe (man 7 signal-safety): it allocates nothing, takes no lock that the
///   code it interrupts may hold, keeps errno, and does not unwind.
///
/// Protocols pass memory on through it, so [`E1` and `E2`](self) hold:
/// - what happened before a `wake` is seen after the `sleep` that it ends, and after the `clear`
///   that wipes it out;
/// - a `wake` that no `clear` follows ends the present or the next `sleep`.
pub unsafe trait Park {
    /// Sleeps until woken or until the deadline has passed, or for no reason: callers look again.
    ///
    /// One thread at a time: of two that sleep at once one may sleep on for ever.
    fn sleep(&self, deadline: Option<&Deadline>) -> Waited;
    /// Ends the present or next sleep. Async-signal-safe.
    fn wake(&self);
    /// Forgets a wake-up. The sleeper alone calls it: by another it may take the sleeper's, which
    /// then sleeps on.
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

// SAFETY: `wake` is one atomic operation and one async-signal-safe call of the system, which keeps
// errno; the orderings below give E1 and E2, as the models named there check.
unsafe impl Park for Note {
    /// Blocks, so it is not for signal handlers.
    fn sleep(&self, deadline: Option<&Deadline>) -> Waited {
        // ORDERING: success Relaxed, nothing is passed on by falling asleep. Failure Acquire: E1
        // from `wake`. Weakened: note wake_against_sleep.
        if self.word.compare_exchange(CLEAR, ASLEEP, Relaxed, Acquire) == Err(SET) {
            return Waited::Woken;
        }
        loop {
            // The system may end it for no reason. Believed: note wake_against_sleep: hostile.
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
    /// One that was woken after all might be told TimedOut as well: SET stays, so its next sleep ends at once, and
    /// whoever is told that time is over looks at its own state before it believes that nothing came. To say Woken
    /// saves it that sleep.
    fn give_up(&self) -> Waited {
        // ORDERING: success Relaxed, nothing is passed on. Failure Acquire: E1, a `wake` got in
        // first. Weakened: note wake_against_deadline.
        match self.word.compare_exchange(ASLEEP, CLEAR, Relaxed, Acquire) {
            Ok(_) => Waited::TimedOut,
            Err(_) => Waited::Woken,
        }
    }
}

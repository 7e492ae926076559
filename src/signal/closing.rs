//! The crate's thread hears no more of what is subscribed to, before a disposition changes under it.
//!
//! # Purpose
//!
//! What a sink or a waker starts inherits the mask of its thread. So the crate's thread runs them under the mask
//! of whoever subscribed, and hears then what is subscribed to. The system may give it such a signal, sent before
//! a stop: taken, and not in the queue yet, the stop does not find it; not taken yet, it meets the disposition
//! of after the stop. So who is about to change one first has that thread mask them, by a signal of its own.
//! Then they are for other threads, as they always are outside of sinks and wakers.
//!
//! # Contexts
//!
//! [`Closing::ask`] runs in ordinary threads without the hub's lock, [`Closing::answer`] in a handler on the crate's
//! thread that masks all that may wait. Neither allocates.
//!
//! # States
//!
//! Of the hub's table, under its lock:
//!
//! | open | closing | the crate's thread | who changes a disposition |
//! |---|---|---|---|
//! | 0 | 0 | masks what is subscribed to | does so at once |
//! | 1 or more | 0 | may hear it | asks first |
//! | 0 or more | 1 or more | hears it until it has answered; in what it begins now, not | asks, and then does so |
//!
//! # Transitions
//!
//! | step | change |
//! |---|---|
//! | a sink or a waker begins (`Table::enter`) | open + 1, unless closing |
//! | it has returned (`Table::leave`) | open - 1 |
//! | a disposition is to change while open (`Hub::changing`) | closing + 1, then `ask` without the lock |
//! | it has changed | closing - 1 |
//! | `ask` | asked + 1, a signal to the crate's thread |
//! | `answer` | masked when the handler returns; answered = asked |
//!
//! # Invariants
//!
//! - C1: outside of sinks and wakers that were counted as open the crate's thread masks what is subscribed to.
//! - C2: when `ask` has returned true, and until a disposition was changed by who asked, no handler of a
//!   subscribed signal is under way on the crate's thread, or begins. Unless the code there changes its mask
//!   itself meanwhile, or puts back one from before, as the return of a handler does which the answer has
//!   interrupted.
//!
//! # Happens-before
//!
//! - E1: what handlers on the crate's thread did before the answer, to `ask`'s return: `answered`.
//!
//! # Progress
//!
//! `ask` waits for the crate's thread to run a handler, or to be done with the user's code; for 5 seconds at most
//! (`STOP_PATIENCE`). One that masks the signal by which it is asked does not answer, and may be given what it has
//! not masked.
//!
//! # Prior art
//!
//! Go's os/signal leaves this open: a signal that another thread has taken when `Stop` disables it acts by
//! default (runtime/sigqueue.go, `signalWaitUntilIdle`, waits for what is in the queue).

use super::hub::{Hub, Kernel};
use super::table::Table;
use super::wakes::Wakes;
#[cfg(any(
    all(test, loom),
    all(not(all(loom, feature = "loom")), any(target_os = "linux", target_os = "android"))
))]
pub(crate) use asked::Closing;

impl<K: Kernel> Hub<K> {
    /// If tasks are to be woken, on a thread that would hear what is subscribed to.
    pub(super) fn open_for(&self, table: &mut Table, wakes: &mut Wakes) {
        wakes.open = wakes.has_tasks() && table.enter(self.kernel.would_hear());
    }

    /// Does this under the lock; if it changes dispositions, when the crate's thread hears nothing of what is
    /// subscribed to (C2).
    pub(super) fn changing<R>(
        &self,
        changes: impl FnOnce(&Table) -> bool,
        mut change: impl FnMut(&mut Table, &mut Wakes) -> R,
    ) -> R {
        let done = self.locked(|table, wakes| {
            if table.is_open() && changes(table) {
                table.set_closing(true);
                return None;
            }
            Some(change(table, wakes))
        });
        done.unwrap_or_else(|| {
            self.kernel.close(&mut || self.locked(|table, _| table.is_open()));
            self.locked(|table, wakes| {
                table.set_closing(false);
                change(table, wakes)
            })
        })
    }
}

/// Elsewhere the crate's thread hears nothing of what is subscribed to.
#[cfg(any(
    all(test, loom),
    all(not(all(loom, feature = "loom")), any(target_os = "linux", target_os = "android"))
))]
mod asked {
    use crate::sync::{AtomicU32, Ordering::*, model_const_fn, relax};

    /// Questions, and how many of them were answered.
    #[derive(Debug)]
    pub(crate) struct Closing {
        asked: AtomicU32,
        answered: AtomicU32,
    }

    impl Closing {
        model_const_fn! {
            pub(crate) const fn new() -> Self {
                Self { asked: AtomicU32::new(0), answered: AtomicU32::new(0) }
            }
        }

        /// Has the thread that `send` interrupts mask what is subscribed to; false if that fails, or when
        /// `goes_on` says that it is to be waited for no longer.
        pub(crate) fn ask(
            &self,
            send: impl FnOnce() -> bool,
            mut goes_on: impl FnMut() -> bool,
        ) -> bool {
            // ORDERING: Relaxed: a number; the signal, sent after it, orders it before the handler.
            let mine = self.asked.fetch_add(1, Relaxed).wrapping_add(1);
            if !send() {
                return false;
            }
            // ORDERING: Acquire: E1, from `answer`. Weakened: litmus/closing_answer; in loom's models the queue's
            // words are all there is, and are changed by read-modify-writes, of which it has the newest read.
            while (self.answered.load(Acquire).wrapping_sub(mine) as i32) < 0 {
                if !goes_on() {
                    return false;
                }
                relax();
            }
            true
        }

        /// In a handler on the crate's thread: if it is asked to, has `close` mask what is subscribed to from the
        /// handler's return on.
        pub(crate) fn answer(&self, close: impl FnOnce()) {
            // ORDERING: Relaxed, both: `asked` was raised before the signal was sent; only this thread writes the
            // other.
            let (asked, answered) = (self.asked.load(Relaxed), self.answered.load(Relaxed));
            if asked != answered {
                close();
                // ORDERING: Release: E1, to `ask`. Weakened: as there.
                self.answered.store(asked, Release);
            }
        }
    }
}

//! The handshake of a stop that is asked for by a signal.
//!
//! | word | written by | then |
//! |---|---|---|
//! | RUN | the thread, as it leaves its handler; who withdraws | nothing is asked |
//! | ASKED | who holds the thread's claim | the signal was sent, or will be |
//! | STOPPED | the thread, in its handler | it waits there while this stands |
//! | RESUMED | who resumes | the thread is about to leave its handler |
//!
//! Nobody asks before the thread has left: else the next signal would be there when it returns, and
//! two that suspend it in turn would keep it from its next instruction for ever (golang/go b89b4623eb).
//!
//! A signal that comes when nothing is asked, late or somebody else's, changes nothing; one that ends
//! the wait for no reason is waited out (bdwgc#633, #657).

use crate::sync::{AtomicPtr, AtomicU32, Ordering::*, model_const_fn};

const RUN: u32 = 0;
const ASKED: u32 = 1;
const STOPPED: u32 = 2;
const RESUMED: u32 = 3;

/// Whether the thread is to stop, or has stopped. Each belongs to a gate, which hands it to its backend.
///
/// Its methods are `unsafe`, for a word may be handed on: whoever calls one for a thread that somebody
/// else has stopped lets it go on under his eyes.
#[derive(Debug)]
pub struct StopWord {
    word: AtomicU32,
    /// What the handler was given to know of the interrupted code.
    context: AtomicPtr<()>,
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a thread that has stopped has to be resumed"]
#[non_exhaustive]
pub enum StopAnswer {
    /// The thread has stopped.
    Stopped,
    /// It has not, and will not any more.
    Withdrawn,
}

impl StopWord {
    model_const_fn! {
        pub(super) const fn new() -> Self {
            Self { word: AtomicU32::new(RUN), context: AtomicPtr::new(core::ptr::null_mut()) }
        }
    }

    /// Before the signal; by who holds the claim. Waits for the thread to leave its handler, if it was
    /// resumed just now, for as long as `pause` returns true; else nothing is asked, and this returns
    /// false.
    ///
    /// # Safety
    ///
    /// In [`Backend::ask`](super::host::Backend::ask), with the word that it was given.
    #[must_use]
    pub unsafe fn ask(&self, pause: impl Fn(u32) -> bool) -> bool {
        // ORDERING: Relaxed: the signal orders nothing either; if it is faster, `withdraw` and the
        // patience of who asked settle it.
        let asked = || self.word.compare_exchange(RUN, ASKED, Relaxed, Relaxed).is_ok();
        let mut turn = 0;
        while !asked() {
            if !pause(turn) {
                return false;
            }
            turn = turn.wrapping_add(1);
        }
        true
    }

    /// By `Gate::on_signal`, in the handler, all signals masked: stops if that is asked, and returns true when resumed.
    /// `wait` sleeps while the word it is given has the value it is given; `wake` wakes one that
    /// sleeps on it. Async-signal-safe as far as these are.
    pub(super) fn answer(
        &self,
        context: *mut (),
        wait: impl Fn(&AtomicU32, u32),
        wake: impl Fn(&AtomicU32),
    ) -> bool {
        // ORDERING: Relaxed: published by the exchange.
        self.context.store(context, Relaxed);
        // ORDERING: Release: what the thread did, to `has_stopped`. Weakened: preempt
        // enter_against_suspend. Failure Relaxed: nothing is asked.
        if self.word.compare_exchange(ASKED, STOPPED, Release, Relaxed).is_err() {
            return false;
        }
        wake(&self.word);
        // ORDERING: Acquire: from `resume`: what was done to the thread. Weakened: preempt
        // enter_against_suspend.
        while self.word.load(Acquire) == STOPPED {
            wait(&self.word, STOPPED);
        }
        // ORDERING: Relaxed: passes nothing on.
        self.word.store(RUN, Relaxed);
        true
    }

    /// By who asked: whether it has stopped by now.
    fn has_stopped(&self) -> bool {
        // ORDERING: Acquire: from `answer`. Weakened: preempt enter_against_suspend.
        self.word.load(Acquire) == STOPPED
    }

    /// By who asked: waits until it has stopped, by `wait` as in a handler, which returns false when
    /// there is no more time.
    ///
    /// # Safety
    ///
    /// In [`Backend::confirm`](super::host::Backend::confirm), with the word that it was given.
    pub unsafe fn wait(&self, wait: impl Fn(&AtomicU32, u32) -> bool) -> StopAnswer {
        while !self.has_stopped() {
            if !wait(&self.word, ASKED) {
                // SAFETY: as the caller promises.
                return unsafe { self.withdraw() };
            }
        }
        StopAnswer::Stopped
    }

    /// By who asked: takes the question back.
    ///
    /// # Safety
    ///
    /// In [`Backend::ask`](super::host::Backend::ask) after [`ask`](Self::ask) returned true, or in
    /// [`Backend::confirm`](super::host::Backend::confirm), with the word that it was given.
    pub unsafe fn withdraw(&self) -> StopAnswer {
        // ORDERING: Relaxed: nothing was done. Failure Acquire: as in `has_stopped`.
        match self.word.compare_exchange(ASKED, RUN, Relaxed, Acquire) {
            Ok(_) => StopAnswer::Withdrawn,
            Err(_) => StopAnswer::Stopped,
        }
    }

    /// By who asked, once it has stopped: what the handler was given.
    ///
    /// # Safety
    ///
    /// In [`Backend::context`](super::host::Backend::context), with the word that it was given: else it
    /// is that of another stop, or none.
    pub unsafe fn context(&self) -> *mut () {
        // ORDERING: Relaxed: ordered by `has_stopped`.
        self.context.load(Relaxed)
    }

    /// By who asked, once it has stopped.
    ///
    /// # Safety
    ///
    /// In [`Backend::resume`](super::host::Backend::resume), with the word that it was given.
    pub unsafe fn resume(&self, wake: impl Fn(&AtomicU32)) {
        // ORDERING: Release: to `answer`. Weakened: preempt enter_against_suspend.
        self.word.store(RESUMED, Release);
        wake(&self.word);
    }

    /// In the child of a fork.
    pub(super) fn reset(&self) {
        // ORDERING: Relaxed: there is one thread.
        self.word.store(RUN, Relaxed);
    }

    #[cfg(all(test, loom))]
    pub(crate) fn wake_for_nothing(&self) {
        crate::sys::wake_one(&self.word);
    }
}

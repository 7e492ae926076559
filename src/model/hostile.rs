//! A hostile system: it does what it may and a friendly one does not, as often in an execution as the model says.

use super::check::Model;
use super::kernel::boot;
use super::state::{HOSTILITIES, Run};
use core::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

impl Model {
    /// So many times in an execution the system is hostile, at places and in ways that loom chooses:
    ///
    /// - a sleep returns at once, though nobody woke it, and goes on after no handler (`EINTR`);
    /// - a wake-up is for the second that sleeps on the word, and not for the first;
    /// - of several signals that are pending the second in line is taken, where POSIX leaves that open.
    ///
    /// Each multiplies the executions by the number of its places. `PORTCULLIS_HOSTILE=1` in the
    /// environment makes the system hostile to every model that does not say `hostile(0)`.
    ///
    /// # Panics
    ///
    /// If that is more than three.
    #[must_use]
    pub fn hostile(mut self, times: usize) -> Self {
        assert!(times <= HOSTILITIES, "hostile {HOSTILITIES} times at most");
        self.hostile = Some(times);
        self
    }

    /// [`check`](Self::check), and once more as `NAME: hostile` with a system that is hostile once. Returns the
    /// executions of the first.
    pub fn check_hostile_too(self, program: impl Fn() + Send + Sync + 'static) -> usize {
        let program = Arc::new(program);
        let again = Arc::clone(&program);
        let mut hostile = self.clone().hostile(1);
        hostile.name.push_str(": hostile");
        let executions = self.check(move || program());
        hostile.check(move || again());
        executions
    }

    pub(super) fn hostile_in_force(&self) -> usize {
        let wanted = std::env::var("PORTCULLIS_HOSTILE").ok();
        let wanted = wanted.map(|n| n.parse().expect("PORTCULLIS_HOSTILE is a number"));
        match self.hostile {
            Some(0) => 0,
            own => own.max(wanted).unwrap_or(0).min(HOSTILITIES),
        }
    }
}

/// At the start of an execution.
pub(super) fn prepare(run: &Run, times: usize) {
    if times > 0 {
        run.set_tossed(boot());
        run.borrow().hostile = times;
    }
}

/// Whether the system is hostile here: an operation of loom, so another thread may go on first.
pub(super) fn strikes(run: &Run) -> bool {
    let left = run.borrow().hostile;
    if left == 0 {
        return false;
    }
    let tossed = run.tossed().expect("tossed when the execution began");
    // Once true it is true for ever, but then the next one counts.
    let strikes = tossed.hostilities[left - 1].load(Relaxed);
    if strikes {
        run.borrow().hostile -= 1;
    }
    strikes
}

/// Whether asking for more makes sense.
pub(super) fn may_strike(run: &Run) -> bool {
    run.borrow().hostile > 0
}

//! A hostile system: it does what it may and a friendly one does not, as often in an execution as the model says.

use super::check::{Bound, Model};
use super::kernel::boot;
use super::state::{HOSTILITIES, Run};
use core::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

impl Model {
    /// So many times in an execution the system is hostile, at places and in ways that loom chooses:
    ///
    /// - a sleep returns though nobody woke it, at once, or when the others can do no more without it, and goes on
    ///   after no handler (`EINTR`);
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

    /// [`check`](Self::check), and once more as `NAME: hostile` with a system that is hostile once, unless it is in
    /// the first already. Returns the executions of the first.
    pub fn check_hostile_too(self, program: impl Fn() + Send + Sync + 'static) -> usize {
        let program = Arc::new(program);
        let again = Arc::clone(&program);
        let mut hostile = self.clone().hostile(1);
        hostile.name.push_str(": hostile");
        let is_so_already = self.hostile_in_force() > 0;
        let executions = self.check(move || program());
        if !is_so_already {
            hostile.check(move || again());
        }
        executions
    }

    pub(super) fn hostility(&self) -> Hostility {
        let late = self.bound_in_force() != Bound::Exhaustive;
        Hostility { times: self.hostile_in_force(), late }
    }

    fn hostile_in_force(&self) -> usize {
        let wanted = std::env::var("PORTCULLIS_HOSTILE").ok();
        let wanted = wanted.map(|n| n.parse().expect("PORTCULLIS_HOSTILE is a number"));
        match self.hostile {
            Some(0) => 0,
            own => own.max(wanted).unwrap_or(0).min(HOSTILITIES),
        }
    }
}

/// What an execution has of it.
#[derive(Clone, Copy)]
pub(super) struct Hostility {
    times: usize,
    /// A sleep may return late: see [`delays`]. Without a bound it need not, as others go on at any step anyway.
    late: bool,
}

/// At the start of an execution.
pub(super) fn prepare(run: &Run, Hostility { times, late }: Hostility) {
    if times > 0 {
        // Never fewer than a friendly system has: where an execution without an end is cut is to be the same.
        run.set_tossed(boot(HOSTILITIES.max(2 * times)));
        let mut inner = run.borrow();
        inner.hostile = times;
        inner.hostile_late = late.then_some(times);
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

/// Of a sleep that is to return for no reason: it may do so only when the others sleep, wait or have ended. Without
/// this each step of theirs before it would cost a preemption, of which a bound leaves few.
pub(super) fn delays(run: &Run) {
    let Some(first) = run.borrow().hostile_late else { return };
    let struck = run.borrow().hostile;
    let tossed = run.tossed().expect("it has struck");
    if tossed.hostilities[first + struck].load(Relaxed) {
        loom::thread::yield_now();
    }
}

/// Whether asking for more makes sense.
pub(super) fn may_strike(run: &Run) -> bool {
    run.borrow().hostile > 0
}

//! Who caused what: kept for the pictures alone, no rule of the kernel looks at it.

use super::lanes::{About, Cause, Detail, Row};
use super::signals::Signal;
use super::state::{Inner, Run, Thread};
use core::panic::Location;

/// A signal that was sent, and by which step.
#[derive(Debug)]
pub(super) struct Sent {
    signal: Signal,
    /// The thread that it was sent to; none if that was the process.
    to: Option<usize>,
    by: Cause,
}

/// A wait for a lock, or for the end of a thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    pub(super) op: &'static str,
    pub(super) about: About,
    pub(super) at: &'static Location<'static>,
}

impl Waits {
    /// Its row, in a deadlock.
    fn row(self, slot: usize, threads: &[Thread]) -> Row {
        let detail = match self.about {
            About::Thread(other) => Detail::Text(threads[other].name.clone()),
            _ => Detail::Nothing,
        };
        let Self { op, about, at } = self;
        Row { slot, depth: threads[slot].frames.len(), op, detail, at, about }
    }
}

/// A row for each thread that waits without one.
pub(super) fn waiting(inner: &Inner) -> Vec<Row> {
    let threads = inner.threads.iter().enumerate();
    threads.filter_map(|(slot, thread)| Some(thread.waits?.row(slot, &inner.threads))).collect()
}

impl Run {
    /// The row that the thread in `slot` is about to have.
    pub(super) fn next_row(&self, slot: usize) -> Cause {
        let row = self.borrow().rows.len();
        Cause { slot: slot as u32, row: row as u32 }
    }

    /// `from` sends a signal.
    pub(super) fn sends(&self, from: usize, to: Option<usize>, signal: Signal) {
        let by = self.next_row(from);
        self.borrow().sent.push(Sent { signal, to, by });
    }

    /// Who sent the signal that is taken now: the oldest, as the kernel takes them.
    pub(super) fn taken(&self, to: Option<usize>, signal: Signal) -> About {
        let sent = &mut self.borrow().sent;
        let index = sent.iter().position(|sent| sent.signal == signal && sent.to == to);
        index.map_or(About::Nothing, |index| About::Cause(sent.remove(index).by))
    }

    /// `from` asks the thread in slot `to` to stop, or for a barrier.
    pub(super) fn asks(&self, from: usize, to: usize) {
        let by = self.next_row(from);
        self.borrow().threads[to].asked = Some(by);
    }

    /// `from` ends the sleep of the thread in slot `to`.
    pub(super) fn tells(&self, from: usize, to: usize) {
        let by = self.next_row(from);
        self.borrow().threads[to].told = Some(by);
    }

    /// The row of the thread in `slot` that does what it was asked for.
    pub(super) fn row_asked(&self, slot: usize, op: &'static str, at: &'static Location<'static>) {
        let by = self.borrow().threads[slot].asked.take();
        self.row_about(by.map_or(About::Nothing, About::Cause), slot, op, Detail::Nothing, at);
    }

    /// The row of the thread in `slot` that was told to go on.
    pub(super) fn row_told(&self, slot: usize, op: &'static str, at: &'static Location<'static>) {
        let by = self.borrow().threads[slot].told.take();
        self.row_about(by.map_or(About::Nothing, About::Cause), slot, op, Detail::Nothing, at);
    }
}

/// What is pending of `signal` is discarded.
pub(super) fn forget(inner: &mut Inner, signal: Signal) {
    inner.sent.retain(|sent| sent.signal != signal);
}

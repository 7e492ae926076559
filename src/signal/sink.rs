//! Calling sinks, and stopping them. Invariants are those of [`super::hub`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::StopError;
use super::hub::{Hub, Kernel, Stopped};
use super::table::{Delivery, Key, Mailbox, Sink, SinkState, Table, Wakes};
use crate::note::{Deadline, Note, Park, Waited};
use crate::sync::Ordering::*;
use crate::sys;

/// What a thread that wants to call a sink finds.
enum Turn {
    /// The sink and what to call it with.
    Call(Sink, Delivery),
    /// Nothing to call it with, or it is gone.
    Done,
    /// Another thread is calling it.
    Busy,
    /// This very thread is calling it.
    Nested,
}

impl<K: Kernel> Hub<K> {
    /// Calls sinks until none has anything to do, each for one delivery at a time.
    pub(crate) fn run_sinks(&self) {
        while let Some((key, turn)) = self.locked(|table, _| next_turn(table)) {
            if let Turn::Call(sink, delivery) = turn {
                self.call_sink(key, sink, delivery);
            }
        }
    }

    /// Calls one sink until its mailbox is empty.
    fn run_sink(&self, key: Key) -> Turn {
        loop {
            match self.locked(|table, _| table.mailboxes.get_mut(&key).map_or(Turn::Done, turn)) {
                Turn::Call(sink, delivery) => self.call_sink(key, sink, delivery),
                other => return other,
            }
        }
    }

    fn call_sink(&self, key: Key, mut sink: Sink, delivery: Delivery) {
        let outcome = catch_unwind(AssertUnwindSafe(|| sink(&delivery)));
        let after = match outcome {
            Ok(()) => SinkState::Idle(sink),
            Err(payload) => SinkState::Panicked(payload),
        };
        // What is left over is dropped here, outside the lock: it is the user's.
        let left = self.locked(|table, wakes| {
            let Some(mailbox) = table.mailboxes.get_mut(&key) else { return Some(after) };
            called(key, mailbox, after, wakes);
            table.still_ready(key);
            None
        });
        drop(left);
    }

    /// Gives up the signals of a subscription and, if it has a sink, sees its last call end.
    ///
    /// Called by the sink itself it does not wait; what the mailbox still holds is counted as
    /// dropped.
    pub(crate) fn stop(&self, key: Key, patience: &Deadline) -> Result<Stopped, StopError> {
        let stopped = self.give_up(key);
        loop {
            match self.run_sink(key) {
                Turn::Busy => self.await_sink(key, patience)?,
                Turn::Nested => {
                    self.locked(|table, _| table.mailboxes.get_mut(&key).map(drop_rest));
                    return Ok(stopped);
                }
                Turn::Call(..) | Turn::Done => break,
            }
        }
        let left = self.locked(|table, _| {
            let mailbox = table.mailboxes.get_mut(&key)?;
            let gone = if mailbox.has_sink() { SinkState::Gone } else { SinkState::None };
            Some(core::mem::replace(&mut mailbox.sink, gone))
        });
        match left {
            Some(SinkState::Panicked(payload)) => Err(StopError::SinkPanicked(payload)),
            _ => Ok(stopped),
        }
    }

    /// Sleeps until the call of the sink that is under way has returned.
    fn await_sink(&self, key: Key, patience: &Deadline) -> Result<(), StopError> {
        let note = Arc::new(Note::new());
        let busy = self.locked(|table, _| match table.mailboxes.get_mut(&key) {
            Some(mailbox) if matches!(mailbox.sink, SinkState::Running(_)) => {
                mailbox.stopping.push(Arc::clone(&note));
                true
            }
            _ => false,
        });
        if !busy || note.sleep(Some(patience)) == Waited::Woken {
            return Ok(());
        }
        self.locked(|table, _| table.mailboxes.get_mut(&key).map(drop_rest));
        Err(StopError::SinkBusy)
    }

    /// Takes the subscription off the table.
    pub(crate) fn forget(&self, key: Key) {
        let mailbox = self.locked(|table, _| table.mailboxes.remove(&key));
        if mailbox.is_some_and(|mailbox| mailbox.has_sink()) {
            // ORDERING: Relaxed: a hint, see `lead`.
            self.sinks.fetch_sub(1, Relaxed);
        }
    }
}

fn turn(mailbox: &mut Mailbox) -> Turn {
    match core::mem::replace(&mut mailbox.sink, SinkState::Gone) {
        SinkState::Idle(sink) => match mailbox.items.pop_front() {
            Some(delivery) => {
                mailbox.sink = SinkState::Running(sys::thread_id());
                Turn::Call(sink, delivery)
            }
            None => {
                mailbox.sink = SinkState::Idle(sink);
                Turn::Done
            }
        },
        SinkState::Running(thread) => {
            mailbox.sink = SinkState::Running(thread);
            if thread == sys::thread_id() { Turn::Nested } else { Turn::Busy }
        }
        other => {
            mailbox.sink = other;
            Turn::Done
        }
    }
}

/// The next sink that has something to do, and its turn.
fn next_turn(table: &mut Table) -> Option<(Key, Turn)> {
    let key = table.next_ready()?;
    Some((key, table.mailboxes.get_mut(&key).map_or(Turn::Done, turn)))
}

/// After a call.
fn called(key: Key, mailbox: &mut Mailbox, after: SinkState, wakes: &mut Wakes) {
    let panicked = matches!(after, SinkState::Panicked(_));
    mailbox.sink = after;
    if panicked {
        drop_rest(mailbox);
    }
    wakes.mailbox(key, mailbox, None);
}

/// Nobody will be called with what is left.
fn drop_rest(mailbox: &mut Mailbox) {
    mailbox.dropped += mailbox.items.len() as u64;
    mailbox.items.clear();
}

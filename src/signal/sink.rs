//! Calling sinks, and stopping them. Invariants are those of [`super::hub`].

use std::sync::Arc;

use super::StopError;
use super::hub::{Hub, Kernel};
use super::leavings::Stopped;
use super::mailbox::{Key, Mailbox, Sink, SinkState, Stopping};
use super::panic::{Panic, caught};
use super::table::{Delivery, Table};
use crate::note::{Deadline, Note, Park, Waited};
use crate::sync::Ordering::*;
use crate::sys::{self, Mask};

/// A sink and what to call it with.
struct Call {
    sink: Sink,
    delivery: Delivery,
    mask: Mask,
    /// Whether it may hear what is subscribed to.
    open: bool,
}

/// What a thread that wants to call a sink finds.
enum Turn {
    Call(Call),
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
        let hears = self.kernel.would_hear();
        while let Some((key, turn)) = self.locked(|table, _| next_turn(table, hears)) {
            if let Turn::Call(call) = turn {
                self.call_sink(key, call);
            }
        }
    }

    /// Calls one sink until its mailbox is empty.
    fn run_sink(&self, key: Key) -> Turn {
        let hears = self.kernel.would_hear();
        loop {
            match self.locked(|table, _| turn(table, key, hears)) {
                Turn::Call(call) => self.call_sink(key, call),
                other => return other,
            }
        }
    }

    /// The sink's panic ends here. Its captures are dropped before anybody sees it as gone.
    fn call_sink(&self, key: Key, call: Call) {
        let Call { mut sink, delivery, mask, open } = call;
        let called = caught(|| self.kernel.under(&mask, open, &mut || sink(&delivery)));
        let (after, panicked) = match called {
            Ok(()) => (SinkState::Idle(sink), None),
            Err(panic) => {
                drop_outside(sink);
                (SinkState::Gone, Some(panic))
            }
        };
        let mut after = Some((after, panicked));
        self.locked(|table, wakes| {
            table.leave(open);
            let Some(mailbox) = table.mailboxes.get_mut(key) else { return };
            let Some((sink, panicked)) = after.take() else { return };
            mailbox.sink = sink;
            if panicked.is_some() {
                // A sink panics once: nothing is replaced here.
                mailbox.panicked = panicked;
                mailbox.drop_rest();
            }
            wakes.mailbox(key, mailbox, None);
            table.still_ready(key);
        });
        // The subscription was dropped meanwhile: nobody is left to be told.
        drop_outside(after);
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
                    self.locked(|table, _| table.mailboxes.get_mut(key).map(Mailbox::drop_rest));
                    return Ok(stopped);
                }
                Turn::Call(..) | Turn::Done => break,
            }
        }
        self.end(key)?;
        Ok(stopped)
    }

    /// The sink is not called again, and dropped; what panicked is told, once.
    fn end(&self, key: Key) -> Result<(), StopError> {
        let left = self.locked(|table, _| {
            let mailbox = table.mailboxes.get_mut(key)?;
            let gone = if mailbox.has_sink() { SinkState::Gone } else { SinkState::None };
            let sink = core::mem::replace(&mut mailbox.sink, gone);
            Some((sink, mailbox.panicked.take()))
        });
        match left {
            None => Ok(()),
            Some((SinkState::None, panicked)) => panicked.map_or(Ok(()), waker_panicked),
            Some((sink, panicked)) => match (panicked, drop_outside(sink)) {
                (Some(panic), _) | (None, Some(panic)) => Err(StopError::SinkPanicked(panic)),
                (None, None) => Ok(()),
            },
        }
    }

    /// Keeps what a waker of the subscription panicked with for its owner, the first alone.
    pub(crate) fn keep_panic(&self, key: Key, panic: Panic) {
        let mut panic = Some(panic);
        self.locked(|table, _| match table.mailboxes.get_mut(key) {
            Some(mailbox) if mailbox.panicked.is_none() => mailbox.panicked = panic.take(),
            _ => {}
        });
    }

    /// Sleeps until the call of the sink that is under way has returned.
    fn await_sink(&self, key: Key, patience: &Deadline) -> Result<(), StopError> {
        let note = Arc::new(Note::new());
        let mut link = Some(Box::new(Stopping { note: Arc::clone(&note), before: None }));
        let busy = self.locked(|table, _| match table.mailboxes.get_mut(key) {
            Some(mailbox) if matches!(mailbox.sink, SinkState::Running(_)) => {
                let before = mailbox.stopping.take();
                if let Some(link) = &mut link {
                    link.before = before;
                }
                mailbox.stopping = link.take();
                true
            }
            _ => false,
        });
        if !busy || note.sleep(Some(patience)) == Waited::Woken {
            return Ok(());
        }
        self.locked(|table, _| table.mailboxes.get_mut(key).map(Mailbox::drop_rest));
        Err(StopError::SinkBusy)
    }

    /// Takes the subscription off the table.
    pub(crate) fn forget(&self, key: Key) {
        let Some(mailbox) = self.locked(|table, _| table.strike(key)) else { return };
        if mailbox.has_sink() {
            // ORDERING: Relaxed: a hint, see `lead`.
            self.sinks.fetch_sub(1, Relaxed);
        }
        let Mailbox { waker, sink, .. } = *mailbox;
        drop_outside(waker);
        drop_outside(sink);
    }
}

fn waker_panicked(panic: Panic) -> Result<(), StopError> {
    Err(StopError::WakerPanicked(panic))
}

/// Drops what is the user's, outside the lock; what that panicked with, if it did.
pub(super) fn drop_outside<T>(users: T) -> Option<Panic> {
    caught(|| drop(users)).err()
}

/// On a thread that would hear what is subscribed to, or not.
fn turn(table: &mut Table, key: Key, hears: bool) -> Turn {
    let Some(mailbox) = table.mailboxes.get_mut(key) else { return Turn::Done };
    match core::mem::replace(&mut mailbox.sink, SinkState::Gone) {
        SinkState::Idle(sink) => match mailbox.items.pop_front() {
            Some(delivery) => {
                mailbox.sink = SinkState::Running(sys::thread_id());
                let mask = mailbox.mask;
                Turn::Call(Call { sink, delivery, mask, open: table.enter(hears) })
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
fn next_turn(table: &mut Table, hears: bool) -> Option<(Key, Turn)> {
    let key = table.next_ready()?;
    Some((key, turn(table, key, hears)))
}

//! Whom to wake once the lock is free. Nothing is allocated for it: few fit in here, and who finds
//! no room stays marked in its mailbox and is fetched later.

use std::sync::Arc;
use std::task::Waker;

use super::mailbox::{Key, Mailbox, Stopping, Waiting};
use super::panic::{Panic, caught};
use crate::note::{Note, Park};
use crate::sys::{Bell, Mask};

/// Mailboxes to a trip under the lock.
const ROOM: usize = 4;

/// What one mailbox has to be woken.
struct Due {
    key: Key,
    note: Option<Arc<Note>>,
    waker: Option<(Waker, Mask)>,
    stopping: Option<Box<Stopping>>,
    bell: Option<Arc<Bell>>,
}

/// What is to be done once the lock is free.
#[derive(Default)]
pub(crate) struct Wakes {
    due: [Option<Due>; ROOM],
    len: usize,
    /// The queue's guest has something in its mailbox, or the primary a sink to call.
    pub(crate) owner: bool,
    /// Whether tasks are woken on a thread that hears what is subscribed to meanwhile.
    pub(super) open: bool,
    /// The lowest mailbox that found no room.
    rest: Option<Key>,
}

impl Wakes {
    /// Whether nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0 && !self.owner && self.rest.is_none()
    }

    pub(super) fn has_tasks(&self) -> bool {
        self.due.iter().map_while(Option::as_ref).any(|due| due.waker.is_some())
    }

    /// The mailbox has changed; `by` names whose own thread is doing this.
    pub(crate) fn mailbox(&mut self, key: Key, mailbox: &mut Mailbox, by: Option<Key>) {
        if mailbox.waiting == Waiting::Leading {
            mailbox.waiting = Waiting::No;
            self.owner |= by != Some(key);
        }
        let asleep = mailbox.waiting == Waiting::Asleep;
        let rings = mailbox.ring && mailbox.bell.is_some();
        if !asleep && !rings && mailbox.waker.is_none() && mailbox.stopping.is_none() {
            return;
        }
        let Some(place) = self.due.get_mut(self.len) else {
            mailbox.due = true;
            self.rest = Some(self.rest.map_or(key, |rest| rest.min(key)));
            return;
        };
        self.len += 1;
        mailbox.waiting = Waiting::No;
        *place = Some(Due {
            key,
            note: asleep.then(|| Arc::clone(&mailbox.note)),
            waker: mailbox.waker.take().map(|waker| (waker, mailbox.mask)),
            stopping: mailbox.stopping.take(),
            bell: mailbox.bell.clone().filter(|_| core::mem::take(&mut mailbox.ring)),
        });
    }

    /// Wakes the threads. From where the rest is to be fetched, if some found no room.
    pub(crate) fn threads(&mut self) -> Option<Key> {
        for due in self.due.iter_mut().map_while(Option::as_mut) {
            if let Some(note) = due.note.take() {
                note.wake();
            }
            if let Some(bell) = due.bell.take() {
                bell.ring();
            }
            let mut next = due.stopping.take();
            while let Some(stopping) = next {
                stopping.note.wake();
                next = stopping.before;
            }
        }
        self.rest
    }

    /// Wakes the tasks: the user's code, each for itself, under its mask as `under` has it.
    pub(crate) fn tasks(
        self,
        under: impl Fn(&Mask, &mut dyn FnMut()),
        mut panicked: impl FnMut(Key, Panic),
    ) {
        for due in self.due.into_iter().map_while(|due| due) {
            let Some((waker, mask)) = due.waker else { continue };
            let mut waker = Some(waker);
            let mut wake = || waker.take().into_iter().for_each(Waker::wake);
            if let Err(panic) = caught(|| under(&mask, &mut wake)) {
                panicked(due.key, panic);
            }
        }
    }
}

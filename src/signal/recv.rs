//! Receiving: as a subscriber that blocks, polls or looks, and as the receiver's thread.
//! Invariants are those of [`super::hub`].

use std::sync::Arc;
use std::task::Waker;

use super::hub::{Hub, Kernel};
use super::mailbox::{Key, Mailbox, Waiting};
use super::sink::drop_outside;
use super::table::{Delivery, RECEIVER, Table};
use super::{RecvError, SignalError};
use crate::note::{Deadline, Park, Waited};
use crate::sigqueue::{Receiver, ReceiverRefused, Wakeup};
use crate::sync::Ordering::*;
use crate::sys::Bell;

impl<K: Kernel> Hub<K> {
    /// The next delivery if there is one; else the thread is noted as waiting in this way (I4).
    pub(crate) fn pop_or(&self, key: Key, waiting: Waiting) -> Option<Result<Delivery, RecvError>> {
        self.locked(|table, _| pop(table, key, waiting))
    }

    pub(crate) fn try_recv(&self, key: Key) -> Option<Result<Delivery, RecvError>> {
        self.deliver_all(Some(key));
        let (done, bell) = self.locked(|table, _| {
            let done = pop(table, key, Waiting::No);
            let mailbox = table.mailboxes.get(key).filter(|_| done.is_none());
            (done, mailbox.and_then(|mailbox| mailbox.bell.clone()))
        });
        match bell {
            Some(bell) => self.silence(key, &bell),
            None => done,
        }
    }

    /// Nothing was there: the bell is silent until something is. Who rings it does so after the mailbox was filled
    /// that was empty, so it is silenced before the next look; what that finds rings it again, as there may be more.
    /// Looked first: stop bell_is_silenced_late.
    fn silence(&self, key: Key, bell: &Bell) -> Option<Result<Delivery, RecvError>> {
        bell.clear();
        let done = self.pop_or(key, Waiting::No);
        if done.is_some() {
            bell.ring();
        }
        done
    }

    /// Has this rung when there is something to receive, or nothing will come any more.
    pub(crate) fn set_bell(&self, key: Key, bell: Arc<Bell>) {
        let mut before = Some(bell);
        self.locked(|table, wakes| {
            let Some(mailbox) = table.mailboxes.get_mut(key) else { return };
            core::mem::swap(&mut mailbox.bell, &mut before);
            mailbox.ring = !mailbox.items.is_empty() || mailbox.signals.is_empty();
            wakes.mailbox(key, mailbox, None);
        });
    }

    /// Receives as the subscription `key`, of which the caller is the one thread.
    pub(crate) fn recv(
        &self,
        key: Key,
        deadline: Option<&Deadline>,
    ) -> Result<Delivery, RecvError> {
        loop {
            let generation = self.generation();
            let mut part = self.lead();
            if part.is_none() {
                let done = self.pop_or(key, Waiting::Asleep);
                if let Some(done) = done {
                    return done;
                }
                // Who gave the part back before that saw nobody to hand it to, and this thread sees by the lock
                // that it is free (I4). Without this look: stop follower_takes_the_part.
                part = self.lead();
            }
            let done = match part {
                // A handler forked, and this is the child. Whether the part was got before that is not to
                // be known; given back, it is nobody's in either case.
                Some(receiver) if self.generation() != generation => {
                    drop(receiver);
                    None
                }
                Some(receiver) => self.recv_leading(key, receiver, generation, deadline),
                None => self.recv_following(key, deadline),
            };
            if let Some(done) = done {
                return done;
            }
        }
    }

    fn lead(&self) -> Option<Receiver<'_>> {
        // ORDERING: Relaxed: a hint; one that comes too late is made up for by the fixup that
        // `subscribe` sends.
        if self.sinks.load(Relaxed) != 0 {
            return None;
        }
        self.queue.borrow().ok()
    }

    /// Has the waker called when something arrives; `None` if nothing is there yet. What arrives in
    /// between finds the waker: the receiver delivers it.
    pub(crate) fn poll(&self, key: Key, waker: &Waker) -> Option<Result<Delivery, RecvError>> {
        self.deliver_all(Some(key));
        // Wakers are the user's code: cloned and dropped outside the lock. One that panics when it is
        // cloned does so here, in its own task, and nothing has changed.
        let mut waker = Some(waker.clone());
        let done = self.locked(|table, _| {
            let done = pop(table, key, Waiting::No);
            if let (None, Some(mailbox)) = (&done, table.mailboxes.get_mut(key)) {
                core::mem::swap(&mut mailbox.waker, &mut waker);
            }
            done
        });
        if let Some(panic) = drop_outside(waker) {
            self.keep_panic(key, panic);
        }
        done
    }

    /// In the receiver's part, since this generation. `None`: the part had to be given back.
    fn recv_leading(
        &self,
        key: Key,
        mut receiver: Receiver<'_>,
        generation: u32,
        deadline: Option<&Deadline>,
    ) -> Option<Result<Delivery, RecvError>> {
        let done = loop {
            if let Some(done) = self.pop_or(key, Waiting::Leading) {
                break Some(done);
            }
            let wakeup = receiver.await_work(deadline);
            if matches!(wakeup, Wakeup::Work { signals: true, .. }) {
                self.deliver_all(Some(key));
                if self.generation() != generation {
                    break None;
                }
            }
            if wakeup == Wakeup::TimedOut {
                break self.pop_or(key, Waiting::No).or(Some(Err(RecvError::TimedOut)));
            }
            // ORDERING: Relaxed: as in `lead`; the fixup that ended the wait came after (E2).
            if wakeup == Wakeup::Closed || self.sinks.load(Relaxed) != 0 {
                break None;
            }
        };
        if self.generation() != generation {
            // A waker or a handler forked, and this is the child: the part is no longer this thread's.
            core::mem::forget(receiver);
            return done;
        }
        drop(receiver);
        self.pass_on();
        done
    }

    /// After the part was given back: whoever else waits is to have it, and sinks are to be run. Or nobody receives
    /// what comes next: stop follower_takes_the_part.
    fn pass_on(&self) {
        if self.queue.has_primary() {
            // ORDERING: Relaxed: as in `lead`.
            if self.sinks.load(Relaxed) != 0 {
                self.queue.fixup();
            }
            return;
        }
        self.locked(|table, wakes| {
            let follower = |(_, mailbox): &(Key, &mut Mailbox)| mailbox.waiting == Waiting::Asleep;
            if let Some((key, mailbox)) = table.mailboxes.iter_mut().find(follower) {
                wakes.mailbox(key, mailbox, None);
            }
        });
    }

    /// Noted as asleep, while another thread has the part.
    fn recv_following(
        &self,
        key: Key,
        deadline: Option<&Deadline>,
    ) -> Option<Result<Delivery, RecvError>> {
        let note = self.locked(|table, _| Some(Arc::clone(&table.mailboxes.get(key)?.note)));
        let Some(note) = note else { return Some(Err(RecvError::Stopped)) };
        let waited = note.sleep(deadline);
        note.clear();
        match self.pop_or(key, Waiting::No) {
            None if waited == Waited::TimedOut => Some(Err(RecvError::TimedOut)),
            done => done,
        }
    }

    /// The receiver's loop, on the crate's thread or a lent one; ends when the hub is shut down.
    pub(crate) fn run_receiver(&self) -> Result<(), SignalError> {
        let generation = self.generation();
        let mut receiver = self.queue.receiver().map_err(|refused| match refused {
            ReceiverRefused::Closed => SignalError::ShutDown,
            ReceiverRefused::Taken | ReceiverRefused::Busy => SignalError::ReceiverTaken,
        })?;
        if self.generation() != generation {
            // As in `recv`.
            return Ok(());
        }
        loop {
            let wakeup = receiver.await_work(None);
            self.deliver_all(Some(RECEIVER));
            self.run_sinks();
            if self.generation() != generation {
                // A sink, a waker or a handler forked, and this is the child: the part is no longer this
                // thread's.
                core::mem::forget(receiver);
                return Ok(());
            }
            if wakeup == Wakeup::Closed {
                return Ok(());
            }
        }
    }
}

fn pop(table: &mut Table, key: Key, waiting: Waiting) -> Option<Result<Delivery, RecvError>> {
    let closed = table.closed;
    let Some(mailbox) = table.mailboxes.get_mut(key) else {
        return Some(Err(RecvError::Stopped));
    };
    mailbox.waiting = Waiting::No;
    if let Some(delivery) = mailbox.items.pop_front() {
        return Some(Ok(delivery));
    }
    if closed {
        return Some(Err(RecvError::ShutDown));
    }
    if mailbox.signals.is_empty() {
        return Some(Err(RecvError::Stopped));
    }
    mailbox.waiting = waiting;
    None
}

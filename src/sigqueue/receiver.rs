//! The receiving side of the queue: who owns it, how the owner sleeps, what it takes.
//!
//! States, transitions, invariants and edges are those of [`crate::sigqueue`].

use core::fmt;

use super::{
    ACTIVE, Batch, CLOSED, FIXUP, GUEST, NoSuchSignal, PRIMARY, RECEIVING, SENDING, SIGNALS,
    SignalQueue, WISH, chain, is_pending, is_realtime,
};
use crate::note::{Note, Park};
use crate::records::NIL;
use crate::sync::{Ordering::*, Word};
use crate::sys::{Deadline, Waited};

/// Why [`SignalQueue::receiver`] or [`SignalQueue::borrow`] answered no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiverRefused {
    /// The queue has a primary receiver already; it can have one.
    Taken,
    /// A guest has the part, or the primary is awake and using it.
    Busy,
    /// The queue was closed.
    Closed,
}

impl fmt::Display for ReceiverRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taken => "the queue has a receiver already: drop that one first",
            Self::Busy => "the part of receiver is in use: wait for what its owner delivers",
            Self::Closed => "the queue was closed: it can be emptied, not received from",
        })
    }
}

impl core::error::Error for ReceiverRefused {}

#[cfg(feature = "std")]
impl From<ReceiverRefused> for std::io::Error {
    fn from(error: ReceiverRefused) -> Self {
        use std::io::ErrorKind;
        let closed = error == ReceiverRefused::Closed;
        Self::new(if closed { ErrorKind::BrokenPipe } else { ErrorKind::ResourceBusy }, error)
    }
}

/// What [`Receiver::wait`] ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "what was announced is announced once"]
pub enum Wakeup {
    /// There is something to do.
    Work {
        /// Some slot may be pending.
        signals: bool,
        /// [`SignalQueue::fixup`] was called.
        fixup: bool,
    },
    /// The deadline passed.
    TimedOut,
    /// The queue was closed.
    Closed,
}

/// What [`Receiver::recv`] ended with.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "what was taken from the queue is in it, and gone once it is dropped"]
pub enum Event<'q, N: Park> {
    /// What was accepted of one signal.
    Signal(Batch<'q, N>),
    /// The deadline passed.
    TimedOut,
    /// The queue was closed and is empty; or what is left is a guest's.
    Closed,
}

impl<N: Park> SignalQueue<N> {
    /// Makes the caller the primary receiver.
    ///
    /// # Errors
    /// [`ReceiverRefused::Taken`] for a second one, [`ReceiverRefused::Closed`].
    pub fn receiver(&self) -> Result<Receiver<'_, N>, ReceiverRefused> {
        let claim = |seen| match () {
            () if seen & CLOSED != 0 => Err(ReceiverRefused::Closed),
            () if seen & PRIMARY != 0 => Err(ReceiverRefused::Taken),
            () => Ok(seen | PRIMARY),
        };
        self.change_owner(claim).map(|_| Receiver { queue: self, part: PRIMARY, scan: SIGNALS })
    }

    /// Lends the part of receiver to a thread that is about to block, while the primary sleeps or
    /// there is none: the signal then wakes that thread directly.
    ///
    /// # Errors
    /// [`ReceiverRefused::Busy`] while another has the part, [`ReceiverRefused::Closed`].
    pub fn borrow(&self) -> Result<Receiver<'_, N>, ReceiverRefused> {
        let claim = |seen| match () {
            () if seen & CLOSED != 0 => Err(ReceiverRefused::Closed),
            () if seen & GUEST != 0 => Err(ReceiverRefused::Busy),
            () if seen & PRIMARY == 0 => Ok(seen | GUEST),
            // Asleep with nothing announced: otherwise the primary is awake or being woken (I2).
            () if seen & (RECEIVING | SENDING | FIXUP) == RECEIVING => {
                Ok((seen & !RECEIVING) | GUEST)
            }
            () => Err(ReceiverRefused::Busy),
        };
        self.change_owner(claim).map(|_| Receiver { queue: self, part: GUEST, scan: SIGNALS })
    }

    /// Applies one change of owner, and returns the state as it was.
    fn change_owner<E>(&self, change: impl Fn(u32) -> Result<u32, E>) -> Result<u32, E> {
        // ORDERING: Relaxed: a guess, confirmed below. A refusal may rest on a stale value: the
        // caller was then as good as early.
        let mut seen = self.state.load(Relaxed);
        loop {
            // ORDERING: success AcqRel: E4, between one guest and the next. Failure Relaxed: only
            // tried again. Weakened: guest guests_exclude_each_other, part_is_handed_over.
            match self.state.compare_exchange(seen, change(seen)?, AcqRel, Relaxed) {
                Ok(_) => return Ok(seen),
                Err(now) => seen = now,
            }
        }
    }

    /// The lowest pending signal not below `from`, if any. A look, which `take` confirms.
    pub(crate) fn next_pending(&self, from: usize) -> Option<i32> {
        // ORDERING: Relaxed: E2 has made every announced slot visible.
        let mut pending = self.slots.from(from).filter(|(_, slot)| is_pending(slot.load(Relaxed)));
        pending.next().map(|(at, _)| at as i32)
    }

    /// Takes everything accepted of `signal` so far; the batch is empty if that is nothing.
    ///
    /// Any thread may take, as the one that disables a signal does to deliver what was accepted
    /// before. Two threads that take the same signal decide between them whose batch is older:
    /// [`Batch`]es of a receiver are ACTIVE while they live, these are not.
    ///
    /// # Errors
    /// [`NoSuchSignal`].
    pub fn take(&self, signal: i32) -> Result<Batch<'_, N>, NoSuchSignal> {
        self.take_marked(signal, 0)
    }

    fn take_marked(&self, signal: i32, mark: Word) -> Result<Batch<'_, N>, NoSuchSignal> {
        let slot = self.slot(signal)?;
        // ORDERING: Relaxed: a guess, confirmed below.
        let mut seen = slot.load(Relaxed);
        loop {
            let new = (seen & (WISH | ACTIVE)) | mark;
            // ORDERING: success Acquire: E1 from `send`. Failure Relaxed: only tried again.
            // Weakened: sigqueue coalesced_send_publishes.
            match slot.compare_exchange(seen, new, Acquire, Relaxed) {
                Ok(_) => return Ok(Batch::new(self, signal, seen, mark)),
                Err(now) => seen = now,
            }
        }
    }

    /// Makes the queue usable in the child of a fork, where only the forking thread lives on:
    /// receivers of other threads are forgotten, records of handlers that were running in them
    /// are free again, and what is pending is announced. A handler that forks in the middle of a wait of
    /// its own thread's receiver ends that: there are signals, for all that it knows.
    ///
    /// # Safety
    /// No other thread uses the queue, no handler sends to it meanwhile, the calling thread is not in a handler
    /// that interrupted a call of this queue but one of [`Receiver::wait`] or the making or the drop of a
    /// receiver, and no [`Receiver`] or [`Batch`] of it is used afterwards, but to end that call.
    pub unsafe fn reset_after_fork(&self) {
        self.standard.keep_only(self.linked(false));
        self.realtime.keep_only(self.linked(true));
        for (_, slot) in self.slots.from(1) {
            // ORDERING: Relaxed: no other thread is there.
            slot.fetch_and(!ACTIVE, Relaxed);
        }
        // ORDERING: Relaxed: no other thread is there.
        let closed = self.state.load(Relaxed) & CLOSED;
        self.state.store(closed | SENDING, Relaxed);
        // The interrupted receiver may sleep on one; whoever sleeps there next wakes up once for nothing.
        self.notes.iter().for_each(Park::wake);
    }

    /// The records of pending signals of one kind. Only while no other thread uses the queue.
    fn linked(&self, realtime: bool) -> impl Iterator<Item = u16> {
        let slots = self.slots.from(1).filter(move |(at, _)| is_realtime(*at as i32) == realtime);
        // ORDERING: Relaxed: no other thread is there.
        slots.flat_map(|(at, slot)| self.chain_names(at as i32, chain(slot.load(Relaxed))))
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn state_word(&self) -> &crate::sync::AtomicU32 {
        &self.state
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn sleepers(&self) -> &[N; 2] {
        &self.notes
    }

    /// What the child of a fork has of the queue, for models: loom cannot copy memory.
    #[cfg(all(test, loom))]
    pub(crate) fn copied(&self) -> SignalQueue
    where
        N: Park,
    {
        let mut copy = SignalQueue::new();
        for ((_, slot), (_, theirs)) in self.slots.from(0).zip(copy.slots.from(0)) {
            // ORDERING: Acquire, for the records of the chain; by read-modify-writes, as a copy has
            // the newest values.
            theirs.swap(slot.fetch_or(0, Acquire), Relaxed);
        }
        // ORDERING: Relaxed: the owner's bits are forgotten in the child.
        copy.state.swap(self.state.fetch_or(0, Relaxed), Relaxed);
        let chained = |realtime, name| {
            let kind = |(at, _): &(usize, _)| is_realtime(*at as i32) == realtime;
            copy.slots.from(1).filter(kind).any(|(at, slot)| {
                // ORDERING: Relaxed: the copy is this thread's.
                let newest = chain(slot.fetch_or(0, Relaxed));
                self.chain_names(at as i32, newest).any(|linked| linked == name)
            })
        };
        let standard = self.standard.copied(|name| chained(false, name));
        let realtime = self.realtime.copied(|name| chained(true, name));
        (copy.standard, copy.realtime) = (standard, realtime);
        copy
    }

    #[cfg(test)]
    pub(crate) fn assert_no_record_in_use(&self) {
        assert!(self.standard.all_free() && self.realtime.all_free(), "a record was leaked");
    }

    fn chain_names(&self, signal: i32, newest: u16) -> impl Iterator<Item = u16> {
        core::iter::successors(Some(newest), move |name| Some(self.record(signal, *name).next))
            .take_while(|name| *name != NIL)
    }

    pub(super) fn record(&self, signal: i32, name: u16) -> crate::records::Record {
        if is_realtime(signal) { self.realtime.read(name) } else { self.standard.read(name) }
    }
}

/// The part of receiver: of the primary, or borrowed. Dropping it gives the part back.
///
/// It may move to another thread. One that is forgotten (`mem::forget`) keeps the part: no other
/// receiver is made then, a forgotten guest leaves the primary asleep until the queue is closed,
/// and signals wait in the queue, where [`SignalQueue::take`] still gets them.
#[derive(Debug)]
#[must_use = "dropping it gives the part back"]
pub struct Receiver<'q, N: Park = Note> {
    queue: &'q SignalQueue<N>,
    /// PRIMARY or GUEST.
    part: u32,
    /// Slots below this one were looked at since the last announcement; SIGNALS when all were.
    scan: usize,
}

impl<'q, N: Park> Receiver<'q, N> {
    /// Receives the next signal, the lowest number first. `fixup` runs pending work when asked to;
    /// if it panics no signal is lost.
    ///
    /// Blocks until there is something, the deadline passes, or the queue is closed; for one that
    /// was closed, first what was accepted before, unless a guest has the part: then that is the guest's.
    /// The batch is to be dropped before the next call, so that ACTIVE stands for this one alone.
    pub fn recv(&mut self, deadline: Option<&Deadline>, mut fixup: impl FnMut()) -> Event<'_, N> {
        loop {
            if let Some(signal) = self.queue.next_pending(self.scan) {
                self.scan = signal as usize;
                match self.queue.take_marked(signal, ACTIVE) {
                    Ok(batch) => return Event::Signal(batch),
                    Err(_) => continue,
                }
            }
            self.scan = SIGNALS;
            match self.await_work(deadline) {
                Wakeup::Work { signals, fixup: wanted } => {
                    // First: the user's code may panic.
                    self.scan = if signals { 1 } else { SIGNALS };
                    if wanted {
                        fixup();
                    }
                }
                Wakeup::TimedOut => return Event::TimedOut,
                Wakeup::Closed if self.has_rest() => self.scan = 1,
                Wakeup::Closed => return Event::Closed,
            }
        }
    }

    /// Waits until there is something to do. What is pending then is got by [`recv`](Self::recv),
    /// which does not block while there is anything, or by [`SignalQueue::take`].
    pub fn wait(&mut self, deadline: Option<&Deadline>) -> Wakeup {
        let wakeup = self.await_work(deadline);
        if matches!(wakeup, Wakeup::Work { signals: true, .. }) {
            self.scan = 1;
        }
        wakeup
    }

    /// The same for a caller that then looks at every slot itself.
    pub(crate) fn await_work(&mut self, deadline: Option<&Deadline>) -> Wakeup {
        // ORDERING: Relaxed: a guess, confirmed by the compare-exchanges below.
        let mut seen = self.queue.state.load(Relaxed);
        loop {
            if self.is_parked(seen) && seen & CLOSED == 0 {
                if self.sleep(deadline) == Waited::TimedOut {
                    return Wakeup::TimedOut;
                }
                // ORDERING: Relaxed: the note's wake-up came after the guest let go (E4), so this
                // is no older.
                seen = self.queue.state.load(Relaxed);
            } else if seen & (SENDING | FIXUP | RECEIVING) != 0 && !self.is_parked(seen) {
                match self.consume(seen) {
                    Ok(work) => return work,
                    Err(now) => seen = now,
                }
            } else if seen & CLOSED != 0 {
                // ORDERING: Acquire: E2 from `close`. Weakened: sigqueue close_wakes_receiver.
                self.queue.state.load(Acquire);
                return Wakeup::Closed;
            } else {
                match self.fall_asleep(seen, deadline) {
                    Ok(Waited::TimedOut) => return Wakeup::TimedOut,
                    Ok(Waited::Woken) => seen |= RECEIVING | SENDING,
                    Err(now) => seen = now,
                }
            }
        }
    }

    /// A primary whose part a guest has, which it keeps when the queue is closed.
    fn is_parked(&self, seen: u32) -> bool {
        self.part == PRIMARY && seen & GUEST != 0
    }

    /// Closed: whether something is left that is this one's to take.
    fn has_rest(&self) -> bool {
        // ORDERING: Acquire: E4 from a guest that has left. Weakened: litmus/queue_rest_after_close; loom's
        // wake-up by `close` and the read-modify-writes before this pass on as much.
        !self.is_parked(self.queue.state.load(Acquire)) && self.queue.next_pending(1).is_some()
    }

    /// Clears what was announced. `Err` with the state now: nothing was announced, or it changed.
    fn consume(&self, seen: u32) -> Result<Wakeup, u32> {
        let idle = seen & !(SENDING | FIXUP | RECEIVING);
        // ORDERING: success Acquire: E2 from `send`, `fixup`. Failure Relaxed: only tried again.
        // Weakened: sigqueue send_recv.
        self.queue.state.compare_exchange(seen, idle, Acquire, Relaxed)?;
        if seen & (SENDING | FIXUP) == 0 {
            return Err(idle);
        }
        Ok(Wakeup::Work { signals: seen & SENDING != 0, fixup: seen & FIXUP != 0 })
    }

    fn fall_asleep(&self, seen: u32, deadline: Option<&Deadline>) -> Result<Waited, u32> {
        // ORDERING: success Release: E3 to whoever finds RECEIVING; E4 to the guest that borrows. Weakened:
        // guest part_is_handed_over. Failure Relaxed: only tried again.
        self.queue.state.compare_exchange(seen, seen | RECEIVING, Release, Relaxed)?;
        if self.sleep(deadline) == Waited::Woken {
            return Ok(Waited::Woken);
        }
        // A wake-up that is under way finds the next sleep instead, which then ends early.
        // ORDERING: Relaxed: what was announced is left to `consume`.
        match self.queue.state.compare_exchange(seen | RECEIVING, seen, Relaxed, Relaxed) {
            Ok(_) => Ok(Waited::TimedOut),
            Err(now) => Err(now),
        }
    }

    fn sleep(&self, deadline: Option<&Deadline>) -> Waited {
        let note = &self.queue.notes[usize::from(self.part == GUEST)];
        let waited = note.sleep(deadline);
        if waited == Waited::Woken {
            note.clear();
        }
        waited
    }

    /// The state once this receiver has left, and whether a parked primary must be woken.
    fn left(&self, seen: u32) -> (u32, bool) {
        let announced = seen & (SENDING | FIXUP | CLOSED) != 0;
        match (self.part, seen & PRIMARY != 0) {
            (GUEST, true) if announced => (seen & !(GUEST | RECEIVING), true),
            (GUEST, true) => ((seen & !GUEST) | RECEIVING, false),
            (GUEST, false) => (seen & !(GUEST | RECEIVING), false),
            // A guest that stays keeps its own RECEIVING. Without: guest guest_outlasts_primary.
            _ if seen & GUEST != 0 => (seen & !PRIMARY, false),
            _ => (seen & !(PRIMARY | RECEIVING), false),
        }
    }
}

impl<N: Park> Drop for Receiver<'_, N> {
    fn drop(&mut self) {
        if self.scan < SIGNALS {
            // Somebody else has to look at the rest.
            self.queue.announce(SENDING);
        }
        let leave = |seen| Ok::<_, core::convert::Infallible>(self.left(seen).0);
        let Ok(seen) = self.queue.change_owner(leave);
        if self.left(seen).1 {
            self.queue.notes[0].wake();
        }
    }
}

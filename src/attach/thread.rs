//! The steps: what the calling thread does to its slot and its record.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use super::{
    ARMED, AttachError, Attached, BOUND, Binding, CLOSED, CREATOR, DEPTH, DetachError, END, ENDING,
    HELD, Host, INSIDE, KEPT, Patience, RawAttached, Request, Runtime, Slot, TRANSITION, TakeError,
    Taker, Threads, UNCLAIMED,
};
use crate::extra_list::Ticket;
use crate::sync::{Ordering::*, compiler_fence};

/// Where the calling thread stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThreadState {
    /// It has no record.
    Unknown,
    /// It is attached and runs the runtime's code.
    Inside,
    /// It has a record and runs code that is not the runtime's.
    External,
    /// It is between two steps of an attach or detach.
    InTransition,
}

/// Undoes the steps made so far, if the last one is not reached: by an error or a panic.
struct Steps<'a, R: Runtime + 'static, H: Host + 'static, const N: usize> {
    threads: &'static Threads<R, H, N>,
    slot: &'a Slot,
    /// The slot's word as it was.
    before: u32,
    mask: Option<H::Mask>,
    taken: Option<Ticket>,
}

impl<R: Runtime, H: Host, const N: usize> Threads<R, H, N> {
    /// The calling thread's slot. Not to leave its thread: what it is given to uses it and returns.
    #[inline]
    pub(super) fn slot(&self) -> &Slot {
        // SAFETY: valid while the calling thread lives, by the host's contract; no caller in this module
        // stores the reference or hands it out.
        unsafe { &*self.host.slot() }
    }

    /// Where the calling thread stands. Async-signal-safe; in a handler it tells what was
    /// interrupted.
    #[inline]
    pub fn state(&self) -> ThreadState {
        if !self.is_claimed() {
            return ThreadState::Unknown;
        }
        // ORDERING: Relaxed, here and in this whole file unless said: the slot is this thread's
        // own (I4).
        match self.slot().word.load(Relaxed) {
            word if word & TRANSITION != 0 => ThreadState::InTransition,
            word if word & INSIDE != 0 => ThreadState::Inside,
            word if word & HELD != 0 => ThreadState::External,
            _ => ThreadState::Unknown,
        }
    }

    /// Whether the calling thread has a record. Async-signal-safe.
    #[inline]
    pub fn is_attached(&self) -> bool {
        matches!(self.state(), ThreadState::Inside | ThreadState::External)
    }

    /// The calling thread's record, while it has one. Async-signal-safe.
    pub fn current(&self) -> Option<&R::Record> {
        let slot = self.slot();
        // ORDERING: Relaxed: the thread's own.
        if !self.is_claimed() || slot.word.load(Relaxed) & HELD == 0 {
            return None;
        }
        let index = slot.index.load(Relaxed);
        Some(&self.made(index as usize)?.record)
    }

    #[inline]
    pub(super) fn enter(
        &'static self,
        request: Request<'_>,
    ) -> Result<Attached<R, H, N>, AttachError> {
        let slot = self.slot();
        // ORDERING: Relaxed: the thread's own; and see Happens-before.
        let (before, stage) = (slot.word.load(Relaxed), self.stage.load(Relaxed));
        if before & (HELD | ARMED) == HELD | ARMED && stage == 0 {
            return self.nest(slot, before);
        }
        // In parts, and plain words back: so nothing of the way above passes through memory.
        let Request { binding, taker, patience } = request;
        let (before, mine) = self.enter_slowly(stage, binding, taker, patience)?;
        Ok(self.token(before, mine))
    }

    /// Whatever is not the nested attach of a thread whose end is watched: the token's `before` and `mine`.
    #[inline(never)]
    fn enter_slowly(
        &'static self,
        stage: u32,
        binding: Binding,
        taker: Taker,
        patience: Patience<'_>,
    ) -> Result<(u32, u32), AttachError> {
        if stage & UNCLAIMED != 0 && !self.claim() {
            return Err(AttachError::SlotsTaken);
        }
        let slot = self.slot();
        // ORDERING: Relaxed: the thread's own.
        let before = slot.word.load(Relaxed);
        if before & HELD == 0 {
            return self.begin(slot, binding, taker, patience);
        }
        if before < DEPTH && stage & CLOSED != 0 {
            return Err(AttachError::ShuttingDown);
        }
        if before & (ARMED | ENDING) == 0 && taker == Taker::Thread {
            self.arm_late()?;
        }
        let token = ManuallyDrop::new(self.nest(slot, before)?);
        Ok((token.before, token.mine))
    }

    /// A thread that attached in a handler, and forgot to detach, attaches in ordinary code. Not noted:
    /// the word is to be put back as that token left it.
    #[cold]
    fn arm_late(&'static self) -> Result<(), AttachError> {
        self.arm()
    }

    fn arm(&'static self) -> Result<(), AttachError> {
        // SAFETY: the slots are claimed; a `Taker::Thread` is not in a handler, by `attach`'s contract.
        let armed = unsafe { self.host.arm(self.callback(Self::thread_exit)) };
        armed.map_err(AttachError::ThreadEnd)
    }

    #[inline]
    fn nest(&'static self, slot: &Slot, before: u32) -> Result<Attached<R, H, N>, AttachError> {
        let Some(mine) = (before | INSIDE).checked_add(DEPTH) else {
            return Err(AttachError::TooDeep);
        };
        // ORDERING: Relaxed: the thread's own.
        slot.word.store(mine, Relaxed);
        compiler_fence(AcqRel);
        Ok(self.token(before, mine))
    }

    #[inline]
    fn token(&'static self, before: u32, mine: u32) -> Attached<R, H, N> {
        Attached { threads: self, before, mine, own: PhantomData }
    }

    /// What the calling thread holds, while it is attached.
    pub(super) fn held(&self) -> Ticket {
        // ORDERING: Relaxed: the thread's own.
        self.list.held(self.slot().index.load(Relaxed) as usize)
    }

    /// The first attach of a thread that has no record: the token's `before` and `mine`. Noting ARMED saves the
    /// next one the way to the host, and no more: a thread may be armed any number of times.
    #[cold]
    #[inline(never)]
    fn begin(
        &'static self,
        slot: &Slot,
        binding: Binding,
        taker: Taker,
        patience: Patience<'_>,
    ) -> Result<(u32, u32), AttachError> {
        let short = {
            let mut steps = self.mask(slot)?;
            if steps.before & ARMED == 0 && steps.is_told_of_end(taker)? {
                steps.before |= ARMED;
            }
            let short = steps.take(taker, patience)?;
            steps.publish(binding);
            short
        };
        // ORDERING: Relaxed: the thread's own.
        let mine = slot.word.load(Relaxed);
        // Detaches, if the hook panics.
        let token = self.token(left_by(mine), mine);
        if short && taker == Taker::Thread {
            // Refused or not, this thread has what it wanted; the next one that takes asks again.
            let _ = self.create();
        }
        let token = ManuallyDrop::new(token);
        Ok((token.before, token.mine))
    }

    fn mask<'a>(&'static self, slot: &'a Slot) -> Result<Steps<'a, R, H, N>, AttachError> {
        // SAFETY: put back on this thread, here or by the steps, which stay in this frame's callers.
        let mask = unsafe { self.host.block() };
        // ORDERING: Relaxed: the thread's own.
        let before = slot.word.load(Relaxed);
        if before & TRANSITION != 0 {
            // The frame below keeps its own mask (I1); ours goes back to it.
            // SAFETY: as above.
            unsafe { self.host.restore(mask) };
            return Err(AttachError::InTransition);
        }
        slot.word.store(before | TRANSITION, Relaxed);
        Ok(Steps { threads: self, slot, before, mask: Some(mask), taken: None })
    }

    /// What the word of the calling thread says of a token.
    pub(super) fn standing(&self, mine: u32) -> Standing {
        // ORDERING: Relaxed: the thread's own.
        match self.slot().word.load(Relaxed) {
            word if word == mine => Standing::Last,
            word if is_gone(word, mine) || word / DEPTH < mine / DEPTH => Standing::Gone,
            _ => Standing::NotLast,
        }
    }

    /// Gives up a token of which only the data is left.
    ///
    /// # Errors
    ///
    /// The token, if later ones are alive; that it is none of this thread's.
    pub fn detach_raw(&'static self, raw: RawAttached) -> Result<(), DetachError<RawAttached>> {
        let ticket = Ticket { index: raw.index as usize, generation: raw.generation };
        let is_ours = raw.threads == 0 || raw.threads == self.identity().addr();
        let standing = match is_ours && self.is_claimed() && self.held() == ticket {
            true => self.standing(raw.mine),
            false => Standing::Gone,
        };
        match standing {
            Standing::Gone => Err(DetachError::NotAttached(raw)),
            Standing::NotLast => Err(DetachError::NotLast(raw)),
            Standing::Last => {
                self.leave(raw.before, raw.mine);
                Ok(())
            }
        }
    }

    #[inline]
    pub(super) fn leave(&'static self, before: u32, mine: u32) {
        let slot = self.slot();
        // ORDERING: Relaxed, here and below: the thread's own.
        if slot.word.load(Relaxed) != mine {
            self.leave_out_of_order(slot, mine);
        } else if before & HELD != 0 {
            compiler_fence(AcqRel);
            slot.word.store(before, Relaxed);
        } else {
            self.leave_first(slot, before);
        }
    }

    /// The token that attached goes.
    #[cold]
    #[inline(never)]
    fn leave_first(&'static self, slot: &Slot, before: u32) {
        if before & BOUND == 0 {
            return self.end(slot, before);
        }
        // ORDERING: Relaxed: the thread's own.
        compiler_fence(AcqRel);
        slot.word.store(before | HELD, Relaxed);
    }

    /// The depth counts the tokens that are alive, so the last one to go is the one that detaches.
    #[cold]
    fn leave_out_of_order(&'static self, slot: &Slot, mine: u32) {
        // ORDERING: Relaxed: the thread's own, and a counter.
        let word = slot.word.load(Relaxed);
        if word < DEPTH || is_gone(word, mine) {
            return; // The thread has ended, and what the token attached went back.
        }
        self.misordered.fetch_add(1, Relaxed);
        match word - DEPTH {
            left if left >= DEPTH => slot.word.store(left, Relaxed),
            // The outermost has gone, whichever went last. With INSIDE: attach bound_tokens_cross.
            left if left & BOUND != 0 => slot.word.store(left & !INSIDE, Relaxed),
            left => self.end(slot, left & KEPT),
        }
    }

    /// Detaches; the slot's word is `after` then.
    fn end(&'static self, slot: &Slot, after: u32) {
        // SAFETY: put back below, on this thread.
        let mask = unsafe { self.host.block() };
        // ORDERING: Relaxed: the thread's own.
        slot.word.store(after | TRANSITION, Relaxed);
        let index = slot.index.load(Relaxed) as usize;
        if let (Some(place), Some(made)) = (self.place(index), self.made(index)) {
            // SAFETY: the record is this thread's until it is given below (I2): the list gave it to
            // nobody else.
            let saved = place.saved.with_mut(|saved| unsafe { (*saved).take() });
            // SAFETY: what `publish` had for this stack on this thread; signals are masked above.
            let kept = saved.and_then(|saved| unsafe { self.host.leave_stack(&made.stack, saved) });
            if kept.is_some() {
                // In a handler on that stack: this thread keeps both, as if bound, until it ends.
                // SAFETY: as above.
                place.saved.with_mut(|saved| unsafe { *saved = kept });
                // ORDERING: Relaxed: the thread's own.
                slot.word.store(after | HELD, Relaxed);
                // SAFETY: as above.
                return unsafe { self.host.restore(mask) };
            }
        }
        // Held until now, so it is in use.
        let _ = self.list.give(self.list.held(index));
        // ORDERING: Relaxed: the thread's own.
        slot.word.store(after, Relaxed);
        // SAFETY: as above.
        unsafe { self.host.restore(mask) };
    }

    /// The calling thread ends: its record goes back, whatever tokens were forgotten. What its
    /// other destructors still attach is unbound, so that none of them leaks a record.
    pub(super) fn thread_exit(&'static self) {
        let slot = self.slot();
        // ORDERING: Relaxed: the thread's own, and a counter.
        let word = slot.word.load(Relaxed);
        let ending = (word & ENDING).max(word.wrapping_add(END) & ENDING);
        if word & HELD == 0 {
            slot.word.store(word & !(ARMED | ENDING) | ending, Relaxed);
            return;
        }
        if word >= DEPTH {
            self.abandoned.fetch_add(1, Relaxed);
        }
        self.end(slot, ending);
    }

    /// In the child of a fork: the other threads are not there, their records are spare.
    pub(super) unsafe fn forked(&'static self) {
        let slot = self.slot();
        // In TRANSITION a hook of the runtime's forks, with a record that is not shown yet.
        // ORDERING: Relaxed: the thread's own.
        let held = slot.word.load(Relaxed) & (HELD | TRANSITION) != 0;
        let own = slot.index.load(Relaxed) as usize;
        // SAFETY: the child has one thread: the host calls this there, and first.
        unsafe { self.list.reset_after_fork(|index| held && index == own) };
    }
}

/// The word that the first token of a thread leaves behind, but for HELD, which tells nested ones.
fn left_by(mine: u32) -> u32 {
    mine & (BOUND | KEPT)
}

/// Whether what a token attached went back, by the thread's end.
pub(super) fn is_gone(word: u32, mine: u32) -> bool {
    word & HELD == 0 || (word ^ mine) & ENDING != 0
}

/// Whether a token may be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is the last one of this thread that is alive.
    Last,
    /// Later ones are.
    NotLast,
    /// The thread does not have what it attached any more.
    Gone,
}

impl<R: Runtime, H: Host, const N: usize> Steps<'_, R, H, N> {
    /// Whether the system will tell of the thread's end; for a handler, where it can be asked to.
    fn is_told_of_end(&self, taker: Taker) -> Result<bool, AttachError> {
        let threads = self.threads;
        match taker {
            Taker::Thread => threads.arm().map(|()| true),
            Taker::Handler => {
                let exit = threads.callback(Threads::thread_exit);
                // SAFETY: the slots are claimed, and the callback is always this one.
                Ok(unsafe { threads.host.arm_in_handler(exit) })
            }
        }
    }

    /// Takes a record; waits for one with signals open. True if there should be more.
    fn take(&mut self, taker: Taker, patience: Patience<'_>) -> Result<bool, AttachError> {
        let list = &self.threads.list;
        let mut permit = list.take(taker);
        loop {
            if let (Err(TakeError::Empty), Patience::Until(deadline)) = (&permit, patience) {
                if self.before & CREATOR != 0 {
                    return Err(AttachError::InCreate);
                }
                permit = list.wait_with(deadline, |sleep| {
                    self.open();
                    let waited = sleep();
                    self.close();
                    waited
                });
            }
            let had = permit.map_err(refused)?;
            let short = had.short();
            // Masked again, so that no handler forks between here and the end.
            self.taken = had.redeem();
            if let Some(ticket) = self.taken {
                // For the child of a fork in `reset`.
                // ORDERING: Relaxed: the thread's own.
                self.slot.index.store(ticket.index as u32, Relaxed);
                return Ok(short);
            }
            permit = list.take(taker);
        }
    }

    /// Unmasked for the length of a wait, in which the thread is as it was before.
    fn open(&mut self) {
        // ORDERING: Relaxed: the thread's own.
        self.slot.word.store(self.before, Relaxed);
        self.put_mask_back();
    }

    fn put_mask_back(&mut self) {
        // SAFETY: this thread's own, of `Threads::mask` or `close`: the steps stay on their thread's stack.
        self.mask.take().into_iter().for_each(|mask| unsafe { self.threads.host.restore(mask) });
    }

    fn close(&mut self) {
        // SAFETY: put back by `put_mask_back`.
        self.mask = Some(unsafe { self.threads.host.block() });
        // ORDERING: Relaxed: the thread's own.
        self.slot.word.store(self.before | TRANSITION, Relaxed);
    }

    /// Resets the record, changes stacks, and shows the record to the thread's handlers.
    fn publish(mut self, binding: Binding) {
        let (threads, Some(Ticket { index, generation })) = (self.threads, self.taken) else {
            return;
        };
        let (Some(place), Some(made)) = (threads.place(index), threads.made(index)) else { return };
        threads.runtime.reset(&made.record, generation);
        // SAFETY: the record's, which is this thread's until `end` (I2); signals are masked (I1).
        let saved = unsafe { threads.host.enter_stack(&made.stack) };
        // Not dropped before, as in `Threads::create`: another's detach may have been cut by a fork.
        // SAFETY: the record is this thread's (I2): the list gave it to nobody else.
        place.saved.with_mut(|place| unsafe { place.write(Some(saved)) });
        let kept = self.before & KEPT;
        let bound = binding == Binding::Bound && kept & ENDING == 0;
        let bound = if bound { BOUND } else { 0 };
        self.taken = None;
        self.before = kept | bound | HELD | INSIDE | DEPTH;
        // ORDERING: AcqRel, against this thread's handlers: they see the record once they see the word.
        compiler_fence(AcqRel);
        // The drop stores the word and unmasks.
    }
}

impl<R: Runtime, H: Host, const N: usize> Drop for Steps<'_, R, H, N> {
    fn drop(&mut self) {
        if let Some(ticket) = self.taken.take() {
            // Taken by this frame.
            let _ = self.threads.list.give(ticket);
        }
        // ORDERING: Relaxed: the thread's own.
        self.slot.word.store(self.before, Relaxed);
        self.put_mask_back();
    }
}

fn refused(error: TakeError) -> AttachError {
    match error {
        TakeError::Empty | TakeError::TimedOut => AttachError::Full,
        TakeError::NoRecords => AttachError::NoRecords,
        TakeError::AllReserved => AttachError::AllReserved,
        TakeError::Closed => AttachError::ShuttingDown,
    }
}

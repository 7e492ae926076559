//! The steps: what the calling thread does to its slot and its record.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use super::{
    ARMED, AttachError, Attached, BOUND, Binding, DEPTH, DetachError, ENDING, HELD, Host, INSIDE,
    Patience, RawAttached, Request, Runtime, Slot, TRANSITION, TakeError, Taker, Threads,
};
use crate::extra_list::Ticket;
use crate::sync::{Ordering::*, compiler_fence};

/// Where the calling thread stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Where the calling thread stands. Async-signal-safe; in a handler it tells what was
    /// interrupted.
    #[inline]
    pub fn state(&self) -> ThreadState {
        // ORDERING: Relaxed, here and in this whole file unless said: the slot is this thread's
        // own (I4).
        match self.host.slot().word.load(Relaxed) {
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
        let slot = self.host.slot();
        // ORDERING: Relaxed: the thread's own.
        if slot.word.load(Relaxed) & HELD == 0 {
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
        let slot = self.host.slot();
        // ORDERING: Relaxed: the thread's own.
        let before = slot.word.load(Relaxed);
        if before & HELD != 0 {
            return self.nest(slot, before);
        }
        // In parts, and plain words back: so nothing of the way above passes through memory.
        let Request { binding, taker, patience } = request;
        let (before, mine) = self.begin(slot, binding, taker, patience)?;
        Ok(self.token(before, mine))
    }

    #[inline]
    fn nest(&'static self, slot: &Slot, before: u32) -> Result<Attached<R, H, N>, AttachError> {
        // ORDERING: Relaxed: a flag that carries nothing.
        if before < DEPTH && self.closed.load(Relaxed) {
            return Err(AttachError::ShuttingDown);
        }
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
        self.list.held(self.host.slot().index.load(Relaxed) as usize)
    }

    /// The first attach of a thread that has no record: the token's `before` and `mine`.
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
            if taker == Taker::Thread && steps.before & ARMED == 0 {
                self.host.arm(self.callback(Self::thread_exit)).map_err(AttachError::ThreadEnd)?;
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
        let mask = Some(self.host.block());
        // ORDERING: Relaxed: the thread's own.
        let before = slot.word.load(Relaxed);
        if before & TRANSITION != 0 {
            // SAFETY of I1: the frame below keeps its own mask; ours goes back to it.
            mask.into_iter().for_each(|mask| self.host.restore(mask));
            return Err(AttachError::InTransition);
        }
        slot.word.store(before | TRANSITION, Relaxed);
        Ok(Steps { threads: self, slot, before, mask, taken: None })
    }

    /// Whether the token is the last one of this thread that is alive.
    pub(super) fn is_last(&self, mine: u32) -> bool {
        // ORDERING: Relaxed: the thread's own.
        self.host.slot().word.load(Relaxed) == mine
    }

    /// Gives up a token of which only the data is left.
    ///
    /// # Errors
    ///
    /// The token, if later ones are alive; that it is none of this thread's.
    pub fn detach_raw(&'static self, raw: RawAttached) -> Result<(), DetachError<RawAttached>> {
        // ORDERING: Relaxed: the thread's own.
        let word = self.host.slot().word.load(Relaxed);
        let ticket = Ticket { index: raw.index as usize, generation: raw.generation };
        let own = word & HELD != 0 && self.held() == ticket;
        match () {
            () if !own || word / DEPTH < raw.mine / DEPTH => Err(DetachError::NotAttached),
            () if word != raw.mine => Err(DetachError::NotLast(raw)),
            () => {
                self.leave(raw.before, raw.mine);
                Ok(())
            }
        }
    }

    #[inline]
    pub(super) fn leave(&'static self, before: u32, mine: u32) {
        let slot = self.host.slot();
        // ORDERING: Relaxed, here and below: the thread's own.
        if slot.word.load(Relaxed) != mine {
            self.leave_out_of_order(slot);
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
    fn leave_out_of_order(&'static self, slot: &Slot) {
        // ORDERING: Relaxed: the thread's own, and a counter.
        let word = slot.word.load(Relaxed);
        if word < DEPTH {
            return; // The thread has ended, and its record is gone.
        }
        self.misordered.fetch_add(1, Relaxed);
        match word - DEPTH {
            left if left >= DEPTH => slot.word.store(left, Relaxed),
            left if left & BOUND != 0 => slot.word.store(left & !INSIDE, Relaxed),
            left => self.end(slot, left & (ARMED | ENDING)),
        }
    }

    /// Detaches; the slot's word is `after` then.
    fn end(&'static self, slot: &Slot, after: u32) {
        let mask = self.host.block();
        // ORDERING: Relaxed: the thread's own.
        slot.word.store(after | TRANSITION, Relaxed);
        let index = slot.index.load(Relaxed) as usize;
        if let (Some(place), Some(made)) = (self.place(index), self.made(index)) {
            // SAFETY: the record is this thread's until it is given (I2).
            if let Some(saved) = place.saved.with_mut(|saved| unsafe { (*saved).take() }) {
                self.host.leave_stack(&made.stack, saved);
            }
        }
        // Held until now, so it is in use.
        let _ = self.list.give(self.list.held(index));
        // ORDERING: Relaxed: the thread's own.
        slot.word.store(after, Relaxed);
        self.host.restore(mask);
    }

    /// The calling thread ends: its record goes back, whatever tokens were forgotten. What its
    /// other destructors still attach is unbound, so that none of them leaks a record.
    pub(super) fn thread_exit(&'static self) {
        let slot = self.host.slot();
        // ORDERING: Relaxed: the thread's own, and a counter.
        let word = slot.word.load(Relaxed);
        if word & HELD == 0 {
            slot.word.store(word & !ARMED | ENDING, Relaxed);
            return;
        }
        if word >= DEPTH {
            self.abandoned.fetch_add(1, Relaxed);
        }
        self.end(slot, ENDING);
    }

    /// In the child of a fork: the other threads are not there, their records are spare.
    pub(super) unsafe fn forked(&'static self) {
        let slot = self.host.slot();
        // ORDERING: Relaxed: the thread's own.
        let held = slot.word.load(Relaxed) & HELD != 0;
        let own = slot.index.load(Relaxed) as usize;
        // SAFETY: the child has one thread.
        unsafe { self.list.reset_after_fork(|index| held && index == own) };
    }
}

/// The word that the first token of a thread leaves behind, but for HELD, which tells nested ones.
fn left_by(mine: u32) -> u32 {
    mine & (BOUND | ARMED | ENDING)
}

impl<R: Runtime, H: Host, const N: usize> Steps<'_, R, H, N> {
    /// Takes a record; waits for one with signals open. True if there should be more.
    fn take(&mut self, taker: Taker, patience: Patience<'_>) -> Result<bool, AttachError> {
        let list = &self.threads.list;
        let mut permit = list.take(taker);
        loop {
            if let (Err(TakeError::Empty), Patience::Until(deadline)) = (&permit, patience) {
                self.open();
                permit = list.wait(deadline);
                self.close();
            }
            let had = permit.map_err(refused)?;
            let short = had.short();
            // Masked again, so that no handler forks between here and the end.
            self.taken = had.redeem();
            if self.taken.is_some() {
                return Ok(short);
            }
            permit = list.take(taker);
        }
    }

    /// Unmasked for the length of a wait, in which the thread is as it was before.
    fn open(&mut self) {
        // ORDERING: Relaxed: the thread's own.
        self.slot.word.store(self.before, Relaxed);
        self.mask.take().into_iter().for_each(|mask| self.threads.host.restore(mask));
    }

    fn close(&mut self) {
        self.mask = Some(self.threads.host.block());
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
        let saved = threads.host.enter_stack(&made.stack);
        // Not dropped before, as in `Threads::create`: another's detach may have been cut by a fork.
        // SAFETY: the record is this thread's (I2).
        place.saved.with_mut(|place| unsafe { place.write(Some(saved)) });
        let kept = self.before & (ARMED | ENDING);
        let bound = binding == Binding::Bound && kept & ENDING == 0;
        let bound = if bound { BOUND } else { 0 };
        // ORDERING: Relaxed: the thread's own.
        self.slot.index.store(index as u32, Relaxed);
        self.taken = None;
        self.before = kept | bound | HELD | INSIDE | DEPTH;
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
        self.mask.take().into_iter().for_each(|mask| self.threads.host.restore(mask));
    }
}

fn refused(error: TakeError) -> AttachError {
    match error {
        TakeError::Empty | TakeError::TimedOut => AttachError::Full,
        TakeError::NoRecords => AttachError::NoRecords,
        TakeError::Closed => AttachError::ShuttingDown,
    }
}

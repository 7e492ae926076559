//! The caller's side: the sweep, the wait, what came of it.

use core::fmt;
use core::marker::PhantomData;

use super::seat::{Call as Hears, ROUND};
use super::{
    ACTIVE, AllThreads, Call, CallError, Mismatch, Operation, Reach, Report, Seat, Seats, Wait,
    Waker,
};
use crate::note::Deadline;
use crate::sync::{AtomicU32, Ordering::*};
use crate::sys::Errno;

/// How a call ended.
#[must_use = "perhaps not every thread was reached"]
pub enum Answer<'a, R: Reach, S: Seats + ?Sized> {
    /// Every thread has run it.
    Complete(Report),
    /// Some have not by the deadline.
    Unfinished(Unfinished<'a, R, S>),
}

/// A call whose deadline has passed. Until it is finished or abandoned (dropped, that is) no other
/// call begins; nobody is asked meanwhile.
#[must_use = "the call is abandoned when this is dropped"]
pub struct Unfinished<'a, R: Reach, S: Seats + ?Sized>(Sweep<'a, R, S>);

/// One round, by who has the turn.
struct Sweep<'a, R: Reach, S: Seats + ?Sized> {
    all: &'a AllThreads<R>,
    seats: &'a S,
    call: Call<'a>,
    round: u32,
    /// The round that is being undone, and what came of it.
    undone: Option<(u32, Report)>,
    first: i32,
    gone: u32,
    abandoned: u32,
    /// Other threads that have run it, and with another result: if the last sweep asked nobody.
    counted: Option<(u32, u32)>,
    /// Who is to hear of each thread has.
    heard: bool,
    /// The turn was given up.
    over: bool,
    /// The turn is a thread's.
    own: PhantomData<*const ()>,
}

impl<R: Reach> AllThreads<R> {
    /// Runs an operation on the calling thread, and if it succeeds there on each thread that has one of
    /// the seats. Async-signal-safe as far as `seats` and what is in `call` are.
    ///
    /// | the caller | |
    /// |---|---|
    /// | any thread, registered or not | runs what others ask of it while it waits for them |
    /// | a handler on any thread | the same |
    /// | a handler that interrupted a call, an operation, or a step of [`Member`](super::Member)'s | [`CallError::Engaged`] |
    /// | the operation itself | [`CallError::Engaged`] |
    /// | who has an [`Unfinished`] | [`CallError::Engaged`] |
    ///
    /// # Errors
    ///
    /// See [`CallError`]: nothing was done on any thread.
    ///
    /// # Panics
    ///
    /// If the operation does on the calling thread; then nothing was done on others. On another the
    /// process ends: by abort, or as unwinding needs more than a handler's stack.
    pub fn call<'a, S: Seats + ?Sized>(
        &'a self,
        seats: &'a S,
        call: Call<'a>,
    ) -> Result<Answer<'a, R, S>, CallError> {
        /// Gives the turn up.
        struct Turn<'a, R: Reach, S: Seats + ?Sized>(&'a AllThreads<R>, &'a S);
        impl<R: Reach, S: Seats + ?Sized> Drop for Turn<'_, R, S> {
            fn drop(&mut self) {
                self.1.done();
                self.0.give_turn();
            }
        }
        self.reach.prepare().map_err(CallError::System)?;
        self.take_turn(call.deadline)?;
        let turn = Turn(self, seats);
        seats.refresh(self.epoch_of_strangers()).map_err(CallError::System)?;
        let first = (call.operation)().map_err(CallError::First)?;
        core::mem::forget(turn);
        let round = self.publish(call.operation);
        self.reach.seat().inspect(|seat| seat.ran_first(round, Ok(first)));
        let own = PhantomData;
        let sweep = Sweep {
            all: self,
            seats,
            call,
            round,
            undone: None,
            first,
            gone: 0,
            abandoned: 0,
            counted: None,
            heard: false,
            over: false,
            own,
        };
        Ok(sweep.go_on(call.deadline))
    }

    /// By who has the turn: the next round.
    fn publish(&self, operation: &Operation<'_>) -> u32 {
        // SAFETY: only the lifetime changes; `Sweep::end` clears it, and nobody has asked yet (I1).
        let operation = unsafe {
            core::mem::transmute::<*const Operation<'_>, *const Operation<'static>>(operation)
        };
        // SAFETY: by the turn (I1).
        self.operation.with_mut(|place| unsafe { *place = Some(operation) });
        // ORDERING: Relaxed: written by turns; read by those who are asked (E1), or as a hint.
        let round = (self.round.load(Relaxed) & !ACTIVE).wrapping_add(ROUND);
        self.round.store(round | ACTIVE, Relaxed);
        round
    }
}

impl<'a, R: Reach, S: Seats + ?Sized> Sweep<'a, R, S> {
    /// Sweeps and waits until a sweep finds nobody.
    fn go_on(mut self, deadline: Option<&Deadline>) -> Answer<'a, R, S> {
        loop {
            if !self.wait(deadline) && self.take_back() > 0 {
                return Answer::Unfinished(Unfinished(self));
            }
            if self.ask() > 0 {
                self.all.remind();
            } else if !self.undo() {
                return Answer::Complete(self.end());
            }
        }
    }

    /// All have run it: whether they have to undo it now.
    fn undo(&mut self) -> bool {
        let Mismatch::Undo(operation) = self.call.mismatch else { return false };
        let report = self.report();
        if self.undone.is_some() || report.mismatches == 0 {
            return false;
        }
        self.hear();
        self.undone = Some((self.round, report));
        self.round = self.all.publish(operation);
        // The first one's comes last.
        self.all.reach.seat().inspect(|seat| seat.ran_first(self.round, Ok(self.first)));
        true
    }

    /// Asks all that have not run it, and says how many.
    fn ask(&mut self) -> u32 {
        let (all, round, undone, first) = (self.all, self.round, self.undone, self.first);
        let own = all.reach.seat();
        /// Counts them even if the seats end the sweep by a panic.
        struct Asked<'a>(&'a AtomicU32, u32);
        impl Drop for Asked<'_> {
            fn drop(&mut self) {
                // ORDERING: Relaxed: each thread's answer is its own (E2).
                self.0.fetch_add(self.1, Relaxed);
            }
        }
        let (mut asked, mut gone, mut counted) = (Asked(&all.pending, 0), 0, (0, 0));
        // The operation may be one that forbids to ask which threads there are: those that were known
        // are reached.
        _ = self.seats.refresh(all.epoch_of_strangers());
        self.seats.each(&mut |seat| {
            if undone.is_some_and(|(before, _)| !matches!(seat.result(before), Some(Ok(_)))) {
                return;
            }
            let Some(hears) = seat.ask(round) else {
                return count(&mut counted, seat, (round, first), own);
            };
            asked.1 += 1;
            match tell(all, hears) {
                true if hears == Hears::Nothing => {}
                true => seat.let_go(),
                false if seat.bury() => {
                    gone += 1;
                    all.acknowledge();
                }
                false => {}
            }
        });
        self.gone += gone;
        self.counted = (asked.1 == 0).then_some(counted);
        asked.1
    }

    /// Until all have answered; false if the deadline comes first.
    fn wait(&mut self, deadline: Option<&Deadline>) -> bool {
        let mut before = 0;
        loop {
            // ORDERING: Acquire: E2 from `acknowledge`. Weakened: all_threads
            // blocked_in_syscall.
            let left = self.all.pending.load(Acquire);
            if left == 0 {
                return true;
            }
            match self.all.reach.wait(&self.all.pending, left, deadline) {
                Wait::Woken => {}
                Wait::TimedOut => return false,
                // Nobody has answered since the last time.
                Wait::Look if left == before => self.look(),
                Wait::Look => before = left,
            }
        }
    }

    /// Interrupts once more those that have not answered, and does not wait for the dead.
    fn look(&mut self) {
        let mut gone = 0;
        self.seats.each(&mut |seat| {
            let Some(name) = seat.hold_awaited() else { return };
            if self.all.reach.interrupt_again(name) != Ok(false) {
                seat.let_go();
            } else if seat.bury() {
                gone += 1;
                self.all.acknowledge();
            }
        });
        self.gone += gone;
    }

    /// Takes back what nobody has begun, waits for what somebody has, and says how many will not run
    /// it. The operation may go after that.
    fn take_back(&mut self) -> u32 {
        let mut taken = 0;
        self.seats.each(&mut |seat| {
            if seat.withdraw() {
                taken += 1;
                self.all.acknowledge();
            }
        });
        self.wait(None);
        taken
    }

    /// Leaves those alone that have not run it.
    fn abandon(&mut self) -> Report {
        let mut missing = 0;
        self.seats.each(&mut |seat| missing += u32::from(self.is_missing(seat)));
        self.abandoned = missing;
        self.end()
    }

    fn is_missing(&self, seat: &Seat) -> bool {
        let to_undo = |(before, _)| matches!(seat.result(before), Some(Ok(_)));
        seat.is_missing(self.round) && self.undone.is_none_or(to_undo)
    }

    /// Each other thread that has run the round, once all have answered.
    fn results(&self, mut hear: impl FnMut(&Seat, Result<i32, Errno>)) {
        let own = self.all.reach.seat();
        self.seats.each(&mut |seat| {
            if let Some(result) = others(seat, self.round, own) {
                hear(seat, result);
            }
        });
    }

    fn counted_now(&self) -> (u32, u32) {
        let (mut counted, own) = ((0, 0), self.all.reach.seat());
        self.seats.each(&mut |seat| count(&mut counted, seat, (self.round, self.first), own));
        counted
    }

    /// Once, even if that ends by a panic.
    fn hear(&mut self) {
        if let Some(each) = self.call.each.filter(|_| !self.heard) {
            self.heard = true;
            self.results(each);
        }
    }

    fn report(&self) -> Report {
        let (others, mismatches) = self.counted.unwrap_or_else(|| self.counted_now());
        let Self { first, gone, abandoned, .. } = *self;
        Report { first, others, mismatches, gone, abandoned }
    }

    /// All have answered.
    fn end(&mut self) -> Report {
        self.over = true;
        // Given up by a panic of what follows, too.
        let _turn = Published { all: self.all, seats: self.seats, round: self.round };
        let report = match self.undone {
            None => {
                self.hear();
                self.report()
            }
            Some((_, report)) => {
                if let Mismatch::Undo(operation) = self.call.mismatch {
                    // There is nobody to tell what it returns.
                    let _ = operation();
                }
                report
            }
        };
        if report.mismatches > 0 && matches!(self.call.mismatch, Mismatch::Abort) {
            self.all.reach.abort();
        }
        report
    }
}

/// A round that nobody is asked to run any more.
struct Published<'a, R: Reach, S: Seats + ?Sized> {
    all: &'a AllThreads<R>,
    seats: &'a S,
    round: u32,
}

impl<R: Reach, S: Seats + ?Sized> Drop for Published<'_, R, S> {
    fn drop(&mut self) {
        // SAFETY: by the turn (I1).
        self.all.operation.with_mut(|place| unsafe { *place = None });
        // ORDERING: Relaxed: as in `publish`.
        self.all.round.store(self.round, Relaxed);
        self.seats.done();
        self.all.give_turn();
    }
}

/// What came of the round on this seat's thread, if that is another one and has run it.
fn others(seat: &Seat, round: u32, own: Option<&Seat>) -> Option<Result<i32, Errno>> {
    seat.result(round).filter(|_| !own.is_some_and(|own| core::ptr::eq(own, seat)))
}

fn count(sum: &mut (u32, u32), seat: &Seat, (round, first): (u32, i32), own: Option<&Seat>) {
    if let Some(result) = others(seat, round, own) {
        sum.0 += 1;
        sum.1 += u32::from(result != Ok(first));
    }
}

/// False if there is no such thread.
fn tell<R: Reach>(all: &AllThreads<R>, hears: Hears) -> bool {
    match hears {
        Hears::Nothing => true,
        // A signal that the system has no room for: the thread is not reached by the deadline.
        Hears::Interrupt(name) => all.reach.interrupt(name).unwrap_or(true),
        Hears::Wake(address) => {
            let waker = core::ptr::with_exposed_provenance::<Waker<'_>>(address);
            // SAFETY: its thread keeps it until it is let go (I4).
            unsafe { ((*waker).0)() };
            true
        }
    }
}

impl<'a, R: Reach, S: Seats + ?Sized> Unfinished<'a, R, S> {
    /// Hears of each seat whose thread has not run it.
    pub fn not_reached(&self, look: &mut dyn FnMut(&Seat)) {
        self.0.seats.each(&mut |seat| {
            if self.0.is_missing(seat) {
                look(seat);
            }
        });
    }

    /// Asks them again, until this deadline.
    pub fn finish(self, deadline: Option<&Deadline>) -> Answer<'a, R, S> {
        self.0.go_on(deadline)
    }

    /// Gives up on them.
    pub fn abandon(mut self) -> Report {
        self.0.abandon()
    }
}

/// Whoever leaves by a panic, or has enough of an unfinished call: nobody is asked when the operation
/// goes.
impl<R: Reach, S: Seats + ?Sized> Drop for Sweep<'_, R, S> {
    fn drop(&mut self) {
        if !self.over {
            self.take_back();
            self.abandon();
        }
    }
}

impl<R: Reach, S: Seats + ?Sized> fmt::Debug for Answer<'_, R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete(report) => f.debug_tuple("Complete").field(report).finish(),
            Self::Unfinished(unfinished) => unfinished.fmt(f),
        }
    }
}

impl<R: Reach, S: Seats + ?Sized> fmt::Debug for Unfinished<'_, R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unfinished").finish_non_exhaustive()
    }
}

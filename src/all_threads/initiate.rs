//! The caller's side: the sweep, the wait, what came of it.

use core::time::Duration;

use super::host::{Reach, Silence, Wait};
use super::seat::{Call as Hears, ROUND};
use super::{
    ACTIVE, AllThreads, Call, CallError, Late, Mismatch, Missing, Operation, Report, Seat, Seats,
    WakeFn,
};
use crate::note::Deadline;
use crate::sync::{AtomicU32, Ordering::*};
use crate::sys::Errno;

/// How long a call without a deadline waits when it waits for nobody but threads that it cannot reach.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 2_000 });
/// Sweeps in a row that ask threads which are not there. The system tells of them, and then that there are no
/// such threads: as it does with the numbers of another namespace.
const FRUITLESS: u32 = 1_000;

/// One round, by who has the turn.
///
/// It stands in the frame of [`AllThreads::call`], which nobody can forget: however that is left, nobody is
/// asked and nobody runs the operation any more.
struct Sweep<'a, R: Reach, S: Seats<R> + ?Sized> {
    all: &'a AllThreads<R>,
    seats: &'a S,
    call: Call<'a, R>,
    round: u32,
    /// The calling thread's seat when the call began.
    own: Option<&'static Seat<R>>,
    /// The round that is being undone, and what came of it.
    undone: Option<(u32, Report)>,
    first: i32,
    gone: u32,
    /// Threads that have not run it, and the name of one.
    abandoned: (u32, Option<usize>),
    /// Sweeps in a row of which nobody was there.
    fruitless: u32,
    /// Other threads that have run it, and with another result: if the last sweep asked nobody.
    counted: Option<(u32, u32)>,
    /// Who is to hear of each thread has.
    heard: bool,
    /// The operation is cleared.
    over: bool,
}

/// Tells the seats that the call is over.
struct Done<'a, R: Reach, S: Seats<R> + ?Sized>(&'a S, core::marker::PhantomData<R>);

impl<R: Reach, S: Seats<R> + ?Sized> Drop for Done<'_, R, S> {
    fn drop(&mut self) {
        self.0.done();
    }
}

/// Gives the turn up, after all else and whatever panics.
struct Turn<'a, R: Reach>(&'a AllThreads<R>);

impl<R: Reach> Drop for Turn<'_, R> {
    fn drop(&mut self) {
        self.0.give_turn();
    }
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
    /// | the operation itself, and what else the call calls | [`CallError::Engaged`] |
    ///
    /// It waits for other calls, and for every thread that it asks: for ever, unless it is told
    /// [until when](Call::until). But it gives up threads that it cannot reach
    /// ([`Silence::Unreachable`]), two seconds after it waits for no others.
    ///
    /// # Errors
    ///
    /// See [`CallError`]: nothing was done on any thread.
    ///
    /// # Panics
    ///
    /// If the operation does on the calling thread; then nothing was done on others. On another the
    /// process ends: by abort, or as unwinding needs more than a handler's stack. If `seats` or what is
    /// in `call` does: then the call is abandoned.
    pub fn call<S: Seats<R> + ?Sized>(
        &self,
        seats: &S,
        call: Call<'_, R>,
    ) -> Result<Report, CallError> {
        // SAFETY: of this reach, before the call.
        unsafe { self.reach.prepare() }.map_err(CallError::System)?;
        // A handler that interrupts this must not wait in turn: what this thread owes, a wake-up that it
        // has to pass on, it would owe for ever.
        if self.here(super::SeatLocal::is_engaged) {
            return Err(CallError::Engaged);
        }
        // Until the turn is given up: all_threads handler_as_the_turn_is_given.
        self.engaged(|| self.call_in_turn(seats, call))
    }

    fn call_in_turn<S: Seats<R> + ?Sized>(
        &self,
        seats: &S,
        call: Call<'_, R>,
    ) -> Result<Report, CallError> {
        self.take_turn(call.deadline)?;
        let turn = Turn(self);
        let done = Done(seats, core::marker::PhantomData);
        seats.refresh(self.epoch_of_strangers()).map_err(CallError::System)?;
        let first = call.operation.run().map_err(CallError::First)?;
        let own = self.reach.seat();
        // SAFETY: the sweep below clears it before this returns, however it does (I1).
        let round = self.publish(unsafe { call.operation.for_ever() });
        let mut sweep = Sweep {
            all: self,
            seats,
            call,
            round,
            own,
            undone: None,
            first,
            gone: 0,
            abandoned: (0, None),
            fruitless: 0,
            counted: None,
            heard: false,
            over: false,
        };
        own.inspect(|seat| seat.ran_first(round, Ok(first)));
        let report = sweep.go_on();
        drop((sweep, done, turn));
        Ok(report)
    }

    /// By who has the turn, when nobody is asked: by `call_in_turn`, and by `undo` once all have answered.
    fn publish(&self, operation: Operation<'static>) -> u32 {
        // SAFETY: the calling thread has the turn, and asks nobody (I1).
        self.operation.with_mut(|place| unsafe { *place = Some(operation) });
        // ORDERING: Relaxed: written by turns; read by those who are asked (E1), or as a hint.
        let round = (self.round.load(Relaxed) & !ACTIVE).wrapping_add(ROUND);
        self.round.store(round | ACTIVE, Relaxed);
        round
    }
}

impl<R: Reach, S: Seats<R> + ?Sized> Sweep<'_, R, S> {
    /// Sweeps and waits until a sweep finds nobody, or until the call is abandoned.
    fn go_on(&mut self) -> Report {
        let mut deadline = self.call.deadline.copied();
        let mut swept = false;
        loop {
            let answered = self.wait(deadline.as_ref());
            if !answered && self.take_back() > 0 || swept && self.is_endless(deadline.as_ref()) {
                match self.late() {
                    Late::Until(next) => deadline = Some(next),
                    Late::Wait => deadline = None,
                    Late::Abandon => return self.abandon(),
                }
            }
            if self.ask() > 0 {
                swept = true;
                self.all.remind();
            } else if !self.undo() {
                return self.end();
            }
        }
    }

    /// All have answered, and there are others again: threads that come as fast as they are asked do not
    /// keep the call beyond its deadline, nor do those that are never there.
    fn is_endless(&mut self, deadline: Option<&Deadline>) -> bool {
        if self.fruitless < FRUITLESS && !deadline.is_some_and(Deadline::has_passed) {
            return false;
        }
        self.fruitless = 0;
        _ = self.seats.refresh(self.all.epoch_of_strangers());
        self.missing().0 > 0
    }

    /// What is to be done about those that have not run it. Nobody is asked.
    fn late(&self) -> Late {
        let Some(late) = self.call.late else { return Late::Abandon };
        let each = |look: &mut dyn FnMut(&Seat<R>)| {
            self.seats.each(&mut |seat| {
                if self.is_missing(seat) {
                    look(seat);
                }
            });
        };
        late(&Missing { each: &each })
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
        // SAFETY: as in `call_in_turn`; all have answered, and `end` clears it.
        self.round = self.all.publish(unsafe { operation.for_ever() });
        // The first one's comes last.
        self.all.reach.seat().inspect(|seat| seat.ran_first(self.round, Ok(self.first)));
        true
    }

    /// Asks all that have not run it, and says how many.
    fn ask(&mut self) -> u32 {
        let (all, round, undone, first) = (self.all, self.round, self.undone, self.first);
        let own = self.own;
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
        self.fruitless = if gone > 0 && gone == asked.1 { self.fruitless + 1 } else { 0 };
        self.counted = (asked.1 == 0).then_some(counted);
        asked.1
    }

    /// Until all have answered; false if the deadline comes first, or without one if nobody is waited for
    /// but threads that cannot be reached.
    fn wait(&mut self, deadline: Option<&Deadline>) -> bool {
        let (mut before, mut patience) = (0, None);
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
                Wait::Look if left == before => {
                    if !self.look() {
                        patience = None;
                    } else if deadline.is_none()
                        && patience.get_or_insert_with(|| Deadline::after(PATIENCE)).has_passed()
                    {
                        return false;
                    }
                }
                Wait::Look => before = left,
            }
        }
    }

    /// Looks after those that have not answered, and does not wait for the dead. True if those that are left
    /// cannot be reached.
    fn look(&mut self) -> bool {
        let (mut buried, mut unreachable) = (0, 0);
        // Somebody may have taken the handler out since they were asked.
        // SAFETY: of this reach, during a call.
        _ = unsafe { self.all.reach.prepare() };
        self.seats.each(&mut |seat| {
            let Some((name, has_begun)) = seat.hold_awaited() else { return };
            // SAFETY: the name is of a thread that is held in its seat.
            match unsafe { self.all.reach.look_after(name, has_begun) } {
                Silence::Gone if seat.bury() => {
                    buried += 1;
                    self.all.acknowledge();
                }
                Silence::Gone => {}
                silence => {
                    seat.let_go();
                    unreachable += u32::from(silence == Silence::Unreachable);
                }
            }
        });
        self.gone += buried;
        // ORDERING: Relaxed: a look.
        unreachable > 0 && self.all.pending.load(Relaxed) == unreachable
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
        // Whatever a reach says: the operation goes after this (all_threads deadline_while_it_runs).
        while !self.wait(None) {}
        taken
    }

    /// Leaves those alone that have not run it.
    fn abandon(&mut self) -> Report {
        self.abandoned = self.missing();
        self.end()
    }

    /// How many have not run it, and the name of one.
    fn missing(&self) -> (u32, Option<usize>) {
        let mut missing = (0, None);
        self.seats.each(&mut |seat| {
            if self.is_missing(seat) {
                missing = (missing.0 + 1, missing.1.or(seat.thread()));
            }
        });
        missing
    }

    fn is_missing(&self, seat: &Seat<R>) -> bool {
        let to_undo = |(before, _)| matches!(seat.result(before), Some(Ok(_)));
        seat.is_missing(self.round) && self.undone.is_none_or(to_undo)
    }

    /// Each other thread that has run the round, once all have answered.
    fn results(&self, mut hear: impl FnMut(&Seat<R>, Result<i32, Errno>)) {
        self.seats.each(&mut |seat| {
            if let Some(result) = others(seat, self.round, self.own) {
                hear(seat, result);
            }
        });
    }

    fn counted_now(&self) -> (u32, u32) {
        let (mut counted, of) = ((0, 0), (self.round, self.first));
        self.seats.each(&mut |seat| count(&mut counted, seat, of, self.own));
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
        let Self { first, gone, abandoned: (abandoned, missing), .. } = *self;
        Report { first, others, mismatches, gone, abandoned, missing }
    }

    /// All have answered.
    fn end(&mut self) -> Report {
        self.over = true;
        // Cleared by a panic of what follows, too.
        let _published = Published { all: self.all, round: self.round };
        let report = match self.undone {
            None => {
                self.hear();
                self.report()
            }
            Some((_, report)) => {
                if let Mismatch::Undo(operation) = self.call.mismatch {
                    // There is nobody to tell what it returns.
                    let _ = operation.run();
                }
                let (abandoned, missing) = self.abandoned;
                Report { gone: self.gone, abandoned, missing, ..report }
            }
        };
        if report.mismatches > 0 && matches!(self.call.mismatch, Mismatch::Abort) {
            self.all.reach.abort();
        }
        report
    }
}

/// A round that nobody is asked to run any more.
struct Published<'a, R: Reach> {
    all: &'a AllThreads<R>,
    round: u32,
}

impl<R: Reach> Drop for Published<'_, R> {
    fn drop(&mut self) {
        // SAFETY: the calling thread has the turn, and all that it asked have answered (I1).
        self.all.operation.with_mut(|place| unsafe { *place = None });
        // ORDERING: Relaxed: as in `publish`.
        self.all.round.store(self.round, Relaxed);
    }
}

/// What came of the round on this seat's thread, if that is another one and has run it.
fn others<R>(seat: &Seat<R>, round: u32, own: Option<&Seat<R>>) -> Option<Result<i32, Errno>> {
    seat.result(round).filter(|_| !own.is_some_and(|own| core::ptr::eq(own, seat)))
}

fn count<R>(
    sum: &mut (u32, u32),
    seat: &Seat<R>,
    (round, first): (u32, i32),
    own: Option<&Seat<R>>,
) {
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
        // SAFETY: the name is of a thread that `Seat::ask` has left HELD in its seat (I4).
        Hears::Interrupt(name) => unsafe { all.reach.interrupt(name) }.unwrap_or(true),
        Hears::Wake(address) => {
            let waker = core::ptr::with_exposed_provenance::<WakeFn<'_>>(address);
            // SAFETY: `Member::cooperate` keeps it until this lets its seat go (I4).
            unsafe { (*waker).wake() };
            true
        }
    }
}

/// By a panic of what the caller has given: nobody is asked, and nobody runs it, when the operation goes.
impl<R: Reach, S: Seats<R> + ?Sized> Drop for Sweep<'_, R, S> {
    fn drop(&mut self) {
        if !self.over {
            self.take_back();
            let _ = self.abandon();
        }
    }
}

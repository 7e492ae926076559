//! A registered thread's own side: joining, being reached, creating threads, leaving.

use core::fmt;
use core::marker::PhantomData;

use super::host::{Reach, SeatLocal};
use super::seat::{COOPERATIVE, LIVE};
use super::{AllThreads, JoinError, Seat, WakeFn};
use crate::note::{Deadline, Note, Park, Waited};
use crate::sys::Mask;

/// The calling thread has a seat while this is alive. If it is forgotten the thread leaves its seat as it
/// ends, or where the reach does not tell of that calls find it out from the system. Once the thread has
/// left its seat in that way, this is good for nothing, and does nothing.
#[must_use = "the thread is no longer registered when this is dropped"]
pub struct Member<R: Reach> {
    all: &'static AllThreads<R>,
    seat: &'static Seat<R>,
    /// Not `Send`: the seat is its thread's.
    own: PhantomData<*const ()>,
}

/// A seat for a thread that is being created.
///
/// While the creating thread has it, no operation runs on that thread: the new one begins with just
/// what the seat says it has inherited. Given up if dropped.
#[must_use = "hand it to the new thread"]
pub struct Birth<R: Reach> {
    all: &'static AllThreads<R>,
    seat: &'static Seat<R>,
    /// What the creating thread masked before, and the new one shall: it inherits all masked.
    mask: Mask,
}

impl<R: Reach> AllThreads<R> {
    /// Registers the calling thread. One that does so while a call waits for others runs the operation,
    /// whatever it has inherited of it: a thread that is created by another registered one should be so
    /// through [`Member::create`] or `Member::spawn`. Not async-signal-safe.
    ///
    /// # Errors
    ///
    /// See [`JoinError`].
    pub fn join(&'static self, seat: &'static Seat<R>) -> Result<Member<R>, JoinError> {
        self.may_join()?;
        self.engaged(|| {
            seat.reserve(self.epoch_of_strangers(), 0)?;
            Ok(self.take_seat(seat))
        })
    }

    fn may_join(&'static self) -> Result<(), JoinError> {
        self.here(|here| match () {
            () if here.seat().is_some() => Err(JoinError::AlreadyJoined),
            () if here.has_ended() => Err(JoinError::ThreadEnding),
            () if here.is_engaged() => Err(JoinError::Engaged),
            () => Ok(()),
        })?;
        // SAFETY: of this reach, and a static; the calling thread joins.
        let ready = unsafe { self.reach.prepare().and_then(|()| self.reach.watch_end()) };
        ready.map_err(JoinError::System)
    }

    fn take_seat(&'static self, seat: &'static Seat<R>) -> Member<R> {
        seat.sit(self.reach.current());
        self.here(|here| here.set(Some(seat)));
        seat.settle(self, LIVE);
        Member { all: self, seat, own: PhantomData }
    }

    /// The calling thread's.
    fn leave_seat(&self, seat: &Seat<R>) {
        seat.be_busy();
        // Before the seat may be another's: a handler of this thread must not take it for its own.
        self.here(|here| here.set(None));
        seat.settle(self, 0);
    }

    /// By the calling thread as it ends: leaves the seat that it may still have, its [`Member`] forgotten or
    /// not dropped yet. From then on it is refused another.
    ///
    /// # Safety
    ///
    /// The calling thread ends, and is not in a handler, a call, an operation, or in the middle of joining,
    /// leaving or creating a thread: for [`Reach::watch_end`].
    pub unsafe fn thread_ends(&self) {
        self.engaged(|| {
            self.here(SeatLocal::end);
            if let Some(seat) = self.here(SeatLocal::seat) {
                self.leave_seat(seat);
            }
        });
    }
}

impl<R: Reach> Member<R> {
    /// Not so once the thread has left its seat as it ends: that may be another's by now.
    fn is_here(&self) -> bool {
        let seat = self.all.here(SeatLocal::seat);
        seat.is_some_and(|seat| core::ptr::eq(seat, self.seat))
    }

    /// Runs the operation if one is asked for and was not run yet. For a thread that the system's
    /// signal would reach anyway this is only sooner. Two loads; async-signal-safe as far as the
    /// operation is.
    pub fn poll(&self) -> bool {
        self.is_here() && self.seat.poll(self.all)
    }

    /// The calling thread's seat.
    #[must_use]
    pub fn seat(&self) -> &'static Seat<R> {
        self.seat
    }

    /// Runs `body`, in which the thread sleeps until somebody calls the waker and then comes to
    /// [`poll`](Self::poll): it is woken instead of interrupted. A handler may interrupt it all the
    /// same, and runs the operation then. `body` may be left by a panic. Inside
    /// [`create`](Self::create) or an operation it is just run: the thread is not reached there.
    pub fn cooperate<T>(&self, waker: &WakeFn<'_>, body: impl FnOnce(&Self) -> T) -> T {
        if !self.is_here() || self.seat.is_engaged() {
            return body(self);
        }
        self.seat.be_busy();
        let _back = Back { member: self, before: self.seat.standing() };
        self.seat.be_woken_by(waker);
        self.seat.settle(self.all, LIVE | COOPERATIVE);
        body(self)
    }

    /// Sleeps on the note; wakes up for operations, runs them and returns early, as notes may.
    pub fn sleep(&self, note: &Note, deadline: Option<&Deadline>) -> Waited {
        self.cooperate(&WakeFn::note(note), |member| {
            // Asked before the waker was there: it has run. Asked since: it was woken.
            let waited = note.sleep(deadline);
            member.poll();
            waited
        })
    }

    /// Creates a thread by `create`, which is given the seat's birth to hand to the new thread, or to
    /// drop if there will be none. No operation runs on the calling thread meanwhile: the new one
    /// inherits what was run before, and runs itself what comes after. Go's allocmLock.
    ///
    /// All signals that may wait are masked meanwhile, and on the new thread until it has begun: a handler
    /// that called there would wait for a call that waits for its thread. Not so where the crate is built
    /// neither for Unix nor for Windows: there the runtime sees to it.
    ///
    /// `Member::spawn` does so for a thread of the standard library's, without `unsafe`.
    ///
    /// # Errors
    ///
    /// The seat is another thread's: [`JoinError::SeatTaken`]. The calling thread has left its own:
    /// [`JoinError::ThreadEnding`].
    ///
    /// # Safety
    ///
    /// The birth is begun on the thread that `create` creates, before all else there, or dropped if there is
    /// none; it is not kept. Calls wait for it: for one that is kept, for ever.
    pub unsafe fn create<T>(
        &self,
        seat: &'static Seat<R>,
        create: impl FnOnce(Birth<R>) -> T,
    ) -> Result<T, JoinError> {
        if !self.is_here() {
            return Err(JoinError::ThreadEnding);
        }
        let nested = self.seat.is_engaged();
        if !nested {
            self.seat.be_busy();
        }
        let _back = (!nested).then(|| Back { member: self, before: self.seat.standing() });
        let masked = Masked::new();
        let (epoch, result) = self.seat.legacy();
        seat.reserve(epoch, result)?;
        Ok(create(Birth { all: self.all, seat, mask: masked.0 }))
    }
}

/// The calling thread masks again what it did, or what its creator did, when this is dropped.
struct Masked(Mask);

impl Masked {
    fn new() -> Self {
        Self(Mask::all_but(&[]))
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        self.0.restore();
    }
}

/// The thread is reached again as it was before; its waker, if it had another one since, is not called
/// any more.
struct Back<'a, R: Reach> {
    member: &'a Member<R>,
    before: (usize, u32),
}

impl<R: Reach> Drop for Back<'_, R> {
    fn drop(&mut self) {
        let (Member { all, seat, .. }, (name, flags)) = (self.member, self.before);
        if !self.member.is_here() {
            return;
        }
        seat.be_busy();
        // Perhaps another one by now: in the child of a fork.
        seat.sit(if flags & COOPERATIVE == 0 { all.reach.current() } else { name });
        seat.settle(*all, flags);
    }
}

impl<R: Reach> Birth<R> {
    /// On the new thread, before anything else: runs what was asked for since its creation.
    ///
    /// # Errors
    ///
    /// As for [`AllThreads::join`]; the birth is given up.
    pub fn begin(self) -> Result<Member<R>, JoinError> {
        // Dropped after the birth, which a refusal gives up.
        let _masked = Masked(self.mask);
        let birth = self;
        let (all, seat) = (birth.all, birth.seat);
        all.may_join()?;
        core::mem::forget(birth);
        Ok(all.engaged(|| all.take_seat(seat)))
    }
}

impl<R: Reach> Drop for Birth<R> {
    fn drop(&mut self) {
        self.seat.vacate(self.all);
    }
}

impl<R: Reach> Drop for Member<R> {
    fn drop(&mut self) {
        if self.is_here() {
            self.all.engaged(|| self.all.leave_seat(self.seat));
        }
    }
}

impl<R: Reach> fmt::Debug for Member<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("seat", &self.seat).finish_non_exhaustive()
    }
}

impl<R: Reach> fmt::Debug for Birth<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Birth").field("seat", &self.seat).finish_non_exhaustive()
    }
}

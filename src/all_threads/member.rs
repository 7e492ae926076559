//! A registered thread's own side: joining, being reached, creating threads, leaving.

use core::fmt;
use core::marker::PhantomData;

use super::seat::{COOPERATIVE, LIVE};
use super::{AllThreads, JoinError, Reach, Seat};
use crate::note::{Note, Park};

/// How a thread that does not run is woken so that it looks at its seat, instead of interrupted.
///
/// Called by the thread that calls for the operation; must be async-signal-safe.
pub struct Waker<'a>(pub(super) &'a (dyn Fn() + Sync));

impl<'a> Waker<'a> {
    /// Woken by this.
    pub fn new(wake: &'a (dyn Fn() + Sync)) -> Self {
        Self(wake)
    }
}

/// The calling thread has a seat while this is alive. It ends registered never: if this is
/// forgotten, calls find that out from the system.
#[must_use = "the thread is no longer registered when this is dropped"]
pub struct Member<R: Reach + 'static> {
    all: &'static AllThreads<R>,
    seat: &'static Seat,
    /// Not `Send`: the seat is its thread's.
    own: PhantomData<*const ()>,
}

/// A seat for a thread that is being created.
///
/// While the creating thread has it, no operation runs on that thread: the new one begins with just
/// what the seat says it has inherited. Given up if dropped.
#[must_use = "hand it to the new thread"]
pub struct Birth<R: Reach + 'static> {
    all: &'static AllThreads<R>,
    seat: &'static Seat,
}

impl<R: Reach> AllThreads<R> {
    /// Registers the calling thread. One that does so while a call waits for others runs the operation,
    /// whatever it has inherited of it: a thread that is created by another registered one should be so through
    /// [`Member::create`]. Not async-signal-safe.
    ///
    /// # Errors
    ///
    /// See [`JoinError`].
    pub fn join(&'static self, seat: &'static Seat) -> Result<Member<R>, JoinError> {
        let here = self.reach.here();
        if here.seat().is_some() {
            return Err(JoinError::AlreadyJoined);
        }
        self.reach.prepare().map_err(JoinError::System)?;
        here.engaged(|| {
            seat.reserve(self.epoch_of_strangers(), 0)?;
            Ok(self.take_seat(seat))
        })
    }

    fn take_seat(&'static self, seat: &'static Seat) -> Member<R> {
        seat.sit(self.reach.current());
        self.reach.here().set(Some(seat));
        seat.settle(self, LIVE);
        Member { all: self, seat, own: PhantomData }
    }
}

impl<R: Reach> Member<R> {
    /// Runs the operation if one is asked for and was not run yet. For a thread that the system's
    /// signal would reach anyway this is only sooner. One load; async-signal-safe as far as the
    /// operation is.
    pub fn poll(&self) -> bool {
        self.seat.poll(self.all)
    }

    /// The calling thread's seat.
    #[must_use]
    pub fn seat(&self) -> &'static Seat {
        self.seat
    }

    /// Runs `body`, in which the thread sleeps until somebody calls the waker and then comes to
    /// [`poll`](Self::poll): it is woken instead of interrupted. A handler may interrupt it all the
    /// same, and runs the operation then. `body` may be left by a panic. Inside
    /// [`create`](Self::create) or an operation it is just run: the thread is not reached there.
    pub fn cooperate<T>(&self, waker: &Waker<'_>, body: impl FnOnce(&Self) -> T) -> T {
        if self.seat.is_engaged() {
            return body(self);
        }
        self.seat.be_busy();
        let _back = Back { member: self, before: self.seat.standing() };
        self.seat.be_woken_by(waker);
        self.seat.settle(self.all, LIVE | COOPERATIVE);
        body(self)
    }

    /// Sleeps on the note; wakes up for operations, runs them and returns early, as notes may.
    pub fn sleep(
        &self,
        note: &Note,
        deadline: Option<&crate::note::Deadline>,
    ) -> crate::note::Waited {
        let wake = || note.wake();
        self.cooperate(&Waker::new(&wake), |member| {
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
    /// # Errors
    ///
    /// The seat is another thread's.
    pub fn create<T>(
        &self,
        seat: &'static Seat,
        create: impl FnOnce(Birth<R>) -> T,
    ) -> Result<T, JoinError> {
        let nested = self.seat.is_engaged();
        if !nested {
            self.seat.be_busy();
        }
        let _back = (!nested).then(|| Back { member: self, before: self.seat.standing() });
        let (epoch, result) = self.seat.legacy();
        seat.reserve(epoch, result)?;
        Ok(create(Birth { all: self.all, seat }))
    }
}

/// The thread is reached again as it was before; its waker, if it had another one since, is not called
/// any more.
struct Back<'a, R: Reach + 'static> {
    member: &'a Member<R>,
    before: (usize, u32),
}

impl<R: Reach> Drop for Back<'_, R> {
    fn drop(&mut self) {
        let (Member { all, seat, .. }, (name, flags)) = (self.member, self.before);
        seat.be_busy();
        // Perhaps another one by now: in the child of a fork.
        seat.sit(if flags & COOPERATIVE == 0 { all.reach.current() } else { name });
        seat.settle(*all, flags);
    }
}

impl<R: Reach> Birth<R> {
    /// On the new thread, before anything else: runs what was asked for since its creation.
    pub fn begin(self) -> Member<R> {
        let (all, seat) = (self.all, self.seat);
        core::mem::forget(self);
        all.reach.here().engaged(|| all.take_seat(seat))
    }
}

impl<R: Reach> Drop for Birth<R> {
    fn drop(&mut self) {
        self.seat.vacate(self.all);
    }
}

impl<R: Reach> Drop for Member<R> {
    fn drop(&mut self) {
        let here = self.all.reach.here();
        here.engaged(|| {
            self.seat.be_busy();
            // Before the seat may be another's: a handler of this thread must not take it for its own.
            here.set(None);
            self.seat.settle(self.all, 0);
        });
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

impl fmt::Debug for Waker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

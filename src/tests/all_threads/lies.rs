//! Seats that lie, panic and call again; members that outlive their thread's registration; what may be
//! sent where.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{Seat, THREADS, Told, World, operation, report, unnamed, world};
use crate::all_threads::host::Wait;
use crate::all_threads::{
    AllThreads, Birth, Call, CallError, Errno, JoinError, Late, Member, Missing, Operation, Report,
    Seats, WakeFn,
};
use crate::note::{Deadline, Note, Park};
use crate::sigqueue::{Event, SignalQueue};
use crate::sync::{AtomicBool, AtomicU32, Ordering::*};

/// Tells of the seats as this says, each time another way: told how often it was asked.
struct Liar<'a, F: Fn(u32, &mut dyn FnMut(&Seat))>(&'a F, Cell<u32>);

impl<F: Fn(u32, &mut dyn FnMut(&Seat))> Seats<Told> for Liar<'_, F> {
    fn each(&self, look: &mut dyn FnMut(&Seat)) {
        let before = self.1.get();
        self.1.set(before + 1);
        (self.0)(before, look);
    }
}

fn call_by(world: &World, tell: impl Fn(u32, &mut dyn FnMut(&Seat))) -> Result<Report, CallError> {
    let run = || world.run();
    world.all.call(&Liar(&tell, Cell::new(0)), Call::new(operation(&run)))
}

/// One seat told thrice in a sweep is asked once: it owes one answer.
#[test]
fn a_seat_is_told_again() {
    let world = world();
    let told = world.told();
    let member = world.join(1, 0).unwrap();
    let thrice = |_, look: &mut dyn FnMut(&Seat)| (0..3).for_each(|_| look(&world.seats[0]));
    assert_eq!(call_by(&world, thrice).unwrap().gone, 0);
    assert_eq!((world.ran(), told.interrupted.get()), ([1, 1, 0, 0], 1));
    // The same of one that does not answer at once.
    told.masked[1].set(true);
    told.wait.set(Some(Wait::TimedOut));
    assert_eq!(call_by(&world, thrice).unwrap().abandoned, 3, "as often as it was told");
    told.unmask(1);
    assert_eq!(world.ran(), [2, 1, 0, 0]);
    world.leave(1, member);
}

/// A seat that was asked and is told no more: the call waits for its thread, whatever the deadline is, and
/// until then the operation stays.
#[test]
fn a_seat_is_told_no_more() {
    struct Waits<'a>(&'a World, Cell<u32>);
    impl Seats<Told> for Waits<'_> {
        fn each(&self, look: &mut dyn FnMut(&Seat)) {
            match self.1.replace(self.1.get() + 1) {
                0 => self.0.seats.iter().for_each(look),
                // As it is to be taken back: it is told of nobody, and meanwhile the thread comes to it.
                _ => self.0.told().unmask(1),
            }
        }
    }
    let world = world();
    let member = world.join(1, 0).unwrap();
    world.told().masked[1].set(true);
    world.told().wait.set(Some(Wait::TimedOut));
    let run = || world.run();
    let waits = Waits(&world, Cell::new(0));
    let done = world.all.call(&waits, Call::new(operation(&run)));
    assert_eq!(done.map(|done| done.abandoned), Ok(0));
    assert_eq!(world.ran(), [1, 1, 0, 0], "it has run it, while it was borrowed");
    world.leave(1, member);
}

/// A panic in the first sweep, in a later one, or when the call is over, ends the call: nobody is asked, and
/// the turn is given up.
#[test]
fn seats_panic() {
    struct Over<'a>(&'a World);
    impl Seats<Told> for Over<'_> {
        fn each(&self, look: &mut dyn FnMut(&Seat)) {
            self.0.seats.iter().for_each(look);
        }
        fn done(&self) {
            panic!("it is over");
        }
    }
    let world = world();
    let told = world.told();
    let members = [1, 2].map(|thread| world.join(thread, thread).unwrap());
    told.masked[2].set(true);
    told.wait.set(Some(Wait::TimedOut));
    for at in 0..3 {
        let panics = |asked, look: &mut dyn FnMut(&Seat)| {
            // In the middle of it.
            world.seats[..2].iter().for_each(&mut *look);
            assert_ne!(asked, at, "in the seats");
            world.seats[2..].iter().for_each(look);
        };
        let ended = catch_unwind(AssertUnwindSafe(|| call_by(&world, panics)));
        assert!(ended.is_err(), "at {at}");
        let ran = world.ran();
        told.unmask(2);
        assert_eq!(world.ran(), ran, "what was asked is taken back");
        told.masked[2].set(true);
        assert_eq!(world.call(), report(1, 0, 1), "the turn was given up");
    }
    let run = || world.run();
    let over = || world.all.call(&Over(&world), Call::new(operation(&run)));
    assert!(catch_unwind(AssertUnwindSafe(over)).is_err());
    assert_eq!(world.call(), report(1, 0, 1), "the turn was given up");
    // Who is asked what comes after the deadline.
    let panics = |_: &Missing<'_, Told>| panic!("late");
    let deadline = Deadline::after(Duration::ZERO);
    let call = Call::new(operation(&run)).until(&deadline).when_late(&panics);
    let late = || world.all.call(world.seats, call);
    assert!(catch_unwind(AssertUnwindSafe(late)).is_err());
    assert_eq!(world.call(), report(1, 0, 1), "the turn was given up");
    for (at, member) in members.into_iter().enumerate() {
        world.leave(at + 1, member);
    }
}

/// Seats that call, join and leave: each a typed error, or what it would be elsewhere.
#[test]
fn seats_call_again() {
    let world = world();
    let own = RefCell::new(None);
    let nested = |_, look: &mut dyn FnMut(&Seat)| {
        assert_eq!(world.call(), Err(CallError::Engaged));
        let joined = world.join(0, 3).map(drop);
        let expected =
            if own.borrow().is_some() { JoinError::AlreadyJoined } else { JoinError::Engaged };
        assert_eq!(joined, Err(expected));
        world.seats.iter().for_each(look);
    };
    let member = world.join(1, 0).unwrap();
    assert_eq!(call_by(&world, nested), report(1, 0, 0));
    *own.borrow_mut() = Some(world.join(0, 1).unwrap());
    assert_eq!(call_by(&world, nested), report(1, 0, 0));
    // The calling thread's own seat is left in the middle of a sweep.
    let leaves = |asked, look: &mut dyn FnMut(&Seat)| {
        world.seats[..1].iter().for_each(&mut *look);
        if asked == 0 {
            drop(own.take());
        }
        world.seats[1..].iter().for_each(look);
    };
    assert_eq!(call_by(&world, leaves), report(1, 0, 0));
    assert_eq!(world.ran(), [3, 3, 0, 0]);
    assert_eq!(world.call(), report(1, 0, 0));
    world.leave(1, member);
}

/// Once its thread has left as it ends, a member is good for nothing, and does no harm to the next one in
/// the seat.
#[test]
fn a_member_outlives_its_seat() {
    let world = world();
    let told = world.told();
    let stale = world.join(1, 0).unwrap();
    // SAFETY: thread 1 ends.
    told.as_thread(1, || unsafe { world.all.thread_ends() });
    assert_eq!(world.call(), report(0, 0, 0), "it is not named any more");
    assert_eq!(world.join(1, 1).map(drop), Err(JoinError::ThreadEnding));
    let next = world.join(2, 0).unwrap();
    told.masked[2].set(true);
    told.wait.set(Some(Wait::TimedOut));
    let late = |_: &Missing<'_, Told>| {
        told.as_thread(1, || {
            assert!(!stale.poll());
            let note = Note::new();
            stale.cooperate(&WakeFn::note(&note), |_| ());
            // SAFETY: dropped.
            let born = unsafe { stale.create(&world.seats[1], drop::<Birth<Told>>) };
            assert_eq!(born, Err(JoinError::ThreadEnding));
        });
        Late::Abandon
    };
    let (run, deadline) = (|| world.run(), Deadline::after(Duration::ZERO));
    let call = Call::new(operation(&run)).until(&deadline).when_late(&late);
    assert_eq!(unnamed(world.all.call(world.seats, call)), report(0, 0, 1));
    world.leave(1, stale);
    told.unmask(2);
    assert_eq!(world.call(), report(1, 0, 0), "the next one is where it was");
    world.leave(2, next);
    // A thread without a seat ends, too.
    // SAFETY: thread 3 ends.
    told.as_thread(3, || unsafe { world.all.thread_ends() });
    assert_eq!(world.join(3, 3).map(drop), Err(JoinError::ThreadEnding));
}

/// A call finds thread 3 asleep, and wakes it.
fn told_asleep(world: &World, sleeper: &Member<Told>, waker: &WakeFn<'_>) {
    world.told().wait.set(Some(Wait::TimedOut));
    world.told().as_thread(3, || {
        sleeper.cooperate(waker, |_| {
            world.told().as_thread(0, || assert_eq!(world.call(), report(0, 0, 1)));
        });
    });
}

/// Those that need no `unsafe`.
#[test]
fn ready_made_operations() {
    let world = world();
    let members = [1, 2].map(|thread| world.join(thread, thread).unwrap());
    let (flag, count) = (AtomicBool::new(false), AtomicU32::new(0));
    let each = [Operation::flag(&flag), Operation::count(&count), Operation::barrier()];
    for operation in each {
        assert_eq!(world.all.call(world.seats, Call::new(operation)), report(2, 0, 0));
    }
    assert_eq!((flag.load(Relaxed), count.load(Relaxed)), (true, 3));
    for (at, member) in members.into_iter().enumerate() {
        world.leave(at + 1, member);
    }
    let (note, queue) = (Note::new(), SignalQueue::new());
    [WakeFn::note(&note), WakeFn::fixup(&queue)].iter().for_each(|waker| {
        // As a call does.
        let sleeper = world.join(3, 3).unwrap();
        told_asleep(&world, &sleeper, waker);
        world.leave(3, sleeper);
    });
    note.sleep(None);
    let mut ran = 0;
    let mut receiver = queue.receiver().unwrap();
    let deadline = Deadline::after(Duration::ZERO);
    assert!(matches!(receiver.recv(Some(&deadline), || ran += 1), Event::TimedOut));
    assert_eq!(ran, 1);
}

/// An undoing that is abandoned says so.
#[test]
fn an_undoing_is_abandoned() {
    let world = world();
    let told = world.told();
    let members = [1, 2].map(|thread| world.join(thread, thread).unwrap());
    told.wait.set(Some(Wait::TimedOut));
    let differs = || match told.now.get() {
        1 => {
            // It hears of nothing from here on.
            told.masked[1].set(true);
            Ok(0)
        }
        2 => Err(Errno(9)),
        _ => Ok(0),
    };
    let undo = || world.run();
    let call = Call::new(operation(&differs));
    let call = call.on_mismatch(crate::all_threads::Mismatch::Undo(operation(&undo)));
    let done = world.all.call(world.seats, call).unwrap();
    assert_eq!((done.mismatches, done.abandoned, done.is_complete()), (1, 1, false));
    assert_eq!(world.ran(), [1, 0, 0, 0], "the first one alone has undone it");
    told.unmask(1);
    for (at, member) in members.into_iter().enumerate() {
        world.leave(at + 1, member);
    }
}

#[test]
fn errors_name_their_sources() {
    use std::error::Error;
    let sources = [
        (CallError::First(Errno(1)).source().is_some(), true),
        (CallError::System(Errno(1)).source().is_some(), true),
        (CallError::Engaged.source().is_some(), false),
        (JoinError::System(Errno(1)).source().is_some(), true),
        (JoinError::ThreadEnding.source().is_some(), false),
    ];
    assert!(sources.iter().all(|(is, expected)| is == expected), "{sources:?}");
    let raw = |error: std::io::Error| error.raw_os_error();
    assert_eq!(raw(CallError::First(Errno(7)).into()), Some(7));
    assert_eq!(raw(JoinError::System(Errno(7)).into()), Some(7));
    assert_eq!(std::io::Error::from(CallError::TimedOut).kind(), std::io::ErrorKind::TimedOut);
}

/// What goes from thread to thread, and what is shared by threads. A member is its thread's
/// (`tests/hostile`).
#[test]
fn threads_share_these() {
    fn both<T: Send + Sync>() {}
    both::<AllThreads<Told>>();
    both::<Seat>();
    both::<Birth<Told>>();
    both::<Operation<'_>>();
    both::<WakeFn<'_>>();
    both::<Report>();
    both::<Late>();
    both::<CallError>();
    both::<JoinError>();
    both::<Wait>();
    both::<crate::all_threads::host::SeatLocal<Told>>();
    both::<crate::all_threads::Mismatch<'_>>();
    both::<crate::all_threads::SpawnError>();
    assert_eq!(THREADS, 4);
}

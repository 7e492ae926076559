//! Operations on threads that do as they are told, one at a time: every state with every event against
//! the tables in [`crate::all_threads`], and random histories against a plain reference.

mod births;
mod lies;
mod silent;

use std::cell::{Cell, RefCell};

use proptest::prelude::*;

use crate::all_threads::host::{Reach, SeatLocal, Silence, Wait};
use crate::all_threads::{
    AllThreads, Call, CallError, Errno, JoinError, Late, Member, Mismatch, Missing, Operation,
    Report, WakeFn,
};
use crate::note::Deadline;
use crate::sync::AtomicU32;

const THREADS: usize = 4;

/// Which thread runs is the test's to say; a signal is handled at once, unless it is masked.
#[derive(Debug, Default)]
struct Told {
    here: [SeatLocal<Self>; THREADS],
    now: Cell<usize>,
    masked: [Cell<bool>; THREADS],
    ended: [Cell<bool>; THREADS],
    /// Interrupted while masked.
    pending: [Cell<bool>; THREADS],
    interrupted: Cell<u32>,
    ran: [Cell<u32>; THREADS],
    wait: Cell<Option<Wait>>,
    unreachable: [Cell<bool>; THREADS],
    /// Times somebody was looked after.
    looked: Cell<u32>,
    /// Which thread is to answer after how many more of them.
    answers_after: Cell<(usize, u32)>,
    all: RefCell<Option<&'static AllThreads<Told>>>,
}

// SAFETY: one thread uses it.
unsafe impl Sync for Told {}

impl Told {
    fn as_thread<T>(&self, thread: usize, body: impl FnOnce() -> T) -> T {
        let before = self.now.replace(thread);
        let done = body();
        self.now.set(before);
        done
    }
    fn all(&self) -> &'static AllThreads<Self> {
        self.all.borrow().expect("set by `world`")
    }
    fn unmask(&self, thread: usize) {
        self.masked[thread].set(false);
        if self.pending[thread].replace(false) {
            self.as_thread(thread, || self.all().on_signal());
        }
    }
}

type Seat = crate::all_threads::Seat<Told>;

// SAFETY: each thread has a `here` of its own, for ever. A thread that has ended runs nothing.
unsafe impl Reach for Told {
    fn here(&self) -> *const SeatLocal<Self> {
        &raw const self.here[self.now.get()]
    }
    fn current(&self) -> usize {
        self.now.get() + 1
    }
    unsafe fn prepare(&self) -> Result<(), Errno> {
        Ok(())
    }
    unsafe fn interrupt(&self, name: usize) -> Result<bool, Errno> {
        let thread = name - 1;
        self.interrupted.set(self.interrupted.get() + 1);
        match () {
            () if self.ended[thread].get() => return Ok(false),
            () if self.masked[thread].get() => self.pending[thread].set(true),
            () => _ = self.as_thread(thread, || self.all().on_signal()),
        }
        Ok(true)
    }
    unsafe fn look_after(&self, name: usize, has_begun: bool) -> Silence {
        self.looked.set(self.looked.get() + 1);
        match self.answers_after.get() {
            (_, 0) => {}
            (thread, 1) => {
                self.answers_after.set((0, 0));
                self.unmask(thread);
            }
            (thread, left) => self.answers_after.set((thread, left - 1)),
        }
        // SAFETY: as the caller promises.
        match !has_begun && unsafe { self.interrupt(name) } == Ok(false) {
            true => Silence::Gone,
            false if self.unreachable[name - 1].get() => Silence::Unreachable,
            false => Silence::Lives,
        }
    }
    fn abort(&self) {
        panic!("aborts");
    }
    fn wait(&self, _: &AtomicU32, _: u32, _: Option<&Deadline>) -> Wait {
        self.wait.get().expect("nobody is waited for")
    }
}

struct World {
    all: &'static AllThreads<Told>,
    seats: &'static [Seat; THREADS],
}

/// `static`s of one test.
fn world() -> World {
    // SAFETY: each test has seats and threads of its own.
    let all = unsafe { AllThreads::new(Told::default()) };
    let all: &'static AllThreads<Told> = Box::leak(Box::new(all));
    *all.reach().all.borrow_mut() = Some(all);
    World { all, seats: Box::leak(Box::default()) }
}

impl World {
    fn told(&self) -> &'static Told {
        self.all.reach()
    }
    fn join(&self, thread: usize, seat: usize) -> Result<Member<Told>, JoinError> {
        self.told().as_thread(thread, || self.all.join(&self.seats[seat]))
    }
    fn ran(&self) -> [u32; THREADS] {
        std::array::from_fn(|at| self.told().ran[at].get())
    }
    fn run(&self) -> Result<i32, Errno> {
        let ran = &self.told().ran[self.told().now.get()];
        ran.set(ran.get() + 1);
        Ok(0)
    }
    fn call(&self) -> Result<Report, CallError> {
        unnamed(self.call_named())
    }
    fn call_named(&self) -> Result<Report, CallError> {
        let run = || self.run();
        self.all.call(self.seats, Call::new(operation(&run)))
    }
    fn leave(&self, thread: usize, member: Member<Told>) {
        self.told().as_thread(thread, || drop(member));
    }
}

fn operation<'a>(run: &'a (dyn Fn() -> Result<i32, Errno> + Sync + 'a)) -> Operation<'a> {
    // SAFETY: there is one thread, that of the test, and there are no handlers.
    unsafe { Operation::new(run) }
}

fn waker<'a>(wake: &'a (dyn Fn() + Sync + 'a)) -> WakeFn<'a> {
    // SAFETY: as above.
    unsafe { WakeFn::new(wake) }
}

/// Without the name of a thread that is missing: of nobody if none is.
fn unnamed(done: Result<Report, CallError>) -> Result<Report, CallError> {
    done.map(|report| {
        assert!(report.missing.is_none() || report.abandoned > 0);
        Report { missing: None, ..report }
    })
}

fn report(others: u32, gone: u32, abandoned: u32) -> Result<Report, CallError> {
    Ok(Report { first: 0, others, mismatches: 0, gone, abandoned, missing: None })
}

/// As docs/speed.md says.
#[test]
fn a_seat_is_small() {
    assert!(size_of::<Seat>() <= 8 + size_of::<usize>());
}

#[test]
fn each_state_is_reached_once() {
    let world = world();
    let told = world.told();
    assert_eq!(world.call(), report(0, 0, 0), "nobody has joined");
    let member = world.join(1, 0).unwrap();
    assert_eq!(world.join(1, 1).unwrap_err(), JoinError::AlreadyJoined);
    assert_eq!(world.join(2, 0).unwrap_err(), JoinError::SeatTaken);
    assert_eq!(world.call(), report(1, 0, 0));
    assert_eq!((world.ran(), told.interrupted.get()), ([2, 1, 0, 0], 1));
    // SETTLED and masked: abandoned, and then not run.
    told.masked[1].set(true);
    told.wait.set(Some(Wait::TimedOut));
    assert_eq!(world.call(), report(0, 0, 1));
    told.unmask(1);
    assert_eq!(world.ran(), [3, 1, 0, 0]);
    // COOPERATIVE: woken, not interrupted.
    let woken = Cell::new(0);
    struct Alone<'a>(&'a Cell<u32>);
    // SAFETY: one thread uses it.
    unsafe impl Sync for Alone<'_> {}
    let alone = Alone(&woken);
    let wake = move || {
        let Alone(woken) = &alone;
        woken.set(woken.get() + 1);
    };
    let interrupted = told.interrupted.get();
    told.as_thread(1, || {
        member.cooperate(&waker(&wake), |member| {
            told.as_thread(0, || assert_eq!(world.call(), report(0, 0, 1)));
            assert!(!member.poll(), "it was abandoned");
        });
    });
    assert_eq!((woken.get(), told.interrupted.get()), (1, interrupted));
    // It ends without a word.
    told.ended[1].set(true);
    std::mem::forget(member);
    assert_eq!(world.call(), report(0, 1, 0));
    assert_eq!(world.call(), report(0, 0, 0));
    let next = world.join(2, 0).unwrap();
    assert_eq!(world.call(), report(1, 0, 0));
    world.leave(2, next);
    assert_eq!(world.call(), report(0, 0, 0));
}

/// Who has not answered is interrupted again, and buried if it is not there any more.
#[test]
fn a_wait_looks_again() {
    let world = world();
    let told = world.told();
    std::mem::forget(world.join(1, 0).unwrap());
    told.masked[1].set(true);
    told.wait.set(Some(Wait::Look));
    told.wait.set(Some(Wait::Look));
    let run = || world.run();
    /// The thread ends once it was asked.
    struct Ends<'a>(&'a Told, &'a [Seat; THREADS]);
    impl crate::all_threads::Seats<Told> for Ends<'_> {
        fn each(&self, look: &mut dyn FnMut(&Seat)) {
            self.1.iter().for_each(look);
            self.0.ended[1].set(self.0.interrupted.get() > 0);
        }
    }
    let seats = Ends(told, world.seats);
    let done = world.all.call(&seats, Call::new(operation(&run))).unwrap();
    assert_eq!((done.others, done.gone, told.interrupted.get()), (0, 1, 2));
}

/// One that joins while a call waits for another is found by the next sweep and runs it.
#[test]
fn a_thread_joins_during_a_call() {
    struct Joins<'a>(&'a World, Cell<bool>);
    impl crate::all_threads::Seats<Told> for Joins<'_> {
        fn each(&self, look: &mut dyn FnMut(&Seat)) {
            self.0.seats.iter().for_each(look);
            if !self.1.replace(true) {
                std::mem::forget(self.0.join(1, 0).unwrap());
            }
        }
    }
    let world = world();
    let run = || world.run();
    let member = world.join(2, 1).unwrap();
    let seats = Joins(&world, Cell::new(false));
    let done = world.all.call(&seats, Call::new(operation(&run))).unwrap();
    assert_eq!((done.others, world.ran()), (2, [1, 1, 1, 0]));
    world.leave(2, member);
}

/// What is nested leaves the thread reached as it was before; a call that is abandoned asks nobody.
#[test]
fn nested_states() {
    struct Count(Cell<u32>);
    // SAFETY: one thread uses it.
    unsafe impl Sync for Count {}
    let world = world();
    let told = world.told();
    told.wait.set(Some(Wait::TimedOut));
    let member = world.join(1, 0).unwrap();
    let woken = [Count(Cell::new(0)), Count(Cell::new(0))];
    let [outer, inner] = woken.each_ref().map(|count| move || count.0.set(count.0.get() + 1));
    let called = || {
        told.as_thread(0, || assert_eq!(world.call(), report(0, 0, 1)));
        woken.each_ref().map(|count| count.0.get())
    };
    told.as_thread(1, || {
        member.cooperate(&waker(&outer), |member| {
            assert_eq!(called(), [1, 0]);
            // SAFETY: dropped, here and below.
            unsafe { member.create(&world.seats[1], drop) }.unwrap();
            assert_eq!(called(), [2, 0], "after a birth");
            member.cooperate(&waker(&inner), |_| assert_eq!(called(), [2, 1]));
            assert_eq!(called(), [3, 1], "after another sleep");
            // SAFETY: there is one thread, that of the test.
            unsafe { world.all.reset_after_fork(world.seats.iter()) };
            assert_eq!(called(), [4, 1], "in the child of a fork");
            let inside = |birth| {
                member.cooperate(&waker(&inner), |_| drop(birth));
                // SAFETY: as above.
                unsafe { member.create(&world.seats[2], drop) }.unwrap();
                called()
            };
            // SAFETY: as above.
            let inside = unsafe { member.create(&world.seats[1], inside) };
            assert_eq!(inside, Ok([4, 1]), "busy");
        });
    });
    assert_eq!(told.interrupted.get(), 0);
    told.masked[1].set(true);
    assert_eq!(world.call(), report(0, 0, 1));
    let ran = world.ran();
    told.unmask(1);
    assert_eq!(world.ran(), ran, "what it borrows may be gone");
    world.leave(1, member);
}

#[test]
fn errors_mismatches_and_reentrance() {
    let world = world();
    let told = world.told();
    let members = [1, 2].map(|thread| world.join(thread, thread).unwrap());
    let fails = || Err(Errno(7));
    let refused = world.all.call(world.seats, Call::new(operation(&fails))).map(drop);
    assert_eq!((refused, told.interrupted.get()), (Err(CallError::First(Errno(7))), 0));
    // Each thread's result, the undoing of those that succeeded, and calls from inside.
    let differs = || {
        assert_eq!(world.call(), Err(CallError::Engaged));
        match told.now.get() {
            2 => Err(Errno(9)),
            _ => Ok(0),
        }
    };
    let undo = || world.run();
    let heard = RefCell::new(Vec::new());
    let each = |seat: &Seat, result| heard.borrow_mut().push((seat.thread(), result));
    let undo = Mismatch::Undo(operation(&undo));
    let call = Call::new(operation(&differs)).on_mismatch(undo).each(&each);
    let done = world.all.call(world.seats, call).unwrap();
    assert_eq!((done.others, done.mismatches), (2, 1));
    assert_eq!(world.ran(), [1, 1, 0, 0], "undone where it succeeded");
    assert_eq!(*heard.borrow(), [(Some(2), Ok(0)), (Some(3), Err(Errno(9)))]);
    assert_eq!(world.call(), report(2, 0, 0));
    // Who hears of it, panics.
    let panics = |_: &Seat, _| panic!("in the account");
    let run = || world.run();
    let call = || world.all.call(world.seats, Call::new(operation(&run)).each(&panics));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
    assert_eq!(world.call(), report(2, 0, 0), "the turn was given up");
    for (at, member) in members.into_iter().enumerate() {
        world.leave(at + 1, member);
    }
}

#[test]
fn the_child_of_a_fork_begins_anew() {
    let world = world();
    let told = world.told();
    let own = world.join(0, 0).unwrap();
    std::mem::forget(world.join(1, 1).unwrap());
    told.masked[1].set(true);
    told.wait.set(Some(Wait::TimedOut));
    let run = || world.run();
    // Another thread's call is under way.
    let deadline = Deadline::after(std::time::Duration::ZERO);
    let forks = |_: &Missing<'_, Told>| {
        told.as_thread(0, || {
            // SAFETY: there is one thread, that of the test.
            unsafe { world.all.reset_after_fork(world.seats.iter()) };
            assert_eq!(world.call(), report(0, 0, 0));
            let next = world.join(2, 1).unwrap();
            assert_eq!(world.call(), report(1, 0, 0));
            world.leave(2, next);
        });
        Late::Abandon
    };
    let call = Call::new(operation(&run)).until(&deadline).when_late(&forks);
    let call = told.as_thread(3, || world.all.call(world.seats, call));
    assert!(call.is_ok());
    drop(own);
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Join(usize),
    Leave(usize),
    Mask(usize),
    Unmask(usize),
    Call,
}

proptest! {
    #![proptest_config(super::config())]

    /// Each call runs once on each thread that is there and open, and on no other.
    #[test]
    fn calls_are_the_reference(
        actions in prop::collection::vec(prop_oneof![
            (1..THREADS).prop_map(Action::Join), (1..THREADS).prop_map(Action::Leave),
            (1..THREADS).prop_map(Action::Mask), (1..THREADS).prop_map(Action::Unmask),
            Just(Action::Call),
        ], 1..80),
    ) {
        let world = world();
        let told = world.told();
        told.wait.set(Some(Wait::TimedOut));
        let mut members: [Option<Member<Told>>; THREADS] = std::array::from_fn(|_| None);
        let mut expected = [0; THREADS];
        for action in actions {
            match action {
                Action::Join(thread) if members[thread].is_none() => {
                    members[thread] = Some(world.join(thread, thread).unwrap());
                }
                Action::Leave(thread) => {
                    if let Some(member) = members[thread].take() {
                        world.leave(thread, member);
                    }
                }
                Action::Mask(thread) => told.masked[thread].set(true),
                Action::Unmask(thread) => told.unmask(thread),
                Action::Call => {
                    let there = |open: bool| (1..THREADS)
                        .filter(|at| members[*at].is_some() && told.masked[*at].get() != open)
                        .collect::<Vec<_>>();
                    let (open, masked) = (there(true), there(false));
                    expected[0] += 1;
                    open.iter().for_each(|at| expected[*at] += 1);
                    let counts = (open.len() as u32, masked.len() as u32);
                    prop_assert_eq!(world.call(), report(counts.0, 0, counts.1));
                }
                Action::Join(_) => {}
            }
            prop_assert_eq!(world.ran(), expected);
        }
        for (thread, member) in members.into_iter().enumerate() {
            member.into_iter().for_each(|member| world.leave(thread, member));
        }
    }
}

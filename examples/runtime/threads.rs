//! The world of this runtime, what it keeps for each thread, and what a thread that is inside may do.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use portcullis::note::Deadline;
use portcullis::preempt::{Either, Hook, SystemBackend, Target, ThreadRef};
use portcullis::world::{
    self, Birth, EnterError, External, Forced, Held, Inside, Member, OwnLate, OwnStop, Slot,
    StopByError, WorldOf, stack_base,
};

/// As many threads may be in the world at once; more are refused, and come again.
pub(crate) const SLOTS: usize = 32;

pub(crate) type World = world::World<Thread, Either, SystemBackend>;
pub(crate) type Name = ThreadRef<Either, SystemBackend>;
pub(crate) type Own = Member<Thread, Either, SystemBackend>;
pub(crate) type Called<'a> = Inside<'a, Thread, Either, SystemBackend>;
pub(crate) type Stopped = world::Stopped<Thread, Either, SystemBackend>;
pub(crate) type Stop<'a> = OwnStop<'a, Thread, Either, SystemBackend>;
pub(crate) type ByForce<'a> = Forced<'a, Thread, Either, SystemBackend, world::Back<'a>>;
type Late<'a> = OwnLate<'a, Thread, Either, SystemBackend>;
type Outcome<'a> = world::Outcome<Thread, Either, SystemBackend, world::Back<'a>>;
type Targets = Vec<Target<Either, SystemBackend>>;

static WORLD: LazyLock<WorldOf<Thread, Either, SystemBackend, SLOTS>> = LazyLock::new(|| {
    let slots = std::array::from_fn(|at| Slot::new(Thread::new(at as u64)));
    world::World::new(Either::new(), SystemBackend::new(Hook::nothing()), slots)
});

pub(crate) fn world() -> &'static World {
    &WORLD
}

/// What the runtime keeps for a thread.
pub(crate) struct Thread {
    slot: u64,
    /// Where the thread's stack ends.
    base: AtomicUsize,
    /// The nodes that it hands out next.
    block: Cell<(usize, usize)>,
    made: Cell<u64>,
    counted: Cell<u64>,
    /// Set and cleared outside, by the thread: if it is set the thread is.
    outside: AtomicBool,
}

// SAFETY: its thread reads and writes it while it is inside; who has the world stopped, while that stands.
unsafe impl Sync for Thread {}

impl Thread {
    const fn new(slot: u64) -> Self {
        Self {
            slot,
            base: AtomicUsize::new(0),
            block: Cell::new((0, 0)),
            made: Cell::new(0),
            counted: Cell::new(0),
            outside: AtomicBool::new(false),
        }
    }

    /// Below that is all that the thread has on its stack.
    pub(crate) fn base(&self) -> usize {
        self.base.load(Relaxed)
    }

    pub(crate) fn block(&self) -> Range<usize> {
        let (start, end) = self.block.get();
        start..end
    }

    pub(crate) fn set_block(&self, block: Range<usize>) {
        self.block.set((block.start, block.end));
    }

    /// One that no other node ever had, of any thread.
    pub(crate) fn next_stamp(&self) -> u64 {
        self.made.set(self.made.get() + 1);
        (self.made.get() << 8) | self.slot
    }

    /// How many nodes those have made who had the slot.
    pub(crate) fn made(&self) -> u64 {
        self.made.get()
    }

    /// By who collects: its block is anybody's. How many nodes were made since.
    pub(crate) fn give_back(&self) -> u64 {
        self.set_block(0..0);
        self.made.get() - self.counted.replace(self.made.get())
    }

    /// By who has the thread suspended.
    pub(crate) fn is_outside(&self) -> bool {
        self.outside.load(Relaxed)
    }

    fn set_outside(&self, outside: bool) {
        self.outside.store(outside, Relaxed);
    }
}

/// The calling thread enters, by a slot that waits for it: who suspends it at once finds where its stack ends.
pub(crate) fn enter(birth: Birth<Thread, Either, SystemBackend>) -> Result<Own, EnterError> {
    thread_local!(static BASE: usize = stack_base().map_or(0, <*const usize>::expose_provenance));
    birth.record().base.store(BASE.with(|base| *base), Relaxed);
    birth.record().set_outside(false);
    birth.enter()
}

/// A thread that is outside.
pub(crate) struct Outside<'a, 'b>(
    &'a mut External<'b, Thread, Either, SystemBackend>,
    &'static Thread,
);

impl Outside<'_, '_> {
    /// Is called back.
    pub(crate) fn called<T>(&mut self, body: impl FnOnce(&mut Called<'_>) -> T) -> T {
        self.1.set_outside(false);
        let done = body(&mut self.0.inside());
        self.1.set_outside(true);
        done
    }
}

/// What a stop comes to that some threads had to be suspended for, or none.
pub(crate) enum Stands<'a, 'b> {
    All(&'a Stop<'a>),
    Some(&'a ByForce<'b>),
}

/// A thread that is inside: a member, or one that was called back.
pub(crate) trait Runs {
    fn record(&self) -> &'static Thread;
    /// A safepoint.
    fn poll(&mut self);
    /// In the middle of which it is not to be suspended.
    fn hold(&mut self) -> Held<'_, Thread, Either, SystemBackend>;
    fn stop_by(&mut self, deadline: &Deadline) -> Outcome<'_>;
    /// Code that may block, and touches nothing of the runtime's.
    fn outside<T>(&mut self, body: impl FnOnce(&mut Outside<'_, '_>) -> T) -> T;

    /// Runs this while the world stands: at polls and outside, or, where some run on for too long, wherever
    /// they are. In it nobody allocates, or takes a lock that one of those may have.
    fn stopped<T>(&mut self, body: impl FnOnce(Stands<'_, '_>) -> T) -> T {
        let mut targets = Vec::with_capacity(SLOTS);
        loop {
            match self.stop_by(&soon()) {
                Ok(stop) => return body(Stands::All(&stop)),
                Err(StopByError::Late(late)) => return force(late, &mut targets, body),
                // Another one's stop: it stood for that.
                Err(StopByError::Busy) => {}
                Err(refused) => panic!("{refused}"),
            }
        }
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_micros(300))
}

/// Suspends those that do not come; over and over, as they may hold something, or not answer.
fn force<T>(
    mut late: Late<'_>,
    targets: &mut Targets,
    body: impl FnOnce(Stands<'_, '_>) -> T,
) -> T {
    loop {
        targets.clear();
        targets.extend(late.threads().map(|thread| Target::new(thread.thread())));
        match late.suspend(targets) {
            Ok(forced) => return body(Stands::Some(&forced)),
            Err(StopByError::Late(again)) => late = again,
            Err(refused) => panic!("{refused}"),
        }
        match late.wait_by(&soon()) {
            Ok(stop) => return body(Stands::All(&stop)),
            Err(StopByError::Late(again)) => late = again,
            Err(refused) => panic!("{refused}"),
        }
    }
}

macro_rules! runs {
    ($type:ty) => {
        impl Runs for $type {
            fn record(&self) -> &'static Thread {
                <$type>::record(self)
            }
            fn poll(&mut self) {
                <$type>::poll(self);
            }
            fn hold(&mut self) -> Held<'_, Thread, Either, SystemBackend> {
                <$type>::hold(self)
            }
            fn stop_by(&mut self, deadline: &Deadline) -> Outcome<'_> {
                <$type>::stop_by(self, deadline)
            }
            fn outside<T>(&mut self, body: impl FnOnce(&mut Outside<'_, '_>) -> T) -> T {
                let record = <$type>::record(self);
                self.external_with(|external| {
                    record.set_outside(true);
                    let done = body(&mut Outside(external, record));
                    record.set_outside(false);
                    done
                })
            }
        }
    };
}
runs!(Own);
runs!(Called<'_>);

/// Whom a profiler may look at: some of the threads that are inside, or were.
static NAMES: Mutex<[Option<(Name, &'static Thread)>; SLOTS]> = Mutex::new([None; SLOTS]);

/// Places for the names of the runtime's own threads; the others are for those of C, the latest ones.
const OWN: usize = SLOTS / 2;

/// The calling thread may be looked at.
pub(crate) fn tell_name(own: &Own, is_ours: bool) {
    static NEXT: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    let next = NEXT[usize::from(is_ours)].fetch_add(1, Relaxed) % OWN;
    let at = if is_ours { next } else { OWN + next };
    NAMES.lock().expect("nobody panics with it")[at] = Some((own.thread(), own.record()));
}

/// One of them.
pub(crate) fn some_name(random: u64) -> Option<(Name, &'static Thread)> {
    NAMES.lock().expect("nobody panics with it")[random as usize % SLOTS]
}

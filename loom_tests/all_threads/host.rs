//! Threads of the simulated kernel that have seats, and something that the kernel keeps for each.

use std::cell::Cell;
use std::sync::Arc;

use super::super::support::Payload;
use crate::all_threads::host::{Reach, SeatLocal, Wait};
use crate::all_threads::{
    AllThreads, Call, CallError, Member, Operation, Report, WakeFn, WhenLate,
};
use crate::model::futex::{self, Waited};
use crate::model::thread::{self, ThreadId};
use crate::model::{Handler, Kernel, SigSet, sig, violation};
use crate::note::Deadline;
use crate::sync::AtomicU32;
use crate::sys::Errno;

/// Threads that a model may have.
pub(crate) const MOST: usize = 4;

pub(crate) type Seat = crate::all_threads::Seat<Simulated>;

pub(crate) struct Simulated {
    kernel: Kernel,
    here: [SeatLocal<Self>; MOST],
    names: [Cell<Option<ThreadId>>; MOST],
    /// Signals sent.
    pub(crate) sent: Cell<u32>,
    /// As where it is undefined to name a thread that is gone.
    pub(crate) strict: Cell<bool>,
    /// The signal, and what is queued with it.
    pub(crate) signal: Cell<(i32, usize)>,
    /// How often a wait is over before anybody answers.
    pub(crate) looks: Cell<u32>,
    /// Refuses to tell of a thread's end.
    pub(crate) refuses: Cell<bool>,
}

impl Simulated {
    fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            here: core::array::from_fn(|_| SeatLocal::new()),
            names: core::array::from_fn(|_| Cell::new(None)),
            sent: Cell::new(0),
            strict: Cell::new(false),
            signal: Cell::new((sig::USR1, 0)),
            looks: Cell::new(0),
            refuses: Cell::new(false),
        }
    }
}

// SAFETY: for loom's single system thread.
unsafe impl Sync for Simulated {}

fn number() -> usize {
    thread::current().number() % MOST
}

// SAFETY: each thread has a `here` of its own, for as long as the execution lasts. The kernel says of threads
// that have ended that they have.
unsafe impl Reach for Simulated {
    fn here(&self) -> *const SeatLocal<Self> {
        &raw const self.here[number()]
    }
    fn current(&self) -> usize {
        self.names[number()].set(Some(thread::current()));
        number() + 1
    }
    unsafe fn prepare(&self) -> Result<(), Errno> {
        Ok(())
    }
    unsafe fn watch_end(&self) -> Result<(), Errno> {
        if self.refuses.get() { Err(Errno(11)) } else { Ok(()) }
    }
    unsafe fn interrupt(&self, name: usize) -> Result<bool, Errno> {
        self.sent.set(self.sent.get() + 1);
        let thread = self.names[name - 1].get().expect("it named itself");
        let (signal, value) = self.signal.get();
        let there = self.kernel.queue(thread, signal, value);
        if self.strict.get() && !there {
            violation("named when it is gone");
        }
        Ok(there)
    }
    fn abort(&self) {
        violation("aborted");
    }
    fn wait(&self, word: &AtomicU32, value: u32, deadline: Option<&Deadline>) -> Wait {
        if self.looks.get() > 0 {
            self.looks.set(self.looks.get() - 1);
            return Wait::Look;
        }
        match futex::wait(word, value, deadline) {
            Waited::Woken => Wait::Woken,
            Waited::TimedOut => Wait::TimedOut,
        }
    }
}

/// `static`s of one execution.
pub(crate) struct Statics {
    pub(crate) all: AllThreads<Simulated>,
    pub(crate) seats: [Seat; 3],
    /// What the kernel keeps for each thread, inherited by those that it creates. Cells: what is true,
    /// not what others may see.
    pub(crate) kept: [Cell<u32>; MOST],
    /// Written by each caller before its call, read by the operation.
    told: [Payload; 2],
    /// Written by each thread in the operation, read by the caller after it.
    wrote: [Payload; MOST],
}

// SAFETY: for loom's single system thread.
unsafe impl Sync for Statics {}
// SAFETY: as above.
unsafe impl Send for Statics {}

#[derive(Clone)]
pub(crate) struct World(Arc<Statics>);

pub(crate) type Ours = Member<Simulated>;

impl World {
    pub(crate) fn new(kernel: Kernel) -> Self {
        let simulated = Simulated::new(kernel);
        let world = Self(Arc::new(Statics {
            // SAFETY: the only one of its execution, whose seats are these.
            all: unsafe { AllThreads::new(simulated) },
            seats: core::array::from_fn(|_| Seat::new()),
            kept: core::array::from_fn(|_| Cell::new(0)),
            told: core::array::from_fn(|_| Payload::new()),
            wrote: core::array::from_fn(|_| Payload::new()),
        }));
        world.handle(kernel);
        world
    }

    fn handle(&self, kernel: Kernel) {
        let theirs = self.clone();
        let handler = Handler::new(move |_| _ = theirs.statics().all.on_signal());
        kernel.sigaction(sig::USR1, handler.mask(SigSet::ALL));
    }

    /// What the child of a fork by the calling thread, which has seat `at`, finds.
    pub(crate) fn copied(&self, kernel: Kernel, at: usize) -> Self {
        let ours = self.statics();
        let reach = Simulated::new(kernel);
        // A fork copies all at one moment. Here the round last: no seat's is newer.
        let seats = ours.seats.each_ref().map(Seat::copied);
        let copy = Self(Arc::new(Statics {
            all: ours.all.copied(reach),
            seats,
            kept: core::array::from_fn(|_| Cell::new(0)),
            told: core::array::from_fn(|_| Payload::new()),
            wrote: core::array::from_fn(|_| Payload::new()),
        }));
        let here = copy.statics().all.reach().here();
        // SAFETY: the calling thread's.
        unsafe { (*here).set(Some(&copy.statics().seats[at])) };
        copy
    }

    /// In the child of a fork.
    pub(crate) fn begin_in_child(&self, kernel: Kernel) {
        self.handle(kernel);
        let statics = self.statics();
        // SAFETY: in the child, whose only thread this is.
        unsafe { statics.all.reset_after_fork(statics.seats.iter()) };
    }

    pub(crate) fn statics(&self) -> &'static Statics {
        // SAFETY: longer than true: whoever uses it has a clone, and members go before that.
        unsafe { &*Arc::as_ptr(&self.0) }
    }

    pub(crate) fn join(&self, at: usize) -> Ours {
        let statics = self.statics();
        statics.all.join(&statics.seats[at]).unwrap()
    }

    /// What the kernel keeps for a thread, by its number.
    pub(crate) fn kept(&self, thread: usize) -> u32 {
        self.statics().kept[thread].get()
    }

    /// One operation, as the caller of this number.
    fn perform(&self, caller: usize) -> Result<i32, Errno> {
        let statics = self.statics();
        assert_eq!(statics.told[caller].get(), 7, "the caller's preparations");
        let kept = &statics.kept[number()];
        kept.set(kept.get() + 1);
        statics.wrote[number()].set(kept.get());
        Ok(0)
    }

    /// Adds one to what is kept for each thread.
    pub(crate) fn try_call(
        &self,
        caller: usize,
        deadline: Option<(&Deadline, &WhenLate<'_, Simulated>)>,
    ) -> Result<Report, CallError> {
        let statics = self.statics();
        statics.told[caller].set(7);
        let operation = || self.perform(caller);
        let hear = |_: &Seat, result| assert_eq!(result, Ok(0));
        // SAFETY: the model is to show where it runs.
        let call = Call::new(unsafe { Operation::new(&operation) }).each(&hear);
        let call = match deadline {
            Some((deadline, late)) => call.until(deadline).when_late(late),
            None => call,
        };
        let done = statics.all.call(&statics.seats, call);
        // Nobody runs it any more.
        statics.told[caller].set(0);
        done
    }

    pub(crate) fn call(&self, caller: usize) -> Report {
        complete(self.try_call(caller, None))
    }

    /// Any operation.
    pub(crate) fn try_call_of(
        &self,
        operation: impl Fn() -> Result<i32, Errno> + Sync,
    ) -> Result<Report, CallError> {
        let statics = self.statics();
        // SAFETY: as above.
        let operation = unsafe { Operation::new(&operation) };
        statics.all.call(&statics.seats, Call::new(operation))
    }

    pub(crate) fn call_of(&self, operation: impl Fn() -> Result<i32, Errno> + Sync) -> Report {
        complete(self.try_call_of(operation))
    }

    /// What these threads wrote in the operation is seen.
    pub(crate) fn see(&self, threads: &[usize]) {
        for thread in threads {
            let written = self.statics().wrote[*thread].get();
            assert_eq!(written, self.kept(*thread), "thread {thread}");
        }
    }

    /// A registered thread that does this.
    pub(crate) fn thread<T: 'static>(
        &self,
        name: &str,
        at: usize,
        body: impl FnOnce(&World, &mut Ours) -> T + 'static,
    ) -> thread::JoinHandle<T> {
        let world = self.clone();
        thread::spawn(name.to_string(), move || {
            let mut member = world.join(at);
            body(&world, &mut member)
        })
    }

    /// Somewhere for signals to land.
    pub(crate) fn step(&self) {
        crate::sync::relax();
    }
}

fn complete(done: Result<Report, CallError>) -> Report {
    match done {
        Ok(report) if report.is_complete() => report,
        other => panic!("{other:?}"),
    }
}

/// Woken by whatever a model makes of it.
pub(crate) fn waker<'a>(wake: &'a (dyn Fn() + Sync)) -> WakeFn<'a> {
    // SAFETY: it wakes a note or a queue.
    unsafe { WakeFn::new(wake) }
}

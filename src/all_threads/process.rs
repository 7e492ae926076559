//! Every thread of the process, whoever made it: Linux. man 5 proc, man 2 getdents64, tgkill.
//!
//! Threads get seats in a table as they are found; a handler finds its thread's by its number. The
//! table is mapped, not allocated, and grows; it is never given back.

use core::fmt;
use core::ptr;
use core::time::Duration;

use super::host::{Reach, SeatLocal, Silence, Wait};
use super::posix::{LOOK, current, interrupt, prepare, wait};
use super::seat::LIVE;
use super::{AllThreads, Call, CallError, Report, Seats};
use crate::note::Deadline;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, Ordering::*};
use crate::sys::early::{Zeroed, early_local};
use crate::sys::{Errno, InChild, Life, OsThread, Tasks, map_zeroed};

type Seat = super::Seat<ProcessReach>;

/// Threads of the process are interrupted by the same signal as those that have joined.
pub struct ProcessReach {
    /// The C library was told about forks.
    watched: AtomicBool,
}

/// A seat, and which thread of that number it is. All zeros is an empty one.
struct Place {
    seat: Seat,
    // ORDERING: Relaxed everywhere: used by turns.
    /// Its node in /proc. The thread may get another one; another thread has another one.
    node: AtomicU32,
    /// When it was created, in ticks: two of one number and one tick are taken for the same.
    born: AtomicU32,
}

/// The threads that there are.
struct Everyone {
    chunks: [AtomicPtr<Place>; CHUNKS],
    /// The directory that a call has open; NONE outside one.
    tasks: AtomicU32,
    /// The call has found threads that the one before had not.
    restless: AtomicBool,
}

/// Seats in the first chunk; each further one has twice as many.
const FIRST: usize = 128;
/// How far ahead a thread's seat is looked for before the whole table is.
const NEAR: usize = 4;
const CHUNKS: usize = 16;
/// Where threads come they go, without a word: a wait for answers then asks sooner whether all are
/// there.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const NONE: u32 = u32::MAX;

/// What each thread has of its own.
struct Own {
    here: SeatLocal<ProcessReach>,
    /// The calling thread's seat when it was looked for last; its handlers look too.
    found: AtomicPtr<Seat>,
}

// SAFETY: as `SeatLocal`'s; no seat was found.
unsafe impl Zeroed for Own {}

early_local! {
    fn own("portcullis_process") -> Own =
        Own { here: SeatLocal::new(), found: AtomicPtr::new(ptr::null_mut()) };
}

/// The calling thread's.
fn with_own<R>(body: impl FnOnce(&Own) -> R) -> R {
    let own = own();
    assert!(!own.is_null(), "called by a thread that has ended");
    // SAFETY: the thread's until its last instruction, by the line above also where it may be gone before.
    body(unsafe { &*own })
}

// SAFETY: the only one of its type, for nobody else makes a `ProcessReach`.
static PROCESS: AllThreads<ProcessReach> =
    unsafe { AllThreads::new(ProcessReach { watched: AtomicBool::new(false) }) };
static EVERYONE: Everyone = Everyone {
    chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
    tasks: AtomicU32::new(NONE),
    restless: AtomicBool::new(false),
};

/// A call on every thread of the process, whoever made it. Threads that mask the signal are reached by the one
/// that the C library keeps for itself (man 7 nptl), which pthread_sigmask(3) leaves open.
///
/// As [`AllThreads::call`]; `Seat::thread` is a thread's number. The first call is not async-signal-safe; a
/// later one needs 6 KiB of stack. The child of a fork of the C library calls for itself; what the call calls,
/// and handlers that interrupt it, do not fork. In a library that was loaded by dlopen(3), with glibc on
/// processors other than x86-64 and arm64, a thread's first look at its thread-locals may allocate: an operation
/// that interrupts malloc then deadlocks. Link it into the program, or preload it.
///
/// Who creates a thread while a call is under way has run the operation, and the new one inherits what the
/// kernel keeps of it; or has not, and the new one is found and runs it. It is found as well if it has
/// inherited: an operation that must not be run twice by a thread and its creator needs threads that have
/// [joined](super::registered).
///
/// # Errors
///
/// As there; [`CallError::System`] if /proc is not to be read or shows another namespace, if a sandbox forbids
/// signals to threads, or if there is no memory for the table.
pub fn call_everyone(call: Call<'_, ProcessReach>) -> Result<Report, CallError> {
    PROCESS.call(&EVERYONE, call)
}

pub(super) fn on_signal() {
    if PROCESS.is_calling() {
        PROCESS.on_signal();
    }
}

/// In the child of a fork of the C library, by its only thread.
unsafe fn forked(_: *const ()) {
    // SAFETY: as this is called. No seat stays: the calling thread has another number.
    unsafe { PROCESS.reset_after_fork(EVERYONE.seats()) };
    // The directory is the parent's.
    EVERYONE.done();
}

// SAFETY: `own` is a thread-local, that of this type's only `AllThreads`. A seat is found by the number of
// the calling thread, which no other has while it lives. Linux tells whether a thread of a number is there.
unsafe impl Reach for ProcessReach {
    fn here(&self) -> *const SeatLocal<Self> {
        with_own(|own| ptr::from_ref(&own.here))
    }
    fn seat(&self) -> Option<&'static Seat> {
        let me = current();
        let is = |seat: &&'static Seat| seat.thread() == Some(me);
        with_own(|Own { found, .. }| {
            // ORDERING: Relaxed, here and below: the thread's own, and its handlers'; the table is for ever,
            // and a thread reads what it has written.
            // SAFETY: stored below, a seat of the table.
            let known = unsafe { found.load(Relaxed).as_ref() };
            // Perhaps another thread's by now: in the child of a fork.
            let seat = known.filter(is).or_else(|| EVERYONE.seats().find(is));
            found.store(
                seat.map_or(ptr::null_mut(), |seat| ptr::from_ref(seat).cast_mut()),
                Relaxed,
            );
            seat
        })
    }
    fn current(&self) -> usize {
        current()
    }
    unsafe fn prepare(&self) -> Result<(), Errno> {
        static CHILD: InChild = InChild::new();
        // ORDERING: Relaxed: one thread swaps false; the system orders the rest by itself.
        if !self.watched.load(Relaxed) && !self.watched.swap(true, Relaxed) {
            // SAFETY: once; `forked` needs no data.
            unsafe { CHILD.register(ptr::null(), forked) };
        }
        // A sandbox that forbids it is found out before anything is done. Signal 0 is none.
        OsThread::current().send(0)?;
        prepare()
    }
    unsafe fn interrupt(&self, name: usize) -> Result<bool, Errno> {
        // SAFETY: as the caller promises; threads are numbered.
        unsafe { interrupt(name) }
    }
    unsafe fn look_after(&self, name: usize, has_begun: bool) -> Silence {
        super::silent::look_after(name, has_begun)
    }
    fn abort(&self) {
        std::process::abort();
    }
    fn wait(&self, word: &AtomicU32, value: u32, deadline: Option<&Deadline>) -> Wait {
        // ORDERING: Relaxed: used by turns.
        let look = if EVERYONE.restless.load(Relaxed) { LOOK_AGAIN } else { LOOK };
        wait(word, value, deadline, look)
    }
}

impl Everyone {
    /// Every seat of the table.
    fn seats(&self) -> impl Iterator<Item = &'static Seat> {
        self.places().map(|place| &place.seat)
    }

    fn places(&self) -> impl Iterator<Item = &'static Place> {
        self.chunks.iter().enumerate().flat_map(|(at, chunk)| {
            // ORDERING: Acquire: from `grow`: the seats are empty ones.
            let places = chunk.load(Acquire);
            let count = if places.is_null() { 0 } else { FIRST << at };
            // SAFETY: `grow` stored it, with as many, for ever.
            (0..count).map(move |at| unsafe { &*places.add(at) })
        })
    }

    /// A seat for a thread that was not there.
    fn seat(&self, thread: usize, epoch: u32, (node, born): (u32, u32)) -> Result<(), Errno> {
        loop {
            for place in self.places() {
                if place.seat.reserve(epoch, 0).is_ok() {
                    // ORDERING: Relaxed, here and below: used by turns.
                    place.node.store(node, Relaxed);
                    place.born.store(born, Relaxed);
                    place.seat.sit(thread);
                    place.seat.settle(&PROCESS, LIVE);
                    self.restless.store(true, Relaxed);
                    return Ok(());
                }
            }
            self.grow()?;
        }
    }

    /// One more chunk. By the one that has the turn.
    fn grow(&self) -> Result<(), Errno> {
        // ORDERING: Relaxed: written by turns.
        let free = self.chunks.iter().enumerate().find(|(_, chunk)| chunk.load(Relaxed).is_null());
        let (at, chunk) = free.ok_or(Errno(libc::ENOMEM))?;
        let places = map_zeroed(size_of::<Place>() * (FIRST << at))?;
        // All zeros is an empty seat.
        // ORDERING: Release: to `places`. By argument: a handler whose thread has a seat here was asked
        // after this.
        chunk.store(places.cast(), Release);
        Ok(())
    }

    fn tasks(&self) -> Result<Tasks, Errno> {
        // ORDERING: Relaxed, here and below: used by turns.
        match self.tasks.load(Relaxed) {
            NONE => {
                let tasks = Tasks::open()?;
                self.tasks.store(tasks.descriptor(), Relaxed);
                Ok(tasks)
            }
            open => Ok(Tasks::of_descriptor(open)),
        }
    }
}

impl Place {
    /// Whether the thread of this number is the one that sits here.
    fn is_of(&self, thread: usize, node: u32) -> bool {
        // ORDERING: Relaxed, here and below: used by turns.
        if self.node.load(Relaxed) == node {
            return true;
        }
        let (_, born) = Tasks::life_and_birth(thread);
        let known = self.born.load(Relaxed);
        // Where the system does not tell it is taken for the same: who still runs the operation must not be
        // buried.
        let same = born == known || born == 0 || known == 0;
        if same {
            self.node.store(node, Relaxed);
        }
        same
    }
}

impl Seats<ProcessReach> for Everyone {
    fn each(&self, look: &mut dyn FnMut(&Seat)) {
        self.seats().for_each(look);
    }

    fn refresh(&self, strangers: u32) -> Result<(), Errno> {
        // Threads are told in the order in which they got their seats, but for those that ended.
        let mut ahead = self.places();
        let (me, mut here) = (current(), false);
        self.tasks()?.each(|thread, node| {
            here |= thread == me;
            let is = |place: &&Place| place.seat.thread() == Some(thread);
            let near = ahead.by_ref().take(NEAR).find(is);
            if let Some(place) = near.or_else(|| {
                ahead = self.places();
                ahead.find(is)
            }) {
                if place.is_of(thread, node) {
                    return Ok(());
                }
                // Who sat there has ended, and its number is another's.
                if place.seat.bury() {
                    PROCESS.acknowledge();
                }
            }
            match Tasks::life_and_birth(thread) {
                (Life::Lives, born) => {
                    ahead = self.places();
                    self.seat(thread, strangers, (node, born))
                }
                // The kernel's own run no code of the process, and those that have ended none at all.
                _ => Ok(()),
            }
        })?;
        // These are the numbers of another process, or of another namespace's view of this one.
        if here { Ok(()) } else { Err(Errno(libc::ESRCH)) }
    }

    fn done(&self) {
        // ORDERING: Relaxed, here and below: used by turns.
        self.restless.store(false, Relaxed);
        let open = self.tasks.swap(NONE, Relaxed);
        if open != NONE {
            Tasks::of_descriptor(open).close();
        }
    }
}

impl fmt::Debug for ProcessReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessReach").finish_non_exhaustive()
    }
}

//! Threads of this process that have joined, reached by a signal: POSIX.

use core::ffi::{c_int, c_void};
use core::fmt;
use core::time::Duration;

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::host::Silence;
use super::host::{Reach, SeatLocal, Wait};
use super::{AllThreads, Seat};
use crate::note::Deadline;
use crate::sync::{AtomicU32, Ordering::*};
use crate::sys::early::{Zeroed, early_local};
use crate::sys::{self, Crossing, Errno, OsThread, ThreadEnd, Waited};

/// Threads are interrupted by SIGURG, whose default is to be ignored, so that one under way when the
/// process executes another program does nothing there. Signals of that number merge: where somebody else
/// has a handler for it (Go has, and programs with urgent data), threads are interrupted by a real-time
/// signal instead that nobody has, 57 to 59, on Linux; or one that somebody has, if each is (a host in Go).
/// A handler that was there before ours is called for signals that are not ours; where SIGURG has to be shared
/// all the same, for ours too, as one may stand for one of theirs. The gate may use the same signal.
///
/// The one of the process is [`registered`]. A thread that has joined leaves its seat as it ends, if it has
/// not done so: in the last of its life, by a thread-specific key (man 3 pthread_key_create), so that it is
/// never named when it is gone.
pub struct SystemReach(());

/// A place for one thread of this process, to join with.
pub type ThreadSeat = Seat<SystemReach>;

/// How long a wait for answers lasts before it asks whether all threads are still there, if there were
/// none meanwhile. Longer than a tick of the system's clock: a timer that is due before the next tick
/// has the processor's clock set anew, twice, which costs as much as half a signal.
pub(super) const LOOK: Duration = Duration::from_millis(12);

// SAFETY: no seat, not engaged, not ended: `SeatLocal::new`.
unsafe impl<R: 'static> Zeroed for SeatLocal<R> {}

early_local! {
    /// The calling thread's, of those that have joined. Plain memory of the thread, without initialiser
    /// and destructor, where the system has such.
    fn here("portcullis_seat") -> SeatLocal<SystemReach> = SeatLocal::new();
}

// SAFETY: the only one of its type, for nobody else makes a `SystemReach`.
static REGISTERED: AllThreads<SystemReach> = unsafe { AllThreads::new(SystemReach(())) };

/// Operations on the threads of this process that have joined.
///
/// ```
/// use portcullis::all_threads::{Call, Operation, ThreadSeat, registered};
///
/// static SEATS: [ThreadSeat; 2] = [const { ThreadSeat::new() }; 2];
/// let member = registered().join(&SEATS[0])?;
/// let report = registered().call(&SEATS, Call::new(Operation::barrier()))?;
/// assert_eq!(report.others, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn registered() -> &'static AllThreads<SystemReach> {
    &REGISTERED
}

/// Until the deadline, or until it is time to look.
pub(super) fn wait(
    word: &AtomicU32,
    value: u32,
    deadline: Option<&Deadline>,
    look: Duration,
) -> Wait {
    let soon = Deadline::after(look);
    let until = deadline.map_or(soon, |deadline| deadline.sooner(soon));
    loop {
        match sys::wait(word, value, Some(&until)) {
            // ORDERING: Relaxed: a look; the caller's load is the one that acquires.
            Waited::Woken if word.load(Relaxed) != value => return Wait::Woken,
            // Interrupted by somebody's signal, perhaps again and again, and always before it is time.
            Waited::Woken if !until.has_passed() => {}
            _ if deadline.is_some_and(Deadline::has_passed) => return Wait::TimedOut,
            _ => return Wait::Look,
        }
    }
}

/// Sends the signal; false if there is no such thread.
///
/// # Safety
///
/// As for [`Reach::interrupt`]; and that thread has not ended, unless threads are numbered (Linux).
pub(super) unsafe fn interrupt(name: usize) -> Result<bool, Errno> {
    // SAFETY: as the caller promises.
    let thread = unsafe { OsThread::of_number(name) };
    match thread.send(sys::chosen()) {
        Ok(()) => Ok(true),
        Err(Errno(libc::ESRCH)) => Ok(false),
        Err(errno) => Err(errno),
    }
}

pub(super) fn current() -> usize {
    OsThread::current().number()
}

/// Puts the handler in place that all here share, or sees that it is: others may have taken it out.
pub(super) fn prepare() -> Result<(), Errno> {
    sys::interrupt(Crossing::AllThreads, on_signal)
}

/// Whatever the number: it may have been another one when the thread was asked. A thread that nobody calls
/// touches no thread-local here: in a library that was loaded later its first touch may allocate.
pub(super) fn on_signal(_: c_int, _: *mut c_void) {
    if REGISTERED.is_calling() {
        REGISTERED.on_signal();
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    super::process::on_signal();
}

/// The calling thread ends.
unsafe fn thread_ends(_: *const ()) {
    // Where thread-locals are keys of the system's too (OpenBSD, Android), perhaps after ours: then there is
    // nothing to leave by. Their order is the system's: OpenBSD's is the last one first, which is
    // ours; Android numbers threads and bears the name of one that has ended.
    if !here().is_null() {
        // SAFETY: called by the system as the thread ends, outside of all else.
        unsafe { REGISTERED.thread_ends() };
    }
}

// SAFETY: `here` is a thread-local, that of this type's only `AllThreads`. A name is a thread's number on
// Linux, where one that has ended is told; elsewhere a handle, whose thread has left its seat before it ends:
// `watch_end` sees to that. pthread_kill says ESRCH of threads that do not run.
unsafe impl Reach for SystemReach {
    fn here(&self) -> *const SeatLocal<Self> {
        let own = here();
        assert!(!own.is_null(), "called by a thread that has ended");
        own
    }
    fn current(&self) -> usize {
        current()
    }
    unsafe fn prepare(&self) -> Result<(), Errno> {
        prepare()
    }
    unsafe fn watch_end(&self) -> Result<(), Errno> {
        static END: ThreadEnd = ThreadEnd::new();
        // SAFETY: a static, and the same function each time, which needs no data.
        unsafe { END.arm(core::ptr::null(), thread_ends)? };
        sys::keep_stack()
    }
    unsafe fn interrupt(&self, name: usize) -> Result<bool, Errno> {
        // SAFETY: as the caller promises; a thread that has a seat has not ended.
        unsafe { interrupt(name) }
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    unsafe fn look_after(&self, name: usize, has_begun: bool) -> Silence {
        super::silent::look_after(name, has_begun)
    }
    fn abort(&self) {
        std::process::abort();
    }
    fn wait(&self, word: &AtomicU32, value: u32, deadline: Option<&Deadline>) -> Wait {
        wait(word, value, deadline, LOOK)
    }
}

impl fmt::Debug for SystemReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemReach").finish_non_exhaustive()
    }
}

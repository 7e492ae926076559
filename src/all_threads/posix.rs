//! Threads of this process that have joined, reached by a signal: POSIX.

use core::ffi::{c_int, c_void};
use core::fmt;
use core::time::Duration;

use super::{AllThreads, Here, Reach, Wait};
use crate::note::Deadline;
use crate::sync::{AtomicBool, AtomicU32, Ordering::*};
use crate::sys::{self, Crossing, Errno, OsThread, Waited};

/// Threads are interrupted by SIGURG, whose default is to be ignored, so that one under way when the
/// process executes another program does nothing there. A handler that was there before is called for
/// those that are nobody's here; the gate may use the same signal.
///
/// The one of the process is [`registered`].
pub struct System {
    /// Whether the handler is in place.
    taken: AtomicBool,
}

/// How long a wait for answers lasts before it asks whether all threads are still there, if there were
/// none meanwhile. Longer than a tick of the system's clock: a timer that is due before the next tick
/// has the processor's clock set anew, twice, which costs as much as half a signal.
pub(super) const LOOK: Duration = Duration::from_millis(12);

std::thread_local! {
    static HERE: Here = const { Here::new() };
}

static REGISTERED: AllThreads<System> = AllThreads::new(System { taken: AtomicBool::new(false) });

/// Operations on the threads of this process that have joined.
///
/// ```
/// use portcullis::all_threads::{Answer, Call, Seat, registered};
///
/// static SEATS: [Seat; 2] = [const { Seat::new() }; 2];
/// let member = registered().join(&SEATS[0])?;
/// let thread = || Ok(unsafe { libc::gettid() } % 7);
/// match registered().call(&SEATS, Call::new(&thread))? {
///     Answer::Complete(report) => assert_eq!(report.others, 0),
///     Answer::Unfinished(_) => unreachable!("there is no deadline"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn registered() -> &'static AllThreads<System> {
    &REGISTERED
}

/// The calling thread's, of those that have joined. Plain memory of the thread, without initialiser
/// and destructor.
fn here() -> &'static Here {
    HERE.with(|here| {
        // SAFETY: valid while the thread lives; `Here` is not handed to others.
        unsafe { &*core::ptr::from_ref(here) }
    })
}

/// Until the deadline, or until it is time to look.
pub(super) fn wait(
    word: &AtomicU32,
    value: u32,
    deadline: Option<&Deadline>,
    look: Duration,
) -> Wait {
    let soon = Deadline::after(look);
    match sys::wait(word, value, Some(&deadline.map_or(soon, |deadline| deadline.sooner(soon)))) {
        Waited::Woken => Wait::Woken,
        Waited::TimedOut if deadline.is_some_and(Deadline::has_passed) => Wait::TimedOut,
        Waited::TimedOut => Wait::Look,
    }
}

/// Sends the signal; false if there is no such thread.
pub(super) fn interrupt(name: usize) -> Result<bool, Errno> {
    match OsThread::of_number(name).send(sys::INTERRUPT) {
        Ok(()) => Ok(true),
        Err(Errno(libc::ESRCH)) => Ok(false),
        Err(errno) => Err(errno),
    }
}

pub(super) fn current() -> usize {
    OsThread::current().number()
}

/// Puts the handler in place that all here share.
pub(super) fn prepare(taken: &AtomicBool) -> Result<(), Errno> {
    // ORDERING: Relaxed: sigaction orders the handler with what comes after it, and doing it twice does
    // no harm.
    if !taken.load(Relaxed) {
        sys::interrupt_by(sys::INTERRUPT, Crossing::AllThreads, on_signal)?;
        taken.store(true, Relaxed);
    }
    Ok(())
}

fn on_signal(signal: c_int, _: *mut c_void) -> bool {
    let ours = signal == sys::INTERRUPT && REGISTERED.on_signal();
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let ours = super::process::on_signal() || ours;
    ours
}

// SAFETY: `here` is a thread-local.
unsafe impl Reach for System {
    fn here(&self) -> &Here {
        here()
    }
    fn current(&self) -> usize {
        current()
    }
    fn prepare(&self) -> Result<(), Errno> {
        prepare(&self.taken)
    }
    fn interrupt(&self, name: usize) -> Result<bool, Errno> {
        interrupt(name)
    }
    fn abort(&self) {
        std::process::abort();
    }
    fn wait(&self, word: &AtomicU32, value: u32, deadline: Option<&Deadline>) -> Wait {
        wait(word, value, deadline, LOOK)
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").finish_non_exhaustive()
    }
}

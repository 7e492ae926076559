//! Interrupting one thread. man 2 tgkill, sigaction.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr;

use super::handlers::Table;
use super::interrupts::{Interrupts, Marked};
use super::previous;
use super::process::handlers_mask;
use super::record::{Disposition, LEVELS, Own};
use super::unix::{Given, change, query};
use super::{Errno, errno};
use crate::sync::{AtomicPtr, Ordering::*};

/// Names a thread for as long as it is known not to have ended; on Linux and Android also when it
/// has, then as one that is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OsThread(
    #[cfg(any(target_os = "linux", target_os = "android"))] libc::pid_t,
    #[cfg(not(any(target_os = "linux", target_os = "android")))] libc::pthread_t,
);

// SAFETY: a name, which is not changed and whose thread any thread may ask for.
unsafe impl Send for OsThread {}
// SAFETY: as above.
unsafe impl Sync for OsThread {}

impl OsThread {
    /// The calling thread.
    pub(crate) fn current() -> Self {
        cfg_if::cfg_if! {
            if #[cfg(any(target_os = "linux", target_os = "android"))] {
                // SAFETY: no memory is passed.
                Self(unsafe { libc::syscall(libc::SYS_gettid) } as libc::pid_t)
            } else {
                // SAFETY: no preconditions.
                Self(unsafe { libc::pthread_self() })
            }
        }
    }

    /// The name as a number, which is not 0.
    pub(crate) fn number(self) -> usize {
        self.0 as usize
    }

    /// The thread of this number.
    ///
    /// # Safety
    ///
    /// [`number`](Self::number) gave it, and but for Linux and Android the thread has not ended when a
    /// signal is sent.
    pub(crate) unsafe fn of_number(number: usize) -> Self {
        Self(number as _)
    }

    /// Sends the thread a signal of ours; ESRCH if there is no such thread any more. Async-signal-safe;
    /// keeps errno.
    pub(crate) fn send(self, signal: c_int) -> Result<(), Errno> {
        cfg_if::cfg_if! {
            if #[cfg(any(target_os = "linux", target_os = "android"))] {
                errno::kept(|| super::own::send(self.0, signal))
            } else {
                // SAFETY: the thread has not ended: who keeps an `OsThread` sees to it. The gate's is marked
                // at its thread's end, under the claim without which it is not used
                // (`preempt::host::GateLocal::thread_ends`); the seats' is left before.
                match unsafe { libc::pthread_kill(self.0, signal) } {
                    0 => Ok(()),
                    errno => Err(Errno(errno)),
                }
            }
        }
    }
}

/// By which threads are interrupted unless they say otherwise, as long as nobody else has a handler for it:
/// its default is to be ignored, so that one under way when the process executes another program does
/// nothing there.
pub(crate) const INTERRUPT: c_int = libc::SIGURG;

/// The signals by one of which threads are interrupted where somebody has a handler for SIGURG (Go, a
/// program with urgent data): signals of that number merge, and so one of theirs could be lost in one of
/// ours, whoever is told. Real-time ones do not merge. Few, as the receiver's thread leaves them open; not
/// the last ones, which others take. One that is under way when the process executes another program
/// ends that program.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const OTHERS: [c_int; 3] = [59, 58, 57];
/// Elsewhere none is told from another's of the same number.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const OTHERS: [c_int; 0] = [];

/// Dispositions of this process, and [`on_signal`].
struct System;

static INTERRUPTS: Interrupts<System> = Interrupts::new(System);

/// The signal by which threads are interrupted now. Async-signal-safe.
pub(crate) fn chosen() -> c_int {
    INTERRUPTS.chosen()
}

/// Has the entry called for that signal, having looked whether it is to be another one from now on. To
/// be called before each use. Async-signal-safe.
pub(crate) fn interrupt(crossing: Crossing, entry: Entry) -> Result<(), Errno> {
    enter(crossing, entry);
    INTERRUPTS.look()
}

/// Whether threads are, or were, interrupted by the signal.
pub(crate) fn interrupts(signal: c_int) -> bool {
    INTERRUPTS.is_installed(signal)
}

/// What a crossing does in the handler of its signal, told what was interrupted. Several may be by one
/// signal, as one that is pending already takes in the next.
pub(crate) type Entry = fn(c_int, *mut c_void);

/// Whose entry it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Crossing {
    Gate,
    AllThreads,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Sinks,
}

static ENTRIES: [AtomicPtr<c_void>; 3] = [const { AtomicPtr::new(ptr::null_mut()) }; 3];

/// Has the entry called for the signal, on the alternate stack, all others masked that may wait. To be
/// called before each use of the signal: somebody may have put another disposition in its place since,
/// and then ours is put over that. Async-signal-safe.
pub(crate) fn interrupt_by(signal: c_int, crossing: Crossing, entry: Entry) -> Result<(), Errno> {
    enter(crossing, entry);
    INTERRUPTS.put(signal).map(drop)
}

fn enter(crossing: Crossing, entry: Entry) {
    let place = &ENTRIES[crossing as usize];
    // ORDERING: Relaxed, here and below: sigaction orders it before every run of the handler; if
    // that is there already, nobody sends for this crossing yet.
    if place.load(Relaxed) != entry as *mut c_void {
        place.store(entry as *mut c_void, Relaxed);
    }
}

impl Table for System {
    type Given = Given;
    type Found = libc::sigaction;

    fn query(&self, signal: c_int) -> Result<libc::sigaction, Errno> {
        query_any(signal)
    }
    fn put_ours(
        &self,
        signal: c_int,
        level: usize,
        before: &Disposition,
    ) -> Result<libc::sigaction, Errno> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if super::backup::is_backup(signal) {
            let put = super::backup::put_as(chosen(), ours(level));
            return put.map(|()| before.to_system());
        }
        // SAFETY: all zeros is a valid sigaction.
        let mut new: libc::sigaction = unsafe { zeroed() };
        new.sa_sigaction = ours(level);
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        new.sa_mask = handlers_mask();
        _ = before;
        // SAFETY: `on_signal` has the three arguments of SA_SIGINFO.
        unsafe { change(signal, &new) }
    }
    fn action(&self, found: &libc::sigaction) -> usize {
        found.sa_sigaction
    }
    fn ours(&self, level: usize) -> usize {
        ours(level)
    }
    fn disposition(&self, found: &libc::sigaction) -> Disposition {
        Disposition::of(found)
    }
    unsafe fn call(&self, it: &Disposition, signal: c_int, given: Given) {
        // SAFETY: as the caller promises.
        unsafe { it.call(signal, given.info, given.context) };
    }
    fn context(&self, given: Given) -> usize {
        given.context.addr()
    }
    fn own<R>(&self, look: impl FnOnce(&Own) -> R) -> R {
        previous::own(look)
    }
}

impl Marked for System {
    const FIRST: c_int = INTERRUPT;
    const OTHERS: &'static [c_int] = &OTHERS;

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn is_own(&self, given: Given) -> bool {
        // SAFETY: the kernel's, or what another handler passed on of it.
        unsafe { super::own::is(given.info) }
    }
    /// Nothing says so here.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn is_own(&self, _: Given) -> bool {
        false
    }
}

fn query_any(signal: c_int) -> Result<libc::sigaction, Errno> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if super::backup::is_backup(signal) {
        return super::backup::query();
    }
    query(signal)
}

fn ours(level: usize) -> usize {
    const ALL: [Function; LEVELS] = [
        on_signal::<0>,
        on_signal::<1>,
        on_signal::<2>,
        on_signal::<3>,
        on_signal::<4>,
        on_signal::<5>,
        on_signal::<6>,
        on_signal::<7>,
    ];
    ALL[level.min(LEVELS - 1)] as *const () as usize
}

/// A handler of three arguments (SA_SIGINFO).
type Function = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Whether it is one of our handlers.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn is_ours(action: usize) -> bool {
    (0..LEVELS).any(|level| ours(level) == action)
}

/// Leaves errno as it was for the interrupted code. Whoever had the signal before us is told of those that
/// are not known to be ours: of ours that comes late, when nothing is asked any more, it is not. But of a
/// standard one, where it has all that we know: ours may stand for one of theirs.
extern "C" fn on_signal<const LEVEL: usize>(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    errno::kept(|| {
        INTERRUPTS.handle(signal, LEVEL, Given { info, context }, || {
            for place in &ENTRIES {
                // ORDERING: Relaxed: see `enter`.
                let entry = place.load(Relaxed);
                if !entry.is_null() {
                    // SAFETY: stored by `enter`, an `Entry`.
                    let entry = unsafe { core::mem::transmute::<*mut c_void, Entry>(entry) };
                    entry(signal, context);
                }
            }
        });
    });
}

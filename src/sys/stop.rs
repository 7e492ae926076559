//! Interrupting one thread. man 2 tgkill, sigaction.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr;

use super::previous::{Disposition, Record, Recorded};
use super::process::all_but_faults;
use super::unix::{change, query};
use super::{Errno, SIGNALS, errno};
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

    /// The thread of this number, which is one that [`number`](Self::number) gave. Whoever asks for it
    /// sees to it that the thread has not ended when a signal is sent, but on Linux and Android.
    pub(crate) fn of_number(number: usize) -> Self {
        Self(number as _)
    }

    /// Sends the thread a signal; ESRCH if there is no such thread any more. Async-signal-safe; keeps
    /// errno.
    pub(crate) fn send(self, signal: c_int) -> Result<(), Errno> {
        cfg_if::cfg_if! {
            if #[cfg(any(target_os = "linux", target_os = "android"))] {
                errno::kept(|| {
                    // SAFETY: no memory is passed.
                    let done = unsafe {
                        libc::syscall(libc::SYS_tgkill, libc::getpid(), self.0, signal)
                    };
                    if done == 0 { Ok(()) } else { Err(Errno(errno::get())) }
                })
            } else {
                // SAFETY: the thread has not ended: who keeps an `OsThread` sees to it. The gate's is marked
                // at its thread's end, under the claim without which it is not used
                // (`preempt::host::GateLocal::thread_ends`).
                match unsafe { libc::pthread_kill(self.0, signal) } {
                    0 => Ok(()),
                    errno => Err(Errno(errno)),
                }
            }
        }
    }
}

/// By which threads are interrupted unless they say otherwise: its default is to be ignored, so that one
/// under way when the process executes another program does nothing there.
pub(crate) const INTERRUPT: c_int = libc::SIGURG;

/// What a crossing does in the handler of its signal, told what was interrupted: whether the signal was
/// its own. Several may be by one signal, as one that is pending already takes in the next.
pub(crate) type Entry = fn(c_int, *mut c_void) -> bool;

/// Whose entry it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Crossing {
    Gate,
    AllThreads,
}

static ENTRIES: [AtomicPtr<c_void>; 2] = [const { AtomicPtr::new(ptr::null_mut()) }; 2];

/// What our handler was put over, for each signal.
static BEFORE: [Record; SIGNALS] = [const { Record::new() }; SIGNALS];

/// Has the entry called for the signal, on the alternate stack, all others masked that may wait. Looks
/// each time: somebody may have put another disposition in its place, and then ours is put over that.
pub(crate) fn interrupt_by(signal: c_int, crossing: Crossing, entry: Entry) -> Result<(), Errno> {
    let before = usize::try_from(signal).ok().and_then(|at| BEFORE.get(at));
    let before = before.ok_or(Errno(libc::EINVAL))?;
    // ORDERING: Relaxed, here and below: sigaction orders it before every run of the handler; if
    // that is there already, nobody sends for this crossing yet.
    ENTRIES[crossing as usize].store(entry as *mut c_void, Relaxed);
    let old = query(signal)?;
    if old.sa_sigaction == on_signal as *const () as usize {
        return Ok(());
    }
    before.put_over(&Disposition::of(&old));
    // SAFETY: all zeros is a valid sigaction.
    let mut new: libc::sigaction = unsafe { zeroed() };
    new.sa_sigaction = on_signal as *const () as usize;
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    new.sa_mask = all_but_faults();
    // SAFETY: `on_signal` has the three arguments of SA_SIGINFO.
    unsafe { change(signal, &new) }.map(drop)
}

/// Leaves errno as it was for the interrupted code. Standard signals merge: one that was ours may have
/// been another's too, so whoever had the signal before us is told of each.
extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    errno::kept(|| {
        for place in &ENTRIES {
            // ORDERING: Relaxed: see `interrupt_by`.
            let entry = place.load(Relaxed);
            if !entry.is_null() {
                // SAFETY: stored by `interrupt_by`, an `Entry`.
                let entry = unsafe { core::mem::transmute::<*mut c_void, Entry>(entry) };
                entry(signal, context);
            }
        }
        chain(signal, info, context);
    });
}

fn chain(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let before = usize::try_from(signal).ok().and_then(|at| BEFORE.get(at));
    if let Some(Recorded { base, over }) = before.and_then(Record::read) {
        let last = over.unwrap_or(base);
        if last.is_function() {
            // SAFETY: a function; `interrupt_by` recorded it as the system told it.
            unsafe { last.call(signal, info, context) };
        }
    }
}

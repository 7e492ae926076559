//! Interrupting one thread. man 2 tgkill, sigaction.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr;

use super::previous::{Chaining, Disposition, Record, Recorded, Whose};
use super::process::handlers_mask;
use super::unix::{change, query};
use super::{Errno, SIGNALS, errno};
use crate::sync::{AtomicPtr, AtomicU32, Ordering::*};

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

/// Which of them it is now.
static CHOSEN: AtomicU32 = AtomicU32::new(INTERRUPT as u32);

/// The signal by which threads are interrupted now. Async-signal-safe.
pub(crate) fn chosen() -> c_int {
    // ORDERING: Relaxed: whichever it is, its handler was put in place before it was chosen.
    CHOSEN.load(Relaxed) as c_int
}

/// Has the entry called for that signal, having looked whether it is to be another one from now on. To
/// be called before each use. Async-signal-safe.
pub(crate) fn interrupt(crossing: Crossing, entry: Entry) -> Result<(), Errno> {
    let all = || [chosen(), INTERRUPT].into_iter().chain(OTHERS);
    let entry_place = &ENTRIES[crossing as usize];
    // ORDERING: Relaxed: as in `interrupt_by`. It was asked for by this crossing, and is there: one question
    // is enough.
    if !entry_place.load(Relaxed).is_null() && company(chosen()) == Company::Ours {
        return Ok(());
    }
    // Where everybody has company, one is shared that does not merge, if one may be: a host in Go has a handler
    // for every signal.
    let alone = all().find(|signal| company(*signal) != Company::Others);
    let signal = alone.or_else(|| all().find(|signal| may_be_shared(*signal))).unwrap_or(INTERRUPT);
    interrupt_by(signal, crossing, entry)?;
    if signal != chosen() {
        // Whoever uses the old one meanwhile has a handler for it still.
        // ORDERING: Relaxed: as in `chosen`.
        CHOSEN.store(signal as u32, Relaxed);
    }
    Ok(())
}

/// Whether threads are, or were, interrupted by the signal.
pub(crate) fn interrupts(signal: c_int) -> bool {
    let before = usize::try_from(signal).ok().and_then(|at| BEFORE.get(at));
    before.is_some_and(Record::is_installed)
}

/// Who has a handler for a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Company {
    Nobody,
    /// It is in place, and over nobody's.
    Ours,
    Others,
}

fn company(signal: c_int) -> Company {
    let Ok(now) = query(signal) else { return Company::Others };
    match now.sa_sigaction {
        // Somebody wants to be rid of it, who may count on that.
        libc::SIG_IGN if signal != INTERRUPT => Company::Others,
        libc::SIG_IGN | libc::SIG_DFL => Company::Nobody,
        action if action == handler() => {
            let before = usize::try_from(signal).ok().and_then(|at| BEFORE.get(at));
            match before.and_then(Record::read) {
                Some(it) if it.over.is_none() && !it.base.is_function() => Company::Ours,
                _ => Company::Others,
            }
        }
        _ => Company::Others,
    }
}

/// Whether neither owner loses a signal: ours are told from theirs, and theirs handed on. Who ignores one may
/// count on that.
fn may_be_shared(signal: c_int) -> bool {
    let handled = |now: libc::sigaction| now.sa_sigaction != libc::SIG_IGN;
    OTHERS.contains(&signal) && query(signal).is_ok_and(handled)
}

/// What a crossing does in the handler of its signal, told what was interrupted. Several may be by one
/// signal, as one that is pending already takes in the next.
pub(crate) type Entry = fn(c_int, *mut c_void);

/// Whose entry it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Crossing {
    Gate,
    AllThreads,
}

static ENTRIES: [AtomicPtr<c_void>; 2] = [const { AtomicPtr::new(ptr::null_mut()) }; 2];

/// What our handler was put over, for each signal.
static BEFORE: [Record; SIGNALS] = [const { Record::new() }; SIGNALS];

/// Has the entry called for the signal, on the alternate stack, all others masked that may wait. To be
/// called before each use of the signal: somebody may have put another disposition in its place since,
/// and then ours is put over that. Async-signal-safe.
pub(crate) fn interrupt_by(signal: c_int, crossing: Crossing, entry: Entry) -> Result<(), Errno> {
    let before = usize::try_from(signal).ok().and_then(|at| BEFORE.get(at));
    let before = before.ok_or(Errno(libc::EINVAL))?;
    // ORDERING: Relaxed, here and below: sigaction orders it before every run of the handler; if
    // that is there already, nobody sends for this crossing yet.
    ENTRIES[crossing as usize].store(entry as *mut c_void, Relaxed);
    let old = query_any(signal)?;
    if old.sa_sigaction == handler() {
        return Ok(());
    }
    before.put_over(&Disposition::of(&old));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if super::backup::is_backup(signal) {
        return super::backup::put_as(chosen());
    }
    // SAFETY: all zeros is a valid sigaction.
    let mut new: libc::sigaction = unsafe { zeroed() };
    new.sa_sigaction = handler();
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    new.sa_mask = handlers_mask();
    // SAFETY: `on_signal` has the three arguments of SA_SIGINFO.
    unsafe { change(signal, &new) }.map(drop)
}

fn query_any(signal: c_int) -> Result<libc::sigaction, Errno> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if super::backup::is_backup(signal) {
        return super::backup::query();
    }
    query(signal)
}

pub(super) fn handler() -> usize {
    on_signal as *const () as usize
}

/// Leaves errno as it was for the interrupted code. Whoever had the signal before us is told of those that
/// are not known to be ours: also of ours that comes late, when nothing is asked any more, it is not.
extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    errno::kept(|| {
        let before = usize::try_from(signal).ok().and_then(|at| BEFORE.get(at));
        let Some(before) = before else { return };
        let again =
            before.has_over() && Chaining::is_calling(Whose::Interrupts, signal, context);
        for place in &ENTRIES {
            // ORDERING: Relaxed: see `interrupt_by`.
            let entry = place.load(Relaxed);
            if !entry.is_null() {
                // SAFETY: stored by `interrupt_by`, an `Entry`.
                let entry = unsafe { core::mem::transmute::<*mut c_void, Entry>(entry) };
                entry(signal, context);
            }
        }
        if !is_own(info) {
            chain(before, again, (signal, info, context));
        }
    });
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_own(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the kernel's, or what another handler passed on of it.
    unsafe { super::own::is(info) }
}

/// Nothing says so here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_own(_: *const libc::siginfo_t) -> bool {
    false
}

/// To whoever had the signal before us; to who put a handler over ours, if somebody did, unless that is
/// who calls.
fn chain(
    record: &Record,
    again: bool,
    (signal, info, context): (c_int, *mut libc::siginfo_t, *mut c_void),
) {
    match record.read() {
        Some(Recorded { over: Some(over), .. }) if !again => {
            // SAFETY: `put_over` records functions there, as the system told them.
            Chaining::around(Whose::Interrupts, signal, || unsafe {
                over.call(signal, info, context);
            });
        }
        Some(Recorded { base, .. }) if base.is_function() => {
            record.used(&base);
            // SAFETY: a function; `interrupt_by` recorded it as the system told it.
            unsafe { base.call(signal, info, context) };
        }
        _ => {}
    }
}

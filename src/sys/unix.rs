//! Dispositions by POSIX: sigaction, and the handler that every signal of ours enters.
//! man 2 sigaction, man 7 signal-safety; man 2 rt_tgsigqueueinfo for Linux.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr;

use super::origin::origin;
use super::process::{acts_by_default, raise_here};
use super::{Entry, Errno, Restored, SIGNALS, Verdict, errno};
use crate::sync::{AtomicPtr, AtomicU32, AtomicUsize, Mutex, Ordering::*};

/// What stood in place of our handler, and whether something was recorded at all.
struct Record {
    /// `sa_sigaction`: SIG_DFL, SIG_IGN or a function.
    action: AtomicUsize,
    /// `sa_flags`, 32 bits of which the systems use the topmost.
    flags: AtomicU32,
    /// [`KNOWN`], [`COVERED`] and [`CALLS_OURS`], and how often the other two were written: a reader
    /// that finds the same before and after them has a pair (until 2^29 writes come between).
    state: AtomicU32,
}

/// The record holds something.
const KNOWN: u32 = 1;
/// Somebody put a handler over ours, and may call ours from it.
const COVERED: u32 = 1 << 1;
/// What is recorded was put over ours, and may call ours.
const CALLS_OURS: u32 = 1 << 2;
/// One write.
const WRITE: u32 = 1 << 3;

static RECORDS: [Record; SIGNALS] = [const {
    Record { action: AtomicUsize::new(0), flags: AtomicU32::new(0), state: AtomicU32::new(0) }
}; SIGNALS];

/// The masks of those dispositions, which no handler reads. Who has the lock is also the only one that
/// writes records. It is taken under the hub's, so no fork of the C library finds it taken.
static MASKS: Mutex<Masks> = Mutex::new([None; SIGNALS]);
type Masks = [Option<libc::sigset_t>; SIGNALS];

static ENTRY: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

fn record(signal: c_int) -> Option<&'static Record> {
    RECORDS.get(usize::try_from(signal).ok()?)
}

fn check(result: c_int) -> Result<(), Errno> {
    if result == -1 { Err(Errno(errno::get())) } else { Ok(()) }
}

pub(super) fn query(signal: c_int) -> Result<libc::sigaction, Errno> {
    // SAFETY: all zeros is a valid sigaction.
    let mut now: libc::sigaction = unsafe { zeroed() };
    // SAFETY: a null new action only asks.
    check(unsafe { libc::sigaction(signal, ptr::null(), &raw mut now) })?;
    Ok(now)
}

/// # Safety
///
/// The action is SIG_DFL, SIG_IGN, what the system told before, or a handler of ours that fits its
/// flags.
pub(super) unsafe fn change(
    signal: c_int,
    new: &libc::sigaction,
) -> Result<libc::sigaction, Errno> {
    // SAFETY: all zeros is a valid sigaction.
    let mut old: libc::sigaction = unsafe { zeroed() };
    // SAFETY: both point to sigactions; the new one is what the caller promises.
    check(unsafe { libc::sigaction(signal, new, &raw mut old) })?;
    Ok(old)
}

fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == handler as *const () as usize
}

fn simple(action: usize) -> libc::sigaction {
    // SAFETY: all zeros is a valid sigaction: SIG_DFL, no flags, an empty mask.
    let mut new: libc::sigaction = unsafe { zeroed() };
    new.sa_sigaction = action;
    new
}

fn remember(masks: &mut Masks, signal: c_int, old: &libc::sigaction) {
    let Some(record) = record(signal) else { return };
    // What was put over ours may call ours: calling it in turn would not end.
    // ORDERING: Relaxed: written under the lock alone.
    let before = record.state.load(Relaxed);
    let covered = if before & COVERED != 0 { COVERED | CALLS_OURS } else { 0 };
    let written = (before & !(WRITE - 1)).wrapping_add(WRITE);
    // ORDERING: the state goes first and comes last, so that a handler (`recorded`) that reads the
    // same state before and after the two has the pair. AcqRel keeps both behind, Release keeps
    // them in front.
    record.state.swap(written, AcqRel);
    record.action.store(old.sa_sigaction, Release);
    record.flags.store(old.sa_flags as u32, Release);
    record.state.store(written | KNOWN | covered, Release);
    if let Some(mask) = masks.get_mut(signal as usize) {
        *mask = Some(old.sa_mask);
    }
}

/// Puts our handler in place; see the contract in [`super`].
pub(crate) fn install(signal: c_int, entry: Entry) -> Result<(), Errno> {
    // ORDERING: Relaxed: sigaction orders it before every run of the handler.
    ENTRY.store(entry as *mut c_void, Relaxed);
    let mut masks = MASKS.lock();
    let before = query(signal)?;
    if is_ours(&before) {
        return Ok(());
    }
    remember(&mut masks, signal, &before);
    let mut new = simple(handler as *const () as usize);
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the set is ours to fill.
    unsafe { libc::sigfillset(&raw mut new.sa_mask) };
    // SAFETY: `handler` has the three arguments of SA_SIGINFO.
    let old = unsafe { change(signal, &new) }?;
    let same = |a: &libc::sigaction| (a.sa_sigaction, a.sa_flags);
    if !is_ours(&old) && same(&old) != same(&before) {
        remember(&mut masks, signal, &old);
    }
    Ok(())
}

/// Puts back what was there; see the contract in [`super`].
pub(crate) fn restore(signal: c_int) -> Result<Restored, Errno> {
    let Some(record) = record(signal) else {
        return Ok(Restored::Foreign);
    };
    let masks = MASKS.lock();
    if !is_ours(&query(signal)?) {
        // ORDERING: Relaxed: a handler called by the foreign one may also come before this.
        record.state.fetch_or(COVERED, Relaxed);
        return Ok(Restored::Foreign);
    }
    // ORDERING: Relaxed: written by this thread or by one before it under the lock.
    let mut old = simple(record.action.load(Relaxed));
    old.sa_flags = record.flags.load(Relaxed) as c_int;
    if let Some(Some(mask)) = masks.get(signal as usize) {
        old.sa_mask = *mask;
    }
    // SAFETY: what `remember` had of the system, or, if nothing, the default action.
    let replaced = unsafe { change(signal, &old) }?;
    if is_ours(&replaced) {
        return Ok(Restored::Previous);
    }
    // Somebody was quicker, between the question and the change: theirs stays.
    // ORDERING: Relaxed: as above.
    record.state.fetch_or(COVERED, Relaxed);
    // SAFETY: what the system has just told.
    unsafe { change(signal, &replaced) }.map(|_| Restored::Foreign)
}

/// Gives the signal its default action, whoever handled it.
pub(crate) fn set_default(signal: c_int) -> Result<(), Errno> {
    set_simple(signal, libc::SIG_DFL)
}

/// The same, remembering nothing; not under the lock. Async-signal-safe.
pub(super) fn force_default(signal: c_int) -> Result<(), Errno> {
    // SAFETY: no function.
    unsafe { change(signal, &simple(libc::SIG_DFL)) }.map(|_| ())
}

/// Has the signal ignored, whoever handled it.
pub(crate) fn set_ignored(signal: c_int) -> Result<(), Errno> {
    set_simple(signal, libc::SIG_IGN)
}

fn set_simple(signal: c_int, action: usize) -> Result<(), Errno> {
    let new = simple(action);
    let mut masks = MASKS.lock();
    // SAFETY: one of two actions that are no functions: the callers below.
    unsafe { change(signal, &new) }?;
    if let Some(record) = record(signal) {
        // Nothing is put over ours any more.
        // ORDERING: Relaxed: under the lock; `remember` publishes.
        record.state.fetch_and(!(COVERED | CALLS_OURS), Relaxed);
    }
    remember(&mut masks, signal, &new);
    Ok(())
}

/// Whether the process ignores the signal; asks the kernel.
pub(crate) fn is_ignored(signal: c_int) -> Result<bool, Errno> {
    query(signal).map(|now| now.sa_sigaction == libc::SIG_IGN)
}

/// The handler of every signal of ours. No allocation, no lock, no thread-local but errno's.
extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    errno::kept(|| {
        // ORDERING: Relaxed: sigaction came between the store and this.
        let entry = ENTRY.load(Relaxed);
        if entry.is_null() {
            return;
        }
        // SAFETY: only `install` stores there, and it stores an `Entry`.
        let entry = unsafe { core::mem::transmute::<*mut c_void, Entry>(entry) };
        // SAFETY: of the kernel, as `install` asks for SA_SIGINFO; or of a handler that was put over
        // ours and calls it, which that flag binds to pass what it was passed.
        let origin = unsafe { origin(signal, info) };
        match entry(signal, origin) {
            Verdict::Handled => chain(signal, info, context),
            Verdict::Ignored => {}
            Verdict::Unwanted if is_covered(signal) => covered(signal, info, context),
            Verdict::Unwanted => redeliver(signal, info),
        }
    });
}

/// Whether a handler that was put over ours called us: the signal is its business then, and
/// raising it again would bring it here again.
fn is_covered(signal: c_int) -> bool {
    // ORDERING: Relaxed: one word, passing nothing on.
    record(signal).is_some_and(|record| record.state.load(Relaxed) & COVERED != 0)
}

/// An unwanted signal, after somebody put a handler over ours. If that is still in force, the
/// signal is its business. If it put ours back, as it had found it, nobody has the signal: what
/// was there before us acts. A handler is called and not put back, as a subscription may begin
/// meanwhile. sigaction(2) is async-signal-safe.
fn covered(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if !query(signal).is_ok_and(|now| is_ours(&now)) {
        return;
    }
    match recorded(signal) {
        Some(Recorded { action: libc::SIG_IGN, .. }) | None => {}
        Some(Recorded { action: libc::SIG_DFL, .. }) => {
            if acts_by_default(signal) && force_default(signal).is_ok() {
                redeliver(signal, info);
            }
        }
        Some(Recorded { state, .. }) if state & CALLS_OURS != 0 => {}
        // SAFETY: a function (the arms above) and its flags, of one moment (`recorded`).
        Some(Recorded { action, flags, .. }) => unsafe {
            call(action, flags, signal, info, context);
        },
    }
}

/// Calls the handler that was there before, if it was a function.
fn chain(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    match recorded(signal) {
        // SIG_DFL and SIG_IGN first: they are no functions, whatever the flags say.
        Some(Recorded { action: libc::SIG_DFL | libc::SIG_IGN, .. }) | None => {}
        // SAFETY: as in `covered`.
        Some(Recorded { action, flags, state }) if state & COVERED == 0 => unsafe {
            call(action, flags, signal, info, context);
        },
        Some(_) => {}
    }
}

/// A [`Record`] of one moment.
struct Recorded {
    action: usize,
    flags: u32,
    state: u32,
}

/// What is remembered, unless it is just being changed.
fn recorded(signal: c_int) -> Option<Recorded> {
    let record = record(signal)?;
    // ORDERING: Acquire, three times: see `remember`. The last is ordered by the two before it.
    let state = record.state.load(Acquire);
    let (action, flags) = (record.action.load(Acquire), record.flags.load(Acquire));
    let whole = record.state.load(Relaxed) == state && state & KNOWN != 0;
    whole.then_some(Recorded { action, flags, state })
}

/// Calls a handler that the system held with these flags.
///
/// # Safety
///
/// The system held the two together, and the action is a function: neither SIG_DFL nor SIG_IGN. The
/// rest is what the caller, a handler, was passed. That the function is still there, whose library may
/// have been unloaded, is on whoever installed it: the kernel rests on no more.
pub(super) unsafe fn call(
    action: usize,
    flags: u32,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    if flags & libc::SA_SIGINFO as u32 != 0 {
        type Three = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
        // SAFETY: the system held it as a handler of three arguments (SA_SIGINFO): the caller's promise.
        let previous = unsafe { core::mem::transmute::<usize, Three>(action) };
        previous(signal, info, context);
    } else {
        // SAFETY: the system held it as a handler of one argument: the caller's promise.
        let previous = unsafe { core::mem::transmute::<usize, extern "C" fn(c_int)>(action) };
        previous(signal);
    }
}

/// Sends the signal to this thread again: it is masked until the handler returns, and then meets
/// the disposition in force, with its origin where the system lets us keep it.
fn redeliver(signal: c_int, info: *mut libc::siginfo_t) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // SAFETY: getpid and gettid have no preconditions; the information is the kernel's own.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_rt_tgsigqueueinfo,
                libc::getpid(),
                libc::syscall(libc::SYS_gettid),
                signal,
                info,
            )
        };
        if sent == 0 {
            return;
        }
    }
    let _ = info;
    raise_here(signal);
}

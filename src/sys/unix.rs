//! Dispositions by POSIX: sigaction, and the handler that every signal of ours enters.
//! man 2 sigaction, man 7 signal-safety; man 2 rt_tgsigqueueinfo for Linux.

use core::ffi::{c_int, c_void};
use core::mem::{MaybeUninit, zeroed};
use core::ptr;

use super::origin::origin;
use super::process::{acts_by_default, raise_here};
use super::{Entry, Errno, Restored, SIGNALS, Verdict, errno};
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering::*};

/// What stood in place of our handler, and whether something was recorded at all.
struct Record {
    /// `sa_sigaction`: SIG_DFL, SIG_IGN or a function.
    action: AtomicUsize,
    /// `sa_flags`, with [`KNOWN`] and [`COVERED`] added.
    flags: AtomicU64,
}

/// Flags are 32 bits, and the systems use the topmost. This is above them: the record holds
/// something.
const KNOWN: u64 = 1 << 63;
/// Nor is this: somebody put a handler over ours, and may call ours from it.
const COVERED: u64 = 1 << 62;
/// Nor is this: what is recorded was put over ours, and may call ours.
const CALLS_OURS: u64 = 1 << 61;

static RECORDS: [Record; SIGNALS] =
    [const { Record { action: AtomicUsize::new(0), flags: AtomicU64::new(0) } }; SIGNALS];

/// The masks of those dispositions; only read and written under the caller's lock, unlike the
/// rest, which handlers read.
struct Masks(core::cell::UnsafeCell<[MaybeUninit<libc::sigset_t>; SIGNALS]>);
// SAFETY: `install`, `restore`, `set_default` and `set_ignored` alone reach it, and the hub alone
// calls those, under its lock.
unsafe impl Sync for Masks {}
static MASKS: Masks = Masks(core::cell::UnsafeCell::new([MaybeUninit::uninit(); SIGNALS]));

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

pub(super) fn change(signal: c_int, new: &libc::sigaction) -> Result<libc::sigaction, Errno> {
    // SAFETY: all zeros is a valid sigaction.
    let mut old: libc::sigaction = unsafe { zeroed() };
    // SAFETY: both point to sigactions, and the new one's function is ours, SIG_DFL, SIG_IGN or
    // what the system told us before.
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

fn remember(signal: c_int, old: &libc::sigaction) {
    let Some(record) = record(signal) else { return };
    // What was put over ours may call ours: calling it in turn would not end.
    // ORDERING: Relaxed: under the caller's lock.
    let covered = if record.flags.load(Relaxed) & COVERED != 0 { COVERED | CALLS_OURS } else { 0 };
    // ORDERING: the flags go first and come last, so that a handler (`chain`) that reads the same
    // flags before and after the action has the pair. AcqRel keeps the action behind, Release
    // keeps it in front.
    record.flags.swap(0, AcqRel);
    record.action.store(old.sa_sigaction, Release);
    record.flags.store(u64::from(old.sa_flags as u32) | KNOWN | covered, Release);
    // SAFETY: under the caller's lock, see `Masks`.
    let masks = unsafe { &mut *MASKS.0.get() };
    if let Some(mask) = masks.get_mut(signal as usize) {
        mask.write(old.sa_mask);
    }
}

/// Puts our handler in place; see the contract in [`super`].
pub(crate) fn install(signal: c_int, entry: Entry) -> Result<(), Errno> {
    // ORDERING: Relaxed: sigaction orders it before every run of the handler.
    ENTRY.store(entry as *mut c_void, Relaxed);
    let before = query(signal)?;
    if is_ours(&before) {
        return Ok(());
    }
    remember(signal, &before);
    let mut new = simple(handler as *const () as usize);
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the set is ours to fill.
    unsafe { libc::sigfillset(&raw mut new.sa_mask) };
    let old = change(signal, &new)?;
    let same = |a: &libc::sigaction| (a.sa_sigaction, a.sa_flags);
    if !is_ours(&old) && same(&old) != same(&before) {
        remember(signal, &old);
    }
    Ok(())
}

/// Puts back what was there; see the contract in [`super`].
pub(crate) fn restore(signal: c_int) -> Result<Restored, Errno> {
    let Some(record) = record(signal) else {
        return Ok(Restored::Foreign);
    };
    if !is_ours(&query(signal)?) {
        // ORDERING: Relaxed: a handler called by the foreign one may also come before this.
        record.flags.fetch_or(COVERED, Relaxed);
        return Ok(Restored::Foreign);
    }
    // ORDERING: Relaxed: written by this thread or by one before it under the caller's lock.
    let flags = record.flags.load(Relaxed);
    let mut old = simple(record.action.load(Relaxed));
    old.sa_flags = flags as u32 as c_int;
    // SAFETY: under the caller's lock; written whenever KNOWN was.
    let masks = unsafe { &*MASKS.0.get() };
    if let Some(mask) = masks.get(signal as usize).filter(|_| flags & KNOWN != 0) {
        // SAFETY: as above.
        old.sa_mask = unsafe { mask.assume_init() };
    }
    let replaced = change(signal, &old)?;
    if is_ours(&replaced) {
        return Ok(Restored::Previous);
    }
    // Somebody was quicker, between the question and the change: theirs stays.
    // ORDERING: Relaxed: as above.
    record.flags.fetch_or(COVERED, Relaxed);
    change(signal, &replaced).map(|_| Restored::Foreign)
}

/// Gives the signal its default action, whoever handled it.
pub(crate) fn set_default(signal: c_int) -> Result<(), Errno> {
    set_simple(signal, libc::SIG_DFL)
}

/// The same, remembering nothing; not under the caller's lock. Async-signal-safe.
pub(super) fn force_default(signal: c_int) -> Result<(), Errno> {
    change(signal, &simple(libc::SIG_DFL)).map(|_| ())
}

/// Has the signal ignored, whoever handled it.
pub(crate) fn set_ignored(signal: c_int) -> Result<(), Errno> {
    set_simple(signal, libc::SIG_IGN)
}

fn set_simple(signal: c_int, action: usize) -> Result<(), Errno> {
    let new = simple(action);
    change(signal, &new)?;
    if let Some(record) = record(signal) {
        // Nothing is put over ours any more.
        // ORDERING: Relaxed: under the caller's lock; `remember` publishes.
        record.flags.fetch_and(!(COVERED | CALLS_OURS), Relaxed);
    }
    remember(signal, &new);
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
        match entry(signal, origin(signal, info)) {
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
    record(signal).is_some_and(|record| record.flags.load(Relaxed) & COVERED != 0)
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
        Some((libc::SIG_IGN, _)) | None => {}
        Some((libc::SIG_DFL, _)) => {
            if acts_by_default(signal) && force_default(signal).is_ok() {
                redeliver(signal, info);
            }
        }
        Some((_, flags)) if flags & CALLS_OURS != 0 => {}
        Some((action, flags)) => call(action, flags, signal, info, context),
    }
}

/// Calls the handler that was there before, if it was a function.
fn chain(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    match recorded(signal) {
        // SIG_DFL and SIG_IGN first: they are no functions, whatever the flags say.
        Some((libc::SIG_DFL | libc::SIG_IGN, _)) | None => {}
        Some((action, flags)) if flags & COVERED == 0 => call(action, flags, signal, info, context),
        Some(_) => {}
    }
}

/// What is remembered, unless it is just being changed.
fn recorded(signal: c_int) -> Option<(usize, u64)> {
    let record = record(signal)?;
    // ORDERING: Acquire, twice: see `remember`. The last is ordered by the second.
    let flags = record.flags.load(Acquire);
    let action = record.action.load(Acquire);
    let whole = record.flags.load(Relaxed) == flags && flags & KNOWN != 0;
    whole.then_some((action, flags))
}

/// Calls a handler that the system held with these flags.
pub(super) fn call(
    action: usize,
    flags: u64,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    if flags & libc::SA_SIGINFO as u64 != 0 {
        type Three = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
        // SAFETY: the system held it as a handler of three arguments (SA_SIGINFO).
        let previous = unsafe { core::mem::transmute::<usize, Three>(action) };
        previous(signal, info, context);
    } else {
        // SAFETY: the system held it as a handler of one argument.
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

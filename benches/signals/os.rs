//! The system's calls that the measurements need, and what all of them share.

use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// Nanoseconds on the clock that all processes share.
pub(crate) fn now() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds that the calling thread has run for.
pub(crate) fn cpu_time() -> u64 {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read_clock(clock: libc::clockid_t) -> u64 {
    // SAFETY: all zeros is a valid timespec.
    let mut time: libc::timespec = unsafe { zeroed() };
    // SAFETY: the pointer is valid for the call.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

pub(crate) fn pid() -> i32 {
    // SAFETY: no preconditions.
    unsafe { libc::getpid() }
}

pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: no preconditions.
    unsafe { libc::kill(pid, signal) };
}

/// Sends a signal to the calling thread: it has been handled when this returns.
pub(crate) fn raise(signal: i32) {
    // SAFETY: no preconditions.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), signal) };
}

pub(crate) fn all_signals() -> libc::sigset_t {
    // SAFETY: all zeros is storage for a set, filled next.
    let mut set: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: the set is a local.
    unsafe { libc::sigfillset(&raw mut set) };
    set
}

pub(crate) fn set_of(signal: i32) -> libc::sigset_t {
    // SAFETY: all zeros is storage for a set, emptied next.
    let mut set: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: the set is a local.
    unsafe {
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
    }
    set
}

pub(crate) fn block(set: &libc::sigset_t) {
    // SAFETY: the set is valid.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set, ptr::null_mut()) };
}

/// Masks all signals while `f` runs, so that threads it starts take none.
pub(crate) fn masked<R>(f: impl FnOnce() -> R) -> R {
    let all = all_signals();
    // SAFETY: all zeros is storage for a set, filled by the call.
    let mut before: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: both sets are locals.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
    let result = f();
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    result
}

/// Masks all signals in this thread and has another take them, while `f` runs.
///
/// A thread that takes a storm gets nothing else done.
pub(crate) fn with_taker<R>(f: impl FnOnce() -> R) -> R {
    static ENDED: AtomicBool = AtomicBool::new(false);
    ENDED.store(false, SeqCst);
    let taker = thread::spawn(|| {
        while !ENDED.load(SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    });
    let result = masked(f);
    ENDED.store(true, SeqCst);
    taker.join().expect("the taker ends");
    result
}

/// Waits for a signal of the set, which is blocked everywhere.
pub(crate) fn sigwaitinfo(set: &libc::sigset_t) {
    // SAFETY: all zeros is storage for the answer.
    let mut info: libc::siginfo_t = unsafe { zeroed() };
    // SAFETY: both pointers are valid for the call.
    unsafe { libc::sigwaitinfo(set, &raw mut info) };
}

extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Has a signal that still comes after its subscribers went do nothing.
pub(crate) fn ignore(signal: i32) {
    // SAFETY: SIG_IGN is no code.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Installs a handler that does nothing: what the kernel alone costs.
pub(crate) fn install_empty(signal: i32) {
    install(signal, nothing);
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Installs a handler that is async-signal-safe, with the flags and the mask of ours.
pub(crate) fn install(signal: i32, handler: Handler) {
    // SAFETY: all zeros is a valid sigaction.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    action.sa_mask = all_signals();
    // SAFETY: the handler is async-signal-safe.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
}

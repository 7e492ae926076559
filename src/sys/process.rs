//! What else of POSIX the signals need: dying by a signal, forks, the name of a thread.
//! man 3 pthread_sigmask, pthread_kill, pthread_atfork.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr;

use super::masks::{AllBlocked, Mask, all_but_faults};
use super::{Errno, errno, unix};
use crate::sync::{AtomicPtr, Ordering::Relaxed};

/// Sends a signal to the calling thread alone. raise(3) is process-directed on old systems.
/// Async-signal-safe.
///
/// A real-time signal to a thread is refused (EAGAIN) while the user's queue is full (man 7 signal,
/// RLIMIT_SIGPENDING); kill(2) is not, so the process gets it then.
pub(super) fn raise_here(signal: c_int) {
    // SAFETY: the calling thread exists.
    if unsafe { libc::pthread_kill(libc::pthread_self(), signal) } != 0 {
        // SAFETY: no preconditions.
        unsafe { libc::kill(libc::getpid(), signal) };
    }
}

/// Whether the default action of the signal is to end the process (man 7 signal).
pub(crate) fn ends_process(signal: c_int) -> bool {
    let harmless = matches!(
        signal,
        libc::SIGCHLD
            | libc::SIGCONT
            | libc::SIGURG
            | libc::SIGWINCH
            | libc::SIGTSTP
            | libc::SIGTTIN
            | libc::SIGTTOU
    );
    !harmless && !super::numbers::HARMLESS.contains(&signal)
}

/// Whether the default action of the signal is anything but to ignore it. Async-signal-safe.
pub(super) fn acts_by_default(signal: c_int) -> bool {
    ends_process(signal) || [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal)
}

/// Dies by the signal, also when it is masked. Returns only if the process goes on: 0 if the system
/// did as it was told, and has changed nothing if the signal does not end processes.
pub(crate) fn die_by(signal: c_int) -> Errno {
    if !ends_process(signal) {
        return Errno(libc::EINVAL);
    }
    // SAFETY: all zeros is storage for a set, filled next.
    let mut only: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: the set is ours.
    unsafe {
        libc::sigemptyset(&raw mut only);
        libc::sigaddset(&raw mut only, signal);
    }
    let mut before = None;
    // Another thread may put a handler in place after the default; again, then.
    for _ in 0..TRIES {
        let _blocked = AllBlocked::new();
        // Not `set_default`: this runs outside the caller's lock, and what it would remember is
        // kept under it.
        match unix::force_default(signal) {
            Ok(old) => before = before.or(Some(old)),
            Err(errno) => return errno,
        }
        raise_here(signal);
        // SAFETY: the set is ours; unmasking lets the pending signal act before the call returns.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const only, ptr::null_mut()) };
    }
    // This is process 1 of its namespace, which no default action ends: it goes on as it was.
    // SAFETY: what the system told `force_default`.
    before.into_iter().for_each(|before| _ = unsafe { unix::change(signal, &before) });
    Errno(0)
}

const TRIES: usize = 100;

/// Stops the process by the default action of the signal, whoever handles it, and puts that back when it goes on.
/// Under the caller's lock.
pub(crate) fn stop_by(signal: c_int) -> Result<(), Errno> {
    // SAFETY: all zeros is storage for a set, filled next.
    let mut only: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: the set is ours.
    unsafe {
        libc::sigemptyset(&raw mut only);
        libc::sigaddset(&raw mut only, signal);
    }
    let _blocked = AllBlocked::new();
    let before = unix::force_default(signal)?;
    raise_here(signal);
    // SAFETY: the set is ours; unmasking lets the pending signal act before the call returns.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const only, ptr::null_mut()) };
    // SAFETY: what the system told.
    unsafe { unix::change(signal, &before) }.map(drop)
}

/// What our handlers mask: those too that the C library keeps for itself, which sigaddset(3) refuses. By one of
/// them threads are interrupted that mask the others (`backup`); it would put a second frame of ours on a stack
/// that may hold no more than one, and a cancellation would leave a handler of ours in the middle. They come
/// when the handler returns. A stop opens them again while it waits ([`AllBlocked`]): setgid(3) waits for all
/// threads.
pub(super) fn handlers_mask() -> libc::sigset_t {
    #[allow(unused_mut, reason = "on Linux alone")]
    let mut all = all_but_faults();
    // Bionic leaves its own out here, too.
    #[cfg(target_os = "linux")]
    for signal in 32..super::REALTIME_MIN {
        const BITS: i32 = core::ffi::c_ulong::BITS as i32;
        let words: *mut core::ffi::c_ulong = (&raw mut all).cast();
        // SAFETY: a set of a local, which is an array of such words, one bit for each signal (asm/signal.h);
        // these are in its first 64 bits.
        unsafe { *words.add(((signal - 1) / BITS) as usize) |= 1 << ((signal - 1) % BITS) };
    }
    all
}

impl AllBlocked {
    /// All but those by which threads are interrupted.
    pub(crate) fn but_interrupts() -> Self {
        let mut open = [super::INTERRUPT; 1 + super::OTHERS.len()];
        open[1..].copy_from_slice(&super::OTHERS);
        Self::but(&open)
    }
}

impl Mask {
    /// Whether a signal is held back that this lets through, and `all_but` masked.
    pub(crate) fn is_waited_for(&self) -> bool {
        // SAFETY: all zeros is storage for a set, filled next.
        let mut pending: libc::sigset_t = unsafe { zeroed() };
        // SAFETY: the set is a local.
        unsafe { libc::sigpending(&raw mut pending) };
        let is = |set: &libc::sigset_t, signal| {
            // SAFETY: the set was written by the system; a number out of range is in none.
            unsafe { libc::sigismember(set, signal) == 1 }
        };
        (1..super::SIGNALS as c_int).any(|signal| is(&pending, signal) && !is(&self.0, signal))
    }

    /// And those that have our handler now: they are for other threads.
    pub(crate) fn and_subscribed(mut self) -> Self {
        for signal in (1..super::SIGNALS as c_int).filter(|signal| unix::is_installed(*signal)) {
            // SAFETY: the set is a local.
            unsafe { libc::sigaddset(&raw mut self.0, signal) };
        }
        self
    }
}

static AT_FORK: [AtomicPtr<c_void>; 3] = [const { AtomicPtr::new(ptr::null_mut()) }; 3];

/// Has the functions called around each fork(2) of the C library, in the forking thread.
pub(crate) fn at_fork(prepare: fn(), parent: fn(), child: fn()) {
    for (place, f) in AT_FORK.iter().zip([prepare, parent, child]) {
        // ORDERING: Relaxed: pthread_atfork orders it before every call.
        place.store(f as *mut c_void, Relaxed);
    }
    extern "C" fn run<const AT: usize>() {
        // ORDERING: Relaxed: as above.
        let f = AT_FORK[AT].load(Relaxed);
        // SAFETY: only `at_fork` stores there, an `fn()`, and before pthread_atfork makes this reachable.
        unsafe { core::mem::transmute::<*mut c_void, fn()>(f)() };
    }
    super::pin::pin();
    // SAFETY: the functions live for ever.
    unsafe { libc::pthread_atfork(Some(run::<0>), Some(run::<1>), Some(run::<2>)) };
}

/// Names the calling thread while it lives. Async-signal-safe: the address of its errno, which
/// needs no lazily made thread-local.
pub(crate) fn thread_id() -> usize {
    errno::location().addr()
}

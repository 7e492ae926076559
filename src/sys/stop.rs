//! Interrupting one thread. man 2 tgkill, sigaction.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;

use super::unix::{call, change, query};
use super::{Errno, SIGNALS, errno};
use crate::sync::{AtomicU32, AtomicUsize, Ordering::*};

/// Names a thread for as long as it is known not to have ended; on Linux and Android also when it
/// has, then as one that is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OsThread(
    #[cfg(any(target_os = "linux", target_os = "android"))] libc::pid_t,
    #[cfg(not(any(target_os = "linux", target_os = "android")))] libc::pthread_t,
);

// SAFETY: a name.
unsafe impl Send for OsThread {}
// SAFETY: a name.
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
                // SAFETY: the thread has not ended, as the type says.
                match unsafe { libc::pthread_kill(self.0, signal) } {
                    0 => Ok(()),
                    errno => Err(Errno(errno)),
                }
            }
        }
    }
}

/// A handler that is told what it interrupted.
pub(crate) type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// What a handler of ours was put over, for each signal: it is called for what is not ours.
pub(crate) struct Before([Disposition; SIGNALS]);

struct Disposition {
    /// `sa_sigaction`: SIG_DFL, SIG_IGN or a function.
    action: AtomicUsize,
    flags: AtomicU32,
}

impl Before {
    pub(crate) const fn new() -> Self {
        Self([const { Disposition { action: AtomicUsize::new(libc::SIG_DFL), flags: AtomicU32::new(0) } }; SIGNALS])
    }

    fn of(&self, signal: c_int) -> Option<&Disposition> {
        self.0.get(usize::try_from(signal).ok()?)
    }

    /// Has the handler run for the signal, on the alternate stack, all others masked. Does nothing if
    /// it does so already.
    pub(crate) fn handle(&self, signal: c_int, handler: Handler) -> Result<(), Errno> {
        let before = self.of(signal).ok_or(Errno(libc::EINVAL))?;
        let old = query(signal)?;
        if old.sa_sigaction == handler as *const () as usize {
            return Ok(());
        }
        // ORDERING: Relaxed: sigaction orders both before every run of the handler.
        before.flags.store(old.sa_flags as u32, Relaxed);
        before.action.store(old.sa_sigaction, Relaxed);
        // SAFETY: all zeros is a valid sigaction.
        let mut new: libc::sigaction = unsafe { zeroed() };
        new.sa_sigaction = handler as *const () as usize;
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: the set is a local's.
        unsafe { libc::sigfillset(&raw mut new.sa_mask) };
        change(signal, &new).map(drop)
    }

    /// For a signal that is not ours: calls the handler that was there before, if one was.
    pub(crate) fn chain(&self, signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        let Some(before) = self.of(signal) else { return };
        // ORDERING: Relaxed: see `handle`.
        match (before.action.load(Relaxed), before.flags.load(Relaxed)) {
            (libc::SIG_DFL | libc::SIG_IGN, _) => {}
            (action, flags) => call(action, u64::from(flags), signal, info, context),
        }
    }
}

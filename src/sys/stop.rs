//! Interrupting one thread. man 2 tgkill, sigaction.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;

use super::{Errno, errno};

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

/// Has the handler run for the signal, on the alternate stack, all others masked; returns what was
/// there.
pub(crate) fn handle(signal: c_int, handler: Handler) -> Result<libc::sigaction, Errno> {
    // SAFETY: all zeros is a valid sigaction.
    let (mut new, mut old): (libc::sigaction, libc::sigaction) = unsafe { zeroed() };
    new.sa_sigaction = handler as *const () as usize;
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the set is a local's.
    unsafe { libc::sigfillset(&raw mut new.sa_mask) };
    // SAFETY: both point to sigactions; the handler is async-signal-safe.
    match unsafe { libc::sigaction(signal, &raw const new, &raw mut old) } {
        0 => Ok(old),
        _ => Err(Errno(errno::get())),
    }
}

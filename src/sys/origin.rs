//! Where a signal came from: what `siginfo_t` says on each Unix. man 2 sigaction, `sys/siginfo.h`.
//!
//! The fields overlap, and `si_code` says which of them are there.

use core::ffi::c_int;

use super::RawOrigin;

/// `si_code` of kill, sigqueue, timers, message queues, of a signal to a thread and the kernel's.
struct Codes {
    user: c_int,
    queue: c_int,
    timer: c_int,
    message: c_int,
    thread: c_int,
    kernel: c_int,
}

/// Where a system has no such code: none that a kernel gives.
#[allow(dead_code, reason = "some systems have all the codes")]
const NONE: c_int = c_int::MIN;

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        const CODES: Codes = Codes {
            user: libc::SI_USER,
            queue: libc::SI_QUEUE,
            timer: libc::SI_TIMER,
            message: libc::SI_MESGQ,
            thread: libc::SI_TKILL,
            kernel: libc::SI_KERNEL,
        };
    } else if #[cfg(target_os = "freebsd")] {
        // sys/signal.h; SI_LWP is of thr_kill.
        const CODES: Codes = Codes {
            user: 0x10001,
            queue: 0x10002,
            timer: 0x10003,
            message: 0x10005,
            thread: 0x10007,
            kernel: 0x10006,
        };
    } else if #[cfg(target_vendor = "apple")] {
        // sys/signal.h. The kernel fills in no other than SI_USER.
        const CODES: Codes = Codes {
            user: 0x10001,
            queue: 0x10002,
            timer: 0x10003,
            message: 0x10005,
            thread: NONE,
            kernel: NONE,
        };
    } else if #[cfg(target_os = "dragonfly")] {
        // sys/signal.h.
        const CODES: Codes =
            Codes { user: 0, queue: -1, timer: -2, message: -4, thread: NONE, kernel: NONE };
    } else if #[cfg(target_os = "netbsd")] {
        // sys/siginfo.h; SI_LWP is of _lwp_kill.
        const CODES: Codes =
            Codes { user: 0, queue: -1, timer: -2, message: -4, thread: -5, kernel: NONE };
    } else if #[cfg(target_os = "openbsd")] {
        // sys/siginfo.h; SI_LWP is of thrkill.
        const CODES: Codes =
            Codes { user: 0, queue: -2, timer: -3, message: NONE, thread: -1, kernel: NONE };
    } else {
        // illumos' sys/siginfo.h; SI_LWP is of lwp_kill.
        const CODES: Codes =
            Codes { user: 0, queue: -2, timer: -3, message: -5, thread: -1, kernel: NONE };
    }
}

/// Reads the information. Async-signal-safe.
///
/// # Safety
///
/// The information is null, or what the kernel passes to an SA_SIGINFO handler.
pub(super) unsafe fn origin(signal: c_int, info: *mut libc::siginfo_t) -> RawOrigin {
    // SAFETY: the caller's promise.
    let Some(info) = (unsafe { info.as_ref() }) else {
        return RawOrigin::default();
    };
    let code = info.si_code;
    let mut origin = RawOrigin { code, ..RawOrigin::default() };
    let sent = [CODES.user, CODES.thread, CODES.queue, CODES.message].contains(&code);
    // Children's codes are small numbers above SI_USER's, or of zero.
    let child = signal == libc::SIGCHLD && !sent && code > 0 && code != CODES.kernel;
    if child || sent {
        // SAFETY: the kernel writes the whole of the information, so every field may be read; that
        // these mean something the code says: a signal sent by a process has them, and a child's.
        unsafe { (origin.pid, origin.uid) = (info.si_pid(), info.si_uid()) };
    }
    if child {
        // SAFETY: as above; a child's signal has its status.
        origin.value = unsafe { info.si_status() } as usize;
    } else if [CODES.queue, CODES.message, CODES.timer].contains(&code) {
        // SAFETY: as above; a queued signal and a timer's have a value.
        origin.value = unsafe { info.si_value() }.sival_ptr.addr();
    }
    origin
}

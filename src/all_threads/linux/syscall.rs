//! System calls that may be made on any thread, wherever that is.

use core::ffi::{c_int, c_long};

use crate::sys::{Errno, raw_syscall};

/// A system call with its arguments, which does no harm on any thread.
///
/// Those that have a name here take no pointer and change what the kernel keeps for the calling thread alone,
/// which no safe code relies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syscall {
    number: c_long,
    arguments: [usize; 6],
}

/// man 2 ioprio_set: when a thread's input and output is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoPriority {
    /// As its nice value says.
    Inherited,
    /// Before all others, of level 0 (first) to 7. Takes CAP_SYS_ADMIN or CAP_SYS_NICE.
    RealTime(u8),
    /// In turn with others, of level 0 (first) to 7.
    BestEffort(u8),
    /// When there is nothing else.
    Idle,
}

impl IoPriority {
    /// linux/ioprio.h: IOPRIO_PRIO_VALUE. A level that there is none of is an error of the system's.
    const fn value(self) -> usize {
        const SHIFT: usize = 13;
        match self {
            Self::Inherited => 0,
            Self::RealTime(level) => (1 << SHIFT) | level as usize,
            Self::BestEffort(level) => (2 << SHIFT) | level as usize,
            Self::Idle => 3 << SHIFT,
        }
    }
}

const fn flag(on: bool) -> usize {
    on as usize
}

impl Syscall {
    /// man 2 syscall: any system call.
    ///
    /// # Safety
    ///
    /// Safe code may make it from then on, on every thread, wherever that is, any number of times. So it does
    /// no harm there: it changes no memory that others use and no mapping, ends no thread and no process's
    /// rights to what it has open, blocks not for long; and pointers among its arguments stay valid.
    #[must_use]
    pub const unsafe fn new(number: c_long, arguments: [usize; 6]) -> Self {
        Self { number, arguments }
    }

    const fn prctl(option: c_int, value: usize) -> Self {
        Self { number: libc::SYS_prctl, arguments: [option as usize, value, 0, 0, 0, 0] }
    }

    /// man 2 gettid: returns the thread's number.
    #[must_use]
    pub const fn gettid() -> Self {
        Self { number: libc::SYS_gettid, arguments: [0; 6] }
    }

    /// man 2 getppid: returns the number of the process's parent. Changes nothing: a call that costs as
    /// little as any.
    #[must_use]
    pub const fn getppid() -> Self {
        Self { number: libc::SYS_getppid, arguments: [0; 6] }
    }

    /// man 2 sched_yield: has other threads run first.
    #[must_use]
    pub const fn sched_yield() -> Self {
        Self { number: libc::SYS_sched_yield, arguments: [0; 6] }
    }

    /// man 2 PR_SET_TIMERSLACK: by how many nanoseconds the thread's timers may be late; 0 for what it began
    /// with.
    #[must_use]
    pub const fn set_timer_slack(nanos: usize) -> Self {
        Self::prctl(libc::PR_SET_TIMERSLACK, nanos)
    }

    /// man 2 PR_SET_NO_NEW_PRIVS: no program that the thread executes gets more rights than it has. For good.
    #[must_use]
    pub const fn set_no_new_privs() -> Self {
        Self::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
    }

    /// man 2 PR_SET_KEEPCAPS: whether the thread keeps its permitted capabilities when it gives up user 0.
    #[must_use]
    pub const fn set_keep_capabilities(keep: bool) -> Self {
        Self::prctl(libc::PR_SET_KEEPCAPS, flag(keep))
    }

    /// man 2 PR_CAPBSET_DROP: no program that the thread executes gets this capability (man 7 capabilities).
    /// For good. Takes CAP_SETPCAP.
    #[must_use]
    pub const fn drop_from_bounding_set(capability: u8) -> Self {
        Self::prctl(libc::PR_CAPBSET_DROP, capability as usize)
    }

    /// man 2 PR_CAP_AMBIENT_CLEAR_ALL: programs that the thread executes get no capability from it that way.
    #[must_use]
    pub const fn clear_ambient_capabilities() -> Self {
        Self::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as usize)
    }

    /// man 2 setpriority: the thread's nice value, from -20 (runs first) to 19. A lower one than it has takes
    /// CAP_SYS_NICE.
    #[must_use]
    pub const fn set_nice(nice: i32) -> Self {
        // The thread itself: a nice value is a thread's on Linux.
        const SELF: usize = 0;
        let which = libc::PRIO_PROCESS as usize;
        let arguments = [which, SELF, nice as usize, 0, 0, 0];
        Self { number: libc::SYS_setpriority, arguments }
    }

    /// man 2 ioprio_set: the thread's.
    #[must_use]
    pub const fn set_io_priority(priority: IoPriority) -> Self {
        // linux/ioprio.h: IOPRIO_WHO_PROCESS; the thread itself.
        const WHO_PROCESS: usize = 1;
        const SELF: usize = 0;
        let arguments = [WHO_PROCESS, SELF, priority.value(), 0, 0, 0];
        Self { number: libc::SYS_ioprio_set, arguments }
    }

    /// Async-signal-safe; keeps errno.
    pub(in crate::all_threads) fn perform(&self) -> Result<i32, Errno> {
        // SAFETY: who made this by `new` has promised that it does no harm; the others are named here, and take
        // no pointer.
        unsafe { raw_syscall(self.number, self.arguments) }
    }
}

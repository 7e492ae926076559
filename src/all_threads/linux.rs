//! What the kernel keeps for each thread, set on all of them: Linux.
//!
//! Each is the raw system call, on every thread of the process, the C library's own and those that it
//! does not know included. The C library's functions of the same names may be used beside them.
//! man 2 of each; Go `syscall/syscall_linux.go` (AllThreadsSyscall, 0a5fae2a0e).

mod syscall;

use core::ffi::{c_int, c_long, c_ulong};

use super::process::call_everyone;
use super::{Call, CallError, Mismatch, Operation, Report};
use crate::note::Deadline;
use crate::sys::{Errno, raw_syscall};
pub use syscall::{IoPriority, Syscall};

cfg_if::cfg_if! {
    if #[cfg(any(target_arch = "x86", target_arch = "arm", target_arch = "m68k", target_arch = "sparc"))] {
        // Those of 16 bits have the names without a number.
        use libc::{
            SYS_setgid32 as SETGID, SYS_setgroups32 as SETGROUPS, SYS_setregid32 as SETREGID,
            SYS_setresgid32 as SETRESGID, SYS_setresuid32 as SETRESUID,
            SYS_setreuid32 as SETREUID, SYS_setuid32 as SETUID,
        };
    } else {
        use libc::{
            SYS_setgid as SETGID, SYS_setgroups as SETGROUPS, SYS_setregid as SETREGID,
            SYS_setresgid as SETRESGID, SYS_setresuid as SETRESUID, SYS_setreuid as SETREUID,
            SYS_setuid as SETUID,
        };
    }
}

/// Performs a system call on every thread. The first thread's failure is [`CallError::First`], and
/// then it was made on no other.
///
/// ```
/// use portcullis::all_threads::linux::{self, Syscall};
///
/// let report = linux::syscall(&Syscall::set_timer_slack(50_000))?;
/// assert_eq!((report.first, report.mismatches), (0, 0));
/// # Ok::<(), portcullis::all_threads::CallError>(())
/// ```
///
/// # Errors
///
/// See [`CallError`].
pub fn syscall(call: &Syscall) -> Result<Report, CallError> {
    call_everyone(Call::new(Operation::syscall(call)))
}

/// The functions of this module that set rights, each with a deadline: [`until`].
///
/// ```
/// use portcullis::{all_threads::linux, note::Deadline};
/// use std::time::Duration;
///
/// linux::until(&Deadline::after(Duration::from_secs(5))).set_no_new_privs()?;
/// # Ok::<(), portcullis::all_threads::CallError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Until<'a>(Option<&'a Deadline>);

/// Until then every thread is to have answered that it can be reached; else it is
/// [`CallError::Unreachable`], and nothing has changed. Then the rights are set, for as long as that takes.
#[must_use]
pub fn until(deadline: &Deadline) -> Until<'_> {
    Until(Some(deadline))
}

const UNBOUNDED: Until<'_> = Until(None);

impl Until<'_> {
    /// As [`syscall`], on all threads or on none: first each is asked whether it is to be reached at all. The
    /// process ends if threads differ then: none may go on with other rights than the others have.
    fn rights(self, call: Syscall) -> Result<(), CallError> {
        let asked = Call::new(Operation::barrier());
        reached(call_everyone(self.0.map_or(asked, |deadline| asked.until(deadline)))?)?;
        let call = Call::new(Operation::syscall(&call)).on_mismatch(Mismatch::Abort);
        if !call_everyone(call)?.is_complete() {
            // It answered a moment ago, and will not now.
            std::process::abort();
        }
        Ok(())
    }

    /// # Safety
    ///
    /// The call changes credentials or flags of its thread, and reads memory alone that is borrowed until
    /// this returns.
    unsafe fn raw(self, number: c_long, arguments: [usize; 6]) -> Result<(), CallError> {
        // SAFETY: as the caller promises; it is made no more when this returns, as `call_everyone` sees to.
        self.rights(unsafe { Syscall::new(number, arguments) })
    }
}

/// Whether all were.
fn reached(report: Report) -> Result<(), CallError> {
    match report.is_complete() {
        true => Ok(()),
        false => Err(CallError::Unreachable(report.missing.unwrap_or(0))),
    }
}

/// Each as a function, and as a method with a deadline.
macro_rules! rights {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) |$self:ident| $body:block)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// [`CallError::First`] with the system's error, or [`CallError::Unreachable`]: nothing has
            /// changed. The process aborts if threads differ.
            pub fn $name($($argument: $type),*) -> Result<(), CallError> {
                UNBOUNDED.$name($($argument),*)
            }
        )*
        impl Until<'_> {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// As for the function of this name, also if the deadline passes first.
                pub fn $name($self, $($argument: $type),*) -> Result<(), CallError> $body
            )*
        }
    };
}

fn arguments(given: &[usize]) -> [usize; 6] {
    core::array::from_fn(|at| given.get(at).copied().unwrap_or(0))
}

rights! {
    /// man 2 setuid.
    fn setuid(uid: u32) |self| {
        // SAFETY: credentials of its thread; no pointer. So for all below that say nothing else.
        unsafe { self.raw(SETUID, arguments(&[uid as usize])) }
    }

    /// man 2 setgid.
    fn setgid(gid: u32) |self| {
        // SAFETY: as above.
        unsafe { self.raw(SETGID, arguments(&[gid as usize])) }
    }

    /// man 2 setreuid; `u32::MAX` leaves one as it is.
    fn setreuid(real: u32, effective: u32) |self| {
        // SAFETY: as above.
        unsafe { self.raw(SETREUID, arguments(&[real as usize, effective as usize])) }
    }

    /// man 2 setregid; `u32::MAX` leaves one as it is.
    fn setregid(real: u32, effective: u32) |self| {
        // SAFETY: as above.
        unsafe { self.raw(SETREGID, arguments(&[real as usize, effective as usize])) }
    }

    /// man 2 setresuid; `u32::MAX` leaves one as it is.
    fn setresuid(real: u32, effective: u32, saved: u32) |self| {
        let given = [real, effective, saved].map(|id| id as usize);
        // SAFETY: as above.
        unsafe { self.raw(SETRESUID, arguments(&given)) }
    }

    /// man 2 setresgid; `u32::MAX` leaves one as it is.
    fn setresgid(real: u32, effective: u32, saved: u32) |self| {
        let given = [real, effective, saved].map(|id| id as usize);
        // SAFETY: as above.
        unsafe { self.raw(SETRESGID, arguments(&given)) }
    }

    /// man 2 seteuid: setresuid that leaves the other two.
    fn seteuid(effective: u32) |self| {
        self.setresuid(u32::MAX, effective, u32::MAX)
    }

    /// man 2 setegid: setresgid that leaves the other two.
    fn setegid(effective: u32) |self| {
        self.setresgid(u32::MAX, effective, u32::MAX)
    }

    /// man 2 setgroups.
    fn setgroups(groups: &[u32]) |self| {
        let pointer = groups.as_ptr().expose_provenance();
        // SAFETY: credentials; the groups are borrowed, and only read.
        unsafe { self.raw(SETGROUPS, arguments(&[groups.len(), pointer])) }
    }

    /// man 2 PR_SET_KEEPCAPS: whether threads keep their permitted capabilities when they give up user 0.
    fn set_keep_capabilities(keep: bool) |self| {
        self.rights(Syscall::set_keep_capabilities(keep))
    }

    /// man 2 PR_SET_NO_NEW_PRIVS: no program that is executed gets more rights than there are. For good.
    fn set_no_new_privs() |self| {
        self.rights(Syscall::set_no_new_privs())
    }

    /// man 2 capset, of version 3. Threads need not have the same before. EPERM on one thread, with more
    /// than it may have, where the first succeeded, is a difference.
    fn capset(capabilities: Capabilities) |self| {
        // linux/capability.h: struct __user_cap_header_struct, and two of __user_cap_data_struct, the low
        // halves first.
        const VERSION_3: u32 = 0x2008_0522;
        let header: [u32; 2] = [VERSION_3, 0];
        let Capabilities { effective, permitted, inheritable } = capabilities;
        let half = |shift| [effective, permitted, inheritable].map(|set| (set >> shift) as u32);
        let data: [[u32; 3]; 2] = [half(0), half(32)];
        let pointers = [header.as_ptr().expose_provenance(), data.as_ptr().expose_provenance()];
        // SAFETY: credentials; both are locals, of the layout that this version has, and only read.
        unsafe { self.raw(libc::SYS_capset, arguments(&pointers)) }
    }

    /// man 2 landlock_restrict_self: no_new_privs first, as the kernel asks of who has no CAP_SYS_ADMIN. By
    /// the kernel itself where it can (Linux 7.0), which then restricts all threads or none. Without the
    /// kernel's support ENOSYS or EOPNOTSUPP.
    ///
    /// What an io_uring ring was made with stays with it: one whose requests a thread of the kernel's
    /// polls for opens files as before.
    fn landlock_restrict(ruleset: c_int) |self| {
        self.set_no_new_privs()?;
        if landlock_version() < LANDLOCK_TSYNC_SINCE {
            let given = arguments(&[ruleset as usize]);
            // SAFETY: no pointer; it takes rights away from its thread.
            return unsafe { self.raw(libc::SYS_landlock_restrict_self, given) };
        }
        let given = arguments(&[ruleset as usize, LANDLOCK_TSYNC]);
        // SAFETY: no pointer.
        let done = unsafe { raw_syscall(libc::SYS_landlock_restrict_self, given) };
        done.map(drop).map_err(CallError::First)
    }
}

/// man 2 prctl: any flag of a thread.
///
/// # Errors
///
/// As for [`setresgid`].
///
/// # Safety
///
/// The option does no harm on any thread ([`Syscall::new`]); a value that is a pointer is valid, until this
/// returns, for what the option does with it.
pub unsafe fn prctl(option: c_int, value: c_ulong) -> Result<(), CallError> {
    // SAFETY: as the caller promises.
    unsafe { UNBOUNDED.raw(libc::SYS_prctl, arguments(&[option as usize, value as usize])) }
}

/// Sets of capabilities, a bit for each by its number (man 7 capabilities).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// What the thread may do now.
    pub effective: u64,
    /// What it may make effective.
    pub permitted: u64,
    /// What a program that it executes may get.
    pub inheritable: u64,
}

/// linux/landlock.h: LANDLOCK_RESTRICT_SELF_TSYNC, and the version of its interface that has it.
const LANDLOCK_TSYNC: usize = 1 << 3;
const LANDLOCK_TSYNC_SINCE: i32 = 8;

/// 0 without Landlock.
fn landlock_version() -> i32 {
    // linux/landlock.h
    const CREATE_RULESET_VERSION: usize = 1;
    let given = arguments(&[0, 0, CREATE_RULESET_VERSION]);
    // SAFETY: no pointer: with this flag there are no attributes.
    unsafe { raw_syscall(libc::SYS_landlock_create_ruleset, given) }.unwrap_or(0)
}

/// man 2 seccomp: a filter for all threads, by the kernel itself (TSYNC).
///
/// # Errors
///
/// The system's; ESRCH if a thread could not be synchronised, and then none was.
///
/// # Safety
///
/// The filter's pointer is to as many instructions as it says, until this returns; it lets through what the
/// program needs.
pub unsafe fn seccomp(filter: &libc::sock_fprog) -> Result<(), Errno> {
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC | TSYNC_ESRCH;
    let filter = core::ptr::from_ref(filter).expose_provenance();
    let given = [libc::SECCOMP_SET_MODE_FILTER as usize, flags as usize, filter];
    // SAFETY: the filter is borrowed; its instructions are as the caller promises, and only read.
    unsafe { raw_syscall(libc::SYS_seccomp, arguments(&given)) }.map(drop)
}

/// linux/seccomp.h: an error instead of the number of a thread.
const TSYNC_ESRCH: c_ulong = 1 << 4;

/// A full memory barrier on every thread of the process: by membarrier(2), else by an operation on all.
///
/// # Errors
///
/// See [`CallError`]; only where there is no membarrier. [`CallError::Unreachable`] if a thread has not had it.
pub fn barrier() -> Result<(), CallError> {
    if crate::sys::prepare_barrier() && crate::sys::barrier().is_ok() {
        return Ok(());
    }
    // A handler's return, or a read-modify-write by each.
    reached(call_everyone(Call::new(Operation::barrier()))?)
}

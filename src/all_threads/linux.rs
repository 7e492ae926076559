//! What the kernel keeps for each thread, set on all of them: Linux.
//!
//! Each is the raw system call, on every thread of the process, the C library's own and those that it
//! does not know included. The C library's functions of the same names may be used beside them.
//! man 2 of each; Go `syscall/syscall_linux.go` (AllThreadsSyscall, 0a5fae2a0e).

mod syscall;

use core::ffi::{c_int, c_long, c_ulong};

use super::process::call_everyone;
use super::{Call, CallError, Mismatch, Operation, Report};
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

/// As [`syscall`], and the process ends if threads differ: none may go on with other rights than the
/// others have.
fn rights(call: Syscall) -> Result<(), CallError> {
    let call = Call::new(Operation::syscall(&call)).on_mismatch(Mismatch::Abort);
    call_everyone(call).map(drop)
}

/// # Safety
///
/// The call changes credentials or flags of its thread, and reads memory alone that is borrowed until this
/// returns.
unsafe fn raw_rights(number: c_long, arguments: [usize; 6]) -> Result<(), CallError> {
    // SAFETY: as the caller promises; it is made no more when this returns.
    rights(unsafe { Syscall::new(number, arguments) })
}

macro_rules! rights {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) = $number:ident;)*) => { $(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// [`CallError::First`] with the system's error: nothing has changed. The process aborts if
        /// threads differ.
        pub fn $name($($argument: $type),*) -> Result<(), CallError> {
            // SAFETY: it takes no pointer.
            unsafe { raw_rights($number, arguments(&[$($argument as usize),*])) }
        }
    )* };
}

fn arguments(given: &[usize]) -> [usize; 6] {
    core::array::from_fn(|at| given.get(at).copied().unwrap_or(0))
}

rights! {
    /// man 2 setuid.
    setuid(uid: u32) = SETUID;
    /// man 2 setgid.
    setgid(gid: u32) = SETGID;
    /// man 2 setreuid; `u32::MAX` leaves one as it is.
    setreuid(real: u32, effective: u32) = SETREUID;
    /// man 2 setregid; `u32::MAX` leaves one as it is.
    setregid(real: u32, effective: u32) = SETREGID;
    /// man 2 setresuid; `u32::MAX` leaves one as it is.
    setresuid(real: u32, effective: u32, saved: u32) = SETRESUID;
    /// man 2 setresgid; `u32::MAX` leaves one as it is.
    setresgid(real: u32, effective: u32, saved: u32) = SETRESGID;
}

/// man 2 seteuid: setresuid that leaves the other two.
///
/// # Errors
///
/// As for [`setresuid`].
pub fn seteuid(effective: u32) -> Result<(), CallError> {
    setresuid(u32::MAX, effective, u32::MAX)
}

/// man 2 setegid: setresgid that leaves the other two.
///
/// # Errors
///
/// As for [`setresgid`].
pub fn setegid(effective: u32) -> Result<(), CallError> {
    setresgid(u32::MAX, effective, u32::MAX)
}

/// man 2 setgroups.
///
/// # Errors
///
/// As for [`setresgid`].
pub fn setgroups(groups: &[u32]) -> Result<(), CallError> {
    let pointer = groups.as_ptr().expose_provenance();
    // SAFETY: the groups are borrowed, and only read.
    unsafe { raw_rights(SETGROUPS, arguments(&[groups.len(), pointer])) }
}

/// man 2 PR_SET_KEEPCAPS: whether threads keep their permitted capabilities when they give up user 0.
///
/// # Errors
///
/// As for [`setresgid`].
pub fn set_keep_capabilities(keep: bool) -> Result<(), CallError> {
    rights(Syscall::set_keep_capabilities(keep))
}

/// man 2 PR_SET_NO_NEW_PRIVS: no program that is executed gets more rights than there are. For good.
///
/// # Errors
///
/// As for [`setresgid`].
pub fn set_no_new_privs() -> Result<(), CallError> {
    rights(Syscall::set_no_new_privs())
}

/// man 2 prctl: any flag of a thread.
///
/// # Errors
///
/// As for [`setresgid`].
///
/// # Safety
///
/// The option does no harm on any thread ([`Syscall::new`]); a value that is a pointer for it is valid for
/// reading until this returns.
pub unsafe fn prctl(option: c_int, value: c_ulong) -> Result<(), CallError> {
    // SAFETY: as the caller promises.
    unsafe { raw_rights(libc::SYS_prctl, arguments(&[option as usize, value as usize])) }
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

/// man 2 capset, of version 3. Threads need not have the same before.
///
/// # Errors
///
/// As for [`setresgid`]. EPERM on one thread, with more than it may have, where the first succeeded, is a
/// difference: the process aborts.
pub fn capset(capabilities: Capabilities) -> Result<(), CallError> {
    // linux/capability.h: struct __user_cap_header_struct, and two of __user_cap_data_struct, the low
    // halves first.
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0];
    let Capabilities { effective, permitted, inheritable } = capabilities;
    let half = |shift| [effective, permitted, inheritable].map(|set| (set >> shift) as u32);
    let data: [[u32; 3]; 2] = [half(0), half(32)];
    let pointers = [header.as_ptr().expose_provenance(), data.as_ptr().expose_provenance()];
    // SAFETY: both are locals, of the layout that this version has, and only read.
    unsafe { raw_rights(libc::SYS_capset, arguments(&pointers)) }
}

/// man 2 landlock_restrict_self: no_new_privs first, as the kernel asks of who has no CAP_SYS_ADMIN. By
/// the kernel itself where it can (Linux 7.0), which then restricts all threads or none.
///
/// # Errors
///
/// As for [`setresgid`]; without the kernel's support, ENOSYS or EOPNOTSUPP.
pub fn landlock_restrict(ruleset: c_int) -> Result<(), CallError> {
    set_no_new_privs()?;
    if landlock_version() < LANDLOCK_TSYNC_SINCE {
        let given = arguments(&[ruleset as usize]);
        // SAFETY: no pointer; it takes rights away from its thread.
        return unsafe { raw_rights(libc::SYS_landlock_restrict_self, given) };
    }
    let given = arguments(&[ruleset as usize, LANDLOCK_TSYNC]);
    // SAFETY: no pointer.
    let done = unsafe { raw_syscall(libc::SYS_landlock_restrict_self, given) };
    done.map(drop).map_err(CallError::First)
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
/// The filter lets through what the program needs.
pub unsafe fn seccomp(filter: &libc::sock_fprog) -> Result<(), Errno> {
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC | TSYNC_ESRCH;
    let filter = core::ptr::from_ref(filter).expose_provenance();
    let given = [libc::SECCOMP_SET_MODE_FILTER as usize, flags as usize, filter];
    // SAFETY: the filter is borrowed.
    unsafe { raw_syscall(libc::SYS_seccomp, arguments(&given)) }.map(drop)
}

/// linux/seccomp.h: an error instead of the number of a thread.
const TSYNC_ESRCH: c_ulong = 1 << 4;

/// A full memory barrier on every thread of the process: by membarrier(2), else by an operation on all.
///
/// # Errors
///
/// See [`CallError`]; only where there is no membarrier.
pub fn barrier() -> Result<(), CallError> {
    if crate::sys::prepare_barrier() && crate::sys::barrier().is_ok() {
        return Ok(());
    }
    // A handler's return, or a read-modify-write by each.
    call_everyone(Call::new(Operation::barrier())).map(drop)
}

//! The signal by which the C library reaches every thread when it sets their rights: its own functions
//! leave it out of all masks, so it reaches threads that mask what else there is. Shared with it: its handler
//! is called for its signals. man 7 nptl; glibc `nptl/nptl_setxid.c`, musl `thread/synccall.c`.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;

use super::stop::{self, Crossing, Entry};
use super::{Errno, errno};

/// SIGSETXID of glibc, SIGSYNCCALL of musl.
const BACKUP: c_int = if cfg!(target_env = "musl") { 34 } else { 33 };

/// Has the entry called for that signal too. To be called before each use: the C library puts its own
/// handler in place when it needs it. Async-signal-safe.
pub(crate) fn keep_backup(crossing: Crossing, entry: Entry) -> Result<c_int, Errno> {
    if cfg!(target_os = "android") || !KNOWN {
        // Android's signals have other uses.
        return Err(Errno(libc::ENOTSUP));
    }
    stop::interrupt_by(BACKUP, crossing, entry)?;
    Ok(BACKUP)
}

/// linux/signal.h and asm/signal.h: what rt_sigaction(2) takes, which is not what sigaction(3) does.
#[derive(Clone, Copy)]
#[repr(C)]
struct Kernels {
    #[cfg(any(target_arch = "mips", target_arch = "mips64"))]
    flags: u32,
    action: usize,
    #[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
    flags: libc::c_ulong,
    #[cfg(not(any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "riscv32",
        target_arch = "riscv64",
        target_arch = "loongarch64"
    )))]
    restorer: usize,
    mask: [usize; SIGNALS / BITS],
}

/// As many as the kernel's set has.
const SIGNALS: usize =
    if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 128 } else { 64 };
const BITS: usize = usize::BITS as usize;

/// Where the layout is this one: not on sparc, alpha and x32.
const KNOWN: bool = cfg!(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    target_arch = "x86",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv32",
    target_arch = "riscv64",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "s390x",
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "loongarch64"
));

/// Whether threads are interrupted by it that mask all others; also in a handler of ours that waits.
pub(crate) fn is_backup(signal: c_int) -> bool {
    signal == BACKUP
}

/// As sigaction(3), which refuses this number.
///
/// # Safety
///
/// As for `unix::change`.
unsafe fn sigaction(new: *const Kernels, old: *mut Kernels) -> Result<(), Errno> {
    let size = SIGNALS / 8;
    // SAFETY: null, or of the kernel's layout; what is new is what the caller promises.
    match unsafe { libc::syscall(libc::SYS_rt_sigaction, BACKUP, new, old, size) } {
        0 => Ok(()),
        _ => Err(Errno(errno::get())),
    }
}

/// The disposition in force, as sigaction(3) would tell it.
pub(super) fn query() -> Result<libc::sigaction, Errno> {
    // SAFETY: all zeros is one.
    let mut now: Kernels = unsafe { zeroed() };
    // SAFETY: it only asks.
    unsafe { sigaction(core::ptr::null(), &raw mut now) }?;
    // SAFETY: all zeros is a valid sigaction.
    let mut told: libc::sigaction = unsafe { zeroed() };
    (told.sa_sigaction, told.sa_flags) = (now.action, now.flags as c_int);
    for at in 0..SIGNALS {
        if now.mask[at / BITS] >> (at % BITS) & 1 != 0 {
            // SAFETY: the set is a local; numbers that the C library keeps are left out.
            unsafe { libc::sigaddset(&raw mut told.sa_mask, at as c_int + 1) };
        }
    }
    Ok(told)
}

/// Puts this one of our handlers in place, otherwise as it is for `like`, a signal that the C library lets us
/// have: how a handler returns is its business.
pub(super) fn put_as(like: c_int, ours: usize) -> Result<(), Errno> {
    // SAFETY: all zeros is one.
    let mut there: Kernels = unsafe { zeroed() };
    let size = SIGNALS / 8;
    let none: *const c_void = core::ptr::null();
    // SAFETY: it only asks, into a local of the kernel's layout.
    if unsafe { libc::syscall(libc::SYS_rt_sigaction, like, none, &raw mut there, size) } != 0 {
        return Err(Errno(errno::get()));
    }
    if !stop::is_ours(there.action) {
        // Somebody was quicker.
        return Err(Errno(libc::EAGAIN));
    }
    there.action = ours;
    // SAFETY: a handler of ours, with its flags, as the C library has registered it.
    unsafe { sigaction(&raw const there, core::ptr::null_mut()) }
}

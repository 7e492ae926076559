//! Signals of this copy of the crate, told from all others: by who sent them, how, and a value that nobody
//! else queues. man 2 rt_tgsigqueueinfo, sigaction.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;

use super::{Errno, errno};

/// Its address is the value.
static OWN: u8 = 0;

fn value() -> *mut c_void {
    (&raw const OWN).cast_mut().cast()
}

/// asm-generic/siginfo.h, with what a queued signal carries.
#[repr(C)]
struct Info {
    signal: c_int,
    #[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
    errno: c_int,
    code: c_int,
    #[cfg(any(target_arch = "mips", target_arch = "mips64"))]
    errno: c_int,
    queued: Queued,
    /// The kernel reads 128 bytes.
    rest: [u64; 16],
}

#[repr(C)]
struct Queued {
    pid: libc::pid_t,
    uid: libc::uid_t,
    value: *mut c_void,
}

/// Sends a thread of this process a signal that says so. Where a sandbox forbids that, or there is no room
/// in the queue, one that does not.
pub(super) fn send(thread: libc::pid_t, signal: c_int) -> Result<(), Errno> {
    // SAFETY: no preconditions.
    let pid = unsafe { libc::getpid() };
    // Zeroed first: the kernel copies the padding too, and hands it to whoever handles the signal.
    let mut info = MaybeUninit::<Info>::zeroed();
    let to = info.as_mut_ptr();
    // SAFETY: fields of a local.
    unsafe {
        (&raw mut (*to).signal).write(signal);
        (&raw mut (*to).code).write(libc::SI_QUEUE);
        (&raw mut (*to).queued.pid).write(pid);
        (&raw mut (*to).queued.value).write(value());
    }
    let number = libc::SYS_rt_tgsigqueueinfo;
    // SAFETY: the information is a local, as long as the kernel reads.
    if unsafe { libc::syscall(number, pid, thread, signal, info.as_ptr()) } == 0 {
        return Ok(());
    }
    if errno::get() == libc::ESRCH {
        return Err(Errno(libc::ESRCH));
    }
    // SAFETY: no memory is passed.
    match unsafe { libc::syscall(libc::SYS_tgkill, pid, thread, signal) } {
        0 => Ok(()),
        _ => Err(Errno(errno::get())),
    }
}

/// Whether `send` sent it. Async-signal-safe.
///
/// # Safety
///
/// Null, or what the system gave a handler.
pub(super) unsafe fn is(info: *const libc::siginfo_t) -> bool {
    // SAFETY: as the caller promises.
    let Some(info) = (unsafe { info.as_ref() }) else { return false };
    // SAFETY: no preconditions; and a queued signal carries a value.
    unsafe { info.si_code == libc::SI_QUEUE && ptr::eq(info.si_value().sival_ptr, value()) }
}

//! Wait on address by futex(2): Linux and Android. man 2 futex.
//!
//! Times are laid out here as the kernel reads them. The C library's `timespec` has whatever its
//! `time_t` is, which on 32-bit systems says nothing of the call.

use core::ffi::{c_int, c_long, c_void};
use core::ptr;

use super::{Deadline, Waited, errno};
use crate::sync::AtomicU32;

/// `linux/futex.h`; the crate libc lacks it for Android.
const FUTEX_BITSET_MATCH_ANY: u32 = u32::MAX;

const WAIT: c_int = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
const WAKE: c_int = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;

/// `linux/time_types.h`, `__kernel_timespec`: of 64-bit systems, of x32, and of each call of the others
/// whose name ends in `time64`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    seconds: i64,
    nanos: i64,
}

/// See the contract in [`super`]. The deadline is absolute, so an interrupted call needs no clock.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
    waited(futex(word, WAIT, expected, time(deadline).as_ref()))
}

/// See the contract in [`super`].
pub(crate) fn wake_one(word: &AtomicU32) {
    // A wake-up does not touch the word; whoever sleeps there for another reason looks
    // again (`wait` may return early).
    errno::kept(|| futex(word, WAKE, 1, None)).ok();
}

fn time(deadline: Option<&Deadline>) -> Option<Time> {
    deadline.and_then(Deadline::parts).map(|(seconds, nanos)| Time { seconds, nanos })
}

fn waited(done: Result<(), c_int>) -> Waited {
    if done == Err(libc::ETIMEDOUT) { Waited::TimedOut } else { Waited::Woken }
}

/// The call of this number, and what it left in errno.
///
/// # Safety
///
/// The number is one of futex's; `until` is null or points to a time as that one reads it.
unsafe fn call(
    number: c_long,
    word: &AtomicU32,
    operation: c_int,
    value: u32,
    until: *const c_void,
) -> Result<(), c_int> {
    let (other, any) = (ptr::null::<u32>(), FUTEX_BITSET_MATCH_ANY);
    // SAFETY: the word is borrowed for the length of the call; the rest is promised by the caller.
    let done = unsafe { libc::syscall(number, word.as_ptr(), operation, value, until, other, any) };
    if done == -1 { Err(errno::get()) } else { Ok(()) }
}

fn pointer<T>(time: Option<&T>) -> *const c_void {
    time.map_or(ptr::null(), |time| ptr::from_ref(time).cast())
}

cfg_if::cfg_if! {
    if #[cfg(any(target_pointer_width = "64", target_arch = "x86_64"))] {
        fn futex(
            word: &AtomicU32,
            operation: c_int,
            value: u32,
            until: Option<&Time>,
        ) -> Result<(), c_int> {
            // SAFETY: the only futex of such a system, which reads such times.
            unsafe { call(libc::SYS_futex, word, operation, value, pointer(until)) }
        }
    } else {
        /// `asm/unistd.h`, futex_time64: one number for all, after mips' own first one.
        const FUTEX_TIME64: c_long = if cfg!(target_arch = "mips") { 4422 } else { 422 };
        /// The other one, which riscv32 never had.
        #[cfg(not(target_arch = "riscv32"))]
        const OLD_FUTEX: c_long = libc::SYS_futex;
        #[cfg(target_arch = "riscv32")]
        const OLD_FUTEX: c_long = FUTEX_TIME64;
        const HAS_OLD: bool = OLD_FUTEX != FUTEX_TIME64;

        /// The kernel's `old_timespec32`.
        #[repr(C)]
        struct OldTime {
            seconds: i32,
            nanos: i32,
        }

        /// Linux before 5.1 lacks the call (ENOSYS), and so do sandboxes of that age, some by EPERM;
        /// kernels that are built without 32-bit times lack the old one.
        fn futex(
            word: &AtomicU32,
            operation: c_int,
            value: u32,
            until: Option<&Time>,
        ) -> Result<(), c_int> {
            // SAFETY: this futex reads such times.
            match unsafe { call(FUTEX_TIME64, word, operation, value, pointer(until)) } {
                Err(libc::ENOSYS | libc::EPERM) if HAS_OLD => {
                    old_futex(word, operation, value, until)
                }
                done => done,
            }
        }

        /// By the old call. A time that it cannot be told is cut short, which its caller takes for a
        /// return for no reason.
        fn old_futex(
            word: &AtomicU32,
            operation: c_int,
            value: u32,
            until: Option<&Time>,
        ) -> Result<(), c_int> {
            let cut = until.is_some_and(|until| i32::try_from(until.seconds).is_err());
            let until = until.map(|until| OldTime {
                seconds: i32::try_from(until.seconds).unwrap_or(i32::MAX),
                nanos: until.nanos as i32,
            });
            // SAFETY: the futex of 32-bit times (`HAS_OLD`).
            match unsafe { call(OLD_FUTEX, word, operation, value, pointer(until.as_ref())) } {
                Err(libc::ETIMEDOUT) if cut => Err(libc::EINTR),
                done => done,
            }
        }

        /// As `wait` where there is the old call only.
        #[cfg(test)]
        pub(super) fn wait_old(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
            waited(old_futex(word, WAIT, expected, time(deadline).as_ref()))
        }

        /// As `wake_one` there.
        #[cfg(test)]
        pub(super) fn wake_old(word: &AtomicU32) {
            old_futex(word, WAKE, 1, None).ok();
        }
    }
}

//! A thread's stack as a conservative collector sees it: where it begins, where it ends, and on it what the
//! registers hold that a called function leaves as they are.

use core::ptr;

use cfg_if::cfg_if;

/// So many registers at most.
const SAVED: usize = 16;

/// Instructions that write the registers to `words`, and the stack pointer to `sp`.
#[allow(unused_macros, reason = "not on every processor")]
macro_rules! save_by {
    ($($line:literal),* $(,)?) => {
        /// Writes the registers there; the stack pointer.
        #[inline(always)]
        fn save(words: &mut [usize; SAVED]) -> *const usize {
            let sp: *const usize;
            // SAFETY: writes within the array, which has room for them, and nothing else.
            unsafe {
                core::arch::asm!(
                    $($line,)*
                    words = in(reg) words.as_mut_ptr(), sp = out(reg) sp,
                    options(nostack, preserves_flags),
                );
            }
            sp
        }
    };
}

cfg_if! {
    if #[cfg(miri)] {
        /// No assembly there.
        fn save(_: &mut [usize; SAVED]) -> *const usize {
            ptr::null()
        }
    } else if #[cfg(target_arch = "x86_64")] {
        // The last two on Windows.
        #[cfg(target_pointer_width = "64")]
        save_by!(
            "mov [{words}], rbx", "mov [{words} + 8], rbp", "mov [{words} + 16], r12",
            "mov [{words} + 24], r13", "mov [{words} + 32], r14", "mov [{words} + 40], r15",
            "mov [{words} + 48], rdi", "mov [{words} + 56], rsi", "mov {sp}, rsp",
        );
        #[cfg(target_pointer_width = "32")]
        save_by!(
            "mov [{words:e}], ebx", "mov [{words:e} + 4], ebp", "mov [{words:e} + 8], r12d",
            "mov [{words:e} + 12], r13d", "mov [{words:e} + 16], r14d", "mov [{words:e} + 20], r15d",
            "mov {sp:e}, esp",
        );
    } else if #[cfg(target_arch = "x86")] {
        save_by!(
            "mov [{words}], ebx", "mov [{words} + 4], ebp", "mov [{words} + 8], esi",
            "mov [{words} + 12], edi", "mov {sp}, esp",
        );
    } else if #[cfg(all(target_arch = "aarch64", target_pointer_width = "64"))] {
        save_by!(
            "stp x19, x20, [{words}]", "stp x21, x22, [{words}, 16]", "stp x23, x24, [{words}, 32]",
            "stp x25, x26, [{words}, 48]", "stp x27, x28, [{words}, 64]", "str x29, [{words}, 80]",
            "mov {sp}, sp",
        );
    } else if #[cfg(target_arch = "riscv64")] {
        save_by!(
            "sd s0, 0({words})", "sd s1, 8({words})", "sd s2, 16({words})", "sd s3, 24({words})",
            "sd s4, 32({words})", "sd s5, 40({words})", "sd s6, 48({words})", "sd s7, 56({words})",
            "sd s8, 64({words})", "sd s9, 72({words})", "sd s10, 80({words})", "sd s11, 88({words})",
            "mv {sp}, sp",
        );
    } else {
        /// Not written for this processor.
        fn save(_: &mut [usize; SAVED]) -> *const usize {
            ptr::null()
        }
    }
}

/// Runs `body` with the registers on the stack, at the stack pointer that it is given or above; null where this is
/// not written for the processor.
#[inline(never)]
pub(crate) fn with_saved<T>(body: impl FnOnce(*const usize) -> T) -> T {
    let mut words = [0; SAVED];
    let sp = save(&mut words);
    let done = body(sp);
    // They are there until now.
    core::hint::black_box(&words);
    done
}

cfg_if! {
    if #[cfg(all(feature = "std", any(target_os = "linux", target_os = "android")))] {
        /// The upper end of the calling thread's stack, or null.
        pub(crate) fn stack_base() -> *const usize {
            let mut attributes = core::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
            let (mut lowest, mut size) = (ptr::null_mut(), 0);
            // SAFETY: of the calling thread; what is written is there, and destroyed once it was made.
            unsafe {
                if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
                    return ptr::null();
                }
                let got = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut size);
                libc::pthread_attr_destroy(attributes.as_mut_ptr());
                if got == 0 { lowest.byte_add(size).cast() } else { ptr::null() }
            }
        }
    } else if #[cfg(all(feature = "std", target_vendor = "apple"))] {
        /// The upper end of the calling thread's stack.
        pub(crate) fn stack_base() -> *const usize {
            // SAFETY: of the calling thread.
            unsafe { libc::pthread_get_stackaddr_np(libc::pthread_self()) }.cast()
        }
    } else if #[cfg(all(feature = "std", windows))] {
        /// The upper end of the calling thread's stack.
        pub(crate) fn stack_base() -> *const usize {
            let (mut lowest, mut end) = (0, 0);
            // SAFETY: writes the two.
            unsafe {
                windows_sys::Win32::System::Threading::GetCurrentThreadStackLimits(
                    &raw mut lowest,
                    &raw mut end,
                );
            }
            ptr::without_provenance(end)
        }
    } else {
        /// Not written for this system.
        pub(crate) fn stack_base() -> *const usize {
            ptr::null()
        }
    }
}

//! A barrier on every processor that runs a thread of this process. man 2 membarrier (Linux 4.14);
//! FlushProcessWriteBuffers (Windows).

use super::Errno;

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        // linux/membarrier.h
        const PRIVATE_EXPEDITED: i32 = 1 << 3;
        const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;

        fn membarrier(command: i32) -> bool {
            // SAFETY: no memory is passed.
            unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
        }

        /// Whether there is one; before the first `barrier`. Not async-signal-safe.
        pub(crate) fn prepare_barrier() -> bool {
            membarrier(REGISTER_PRIVATE_EXPEDITED)
        }

        /// Every other thread of the process runs a full barrier before this returns, unless a sandbox
        /// forbids the call by now. Keeps errno. Async-signal-safe.
        pub(crate) fn barrier() -> Result<(), Errno> {
            super::errno::kept(|| match membarrier(PRIVATE_EXPEDITED) {
                true => Ok(()),
                false => Err(Errno(super::errno::get())),
            })
        }
    } else if #[cfg(windows)] {
        use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
        use windows_sys::Win32::System::Threading::FlushProcessWriteBuffers;

        /// Whether there is one. Not under wine, where the function of that name does nothing (8.0).
        pub(crate) fn prepare_barrier() -> bool {
            // SAFETY: both names end with a zero; the module stays, it is in every process.
            let wine = unsafe {
                let ntdll = GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
                GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast())
            };
            wine.is_none()
        }

        /// Every other thread of the process runs a full barrier before this returns.
        pub(crate) fn barrier() -> Result<(), Errno> {
            // SAFETY: no preconditions.
            unsafe { FlushProcessWriteBuffers() };
            Ok(())
        }
    } else {
        /// There is none.
        pub(crate) fn prepare_barrier() -> bool {
            false
        }

        /// Never called: nothing that calls it can be made.
        pub(crate) fn barrier() -> Result<(), Errno> {
            Ok(())
        }
    }
}

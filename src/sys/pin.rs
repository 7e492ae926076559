//! Keeps the library that this code is part of mapped for as long as the process lives: handlers, thread ends
//! and forks come back to it, whatever its host does with dlclose(3). man 3 dladdr, dlopen.

cfg_if::cfg_if! {
    if #[cfg(all(
        any(all(target_os = "linux", target_env = "gnu"), target_vendor = "apple", target_os = "freebsd"),
        not(target_feature = "crt-static")
    ))] {
        use core::ffi::c_void;
        use core::mem::zeroed;

        use crate::sync::{AtomicBool, Ordering::Relaxed};

        static PINNED: AtomicBool = AtomicBool::new(false);

        /// Before the system is told of a function here that it is to call later. Not async-signal-safe the
        /// first time.
        pub(super) fn pin() {
            // ORDERING: Relaxed: whoever comes second relies on nothing here: the one that was first is still
            // in the library, and pins it before it leaves.
            if PINNED.swap(true, Relaxed) {
                return;
            }
            // SAFETY: all zeros is storage for one.
            let mut found: libc::Dl_info = unsafe { zeroed() };
            let here: *const c_void = (pin as fn() as *const ()).cast();
            // SAFETY: an address of this code, and a local.
            if unsafe { libc::dladdr(here, &raw mut found) } == 0 || found.dli_fname.is_null() {
                return;
            }
            // Not loaded anew: where the name is the program's own, and no library's, nothing is found.
            let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
            // SAFETY: a name of the loader's; what is mapped already runs nothing.
            // The handle is never closed.
            _ = unsafe { libc::dlopen(found.dli_fname, flags) };
        }
    } else {
        /// Nothing is unloaded here, or nothing to be done about it.
        pub(super) fn pin() {}
    }
}

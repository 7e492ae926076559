//! Signal numbers of each Unix: how many there are, which are real-time, which are not to be had.
//!
//! `RESERVED` are the C library's own. `HARMLESS` do not end a process by default, besides those
//! that end none anywhere (man 3 signal, man 5 signal.h on Solaris).

use core::ffi::c_int;

use super::Class;

cfg_if::cfg_if! {
    if #[cfg(target_os = "android")] {
        // bionic's platform/bionic/reserved_signals.h: 32 to 41 are timers', the debugger's, the
        // profilers', fdtrack's, MTE's. The list has grown with the releases; this is its longest.
        pub(crate) const SIGNALS: usize = 65;
        pub(crate) const REALTIME_MIN: c_int = 42;
        const RESERVED: &[c_int] = &[32, 33, 34, 35, 36, 37, 38, 39, 40, 41];
        pub(super) const HARMLESS: &[c_int] = &[];
    } else if #[cfg(target_os = "linux")] {
        // man 7 signal: 1 to 64, on mips to 127; the C libraries keep the real-time ones from 32 to 33 or 34.
        pub(crate) const SIGNALS: usize = if MIPS { 128 } else { 65 };
        const MIPS: bool = cfg!(any(
            target_arch = "mips",
            target_arch = "mips64",
            target_arch = "mips32r6",
            target_arch = "mips64r6"
        ));
        /// glibc keeps 32 and 33, musl 34 as well; of others it is not known.
        pub(crate) const REALTIME_MIN: c_int = if cfg!(target_env = "gnu") { 34 } else { 35 };
        const RESERVED: &[c_int] = if cfg!(target_env = "gnu") { &[32, 33] } else { &[32, 33, 34] };
        pub(super) const HARMLESS: &[c_int] = &[];
    } else if #[cfg(target_os = "freebsd")] {
        // sys/signal.h: _SIG_MAXSIG 128, SIGRTMIN 65, SIGRTMAX 126.
        pub(crate) const SIGNALS: usize = 129;
        pub(crate) const REALTIME_MIN: c_int = 65;
        /// SIGTHR is libthr's, SIGLIBRT librt's.
        const RESERVED: &[c_int] = &[32, 33];
        pub(super) const HARMLESS: &[c_int] = &[libc::SIGIO, libc::SIGINFO];
    } else if #[cfg(target_os = "netbsd")] {
        // sys/signal.h: NSIG 64, SIGRTMIN 33, SIGRTMAX 63.
        pub(crate) const SIGNALS: usize = 64;
        pub(crate) const REALTIME_MIN: c_int = 33;
        const RESERVED: &[c_int] = &[];
        pub(super) const HARMLESS: &[c_int] = &[libc::SIGIO, libc::SIGINFO, 32];
    } else if #[cfg(target_os = "openbsd")] {
        // sys/signal.h: _NSIG 33; none is real-time.
        pub(crate) const SIGNALS: usize = 33;
        pub(crate) const REALTIME_MIN: c_int = 33;
        /// SIGTHR is libpthread's.
        const RESERVED: &[c_int] = &[32];
        pub(super) const HARMLESS: &[c_int] = &[libc::SIGIO, libc::SIGINFO];
    } else if #[cfg(target_os = "dragonfly")] {
        // sys/signal.h: NSIG 64, no SIGRTMIN; 33 and 34 are SIGCKPT and SIGCKPTEXIT.
        pub(crate) const SIGNALS: usize = 64;
        pub(crate) const REALTIME_MIN: c_int = 64;
        /// SIGTHR is libthr's.
        const RESERVED: &[c_int] = &[32];
        pub(super) const HARMLESS: &[c_int] = &[libc::SIGIO, libc::SIGINFO, 33];
    } else if #[cfg(any(target_os = "solaris", target_os = "illumos"))] {
        // sys/iso/signal_iso.h: _SIGRTMIN 42, _SIGRTMAX 73.
        pub(crate) const SIGNALS: usize = 74;
        pub(crate) const REALTIME_MIN: c_int = 42;
        /// SIGLWP (as SIGAIOCANCEL) and SIGCANCEL: libc's sigaction refuses both.
        const RESERVED: &[c_int] = &[33, 36];
        /// SIGPWR, and SIGWAITING to SIGINFO but for SIGLOST.
        pub(super) const HARMLESS: &[c_int] = &[19, 32, 33, 34, 35, 36, 38, 39, 40, 41];
    } else {
        // Apple's sys/signal.h: __DARWIN_NSIG 32; none is real-time. The others have these at least.
        pub(crate) const SIGNALS: usize = 32;
        pub(crate) const REALTIME_MIN: c_int = 32;
        const RESERVED: &[c_int] = &[];
        #[cfg(target_vendor = "apple")]
        pub(super) const HARMLESS: &[c_int] = &[libc::SIGIO, libc::SIGINFO];
        #[cfg(not(target_vendor = "apple"))]
        pub(super) const HARMLESS: &[c_int] = &[];
    }
}

/// What sort of signal a number names. Async-signal-safe.
pub(crate) fn classify(signal: c_int) -> Class {
    match signal {
        _ if signal < 1 || signal as usize >= SIGNALS => Class::OutOfRange,
        libc::SIGKILL | libc::SIGSTOP => Class::Unstoppable,
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL => Class::Synchronous,
        _ if RESERVED.contains(&signal) => Class::ReservedByLibc,
        _ if signal >= REALTIME_MIN => Class::RealTime,
        _ => Class::Standard,
    }
}

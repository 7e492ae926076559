//! Calling what stood where a handler of ours was put, as the system would have: under its mask,
//! once if it said so, and not for what it did not ask for. man 2 sigaction.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr;

use super::SIGNALS;
use super::early::{Zeroed, early_local};
use super::record::{Disposition, Own, WORDS};

/// linux/signal.h: SA_RESTORER. The C library sets it and what it stands for, unless it finds it set (bionic).
const RESTORER: c_int =
    if cfg!(any(target_os = "linux", target_os = "android")) { 0x0400_0000 } else { 0 };

// SAFETY: calls nothing, and has sent nothing again: `Own::new`.
unsafe impl Zeroed for Own {}

early_local! {
    fn here("portcullis_chaining") -> Own = Own::new();
}

/// The calling thread's.
pub(super) fn own<R>(look: impl FnOnce(&Own) -> R) -> R {
    let here = here();
    assert!(!here.is_null(), "called by a thread that has ended");
    // SAFETY: the thread's until its last instruction, by the line above also where it may be gone before.
    look(unsafe { &*here })
}

impl Disposition {
    pub(super) fn of(action: &libc::sigaction) -> Self {
        let mut mask = [0; WORDS];
        for signal in 1..SIGNALS as c_int {
            // SAFETY: a set that the system filled, and a number that it has or refuses.
            if unsafe { libc::sigismember(&raw const action.sa_mask, signal) } == 1 {
                mask[signal as usize / 32] |= 1 << (signal % 32);
            }
        }
        Self { action: action.sa_sigaction, flags: action.sa_flags & !RESTORER, mask }
    }

    pub(super) fn to_system(self) -> libc::sigaction {
        // SAFETY: all zeros is a valid sigaction: SIG_DFL, no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { zeroed() };
        (action.sa_sigaction, action.sa_flags) = (self.action, self.flags);
        self.add_mask(&mut action.sa_mask);
        action
    }

    /// Async-signal-safe.
    fn add_mask(&self, set: &mut libc::sigset_t) {
        for (at, mut word) in self.mask.into_iter().enumerate() {
            while word != 0 {
                let signal = at * 32 + word.trailing_zeros() as usize;
                // SAFETY: the set is borrowed.
                unsafe { libc::sigaddset(set, signal as c_int) };
                word &= word - 1;
            }
        }
    }

    /// Whether it asked for a signal that says this.
    fn wants(&self, signal: c_int, info: *const libc::siginfo_t) -> bool {
        if signal != libc::SIGCHLD || self.flags & libc::SA_NOCLDSTOP == 0 {
            return true;
        }
        // SAFETY: the system's, or what another handler passed on of it: who chains to one of SA_SIGINFO.
        let code = unsafe { info.as_ref() }.map_or(0, |info| info.si_code);
        ![libc::CLD_STOPPED, libc::CLD_CONTINUED, libc::CLD_TRAPPED].contains(&code)
    }

    /// Calls the function, as the system would have: under the mask that was in force where the signal
    /// came, and its own. Async-signal-safe as far as it is.
    ///
    /// # Safety
    ///
    /// [`is_function`](Self::is_function), and the system held it so; the others are what the system gave
    /// the calling handler.
    pub(super) unsafe fn call(
        &self,
        signal: c_int,
        info: *mut libc::siginfo_t,
        context: *mut c_void,
    ) {
        if !self.wants(signal, info) {
            return;
        }
        let _mask = UnderMask::of(self, signal, context);
        if self.flags & libc::SA_SIGINFO != 0 {
            type Three = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
            // SAFETY: as the caller promises: a handler of three arguments (SA_SIGINFO).
            let previous = unsafe { core::mem::transmute::<usize, Three>(self.action) };
            previous(signal, info, context);
        } else {
            // SAFETY: as the caller promises: a handler of one argument.
            let previous =
                unsafe { core::mem::transmute::<usize, extern "C" fn(c_int)>(self.action) };
            previous(signal);
        }
    }
}

/// The calling thread's mask is another while this is alive.
struct UnderMask(libc::sigset_t);

impl UnderMask {
    fn of(previous: &Disposition, signal: c_int, context: *const c_void) -> Self {
        let mut set = interrupted(context);
        previous.add_mask(&mut set);
        // SAFETY: all zeros is storage for a set, filled below.
        let mut ours: libc::sigset_t = unsafe { zeroed() };
        // SAFETY: the sets are locals.
        unsafe {
            if previous.flags & libc::SA_NODEFER == 0 {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, &raw mut ours);
        }
        Self(ours)
    }
}

impl Drop for UnderMask {
    fn drop(&mut self) {
        // SAFETY: the set was written by `of`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

cfg_if::cfg_if! {
    if #[cfg(all(
        any(target_os = "linux", target_os = "android"),
        any(
            target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64", target_arch = "arm",
            target_arch = "riscv64"
        )
    ))] {
        /// The mask of the code that was interrupted: of the context the kernel writes 64 bits.
        fn interrupted(context: *const c_void) -> libc::sigset_t {
            // SAFETY: an empty set.
            let mut set: libc::sigset_t = unsafe { zeroed() };
            if !context.is_null() {
                // SAFETY: a handler of three arguments is given a `ucontext_t`; a set is at least as long
                // as what is copied.
                unsafe {
                    let from = &raw const (*context.cast::<libc::ucontext_t>()).uc_sigmask;
                    ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut set).cast::<u8>(), 8);
                }
            }
            set
        }

        /// Whether [`mask_subscribed_on_return`] does what it says.
        pub(crate) const MASKS_ON_RETURN: bool = true;

        /// The code that was interrupted masks all that has our handler, when ours returns.
        ///
        /// # Safety
        ///
        /// What a handler of three arguments was given, which has not returned.
        pub(crate) unsafe fn mask_subscribed_on_return(context: *mut c_void) {
            // SAFETY: as the caller promises: a `ucontext_t` in that handler's frame.
            let set = unsafe { &raw mut (*context.cast::<libc::ucontext_t>()).uc_sigmask };
            for signal in (1..super::SIGNALS as c_int).filter(|it| super::unix::is_installed(*it)) {
                // SAFETY: the context's own, of which the kernel has 64 bits, one for each of these.
                unsafe { libc::sigaddset(set.cast(), signal) };
            }
        }
    } else {
        pub(crate) const MASKS_ON_RETURN: bool = false;

        /// Nothing asks for it.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        pub(crate) unsafe fn mask_subscribed_on_return(_: *mut c_void) {}

        /// Where the context's layout is not at hand: nothing but what is added to it.
        fn interrupted(_: *const c_void) -> libc::sigset_t {
            // SAFETY: all zeros is storage for a set, filled next.
            let mut set: libc::sigset_t = unsafe { zeroed() };
            // SAFETY: the set is a local.
            unsafe { libc::sigemptyset(&raw mut set) };
            set
        }
    }
}

//! Alternate signal stacks: their memory, and which one the calling thread has. man 2 sigaltstack,
//! man 3 getauxval.

use core::cell::Cell;
use core::mem::zeroed;
use core::ptr;

use super::{Errno, ThreadEnd, errno};

/// Below what the system says that it needs for a signal's frame, a handler needs room to run.
const HEADROOM: usize = 8 * 1024;
/// A stack made here has more.
const ROOMY: usize = 32 * 1024;

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        /// What a signal's frame takes: it grows with the processor's registers (AVX-512, AMX), so
        /// the kernel tells it (AT_MINSIGSTKSZ, Linux 5.14, x86 and arm64 earlier).
        fn frame() -> usize {
            // SAFETY: no preconditions; 0 if the kernel does not tell.
            let told = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
            told.max(libc::MINSIGSTKSZ)
        }
    } else if #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "openbsd"))] {
        fn frame() -> usize {
            libc::MINSIGSTKSZ
        }
    } else {
        /// MINSIGSTKSZ is 8192 on NetBSD, DragonFly, Solaris and illumos, and in no crate.
        fn frame() -> usize {
            8 * 1024
        }
    }
}

/// Whether the stack of a thread that the runtime did not make may be used. Not on NetBSD, where a
/// thread may have inherited its creator's (golang/go#14067).
const ADOPTS: bool = !cfg!(target_os = "netbsd");

/// How large a stack must be to be adopted.
pub(crate) fn needed() -> usize {
    frame() + HEADROOM
}

fn page() -> usize {
    // SAFETY: no preconditions.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// How large those are that are made here.
fn made() -> usize {
    (frame() + ROOMY).next_multiple_of(page())
}

/// A stack with a guard page below it.
#[derive(Debug)]
pub(crate) struct Altstack {
    /// The lowest address to be used.
    base: *mut u8,
    size: usize,
}

// SAFETY: an address range, which this code does not touch. The system does, while a thread has it
// registered; that this is one thread at a time is on who calls `enter`: `attach` (I2), by whose record it is.
unsafe impl Send for Altstack {}
// SAFETY: as above.
unsafe impl Sync for Altstack {}

impl Altstack {
    /// Not async-signal-safe.
    pub(crate) fn new() -> Result<Self, Errno> {
        let (page, size) = (page(), made());
        // OpenBSD runs no handler on other memory.
        #[cfg(any(target_os = "openbsd", target_os = "netbsd"))]
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_STACK;
        #[cfg(not(any(target_os = "openbsd", target_os = "netbsd")))]
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: new memory, wherever the system likes.
        let guard = unsafe { libc::mmap(ptr::null_mut(), page + size, access, flags, -1, 0) };
        if guard == libc::MAP_FAILED {
            return Err(Errno(errno::get()));
        }
        let stack = Self { base: guard.cast::<u8>().wrapping_add(page), size };
        // SAFETY: the lowest page of the mapping above.
        if unsafe { libc::mprotect(guard, page, libc::PROT_NONE) } != 0 {
            let errno = Errno(errno::get());
            // SAFETY: made above.
            unsafe { stack.free() };
            return Err(errno);
        }
        Ok(stack)
    }

    /// Gives the memory back. Not async-signal-safe.
    ///
    /// # Safety
    ///
    /// No thread has it registered.
    pub(crate) unsafe fn free(self) {
        let page = page();
        let guard = self.base.wrapping_sub(page);
        // SAFETY: the mapping of `new`, once, as `self` is consumed; no thread runs on it, as said above.
        unsafe { libc::munmap(guard.cast(), page + self.size) };
    }

    #[cfg(test)]
    pub(crate) fn range(&self) -> core::ops::Range<usize> {
        self.base.addr()..self.base.addr() + self.size
    }

    fn is(&self, stack: &libc::stack_t) -> bool {
        stack.ss_sp.cast::<u8>().cast_const() == self.base.cast_const()
            && stack.ss_flags & libc::SS_DISABLE == 0
    }

    fn as_stack(&self) -> libc::stack_t {
        // SAFETY: all zeros is a valid stack_t.
        let mut own: libc::stack_t = unsafe { zeroed() };
        (own.ss_sp, own.ss_size) = (self.base.cast(), self.size);
        own
    }

    /// Has the calling thread use it, unless it has one that is large enough or runs on one.
    /// Async-signal-safe; errno is kept.
    ///
    /// # Safety
    ///
    /// No other thread has it, and none gets it before `leave` on this one, which is not called in a handler:
    /// what a handler changes, its return takes back.
    pub(crate) unsafe fn enter(&self) -> Entered {
        errno::kept(|| match change(&self.as_stack()) {
            // EPERM: the caller is a handler on the stack in force.
            None => Entered::Adopted,
            Some(old) if ADOPTS && is_enabled(&old) && old.ss_size >= needed() => {
                change(&old);
                Entered::Adopted
            }
            Some(old) => Entered::Replaced(old),
        })
    }

    /// Puts back what `enter` replaced, unless it is no longer this one that is in force. What was given, if
    /// this one still is: the caller is a handler that runs on it.
    /// Async-signal-safe; errno is kept.
    ///
    /// # Safety
    ///
    /// What `enter` returned on this thread.
    pub(crate) unsafe fn leave(&self, entered: Entered) -> Option<Entered> {
        let Entered::Replaced(old) = entered else { return None };
        errno::kept(|| match change(&old) {
            None => Some(Entered::Replaced(old)),
            Some(now) => {
                if !self.is(&now) {
                    change(&now);
                }
                None
            }
        })
    }
}

/// What `enter` did.
pub(crate) enum Entered {
    Adopted,
    Replaced(libc::stack_t),
}

// SAFETY: an address range and flags. That it is put back on its own thread is on who calls `leave`.
unsafe impl Send for Entered {}

fn is_enabled(stack: &libc::stack_t) -> bool {
    stack.ss_flags & libc::SS_DISABLE == 0 && !stack.ss_sp.is_null()
}

/// What was in force before; `None` if it could not be changed.
fn change(new: &libc::stack_t) -> Option<libc::stack_t> {
    let mut new = *new;
    // As it was returned it may say that it was in use, which is no flag to set.
    new.ss_flags &= !libc::SS_ONSTACK;
    // SAFETY: all zeros is a valid stack_t.
    let mut old: libc::stack_t = unsafe { zeroed() };
    // SAFETY: both are locals. The memory named is this module's or what was in force before: it stays
    // while it is registered, by who calls `enter`, `leave` and `free`, or by its owner. At the end of a thread
    // std has unmapped its own before `leave` names it again; signals are masked from there on.
    let result = unsafe { libc::sigaltstack(&raw const new, &raw mut old) };
    (result == 0).then_some(old)
}

std::thread_local! {
    /// What `keep_stack` gave the thread.
    static KEPT: Cell<Option<Altstack>> = const { Cell::new(None) };
}

/// Sees that the calling thread has a stack for its handlers that holds what they need, until it ends. For a
/// thread that is interrupted by signals of ours: others nest on the same stack, and what the thread has of
/// its own may hold one frame and no more (std's), or not be there on a stack of 16 KiB.
///
/// One of the host's that is large enough stays, but not one of a size that is made here: it may be a
/// record's, which goes when its thread detaches. Not async-signal-safe.
pub(crate) fn keep_stack() -> Result<(), Errno> {
    static END: ThreadEnd = ThreadEnd::new();
    let Some(now) = query() else { return Ok(()) };
    let roomy = ADOPTS && is_enabled(&now) && now.ss_size >= needed() && now.ss_size != made();
    // To run on it is to be a coroutine of the host's; it is not changed then.
    if roomy || now.ss_flags & libc::SS_ONSTACK != 0 {
        return Ok(());
    }
    // SAFETY: a static, and the same function each time, which needs no data.
    unsafe { END.arm(ptr::null(), give_back)? };
    let own = match KEPT.take() {
        Some(own) => own,
        None => Altstack::new()?,
    };
    change(&own.as_stack());
    KEPT.set(Some(own));
    Ok(())
}

/// The calling thread ends. std has disabled and unmapped the one that was there before; who brings his own
/// may have, too: from here on handlers run on the thread's stack.
unsafe fn give_back(_: *const ()) {
    // Thread-locals may be keys of the system's too, and gone (Android, OpenBSD): then the stack stays.
    let Ok(Some(own)) = KEPT.try_with(Cell::take) else { return };
    // SAFETY: all zeros is a valid stack_t.
    let mut none: libc::stack_t = unsafe { zeroed() };
    none.ss_flags = libc::SS_DISABLE;
    match change(&none) {
        // It runs on it: it left a handler by pthread_exit(3), and the stack stays for its last steps.
        None => {}
        Some(now) => {
            if !own.is(&now) {
                change(&now);
            }
            // SAFETY: in force on no thread: `keep_stack` gave it to this one alone, which has another by now.
            unsafe { own.free() };
        }
    }
}

/// What is in force.
fn query() -> Option<libc::stack_t> {
    // SAFETY: all zeros is a valid stack_t.
    let mut now: libc::stack_t = unsafe { zeroed() };
    // SAFETY: a null new stack only asks; the other is a local.
    (unsafe { libc::sigaltstack(ptr::null(), &raw mut now) } == 0).then_some(now)
}

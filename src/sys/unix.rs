//! Dispositions by POSIX: sigaction, and the handler that every signal of ours enters.
//! man 2 sigaction, man 7 signal-safety; man 2 rt_tgsigqueueinfo for Linux.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr;

use super::handlers::{Handlers, Restore, Table};
use super::origin::origin;
use super::previous;
use super::process::{acts_by_default, handlers_mask, raise_here};
use super::record::{Disposition, LEVELS, Own};
use super::{Entry, Errno, Restored, errno};
use crate::sync::{AtomicPtr, Ordering::*};

/// Dispositions of this process, and [`handler`].
struct System;

static HANDLERS: Handlers<System> = Handlers::new(System);

static ENTRY: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Whether ours was put in place, and not taken out since.
pub(super) fn is_installed(signal: c_int) -> bool {
    HANDLERS.is_installed(signal)
}

fn check(result: c_int) -> Result<(), Errno> {
    if result == -1 { Err(Errno(errno::get())) } else { Ok(()) }
}

pub(super) fn query(signal: c_int) -> Result<libc::sigaction, Errno> {
    // SAFETY: all zeros is a valid sigaction.
    let mut now: libc::sigaction = unsafe { zeroed() };
    // SAFETY: a null new action only asks.
    check(unsafe { libc::sigaction(signal, ptr::null(), &raw mut now) })?;
    Ok(now)
}

/// # Safety
///
/// The action is SIG_DFL, SIG_IGN, what the system told before, or a handler of ours that fits its
/// flags.
pub(super) unsafe fn change(
    signal: c_int,
    new: &libc::sigaction,
) -> Result<libc::sigaction, Errno> {
    // SAFETY: all zeros is a valid sigaction.
    let mut old: libc::sigaction = unsafe { zeroed() };
    // SAFETY: both point to sigactions; the new one is what the caller promises.
    check(unsafe { libc::sigaction(signal, new, &raw mut old) })?;
    Ok(old)
}

fn simple(action: usize) -> libc::sigaction {
    // SAFETY: all zeros is a valid sigaction: SIG_DFL, no flags, an empty mask.
    let mut new: libc::sigaction = unsafe { zeroed() };
    new.sa_sigaction = action;
    new
}

/// Ours, over this one: what it asked for in its name it still gets.
fn ours_over(signal: c_int, level: usize, before: &Disposition) -> libc::sigaction {
    let mut new = simple(ours(level));
    new.sa_flags = libc::SA_SIGINFO | before.flags & libc::SA_NOCLDWAIT;
    new.sa_flags |= match before.is_function() {
        // It has no room on an alternate stack; its program expects EINTR.
        true => before.flags & (libc::SA_ONSTACK | libc::SA_RESTART),
        false => libc::SA_ONSTACK | libc::SA_RESTART,
    };
    if signal == libc::SIGCHLD && before.action == libc::SIG_IGN {
        // Children that nobody waits for do not stay.
        new.sa_flags |= libc::SA_NOCLDWAIT;
    }
    new.sa_mask = handlers_mask();
    new
}

/// The information is the kernel's, or what another handler passed on of it, as sigaction(2) has those do that
/// were installed with SA_SIGINFO.
#[derive(Clone, Copy)]
pub(super) struct Given {
    pub(super) info: *mut libc::siginfo_t,
    pub(super) context: *mut c_void,
}

impl Table for System {
    type Given = Given;
    type Found = libc::sigaction;

    fn query(&self, signal: c_int) -> Result<libc::sigaction, Errno> {
        query(signal)
    }
    fn put_ours(
        &self,
        signal: c_int,
        level: usize,
        before: &Disposition,
    ) -> Result<libc::sigaction, Errno> {
        // SAFETY: `handler` has the three arguments of SA_SIGINFO.
        unsafe { change(signal, &ours_over(signal, level, before)) }
    }
    fn action(&self, found: &libc::sigaction) -> usize {
        found.sa_sigaction
    }
    fn ours(&self, level: usize) -> usize {
        ours(level)
    }
    fn disposition(&self, found: &libc::sigaction) -> Disposition {
        Disposition::of(found)
    }
    unsafe fn call(&self, it: &Disposition, signal: c_int, given: Given) {
        // SAFETY: as the caller promises.
        unsafe { it.call(signal, given.info, given.context) };
    }
    fn context(&self, given: Given) -> usize {
        given.context.addr()
    }
    fn own<R>(&self, look: impl FnOnce(&Own) -> R) -> R {
        previous::own(look)
    }
}

impl Restore for System {
    unsafe fn put(&self, signal: c_int, new: &Disposition) -> Result<libc::sigaction, Errno> {
        // SAFETY: as the caller promises.
        unsafe { change(signal, &new.to_system()) }
    }
    fn acts_by_default(&self, signal: c_int) -> bool {
        acts_by_default(signal)
    }
    fn redeliver(&self, signal: c_int, given: Given) {
        redeliver(signal, given.info);
    }
}

/// Puts our handler in place, also where somebody has put another over it since; see the contract in
/// [`super`].
pub(crate) fn install(signal: c_int, entry: Entry) -> Result<(), Errno> {
    // ORDERING: Relaxed: sigaction orders it before every run of the handler.
    ENTRY.store(entry as *mut c_void, Relaxed);
    HANDLERS.install(signal)
}

/// For tests that fork without the hub, whose lock is held around each of ours.
#[cfg(test)]
pub(super) fn while_nobody_writes<R>(body: impl FnOnce() -> R) -> R {
    HANDLERS.while_nobody_writes(body)
}

/// A signal has come.
pub(crate) fn look(signal: c_int) {
    HANDLERS.look(signal);
}

/// Puts back what was there; see the contract in [`super`].
pub(crate) fn restore(signal: c_int) -> Result<Restored, Errno> {
    HANDLERS.restore(signal)
}

/// Gives the signal its default action, whoever handled it.
pub(crate) fn set_default(signal: c_int) -> Result<(), Errno> {
    HANDLERS.set_simple(signal, libc::SIG_DFL)
}

/// The same, remembering nothing; not under the caller's lock. What was there. Async-signal-safe.
pub(super) fn force_default(signal: c_int) -> Result<libc::sigaction, Errno> {
    // SAFETY: SIG_DFL.
    unsafe { change(signal, &simple(libc::SIG_DFL)) }
}

/// Has the signal ignored, whoever handled it.
pub(crate) fn set_ignored(signal: c_int) -> Result<(), Errno> {
    HANDLERS.set_simple(signal, libc::SIG_IGN)
}

/// Whether handlers before ours are to be called, until ours is taken out; true if that has changed.
pub(crate) fn set_alone(signal: c_int, alone: bool) -> bool {
    HANDLERS.set_alone(signal, alone)
}

/// Whether the process ignores the signal; asks the kernel.
pub(crate) fn is_ignored(signal: c_int) -> Result<bool, Errno> {
    query(signal).map(|now| now.sa_sigaction == libc::SIG_IGN)
}

fn ours(level: usize) -> usize {
    const ALL: [Function; LEVELS] = [
        handler::<0>,
        handler::<1>,
        handler::<2>,
        handler::<3>,
        handler::<4>,
        handler::<5>,
        handler::<6>,
        handler::<7>,
    ];
    ALL[level.min(LEVELS - 1)] as *const () as usize
}

/// A handler of three arguments (SA_SIGINFO).
type Function = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// The handlers of every signal of ours. No allocation, no lock; no thread-local but errno's, unless
/// there is another handler, or the signal is nobody's any more.
extern "C" fn handler<const LEVEL: usize>(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    errno::kept(|| {
        // ORDERING: Relaxed: sigaction came between the store and this.
        let entry = ENTRY.load(Relaxed);
        if entry.is_null() {
            return;
        }
        // SAFETY: only `install` stores there, and it stores an `Entry`.
        let entry = unsafe { core::mem::transmute::<*mut c_void, Entry>(entry) };
        HANDLERS.handle(signal, LEVEL, Given { info, context }, || {
            // SAFETY: the information is the kernel's, or what another handler passed on of it: see `Given`.
            entry(signal, unsafe { origin(signal, info) })
        });
    });
}

/// Sends the signal to this thread again: it is masked until the handler returns, and then meets
/// the disposition in force, with its origin where the system lets us keep it.
fn redeliver(signal: c_int, info: *mut libc::siginfo_t) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // SAFETY: getpid and gettid have no preconditions; the kernel checks where the
        // information is.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_rt_tgsigqueueinfo,
                libc::getpid(),
                libc::syscall(libc::SYS_gettid),
                signal,
                info,
            )
        };
        if sent == 0 {
            return;
        }
    }
    let _ = info;
    raise_here(signal);
}

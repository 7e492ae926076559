//! sigaction and its neighbours, on real-time signals that nothing else uses.

use std::mem::zeroed;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sync::{AtomicU32, AtomicUsize, Ordering::*};
use crate::sys::*;

/// The dispositions are the process's: one test at a time.
static DISPOSITIONS: Mutex<()> = Mutex::new(());

/// What the entry and the other handlers saw.
static VERDICT: AtomicU32 = AtomicU32::new(0);
static ENTERED: AtomicUsize = AtomicUsize::new(0);
static CODE: AtomicUsize = AtomicUsize::new(0);
static PID: AtomicUsize = AtomicUsize::new(0);
static VALUE: AtomicUsize = AtomicUsize::new(0);
pub(super) static CHAINED: AtomicUsize = AtomicUsize::new(0);

// ORDERING: Relaxed everywhere in this file: a signal to the own thread is handled in it.
fn take(counter: &AtomicUsize) -> usize {
    counter.swap(0, Relaxed)
}

pub(super) fn alone(verdict: Verdict) -> MutexGuard<'static, ()> {
    let guard = DISPOSITIONS.lock().unwrap_or_else(PoisonError::into_inner);
    VERDICT.store(verdict as u32, Relaxed);
    for counter in [&ENTERED, &CODE, &PID, &VALUE, &CHAINED] {
        take(counter);
    }
    guard
}

pub(super) fn entry(_signal: i32, origin: RawOrigin) -> Verdict {
    ENTERED.fetch_add(1, Relaxed);
    // SAFETY: writes a word of the thread's own; the shim puts it back.
    unsafe { *errno::location() = libc::EDOM };
    note(origin.code, origin.pid, origin.value);
    let verdicts = [Verdict::Handled, Verdict::Ignored, Verdict::Unwanted];
    verdicts.into_iter().find(|v| *v as u32 == VERDICT.load(Relaxed)).unwrap_or(Verdict::Handled)
}

fn note(code: i32, pid: i32, value: usize) {
    CODE.store(code as usize, Relaxed);
    PID.store(pid as usize, Relaxed);
    VALUE.store(value, Relaxed);
}

extern "C" fn plain(signal: i32) {
    CHAINED.fetch_add(signal as usize, Relaxed);
}

extern "C" fn informed(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    assert!(!context.is_null());
    // SAFETY: the kernel's information on a signal that was queued or sent by kill.
    let (code, pid, value) = unsafe { ((*info).si_code, (*info).si_pid(), (*info).si_value()) };
    note(code, pid, value.sival_ptr.addr());
    CHAINED.fetch_add(1000 + signal as usize, Relaxed);
}

pub(super) fn set(signal: i32, action: usize, flags: i32) -> libc::sigaction {
    // SAFETY: all zeros is a valid sigaction.
    let (mut new, mut old): (libc::sigaction, libc::sigaction) = unsafe { zeroed() };
    (new.sa_sigaction, new.sa_flags) = (action, flags);
    // SAFETY: the set is a local; 12 is a signal.
    unsafe { libc::sigaddset(&raw mut new.sa_mask, 12) };
    // SAFETY: both point to sigactions; the handlers above are async-signal-safe.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const new, &raw mut old) }, 0);
    old
}

pub(super) fn now(signal: i32) -> libc::sigaction {
    // SAFETY: all zeros is a valid sigaction.
    let mut now: libc::sigaction = unsafe { zeroed() };
    // SAFETY: a null new action only asks.
    assert_eq!(unsafe { libc::sigaction(signal, ptr::null(), &raw mut now) }, 0);
    now
}

fn three() -> usize {
    informed as *const () as usize
}

pub(super) fn one() -> usize {
    plain as *const () as usize
}

fn raise(signal: i32) {
    process::raise_here(signal);
}

#[test]
fn waking_keeps_errno() {
    let word = AtomicU32::new(0);
    // SAFETY: writes and reads a word of the thread's own.
    unsafe { *errno::location() = 1234 };
    wake_one(&word);
    assert_eq!(errno::get(), 1234);
}

#[test]
fn a_deadline_tells_what_is_left() {
    use std::time::Duration;
    let far = Deadline::after(Duration::from_secs(100)).left().unwrap();
    assert!(far > Duration::from_secs(90) && far <= Duration::from_secs(100), "{far:?}");
    let deadline = Deadline::after(Duration::from_nanos(1));
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(deadline.left(), Some(Duration::ZERO));
    assert_eq!(Deadline::after(Duration::MAX).left(), None);
}

/// man 7 signal, the column for x86 and ARM, which RISC-V and PowerPC share, and the one for MIPS.
#[cfg(target_os = "linux")]
#[test]
fn every_number_has_its_class() {
    let (stop, bus, last) = if cfg!(target_arch = "mips") { (23, 10, 127) } else { (19, 7, 64) };
    for signal in -2..=130 {
        let expected = match signal {
            _ if signal == 9 || signal == stop => Class::Unstoppable,
            _ if [4, bus, 8, 11].contains(&signal) => Class::Synchronous,
            1..=31 => Class::Standard,
            32..=33 => Class::ReservedByLibc,
            34 if !cfg!(target_env = "gnu") => Class::ReservedByLibc,
            34.. if signal <= last => Class::RealTime,
            _ => Class::OutOfRange,
        };
        assert_eq!(classify(signal), expected, "{signal}");
    }
    // What this C library says is its own.
    assert!(libc::SIGRTMIN() == REALTIME_MIN && libc::SIGRTMAX() as usize == SIGNALS - 1);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod realtime {
    use super::*;

    #[test]
    fn install_handles_and_restore_puts_back() {
        let _alone = alone(Verdict::Handled);
        let (siginfo, onstack) = (libc::SA_SIGINFO, libc::SA_ONSTACK);
        // What the handler before asked for it still gets.
        for (before, flags, expected) in [
            (libc::SIG_DFL, 0, siginfo | onstack | libc::SA_RESTART),
            (one(), onstack, siginfo | onstack),
            (one(), libc::SA_RESTART, siginfo | libc::SA_RESTART),
        ] {
            set(50, before, flags);
            install(50, entry).unwrap();
            install(50, entry).unwrap();
            assert_eq!(now(50).sa_flags & !0x0400_0000, expected);
        }
        // SAFETY: writes a word of the thread's own.
        unsafe { *errno::location() = 77 };
        raise(50);
        assert_eq!(errno::get(), 77, "the handler keeps errno");
        assert_eq!((take(&ENTERED), take(&CHAINED)), (1, 50), "a plain handler is called too");
        assert_eq!(restore(50), Ok(Restored::Previous));
        let back = now(50);
        assert_eq!((back.sa_sigaction, back.sa_flags & !0x0400_0000), (one(), libc::SA_RESTART));
        // SAFETY: a set that the kernel wrote.
        assert_eq!(unsafe { libc::sigismember(&raw const back.sa_mask, 12) }, 1);
        set_default(50).unwrap();
    }

    #[test]
    fn handlers_with_information_are_chained_with_it() {
        let _alone = alone(Verdict::Handled);
        // SA_RESETHAND is the topmost bit of the flags: it must not be taken for one of ours.
        for flags in [libc::SA_SIGINFO, libc::SA_SIGINFO | libc::SA_RESETHAND | libc::SA_NODEFER] {
            set(51, three(), flags);
            install(51, entry).unwrap();
            let value = libc::sigval { sival_ptr: ptr::without_provenance_mut(4711) };
            // SAFETY: no preconditions.
            unsafe { libc::pthread_sigqueue(libc::pthread_self(), 51, value) };
            assert_eq!((take(&ENTERED), take(&CHAINED), take(&VALUE)), (1, 1051, 4711));
            // One that wanted to be called once was.
            let once = flags & libc::SA_RESETHAND != 0;
            raise(51);
            assert_eq!((take(&ENTERED), take(&CHAINED)), (1, if once { 0 } else { 1051 }));
            assert_eq!(restore(51), Ok(Restored::Previous));
            let back = now(51);
            let action = if once { libc::SIG_DFL } else { three() };
            assert_eq!((back.sa_sigaction, back.sa_flags & !0x0400_0000), (action, flags));
        }
        set_default(51).unwrap();
    }

    #[test]
    fn default_and_ignored_are_no_handlers_to_chain() {
        let _alone = alone(Verdict::Handled);
        for action in [libc::SIG_DFL, libc::SIG_IGN] {
            // With the flag: some programs set it beside SIG_IGN.
            set(52, action, libc::SA_SIGINFO);
            assert_eq!(is_ignored(52), Ok(action == libc::SIG_IGN));
            install(52, entry).unwrap();
            assert_eq!(is_ignored(52), Ok(false));
            raise(52);
            assert_eq!((take(&ENTERED), take(&CHAINED)), (1, 0));
            assert_eq!(restore(52), Ok(Restored::Previous));
            assert_eq!(now(52).sa_sigaction, action);
        }
        set_ignored(52).unwrap();
        assert_eq!(is_ignored(52), Ok(true));
        set_default(52).unwrap();
        assert_eq!(is_ignored(52), Ok(false));
    }

    #[test]
    fn a_handler_put_over_ours_is_left_alone() {
        let _alone = alone(Verdict::Unwanted);
        set(53, three(), libc::SA_SIGINFO);
        install(53, entry).unwrap();
        let over = calls_ours as *const () as usize;
        let ours = set(53, over, libc::SA_SIGINFO);
        OURS.store(ours.sa_sigaction, Relaxed);
        assert_eq!(restore(53), Ok(Restored::Foreign));
        assert_eq!(now(53).sa_sigaction, over);
        // Called by it after all, ours does not raise the signal again: it calls the one before it.
        raise(53);
        assert_eq!((take(&ENTERED), take(&CHAINED)), (1, 1053 + 53));
        // Ours over it: it is called, calls ours, which calls the one before; and is put back.
        alone_again(Verdict::Handled);
        install(53, entry).unwrap();
        for _ in 0..2 {
            raise(53);
            assert_eq!((take(&ENTERED), take(&CHAINED)), (1, 1053 + 53));
        }
        assert_eq!(restore(53), Ok(Restored::Previous));
        assert_eq!(now(53).sa_sigaction, over);
        // Put back by somebody who found ours there: what was before it acts.
        alone_again(Verdict::Unwanted);
        set(53, ours.sa_sigaction, ours.sa_flags);
        raise(53);
        assert_eq!((take(&ENTERED), take(&CHAINED)), (1, 1053));
        set_default(53).unwrap();
    }

    /// Somebody notes our handler, and calls it from one that it installs when ours is gone: the signal
    /// comes to ours, is raised again once, comes back, and is left to who called.
    #[test]
    fn a_handler_installed_after_ours_was_taken_out_may_call_it() {
        let _alone = alone(Verdict::Unwanted);
        install(54, entry).unwrap();
        let ours = now(54);
        assert_eq!(restore(54), Ok(Restored::Previous));
        OURS.store(ours.sa_sigaction, Relaxed);
        set(54, calls_ours as *const () as usize, libc::SA_SIGINFO);
        raise(54);
        assert_eq!((take(&ENTERED), take(&CHAINED)), (2, 2 * 54), "once more, and no oftener");
        raise(54);
        assert_eq!((take(&ENTERED), take(&CHAINED)), (1, 54));
        set_default(54).unwrap();
    }

    /// Under which mask a handler before ours is called.
    #[test]
    fn handlers_before_ours_are_called_under_their_mask() {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn looks(_: i32) {
            // SAFETY: all zeros is storage for a set, filled by the call.
            let mut now: libc::sigset_t = unsafe { zeroed() };
            // SAFETY: the set is a local; nothing is changed.
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &raw mut now) };
            // SAFETY: as above.
            let has = |signal| unsafe { libc::sigismember(&raw const now, signal) } as usize;
            // ORDERING: Relaxed: one thread.
            SEEN.store(has(55) | has(56) << 1 | has(12) << 2 | has(15) << 3, Relaxed);
        }
        let _alone = alone(Verdict::Handled);
        for (flags, own) in [(0, 1), (libc::SA_NODEFER, 0)] {
            // `set` masks 12 for its handlers; the test masks 56.
            set(55, looks as *const () as usize, flags);
            install(55, entry).unwrap();
            // SAFETY: all zeros is storage for a set, filled below; the sets are locals.
            unsafe {
                let (mut masked, mut before): (libc::sigset_t, libc::sigset_t) = zeroed();
                libc::sigemptyset(&raw mut masked);
                libc::sigaddset(&raw mut masked, 56);
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const masked, &raw mut before);
                raise(55);
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
            }
            assert_eq!((take(&ENTERED), SEEN.load(Relaxed)), (1, own | 1 << 1 | 1 << 2));
            assert_eq!(restore(55), Ok(Restored::Previous));
        }
        set_default(55).unwrap();
    }

    /// Stops and continues of children are not for one that did not ask for them.
    #[test]
    fn a_handler_hears_of_children_what_it_asked_for() {
        let _alone = alone(Verdict::Handled);
        for (flags, told) in [(0, 1), (libc::SA_NOCLDSTOP, 0)] {
            set(libc::SIGCHLD, three(), libc::SA_SIGINFO | flags);
            install(libc::SIGCHLD, entry).unwrap();
            // SAFETY: all zeros is storage for one; the kernel takes it for the own process.
            let sent = unsafe {
                let mut info: libc::siginfo_t = zeroed();
                (info.si_signo, info.si_code) = (libc::SIGCHLD, libc::CLD_STOPPED);
                let thread = libc::syscall(libc::SYS_gettid);
                let (process, info) = (libc::getpid(), &raw mut info);
                libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, libc::SIGCHLD, info)
            };
            assert_eq!(sent, 0);
            assert_eq!((take(&ENTERED), take(&CHAINED) > 0), (1, told == 1));
            assert_eq!(restore(libc::SIGCHLD), Ok(Restored::Previous));
        }
        set_default(libc::SIGCHLD).unwrap();
    }

    static OURS: AtomicUsize = AtomicUsize::new(0);

    fn alone_again(verdict: Verdict) {
        VERDICT.store(verdict as u32, Relaxed);
    }

    extern "C" fn calls_ours(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        CHAINED.fetch_add(signal as usize, Relaxed);
        type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: stored above, the handler that sigaction returned.
        let ours = unsafe { std::mem::transmute::<usize, Handler>(OURS.load(Relaxed)) };
        ours(signal, info, context);
    }

    /// A handler already running when the disposition changes: what is in force now gets the
    /// signal, from whom it came and with its value. In a process of one thread, so that a signal
    /// to the process comes to it.
    #[test]
    fn an_unwanted_signal_meets_the_disposition_in_force() {
        let _alone = alone(Verdict::Unwanted);
        for queued in [true, false] {
            let ended = forked(|| {
                set(54, three(), libc::SA_SIGINFO);
                install(54, entry_that_restores).unwrap();
                let sender = fork(|| {
                    // SAFETY: no preconditions.
                    let parent = unsafe { libc::getppid() };
                    let value = libc::sigval { sival_ptr: ptr::without_provenance_mut(99) };
                    if queued {
                        // SAFETY: no preconditions.
                        unsafe { libc::sigqueue(parent, 54, value) }
                    } else {
                        // SAFETY: no preconditions.
                        unsafe { libc::kill(parent, 54) }
                    }
                });
                let sent = wait_for(sender);
                let code = if queued { libc::SI_QUEUE } else { libc::SI_USER };
                let facts = [
                    sent == 0,
                    // Ours once, then the one in force once.
                    take(&ENTERED) == 1,
                    take(&CHAINED) == 1054,
                    take(&CODE) == code as usize,
                    take(&PID) == sender as usize,
                    !queued || take(&VALUE) == 99,
                ];
                facts.iter().position(|fact| !fact).map_or(0, |at| at as i32 + 1)
            });
            assert_eq!(ended, 0, "queued: {queued}; the number of the fact that is wrong");
        }
    }

    pub(in crate::sys::tests) fn entry_that_restores(signal: i32, origin: RawOrigin) -> Verdict {
        let verdict = entry(signal, origin);
        note(0, 0, 0);
        if restore(signal) == Ok(Restored::Previous) { verdict } else { Verdict::Handled }
    }

    #[test]
    fn an_ignored_signal_is_neither_chained_nor_sent_again() {
        let _alone = alone(Verdict::Ignored);
        set(55, one(), 0);
        install(55, entry).unwrap();
        raise(55);
        assert_eq!((take(&ENTERED), take(&CHAINED)), (1, 0));
        set_default(55).unwrap();
    }
}

/// A child that ends with what `child` returns, without cleaning up.
fn fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the children use async-signal-safe functions, and no other test is in the middle of a change.
    let forked = unix::while_nobody_writes(|| unsafe { libc::fork() });
    assert_ne!(forked, -1);
    if forked == 0 {
        let code = child();
        // SAFETY: no preconditions.
        unsafe { libc::_exit(code) };
    }
    forked
}

/// How a child ended: its code, or the signal that ended it plus 1000.
fn wait_for(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the pointer is valid for the call.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
        assert_eq!(errno::get(), libc::EINTR);
    }
    if libc::WIFSIGNALED(status) {
        1000 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    }
}

pub(super) fn forked(child: impl FnOnce() -> i32) -> i32 {
    wait_for(fork(child))
}

#[test]
fn dying_by_a_signal_takes_no_notice_of_masks_and_handlers() {
    let _alone = alone(Verdict::Handled);
    for signal in [libc::SIGTERM, libc::SIGUSR1, libc::SIGHUP] {
        let ended = forked(|| {
            install(signal, entry).unwrap();
            let _blocked = AllBlocked::new();
            die_by(signal);
            99
        });
        assert_eq!(ended, 1000 + signal);
    }
    // Nothing happens by default: it comes back.
    let ended = forked(|| if die_by(libc::SIGURG) == Errno(libc::EINVAL) { 3 } else { 4 });
    assert_eq!(ended, 3);
}

#[test]
fn masks_are_put_back() {
    let _alone = alone(Verdict::Handled);
    let ended = forked(|| {
        set(libc::SIGUSR2, one(), 0);
        let blocked = AllBlocked::new();
        raise(libc::SIGUSR2);
        let before = take(&CHAINED);
        drop(blocked);
        if before == 0 && take(&CHAINED) == libc::SIGUSR2 as usize { 5 } else { 6 }
    });
    assert_eq!(ended, 5);
}

#[test]
fn a_number_that_the_system_refuses_is_an_error() {
    assert_eq!(install(libc::SIGKILL, entry), Err(Errno(libc::EINVAL)));
    assert_eq!(set_ignored(libc::SIGSTOP), Err(Errno(libc::EINVAL)));
    assert_eq!(is_ignored(100_000), Err(Errno(libc::EINVAL)));
    assert_eq!(restore(-1), Ok(Restored::Foreign));
}

#[cfg(target_os = "linux")]
pub(super) use realtime::entry_that_restores;
pub(super) fn unwanted() {
    VERDICT.store(Verdict::Unwanted as u32, Relaxed);
    take(&CHAINED);
}
/// A child queues the signal; returns when it has ended.
pub(super) fn wait_for_sender(signal: i32) {
    let sender = fork(|| {
        // SAFETY: no preconditions.
        unsafe { libc::sigqueue(libc::getppid(), signal, zeroed()) }
    });
    assert_eq!(wait_for(sender), 0);
}

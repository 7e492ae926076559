//! Others' handlers, before ours, over ours, and put back late.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering::*};

use libc::{SIGCHLD, SIGTERM, SIGUSR1};
use portcullis::signal::{self, Builder};

use super::common::*;
use super::{Handler, call_old, function, now, set};

static FIRST: AtomicUsize = AtomicUsize::new(0);
static SECOND: AtomicUsize = AtomicUsize::new(0);
static FOUND: AtomicUsize = AtomicUsize::new(0);

extern "C" fn first(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    FIRST.fetch_add(1, Relaxed);
}

/// As a library does that was loaded later: goes on to what it found.
extern "C" fn second(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    SECOND.fetch_add(1, Relaxed);
    call_old(FOUND.load(Relaxed), signal, info, context);
}

fn counts() -> (usize, usize) {
    (FIRST.swap(0, Relaxed), SECOND.swap(0, Relaxed))
}

/// One before us, one over us, and subscriptions that come and go: each is called once for each signal.
#[test]
fn nobody_is_cut_off() {
    isolated("handlers::nobody_is_cut_off", || {
        set(SIGUSR1, function(first), libc::SA_SIGINFO);
        let mut ours = signal::subscribe([SIGUSR1]).unwrap();
        FOUND.store(set(SIGUSR1, function(second), libc::SA_SIGINFO).sa_sigaction, Relaxed);
        let received = |subscription: &mut signal::Subscription, expected| {
            for _ in 0..3 {
                kill_self(SIGUSR1);
                assert_eq!(subscription.recv_timeout(SOON).unwrap().signal, SIGUSR1);
                assert_eq!(subscription.try_recv().unwrap(), None, "once");
                assert_eq!(counts(), expected);
            }
        };
        received(&mut ours, (1, 1));
        // A second one beside it, which finds their handler in force.
        let mut again = signal::subscribe([SIGUSR1]).unwrap();
        received(&mut again, (1, 1));
        let left = ours.stop().unwrap();
        assert_eq!(left.foreign, [], "somebody is subscribed still");
        again.stop().unwrap();
        assert_eq!(now(SIGUSR1).sa_sigaction, function(second));
        // Nobody of ours: theirs goes on to ours, and ours to the one before it.
        kill_self(SIGUSR1);
        assert_eq!(counts(), (1, 1));
        let mut third = signal::subscribe([SIGUSR1]).unwrap();
        received(&mut third, (1, 1));
        third.stop().unwrap();
        kill_self(SIGUSR1);
        assert_eq!(counts(), (1, 1));
    });
}

const SEVERAL: usize = 5;
static TOLD: [AtomicUsize; SEVERAL] = [const { AtomicUsize::new(0) }; SEVERAL];
static BEFORE: [AtomicUsize; SEVERAL] = [const { AtomicUsize::new(0) }; SEVERAL];

extern "C" fn one_of<const WHO: usize>(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    TOLD[WHO].fetch_add(1, Relaxed);
    call_old(BEFORE[WHO].load(Relaxed), signal, info, context);
}

/// Neighbours come one after the other, with a subscription between any two, and take themselves out again: each is
/// told of each signal once as long as it is there, and not after that.
#[test]
fn several_come_and_go() {
    isolated("handlers::several_come_and_go", || {
        let all: [Handler; SEVERAL] =
            [one_of::<0>, one_of::<1>, one_of::<2>, one_of::<3>, one_of::<4>];
        let mut there = [0; SEVERAL];
        let told = || std::array::from_fn(|who| TOLD[who].swap(0, Relaxed));
        set(SIGUSR1, function(first), libc::SA_SIGINFO);
        let mut ours = signal::subscribe([SIGUSR1]).unwrap();
        let mut is_told = |there: [usize; SEVERAL]| {
            kill_self(SIGUSR1);
            assert_eq!(ours.recv_timeout(SOON).unwrap().signal, SIGUSR1);
            assert_eq!(ours.try_recv().unwrap(), None, "once");
            assert_eq!((told(), counts().0), (there, 1));
        };
        for _ in 0..3 {
            for (who, handler) in all.into_iter().enumerate() {
                BEFORE[who].store(now(SIGUSR1).sa_sigaction, Relaxed);
                set(SIGUSR1, function(handler), libc::SA_SIGINFO);
                there[who] = 1;
                is_told(there);
                signal::subscribe([SIGUSR1]).unwrap().stop().unwrap();
                is_told(there);
            }
            for who in (0..SEVERAL).rev() {
                // Ours is over theirs, which puts back what it has found.
                set(SIGUSR1, BEFORE[who].load(Relaxed), libc::SA_SIGINFO | libc::SA_ONSTACK);
                there[who] = 0;
                is_told(there);
            }
        }
    });
}

/// One takes itself out from under ours, and its code is gone.
#[test]
fn one_that_is_unmapped() {
    isolated("handlers::one_that_is_unmapped", || {
        let page = libc::PROT_READ | libc::PROT_WRITE;
        let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: new memory.
        let code = unsafe { libc::mmap(std::ptr::null_mut(), 4096, page, private, -1, 0) };
        assert_ne!(code, libc::MAP_FAILED);
        let mut ours = signal::subscribe([SIGUSR1]).unwrap();
        let before = set(SIGUSR1, code.addr(), libc::SA_SIGINFO);
        let mut again = signal::subscribe([SIGUSR1]).unwrap();
        assert_ne!(now(SIGUSR1).sa_sigaction, code.addr());
        set(SIGUSR1, before.sa_sigaction, before.sa_flags);
        // SAFETY: the memory of above.
        unsafe { libc::munmap(code, 4096) };
        kill_self(SIGUSR1);
        assert_eq!(ours.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        assert_eq!(again.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        again.stop().unwrap();
        ours.stop().unwrap();
        assert_eq!(now(SIGUSR1).sa_sigaction, libc::SIG_DFL);
    });
}

/// A host whose handler would end the process: it is not called, until we stop.
#[test]
fn alone_on_request() {
    isolated("handlers::alone_on_request", || {
        set(SIGTERM, function(first), libc::SA_SIGINFO);
        let mut ours = Builder::new().alone().subscribe([SIGTERM]).unwrap();
        kill_self(SIGTERM);
        assert_eq!((ours.recv_timeout(SOON).unwrap().signal, counts()), (SIGTERM, (0, 0)));
        ours.stop().unwrap();
        kill_self(SIGTERM);
        assert_eq!(counts(), (1, 0));
        let mut again = signal::subscribe([SIGTERM]).unwrap();
        kill_self(SIGTERM);
        assert_eq!((again.recv_timeout(SOON).unwrap().signal, counts()), (SIGTERM, (1, 0)));
    });
}

/// Somebody ignores a signal that we are subscribed to; whoever subscribes then receives.
#[test]
fn a_subscription_after_a_foreign_change_is_not_deaf() {
    isolated("handlers::a_subscription_after_a_foreign_change_is_not_deaf", || {
        let mut ours = signal::subscribe([SIGUSR1]).unwrap();
        for action in [libc::SIG_IGN, libc::SIG_DFL] {
            set(SIGUSR1, action, 0);
            let mut again = signal::subscribe([SIGUSR1]).unwrap();
            kill_self(SIGUSR1);
            assert_eq!(again.recv_timeout(SOON).unwrap().signal, SIGUSR1);
            assert_eq!(ours.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        }
    });
}

/// A library notes our handler and puts it back after we stopped: the signal acts as before us, and does
/// not go round for ever.
#[test]
fn ours_put_back_after_stop() {
    const NAME: &str = "handlers::ours_put_back_after_stop";
    isolated(NAME, || {
        for (before, expected) in [
            (libc::SIG_DFL, Ended::Killed(SIGTERM)),
            (libc::SIG_IGN, Ended::Exited(0)),
            (function(first), Ended::Exited(1)),
        ] {
            let child = fork(|| {
                set(SIGTERM, before, libc::SA_SIGINFO);
                let ours = signal::subscribe([SIGTERM]).unwrap();
                let noted = now(SIGTERM);
                ours.stop().unwrap();
                set(SIGTERM, noted.sa_sigaction, noted.sa_flags);
                kill_self(SIGTERM);
                counts().0 as i32
            });
            assert_eq!(wait_for(child), expected);
        }
    });
}

/// What the handler before ours asked the system for it still gets.
#[test]
fn sixty_kilobytes_of_locals_without_a_stack_for_them() {
    extern "C" fn large(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
        let locals = std::hint::black_box([1_u8; 60 * 1024]);
        FIRST.fetch_add(usize::from(locals[1000]), Relaxed);
    }
    isolated("handlers::sixty_kilobytes_of_locals_without_a_stack_for_them", || {
        let large: Handler = large;
        set(SIGUSR1, function(large), libc::SA_SIGINFO);
        let mut ours = signal::subscribe([SIGUSR1]).unwrap();
        for _ in 0..10 {
            kill_self(SIGUSR1);
            ours.recv_timeout(SOON).unwrap();
        }
        assert_eq!(counts(), (10, 0));
    });
}

/// Children of a process that ignores SIGCHLD do not stay, subscribed or not.
#[test]
fn children_of_who_ignores_them_do_not_stay() {
    isolated("handlers::children_of_who_ignores_them_do_not_stay", || {
        set(SIGCHLD, libc::SIG_IGN, 0);
        let mut ours = signal::subscribe([SIGCHLD]).unwrap();
        let child = fork(|| 0);
        assert_eq!(ours.recv_timeout(SOON).unwrap().signal, SIGCHLD);
        // SAFETY: no memory is passed.
        let waited = unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        assert_eq!(waited, -1, "it has left nothing to wait for");
    });
}

/// signalfd(2) and sigtimedwait(2) beside a subscription: each signal is told once, to one of the three.
#[test]
fn who_waits_for_signals_beside_us() {
    const SENT: usize = 600;
    isolated("handlers::who_waits_for_signals_beside_us", || {
        let mut ours = signal::subscribe([SIGUSR1]).unwrap();
        let open = mask();
        let masked = open | 1 << SIGUSR1;
        // SAFETY: all zeros is storage for a set, filled next.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is a local.
        let fd = unsafe {
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, SIGUSR1);
            libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)
        };
        let mut told = [0; 3];
        for round in 0..SENT {
            // Where all mask it, it waits for one of them; else it comes to our handler at once.
            set_mask(if round % 3 == 0 { open } else { masked });
            kill_self(SIGUSR1);
            let mut info = [0_u8; 128];
            // SAFETY: a signalfd_siginfo is of that size; no time is waited.
            let (read, waited) = unsafe {
                let read = if round % 3 == 1 {
                    libc::read(fd, info.as_mut_ptr().cast(), info.len())
                } else {
                    -1
                };
                let now = std::mem::zeroed();
                (read, libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const now))
            };
            told[1] += usize::from(read == 128);
            told[2] += usize::from(waited == SIGUSR1);
            set_mask(open);
            told[0] += usize::from(ours.try_recv().unwrap().is_some());
            assert_eq!(told.iter().sum::<usize>(), round + 1, "{told:?}");
        }
        assert_eq!(told, [SENT / 3; 3]);
        // SAFETY: the descriptor is this test's.
        unsafe { libc::close(fd) };
    });
}

//! Dispositions: what was there is restored and called, what others set is left alone, death by a
//! signal is that, and where a signal came from is told.
//!
//! Bounded: each test is a process of its own with an alarm of 30 s.
#![cfg(all(unix, not(loom)))]

mod common;

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::*};
use std::sync::mpsc;

use common::*;
use libc::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use portcullis::signal::{self, SignalError, Stopped};

static RUNS: AtomicUsize = AtomicUsize::new(0);
static SENDER: AtomicI32 = AtomicI32::new(0);
static FRAME: AtomicUsize = AtomicUsize::new(0);

extern "C" fn plain(_signal: i32) {
    RUNS.fetch_add(1, Relaxed);
}

extern "C" fn informed(_signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    RUNS.fetch_add(1, Relaxed);
    if !context.is_null() {
        // SAFETY: a signal sent by a process carries its number.
        SENDER.store(unsafe { (*info).si_pid() }, Relaxed);
    }
}

extern "C" fn where_am_i(_signal: i32) {
    let here = 0_u8;
    FRAME.store((&raw const here).addr(), Relaxed);
}

#[test]
fn previous_dispositions_are_restored_and_chained() {
    isolated("previous_dispositions_are_restored_and_chained", || {
        let mask = 1 << SIGHUP | 1 << SIGTERM;
        let plain = plain as *const () as usize;
        let informed = informed as *const () as usize;
        let cases = [
            (Disposition { action: plain, flags: libc::SA_RESTART, mask }, 1),
            (Disposition { action: plain, flags: 0, mask: 0 }, 1),
            (Disposition { action: informed, flags: libc::SA_SIGINFO | libc::SA_NODEFER, mask }, 1),
            (Disposition::simple(libc::SIG_IGN), 0),
            (Disposition { action: libc::SIG_IGN, flags: libc::SA_SIGINFO, mask }, 0),
            (Disposition::simple(libc::SIG_DFL), 0),
            (Disposition { action: libc::SIG_DFL, flags: libc::SA_RESTART, mask }, 0),
        ];
        for (case, calls) in cases {
            set_disposition(SIGUSR1, case);
            let set = disposition(SIGUSR1).unwrap();
            let before = RUNS.load(Relaxed);
            for round in 1..=3 {
                let mut first = signal::subscribe([SIGUSR1]).unwrap();
                let mut second = signal::subscribe([SIGUSR1, SIGUSR2]).unwrap();
                kill_self(SIGUSR1);
                for subscription in [&mut first, &mut second] {
                    assert_eq!(subscription.recv_timeout(SOON).unwrap().signal, SIGUSR1);
                }
                assert_eq!(RUNS.load(Relaxed), before + round * calls, "{case:?}");
                assert_eq!(first.stop().unwrap(), Stopped::default());
                assert_ne!(disposition(SIGUSR1).unwrap(), set, "another is subscribed");
                drop(second);
                assert_eq!(disposition(SIGUSR1).unwrap(), set);
            }
        }
        assert_eq!(SENDER.load(Relaxed), pid());
    });
}

#[test]
fn the_handler_is_set_as_it_should_be() {
    isolated("the_handler_is_set_as_it_should_be", || {
        let subscription = signal::subscribe([SIGUSR1]).unwrap();
        let ours = disposition(SIGUSR1).unwrap();
        let flags = libc::SA_ONSTACK | libc::SA_RESTART | libc::SA_SIGINFO;
        assert_eq!(ours.flags & (flags | libc::SA_NODEFER | libc::SA_RESETHAND), flags);
        drop(subscription);
    });
}

#[test]
fn a_foreign_change_is_left_alone() {
    isolated("a_foreign_change_is_left_alone", || {
        let mut subscription = signal::subscribe([SIGUSR1, SIGUSR2]).unwrap();
        let action = plain as *const () as usize;
        set_disposition(SIGUSR1, Disposition::simple(action));
        let stopped = subscription.stop().unwrap();
        assert_eq!((stopped.foreign, stopped.refused), (vec![SIGUSR1], vec![]));
        assert_eq!(disposition(SIGUSR1).unwrap().action, action);
        assert_eq!(disposition(SIGUSR2).unwrap(), Disposition::simple(libc::SIG_DFL));
        kill_self(SIGUSR1);
        assert_eq!(RUNS.load(Relaxed), 1);
        assert!(subscription.try_recv().is_err());
        // What they set is what the next subscription finds and restores. Whether it is called
        // meanwhile is not said: it may be one that calls ours.
        let mut again = signal::subscribe([SIGUSR1]).unwrap();
        kill_self(SIGUSR1);
        assert_eq!(again.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        assert!(again.stop().unwrap().foreign.is_empty());
        assert_eq!(disposition(SIGUSR1).unwrap().action, action);
    });
}

static PREVIOUS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn chaining(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
    RUNS.fetch_add(1, Relaxed);
    // SAFETY: what the test found in place: a handler of three arguments.
    let previous = unsafe { std::mem::transmute::<usize, Handler>(PREVIOUS.load(Relaxed)) };
    previous(signal, info, context);
}

/// As other libraries do, which then call our handler for good.
#[test]
fn a_foreign_handler_may_chain_to_ours() {
    isolated_within("a_foreign_handler_may_chain_to_ours", 5, || {
        let mut subscription = signal::subscribe([SIGUSR1]).unwrap();
        PREVIOUS.store(disposition(SIGUSR1).unwrap().action, Relaxed);
        let action = chaining as *const () as usize;
        let theirs = Disposition { action, flags: libc::SA_SIGINFO, mask: 0 };
        set_disposition(SIGUSR1, theirs);
        kill_self(SIGUSR1);
        assert_eq!(subscription.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        assert_eq!(subscription.stop().unwrap().foreign, [SIGUSR1]);
        kill_self(SIGUSR1);
        assert_eq!(RUNS.load(Relaxed), 2, "each signal runs it once");
        // Over theirs, which is over ours: no circle.
        let mut again = signal::subscribe([SIGUSR1]).unwrap();
        kill_self(SIGUSR1);
        assert_eq!(again.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        assert_eq!(again.try_recv(), Ok(None));
        assert!(again.stop().unwrap().foreign.is_empty());
        assert_eq!(disposition(SIGUSR1).unwrap().action, action);
    });
}

/// A thread on a stack of its own making keeps it: the handlers run on its alternate stack.
#[test]
fn handlers_run_on_the_alternate_stack() {
    isolated("handlers_run_on_the_alternate_stack", || {
        let where_am_i = Disposition::simple(where_am_i as *const () as usize);
        set_disposition(SIGUSR1, Disposition { flags: libc::SA_ONSTACK, ..where_am_i });
        // It did not ask for that stack, and is large for all we know.
        set_disposition(SIGUSR2, where_am_i);
        let mut stack = vec![0_u8; 1 << 20];
        let range = stack.as_ptr_range();
        let new =
            libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
        // SAFETY: all zeros is a valid stack_t.
        let mut old: libc::stack_t = unsafe { std::mem::zeroed() };
        // SAFETY: the memory is there until the old stack is back, at the end.
        assert_eq!(unsafe { libc::sigaltstack(&raw const new, &raw mut old) }, 0);
        let mut subscription = signal::subscribe([SIGUSR1, SIGUSR2]).unwrap();
        for (signal, on_it) in [(SIGUSR1, true), (SIGUSR2, false)] {
            kill_self(signal);
            assert_eq!(subscription.recv_timeout(SOON).unwrap().signal, signal);
            let frame = FRAME.swap(0, Relaxed);
            let is_on_it = (range.start.addr()..range.end.addr()).contains(&frame);
            assert_eq!((is_on_it, frame != 0), (on_it, true), "chained, signal {signal}");
        }
        // SAFETY: what was there before is valid.
        assert_eq!(unsafe { libc::sigaltstack(&raw const old, std::ptr::null_mut()) }, 0);
    });
}

/// The signals whose default action is to end the process, by the number that POSIX gives none.
fn fatal() -> Vec<i32> {
    let harmless = [
        SIGCHLD,
        libc::SIGCONT,
        SIGWINCH,
        libc::SIGURG,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ];
    (1..65).filter(|s| signal::counts(*s).is_ok() && !harmless.contains(s)).collect()
}

#[test]
fn die_by_each_fatal_signal() {
    isolated("die_by_each_fatal_signal", || {
        for signal in fatal() {
            for masked in [false, true] {
                let child = fork(|| {
                    let _subscription = signal::subscribe([signal]).unwrap();
                    if masked {
                        set_mask(!0);
                    }
                    let error = signal::die_by(signal);
                    eprintln!("{error}");
                    7
                });
                assert_eq!(wait_for(child), Ended::Killed(signal), "masked: {masked}");
            }
        }
    });
}

/// With further threads that all mask the signal, as a shell sees it: 128 + 2.
#[test]
fn die_by_sigint_masked_in_all_threads() {
    isolated("die_by_sigint_masked_in_all_threads", || {
        let child = fork(|| {
            set_mask(!0);
            let (told, tell) = mpsc::channel();
            for _ in 0..3 {
                let told = told.clone();
                std::thread::spawn(move || {
                    told.send(()).unwrap();
                    loop {
                        std::thread::park();
                    }
                });
            }
            (0..3).for_each(|_| tell.recv().unwrap());
            signal::die_by(SIGINT);
            7
        });
        assert_eq!(wait_for(child), Ended::Killed(SIGINT));
    });
}

#[test]
fn die_by_what_does_not_kill_is_an_error() {
    isolated("die_by_what_does_not_kill_is_an_error", || {
        for signal in [SIGCHLD, SIGWINCH, libc::SIGURG] {
            let error = signal::die_by(signal);
            // Ours, and not blamed on the system.
            assert_eq!(error, SignalError::NotFatal(signal));
            assert!(error.to_string().contains(&signal.to_string()));
            assert_eq!(mask(), 0, "the mask is as it was");
        }
        assert_eq!(signal::die_by(9), SignalError::Unstoppable(9));
        assert_eq!(signal::die_by(0), SignalError::OutOfRange(0));
    });
}

#[test]
fn origin_of_kill_and_of_a_child() {
    isolated("origin_of_kill_and_of_a_child", || {
        let mut subscription = signal::subscribe([SIGUSR1, SIGCHLD]).unwrap();
        let own = pid();
        let child = fork(move || {
            kill(own, SIGUSR1).unwrap();
            33
        });
        assert_eq!(wait_for(child), Ended::Exited(33));
        let mut seen = [false; 2];
        while seen != [true; 2] {
            let delivery = subscription.recv_timeout(SOON).unwrap();
            let origin = delivery.origin.unwrap();
            assert_eq!((origin.pid, origin.uid), (child, uid()), "{delivery:?}");
            if delivery.signal == SIGCHLD {
                assert_eq!((origin.code, origin.value), (libc::CLD_EXITED, 33));
            } else {
                assert_eq!((origin.code, origin.value), (libc::SI_USER, 0));
            }
            seen[usize::from(delivery.signal == SIGCHLD)] = true;
        }
    });
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
#[test]
fn origin_of_a_queued_signal() {
    isolated("origin_of_a_queued_signal", || {
        let mut subscription = signal::subscribe([SIGUSR2]).unwrap();
        for value in [0, 1, 0xfeed, usize::MAX] {
            queue(pid(), SIGUSR2, value).unwrap();
            let origin = subscription.recv_timeout(SOON).unwrap().origin.unwrap();
            assert_eq!((origin.code, origin.value), (libc::SI_QUEUE, value));
            assert_eq!((origin.pid, origin.uid), (pid(), uid()));
        }
    });
}

/// Queued while they are masked, so that the kernel hands them over in one go: each arrives, in
/// order, with its value.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
#[test]
fn realtime_signals_arrive_each_in_order() {
    isolated("realtime_signals_arrive_each_in_order", || {
        let numbers = [libc::SIGRTMIN() + 1, libc::SIGRTMAX()];
        let mut subscription = signal::subscribe(numbers).unwrap();
        for signal in numbers {
            set_mask(!0);
            (0..50).for_each(|value| queue(pid(), signal, value).unwrap());
            set_mask(0);
            for value in 0..50 {
                let delivery = subscription.recv_timeout(SOON).unwrap();
                assert_eq!((delivery.signal, delivery.coalesced), (signal, 0));
                assert_eq!(delivery.origin.unwrap().value, value);
            }
        }
        assert_eq!(subscription.try_recv(), Ok(None));
        assert_eq!((signal::overflow(), subscription.dropped()), (0, 0));
    });
}

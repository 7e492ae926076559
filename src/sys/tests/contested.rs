//! What the shim owes a signal, or a wait, when another handler or the limit on queued signals gets in
//! the way. Each in a process of its own.

use std::mem::zeroed;

use super::posix::{entry, forked, one, set, wait_for_sender};
use crate::sync::{AtomicU32, AtomicUsize, Ordering::*};
use crate::sys::*;

/// A program puts its handler over ours, we stop, and it puts ours back, as it was told to find
/// it. The signal is then nobody's, so that what was there before us acts.
#[test]
fn ours_put_back_after_stop_carries_out_what_was_before() {
    for (before, expected) in [(libc::SIG_DFL, 1000 + 15), (libc::SIG_IGN, 7), (one(), 15)] {
        let ended = forked(|| {
            super::posix::unwanted();
            set(15, before, 0);
            install(15, entry).unwrap();
            let ours = set(15, one_more(), 0);
            assert_eq!(restore(15), Ok(Restored::Foreign));
            set(15, ours.sa_sigaction, ours.sa_flags);
            process::raise_here(15);
            // ORDERING: Relaxed: the handler ran in this thread.
            let chained = super::posix::CHAINED.load(Relaxed) as i32;
            if chained == 0 { 7 } else { chained }
        });
        assert_eq!(ended, expected);
    }
}

extern "C" fn nothing(_: i32) {}
fn one_more() -> usize {
    nothing as *const () as usize
}

fn no_queue() {
    // SAFETY: the limit is a local.
    let none: libc::rlimit = unsafe { zeroed() };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const none) }, 0);
}

#[test]
fn an_unwanted_signal_is_not_lost_for_want_of_room() {
    let ended = forked(|| {
        super::posix::unwanted();
        set(57, one(), 0);
        install(57, entry_when_full).unwrap();
        wait_for_sender(57);
        // ORDERING: Relaxed: one thread.
        super::posix::CHAINED.load(Relaxed) as i32
    });
    assert_eq!(ended, 57);
}

/// As in a flood: the room that the signal leaves is taken when it is sent again.
fn entry_when_full(signal: i32, origin: RawOrigin) -> Verdict {
    no_queue();
    super::posix::entry_that_restores(signal, origin)
}

#[test]
fn dying_needs_no_room() {
    let ended = forked(|| {
        no_queue();
        die_by(57);
        99
    });
    assert_eq!(ended, 1000 + 57);
}

/// Somebody sets a handler while ours is taken out: whichever comes first, theirs is in force
/// after both.
#[test]
fn a_handler_set_during_restore_stays() {
    use crate::sync::AtomicU32;
    const ROUNDS: u32 = 20_000;
    static ROUND: AtomicU32 = AtomicU32::new(0);
    static DONE: AtomicU32 = AtomicU32::new(0);
    // ORDERING: Release and Acquire throughout: the rounds in order.
    fn until(word: &AtomicU32, value: u32) {
        for turn in (0..256).cycle() {
            match word.load(Acquire) {
                now if now == value => break,
                // The other has no processor.
                _ if turn == 255 => std::thread::yield_now(),
                _ => std::hint::spin_loop(),
            }
        }
    }
    let _alone = super::posix::alone(Verdict::Handled);
    let other = std::thread::spawn(|| {
        for round in 1..=ROUNDS {
            until(&ROUND, round);
            (0..round % 64).for_each(|_| std::hint::spin_loop());
            set(58, one_more(), 0);
            DONE.store(round, Release);
        }
    });
    for round in 1..=ROUNDS {
        set_default(58).unwrap();
        install(58, entry).unwrap();
        ROUND.store(round, Release);
        restore(58).unwrap();
        until(&DONE, round);
        assert_eq!(super::posix::now(58).sa_sigaction, one_more(), "round {round}");
    }
    other.join().unwrap();
    set_default(58).unwrap();
}

static WORD: AtomicU32 = AtomicU32::new(0);
static HANDLED: AtomicUsize = AtomicUsize::new(0);

/// The third one changes what is waited for, without a wake-up.
extern "C" fn third_changes(_: i32) {
    // ORDERING: Relaxed: the handler and what it interrupts are one thread.
    if HANDLED.fetch_add(1, Relaxed) == 2 {
        WORD.store(1, Relaxed);
    }
}

/// What the simulated kernel takes for granted: a wait goes on after a handler, and looks at the
/// word again then.
#[test]
fn a_wait_goes_on_after_a_handler() {
    let ended = forked(|| {
        set(libc::SIGALRM, third_changes as *const () as usize, libc::SA_RESTART);
        let tick = libc::timeval { tv_sec: 0, tv_usec: 10_000 };
        let timer = libc::itimerval { it_interval: tick, it_value: tick };
        // SAFETY: the timer is a local.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
        wait(&WORD, 0, None);
        // ORDERING: Relaxed: as above.
        i32::from(HANDLED.load(Relaxed) != 3)
    });
    assert_eq!(ended, 0);
}

static ENTERED: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

fn entered(_: i32, _: RawOrigin) -> Verdict {
    // ORDERING: Relaxed, here and below: one thread.
    ENTERED[0].fetch_add(1, Relaxed);
    Verdict::Handled
}

fn interrupted(_: i32, _: *mut core::ffi::c_void) {
    ENTERED[1].fetch_add(1, Relaxed);
}

/// A gate and a subscription by one signal, each put in place again over the other: each is told, and neither calls
/// the other for ever.
#[test]
fn our_own_handlers_one_over_the_other() {
    let ended = forked(|| {
        for _ in 0..3 {
            install(10, entered).unwrap();
            interrupt_by(10, Crossing::Gate, interrupted).unwrap();
        }
        process::raise_here(10);
        // ORDERING: Relaxed: as above.
        let [entered, interrupted] = ENTERED.each_ref().map(|count| count.load(Relaxed) as i32);
        entered * 10 + interrupted
    });
    assert_eq!(ended, 11, "each is told once");
}

/// A standard signal of ours that is pending takes in one of somebody's: they are told of it all the same.
#[test]
fn ours_may_stand_for_theirs() {
    let ended = forked(|| {
        set(10, one(), 0);
        interrupt_by(10, Crossing::Gate, interrupted).unwrap();
        let blocked = AllBlocked::new();
        OsThread::current().send(10).unwrap();
        // SAFETY: no memory is passed.
        unsafe { libc::raise(10) };
        drop(blocked);
        // ORDERING: Relaxed: the handler ran in this thread.
        super::posix::CHAINED.load(Relaxed) as i32
    });
    assert_eq!(ended, 10);
}

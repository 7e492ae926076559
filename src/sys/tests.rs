//! The shims against the system they stand on. What needs a process of its own is in `tests/`.

use std::thread;
use std::time::{Duration, Instant};

use super::{Deadline, SIGNALS, Waited, wait, wake_one};
use crate::sync::{AtomicU32, Ordering::*};

/// The polls are tried on every system, not only where they are all there is.
#[cfg(unix)]
#[path = "fallback.rs"]
mod fallback;
#[allow(unreachable_pub, reason = "public where it is the system's")]
#[path = "spin.rs"]
mod spin;

mod barrier;
#[cfg(unix)]
mod chains;
#[cfg(target_os = "linux")]
mod contested;
#[cfg(target_os = "linux")]
mod ended;
#[cfg(target_os = "linux")]
mod forked;
#[cfg(all(target_os = "linux", target_pointer_width = "32"))]
mod futex;
#[cfg(target_os = "linux")]
mod order;
#[cfg(unix)]
mod posix;
#[cfg(unix)]
mod threads;
#[cfg(windows)]
mod windows;

/// A real-time signal for a test that handles one in this process, where others run beside it: each gets another.
/// Those in `posix.rs`, from 50 on, take turns.
#[cfg(unix)]
pub(crate) fn unused_signal() -> i32 {
    static NEXT: AtomicU32 = AtomicU32::new(super::REALTIME_MIN as u32 + 2);
    // ORDERING: Relaxed: numbers, each given once.
    let signal = NEXT.fetch_add(1, Relaxed) as i32;
    assert!(signal < 50, "more tests than numbers");
    signal
}

#[test]
fn a_wait_for_another_value_returns() {
    let word = AtomicU32::new(1);
    assert_eq!(wait(&word, 0, None), Waited::Woken);
    let deadline = Deadline::after(Duration::from_secs(60));
    assert_eq!(wait(&word, 0, Some(&deadline)), Waited::Woken);
}

/// Two threads hand a word to and fro; each sleeps until it is its turn.
#[test]
fn a_wake_up_ends_a_wait() {
    static TURN: AtomicU32 = AtomicU32::new(0);
    fn play(own: u32, deadline: Option<&Deadline>) {
        for _ in 0..200 {
            // ORDERING: Relaxed, here and below: the turn passes nothing on.
            while TURN.load(Relaxed) != own {
                assert_eq!(wait(&TURN, 1 - own, deadline), Waited::Woken);
            }
            TURN.store(1 - own, Relaxed);
            wake_one(&TURN);
        }
    }
    let deadline = Deadline::after(Duration::from_secs(60));
    let other = thread::spawn(move || play(1, Some(&deadline)));
    play(0, None);
    other.join().unwrap();
}

#[test]
fn a_deadline_passes_and_not_early() {
    let word = AtomicU32::new(0);
    for millis in [0, 1, 5, 20] {
        let duration = Duration::from_millis(millis);
        let start = Instant::now();
        let deadline = Deadline::after(duration);
        while wait(&word, 0, Some(&deadline)) != Waited::TimedOut {}
        let took = start.elapsed();
        assert!(took >= duration, "{took:?} instead of {duration:?}");
        assert!(took < duration + Duration::from_secs(10), "{took:?}");
    }
}

#[test]
fn a_deadline_too_far_is_for_ever() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    for duration in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1 << 62)] {
        // ORDERING: Relaxed, here and below: the word passes nothing on.
        WORD.store(0, Relaxed);
        let deadline = Deadline::after(duration);
        let waker = thread::spawn(|| {
            thread::sleep(Duration::from_millis(5));
            WORD.store(1, Relaxed);
            wake_one(&WORD);
        });
        while WORD.load(Relaxed) == 0 {
            assert_eq!(wait(&WORD, 0, Some(&deadline)), Waited::Woken);
        }
        waker.join().unwrap();
    }
}

#[test]
fn the_table_has_room_for_every_signal() {
    let found = (-2..=130).filter(|signal| super::classify(*signal) != super::Class::OutOfRange);
    assert!(found.clone().all(|signal| signal > 0 && (signal as usize) < SIGNALS));
    assert_ne!(found.count(), 0);
}

#[test]
fn threads_have_names() {
    let own = super::thread_id();
    assert_eq!(own, super::thread_id());
    let other = thread::spawn(super::thread_id).join().unwrap();
    assert!(other != 0 && own != 0);
    thread::scope(|scope| {
        scope.spawn(|| assert_ne!(own, super::thread_id()));
    });
}

#[cfg(unix)]
#[test]
fn the_poll_keeps_the_contract_too() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    assert_eq!(fallback::wait(&WORD, 1, None), Waited::Woken);
    let start = Instant::now();
    let deadline = Deadline::after(Duration::from_millis(30));
    assert_eq!(fallback::wait(&WORD, 0, Some(&deadline)), Waited::TimedOut);
    assert!(start.elapsed() >= Duration::from_millis(30));
    let waker = thread::spawn(|| {
        thread::sleep(Duration::from_millis(5));
        // ORDERING: Relaxed: the word passes nothing on.
        WORD.store(1, Relaxed);
        fallback::wake_one(&WORD);
    });
    assert_eq!(fallback::wait(&WORD, 0, None), Waited::Woken);
    waker.join().unwrap();
}

#[test]
fn the_spin_keeps_the_contract_but_for_the_clock() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    assert_eq!(spin::wait(&WORD, 1, None), Waited::Woken);
    let passed = spin::Deadline::after(Duration::ZERO);
    assert_eq!(spin::wait(&WORD, 0, Some(&passed)), Waited::TimedOut);
    let waker = thread::spawn(|| {
        thread::sleep(Duration::from_millis(5));
        // ORDERING: Relaxed: the word passes nothing on.
        WORD.store(1, Relaxed);
        spin::wake_one(&WORD);
    });
    let far = spin::Deadline::after(Duration::from_secs(1));
    assert_eq!(spin::wait(&WORD, 0, Some(&far)), Waited::Woken);
    waker.join().unwrap();
}

//! The futex of 32-bit times, which is there beside the other on the kernels that these tests run on.

use std::thread;
use std::time::{Duration, Instant};

use crate::sync::{AtomicU32, Ordering::*};
use crate::sys::linux::{wait_old, wake_old};
use crate::sys::{Deadline, Waited};

#[test]
fn its_deadline_passes_and_not_early() {
    let word = AtomicU32::new(0);
    for millis in [0, 5, 1100] {
        let duration = Duration::from_millis(millis);
        let start = Instant::now();
        let deadline = Deadline::after(duration);
        while wait_old(&word, 0, Some(&deadline)) != Waited::TimedOut {}
        assert!(start.elapsed() >= duration);
        assert!(start.elapsed() < duration + Duration::from_secs(10));
    }
}

#[test]
fn a_wake_up_ends_its_wait() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let far = Deadline::after(Duration::from_secs(u64::from(u32::MAX)));
    for deadline in [None, Some(&far)] {
        // ORDERING: Relaxed, here and below: the word passes nothing on.
        WORD.store(0, Relaxed);
        let waker = thread::spawn(|| {
            thread::sleep(Duration::from_millis(5));
            WORD.store(1, Relaxed);
            wake_old(&WORD);
        });
        while WORD.load(Relaxed) == 0 {
            assert_eq!(wait_old(&WORD, 0, deadline), Waited::Woken);
        }
        waker.join().unwrap();
    }
}

//! Forks in odd places.

use std::sync::atomic::{AtomicI32, Ordering::*};

use libc::SIGUSR1;
use portcullis::signal;

use super::common::*;

/// What a fork came to: 1 for a child that ended well.
static DONE: AtomicI32 = AtomicI32::new(0);

fn forks() {
    let child = fork(|| 7);
    DONE.fetch_add(i32::from(wait_for(child) == Ended::Exited(7)), Relaxed);
}

struct Forks;
impl Drop for Forks {
    fn drop(&mut self) {
        forks();
    }
}

thread_local! {
    static LATE: Forks = const { Forks };
}

/// In an atexit handler, when thread-locals are gone, and in the destructor of one.
#[test]
fn at_the_end_of_a_process_and_of_a_thread() {
    isolated("forks::at_the_end_of_a_process_and_of_a_thread", || {
        extern "C" fn at_exit() {
            forks();
            // SAFETY: ends the process here.
            unsafe { libc::_exit(if DONE.load(Relaxed) == 2 { 7 } else { 8 }) };
        }
        let child = fork(|| {
            let ours = signal::subscribe([SIGUSR1]).unwrap();
            std::thread::spawn(|| LATE.with(|_| ())).join().unwrap();
            // SAFETY: the function lives for ever.
            assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
            std::mem::forget(ours);
            // SAFETY: as a program ends.
            unsafe { libc::exit(9) }
        });
        assert_eq!(wait_for(child), Ended::Exited(7));
    });
}

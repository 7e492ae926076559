//! The barrier on other threads: each of two writes its word and reads the other's; one of them runs the
//! barrier in between, the other nothing.

use std::thread;
use std::time::{Duration, Instant};

use crate::sync::{AtomicU32, Ordering::*, compiler_fence};
use crate::sys::{barrier, prepare_barrier};

const ROUNDS: u32 = 20_000;

#[derive(Default)]
#[repr(align(128))]
struct Apart(AtomicU32);

/// One pair of threads.
#[derive(Default)]
struct Pair {
    begun: [Apart; 2],
    words: [Apart; 2],
}

fn nothing() {}

impl Pair {
    /// What this side read of the other's word, round by round.
    fn play(&self, own: usize, between: fn()) -> Vec<u32> {
        let other = 1 - own;
        let round = |round| {
            // ORDERING: Release and Acquire: the rounds in order, begun together.
            self.begun[own].0.store(round, Release);
            for turn in (0..256).cycle() {
                match self.begun[other].0.load(Acquire) {
                    begun if begun >= round => break,
                    _ if turn == 255 => thread::yield_now(),
                    _ => std::hint::spin_loop(),
                }
            }
            // ORDERING: Relaxed: what is tried is the barrier.
            self.words[own].0.store(round, Relaxed);
            compiler_fence(SeqCst);
            between();
            self.words[other].0.load(Relaxed)
        };
        (1..=ROUNDS).map(round).collect()
    }
}

/// In how many rounds neither saw what the other wrote.
fn missed(between: fn()) -> usize {
    let pair = Pair::default();
    let [rare, frequent] = thread::scope(|scope| {
        let frequent = scope.spawn(|| pair.play(1, nothing));
        [pair.play(0, between), frequent.join().unwrap()]
    });
    let rounds = (1..).zip(rare.iter().zip(&frequent));
    rounds.filter(|(round, (rare, frequent))| rare.max(frequent) < &round).count()
}

#[test]
fn a_barrier_on_one_side_serves_both() {
    if !prepare_barrier() {
        eprintln!("left out: the system has no such barrier");
        return;
    }
    for _ in 0..5 {
        assert_eq!(missed(|| barrier().unwrap()), 0);
    }
}

/// Without it both read before either's word is there: the processor keeps stores back.
#[test]
fn without_a_barrier_both_may_miss() {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let start = Instant::now();
    while processors > 1 && missed(nothing) == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the control finds nothing");
    }
}

/// The masks of threads do not keep it away, nor do their sleeps: it returns.
#[cfg(target_os = "linux")]
#[test]
fn a_mask_keeps_no_barrier_away() {
    if !prepare_barrier() {
        eprintln!("left out: the system has no such barrier");
        return;
    }
    let word = AtomicU32::new(0);
    let masked = || {
        // SAFETY: the set is a local; the thread ends with the scope.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        }
        // ORDERING: Relaxed, here and below: the word passes nothing on.
        while word.load(Relaxed) == 0 {
            crate::sys::wait(&word, 0, None);
        }
    };
    thread::scope(|scope| {
        scope.spawn(masked);
        thread::sleep(Duration::from_millis(5));
        barrier().unwrap();
        word.store(1, Relaxed);
        crate::sys::wake_one(&word);
    });
}

//! Several signals pending at once, as the simulated kernel has it (`loom_tests/kernel/pending.rs`).

use std::mem::zeroed;
use std::ptr;

use crate::sync::{AtomicU32, AtomicUsize, Ordering::*};

/// SIGXCPU, SIGXFSZ, SIGSYS and two real-time ones.
const LOW: i32 = 24;
const HIGH: i32 = 25;
const FAULT: i32 = 31;
const QUEUED: i32 = 50;
const QUEUED_HIGH: i32 = 51;

/// What ran: each signal with its value as its handler is entered, minus the signal as it returns.
static LOG: [AtomicU32; 16] = [const { AtomicU32::new(0) }; 16];
static LENGTH: AtomicUsize = AtomicUsize::new(0);

// ORDERING: Relaxed everywhere in this file: a thread and its own handlers.
fn log(entry: i32) {
    LOG[LENGTH.fetch_add(1, Relaxed)].store(entry as u32, Relaxed);
}

extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel's information; what was not queued has a pid where the value would be.
    let value = unsafe {
        if (*info).si_code == libc::SI_QUEUE { (*info).si_value().sival_ptr.addr() } else { 0 }
    };
    log(signal + 100 * value as i32);
    log(-signal);
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: all zeros is an empty set; the numbers are signals.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

fn handle(signal: i32, mask: &[i32]) {
    // SAFETY: all zeros is a valid sigaction.
    let mut new: libc::sigaction = unsafe { zeroed() };
    new.sa_sigaction = handler as *const () as usize;
    (new.sa_flags, new.sa_mask) = (libc::SA_SIGINFO, set_of(mask));
    // SAFETY: the handler is async-signal-safe.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const new, ptr::null_mut()) }, 0);
}

/// What the child logs of `send`, which is run while these are masked, and of their unmasking. A child: it has one
/// thread and dispositions of its own.
fn ran(signals: &[i32], masks: impl Fn(i32) -> &'static [i32], send: fn(), expected: &[i32]) {
    // SAFETY: the child makes system calls and writes atomics, no more.
    let child = unsafe { libc::fork() };
    if child == 0 {
        signals.iter().for_each(|&signal| handle(signal, masks(signal)));
        let (set, unset) = (set_of(signals), ptr::null_mut());
        // SAFETY: the set is a local.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, unset) };
        send();
        // SAFETY: as above.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, unset) };
        let same = LENGTH.load(Relaxed) == expected.len()
            && expected
                .iter()
                .zip(&LOG)
                .all(|(entry, logged)| logged.load(Relaxed) == *entry as u32);
        let first_other = expected.iter().zip(&LOG).position(|(e, l)| l.load(Relaxed) != *e as u32);
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(if same { 0 } else { 1 + first_other.unwrap_or(50) as i32 }) };
    }
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: the child is this test's own.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "exit code N: entry N of the log is another");
}

fn raise(signal: i32) {
    // SAFETY: sends the calling thread a signal.
    unsafe { libc::pthread_kill(libc::pthread_self(), signal) };
}

fn queue(signal: i32, value: usize) {
    let value = libc::sigval { sival_ptr: ptr::without_provenance_mut(value) };
    // SAFETY: sends the child, which has one thread, a signal.
    unsafe { libc::sigqueue(libc::getpid(), signal, value) };
}

/// The lowest number is taken first, and each is interrupted by the next before its first instruction.
#[test]
fn the_last_one_taken_runs_first() {
    let all = [QUEUED_HIGH, QUEUED, HIGH, LOW, FAULT];
    let send = || [HIGH, QUEUED, FAULT, QUEUED_HIGH, LOW].into_iter().for_each(raise);
    let both = |signal: i32| [signal, -signal];
    ran(&all, |_| &[], send, all.map(both).as_flattened());
}

/// Of one real-time number the oldest comes first; what a handler masks waits until it has returned.
#[test]
fn one_number_is_a_queue() {
    let send = || {
        queue(QUEUED, 7);
        queue(QUEUED, 3);
        raise(HIGH);
        raise(LOW);
    };
    let masks = |signal| -> &[i32] { if signal == LOW { &[HIGH] } else { &[] } };
    let queued = [QUEUED + 700, -QUEUED, QUEUED + 300, -QUEUED];
    let expected = [queued, [LOW, -LOW, HIGH, -HIGH]];
    ran(&[LOW, HIGH, QUEUED], masks, send, expected.as_flattened());
}

/// What was sent to the thread is taken before what was sent to the process.
#[test]
fn own_come_before_those_of_the_process() {
    let send = || {
        // SAFETY: sends the child, which has one thread, a signal.
        unsafe { libc::kill(libc::getpid(), LOW) };
        raise(HIGH);
    };
    ran(&[LOW, HIGH], |_| &[], send, &[LOW, -LOW, HIGH, -HIGH]);
}

//! Threads that do not answer: what the system says of them, and another way to reach them. Linux.
//!
//! Who masks every signal by pthread_sigmask(3) still has those open that the C library keeps for itself:
//! it reaches all threads by one of them when it sets their rights. So does this, where it has to.

use super::host::Silence;
use super::posix::on_signal;
use crate::sys::{self, Crossing, Errno, Life, OsThread, Signals, Tasks};

/// As [`Reach::look_after`](super::host::Reach::look_after), where threads are numbered.
pub(super) fn look_after(name: usize, has_begun: bool) -> Silence {
    match Tasks::life(name) {
        Life::Ended => Silence::Gone,
        _ if has_begun => Silence::Lives,
        _ => match Tasks::signals(name) {
            None => send(name, sys::chosen()),
            Some(signals) => by_what_is_open(name, signals),
        },
    }
}

fn by_what_is_open(name: usize, signals: Signals) -> Silence {
    let chosen = sys::chosen();
    let open = match signals.is_masked(chosen) {
        false => Some(chosen),
        true => sys::keep_backup(Crossing::AllThreads, on_signal)
            .ok()
            .filter(|backup| !signals.is_masked(*backup)),
    };
    let sent = match open {
        // It may mask them for a while only.
        None if signals.asleep => return Silence::Unreachable,
        None => return Silence::Lives,
        // Real-time ones would queue up.
        Some(signal) if signals.is_pending(signal) => Silence::Lives,
        Some(signal) => send(name, signal),
    };
    if signals.stopped && sent == Silence::Lives { Silence::Unreachable } else { sent }
}

fn send(name: usize, signal: i32) -> Silence {
    // SAFETY: threads are numbered here: one that has ended is gone.
    match unsafe { OsThread::of_number(name) }.send(signal) {
        // The user's queue is full (RLIMIT_SIGPENDING), and takes in no real-time signal. It may stay so; a
        // standard one needs no room.
        Err(Errno(libc::EAGAIN)) if signal != sys::INTERRUPT => {
            match sys::interrupt_by(sys::INTERRUPT, Crossing::AllThreads, on_signal) {
                Ok(()) => send(name, sys::INTERRUPT),
                Err(_) => Silence::Lives,
            }
        }
        Ok(()) | Err(Errno(libc::EAGAIN)) => Silence::Lives,
        Err(Errno(libc::ESRCH)) => Silence::Gone,
        // A sandbox forbids it.
        Err(_) => Silence::Unreachable,
    }
}

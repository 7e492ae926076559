//! Threads that do not answer: what the system says of them, and another way to reach them. Linux.
//!
//! Who masks every signal by pthread_sigmask(3) still has those open that the C library keeps for itself:
//! it reaches all threads by one of them when it sets their rights. So does this, where it has to: not for
//! one that masks them for a moment, in a handler, say. That one may be waiting there for a signal of its
//! host's, and takes ours for it (bdwgc's, which then counts one answer too many).

use super::host::Silence;
use super::posix::on_signal;
use crate::sync::{AtomicU32, Ordering::*};
use crate::sys::{self, Crossing, Errno, Life, OsThread, Signals, Tasks};

/// How long a thread masks our signal before it is reached by the other one, in milliseconds: longer than
/// handlers mean to take.
const FOR_A_WHILE: u32 = 100;
/// Whose thread was not seen for so long is forgotten.
const FOR_LONG: u32 = 10_000;
const PLACES: usize = 64;

/// A thread that was seen to mask our signal at each look: its number, and since when.
struct Masking {
    name: AtomicU32,
    since: AtomicU32,
}

static MASKING: [Masking; PLACES] =
    [const { Masking { name: AtomicU32::new(0), since: AtomicU32::new(0) } }; PLACES];

/// Whether it is not just for a moment. Two that have one place are taken for those that are not.
fn masks_for_good(name: usize) -> bool {
    let place = &MASKING[name % PLACES];
    let now = sys::milliseconds() as u32;
    // ORDERING: Relaxed, here and below: a guess; two that call at once may spoil each other's.
    let since = now.wrapping_sub(place.since.load(Relaxed));
    match place.name.load(Relaxed) as usize {
        known if known == name => since >= FOR_A_WHILE,
        known if known == 0 || since >= FOR_LONG => {
            place.since.store(now, Relaxed);
            place.name.store(name as u32, Relaxed);
            false
        }
        _ => true,
    }
}

fn masks_no_more(name: usize) {
    let place = &MASKING[name % PLACES];
    // ORDERING: Relaxed, both: as above.
    if place.name.load(Relaxed) as usize == name {
        place.name.store(0, Relaxed);
    }
}

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
        false => {
            masks_no_more(name);
            Some(chosen)
        }
        true if !masks_for_good(name) => return Silence::Lives,
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

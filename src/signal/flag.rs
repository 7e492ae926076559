//! Flags and counters, as a program has them.

use super::flags::{Flag, Target};
use super::global::{HUB, hook_fork};
use super::set::check;
use super::{SignalError, Stopped};
use crate::sync::{AtomicBool, AtomicU32};

/// Has the handler itself set `flag` to true at each signal: for a program that looks now and then, and waits for
/// nothing. No thread is started, and none has to run for it.
///
/// When the handler returns the flag is set: the code that it interrupted finds it at its next look, and so does
/// whoever the signal's sender tells afterwards. Other threads find it as soon as they look, with `Acquire` also
/// what the interrupted thread did before. It is set on top of all else: subscriptions of the signal receive it
/// too, perhaps sooner, and handlers that were there before are called. Clear it by `swap(false)`: signals in
/// between are one.
///
/// In the child of a fork it goes on, on the child's own copy.
///
/// ```
/// # #[cfg(unix)] {
/// use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
/// use portcullis::signal;
///
/// static HANGUP: AtomicBool = AtomicBool::new(false);
/// signal::flag(libc::SIGHUP, &HANGUP)?.detach(); // for the life of the process
///
/// // In the loop of the program:
/// if HANGUP.swap(false, Relaxed) {
///     println!("reading the configuration again");
/// }
/// # }
/// # Ok::<(), portcullis::signal::SignalError>(())
/// ```
///
/// # Errors
/// A [`SignalError`]; nothing has changed then. [`SignalError::TooManyFlags`] after 64 for one signal.
pub fn flag(signal: impl Into<i32>, flag: &'static AtomicBool) -> Result<FlagHandle, SignalError> {
    add(signal.into(), Target::Flag(flag))
}

/// Has the handler itself add one to `counter` at each signal; as [`flag`].
///
/// Of standard signals the system merges those that come while one is pending: such are one.
///
/// ```
/// # #[cfg(unix)] {
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use portcullis::signal;
///
/// static RESIZED: AtomicU32 = AtomicU32::new(0);
/// let counted = signal::count(libc::SIGWINCH, &RESIZED)?;
/// println!("resized {} times", RESIZED.load(Relaxed));
/// counted.stop();
/// # }
/// # Ok::<(), portcullis::signal::SignalError>(())
/// ```
///
/// # Errors
/// As [`flag`].
pub fn count(
    signal: impl Into<i32>,
    counter: &'static AtomicU32,
) -> Result<FlagHandle, SignalError> {
    add(signal.into(), Target::Count(counter))
}

fn add(signal: i32, target: Target) -> Result<FlagHandle, SignalError> {
    let signal = check(signal)?;
    hook_fork();
    HUB.add_flag(signal, target).map(FlagHandle)
}

/// A flag or a counter that the handler sets. Dropping it ends that.
#[derive(Debug)]
#[must_use = "a flag whose handle is dropped is not set any more: keep it, or call `detach`"]
pub struct FlagHandle(&'static Flag);

impl FlagHandle {
    /// The signal sets it no more, and has its previous disposition back if nobody else wants it. What came before
    /// is in the flag, and nothing sets it later: this waits for handlers that are in the middle of it on other
    /// threads, no longer than [`STOP_PATIENCE`](super::STOP_PATIENCE). A second stop changes nothing.
    pub fn stop(&self) -> Stopped {
        HUB.end_flag(self.0)
    }

    /// Has it set for the life of the process, or until [`shutdown`](super::shutdown), [`reset`](super::reset) or
    /// [`ignore`](super::ignore) takes the signal.
    pub fn detach(self) {
        // One whose handle is never dropped is never ended.
        core::mem::forget(self);
    }
}

impl Drop for FlagHandle {
    fn drop(&mut self) {
        if !HUB.is_reachable() {
            // In a handler that interrupted the holder of the lock, who will see to it.
            return HUB.abandon(&self.0.abandoned);
        }
        let _ = HUB.end_flag(self.0);
        self.0.disown();
    }
}

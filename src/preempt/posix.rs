//! Stopping threads by a signal: POSIX.

use core::ffi::{c_int, c_void};
use core::fmt;
use core::time::Duration;

use super::system::{Hook, here};
use super::{Answer, Backend, Here, Met, StopError, StopWord};
use crate::sync::{AtomicBool, AtomicU32, Ordering::*};
use crate::sys::{self, Crossing, Deadline, Errno, OsThread, Waited};

/// Threads are stopped by a signal to each, and wait in its handler.
///
/// The signal is SIGURG unless another is named: its default is to be ignored, so that one under way
/// when the process executes another program does nothing there. It must not be used for anything
/// else that minds handlers being interrupted. A handler that was there before is called for
/// signals that are not ours, on threads that are not registered too. `errno` is as it was for the
/// interrupted code, whatever the hook does.
///
/// A thread that masks the signal for longer than the patience is told as
/// [`NotAnswering`](super::SuspendError::NotAnswering). It is one patience for all threads that are
/// stopped together.
pub struct Posix {
    signal: c_int,
    patience: Duration,
    hook: Hook,
    /// Whether the handler is in place.
    taken: AtomicBool,
}

/// The handle of a registered thread.
#[derive(Debug)]
pub struct PosixThread {
    thread: OsThread,
    backend: &'static Posix,
}

/// As long as an attempt to suspend takes, about; after that its thread needs a processor.
const SPINS: u32 = 300;

/// A wait looks at the clock once in so many turns.
const TURNS: u32 = 256;

impl Posix {
    /// By SIGURG, with a second's patience. `hook` runs in the handler on a thread that is to be
    /// preempted, and may change the context (a `ucontext_t`) that the thread goes on with. It must
    /// be async-signal-safe.
    #[must_use]
    pub const fn new(hook: Hook) -> Self {
        Self::with(sys::INTERRUPT, Duration::from_secs(1), hook)
    }

    /// By this signal, with this patience for a thread that is to stop.
    #[must_use]
    pub const fn with(signal: c_int, patience: Duration, hook: Hook) -> Self {
        Self { signal, patience, hook, taken: AtomicBool::new(false) }
    }

    /// Puts the handler in place, at the first registration.
    fn take_signal(&self) -> Result<(), Errno> {
        // ORDERING: Relaxed: sigaction orders the handler with what comes after it, and doing it twice
        // does no harm.
        if !self.taken.load(Relaxed) {
            sys::interrupt_by(self.signal, Crossing::Gate, on_signal)?;
            self.taken.store(true, Relaxed);
        }
        Ok(())
    }

    fn send(&self, thread: &PosixThread) -> Result<(), StopError> {
        thread.thread.send(self.signal).map_err(|errno| match errno {
            Errno(libc::ESRCH) => StopError::Gone,
            other => StopError::Refused(other),
        })
    }
}

fn on_signal(signal: c_int, context: *mut c_void) -> bool {
    match meet(signal, context) {
        Some((Met::Preempt, backend)) => (backend.hook)(context.cast()),
        Some((Met::Something, _)) => {}
        Some((Met::Nothing, _)) | None => return false,
    }
    true
}

/// `None` if the thread is not registered, or by another signal.
fn meet(signal: c_int, context: *mut c_void) -> Option<(Met, &'static Posix)> {
    // SAFETY: this handler serves threads of this backend alone.
    let gate = unsafe { here().gate::<Posix>() }?;
    // Its own thread's, which is registered as long as `here` says so.
    let backend = gate.handle()?.backend;
    (backend.signal == signal).then(|| (gate.on_signal(backend, context.cast()), backend))
}

// SAFETY: `here` is a thread-local; a stopped thread waits in its handler until resumed, with all
// signals masked; the handshake is `StopWord`'s.
unsafe impl Backend for Posix {
    type Handle = PosixThread;
    /// A `ucontext_t`, on the stopped thread's stack.
    type Context = *mut c_void;
    type Exited = core::convert::Infallible;
    type Patience = Deadline;

    #[inline]
    fn here(&self) -> &Here {
        here()
    }

    fn open(&'static self) -> Result<PosixThread, Errno> {
        self.take_signal()?;
        Ok(PosixThread { thread: OsThread::current(), backend: self })
    }

    fn close(&self, _: PosixThread) {}

    fn patience(&self) -> Deadline {
        Deadline::after(self.patience)
    }

    fn ask(
        &self,
        handle: &PosixThread,
        word: &StopWord,
        until: &Deadline,
    ) -> Result<(), StopError> {
        let pause = |turn| {
            self.pause(turn);
            turn % TURNS != TURNS - 1 || !until.has_passed()
        };
        if !word.ask(pause) {
            return Err(StopError::NotAnswering);
        }
        self.send(handle).inspect_err(|_| _ = word.withdraw())
    }

    fn confirm(&self, _: &PosixThread, word: &StopWord, until: &Deadline) -> Result<(), StopError> {
        let wait = |word: &AtomicU32, value| sys::wait(word, value, Some(until)) == Waited::Woken;
        match word.wait(wait) {
            Answer::Stopped => Ok(()),
            Answer::Withdrawn => Err(StopError::NotAnswering),
        }
    }

    fn context(&self, _: &PosixThread, word: &StopWord) -> *mut c_void {
        word.context().cast()
    }

    fn resume(&self, _: &PosixThread, word: &StopWord) {
        word.resume(sys::wake_one);
    }

    fn interrupt(&self, handle: &PosixThread, _: &StopWord) -> Result<bool, StopError> {
        self.send(handle).map(|()| false)
    }

    fn pause(&self, turn: u32) {
        if turn < SPINS { core::hint::spin_loop() } else { std::thread::yield_now() }
    }

    fn wait_stopped(&self, word: &AtomicU32, value: u32) {
        sys::wait(word, value, None);
    }

    fn wake(&self, word: &AtomicU32) {
        sys::wake_one(word);
    }

    fn exit(&self, code: i32) -> core::convert::Infallible {
        std::process::exit(code)
    }
}

impl fmt::Debug for Posix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Posix").field("signal", &self.signal).finish_non_exhaustive()
    }
}

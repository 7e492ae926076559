//! Stopping threads by a signal: POSIX.

use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::fmt;
use core::time::Duration;

use super::host::{Backend, BackendError, GateLocal, Met, StopAnswer, StopWord, Turn};
use super::system::{Hook, TURN, here, pause};
use super::{Gate, RegisterError};
use crate::sync::{AtomicBool, AtomicU32, Ordering::*};
use crate::sys::{
    self, AllBlocked, Class, Crossing, Deadline, Errno, Mask, OsThread, ThreadEnd, Waited,
};

/// Threads are stopped by a signal to each, and wait in its handler.
///
/// The signal is SIGURG unless another is named: its default is to be ignored, so that one under way
/// when the process executes another program does nothing there. Where somebody else has a handler for it
/// it is, on Linux, a real-time signal that nobody has if there is one, 57 to 59: signals of SIGURG's number
/// merge. A handler that was there before ours, or was put over it since, is called for signals that are not ours.
/// `errno` is as it was for the interrupted code, whatever the hook does.
///
/// A thread that masks the signal for longer than the patience is told as
/// [`NotAnswering`](super::SuspendError::NotAnswering). It is one patience for all threads that are
/// stopped together.
///
/// Who suspends masks the signals of others from when he asks until all are resumed: others in the
/// process suspend threads by signals too (a conservative collector, another copy of this crate), and would
/// wait for him who waits for a thread that they have stopped. Where a thread does not answer soon, and one
/// of their signals is held back, he lets all go and is stopped by them first.
pub struct SystemBackend {
    /// By the one that all share, unless another was named.
    signal: Option<c_int>,
    patience: Duration,
    hook: Hook,
}

/// The handle of a registered thread.
#[derive(Debug)]
pub struct SystemThread {
    thread: OsThread,
    backend: &'static SystemBackend,
    /// Its end has begun: the system may give its name to another. Written and read under the claim.
    ended: AtomicBool,
}

/// A wait looks at the clock once in so many turns.
const TURNS: u32 = 256;

/// How long an answer is waited for before it is looked whether others wait for the caller: longer than a
/// thread takes that has a processor.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// For threads that are to stop.
#[derive(Debug)]
pub struct Patience {
    until: Deadline,
    /// What is masked besides: `None` where the caller cannot give way, for it holds threads already, or has
    /// given way often enough.
    before: Option<Mask>,
    /// When it is looked next, and how long after that.
    look: Cell<(Deadline, Duration)>,
    gave_way: Cell<bool>,
}

impl Patience {
    /// Whether there is more time to wait for this thread.
    fn goes_on(&self, word: &AtomicU32, value: u32) -> bool {
        let Some(before) = &self.before else {
            return sys::wait(word, value, Some(&self.until)) == Waited::Woken;
        };
        let (look, length) = self.look.get();
        if self.gave_way.get() {
            return false;
        }
        if sys::wait(word, value, Some(&self.until.sooner(look))) == Waited::Woken {
            return true;
        }
        self.gave_way.set(before.is_waited_for());
        self.look.set((Deadline::after(length * 2), length * 2));
        !self.gave_way.get() && !self.until.has_passed()
    }
}

static END: ThreadEnd = ThreadEnd::new();

std::thread_local! {
    /// What the thread masked before it had the turn, or threads stopped.
    static BEFORE: Cell<Option<Mask>> = const { Cell::new(None) };
    /// Whether `END` is armed on this thread.
    static ARMED: Cell<bool> = const { Cell::new(false) };
}

/// Has the thread's end told, unless it is already; so that nothing is done in the child of a fork.
fn arm() -> Result<(), Errno> {
    if ARMED.get() {
        return Ok(());
    }
    // SAFETY: the same function each time, and it takes no data.
    unsafe { END.arm(core::ptr::null(), thread_ends)? };
    ARMED.set(true);
    Ok(())
}

/// Called by the system, on a thread that ends.
fn thread_ends(_: *const ()) {
    // ORDERING: Relaxed: published by the claim's release (E2).
    let mark = |thread: &SystemThread| thread.ended.store(true, Relaxed);
    // SAFETY: the calling thread's own, whose memory stays until its last instruction; the gates of this
    // thread-local are this backend's.
    unsafe { (*here()).thread_ends::<SystemBackend>(mark, pause) };
}

impl SystemBackend {
    /// By SIGURG, or where that is taken another, with a second's patience. `hook` runs in the handler on a thread that is to be
    /// preempted.
    #[must_use]
    pub const fn new(hook: Hook) -> Self {
        Self { signal: None, patience: Duration::from_secs(1), hook }
    }

    /// By this signal. One that is not to be had is told by the first registration, as
    /// [`UnusableSignal`](RegisterError::UnusableSignal).
    #[must_use]
    pub const fn by_signal(mut self, signal: c_int) -> Self {
        self.signal = Some(signal);
        self
    }

    /// With this patience for a thread that is to stop: who suspends one that masks the signal waits for as
    /// long, and so do others that want the turn.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Puts the handler in place, or sees that it is: others may have taken it out.
    fn take_signal(&self) -> Result<(), RegisterError> {
        match self.signal.map(|signal| (signal, sys::classify(signal))) {
            None | Some((_, Class::Standard | Class::RealTime)) => {}
            Some((signal, _)) => return Err(RegisterError::UnusableSignal(signal)),
        }
        self.ours().map(drop).map_err(RegisterError::System)
    }

    /// The signal, whose handler is in place.
    fn ours(&self) -> Result<c_int, Errno> {
        match self.signal {
            Some(signal) => sys::interrupt_by(signal, Crossing::Gate, on_signal).map(|()| signal),
            None => sys::interrupt(Crossing::Gate, on_signal).map(|()| sys::chosen()),
        }
    }

    fn send(&self, handle: &SystemThread) -> Result<(), BackendError> {
        // ORDERING: Relaxed: acquired with the claim (E2). Left out: preempt forgotten_thread_is_gone.
        if handle.ended.load(Relaxed) {
            return Err(BackendError::Gone);
        }
        let sent = self.ours().and_then(|signal| handle.thread.send(signal));
        sent.map_err(|errno| match errno {
            Errno(libc::ESRCH) => BackendError::Gone,
            other => BackendError::Refused(other),
        })
    }
}

fn on_signal(signal: c_int, context: *mut c_void) {
    if let Some((Met::Preempt, backend)) = meet(signal, context) {
        backend.hook.run(context.cast());
    }
}

/// `None` if the thread is not registered, or by another signal.
fn meet(signal: c_int, context: *mut c_void) -> Option<(Met, &'static SystemBackend)> {
    // SAFETY: the calling thread's own, whose memory stays until its last instruction; the gates of this
    // thread-local are this backend's.
    let gate = unsafe { (*here()).gate::<SystemBackend>() }?;
    // Its own thread's, which is registered as long as `here` says so.
    let backend = gate.handle()?.backend;
    if backend.signal.is_some_and(|own| own != signal) {
        return None;
    }
    // It comes in the middle of this, too, as it is open while a stopped thread waits: whom that interrupted is no
    // business of the gate's, which never sends it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if sys::is_backup(signal) {
        return None;
    }
    // `interrupt_by` masks them all; but a handler that was put over ours may have called it.
    let _masked = AllBlocked::new();
    // SAFETY: in the handler of the thread, with all signals masked; the backend put itself into the handle;
    // the context is what the system gave the handler.
    Some((unsafe { gate.on_signal(backend, context.cast()) }, backend))
}

// SAFETY: `here` is a thread-local without destructor, and like `TURN` one for all values of the type; a
// stopped thread waits in its handler until resumed, with all signals masked; the handshake is
// `StopWord`'s; `thread_ends` marks handles; nothing here panics.
unsafe impl Backend for SystemBackend {
    type Handle = SystemThread;
    /// A `ucontext_t`, on the stopped thread's stack.
    type Context = *mut c_void;
    type Exited = core::convert::Infallible;
    type Patience = Patience;

    #[inline]
    fn here(&self) -> *const GateLocal {
        here()
    }

    fn turn(&self) -> &Turn {
        &TURN
    }

    unsafe fn open(&'static self) -> Result<SystemThread, RegisterError> {
        self.take_signal()?;
        arm().and_then(|()| sys::keep_stack()).map_err(RegisterError::System)?;
        let thread = OsThread::current();
        Ok(SystemThread { thread, backend: self, ended: AtomicBool::new(false) })
    }

    unsafe fn close(&self, _: SystemThread) {}

    fn patience(&self, attempts: u32) -> Patience {
        let first = FIRST_LOOK.checked_mul(1 << attempts.min(20)).unwrap_or(Duration::MAX);
        // SAFETY: the calling thread's own, whose memory stays until its last instruction.
        let may_give_way = unsafe { (*here()).holds() } == 0 && first < self.patience;
        Patience {
            until: Deadline::after(self.patience),
            before: BEFORE.get().filter(|_| may_give_way),
            look: Cell::new((Deadline::after(first), first)),
            gave_way: Cell::new(false),
        }
    }

    fn mask(&self) {
        // SAFETY: the calling thread's own, whose memory stays until its last instruction; the gates of
        // this thread-local are this backend's.
        let own = unsafe { (*here()).gate::<Self>() }.and_then(Gate::handle);
        let own = own.and_then(|handle| handle.backend.signal);
        BEFORE.set(Some(Mask::all_but(&[sys::chosen(), own.unwrap_or(sys::chosen())])));
    }

    fn unmask(&self) {
        if let Some(before) = BEFORE.take() {
            before.restore();
        }
    }

    fn gave_way(&self, patience: &Patience) -> bool {
        patience.gave_way.get()
    }

    unsafe fn ask(
        &self,
        handle: &SystemThread,
        word: &StopWord,
        patience: &Patience,
    ) -> Result<(), BackendError> {
        let pause = |turn| {
            self.pause(turn);
            turn % TURNS != TURNS - 1 || !patience.until.has_passed()
        };
        // SAFETY: in `ask`, the word that it was given.
        if !unsafe { word.ask(pause) } {
            return Err(BackendError::NotAnswering);
        }
        match self.send(handle) {
            Ok(()) => Ok(()),
            // SAFETY: as above; it was asked.
            Err(error) if unsafe { word.withdraw() } == StopAnswer::Withdrawn => Err(error),
            // By a signal of before, which came late: it has stopped, as `confirm` sees.
            Err(_) => Ok(()),
        }
    }

    unsafe fn confirm(
        &self,
        _: &SystemThread,
        word: &StopWord,
        patience: &Patience,
    ) -> Result<(), BackendError> {
        let wait = |word: &AtomicU32, value| patience.goes_on(word, value);
        // SAFETY: in `confirm`, the word that it was given.
        match unsafe { word.wait(wait) } {
            StopAnswer::Stopped => Ok(()),
            StopAnswer::Withdrawn => Err(BackendError::NotAnswering),
        }
    }

    unsafe fn context(&self, _: &SystemThread, word: &StopWord) -> *mut c_void {
        // SAFETY: in `context`, the word that it was given.
        unsafe { word.context() }.cast()
    }

    unsafe fn resume(&self, _: &SystemThread, word: &StopWord) {
        // SAFETY: in `resume`, the word that it was given.
        unsafe { word.resume(sys::wake_one) };
    }

    unsafe fn interrupt(&self, handle: &SystemThread, _: &StopWord) -> Result<bool, BackendError> {
        self.send(handle).map(|()| false)
    }

    fn pause(&self, turn: u32) {
        pause(turn);
    }

    unsafe fn wait_stopped(&self, word: &AtomicU32, value: u32) {
        sys::wait(word, value, None);
    }

    fn wake(&self, word: &AtomicU32) {
        sys::wake_one(word);
    }

    fn exit(&self, code: i32) -> core::convert::Infallible {
        std::process::exit(code)
    }
}

impl fmt::Debug for SystemBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemBackend").field("signal", &self.signal).finish_non_exhaustive()
    }
}

//! Signals on Windows: the console's control events under the numbers that the C runtime gives
//! them. learn.microsoft.com, SetConsoleCtrlHandler, HandlerRoutine.
//!
//! | event | signal |
//! |---|---|
//! | CTRL_C_EVENT | 2, SIGINT |
//! | CTRL_BREAK_EVENT | 21, SIGBREAK |
//! | CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT | 15, SIGTERM |
//!
//! The system runs the handler in a thread of its own, one for each event: nothing is
//! interrupted, and "async-signal-safe" is no stricter here than thread-safe. After one of the last
//! three events the process is ended as soon as the handler returns, so when somebody wanted the
//! event it never returns (Go issues 41884, 49458): the program has the time that the system grants
//! (5 s by default) or until it ends by itself.
//!
//! One handler stays registered from the first use. A signal nobody wants is passed on (FALSE): to
//! handlers registered before ours, at last to the default one, which ends the process. What was
//! there before is therefore never replaced, nothing needs to be remembered, and no disposition is
//! foreign. Other handlers registered later are asked first, and may keep an event from us.

use core::ffi::c_void;
use core::ptr;

use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, GetLastError};
use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT,
    SetConsoleCtrlHandler,
};
use windows_sys::Win32::System::Threading::{ExitProcess, GetCurrentThreadId, INFINITE, Sleep};
use windows_sys::core::BOOL;

use super::{Class, Entry, Errno, RawOrigin, Restored, Verdict};
use crate::sync::{AtomicPtr, AtomicU32, Ordering::*};

/// The C runtime's numbers end at 22.
pub(crate) const SIGNALS: usize = 32;
pub(crate) const REALTIME_MIN: i32 = 32;

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGBREAK: i32 = 21;

/// STATUS_CONTROL_C_EXIT, what the default handler ends a process with.
const CONTROL_C_EXIT: u32 = 0xC000_013A;
/// Windows has no code for this: a shell's for SIGTERM elsewhere.
const TERMINATED: u32 = 128 + SIGTERM as u32;

const DEFAULT: u32 = 0;
const OURS: u32 = 1;
const IGNORED: u32 = 2;

/// The dispositions of SIGINT, SIGTERM, SIGBREAK, each with the one before it in the next byte.
static STATES: [AtomicU32; 3] = [const { AtomicU32::new(DEFAULT) }; 3];
const BEFORE: u32 = 8;
const NOW: u32 = 0xff;

static REGISTERED: AtomicU32 = AtomicU32::new(0);
static ENTRY: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

fn state(signal: i32) -> Result<&'static AtomicU32, Errno> {
    let at = [SIGINT, SIGTERM, SIGBREAK].iter().position(|known| *known == signal);
    at.map(|at| &STATES[at]).ok_or(Errno(ERROR_INVALID_PARAMETER as i32))
}

/// Registers the handler, once. Called under the caller's lock.
fn register() -> Result<(), Errno> {
    // ORDERING: Relaxed: under the caller's lock.
    if REGISTERED.load(Relaxed) != 0 {
        return Ok(());
    }
    // SAFETY: the handler lives for ever.
    if unsafe { SetConsoleCtrlHandler(Some(on_event), 1) } == 0 {
        // SAFETY: no preconditions.
        return Err(Errno(unsafe { GetLastError() } as i32));
    }
    // ORDERING: Relaxed: as above.
    REGISTERED.store(1, Relaxed);
    Ok(())
}

/// See the contract in [`super`].
pub(crate) fn install(signal: i32, entry: Entry) -> Result<(), Errno> {
    let state = state(signal)?;
    // ORDERING: Release: with the Acquire in `on_event`, whoever sees an entry can call it.
    ENTRY.store(entry as *mut c_void, Release);
    register()?;
    // ORDERING: Relaxed: written under the caller's lock alone.
    let now = state.load(Relaxed) & NOW;
    if now != OURS {
        // ORDERING: Release: the entry is in place (`on_event` acquires).
        state.store(OURS | now << BEFORE, Release);
    }
    Ok(())
}

/// See the contract in [`super`].
pub(crate) fn restore(signal: i32) -> Result<Restored, Errno> {
    let state = state(signal)?;
    // ORDERING: Relaxed: written under the caller's lock alone; an event that comes meanwhile
    // meets either disposition.
    let seen = state.load(Relaxed);
    if seen & NOW == OURS {
        state.store(seen >> BEFORE, Relaxed);
    }
    Ok(Restored::Previous)
}

/// Gives the event back to the handlers before ours.
pub(crate) fn set_default(signal: i32) -> Result<(), Errno> {
    // ORDERING: Relaxed: passes nothing on.
    state(signal).map(|state| state.store(DEFAULT, Relaxed))
}

/// Has the event end here. The process still ends after CLOSE, LOGOFF and SHUTDOWN.
pub(crate) fn set_ignored(signal: i32) -> Result<(), Errno> {
    let state = state(signal)?;
    register()?;
    // ORDERING: Relaxed: passes nothing on.
    state.store(IGNORED, Relaxed);
    Ok(())
}

/// Nothing: an event that was taken is handed on to nobody.
pub(crate) fn set_alone(_: i32, _: bool) -> bool {
    false
}

/// Whether `set_ignored` was last. What the parent process had ignored, the system does not tell.
pub(crate) fn is_ignored(signal: i32) -> Result<bool, Errno> {
    // ORDERING: Relaxed: an answer about one word.
    state(signal).map(|state| state.load(Relaxed) & NOW == IGNORED)
}

fn signal_of(event: u32) -> Option<i32> {
    match event {
        CTRL_C_EVENT => Some(SIGINT),
        CTRL_BREAK_EVENT => Some(SIGBREAK),
        CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT => Some(SIGTERM),
        _ => None,
    }
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// FALSE: the handlers before ours decide.
    PassOn,
    /// TRUE.
    Done,
    /// TRUE, but the process must not be ended for it yet.
    DoneAndStay,
}

/// All of the handler but its not returning.
pub(super) fn answer(event: u32) -> Answer {
    let Some(signal) = signal_of(event) else {
        return Answer::PassOn;
    };
    // ORDERING: Acquire: from `install`, the entry.
    match state(signal).map_or(DEFAULT, |state| state.load(Acquire) & NOW) {
        OURS => {}
        IGNORED => return Answer::Done,
        _ => return Answer::PassOn,
    }
    // ORDERING: Acquire: from `install`.
    let entry = ENTRY.load(Acquire);
    if entry.is_null() {
        return Answer::PassOn;
    }
    // SAFETY: only `install` stores there, and it stores an `Entry`.
    let entry = unsafe { core::mem::transmute::<*mut c_void, Entry>(entry) };
    let origin = RawOrigin { code: event as i32, ..RawOrigin::default() };
    match entry(signal, origin) {
        Verdict::Handled if signal == SIGTERM => Answer::DoneAndStay,
        Verdict::Handled | Verdict::Ignored => Answer::Done,
        Verdict::Unwanted => Answer::PassOn,
    }
}

/// In a thread of the system.
unsafe extern "system" fn on_event(event: u32) -> BOOL {
    match answer(event) {
        Answer::PassOn => 0,
        Answer::Done => 1,
        Answer::DoneAndStay => loop {
            // SAFETY: no preconditions.
            unsafe { Sleep(INFINITE) };
        },
    }
}

/// What sort of signal a number names.
pub(crate) fn classify(signal: i32) -> Class {
    match signal {
        SIGINT | SIGTERM | SIGBREAK => Class::Standard,
        _ => Class::OutOfRange,
    }
}

/// Whether its event ends the process by default.
pub(crate) fn ends_process(signal: i32) -> bool {
    state(signal).is_ok()
}

/// Ends the process: with the code of a Ctrl-C for SIGINT and SIGBREAK, with 143 for SIGTERM.
pub(crate) fn die_by(signal: i32) -> Errno {
    match signal {
        // SAFETY: no preconditions; it does not return.
        SIGINT | SIGBREAK => unsafe { ExitProcess(CONTROL_C_EXIT) },
        // SAFETY: as above.
        SIGTERM => unsafe { ExitProcess(TERMINATED) },
        _ => Errno(ERROR_INVALID_PARAMETER as i32),
    }
}

/// Nothing to mask: handlers run in threads of their own.
#[derive(Debug)]
pub(crate) struct AllBlocked;

impl AllBlocked {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn but_interrupts() -> Self {
        Self
    }
    pub(crate) fn and_faults() -> Self {
        Self
    }
}

/// Nothing, as above.
#[derive(Clone, Copy)]
pub(crate) struct Mask;

impl Mask {
    pub(crate) fn current() -> Self {
        Self
    }
    pub(crate) fn all_but(_: &[i32]) -> Self {
        Self
    }
    #[allow(clippy::unused_self, reason = "as that of other systems")]
    pub(crate) fn restore(&self) {}
    pub(crate) fn and_subscribed(self) -> Self {
        self
    }
    #[allow(clippy::unused_self, reason = "as that of other systems")]
    pub(crate) fn under(&self, body: impl FnOnce()) {
        body();
    }
}

/// Others' handlers are not below ours.
pub(crate) fn look(_: i32) {}

/// Nothing is masked here.
pub(crate) const MASKS_ON_RETURN: bool = false;

/// Threads are suspended by the system here.
pub(crate) fn interrupts(_: i32) -> bool {
    false
}

impl Drop for AllBlocked {
    fn drop(&mut self) {}
}

/// Nothing: a process here cannot be copied.
pub(crate) fn at_fork(_prepare: fn(), _parent: fn(), _child: fn()) {}

/// Names the calling thread while it lives.
pub(crate) fn thread_id() -> usize {
    // SAFETY: no preconditions.
    unsafe { GetCurrentThreadId() as usize }
}

/// There are no descriptors: none is ever made.
#[derive(Debug)]
pub(crate) enum Bell {}

impl Bell {
    pub(crate) fn ring(&self) {
        match *self {}
    }
    pub(crate) fn clear(&self) {
        match *self {}
    }
    pub(crate) fn renew(&self) {
        match *self {}
    }
}

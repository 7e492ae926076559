//! Stopping threads by the system: Windows.

use core::ffi::c_void;
use core::fmt;
use core::mem::zeroed;

use windows_sys::Win32::Foundation::{
    CloseHandle, DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_ACCESS_DENIED, GetLastError, HANDLE,
};
use windows_sys::Win32::System::Diagnostics::Debug as debug;
use windows_sys::Win32::System::Threading as win;

use super::RegisterError;
use super::host::{Backend, BackendError, GateLocal, StopWord, Turn};
use super::system::{Hook, TURN, here, pause};
use crate::sync::AtomicU32;
use crate::sys::Errno;

/// Threads are stopped by SuspendThread, which only asks, and GetThreadContext, which waits.
pub struct SystemBackend {
    hook: Hook,
}

/// The handle of a registered thread: its own, so that no other can come to have the same value, also if
/// the thread ends without closing it.
#[derive(Debug)]
pub struct SystemThread(HANDLE);

// SAFETY: a name of a thread to the system, which takes it from any thread.
unsafe impl Send for SystemThread {}
// SAFETY: as above.
unsafe impl Sync for SystemThread {}

/// The registers of a stopped thread, aligned as the system wants them.
#[repr(C, align(16))]
pub struct Registers(debug::CONTEXT);

impl Registers {
    /// The `CONTEXT` of the system's headers.
    #[must_use]
    pub fn as_ptr(&self) -> *const c_void {
        (&raw const self.0).cast()
    }

    /// The same, to be written to. It is a copy: what is changed here the thread does not go on with.
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }
}

impl fmt::Debug for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registers").finish_non_exhaustive()
    }
}

#[cfg(target_arch = "x86_64")]
const ALL: u32 = debug::CONTEXT_FULL_AMD64;
#[cfg(target_arch = "aarch64")]
const ALL: u32 = debug::CONTEXT_FULL_ARM64;
#[cfg(target_arch = "x86")]
const ALL: u32 = debug::CONTEXT_FULL_X86;

impl SystemBackend {
    /// `hook` runs on the thread that asks for another one to be preempted, while that is suspended.
    #[must_use]
    pub const fn new(hook: Hook) -> Self {
        Self { hook }
    }
}

fn last_error() -> Errno {
    // SAFETY: no preconditions.
    Errno(unsafe { GetLastError() } as i32)
}

/// A thread that has ended does not let itself be suspended.
fn refused() -> BackendError {
    match last_error() {
        Errno(code) if code == ERROR_ACCESS_DENIED as i32 => BackendError::Gone,
        other => BackendError::Refused(other),
    }
}

impl SystemThread {
    fn suspend(&self) -> Result<(), BackendError> {
        // SAFETY: a handle that is open while the gate has it: `close` takes it.
        match unsafe { win::SuspendThread(self.0) } {
            u32::MAX => Err(refused()),
            _ => Ok(()),
        }
    }

    fn resume(&self) {
        // SAFETY: as above; suspended by the callers, `ask` before `confirm` and `resume`, and `interrupt`.
        unsafe { win::ResumeThread(self.0) };
    }

    /// Waits until the thread has stopped.
    fn registers(&self) -> Result<Registers, BackendError> {
        // SAFETY: all zeros is a valid CONTEXT.
        let mut registers = Registers(unsafe { zeroed() });
        registers.0.ContextFlags = ALL;
        // SAFETY: as above, and the registers are a local.
        match unsafe { debug::GetThreadContext(self.0, &raw mut registers.0) } {
            0 => Err(BackendError::Refused(last_error())),
            _ => Ok(registers),
        }
    }

    fn preempt(&self, hook: Hook) -> Result<(), BackendError> {
        let mut registers = self.registers()?;
        hook.run((&raw mut registers.0).cast());
        // SAFETY: as above; the thread is suspended, by `interrupt`, and who made the hook promised that
        // the thread can go on with what it wrote.
        match unsafe { debug::SetThreadContext(self.0, &raw const registers.0) } {
            0 => Err(BackendError::Refused(last_error())),
            _ => Ok(()),
        }
    }
}

// SAFETY: `here` is a thread-local without destructor, and like `TURN` one for all values of the type; a
// duplicated handle names its thread until it is closed; nothing here panics, nor does a hook, as who made
// it promised; GetThreadContext returns when the thread stands still, and the system's own switch away from
// it is a barrier.
unsafe impl Backend for SystemBackend {
    type Handle = SystemThread;
    type Context = Option<Registers>;
    type Exited = core::convert::Infallible;
    type Patience = ();

    #[inline]
    fn here(&self) -> *const GateLocal {
        here()
    }

    fn turn(&self) -> &Turn {
        &TURN
    }

    unsafe fn open(&'static self) -> Result<SystemThread, RegisterError> {
        let mut own = core::ptr::null_mut();
        // SAFETY: the calling thread's pseudo handle, duplicated into a local.
        let done = unsafe {
            let process = win::GetCurrentProcess();
            let thread = win::GetCurrentThread();
            DuplicateHandle(process, thread, process, &raw mut own, 0, 0, DUPLICATE_SAME_ACCESS)
        };
        if done == 0 { Err(RegisterError::System(last_error())) } else { Ok(SystemThread(own)) }
    }

    unsafe fn close(&self, handle: SystemThread) {
        // SAFETY: made by `open`; used by nobody any more, as the gate promises.
        unsafe { CloseHandle(handle.0) };
    }

    fn patience(&self, _: u32) {}

    unsafe fn ask(&self, handle: &SystemThread, _: &StopWord, (): &()) -> Result<(), BackendError> {
        handle.suspend()
    }

    unsafe fn confirm(
        &self,
        handle: &SystemThread,
        _: &StopWord,
        (): &(),
    ) -> Result<(), BackendError> {
        handle.registers().map(drop).inspect_err(|_| handle.resume())
    }

    unsafe fn context(&self, handle: &SystemThread, _: &StopWord) -> Option<Registers> {
        handle.registers().ok()
    }

    unsafe fn resume(&self, handle: &SystemThread, _: &StopWord) {
        handle.resume();
    }

    unsafe fn interrupt(&self, handle: &SystemThread, _: &StopWord) -> Result<bool, BackendError> {
        handle.suspend()?;
        let done = handle.preempt(self.hook);
        handle.resume();
        done.map(|()| true)
    }

    fn pause(&self, turn: u32) {
        pause(turn);
    }

    // No thread stops in a handler here.
    unsafe fn wait_stopped(&self, _: &AtomicU32, _: u32) {}
    fn wake(&self, _: &AtomicU32) {}

    fn exit(&self, code: i32) -> core::convert::Infallible {
        std::process::exit(code)
    }
}

impl fmt::Debug for SystemBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemBackend").finish_non_exhaustive()
    }
}

//! Stopping threads by the system: Windows.

use core::fmt;
use core::mem::zeroed;

use windows_sys::Win32::Foundation::{
    CloseHandle, DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_ACCESS_DENIED, GetLastError, HANDLE,
};
use windows_sys::Win32::System::Diagnostics::Debug as debug;
use windows_sys::Win32::System::Threading as win;

use super::system::{Hook, here};
use super::{Backend, Here, StopError, StopWord};
use crate::sync::AtomicU32;
use crate::sys::Errno;

/// Threads are stopped by SuspendThread, which only asks, and GetThreadContext, which waits.
pub struct Windows {
    hook: Hook,
}

/// The handle of a registered thread: its own, so that no other can come to have the same value.
#[derive(Debug)]
pub struct WindowsThread(HANDLE);

// SAFETY: a name of a thread to the system.
unsafe impl Send for WindowsThread {}
// SAFETY: as above.
unsafe impl Sync for WindowsThread {}

/// The registers of a stopped thread, aligned as the system wants them.
#[repr(C, align(16))]
pub struct Registers(pub debug::CONTEXT);

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

impl Windows {
    /// `hook` runs on the thread that asks for another one to be preempted, while that is suspended,
    /// with its `CONTEXT`; what it changes there the thread goes on with. It must not block,
    /// allocate or log.
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
fn refused() -> StopError {
    match last_error() {
        Errno(code) if code == ERROR_ACCESS_DENIED as i32 => StopError::Gone,
        other => StopError::Refused(other),
    }
}

impl WindowsThread {
    fn suspend(&self) -> Result<(), StopError> {
        // SAFETY: a handle that is open while its thread is registered.
        match unsafe { win::SuspendThread(self.0) } {
            u32::MAX => Err(refused()),
            _ => Ok(()),
        }
    }

    fn resume(&self) {
        // SAFETY: as above; suspended by the caller.
        unsafe { win::ResumeThread(self.0) };
    }

    /// Waits until the thread has stopped.
    fn registers(&self) -> Result<Registers, StopError> {
        // SAFETY: all zeros is a valid CONTEXT.
        let mut registers = Registers(unsafe { zeroed() });
        registers.0.ContextFlags = ALL;
        // SAFETY: as above, and the registers are a local.
        match unsafe { debug::GetThreadContext(self.0, &raw mut registers.0) } {
            0 => Err(StopError::Refused(last_error())),
            _ => Ok(registers),
        }
    }

    fn preempt(&self, hook: Hook) -> Result<(), StopError> {
        let mut registers = self.registers()?;
        hook((&raw mut registers.0).cast());
        // SAFETY: as above; the thread is suspended.
        match unsafe { debug::SetThreadContext(self.0, &raw const registers.0) } {
            0 => Err(StopError::Refused(last_error())),
            _ => Ok(()),
        }
    }
}

// SAFETY: `here` is a thread-local; GetThreadContext returns when the thread stands still, and the
// system's own switch away from it is a barrier.
unsafe impl Backend for Windows {
    type Handle = WindowsThread;
    type Context = Option<Registers>;
    type Exited = core::convert::Infallible;
    type Patience = ();

    #[inline]
    fn here(&self) -> &Here {
        here()
    }

    fn open(&'static self) -> Result<WindowsThread, Errno> {
        let mut own = core::ptr::null_mut();
        // SAFETY: the calling thread's pseudo handle, duplicated into a local.
        let done = unsafe {
            let process = win::GetCurrentProcess();
            let thread = win::GetCurrentThread();
            DuplicateHandle(process, thread, process, &raw mut own, 0, 0, DUPLICATE_SAME_ACCESS)
        };
        if done == 0 { Err(last_error()) } else { Ok(WindowsThread(own)) }
    }

    fn close(&self, handle: WindowsThread) {
        // SAFETY: made by `open`, used by nobody any more.
        unsafe { CloseHandle(handle.0) };
    }

    fn patience(&self) {}

    fn ask(&self, handle: &WindowsThread, _: &StopWord, (): &()) -> Result<(), StopError> {
        handle.suspend()
    }

    fn confirm(&self, handle: &WindowsThread, _: &StopWord, (): &()) -> Result<(), StopError> {
        handle.registers().map(drop).inspect_err(|_| handle.resume())
    }

    fn context(&self, handle: &WindowsThread, _: &StopWord) -> Option<Registers> {
        handle.registers().ok()
    }

    fn resume(&self, handle: &WindowsThread, _: &StopWord) {
        handle.resume();
    }

    fn interrupt(&self, handle: &WindowsThread, _: &StopWord) -> Result<bool, StopError> {
        handle.suspend()?;
        let done = handle.preempt(self.hook);
        handle.resume();
        done.map(|()| true)
    }

    fn pause(&self, turn: u32) {
        if turn < 300 {
            core::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }

    // No thread stops in a handler here.
    fn wait_stopped(&self, _: &AtomicU32, _: u32) {}
    fn wake(&self, _: &AtomicU32) {}

    fn exit(&self, code: i32) -> core::convert::Infallible {
        std::process::exit(code)
    }
}

impl fmt::Debug for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Windows").finish_non_exhaustive()
    }
}

//! What a suspended thread has in its registers, as the system gave it to the thread's signal handler: Linux, on
//! x86-64 and AArch64.

use core::fmt;

use super::host::Barrier;
use super::{StoppedAll, Suspended, SystemBackend, ThreadRef};

/// The registers of a thread that stands in its signal handler; for who has it suspended, as long as that lasts.
#[derive(Clone, Copy)]
pub struct Interrupted<'a>(&'a libc::ucontext_t);

/// Below the stack pointer a function that calls no other may have something, on some processors.
const RED_ZONE: usize = 128;

impl<'a> Interrupted<'a> {
    /// # Safety
    ///
    /// The context of a thread that stands in the handler to which the system gave it, for as long as `'a`.
    unsafe fn of(context: *mut core::ffi::c_void) -> Self {
        // SAFETY: as the caller promises.
        Self(unsafe { &*context.cast_const().cast() })
    }

    /// Where it was interrupted.
    #[must_use]
    pub fn program_counter(&self) -> usize {
        let context = &self.0.uc_mcontext;
        #[cfg(target_arch = "x86_64")]
        return context.gregs[libc::REG_RIP as usize] as usize;
        #[cfg(target_arch = "aarch64")]
        return context.pc as usize;
    }

    /// Its stack pointer there.
    #[must_use]
    pub fn stack_pointer(&self) -> usize {
        let context = &self.0.uc_mcontext;
        #[cfg(target_arch = "x86_64")]
        return context.gregs[libc::REG_RSP as usize] as usize;
        #[cfg(target_arch = "aarch64")]
        return context.sp as usize;
    }

    /// Down to where its stack may hold something: below the stack pointer by what the processor's convention lets a
    /// function use there. To the [base](crate::world::stack_base) of the stack, for a conservative collector, which
    /// looks at [`words`](Self::words) as well.
    #[must_use]
    pub fn stack(&self) -> *const usize {
        let top = self.stack_pointer().saturating_sub(RED_ZONE);
        core::ptr::with_exposed_provenance(top & !(align_of::<usize>() - 1))
    }

    /// All that the system has saved of it, word by word: every register, those for vectors too.
    pub fn words(&self) -> impl Iterator<Item = usize> + 'a {
        let start: *const usize = core::ptr::from_ref(self.0).cast();
        let signals = self.0.uc_stack.ss_sp.addr();
        let end = signals.saturating_add(self.0.uc_stack.ss_size);
        let bytes = match (signals..end).contains(&start.addr()) {
            // What belongs to it is above it, to the end of the stack for signals.
            true => end - start.addr(),
            false => size_of::<libc::ucontext_t>(),
        };
        // SAFETY: on the stack of a thread that stands (`of`), or within the context.
        (0..bytes / size_of::<usize>()).map(move |at| unsafe { start.add(at).read_volatile() })
    }
}

impl fmt::Debug for Interrupted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupted")
            .field("program_counter", &self.program_counter())
            .field("stack_pointer", &self.stack_pointer())
            .finish_non_exhaustive()
    }
}

impl<B: Barrier> Suspended<'_, B, SystemBackend> {
    /// Its registers.
    #[must_use]
    pub fn registers(&self) -> Option<Interrupted<'_>> {
        // SAFETY: it stands until this is dropped, and the borrow ends before that.
        self.context().map(|context| unsafe { Interrupted::of(context) })
    }
}

impl<B: Barrier> StoppedAll<'_, B, SystemBackend> {
    /// Those that are suspended, and their registers.
    pub fn registers(
        &self,
    ) -> impl Iterator<Item = (ThreadRef<B, SystemBackend>, Interrupted<'_>)> {
        let stopped = self.stopped();
        // SAFETY: they stand until this is dropped, and the borrow ends before that.
        stopped.filter_map(|(thread, context)| Some((thread, unsafe { Interrupted::of(context?) })))
    }
}

//! Where handlers do not run on the threads that they interrupt: no masks, no alternate stacks.

use super::Errno;

#[derive(Debug)]
pub(crate) struct Altstack;

#[derive(Debug)]
pub(crate) struct Entered;

impl Altstack {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self)
    }
    /// # Safety
    ///
    /// None is needed: there is nothing. So it is with the two below.
    pub(crate) unsafe fn free(self) {}
    /// # Safety
    ///
    /// None is needed.
    pub(crate) unsafe fn enter(&self) -> Entered {
        Entered
    }
    /// # Safety
    ///
    /// None is needed.
    pub(crate) unsafe fn leave(&self, Entered: Entered) -> Option<Entered> {
        None
    }
}

#[cfg(not(windows))]
#[derive(Clone, Copy)]
pub(crate) struct Mask;

#[cfg(not(windows))]
impl Mask {
    pub(crate) fn all_but(_: &[i32]) -> Self {
        Self
    }
    #[allow(clippy::unused_self, reason = "as that of other systems")]
    pub(crate) fn restore(&self) {}
}

#[cfg(not(windows))]
#[derive(Debug)]
pub(crate) struct AllBlocked;

#[cfg(not(windows))]
impl AllBlocked {
    pub(crate) fn new() -> Self {
        Self
    }
}

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
    pub(crate) fn free(self) {}
    pub(crate) fn enter(&self) -> Entered {
        Entered
    }
    pub(crate) fn leave(&self, Entered: Entered) {}
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

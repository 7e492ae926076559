//! A registered thread's own side: going out, coming back, exiting.

use core::fmt;
use core::marker::PhantomData;

use super::{Backend, Barrier, ExitError, Gate, Gates, ThreadRef};

/// The calling thread is registered while this is alive; it ends registered never, unless this is
/// forgotten: then it counts as running the runtime's code for ever, and who suspends it is told by
/// the system that it is gone.
#[must_use = "the thread is no longer registered when this is dropped"]
pub struct Member<B: Barrier + 'static, K: Backend + 'static>(Place<B, K>);

/// The calling thread's gate.
struct Place<B: Barrier + 'static, K: Backend + 'static> {
    gates: &'static Gates<B, K>,
    gate: &'static Gate<K>,
    generation: u32,
    /// Not `Send`: the gate is its thread's.
    own: PhantomData<*const ()>,
}

impl<B: Barrier, K: Backend> Clone for Place<B, K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: Barrier, K: Backend> Copy for Place<B, K> {}

/// The calling thread runs external code while this is alive: it is not suspended. It is back when
/// this is dropped, by a panic too.
#[must_use = "the thread is back when this is dropped"]
pub struct External<'a, B: Barrier + 'static, K: Backend + 'static> {
    place: Place<B, K>,
    inner: PhantomData<&'a mut ()>,
}

/// The calling thread was called back by external code, and runs the runtime's code while this is
/// alive.
#[must_use = "the thread is out again when this is dropped"]
pub struct Inside<'a, B: Barrier + 'static, K: Backend + 'static> {
    place: Place<B, K>,
    outer: PhantomData<&'a mut ()>,
}

impl<B: Barrier, K: Backend> Member<B, K> {
    pub(super) fn new(
        gates: &'static Gates<B, K>,
        gate: &'static Gate<K>,
        generation: u32,
    ) -> Self {
        Self(Place { gates, gate, generation, own: PhantomData })
    }

    /// The calling thread, as others name it.
    #[must_use]
    pub fn thread(&self) -> ThreadRef<K> {
        ThreadRef { gate: self.0.gate, generation: self.0.generation }
    }

    /// Goes out: to code that may block, exit, or take locks that others need while this thread is
    /// suspended. Waits for the suspension that is under way, if one is. Go's osPreemptExtEnter.
    #[inline]
    pub fn external(&mut self) -> External<'_, B, K> {
        self.0.go_out()
    }

    /// Ends the process, from outside: whoever would suspend this thread is turned away.
    ///
    /// # Errors
    ///
    /// The calling thread has others suspended. Else it does not return.
    pub fn exit(&mut self, code: i32) -> Result<K::Exited, ExitError> {
        self.0.exit(code)
    }
}

impl<B: Barrier, K: Backend> Place<B, K> {
    #[inline]
    fn go_out<'a>(self) -> External<'a, B, K> {
        self.gates.go_out(self.gate, self.generation);
        External { place: self, inner: PhantomData }
    }

    fn exit(self, code: i32) -> Result<K::Exited, ExitError> {
        match self.gates.backend.here().holds() {
            0 => {
                core::mem::forget(self.go_out());
                Ok(self.gates.backend.exit(code))
            }
            holds => Err(ExitError::HoldsSuspended(holds)),
        }
    }
}

impl<B: Barrier, K: Backend> External<'_, B, K> {
    /// Called back: the runtime's code runs until that is dropped. Go's osPreemptExtExit.
    #[inline]
    pub fn inside(&mut self) -> Inside<'_, B, K> {
        self.place.gates.come_back(self.place.gate, self.place.generation);
        Inside { place: self.place, outer: PhantomData }
    }
}

impl<B: Barrier, K: Backend> Inside<'_, B, K> {
    /// Goes out again.
    #[inline]
    pub fn external(&mut self) -> External<'_, B, K> {
        self.place.go_out()
    }

    /// As [`Member::exit`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn exit(&mut self, code: i32) -> Result<K::Exited, ExitError> {
        self.place.exit(code)
    }
}

impl<B: Barrier, K: Backend> Drop for External<'_, B, K> {
    #[inline]
    fn drop(&mut self) {
        self.place.gates.come_back(self.place.gate, self.place.generation);
    }
}

impl<B: Barrier, K: Backend> Drop for Inside<'_, B, K> {
    #[inline]
    fn drop(&mut self) {
        self.place.gates.go_out(self.place.gate, self.place.generation);
    }
}

impl<B: Barrier, K: Backend> Drop for Member<B, K> {
    fn drop(&mut self) {
        let Place { gates, gate, generation, .. } = self.0;
        gates.go_out(gate, generation);
        gates.unregister(gate, generation);
    }
}

impl<B: Barrier, K: Backend> fmt::Debug for Member<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("thread", &self.thread()).finish_non_exhaustive()
    }
}

impl<B: Barrier, K: Backend> fmt::Debug for External<'_, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("External").finish_non_exhaustive()
    }
}

impl<B: Barrier, K: Backend> fmt::Debug for Inside<'_, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").finish_non_exhaustive()
    }
}

//! A registered thread's own side: going out, coming back, exiting; and its name for others.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::ptr;

use super::host::{Backend, Barrier};
use super::{ExitError, GENERATION, Gate, Gates};

/// The calling thread is registered while this is alive.
///
/// If this is forgotten the thread stays registered until its end; from then on it is told as gone, its
/// requests are acknowledged, and its gate is lost: nobody can be registered there any more. The same if
/// this is kept in a thread-local that is dropped late: from the moment that the thread's end has begun
/// until then.
#[must_use = "the thread is no longer registered when this is dropped"]
pub struct Registration<B: Barrier + 'static, K: Backend + 'static>(Place<B, K>);

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
/// this is dropped, by a panic too; if this is forgotten, when it goes out and comes back the next time.
#[must_use = "the thread is back when this is dropped"]
pub struct External<'a, B: Barrier + 'static, K: Backend + 'static> {
    place: Place<B, K>,
    inner: PhantomData<&'a mut ()>,
}

/// The calling thread was called back by external code, and runs the runtime's code while this is
/// alive. If this is forgotten it counts as doing so in the external code that follows, and may be
/// suspended there, with a lock of that code perhaps, until it goes out the next time.
#[must_use = "the thread is out again when this is dropped"]
pub struct Inside<'a, B: Barrier + 'static, K: Backend + 'static> {
    place: Place<B, K>,
    outer: PhantomData<&'a mut ()>,
}

impl<B: Barrier, K: Backend> Registration<B, K> {
    pub(super) fn new(
        gates: &'static Gates<B, K>,
        gate: &'static Gate<K>,
        generation: u32,
    ) -> Self {
        Self(Place { gates, gate, generation, own: PhantomData })
    }

    /// The calling thread, as others name it.
    #[must_use]
    pub fn thread(&self) -> ThreadRef<B, K> {
        ThreadRef { gates: self.0.gates, gate: self.0.gate, generation: self.0.generation }
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
        match self.gates.holds() {
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

    /// As [`Registration::exit`].
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

impl<B: Barrier, K: Backend> Drop for Registration<B, K> {
    fn drop(&mut self) {
        let Place { gates, gate, generation, .. } = self.0;
        gates.go_out(gate, generation);
        gates.unregister(gate, generation);
    }
}

/// A registered thread, named by others to the [`Gates`] by which it was registered. It may have ended
/// since: then it is told as gone.
pub struct ThreadRef<B: Barrier + 'static, K: Backend + 'static> {
    pub(super) gates: &'static Gates<B, K>,
    pub(super) gate: &'static Gate<K>,
    pub(super) generation: u32,
}

impl<B: Barrier, K: Backend> Clone for ThreadRef<B, K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: Barrier, K: Backend> Copy for ThreadRef<B, K> {}

impl<B: Barrier, K: Backend> PartialEq for ThreadRef<B, K> {
    fn eq(&self, other: &Self) -> bool {
        // A registration at one gate is by one `Gates`.
        ptr::eq(self.gate, other.gate) && self.generation == other.generation
    }
}
impl<B: Barrier, K: Backend> Eq for ThreadRef<B, K> {}

impl<B: Barrier, K: Backend> Hash for ThreadRef<B, K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::from_ref(self.gate).hash(state);
        self.generation.hash(state);
    }
}

impl<B: Barrier, K: Backend> fmt::Debug for ThreadRef<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadRef")
            .field("gates", &ptr::from_ref(self.gates))
            .field("gate", &ptr::from_ref(self.gate))
            .field("generation", &(self.generation / GENERATION))
            .finish()
    }
}

impl<B: Barrier, K: Backend> fmt::Debug for Registration<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("thread", &self.thread()).finish_non_exhaustive()
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

//! Requests to be preempted: each has a number, and is acknowledged on every path.
//!
//! Two counters: asked and acknowledged. One request is under way while they differ; whoever wants
//! one then has it for his own and sends nothing, so that a thread is not flooded (golang/go#37741).
//! Acknowledged are those that the thread's handler met, wherever it met them, those that could not
//! be sent, and those of a thread that ends: none sticks.

use super::host::{Backend, Barrier};
use super::{Gate, ThreadRef};
use crate::sync::{AtomicU32, Ordering::*, model_const_fn};

/// Both counters.
#[derive(Debug)]
pub(super) struct Requests {
    asked: AtomicU32,
    acknowledged: AtomicU32,
}

/// One request, perhaps with others who wanted the same.
pub struct Request<B: Barrier + 'static, K: Backend + 'static> {
    thread: ThreadRef<B, K>,
    generation: u32,
}

/// Who is to send a signal for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The one who asked first.
    New(u32),
    /// Nobody: it is under way.
    UnderWay(u32),
}

impl Requests {
    model_const_fn! {
        pub(super) const fn new() -> Self {
            Self { asked: AtomicU32::new(0), acknowledged: AtomicU32::new(0) }
        }
    }

    /// By who holds the claim.
    pub(super) fn ask(&self) -> Asked {
        // By a read-modify-write: who joins a request under way writes nothing to `asked`. Either he finds
        // it acknowledged here and asks anew, or the acknowledgement comes after this and sees what he did.
        // ORDERING: Release: what was done before a request, to the handler that meets it. Weakened:
        // preempt request_publishes, joined_request_is_met. A load: the latter.
        let done = self.acknowledged.fetch_or(0, Release);
        let next = done.wrapping_add(1);
        // ORDERING: Relaxed: a number; the line above publishes. Failure Relaxed: somebody else's is met.
        match self.asked.compare_exchange(done, next, Relaxed, Relaxed) {
            Ok(_) => Asked::New(next),
            Err(under_way) => Asked::UnderWay(under_way),
        }
    }

    /// Whatever is asked for is done, or will not be. True if something was.
    pub(super) fn acknowledge(&self) -> bool {
        // By a read-modify-write: a load might find what there was before the request that sent the
        // signal, as nothing says that a signal orders memory.
        // ORDERING: Relaxed: a number. A load: preempt request_met_outside.
        let asked = self.asked.fetch_or(0, Relaxed);
        // Not back: another thread may have acknowledged this one and more (a failed attempt).
        // ORDERING: AcqRel: what the thread did until then, to `is_acknowledged`; from `ask`, of each who
        // asked or joined before this. Weakened: preempt request_publishes. Failure Relaxed: there was
        // nothing.
        let before = asked.wrapping_sub(1);
        self.acknowledged.compare_exchange(before, asked, AcqRel, Relaxed).is_ok()
    }

    fn is_acknowledged(&self, generation: u32) -> bool {
        // ORDERING: Acquire: from `acknowledge`. Weakened: preempt request_publishes.
        let done = self.acknowledged.load(Acquire);
        done.wrapping_sub(generation) < 1 << 31
    }
}

impl<B: Barrier, K: Backend> Request<B, K> {
    pub(super) fn new(thread: ThreadRef<B, K>, generation: u32) -> Self {
        Self { thread, generation }
    }

    pub(super) fn thread(&self) -> ThreadRef<B, K> {
        self.thread
    }

    /// The thread has been interrupted since, or has ended, or was found outside; or the request
    /// could not be sent. In the order in which they were asked for. What it did before is visible;
    /// the backend's hook may not have run yet.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        let gate: &Gate<K> = self.thread.gate;
        gate.requests.is_acknowledged(self.generation)
    }

    /// Counts the requests of one gate, modulo 2^32.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }
}

impl<B: Barrier, K: Backend> core::fmt::Debug for Request<B, K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Request").field("generation", &self.generation).finish_non_exhaustive()
    }
}

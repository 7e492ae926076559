//! How a thread that enters external code and one that would suspend it see each other.
//!
//! Each writes its own word and then reads the other's: one of them must see the other. Either both
//! use a read-modify-write of one word, or the rare side makes up for what the frequent one leaves
//! out.

use core::fmt;

use crate::sync::{AtomicU32, Ordering::*, compiler_fence};
use crate::sys::{self, Errno};

/// The two halves of a barrier.
///
/// # Safety
///
/// If `look`, called after a store of its thread, does not see what another thread wrote to `claim`
/// by a read-modify-write before it called `heavy`, then that thread, after `heavy` succeeded, sees the
/// store.
pub unsafe trait Barrier: Sync {
    /// What is in `claim`, 0 for free; the thread that enters.
    fn look(&self, claim: &Claim) -> u32;
    /// Between the claims of one who would suspend and what he reads then.
    ///
    /// # Errors
    ///
    /// There was none: a sandbox forbids it by now. Nobody is suspended then.
    fn heavy(&self) -> Result<(), Errno>;
}

/// The word that tells who may suspend a thread; see [`crate::preempt`]. It is the gate's: a barrier of
/// one's own looks at it by one of those that are here.
#[derive(Debug)]
#[repr(transparent)]
pub struct Claim(pub(super) AtomicU32);

/// A read-modify-write by the thread that enters; nothing is left to the other.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fenced;

// SAFETY: both sides, `look` here and `Gate::claim`, change the claim by read-modify-writes, of which
// one reads the other's or a later one, with acquire from its release.
unsafe impl Barrier for Fenced {
    #[inline]
    fn look(&self, claim: &Claim) -> u32 {
        // ORDERING: AcqRel: E1 to `claim`, E2 from `release`. Weakened: preempt
        // enter_against_suspend, unregistered_acknowledges. Failure Relaxed: the wait that follows
        // acquires.
        match claim.0.compare_exchange(0, 0, AcqRel, Relaxed) {
            Ok(seen) | Err(seen) => seen,
        }
    }

    #[inline]
    fn heavy(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// Plain accesses by the thread that enters; the other has the system run a barrier on every
/// processor: membarrier(2) on Linux, FlushProcessWriteBuffers on Windows.
#[derive(Debug, Clone, Copy)]
pub struct Asymmetric(());

impl Asymmetric {
    /// If the system has such a barrier; makes it known to it. Not async-signal-safe.
    #[must_use]
    pub fn new() -> Option<Self> {
        sys::prepare_barrier().then_some(Self(()))
    }
}

// SAFETY: made by `new` alone, which asked the system: that runs a full barrier on each thread between the
// begin and the end of `heavy`. Where it comes after the store, that is seen afterwards; where before, the
// load comes after it, and sees what was written before `heavy` began.
unsafe impl Barrier for Asymmetric {
    #[inline]
    fn look(&self, claim: &Claim) -> u32 {
        // Keeps the compiler from moving the load before the store.
        compiler_fence(SeqCst);
        // ORDERING: Acquire: E2 from `release`. Weakened: preempt early_returns_leave_gate_open.
        claim.0.load(Acquire)
    }

    fn heavy(&self) -> Result<(), Errno> {
        sys::barrier()
    }
}

/// Chosen at start: the asymmetric one where the system has it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Either {
    /// See [`Fenced`].
    Fenced(Fenced),
    /// See [`Asymmetric`].
    Asymmetric(Asymmetric),
}

impl Either {
    /// The asymmetric one, or else the fenced one. Not async-signal-safe.
    #[must_use]
    pub fn new() -> Self {
        Asymmetric::new().map_or(Self::Fenced(Fenced), Self::Asymmetric)
    }
}

impl Default for Either {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: the one or the other, for as long as it lives: the gate shares it, and nobody changes it.
unsafe impl Barrier for Either {
    #[inline]
    fn look(&self, claim: &Claim) -> u32 {
        match self {
            Self::Asymmetric(barrier) => barrier.look(claim),
            Self::Fenced(barrier) => barrier.look(claim),
        }
    }

    fn heavy(&self) -> Result<(), Errno> {
        match self {
            Self::Asymmetric(barrier) => barrier.heavy(),
            Self::Fenced(barrier) => barrier.heavy(),
        }
    }
}

impl fmt::Display for Either {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fenced(_) => "fenced",
            Self::Asymmetric(_) => "asymmetric",
        })
    }
}

//! Handlers of other projects: their protocols, told again over the simulated kernel, and what was found.
//! `docs/found.md` has it in words, with the source that each was read in.
//!
//! A model has the protocol as it ships, and passes. A control has one step weakened, or a bug that the
//! project had; those whose names begin with `today_` have the protocol as it ships, and fail.

mod parking;
mod python;
mod signal_hook;
mod tokio;

use crate::sync::Ordering::SeqCst;
use crate::sync::fence;

/// Stands before each access that is sequentially consistent in the original. loom takes such an access for
/// one that acquires and releases; with this before each of them there is one order of them all, as POWER has
/// it. What comes after the access and is none of them, may be earlier than the access, as in C11.
#[track_caller]
fn one_order() {
    fence(SeqCst);
}

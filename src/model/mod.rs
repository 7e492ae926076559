//! The simulated kernel: signals, threads and sleeping for models under loom.

pub(crate) mod futex;
pub(crate) mod hook;
pub(crate) mod lock;
pub mod thread;

mod check;
mod control;
mod deliver;
mod kernel;
mod lanes;
mod report;
mod signals;
mod state;
mod suspend;

pub use check::{Bound, Model};
pub use control::Control;
pub use kernel::{Disposition, Handler, How, Kernel, Outcome};
pub use signals::{SigSet, Signal, sig};

/// Atomics for a handler's own state, every operation a place where a signal may land.
pub mod atomic {
    pub use crate::sync::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
}

use core::panic::Location;
use lanes::Detail;
use state::Run;

/// Heads the calling thread's lane.
pub fn name_thread(name: impl Into<String>) {
    let run = Run::expect();
    let me = run.me();
    run.borrow().threads[me].name = name.into();
}

/// Writes a remark into the calling thread's lane.
#[track_caller]
pub fn say(text: impl Into<String>) {
    let run = Run::expect();
    run.row(
        run.me(),
        "--",
        Detail::Text(text.into()),
        Location::caller(),
    );
}

/// Fails the model with `reason`, unless the calling thread's process has died.
#[track_caller]
pub fn violation(reason: impl Into<String>) {
    let run = Run::expect();
    let me = run.me();
    let alive = run.words().is_none() || run.borrow().process_of(me).outcome == Outcome::Running;
    if alive {
        let reason = reason.into();
        panic!("{reason}");
    }
}

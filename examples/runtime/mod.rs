//! The parts of the runtime; `tests/soak.rs` has them, too.

mod account;
mod callers;
mod child;
mod collector;
mod heap;
mod people;
mod queue;
mod random;
mod run;
mod shim;
mod soak;
mod threads;

pub(crate) use run::{Options, run};

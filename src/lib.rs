#![cfg_attr(not(feature = "std"), no_std)]
#![doc = include_str!("../README.md")]

// Nothing else is said where this is, hence the conditions below.
#[cfg(not(target_has_atomic = "32"))]
compile_error!(
    "portcullis cannot be built for this target: its processor has no atomic compare-exchange of 32 \
     bits, and signal handlers would wait for ever for a lock in its place whose owner they interrupted"
);

#[cfg(target_has_atomic = "32")]
pub mod all_threads;
#[cfg(target_has_atomic = "32")]
pub mod attach;
#[cfg(target_has_atomic = "32")]
mod records;
#[cfg(target_has_atomic = "32")]
mod sync;

#[cfg(target_has_atomic = "32")]
pub mod extra_list;
#[cfg(target_has_atomic = "32")]
pub mod note;
#[cfg(target_has_atomic = "32")]
pub mod preempt;
#[cfg(all(feature = "std", any(unix, windows)))]
#[cfg_attr(
    all(loom, any(test, feature = "loom")),
    allow(dead_code, reason = "a model has the hub, and not the global that stands on it")
)]
#[cfg(target_has_atomic = "32")]
pub mod signal;
#[cfg(target_has_atomic = "32")]
pub mod sigqueue;
#[cfg_attr(
    any(not(feature = "std"), all(loom, any(test, feature = "loom"))),
    allow(
        dead_code,
        unused_imports,
        unreachable_pub,
        reason = "signals are the subscriptions' business"
    )
)]
#[cfg(target_has_atomic = "32")]
pub(crate) mod sys;
#[cfg(target_has_atomic = "32")]
pub mod world;

#[cfg(target_has_atomic = "32")]
pub use sys::{Errno, Signal, UnknownSignal};

#[cfg(all(loom, any(test, feature = "loom")))]
pub mod model;

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
#[path = "../loom_tests/mod.rs"]
mod loom_tests;

#![cfg_attr(not(feature = "std"), no_std)]
#![doc = include_str!("../README.md")]

pub mod all_threads;
pub mod attach;
mod records;
mod sync;

pub mod extra_list;
pub mod note;
pub mod preempt;
#[cfg(all(feature = "std", any(unix, windows)))]
#[cfg_attr(
    all(loom, any(test, feature = "loom")),
    allow(dead_code, reason = "a model has the hub, and not the global that stands on it")
)]
pub mod signal;
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
pub(crate) mod sys;

pub use sys::Errno;

#[cfg(all(loom, any(test, feature = "loom")))]
pub mod model;

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
#[path = "../loom_tests/mod.rs"]
mod loom_tests;

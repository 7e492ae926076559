#![cfg_attr(not(feature = "std"), no_std)]
#![doc = include_str!("../README.md")]

mod records;
mod sync;

pub mod note;
#[cfg(all(feature = "std", any(unix, windows)))]
pub mod signal;
pub mod sigqueue;
pub(crate) mod sys;

#[cfg(all(loom, any(test, feature = "loom")))]
pub mod model;

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
#[path = "../loom_tests/mod.rs"]
mod loom_tests;

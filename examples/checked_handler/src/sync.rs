//! Core's atomics, or in a model the checked ones: the only file that knows which.

#[cfg(not(all(test, loom)))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
#[cfg(all(test, loom))]
pub(crate) use portcullis::model::atomic::{AtomicBool, AtomicU32, Ordering};

/// A constructor: `const`, but in a model, where an atomic belongs to an execution.
macro_rules! new {
    ($(#[$doc:meta])* pub fn $($rest:tt)*) => {
        #[cfg(not(all(test, loom)))]
        $(#[$doc])* pub const fn $($rest)*
        #[cfg(all(test, loom))]
        $(#[$doc])* pub fn $($rest)*
    };
}
pub(crate) use new;

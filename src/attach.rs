//! Attach and detach (being written).
mod host;
pub use host::{ExitCall, Host, Slot};

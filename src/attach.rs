//! Attach and detach (being written).
mod host;
pub use host::{Callback, Host, Slot};

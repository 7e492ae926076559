//! The shims against the system they stand on.

//! One operation on all threads: this crate's, the C library's, and the floor of them all, a signal to
//! each thread and one counter of the answers.
//!
//! The groups compare the ways at so many threads, in one run: libpsx too where it is installed.
#![allow(missing_docs, reason = "criterion's macros make functions")]

#[cfg(all(target_os = "linux", not(loom)))]
#[path = "crowd.rs"]
mod crowd;
#[cfg(all(target_os = "linux", not(loom)))]
#[path = "psx.rs"]
mod psx;

#[cfg(all(target_os = "linux", not(loom)))]
fn main() {
    crowd::run();
}

#[cfg(not(all(target_os = "linux", not(loom))))]
fn main() {
    println!("there is nothing to be measured here");
}

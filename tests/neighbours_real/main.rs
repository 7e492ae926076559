//! Neighbours themselves, where `neighbours` has what stands for them: Go, OpenJDK, CPython, bdwgc, tokio's
//! child processes, io_uring, a debugger, each beside this crate in one process. Those in other languages load
//! it as a shared library of C functions (`library/`). Where a toolchain is missing its tests say so and pass:
//! `.ci/neighbours` installs them.
//!
//! Bounded: fixed counts; each test is a process of its own that is ended after a minute or two.
#![cfg(all(
    target_os = "linux",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    not(loom)
))]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/library.rs"]
mod library;

mod bdwgc;
mod children;
mod debuggers;
mod go;
mod hosts;
mod java;
#[path = "library/source.rs"]
mod pn;
mod python;
mod rings;

#![forbid(unsafe_code)]
//! A system call with arguments of one's own is made through `unsafe`.
use portcullis::all_threads::linux::{self, Syscall};

fn main() {
    let unmaps = Syscall::new(11, [0, 4096, 0, 0, 0, 0]);
    let _ = linux::syscall(&unmaps);
    let _ = linux::prctl(38, 1);
}

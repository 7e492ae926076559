#![forbid(unsafe_code)]
//! A seat has one owner: its type's, which are made through `unsafe`.
use portcullis::all_threads::AllThreads;
use portcullis::all_threads::host::Reach;

fn second<R: Reach>(reach: R) -> AllThreads<R> {
    AllThreads::new(reach)
}

fn main() {}

#![forbid(unsafe_code)]
//! What wakes a thread is called in handlers perhaps.
use portcullis::all_threads::WakeFn;

fn main() {
    let locks = || drop(std::io::stdout().lock());
    let _ = WakeFn::new(&locks);
}

#![forbid(unsafe_code)]
//! A receiver works on one batch at a time.
use portcullis::sigqueue::SignalQueue;

static QUEUE: SignalQueue = SignalQueue::new();

fn main() {
    let mut receiver = QUEUE.receiver().unwrap();
    let first = receiver.recv(None, || {});
    let second = receiver.recv(None, || {});
    drop((first, second));
}

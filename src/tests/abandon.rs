//! A subscription dropped by a signal handler that interrupted the holder of the hub's lock.
//!
//! The handler runs on the holder's own thread while the holder does not move, which is the same
//! as the holder dropping it.

use crate::signal::{self, global::HUB};

#[test]
fn dropped_under_the_lock() {
    let signal = crate::sys::tests::unused_signal();
    let subscription = signal::subscribe([signal]).unwrap();
    let listed = || HUB.lock().entries[signal as usize].subscribers;
    assert_eq!(listed(), 1);
    let held = HUB.lock();
    drop(subscription);
    drop(held);
    assert_eq!(listed(), 1, "nobody has looked yet");
    signal::counts(signal).unwrap();
    assert_eq!(listed(), 0, "the next to give up the lock sees to it");
    assert!(HUB.lock().mailboxes.iter().all(|(_, mailbox)| !mailbox.signals.contains(signal)));
}

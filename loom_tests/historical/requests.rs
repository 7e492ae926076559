//! Requests of the gate, as they were.

use std::cell::Cell;
use std::rc::Rc;

use super::super::Control;
use crate::model::thread;
use crate::model::{Handler, Kernel, SigSet, sig};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, Mutex};

/// This library before who joins a request under way wrote to the word by which it is acknowledged: he finds it
/// under way by two reads, and it has been dealt with already by a handler that has not seen what he wants.
/// Passes: `preempt::joined_request_is_met`.
#[test]
fn request_joined_by_a_look() {
    Control::new("historical::request_joined_by_a_look", "nobody has seen").actors(4).check(|| {
        let kernel = Kernel::new().at_most(2).prompt();
        let words = Rc::new([0; 4].map(AtomicU32::new));
        let seen = Rc::new([const { Cell::new(false) }; 2]);
        let turn = Rc::new(Mutex::new(()));
        let (theirs, told) = (Rc::clone(&words), Rc::clone(&seen));
        let handler = move |_| {
            let [asked, acknowledged, wanted @ ..] = &*theirs;
            let now = asked.fetch_or(0, Acquire);
            if acknowledged.compare_exchange(now.wrapping_sub(1), now, Release, Relaxed).is_ok() {
                for (wanted, seen) in wanted.iter().zip(&*told) {
                    seen.set(seen.get() || wanted.load(Relaxed) == 1);
                }
            }
        };
        kernel.sigaction(sig::USR1, Handler::new(handler).mask(SigSet::ALL));
        let asks = [0, 1].map(|at| {
            let (theirs, turn) = (Rc::clone(&words), Rc::clone(&turn));
            thread::spawn("asks", move || {
                let [asked, acknowledged, wanted @ ..] = &*theirs;
                wanted[at].store(1, Relaxed);
                let turn = turn.lock();
                let done = acknowledged.load(Relaxed);
                let request = match asked.compare_exchange(done, done + 1, Release, Relaxed) {
                    Ok(_) => {
                        kernel.tgkill(thread::main(), sig::USR1);
                        done + 1
                    }
                    Err(under_way) => under_way,
                };
                drop(turn);
                acknowledged.load(Acquire) >= request
            })
        });
        for (at, asks) in asks.into_iter().enumerate() {
            let acknowledged = asks.join();
            assert!(seen[at].get() || !acknowledged, "nobody has seen what was wanted");
        }
    });
}

//! Requests to other threads: Go's (957259b7, S3), and this library's as they were.

use std::cell::Cell;
use std::rc::Rc;

use super::super::{Control, Model};
use crate::model::thread;
use crate::model::{Handler, How, Kernel, SigSet, sig};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, Mutex, relax};

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

/// preemptM and doSigPreempt of signal_unix.go.
struct Pending {
    kernel: Kernel,
    pending: AtomicU32,
    in_external: Cell<bool>,
    sent: Cell<u32>,
    preempted: Cell<u32>,
    handled: Cell<u32>,
}

impl Pending {
    /// `clears`: also when it interrupted external code.
    fn new(kernel: Kernel, clears: bool) -> Rc<Self> {
        let go = Rc::new(Self {
            kernel,
            pending: AtomicU32::new(0),
            in_external: Cell::new(false),
            sent: Cell::new(0),
            preempted: Cell::new(0),
            handled: Cell::new(0),
        });
        let theirs = Rc::clone(&go);
        let handle = move |_| {
            theirs.handled.set(theirs.handled.get() + 1);
            if theirs.in_external.get() {
                if clears {
                    theirs.pending.swap(0, AcqRel);
                }
                return;
            }
            theirs.preempted.set(theirs.preempted.get() + 1);
            theirs.pending.swap(0, AcqRel);
        };
        kernel.sigaction(sig::USR1, Handler::new(handle));
        go
    }

    fn preempt(&self, flag: bool) {
        if !flag || self.pending.compare_exchange(0, 1, AcqRel, Relaxed).is_ok() {
            self.sent.set(self.sent.get() + 1);
            self.kernel.tgkill(thread::main(), sig::USR1);
        }
    }
}

fn swallowed_in_external(clears: bool) {
    let go = Pending::new(Kernel::new().at_most(2).prompt(), clears);
    go.in_external.set(true);
    let theirs = Rc::clone(&go);
    thread::spawn("first", move || theirs.preempt(true)).join();
    go.pending.load(Relaxed);
    go.in_external.set(false);
    // Back inside, in a loop without a safepoint.
    let theirs = Rc::clone(&go);
    thread::spawn("second", move || theirs.preempt(true)).join();
    go.pending.load(Relaxed);
    assert!(go.preempted.get() > 0, "the request is lost for good");
}

/// C9: a signal that is met in external code leaves signalPending set.
/// Passes: `preempt::request_always_acknowledged`.
#[test]
fn signal_pending_sticks() {
    Control::new("historical::signal_pending_sticks", "lost for good")
        .actors(2)
        .check(|| swallowed_in_external(false));
}

#[test]
fn signal_pending_cleared() {
    Model::new("historical::signal_pending_cleared")
        .actors(2)
        .check(|| swallowed_in_external(true));
}

/// A thread execs that has asked for one which masks the signal.
fn exec_beside_masked(waits: bool) {
    let kernel = Kernel::new().at_most(1).prompt();
    let go = Pending::new(kernel, true);
    let old = kernel.sigmask(How::Block, SigSet::of(&[sig::USR1]));
    let theirs = Rc::clone(&go);
    thread::spawn("execs", move || {
        theirs.preempt(true);
        while waits && theirs.pending.load(Acquire) != 0 {
            relax();
        }
    })
    .join();
    kernel.sigmask(How::Set, old);
    let met = (go.handled.get(), go.pending.load(Acquire));
    assert_eq!(met, (1, 0), "met when the mask allows it");
}

/// golang/go#52226 (C11): exec waits until no request is under way, and one is, to a thread that
/// masks the signal. Passes: `historical::exec_waits_for_nobody`, `preempt::one_signal_for_all`,
/// `preempt::masked_thread_is_reported`.
#[test]
fn go52226_request_to_masked_thread() {
    Control::new("historical::go52226_request_to_masked_thread", "no progress")
        .actors(2)
        .stands("execs", "load Acquire -> 1 at requests.rs")
        .check(|| exec_beside_masked(true));
}

/// Claim: who waits for no request goes on, and the thread meets it when it unmasks.
#[test]
fn exec_waits_for_nobody() {
    Model::new("historical::exec_waits_for_nobody").actors(2).check(|| exec_beside_masked(false));
}

/// Two want one thread preempted, which masks the signal.
fn two_preempt(one_under_way: bool) {
    let kernel = Kernel::new().at_most(2).prompt();
    let go = Pending::new(kernel, true);
    kernel.sigmask(How::Block, SigSet::of(&[sig::USR1]));
    let both = ["first", "second"].map(|name| {
        let theirs = Rc::clone(&go);
        thread::spawn(name, move || theirs.preempt(one_under_way))
    });
    both.into_iter().for_each(thread::JoinHandle::join);
    let (sent, handled) = (go.sent.get(), go.handled.get());
    assert!(sent <= handled + 1, "{} signals under way", sent - handled);
}

/// golang/go#37741 (C8): each who wants the thread preempted sends a signal of his own.
/// Passes: `historical::signal_under_way_is_joined`, `preempt::one_signal_for_all`.
#[test]
fn go37741_signal_flood() {
    Control::new("historical::go37741_signal_flood", "2 signals under way")
        .actors(3)
        .check(|| two_preempt(false));
}

/// Claim: who finds one under way sends none.
#[test]
fn signal_under_way_is_joined() {
    Model::new("historical::signal_under_way_is_joined").actors(3).check(|| two_preempt(true));
}

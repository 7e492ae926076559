//! The bugs that this crate's protocols are there to end, each as it was published, each to be
//! found, for its own reason. The shipped protocol passes the same claim: see the model named.

use std::sync::Arc;

mod all_threads;
mod needm;
mod preempt;
mod requests;
mod threads;
mod world;

use super::go::{FIXUP, IDLE, RECEIVING, Wait, delivered_or_defaulted, one_signal, queue};
use super::{Bound, Control, Model};
use crate::model::{Disposition, Kernel, Outcome, thread, violation};
use crate::note::{Note, Park};
use crate::sync::AtomicU32;
use crate::sync::Ordering::{AcqRel, Relaxed, Release};

fn stop_against_one_signal(wait: Wait) {
    let kernel = Kernel::new().at_most(1).may_die();
    let queue = queue(wait);
    let stopping = Arc::clone(&queue);
    delivered_or_defaulted(one_signal(&queue, kernel, move || stopping.stop(kernel)));
}

/// golang/go#14571 (A1): Stop forgets the channel while the signal is queued.
/// Passes: `stop::stop_against_send`.
#[test]
fn go14571_stop_loses_signal() {
    Control::new("historical::go14571_stop_loses_signal", "lost signal")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| stop_against_one_signal(Wait::Not));
}

/// golang/go#21433 (A2): 8ec7a39f's own bug. The handler has read the wish and not yet queued.
/// Passes: `stop::stop_against_send`.
#[test]
fn go21433_stop_without_inflight_count() {
    Control::new("historical::go21433_stop_without_inflight_count", "lost signal")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| stop_against_one_signal(Wait::UntilIdle));
}

/// A2': eb97160f with acquire and release in place of Go's sequential consistency. Handler and
/// Stop each write one word and read the other's: a store buffer.
/// Passes: `go_eb97160f_by_read_modify_write` below, and `stop::stop_against_send`, which has one
/// word.
#[test]
fn inflight_count_without_rmw() {
    Control::new("historical::inflight_count_without_rmw", "lost signal")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| stop_against_one_signal(Wait::CountedByLoad));
}

/// The repaired algorithm passes the model in which the three above are found: what they fail by is
/// their bug, and not the model.
#[test]
fn go_eb97160f_by_read_modify_write() {
    Model::new("historical::go_eb97160f_by_read_modify_write")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| stop_against_one_signal(Wait::Counted));
}

/// golang/go#77076 (A4): Stop waits for a receiver that was never started.
/// Passes: `stop::stop_without_receiver`.
#[test]
fn go77076_stop_hangs_without_receiver() {
    Control::new("historical::go77076_stop_hangs_without_receiver", "no progress")
        .actors(2)
        .max_branches(300)
        .stands("stopper", " at go.rs")
        .check(|| {
            let kernel = Kernel::new().at_most(0);
            let queue = queue(Wait::Counted);
            queue.notify(kernel);
            let stopping = Arc::clone(&queue);
            thread::spawn("stopper", move || stopping.stop(kernel)).join();
        });
}

/// A13: the second of two Stops finds nothing registered and returns while the first still lets
/// the channel be sent to.
/// Passes: `stop::stop_stop`.
#[test]
fn concurrent_stop_delivers_late() {
    Control::new("historical::concurrent_stop_delivers_late", "delivered after Stop returned")
        .actors(4)
        .bound(Bound::At(3))
        .check(|| {
            let kernel = Kernel::new().at_most(1).may_die();
            let queue = queue(Wait::Counted);
            let stopping = Arc::clone(&queue);
            one_signal(&queue, kernel, move || {
                let second = Arc::clone(&stopping);
                let second = thread::spawn("second Stop", move || {
                    second.stop(kernel);
                    second.registry().delivered
                });
                stopping.stop(kernel);
                let at_return = second.join();
                if stopping.registry().delivered != at_return {
                    violation("delivered after Stop returned");
                }
            });
        });
}

/// A12: Ignore takes the wish away before it says that the signal is ignored.
/// Passes: `stop::ignore_against_send`, `stop::notify_against_ignore`.
#[test]
fn ignore_store_order_kills() {
    Control::new("historical::ignore_store_order_kills", "died of a signal")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| {
            let kernel = Kernel::new().at_most(1).may_die();
            let queue = queue(Wait::Counted);
            let ignoring = Arc::clone(&queue);
            one_signal(&queue, kernel, move || ignoring.ignore(kernel));
            assert!(
                kernel.outcome() == Outcome::Running,
                "died of a signal that was wanted or ignored at every moment"
            );
        });
}

/// A14: a channel registered again while it stands in the list of the stopping.
/// Passes: `stop::notify_against_stop`.
#[test]
fn notify_during_stop_delivers_twice() {
    Control::new("historical::notify_during_stop_delivers_twice", "delivered twice")
        .actors(4)
        .bound(Bound::At(3))
        .check(|| {
            let kernel = Kernel::new().at_most(1).may_die();
            let queue = queue(Wait::Counted);
            let stopping = Arc::clone(&queue);
            let (delivered, _) = one_signal(&queue, kernel, move || {
                let again = Arc::clone(&stopping);
                let again = thread::spawn("notify", move || again.notify(kernel));
                stopping.stop(kernel);
                again.join();
            });
            if delivered > 1 {
                violation("one signal was delivered twice to one channel");
            }
        });
}

/// A15: Reset neither waits nor keeps the channel for what is queued.
/// Passes: `stop::reset_against_send`.
#[test]
fn reset_drops_queued() {
    Control::new("historical::reset_drops_queued", "lost signal")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| {
            let kernel = Kernel::new().at_most(1).may_die();
            let queue = queue(Wait::Counted);
            let resetting = Arc::clone(&queue);
            delivered_or_defaulted(one_signal(&queue, kernel, move || resetting.reset(kernel)));
        });
}

/// golang/go#43149 (D2): the initiator wakes the parked threads, and the receiver sleeps on
/// another note.
/// Passes: `sigqueue::fixup_wakes_receiver`.
#[test]
fn go43149_receiver_sleeps_through_fixup() {
    Control::new("historical::go43149_receiver_sleeps_through_fixup", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 2 at note.rs")
        .stands("receiver", "futex wait: sleeps 2 at note.rs")
        .check(|| {
            let queue = queue(Wait::Counted);
            let shared = Arc::new((Note::new(), Note::new()));
            let (theirs, acknowledged) = (Arc::clone(&queue), Arc::clone(&shared));
            let receiver = thread::spawn("receiver", move || {
                // A fixup would be seen here, on the way round.
                theirs.recv();
                acknowledged.1.wake();
            });
            // fn is published for the thread, and its park note woken.
            shared.0.wake();
            shared.1.sleep(None);
            receiver.join();
        });
}

/// An initiator that stops the world and has the receiver, asleep, go round by FIXUP. The receiver
/// needs the world to run before it can take a step.
fn fixup_with_the_world_stopped(signals: u32) {
    let kernel = Kernel::new().at_most(signals);
    let queue = queue(Wait::Counted);
    queue.notify(kernel);
    queue.state.store(RECEIVING, Release);
    let world_runs = Arc::new(Note::new());
    let (theirs, world) = (Arc::clone(&queue), Arc::clone(&world_runs));
    let initiator = thread::spawn("initiator", move || {
        if theirs.state.compare_exchange(RECEIVING, FIXUP, AcqRel, Relaxed).is_ok() {
            theirs.note.wake();
        }
        // The fixups are waited for here; then the world starts.
        world.wake();
    });
    if signals != 0 {
        kernel.tgkill(initiator.id(), 1);
    }
    queue.note.sleep(None);
    world_runs.sleep(None);
    let _ = queue.state.compare_exchange(FIXUP, IDLE, AcqRel, Relaxed);
    initiator.join();
}

/// golang/go#44193 (D3): a signal lands on the initiator, which has the world stopped, while the
/// state says FIXUP: the handler waits for the receiver, the receiver for the world.
/// Passes: `sigqueue::fixup_with_signal_on_initiator`.
#[test]
fn go44193_signal_while_the_world_is_stopped() {
    Control::new("historical::go44193_signal_while_the_world_is_stopped", "no progress")
        .actors(2)
        .max_branches(400)
        .stands("initiator", "in the handler of SIGHUP, ")
        .stands("main", "futex wait: sleeps 2 at note.rs")
        .check(|| fixup_with_the_world_stopped(1));
}

/// The same without the signal ends: what the control above fails by is the handler's wait.
#[test]
fn go44193_without_a_signal() {
    Model::new("historical::go44193_without_a_signal")
        .actors(2)
        .max_branches(400)
        .check(|| fixup_with_the_world_stopped(0));
}

/// signal-hook's half lock: the count of handlers in progress is copied into the child of a fork,
/// where nobody will ever take it down.
/// Passes: `fork::fork_while_handler_sends`.
#[test]
fn signal_hook_fork_in_handler() {
    Control::new("historical::signal_hook_fork_in_handler", "a reader that is not in the child")
        .actors(2)
        .check(|| {
            let kernel = Kernel::new().at_most(1);
            let readers = Arc::new(AtomicU32::new(0));
            let theirs = Arc::clone(&readers);
            kernel.sigaction(
                1,
                Disposition::handler(move |_| {
                    theirs.fetch_add(1, AcqRel);
                    theirs.fetch_sub(1, AcqRel);
                }),
            );
            let other = thread::spawn("handler's thread", move || kernel.raise(1));
            let copied = readers.fetch_add(0, AcqRel);
            kernel.fork(move || {
                // `store` in the child waits until nobody reads.
                if copied != 0 {
                    violation("the child waits for a reader that is not in the child");
                }
            });
            other.join();
        });
}

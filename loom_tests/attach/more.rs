//! What the historical controls ask beyond the models of each step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering as Std};

use super::host::{Before, LARGE, SETXID, SMALL, Shared};
use super::{Bound, Model};
use crate::attach::{AttachError, Binding, ThreadState};
use crate::extra_list::Taker;
use crate::model::{Handler, Kernel, SigSet, sig, thread, violation};
use crate::note::{Note, Park};
use crate::sync::AtomicU32;
use crate::sync::Ordering::Relaxed;

/// Claim: a thread with a stack of its host's and one without have a record in turn, and take a
/// signal meanwhile and afterwards: their handlers never run on one stack (golang/go#22930).
/// Actors: two threads and their handlers. Exhaustive, prompt. Fails if the host's stack is not put back
/// before the record is given, or comes along with it.
#[test]
fn two_handlers_two_stacks() {
    for (stack, name) in [(None, "none"), (Some(SMALL), "small"), (Some(LARGE), "large")] {
        let name = format!("attach::two_handlers_two_stacks: {name}");
        Model::new(name).actors(2).check(move || {
            let kernel = Kernel::new().at_most(1).prompt();
            let shared = Shared::new(kernel, 0);
            let busy = AtomicU32::new(0);
            let on_its_stack = move |_| {
                // One that has none runs on its own thread's ordinary stack.
                let bit = kernel.altstack().map_or(0, |stack| 1 << (stack % 32));
                if busy.fetch_or(bit, Relaxed) & bit != 0 {
                    violation("two handlers on one stack");
                }
                busy.fetch_and(!bit, Relaxed);
            };
            kernel.sigaction(sig::USR1, Handler::new(on_its_stack).onstack());
            let _ = kernel.sigaltstack(stack);
            let token = shared.attach(Binding::Unbound);
            let index = token.index();
            drop(token);
            let theirs = shared.clone();
            let other = thread::spawn("other", move || {
                let token = theirs.attach(Binding::Unbound);
                assert_eq!(token.index(), index, "the same record");
                kernel.raise(sig::USR1);
                drop(token);
            });
            kernel.raise(sig::USR1);
            other.join();
            shared.assert_all_spare();
        });
    }
}

/// Claim: a handler attaches while another thread holds every record that threads may have, and
/// that one waits for the handler: on a thread that does nothing of the kind, and on one that
/// waits for a record itself.
/// Actors: the holder, a thread, its handler. Bound 4. Fails, as a deadlock, if the wait is
/// masked; as a handler refused, without the reserve.
#[test]
fn handler_needs_no_holder() {
    for waits in [false, true] {
        let name = format!("attach::handler_needs_no_holder: waits {waits}");
        Model::new(name).actors(3).bound(Bound::At(4)).check(move || {
            let kernel = Kernel::new().at_most(1);
            let shared = Shared::new(kernel, 1);
            let handled = Arc::new(Note::new());
            let over = Arc::new(Note::new());
            let (theirs, note) = (shared.clone(), Arc::clone(&handled));
            let handle = move |_| {
                theirs.handle(kernel);
                note.wake();
            };
            kernel.sigaction(sig::USR1, Handler::new(handle).onstack());
            // Not by `attach`, which has one more created.
            let list = shared.lot().list();
            let take = || list.take(Taker::Thread).ok()?.redeem();
            let held: Vec<_> = core::iter::from_fn(take).collect();
            let (theirs, asleep) = (shared.clone(), Arc::clone(&over));
            let other = thread::spawn("other", move || {
                if waits {
                    let token = theirs.attach(Binding::Unbound);
                    theirs.use_fresh(&token);
                } else {
                    asleep.sleep(None);
                }
            });
            kernel.tgkill(other.id(), sig::USR1);
            handled.sleep(None);
            held.into_iter().for_each(|ticket| list.give(ticket).unwrap());
            over.wake();
            other.join();
            shared.assert_all_spare();
        });
    }
}

/// Claim: a signal that the host leaves open for its C library lands between two steps of attach,
/// and of detach, too (golang/go#42494); a handler of it that attaches is refused there, and finds
/// and leaves all in order everywhere else.
/// Actors: one thread and its handler, a sender. Exhaustive. Fails, after the last execution, if
/// that signal is masked with the others.
#[test]
fn open_signal_in_transition() {
    // Of the whole exploration: whether it landed in an attach, in a detach.
    static LANDED: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];
    Model::new("attach::open_signal_in_transition").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let shared = Shared::with_open(kernel, 1, SigSet::of(&[SETXID]));
        let (theirs, phase) = (shared.clone(), Arc::new(AtomicUsize::new(0)));
        let now = Arc::clone(&phase);
        let handle = move |_| {
            if theirs.lot().state() != ThreadState::InTransition {
                return theirs.handle(kernel);
            }
            LANDED[now.load(Std::Relaxed)].store(true, Std::Relaxed);
            let refused = theirs.lot().attach_in_handler();
            assert_eq!(refused.unwrap_err(), AttachError::InTransition);
            assert_eq!(theirs.lot().state(), ThreadState::InTransition);
        };
        kernel.sigaction(SETXID, Handler::new(handle).onstack());
        let before = Before::note(kernel);
        let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), SETXID));
        let token = shared.attach(Binding::Unbound);
        shared.use_fresh(&token);
        phase.store(1, Std::Relaxed);
        drop(token);
        sender.join();
        before.check();
        shared.assert_all_spare();
    });
    let landed = LANDED.each_ref().map(|landed| landed.load(Std::Relaxed));
    assert_eq!(landed, [true; 2], "never in an attach, in a detach");
}

//! What is sent to a thread while it plays the child of its fork.

use super::counting;
use crate::loom_tests::{Control, Model};
use crate::model::{Disposition, How, Kernel, Outcome, SigSet, sig, thread, violation};
use crate::sync::AtomicU32;
use crate::sync::Ordering::Relaxed;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32 as Plain;

/// Another thread sends the forking one a signal, or the process; the child sends itself one, or not. A handler in
/// the child is a violation. Returns how often the handler ran.
fn sent_to_the_forking(send: fn(Kernel), raises: bool) -> u32 {
    let kernel = Kernel::new().at_most(1);
    let (count, in_child) = (Arc::new(Plain::new(0)), Rc::new(Cell::new(false)));
    let (counts, child) = (counting(&count), Rc::clone(&in_child));
    kernel.sigaction(
        sig::USR1,
        Disposition::handler(move |signal| {
            if child.get() {
                violation("landed in the child");
            }
            counts(signal);
        }),
    );
    let old = kernel.sigmask(How::Block, SigSet::ALL);
    let sender = thread::spawn("sender", move || send(kernel));
    kernel.sigmask(How::Set, old);
    let outcome = kernel.fork(move || {
        in_child.set(true);
        if raises {
            kernel.raise(sig::USR1);
        }
        let word = AtomicU32::new(0);
        word.load(Relaxed);
        word.store(1, Relaxed);
        in_child.set(false);
    });
    assert_eq!(outcome, Outcome::Running);
    sender.join();
    count.load(Relaxed)
}

/// Claim: what is sent to a thread that forks, or to its process, is handled in the parent, once, and never in the
/// child.
/// Actors: sender, forking thread. Exhaustive. Fails if it lands while the thread plays the child.
#[test]
fn signal_for_the_parent() {
    Model::new("kernel::signal_for_the_parent").actors(2).check(|| {
        let send = |kernel: Kernel| kernel.tgkill(thread::main(), sig::USR1);
        assert_eq!(sent_to_the_forking(send, false), 1);
    });
}

#[test]
fn signal_for_the_parents_process() {
    Model::new("kernel::signal_for_the_parents_process").actors(2).check(|| {
        assert_eq!(sent_to_the_forking(|kernel| kernel.kill(sig::USR1), false), 1);
    });
}

/// What the child sends itself does land there. Passes: `kernel::signal_for_the_parent`.
#[test]
fn signal_of_the_child() {
    Control::new("kernel::signal_of_the_child", "landed in the child").actors(2).check(|| {
        sent_to_the_forking(|_| (), true);
    });
}

/// Claim: what is ignored by the parent when it is sent, or while it waits, is gone when its thread is back.
/// Actors: sender, forking thread. Exhaustive.
#[test]
fn ignored_while_away() {
    Model::new("kernel::ignored_while_away").actors(2).check(|| {
        let kernel = Kernel::new();
        let count = Arc::new(Plain::new(0));
        kernel.sigaction(sig::USR1, Disposition::handler(counting(&count)));
        let old = kernel.sigmask(How::Block, SigSet::ALL);
        let sender = thread::spawn("sender", move || {
            kernel.tgkill(thread::main(), sig::USR1);
            kernel.sigaction(sig::USR1, Disposition::Ignore);
        });
        kernel.fork(|| _ = kernel.sigmask(How::Set, SigSet::EMPTY));
        sender.join();
        kernel.sigmask(How::Set, old);
        assert_eq!(count.load(Relaxed), 0);
    });
}

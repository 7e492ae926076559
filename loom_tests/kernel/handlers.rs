//! Handlers among themselves: nesting, locks, stacks.

use super::interrupt;
use crate::loom_tests::{Control, Model};
use crate::model::{Disposition, Handler, How, Kernel, SigSet, set_attached, sig, thread};
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicU32, AtomicUsize, Mutex};
use std::sync::Arc;
use std::sync::atomic::AtomicU32 as Plain;

/// How deep SIGUSR1's handler gets when it raises SIGUSR1, or `other`, in itself.
fn depth(handler: impl FnOnce(Handler) -> Handler, other: i32) -> usize {
    let kernel = Kernel::new();
    let deepest = Arc::new(AtomicUsize::new(0));
    let mine = Arc::clone(&deepest);
    let raised = Plain::new(0);
    let nested = move |_| {
        mine.store(mine.load(Relaxed).max(kernel.depth()), Relaxed);
        if raised.fetch_add(1, Relaxed) == 0 {
            kernel.raise(other);
        }
    };
    let handler = handler(Handler::new(nested));
    kernel.sigaction(sig::USR2, handler.clone());
    kernel.sigaction(sig::USR1, handler);
    kernel.raise(sig::USR1);
    deepest.load(Relaxed)
}

/// Claim: a handler is interrupted by other signals, but neither by its own nor by those of its
/// mask; with `SA_NODEFER` by its own too.
#[test]
fn handlers_nest() {
    Model::new("kernel::handlers_nest").actors(1).check(|| {
        let both = SigSet::of(&[sig::USR1, sig::USR2]);
        assert_eq!(depth(|h| h, sig::USR1), 1, "own signal, deferred");
        assert_eq!(depth(Handler::nodefer, sig::USR1), 2, "own signal, not deferred");
        assert_eq!(depth(|h| h, sig::USR2), 2, "another signal");
        assert_eq!(depth(|h| h.mask(both), sig::USR2), 1, "another signal, in sa_mask");
    });
}

/// A handler that relies on not being interrupted takes a lock.
fn locking_handler(nodefer: bool) {
    let kernel = Kernel::new();
    let lock = Arc::new(Mutex::new(0));
    let handler = Handler::new(move |_| {
        let mut held = lock.lock();
        *held += 1;
        if *held == 1 {
            kernel.raise(sig::USR1);
        }
    });
    kernel.sigaction(sig::USR1, if nodefer { handler.nodefer() } else { handler });
    kernel.raise(sig::USR1);
}

#[test]
fn handler_deferred() {
    Model::new("kernel::handler_deferred").actors(1).check(|| locking_handler(false));
}

/// Passes: `kernel::handler_deferred`.
#[test]
fn handler_not_deferred() {
    let reason = "self-deadlock: handler awaits a lock held by the frame it interrupted";
    Control::new("kernel::handler_not_deferred", reason).actors(1).check(|| locking_handler(true));
}

/// A lock that the handler takes too.
fn shared_lock(mask: SigSet) {
    let kernel = Kernel::new().at_most(1);
    let lock = Arc::new(Mutex::new(0));
    let theirs = Arc::clone(&lock);
    interrupt(Disposition::handler(move |_| *lock.lock() += 1), move || {
        let old = kernel.sigmask(How::Block, mask);
        *theirs.lock() += 1;
        kernel.sigmask(How::Set, old);
    });
}

/// Claim: a handler may take a lock that no frame below it holds.
#[test]
fn lock_masked() {
    Model::new("kernel::lock_masked").actors(2).check(|| shared_lock(SigSet::ALL));
}

/// Passes: `kernel::lock_masked`.
#[test]
fn lock_not_masked() {
    let reason = "self-deadlock: handler awaits a lock held by the frame it interrupted";
    Control::new("kernel::lock_not_masked", reason).actors(2).check(|| shared_lock(SigSet::EMPTY));
}

/// Attaches a thread: its alternate stack before or after it counts as attached.
fn attach(stack_first: bool) {
    let kernel = Kernel::new().at_most(1);
    interrupt(Handler::new(|_| ()).onstack(), move || {
        let stack = || assert_eq!(kernel.sigaltstack(Some(1)), Ok(None));
        let word = AtomicU32::new(0);
        if stack_first {
            stack();
            set_attached(true);
            word.store(1, Relaxed);
        } else {
            set_attached(true);
            word.store(1, Relaxed);
            stack();
        }
        set_attached(false);
    });
}

/// Claim: the handlers of an attached thread run on its own signal stack.
#[test]
fn own_stack() {
    Model::new("kernel::own_stack").actors(2).check(|| attach(true));
}

/// Passes: `kernel::own_stack`.
#[test]
fn own_stack_too_late() {
    Control::new("kernel::own_stack_too_late", "wrong stack").actors(2).check(|| attach(false));
}

/// Claim: the stack that a handler runs on cannot be taken away from under it.
#[test]
fn stack_in_use() {
    Model::new("kernel::stack_in_use").actors(1).check(|| {
        let kernel = Kernel::new();
        let handler = Handler::new(move |_| {
            assert!(kernel.on_altstack());
            assert_eq!(kernel.sigaltstack(None), Err(()));
        });
        kernel.sigaction(sig::USR1, handler.onstack());
        assert_eq!(kernel.sigaltstack(Some(1)), Ok(None));
        kernel.raise(sig::USR1);
        assert_eq!(kernel.sigaltstack(None), Ok(Some(1)));
    });
}

/// The example of the module's documentation, with the increment given.
fn counter(increment: impl FnOnce(&AtomicU32)) {
    let kernel = Kernel::new().at_most(1);
    let hits = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&hits);
    let handler = move |_| _ = count.fetch_add(1, Relaxed);
    kernel.sigaction(sig::USR1, Disposition::handler(handler));

    let sender = thread::spawn("sender", move || {
        kernel.tgkill(thread::main(), sig::USR1);
    });
    increment(&hits);
    sender.join();
    assert_eq!(hits.load(Relaxed), 2);
}

/// Passes: `kernel::documented_example_mended`.
#[test]
fn documented_example() {
    Control::new("kernel::documented_example", "left: 1 /  right: 2").actors(2).check(|| {
        counter(|hits| {
            let read = hits.load(Relaxed);
            hits.store(read + 1, Relaxed);
        });
    });
}

/// Claim: the documented example holds once its increment is one step. The join is a kernel
/// call, so the signal has landed by the end.
#[test]
fn documented_example_mended() {
    Model::new("kernel::documented_example_mended")
        .actors(2)
        .check(|| counter(|hits| _ = hits.fetch_add(1, Relaxed)));
}

//! The simulated kernel's own tests: each rule once kept and, where a model could break it, once
//! broken.

use super::{Bound, Control, Model};
use crate::model::futex::{self, Deadline, Waited};
use crate::model::{
    Disposition, Handler, How, Kernel, Outcome, SigSet, hook, sig, thread, violation,
};
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Mutex, Ordering, UnsafeCell};
use Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU32 as Plain;

/// A cell that says when it is shared without synchronisation.
struct Payload(UnsafeCell<u32>);

// SAFETY: loom checks every access.
unsafe impl Sync for Payload {}
// SAFETY: a number.
unsafe impl Send for Payload {}

impl Payload {
    fn new() -> Self {
        Self(UnsafeCell::new(0))
    }
    #[track_caller]
    fn set(&self, value: u32) {
        // SAFETY: loom checks that nobody else has access.
        self.0.with_mut(|cell| unsafe { *cell = value });
    }
    #[track_caller]
    fn get(&self) -> u32 {
        // SAFETY: loom checks that nobody writes.
        self.0.with(|cell| unsafe { *cell })
    }
}

/// Claim: a signal lands before each operation of its target, before the end of the target, or
/// not at all, and nowhere else.
#[test]
fn lands_everywhere() {
    let places = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&places);
    let executions = Model::new("kernel::lands_everywhere")
        .actors(2)
        .check(move || {
            let kernel = Kernel::new().at_most(1);
            let old = kernel.sigmask(How::Block, SigSet::ALL);
            let done = Arc::new(Plain::new(0));
            let landed = Arc::new(Plain::new(99));
            let (count, place) = (Arc::clone(&done), Arc::clone(&landed));
            kernel.sigaction(
                sig::USR1,
                Disposition::handler(move |_| place.store(count.load(Relaxed), Relaxed)),
            );
            let target = thread::spawn("target", move || {
                kernel.sigmask(How::Set, old);
                let word = AtomicU32::new(0);
                let step = || done.fetch_add(1, Relaxed);
                word.store(1, Relaxed);
                step();
                word.fetch_add(1, Relaxed);
                step();
                word.load(Relaxed);
                step();
            });
            kernel.tgkill(target.id(), sig::USR1);
            target.join();
            seen.lock().unwrap().insert(landed.load(Relaxed));
        });
    assert_eq!(*places.lock().unwrap(), BTreeSet::from([0, 1, 2, 3, 99]));
    assert!(
        executions < 60,
        "{executions} executions for five landing places"
    );
}

/// Runs `body` on a thread of its own and sends it one SIGUSR1, handled by `handler`.
fn interrupt(handler: impl Into<Disposition>, body: impl FnOnce() + 'static) {
    let kernel = Kernel::current();
    kernel.sigaction(sig::USR1, handler);
    let target = thread::spawn("target", body);
    kernel.tgkill(target.id(), sig::USR1);
    target.join();
}

/// Two counters that the target moves one after the other, and a check that it stood still.
#[derive(Clone)]
struct Pair(Arc<(AtomicU32, AtomicU32)>);

impl Pair {
    fn new() -> Self {
        Self(Arc::new((AtomicU32::new(0), AtomicU32::new(0))))
    }
    fn step(&self) {
        self.0.0.fetch_add(1, Relaxed);
        self.0.1.fetch_add(1, Relaxed);
    }
    fn newest(&self) -> (u32, u32) {
        (
            self.0.0.fetch_add(0, Relaxed),
            self.0.1.fetch_add(0, Relaxed),
        )
    }
    fn check_stands_still(&self) {
        if self.newest() != self.newest() {
            violation("the interrupted code moved");
        }
    }
}

/// Claim: while a handler runs, the code it interrupted does not.
#[test]
fn nested() {
    Model::new("kernel::nested").actors(2).check(|| {
        let _ = Kernel::new().at_most(1);
        let pair = Pair::new();
        let theirs = pair.clone();
        interrupt(
            Disposition::handler(move |_| pair.check_stands_still()),
            move || {
                theirs.step();
            },
        );
    });
}

/// A handler that is a thread, as models without this kernel have it.
#[test]
fn nested_not_as_a_thread() {
    Control::new(
        "kernel::nested_not_as_a_thread",
        "the interrupted code moved",
    )
    .actors(2)
    .check(|| {
        let pair = Pair::new();
        let theirs = pair.clone();
        let target = thread::spawn("target", move || theirs.step());
        pair.check_stands_still();
        target.join();
    });
}

/// Runs a region with or without its signal masked; the handler must not find it open.
fn region(masked: bool) {
    let kernel = Kernel::new().at_most(1);
    let open = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&open);
    let handler = move |_| {
        if open.load(Relaxed) {
            violation("handler in the masked region");
        }
    };
    interrupt(Disposition::handler(handler), move || {
        let set = if masked {
            SigSet::of(&[sig::USR1])
        } else {
            SigSet::EMPTY
        };
        let old = kernel.sigmask(How::Block, set);
        theirs.store(true, Relaxed);
        theirs.store(false, Relaxed);
        kernel.sigmask(How::Set, old);
    });
}

/// Claim: no handler of a masked signal runs.
#[test]
fn masked() {
    Model::new("kernel::masked")
        .actors(2)
        .check(|| region(true));
}

#[test]
fn masked_not_at_all() {
    Control::new("kernel::masked_not_at_all", "handler in the masked region")
        .actors(2)
        .check(|| region(false));
}

/// A handler that counts.
fn counting(count: &Arc<Plain>) -> impl Fn(i32) + use<> {
    let count = Arc::clone(count);
    move |_| _ = count.fetch_add(1, Relaxed)
}

/// Claim: a masked signal stays pending, once, and is acted on before the unmasking call returns.
#[test]
fn pending() {
    Model::new("kernel::pending").actors(1).check(|| {
        let kernel = Kernel::new();
        let count = Arc::new(Plain::new(0));
        kernel.sigaction(sig::USR1, Disposition::handler(counting(&count)));
        let old = kernel.sigmask(How::Block, SigSet::ALL);
        kernel.raise(sig::USR1);
        kernel.raise(sig::USR1);
        kernel.kill(sig::USR1);
        assert_eq!(count.load(Relaxed), 0);
        kernel.sigmask(How::Set, old);
        assert_eq!(
            count.load(Relaxed),
            2,
            "one pending for the thread, one for the process"
        );
    });
}

#[test]
fn pending_not_dropped() {
    Control::new("kernel::pending_not_dropped", "came after all")
        .actors(1)
        .check(|| {
            let kernel = Kernel::new();
            kernel.sigaction(
                sig::USR1,
                Disposition::handler(|_| violation("came after all")),
            );
            let old = kernel.sigmask(How::Block, SigSet::ALL);
            kernel.raise(sig::USR1);
            kernel.sigmask(How::Set, old);
        });
}

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
        assert_eq!(
            depth(Handler::nodefer, sig::USR1),
            2,
            "own signal, not deferred"
        );
        assert_eq!(depth(|h| h, sig::USR2), 2, "another signal");
        assert_eq!(
            depth(|h| h.mask(both), sig::USR2),
            1,
            "another signal, in sa_mask"
        );
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
    Model::new("kernel::handler_deferred")
        .actors(1)
        .check(|| locking_handler(false));
}

#[test]
fn handler_not_deferred() {
    let reason = "self-deadlock: handler awaits a lock held by the frame it interrupted";
    Control::new("kernel::handler_not_deferred", reason)
        .actors(1)
        .check(|| locking_handler(true));
}

/// Two threads either of which may take a signal; returns how many did, and which.
fn takers(send: impl Fn(Kernel, [thread::ThreadId; 2])) -> Vec<usize> {
    let kernel = Kernel::new().at_most(1);
    let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mine = Arc::clone(&taken);
    kernel.sigaction(
        sig::USR1,
        Disposition::handler(move |_| {
            let me = usize::from(thread::current() == thread::main());
            mine.lock().unwrap().push(me);
        }),
    );
    let old = kernel.sigmask(How::Block, SigSet::ALL);
    let other = thread::spawn("other", move || _ = kernel.sigmask(How::Set, old));
    send(kernel, [thread::current(), other.id()]);
    kernel.sigmask(How::Set, old);
    other.join();
    taken.lock().unwrap().clone()
}

/// Claim: a process-directed signal is taken by exactly one thread, whichever.
#[test]
fn taken_by_one() {
    let seen = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&seen);
    Model::new("kernel::taken_by_one").actors(2).check(move || {
        let taken = takers(|kernel, _| kernel.kill(sig::USR1));
        assert_eq!(taken.len(), 1);
        all.lock().unwrap().insert(taken[0]);
    });
    assert_eq!(
        *seen.lock().unwrap(),
        BTreeSet::from([0, 1]),
        "either thread may take it"
    );
}

#[test]
fn taken_by_two() {
    Control::new("kernel::taken_by_two", "taken twice")
        .actors(2)
        .check(|| {
            let taken = takers(|kernel, both| {
                both.iter()
                    .for_each(|&thread| kernel.tgkill(thread, sig::USR1));
            });
            if taken.len() == 2 {
                violation("taken twice");
            }
        });
}

/// Claim: the default action ends the process, or does nothing, by the signal's number.
#[test]
fn default_action() {
    Model::new("kernel::default_action").actors(1).check(|| {
        let kernel = Kernel::new();
        for harmless in [sig::CHLD, sig::URG, sig::WINCH, sig::CONT] {
            kernel.raise(harmless);
        }
        assert!(kernel.alive());
        kernel.raise(sig::TERM);
        assert_eq!(kernel.outcome(), Outcome::DiedOf(sig::TERM));
        kernel.raise(sig::INT);
        kernel.exit(1);
        assert_eq!(
            kernel.outcome(),
            Outcome::DiedOf(sig::TERM),
            "the first end counts"
        );
        violation("nothing after death counts");
    });
}

/// Claim: what is ignored, or pending when it becomes ignored, is gone.
#[test]
fn ignored() {
    Model::new("kernel::ignored").actors(1).check(|| {
        let kernel = Kernel::new();
        kernel.sigaction(sig::TERM, Disposition::Ignore);
        kernel.raise(sig::TERM);
        let old = kernel.sigmask(How::Block, SigSet::ALL);
        kernel.raise(sig::TERM);
        kernel.sigaction(sig::USR1, Disposition::Ignore);
        kernel.sigaction(sig::TERM, Disposition::Ignore);
        kernel.sigaction(
            sig::TERM,
            Disposition::handler(|_| violation("it was ignored")),
        );
        kernel.sigmask(How::Set, old);
        assert!(kernel.alive());
    });
}

#[test]
fn ignored_too_late() {
    Control::new("kernel::ignored_too_late", "died of it")
        .actors(2)
        .check(|| {
            let kernel = Kernel::new().at_most(1);
            let sender = thread::spawn("sender", move || {
                kernel.tgkill(thread::main(), sig::TERM);
            });
            kernel.sigaction(sig::TERM, Disposition::Ignore);
            sender.join();
            assert!(kernel.alive(), "died of it");
        });
}

/// Re-raises in a handler, after resetting the disposition or without.
fn reraise(reset: bool) -> Outcome {
    let kernel = Kernel::new();
    let once = Plain::new(0);
    let handler = Disposition::handler(move |signal| {
        if once.fetch_add(1, Relaxed) == 0 {
            if reset {
                kernel.sigaction(signal, Disposition::Default);
            }
            kernel.raise(signal);
            assert!(kernel.alive(), "masked in its own handler");
        }
    });
    kernel.sigaction(sig::TERM, handler);
    kernel.raise(sig::TERM);
    kernel.outcome()
}

/// Claim: a signal re-raised in its handler meets the disposition in force when that returns.
#[test]
fn reraised() {
    Model::new("kernel::reraised")
        .actors(1)
        .check(|| assert_eq!(reraise(true), Outcome::DiedOf(sig::TERM)));
}

#[test]
fn reraised_to_itself() {
    Control::new("kernel::reraised_to_itself", "did not die")
        .actors(1)
        .check(|| {
            if reraise(false) == Outcome::Running {
                violation("did not die");
            }
        });
}

/// Claim: `SA_RESETHAND` serves one signal; the next meets the default.
#[test]
fn resethand() {
    Model::new("kernel::resethand").actors(1).check(|| {
        let kernel = Kernel::new();
        kernel.sigaction(sig::TERM, Handler::new(|_| ()).resethand());
        kernel.raise(sig::TERM);
        assert!(kernel.alive());
        kernel.raise(sig::TERM);
        assert!(!kernel.alive());
    });
}

/// A thread asleep that only its handler can wake.
fn sleeper(mask: SigSet) {
    let kernel = Kernel::new().at_most(1);
    let word = Arc::new(AtomicU32::new(0));
    let mine = Arc::clone(&word);
    kernel.sigaction(
        sig::USR1,
        Disposition::handler(move |_| mine.store(1, Relaxed)),
    );
    let sender = thread::spawn("sender", move || {
        kernel.tgkill(thread::main(), sig::USR1);
    });
    kernel.sigmask(How::Block, mask);
    while word.load(Relaxed) == 0 {
        futex::wait(&word, 0, None);
    }
    sender.join();
}

/// Claim: a signal wakes a sleeper to run its handler, and the sleep ends.
#[test]
fn sleeper_runs_handler() {
    Model::new("kernel::sleeper_runs_handler")
        .actors(2)
        .check(|| sleeper(SigSet::EMPTY));
}

#[test]
fn sleeper_with_mask() {
    Control::new("kernel::sleeper_with_mask", "deadlock")
        .actors(2)
        .check(|| sleeper(SigSet::ALL));
}

/// Claim: waits for a lock and for a thread are interrupted too.
#[test]
fn blocked_runs_handler() {
    Model::new("kernel::blocked_runs_handler")
        .actors(2)
        .check(|| {
            let kernel = Kernel::new().at_most(1);
            let word = Arc::new(AtomicU32::new(0));
            let lock = Arc::new(Mutex::new(()));
            let (mine, locked) = (Arc::clone(&word), Arc::clone(&lock));
            kernel.sigaction(
                sig::USR1,
                Disposition::handler(move |_| {
                    mine.store(1, Relaxed);
                    futex::wake_one(&mine);
                }),
            );
            let other = thread::spawn("other", move || {
                let held = locked.lock();
                kernel.tgkill(thread::main(), sig::USR1);
                while word.load(Relaxed) == 0 {
                    futex::wait(&word, 0, None);
                }
                drop(held);
            });
            drop(lock.lock());
            other.join();
        });
}

/// One sleeper, one waker.
fn wake(store_first: bool, check: bool) {
    let word = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&word);
    let waker = thread::spawn("waker", move || {
        if store_first {
            theirs.store(1, Release);
            futex::wake_one(&theirs);
        } else {
            futex::wake_one(&theirs);
            theirs.store(1, Release);
        }
    });
    while word.load(Acquire) == 0 {
        // Without the check: sleep on whatever is there by now.
        let expected = if check { 0 } else { word.fetch_add(0, Relaxed) };
        futex::wait(&word, expected, None);
    }
    waker.join();
}

/// Claim: the check of the word and falling asleep are one step for a waker.
#[test]
fn wake_not_lost() {
    Model::new("kernel::wake_not_lost")
        .actors(2)
        .check(|| wake(true, true));
}

#[test]
fn wake_before_store() {
    Control::new("kernel::wake_before_store", "deadlock")
        .actors(2)
        .check(|| wake(false, true));
}

#[test]
fn wait_without_check() {
    Control::new("kernel::wait_without_check", "deadlock")
        .actors(2)
        .check(|| wake(true, false));
}

/// Hands a payload over a word; `publish` is the waker's order.
fn payload_over_futex(publish: Ordering) {
    let shared = Arc::new((AtomicU32::new(0), Payload::new()));
    let theirs = Arc::clone(&shared);
    let waker = thread::spawn("waker", move || {
        theirs.1.set(1);
        theirs.0.store(1, publish);
        futex::wake_one(&theirs.0);
    });
    while shared.0.load(Acquire) == 0 {
        futex::wait(&shared.0, 0, None);
    }
    assert_eq!(shared.1.get(), 1);
    waker.join();
}

/// Claim: the futex itself publishes nothing that a model could lean on.
#[test]
fn futex_publishes_by_word() {
    Model::new("kernel::futex_publishes_by_word")
        .actors(2)
        .check(|| payload_over_futex(Release));
}

#[test]
fn futex_publishes_nothing() {
    Control::new("kernel::futex_publishes_nothing", "Causality violation")
        .actors(2)
        .check(|| payload_over_futex(Relaxed));
}

/// Claim: a deadline comes when the clock says, asleep or not; a sleep without one goes on.
#[test]
fn deadline() {
    let outcomes = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&outcomes);
    Model::new("kernel::deadline").actors(3).check(move || {
        let kernel = Kernel::new();
        let word = Arc::new(AtomicU32::new(0));
        let theirs = Arc::clone(&word);
        let deadline = Deadline::after(core::time::Duration::from_secs(1));
        let clock = thread::spawn("clock", move || kernel.expire_deadlines());
        let waker = thread::spawn("waker", move || {
            theirs.store(1, Relaxed);
            futex::wake_one(&theirs);
        });
        let waited = futex::wait(&word, 0, Some(&deadline));
        seen.lock().unwrap().insert(waited == Waited::TimedOut);
        clock.join();
        waker.join();
    });
    assert_eq!(outcomes.lock().unwrap().len(), 2, "either may come first");
}

#[test]
fn deadline_never() {
    Control::new("kernel::deadline_never", "deadlock")
        .actors(1)
        .check(|| {
            let deadline = Deadline::after(core::time::Duration::from_secs(1));
            futex::wait(&AtomicU32::new(0), 0, Some(&deadline));
        });
}

/// A lock that the handler takes too.
fn shared_lock(mask: SigSet) {
    let kernel = Kernel::new().at_most(1);
    let lock = Arc::new(Mutex::new(0));
    let theirs = Arc::clone(&lock);
    interrupt(
        Disposition::handler(move |_| *lock.lock() += 1),
        move || {
            let old = kernel.sigmask(How::Block, mask);
            *theirs.lock() += 1;
            kernel.sigmask(How::Set, old);
        },
    );
}

/// Claim: a handler may take a lock that no frame below it holds.
#[test]
fn lock_masked() {
    Model::new("kernel::lock_masked")
        .actors(2)
        .check(|| shared_lock(SigSet::ALL));
}

#[test]
fn lock_not_masked() {
    let reason = "self-deadlock: handler awaits a lock held by the frame it interrupted";
    Control::new("kernel::lock_not_masked", reason)
        .actors(2)
        .check(|| shared_lock(SigSet::EMPTY));
}

/// Attaches a thread: its alternate stack before or after it counts as attached.
fn attach(stack_first: bool) {
    let kernel = Kernel::new().at_most(1);
    interrupt(Handler::new(|_| ()).onstack(), move || {
        let stack = || assert_eq!(kernel.sigaltstack(Some(1)), Ok(None));
        let word = AtomicU32::new(0);
        if stack_first {
            stack();
            hook::set_attached(true);
            word.store(1, Relaxed);
        } else {
            hook::set_attached(true);
            word.store(1, Relaxed);
            stack();
        }
        hook::set_attached(false);
    });
}

/// Claim: the handlers of an attached thread run on its own signal stack.
#[test]
fn own_stack() {
    Model::new("kernel::own_stack")
        .actors(2)
        .check(|| attach(true));
}

#[test]
fn own_stack_too_late() {
    Control::new("kernel::own_stack_too_late", "wrong stack")
        .actors(2)
        .check(|| attach(false));
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

/// Claim: exit hooks run on their thread when it exits, last registered first, before its join.
#[test]
fn exit_hooks() {
    Model::new("kernel::exit_hooks").actors(2).check(|| {
        let kernel = Kernel::new();
        let ran = Arc::new(AtomicU32::new(0));
        let theirs = Arc::clone(&ran);
        let other = thread::spawn("other", move || {
            for number in [1, 2] {
                let ran = Arc::clone(&theirs);
                kernel.at_thread_exit(move || {
                    ran.store(ran.load(Relaxed) * 10 + number, Relaxed);
                });
            }
            assert_eq!(theirs.load(Relaxed), 0);
        });
        other.join();
        assert_eq!(ran.load(Relaxed), 21);
    });
}

#[test]
fn exit_without_hook() {
    Control::new("kernel::exit_without_hook", "never given back")
        .actors(2)
        .check(|| {
            let lock = Arc::new(AtomicBool::new(false));
            let theirs = Arc::clone(&lock);
            thread::spawn("other", move || theirs.store(true, Relaxed)).join();
            if lock.load(Relaxed) {
                violation("never given back");
            }
        });
}

/// Claim: a forked child is a process of its own, with one thread, the caller's dispositions and
/// nothing pending.
#[test]
fn forked() {
    Model::new("kernel::forked").actors(2).check(|| {
        let kernel = Kernel::new();
        let count = Arc::new(Plain::new(0));
        kernel.sigaction(sig::USR1, Disposition::handler(counting(&count)));
        let old = kernel.sigmask(How::Block, SigSet::ALL);
        let other = thread::spawn("other", move || {
            kernel.sigmask(How::Set, SigSet::of(&[sig::USR1]));
            AtomicU32::new(0).load(Relaxed);
        });
        kernel.raise(sig::USR1);
        let child = kernel.fork(|| {
            kernel.sigmask(How::Set, old);
            assert_eq!(count.load(Relaxed), 0, "nothing pending in the child");
            kernel.kill(sig::USR1);
            assert_eq!(count.load(Relaxed), 1, "taken by the one thread there is");
            kernel.sigaction(sig::USR1, Disposition::Default);
            kernel.kill(sig::TERM);
        });
        assert_eq!(child, Outcome::DiedOf(sig::TERM));
        assert!(kernel.alive(), "the parent is another process");
        kernel.sigmask(How::Set, old);
        assert_eq!(
            count.load(Relaxed),
            2,
            "still pending in the parent, and handled"
        );
        other.join();
    });
}

#[test]
fn not_forked() {
    Control::new("kernel::not_forked", "the parent died")
        .actors(1)
        .check(|| {
            let kernel = Kernel::new();
            kernel.kill(sig::TERM);
            assert!(kernel.alive(), "the parent died");
        });
}

/// Publishes a payload to a handler on another thread: by installing it, or by a relaxed flag.
fn publish(by_disposition: bool, reads: &Arc<Plain>) {
    let reads = Arc::clone(reads);
    let kernel = Kernel::new().at_most(1);
    let shared = Arc::new((Payload::new(), AtomicBool::new(false)));
    let theirs = Arc::clone(&shared);
    let handler = Disposition::handler(move |_| {
        if by_disposition || theirs.1.load(Relaxed) {
            assert_eq!(theirs.0.get(), 7);
            reads.fetch_add(1, Relaxed);
        }
    });
    kernel.sigaction(sig::USR1, Disposition::handler(|_| ()));
    if !by_disposition {
        kernel.sigaction(sig::USR1, handler.clone());
    }
    thread::spawn("sender", move || {
        shared.0.set(7);
        shared.1.store(true, Relaxed);
        if by_disposition {
            kernel.sigaction(sig::USR1, handler);
        }
        kernel.tgkill(thread::main(), sig::USR1);
    });
    // Not joined: that would synchronise.
    let word = AtomicU32::new(0);
    word.load(Relaxed);
    word.load(Relaxed);
}

/// Claim: whoever is handed a handler sees what was written before it was installed.
#[test]
fn disposition_publishes() {
    let reads = Arc::new(Plain::new(0));
    let count = Arc::clone(&reads);
    Model::new("kernel::disposition_publishes")
        .actors(2)
        .check(move || publish(true, &count));
    assert_ne!(reads.load(Relaxed), 0);
}

#[test]
fn sending_publishes_nothing() {
    Control::new("kernel::sending_publishes_nothing", "Causality violation")
        .actors(2)
        .check(|| publish(false, &Arc::default()));
}

/// Claim: a handler chosen before the disposition changed may be entered after.
#[test]
fn entered_late() {
    let late = Arc::new(Plain::new(0));
    let seen = Arc::clone(&late);
    Model::new("kernel::entered_late").actors(2).check(move || {
        let _ = Kernel::new().at_most(1);
        let changed = Arc::new(AtomicBool::new(false));
        let (theirs, seen) = (Arc::clone(&changed), Arc::clone(&seen));
        let kernel = Kernel::current();
        let handler = Disposition::handler(move |_| {
            if theirs.load(Relaxed) {
                seen.fetch_add(1, Relaxed);
            }
        });
        kernel.sigaction(sig::USR1, handler);
        let target = thread::spawn("target", move || kernel.raise(sig::USR1));
        kernel.sigaction(sig::USR1, Disposition::Ignore);
        changed.store(true, Relaxed);
        target.join();
    });
    assert_ne!(late.load(Relaxed), 0);
}

/// Claim: a signal may land after its target saw what its sender did next.
#[test]
fn in_flight() {
    let overtaken = Arc::new(Plain::new(0));
    let seen = Arc::clone(&overtaken);
    Model::new("kernel::in_flight").actors(2).check(move || {
        let kernel = Kernel::new().at_most(1);
        let landed = Arc::new(Plain::new(0));
        kernel.sigaction(sig::USR1, Disposition::handler(counting(&landed)));
        let word = Arc::new(AtomicU32::new(0));
        let (theirs, seen) = (Arc::clone(&word), Arc::clone(&seen));
        let target = thread::spawn("target", move || {
            if theirs.load(Acquire) == 1 && landed.load(Relaxed) == 0 {
                seen.fetch_add(1, Relaxed);
            }
        });
        kernel.tgkill(target.id(), sig::USR1);
        word.fetch_add(1, AcqRel);
        target.join();
    });
    assert_ne!(overtaken.load(Relaxed), 0);
}

/// Claim: a promised signal lands everywhere too, in fewer executions.
#[test]
fn prompt() {
    let places = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&places);
    Model::new("kernel::prompt").actors(2).check(move || {
        let kernel = Kernel::new().at_most(1).prompt();
        let done = Arc::new(Plain::new(0));
        let landed = Arc::new(Plain::new(99));
        let (count, place) = (Arc::clone(&done), Arc::clone(&landed));
        kernel.sigaction(
            sig::USR1,
            Disposition::handler(move |_| place.store(count.load(Relaxed), Relaxed)),
        );
        let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::USR1));
        let word = AtomicU32::new(0);
        for step in 1..=3 {
            word.store(step, Relaxed);
            done.store(step, Relaxed);
        }
        let landed = landed.load(Relaxed);
        seen.lock().unwrap().insert(landed);
        sender.join();
    });
    assert_eq!(*places.lock().unwrap(), BTreeSet::from([0, 1, 2, 99]));
}

/// A thread that exits while another suspends it, through a gate or without.
fn exit_while_suspended(gate: bool) {
    let kernel = Kernel::new();
    let lock = Arc::new(Mutex::new(()));
    let theirs = Arc::clone(&lock);
    let suspender = thread::spawn("suspender", move || {
        let held = gate.then(|| theirs.lock());
        if kernel.alive() {
            kernel.suspend(thread::main());
            kernel.thread_context(thread::main());
            kernel.resume(thread::main());
        }
        drop(held);
    });
    let held = gate.then(|| lock.lock());
    kernel.exit_process(0);
    drop(held);
    if kernel.outcome() == Outcome::Ghost {
        panic!("ghost process");
    }
    suspender.join();
}

/// Claim: a suspension is asynchronous, and one under way acts after the other threads ended.
#[test]
fn suspended_exit_gated() {
    Model::new("kernel::suspended_exit_gated")
        .actors(2)
        .check(|| exit_while_suspended(true));
}

#[test]
fn suspended_exit() {
    Control::new("kernel::suspended_exit", "ghost process")
        .actors(2)
        .check(|| exit_while_suspended(false));
}

/// Suspends a thread that steps; between context and resume it must not move.
fn suspend(wait_until_stopped: bool) {
    let kernel = Kernel::new();
    let pair = Pair::new();
    let theirs = pair.clone();
    let target = thread::spawn("target", move || theirs.step());
    kernel.suspend(target.id());
    if wait_until_stopped {
        kernel.thread_context(target.id());
    }
    pair.check_stands_still();
    kernel.resume(target.id());
    target.join();
}

/// Claim: a suspended thread stands still once it has stopped, and goes on when resumed.
#[test]
fn suspended() {
    Model::new("kernel::suspended")
        .actors(2)
        .check(|| suspend(true));
}

#[test]
fn suspended_not_yet() {
    Control::new("kernel::suspended_not_yet", "the interrupted code moved")
        .actors(2)
        .check(|| suspend(false));
}

/// The harness: a control that does not fail is an error.
#[test]
#[should_panic(expected = "NOT FOUND")]
fn control_not_found() {
    Control::new("kernel::control_not_found", "anything")
        .actors(1)
        .check(|| ());
}

/// The harness: a control that fails for another reason is an error.
#[test]
#[should_panic(expected = "failed for another reason")]
fn control_other_reason() {
    Control::new("kernel::control_other_reason", "anything").check(|| violation("another"));
}

/// The harness: waiting for ever by spinning is told from every other failure.
#[test]
fn control_no_progress() {
    Control::new("kernel::control_no_progress", "no progress")
        .max_branches(500)
        .check(|| {
            let word = AtomicU32::new(0);
            while word.load(Relaxed) == 0 {
                crate::sync::relax();
            }
        });
}

/// The harness: an exploration that is cut short does not count.
#[test]
#[should_panic(expected = "exploration cut")]
fn model_cut_short() {
    Model::new("kernel::model_cut_short")
        .max_duration(core::time::Duration::ZERO)
        .check(|| ());
}

/// The example of the module's documentation.
#[test]
fn documented_example() {
    use crate::model::atomic::{AtomicU32, Ordering};

    let example = |bound| {
        Model::new("kernel::documented_example")
            .actors(2)
            .bound(bound)
            .check(|| {
                let kernel = Kernel::new().at_most(1);
                let hits = Arc::new(AtomicU32::new(0));
                let count = Arc::clone(&hits);
                kernel.sigaction(
                    sig::USR1,
                    Disposition::handler(move |_| {
                        count.fetch_add(1, Ordering::Relaxed);
                    }),
                );
                let sender = thread::spawn("sender", move || kernel.kill(sig::USR1));
                let read = hits.load(Ordering::Relaxed);
                hits.store(read, Ordering::Relaxed);
                sender.join();
            })
    };
    assert!(example(Bound::Exhaustive) > 1);
}

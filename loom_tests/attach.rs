//! Attach and detach, with a signal whose handler attaches at every step of each.

pub(crate) mod host;
mod more;
mod order;

use std::sync::Arc;

use self::host::{Before, LARGE, SETXID, SMALL, Setxid, Shared};
use super::{Bound, Model};
use crate::attach::{AttachError, AttachKind, Binding, Misuse, ThreadState};
use crate::extra_list::{RecordCounts, Taker};
use crate::model::{Handler, Kernel, Outcome, SigSet, sig, thread};

/// A signal to `target`, whose handler attaches.
fn signal(kernel: Kernel, target: thread::ThreadId) -> thread::JoinHandle<()> {
    thread::spawn("sender", move || kernel.tgkill(target, sig::USR1))
}

/// The body of a thread that a signal may interrupt anywhere.
fn interrupted(host_stack: Option<usize>, body: impl FnOnce(&Shared)) {
    let kernel = Kernel::new().at_most(1);
    let shared = Shared::new(kernel, 1);
    kernel.sigaction(sig::USR1, shared.handler(kernel));
    let _ = kernel.sigaltstack(host_stack);
    let before = Before::note(kernel);
    body(&shared);
    before.check();
    shared.assert_all_spare();
}

/// Claim: wherever in attach a signal lands, its handler runs on a right stack, and gets a record
/// of its own, or the thread's when that was published (I1 to I3). The same with no stack of the
/// host's, one too small and one to be adopted.
/// Actors: one thread and its handler, a sender. Exhaustive. Fails if the mask is left out, or put
/// back before the record is published; without a stack; without the reset.
#[test]
fn signal_anywhere_in_attach() {
    for (stack, name) in [(None, "none"), (Some(SMALL), "small"), (Some(LARGE), "large")] {
        let name = format!("attach::signal_anywhere_in_attach: {name}");
        Model::new(name).actors(2).check(move || {
            interrupted(stack, |shared| {
                let sender = signal(Kernel::current(), thread::main());
                let token = shared.attach(Binding::Unbound);
                shared.use_fresh(&token);
                sender.join();
                assert_eq!(shared.lot().state(), ThreadState::Inside);
            });
        });
    }
}

/// Claim: the same for detach; afterwards mask and stack are the host's again.
/// Actors: one thread and its handler, a sender. Exhaustive. Fails if the mask is left out, or put
/// back before the word is; if the host's stack is not put back.
#[test]
fn signal_anywhere_in_detach() {
    for (stack, name) in [(None, "none"), (Some(SMALL), "small"), (Some(LARGE), "large")] {
        let name = format!("attach::signal_anywhere_in_detach: {name}");
        Model::new(name).actors(2).check(move || {
            interrupted(stack, |shared| {
                let token = shared.attach(Binding::Unbound);
                shared.use_fresh(&token);
                let sender = signal(Kernel::current(), thread::main());
                token.detach().unwrap();
                assert_eq!(shared.lot().state(), ThreadState::Unknown);
                sender.join();
            });
        });
    }
}

/// Claim: a handler that attached is interrupted by another that attaches, on a thread at any step
/// of attach and detach. Two records beside the thread's are enough.
/// Actors: one thread, its two handlers, a sender. Bound 3, prompt. Fails if what a nested attach
/// leaves is not what it found (I4).
#[test]
fn nested_handler_attach() {
    Model::new("attach::nested_handler_attach").actors(3).bound(Bound::At(3)).check_hostile_too(
        || {
            let kernel = Kernel::new().at_most(2).prompt();
            let shared = Shared::new(kernel, 2);
            for signal in [sig::USR1, sig::USR2] {
                kernel.sigaction(signal, shared.handler(kernel));
            }
            let before = Before::note(kernel);
            let sender = thread::spawn("sender", move || {
                kernel.tgkill(thread::main(), sig::USR1);
                kernel.tgkill(thread::main(), sig::USR2);
            });
            let token = shared.attach(Binding::Unbound);
            shared.use_fresh(&token);
            drop(token);
            sender.join();
            before.check();
            shared.assert_all_spare();
        },
    );
}

/// Claim: a bound thread keeps its record between attaches, through signals, and gives it back when
/// it ends; whoever waits for it gets it then.
/// Actors: a bound thread, its handler, a thread that waits. Bound 3, prompt. Fails, as a deadlock,
/// if the end of the thread gives nothing back.
#[test]
fn bound_thread_exit() {
    Model::new("attach::bound_thread_exit").actors(3).apart().bound(Bound::At(3)).check(|| {
        let kernel = Kernel::new().at_most(1).prompt();
        let shared = Shared::new(kernel, 1);
        kernel.sigaction(sig::USR1, shared.handler(kernel));
        let theirs = shared.clone();
        let bound = thread::spawn("bound", move || {
            let first = theirs.attach(Binding::Bound);
            theirs.use_fresh(&first);
            let (index, generation) = (first.index(), first.generation());
            drop(first);
            assert_eq!(theirs.lot().state(), ThreadState::External);
            let again = theirs.attach(Binding::Unbound);
            assert_eq!((again.how(), again.was_inside()), (AttachKind::Nested, false));
            assert_eq!((again.index(), again.generation()), (index, generation));
            assert_eq!(again.record().data.get(), 7, "kept between attaches");
        });
        kernel.tgkill(bound.id(), sig::USR1);
        let token = shared.attach(Binding::Unbound);
        shared.use_fresh(&token);
        drop(token);
        bound.join();
        shared.assert_all_spare();
    });
}

/// Claim: a destructor that runs after the thread's end was seen attaches, and nothing is leaked,
/// bound or not, with its token given up or forgotten.
/// Actors: one thread. Exhaustive. Fails if what a dying thread attaches is bound to it.
#[test]
fn exit_with_destructor_that_calls_back() {
    for forgets in [false, true] {
        let name = format!("attach::exit_with_destructor_that_calls_back: forgets {forgets}");
        Model::new(name).actors(1).check(move || {
            let kernel = Kernel::new().at_most(0);
            let shared = Shared::new(kernel, 0);
            let theirs = shared.clone();
            thread::spawn("ends", move || {
                let late = theirs.clone();
                kernel.at_thread_exit(move || {
                    let token = late.attach(Binding::Bound);
                    late.use_fresh(&token);
                    if forgets {
                        core::mem::forget(token)
                    } else {
                        drop(token)
                    }
                    assert_eq!(late.lot().is_attached(), forgets);
                });
                drop(theirs.attach(Binding::Bound));
                assert!(theirs.lot().is_attached());
            })
            .join();
            assert_eq!(shared.lot().counts().in_use, 0);
            let misuse = Misuse { abandoned: u32::from(forgets), ..Misuse::default() };
            assert_eq!(shared.lot().misuse(), misuse);
        });
    }
}

/// Claim: an attach beside a shutdown attaches or is refused, and never hangs, waiting or not; one
/// that begins after the shutdown is refused, a bound thread's too; who is attached stays so.
/// Actors: a thread that waits, a bound one, the one that shuts down. Bound 3. Fails, as a
/// deadlock, if a waiting thread is not sent away.
#[test]
fn attach_against_shutdown() {
    Model::new("attach::attach_against_shutdown").actors(3).bound(Bound::At(3)).check(|| {
        let kernel = Kernel::new().at_most(0);
        let shared = Shared::new(kernel, 0);
        let held = shared.attach(Binding::Bound);
        let theirs = shared.clone();
        let waits = thread::spawn("waits", move || match theirs.lot().attach(Binding::Unbound) {
            Ok(token) => theirs.use_fresh(&token),
            Err(error) => assert_eq!(error, AttachError::ShuttingDown),
        });
        let theirs = shared.clone();
        let closes = thread::spawn("closes", move || {
            theirs.lot().shutdown();
            let refused = theirs.lot().attach(Binding::Unbound);
            assert_eq!(refused.unwrap_err(), AttachError::ShuttingDown);
        });
        assert_eq!(shared.attach(Binding::Bound).how(), AttachKind::Nested);
        drop(held);
        closes.join();
        let refused = shared.lot().attach(Binding::Bound);
        assert_eq!(refused.unwrap_err(), AttachError::ShuttingDown);
        waits.join();
        assert_eq!(shared.lot().counts().waiting, 0);
    });
}

/// Claim: a record handed to another thread is clean, whatever the last owner and its handlers left
/// in it, and their use of it and of its stack is over (I5, extra_list E1).
/// Actors: two threads, a handler. Bound 3, prompt. Fails, as data carried over, without
/// the reset; as an unordered access, if the record is given before the stack is left.
#[test]
fn recycle_to_new_thread() {
    Model::new("attach::recycle_to_new_thread").actors(3).apart().bound(Bound::At(3)).check(|| {
        let kernel = Kernel::new().at_most(1).prompt();
        let shared = Shared::new(kernel, 1);
        kernel.sigaction(sig::USR1, shared.handler(kernel));
        let theirs = shared.clone();
        let first = thread::spawn("first", move || {
            let token = theirs.attach(Binding::Unbound);
            theirs.use_fresh(&token);
            kernel.raise(sig::USR1);
            (token.index(), token.generation())
        });
        let token = shared.attach(Binding::Unbound);
        shared.use_fresh(&token);
        let stay = (token.index(), token.generation());
        drop(token);
        assert_ne!(first.join(), stay, "two stays by one name");
        shared.assert_all_spare();
    });
}

/// Claim: the child of a fork made while another thread is at any step of taking or giving has every
/// record but its own, and can use them all. The rest of attach and detach is each thread's own.
/// Actors: a thread that takes and gives, the one that forks. Exhaustive. Fails if the child
/// keeps what only the parent's other threads hold or count.
#[test]
fn fork_while_locked() {
    Model::new("attach::fork_while_locked").actors(2).check(|| {
        let kernel = Kernel::new().at_most(0);
        let shared = Shared::new(kernel, 1);
        let token = shared.attach(Binding::Unbound);
        let theirs = shared.clone();
        let other = thread::spawn("other", move || {
            let list = theirs.lot().list();
            let ticket = list.take(Taker::Handler).unwrap().redeem().unwrap();
            list.give(ticket).unwrap();
        });
        let copy = shared.lot().list().copied();
        let own = token.index();
        let outcome = kernel.fork(move || {
            // SAFETY: the child's copy is used by nobody else.
            unsafe { copy.reset_after_fork(|index| index == own) };
            let RecordCounts { total, in_use, waiting, .. } = copy.counts();
            assert_eq!((in_use, waiting), (1, 0));
            let take = || copy.take(Taker::Handler).ok()?.redeem();
            let had: Vec<_> = core::iter::from_fn(take).collect();
            let mut numbers: Vec<_> = had.iter().map(|ticket| ticket.index).collect();
            numbers.sort_unstable();
            let others: Vec<_> = (0..total).filter(|index| *index != own).collect();
            assert_eq!(numbers, others);
            had.into_iter().for_each(|ticket| copy.give(ticket).unwrap());
            assert_eq!(copy.counts().in_use, 1);
        });
        assert_eq!(outcome, Outcome::Running);
        drop(token);
        other.join();
        shared.assert_all_spare();
    });
}

/// Claim: a signal that lands anywhere in an attach that has to wait finds the thread as it was
/// before; its handler has the reserve.
/// Actors: a thread that waits, its handler, one that holds all records and sends. Bound 3. Fails
/// if the word still tells of a transition in the wait, or the steps after it are not masked.
#[test]
fn wait_takes_signals() {
    Model::new("attach::wait_takes_signals").actors(3).bound(Bound::At(3)).check_hostile_too(
        || {
            let kernel = Kernel::new().at_most(1);
            let shared = Shared::new(kernel, 1);
            kernel.sigaction(sig::USR1, shared.handler(kernel));
            let list = shared.lot().list();
            // Not by `attach`, which has one more created.
            let take = || list.take(Taker::Thread).ok()?.redeem();
            let held: Vec<_> = core::iter::from_fn(take).collect();
            let theirs = shared.clone();
            let waits = thread::spawn("waits", move || {
                let token = theirs.attach(Binding::Unbound);
                theirs.use_fresh(&token);
            });
            kernel.tgkill(waits.id(), sig::USR1);
            held.into_iter().for_each(|ticket| list.give(ticket).unwrap());
            waits.join();
            shared.assert_all_spare();
        },
    );
}

/// Claim: C -> runtime -> C -> runtime and back: wherever a signal lands, its handler is told truly
/// whether it interrupted the runtime.
/// Actors: one thread and its handler, a sender. Exhaustive. Fails if coming back from the inner
/// call sets the state by rule and not to what it was (golang/go#72870).
#[test]
fn external_is_put_back() {
    Model::new("attach::external_is_put_back").actors(2).check(|| {
        interrupted(None, |shared| {
            let sender = signal(Kernel::current(), thread::main());
            let mut outer = shared.attach(Binding::Unbound);
            let called_out = outer.external();
            assert_eq!(shared.lot().state(), ThreadState::External);
            let inner = shared.attach(Binding::Unbound);
            assert_eq!(shared.lot().state(), ThreadState::Inside);
            drop(inner);
            assert_eq!(shared.lot().state(), ThreadState::External);
            drop(called_out);
            assert_eq!(shared.lot().state(), ThreadState::Inside);
            drop(outer);
            sender.join();
        });
    });
}

/// Claim: a bound thread that attaches, and ends, answers the C library's setxid, and setxid the
/// thread: the signal it needs stays open at every step.
/// Actors: a bound thread that ends, its handler, the caller of setxid. Bound 4, prompt. Fails, as a deadlock, if
/// the thread's end leaves that signal masked.
#[test]
fn exit_answers_setxid() {
    Model::new("attach::exit_answers_setxid").actors(3).bound(Bound::At(4)).check(|| {
        let kernel = Kernel::new().at_most(1).prompt();
        let shared = Shared::with_open(kernel, 0, SigSet::of(&[SETXID]));
        let libc = Arc::new(Setxid::new());
        let theirs = Arc::clone(&libc);
        kernel.sigaction(SETXID, Handler::new(move |_| theirs.answer()));
        let (theirs, library) = (shared.clone(), Arc::clone(&libc));
        let bound = thread::spawn("bound", move || {
            // The last hook of all: start_thread's end.
            kernel.at_thread_exit(move || library.thread_ends());
            drop(theirs.attach(Binding::Bound));
        });
        libc.call(kernel, bound.id());
        bound.join();
        shared.assert_all_spare();
    });
}

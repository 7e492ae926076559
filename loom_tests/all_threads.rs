//! All threads: the operation runs exactly once on each, whatever it does meanwhile, and nobody waits
//! for somebody who waits for him.

mod births;
mod callers;
mod ends;
pub(crate) mod host;
mod signals;
mod turns;

use std::cell::Cell;
use std::sync::Arc;

use self::host::{World, waker};
use super::{Bound, Model};
use crate::all_threads::{Birth, CallError, Late, Missing};
use crate::model::futex::{self, Deadline};
use crate::model::{Handler, How, Kernel, SigSet, sig, thread};
use crate::note::{Note, Park};
use crate::sigqueue::{Event, SignalQueue};
use crate::sync::AtomicU32;
use crate::sync::Ordering::{Acquire, Release};
use crate::sys::Errno;

/// A thread with seat 1 that does this; it is there when this returns.
pub(crate) fn beside<T: 'static>(
    world: &World,
    body: impl FnOnce(&World, &mut host::Ours) -> T + 'static,
) -> thread::JoinHandle<T> {
    let joined = Arc::new(Note::new());
    let note = Arc::clone(&joined);
    let other = world.thread("other", 1, move |world, member| {
        note.wake();
        body(world, member)
    });
    joined.sleep(None);
    other
}

/// Claim: a thread that works is interrupted, runs it once, with what the caller prepared, and what
/// it wrote is seen by the caller (I3, E1, E2).
/// Actors: the caller, a thread, its handler. Bound 3. Fails if a thread is asked twice, or if asking
/// or answering passes nothing on.
#[test]
fn two_threads_exactly_once() {
    Model::new("all_threads::two_threads_exactly_once").actors(3).bound(Bound::At(3)).check(|| {
        let world = World::new(Kernel::new().at_most(2));
        let own = world.join(0);
        let over = Arc::new(Note::new());
        let end = Arc::clone(&over);
        let other = beside(&world, move |_, member| {
            member.poll();
            end.sleep(None);
        });
        let report = world.call(0);
        assert_eq!((world.kept(0), world.kept(1)), (1, 1));
        assert_eq!((report.others, report.mismatches, report.gone + report.abandoned), (1, 0, 0));
        world.see(&[0, 1]);
        over.wake();
        other.join();
        drop(own);
        assert_eq!((world.kept(0), world.kept(1)), (1, 1));
    });
}

/// Claim: a thread that another one creates meanwhile has inherited what its creator had run, and runs
/// what that one had not: once in all (I3, E5).
/// Actors: the caller, one that creates, the new one, handlers. Bound 2, prompt. Fails if the creator
/// may run it while it creates, or if nobody looks again.
#[test]
fn thread_born_during_call() {
    Model::new("all_threads::thread_born_during_call").actors(4).apart().bound(Bound::At(2)).check(
        || {
            let world = World::new(Kernel::new().at_most(2).prompt());
            let over = Arc::new(Note::new());
            let end = Arc::clone(&over);
            let creator = beside(&world, move |world, member| {
                let (theirs, mine) = (world.clone(), thread::current().number());
                let create = move |birth: Birth<_>| {
                    // As clone does.
                    let inherited = theirs.kept(mine);
                    thread::spawn("born", move || {
                        let me = thread::current().number();
                        theirs.statics().kept[me].set(inherited);
                        let _member = birth.begin().unwrap();
                        end.sleep(None);
                    })
                };
                // SAFETY: begun by the new thread before it does anything of its own.
                let born = unsafe { member.create(&world.statics().seats[2], create) };
                born.unwrap().join();
            });
            let report = world.call(0);
            assert!(report.others == 1 || report.others == 2, "{report:?}");
            over.wake();
            creator.join();
            let kept = [0, 1, 2].map(|thread| world.kept(thread));
            assert_eq!(kept, [1, 1, 1], "once each, by running it or by inheriting it");
        },
    );
}

/// Claim: a signal in the middle of the creation of a thread does not run the operation there, though what creates
/// has opened it: the new thread has inherited what its seat says.
/// Actors: the caller, one that creates, its handler, the new one. Bound 3. Fails, as one that runs it
/// twice, if a handler runs what is asked of a thread that is BUSY.
#[test]
fn signal_inside_creation() {
    Model::new("all_threads::signal_inside_creation").actors(4).bound(Bound::At(3)).check(|| {
        let kernel = Kernel::new().at_most(1);
        let world = World::new(kernel);
        let theirs = world.clone();
        // Somebody else's signal, whose handler looks as well.
        kernel.sigaction(sig::USR2, Handler::new(move |_| _ = theirs.statics().all.on_signal()));
        let (asked, over) = (Arc::new(Note::new()), Arc::new(Note::new()));
        let (note, end) = (Arc::clone(&asked), Arc::clone(&over));
        let creator = beside(&world, move |world, member| {
            let (theirs, mine) = (world.clone(), thread::current().number());
            let create = move |birth: Birth<_>| {
                // The call comes now, and the signal.
                kernel.sigmask(How::Set, SigSet::EMPTY);
                note.wake();
                (0..4).for_each(|_| theirs.step());
                let inherited = theirs.kept(mine);
                thread::spawn("born", move || {
                    let me = thread::current().number();
                    theirs.statics().kept[me].set(inherited);
                    let _member = birth.begin().unwrap();
                    end.sleep(None);
                    theirs.kept(me)
                })
            };
            // SAFETY: begun by the new thread before it does anything of its own.
            let born = unsafe { member.create(&world.statics().seats[2], create) };
            assert_eq!(born.unwrap().join(), 1, "by running it or by inheriting it");
        });
        asked.sleep(None);
        kernel.tgkill(creator.id(), sig::USR2);
        let _ = world.call(0);
        over.wake();
        creator.join();
        assert_eq!(world.kept(1), 1);
    });
}

/// Claim: a thread that ends meanwhile has run it, or left before it was asked; nobody waits for it.
/// Actors: the caller, a thread that ends, its handler. Bound 3. Fails, as a deadlock, if it leaves
/// while it is asked.
#[test]
fn thread_dies_during_call() {
    Model::new("all_threads::thread_dies_during_call").actors(3).bound(Bound::At(3)).check(|| {
        let world = World::new(Kernel::new().at_most(1));
        let other = beside(&world, |_, _| {});
        let report = world.call(0);
        other.join();
        assert_eq!((report.others, report.gone + report.abandoned), (world.kept(1), 0));
        assert_eq!(world.kept(0), 1);
        world.see(if report.others == 1 { &[0, 1] } else { &[0] });
    });
}

/// Claim: a thread that ends without a word, its token forgotten, is found out and not waited for.
/// Actors: the caller, the thread. Exhaustive. Fails, as a deadlock, if the system's word is ignored.
#[test]
fn thread_ends_unannounced() {
    Model::new("all_threads::thread_ends_unannounced").actors(2).check(|| {
        let world = World::new(Kernel::new().at_most(1));
        let own = world.join(0);
        let other = world.clone();
        thread::spawn("other", move || std::mem::forget(other.join(1))).join();
        let report = world.call(0);
        assert_eq!((report.others, report.gone + report.abandoned), (0, 1));
        let next = world.thread("next", 1, |_, _| {});
        next.join();
        drop(own);
    });
}

/// A thread blocked in a system call is called for, and goes on.
fn call_for_blocked(world: &World) {
    let word = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&word);
    let other = beside(world, move |_, _| {
        while theirs.load(Acquire) == 0 {
            futex::wait(&theirs, 0, None);
        }
    });
    assert_eq!(world.call(0).others, 1);
    word.swap(1, Release);
    futex::wake_one(&word);
    other.join();
    assert_eq!(world.kept(1), 1);
    world.see(&[0, 1]);
}

/// Claim: a thread blocked in a system call runs it in its handler, and the call goes on.
/// Actors: the caller, the thread, its handler. Bound 3. Fails, as a deadlock, if it has to come
/// back by itself.
#[test]
fn blocked_in_syscall() {
    Model::new("all_threads::blocked_in_syscall").actors(3).bound(Bound::At(3)).check_hostile_too(
        || {
            call_for_blocked(&World::new(Kernel::new().at_most(1)));
        },
    );
}

/// Claim: a handler that looks for its seat only while a call is under way misses none.
/// Actors: the caller, the thread, its handler. Bound 3. Fails, as a deadlock, if it looks by a load:
/// that may read what was before the call.
#[test]
fn handler_asks_for_a_call() {
    Model::new("all_threads::handler_asks_for_a_call")
        .actors(3)
        .bound(Bound::At(3))
        .check_hostile_too(|| {
            let kernel = Kernel::new().at_most(1);
            let world = World::new(kernel);
            let all = &world.statics().all;
            let handler = Handler::new(|_| _ = all.is_calling() && all.on_signal());
            kernel.sigaction(sig::USR1, handler.mask(SigSet::ALL));
            call_for_blocked(&world);
        });
}

/// Claim: a thread parked in a note of ours is woken, not interrupted, runs it and sleeps again until
/// somebody means it; its waker is not used after it has left (E4).
/// Actors: the caller, the parked thread. Bound 3. Fails, as an unordered access, if letting go passes
/// nothing on.
#[test]
fn parked_memory_is_free() {
    let model = Model::new("all_threads::parked_memory_is_free").actors(2);
    model.bound(Bound::At(3)).check(parked_memory);
}

/// The same where a sleep may end for no reason: who comes back looks again.
#[test]
fn parked_memory_is_free_hostile() {
    let model = Model::new("all_threads::parked_memory_is_free: hostile").actors(2);
    model.bound(Bound::At(1)).hostile(1).check(parked_memory);
}

fn parked_memory() {
    let world = World::new(Kernel::new());
    let (joined, over) = (Arc::new(Note::new()), Arc::new(Note::new()));
    let (note, end) = (Arc::clone(&joined), Arc::clone(&over));
    let used = Arc::new(super::support::Payload::new());
    let theirs = Arc::clone(&used);
    let other = world.thread("other", 1, move |world, member| {
        let wake = || {
            end.wake();
            // As whatever the waker is made of.
            theirs.get();
        };
        member.cooperate(&waker(&wake), |member| {
            note.wake();
            while world.kept(1) == 0 {
                end.sleep(None);
                end.clear();
                member.poll();
            }
        });
        theirs.set(1);
    });
    joined.sleep(None);
    assert_eq!(world.call(0).others, 1);
    assert_eq!(world.statics().all.reach().sent.get(), 0, "by no signal");
    other.join();
    assert_eq!(world.kept(1), 1);
    drop(used);
}

/// A queue with its receiver asleep in it on a thread that is woken by its fixup.
fn receiver(world: &World, queue: &Arc<SignalQueue>) -> thread::JoinHandle<Vec<i32>> {
    let (queue, joined) = (Arc::clone(queue), Arc::new(Note::new()));
    let note = Arc::clone(&joined);
    let receiver = world.thread("receiver", 1, move |_, member| {
        let wake = || queue.fixup();
        let mut receiver = queue.receiver().unwrap();
        member.cooperate(&waker(&wake), |member| {
            note.wake();
            let mut received = Vec::new();
            loop {
                match receiver.recv(None, || _ = member.poll()) {
                    Event::Signal(batch) => received.push(batch.signal()),
                    Event::Closed => return received,
                    Event::TimedOut => panic!("there is no deadline"),
                }
            }
        })
    });
    joined.sleep(None);
    receiver
}

/// Claim: a thread asleep in the signal receiver is woken by FIXUP, runs it, and goes on receiving.
/// Actors: the caller, the receiver. Bound 4. Fails, as a deadlock, if its parking note is all that is
/// woken (golang/go#43149).
#[test]
fn receiver_asleep() {
    Model::new("all_threads::receiver_asleep").actors(2).bound(Bound::At(4)).check(|| {
        let world = World::new(Kernel::new());
        let queue = Arc::new(SignalQueue::new());
        let receiver = receiver(&world, &queue);
        assert_eq!(world.call(0).others, 1);
        assert_eq!(world.statics().all.reach().sent.get(), 0, "by no signal");
        queue.close();
        assert_eq!(receiver.join(), [0i32; 0]);
        assert_eq!(world.kept(1), 1);
        world.see(&[0, 1]);
    });
}

/// A signal whose handler sends to the queue, as those of the runtime do.
fn sends_to(kernel: Kernel, queue: &Arc<SignalQueue>) {
    let queue = Arc::clone(queue);
    queue.enable(2).unwrap();
    let send = move |_| {
        assert_ne!(queue.send(2, super::support::from(1)), crate::sigqueue::Sent::Unwanted)
    };
    kernel.sigaction(sig::USR2, Handler::new(send).mask(SigSet::ALL));
}

/// Claim: the same while a signal is sent to the queue: it is received, and the operation run.
/// Actors: the caller, the receiver, a sender. Bound 3. Fails if the receiver takes the one for the
/// other.
#[test]
fn receiver_asleep_with_signal() {
    Model::new("all_threads::receiver_asleep_with_signal")
        .actors(3)
        .apart()
        .bound(Bound::At(3))
        .check(|| {
            let world = World::new(Kernel::new());
            let queue = Arc::new(SignalQueue::new());
            queue.enable(2).unwrap();
            let receiver = receiver(&world, &queue);
            let theirs = Arc::clone(&queue);
            let sender = thread::spawn("sender", move || theirs.send(2, super::support::from(1)));
            assert_eq!(world.call(0).others, 1);
            assert_eq!(sender.join(), crate::sigqueue::Sent::Accepted);
            queue.close();
            assert_eq!(receiver.join(), [2]);
            assert_eq!(world.kept(1), 1);
        });
}

/// Claim: a signal that lands on the caller while it waits for the receiver ends neither: its handler
/// waits for nothing (golang/go#44193).
/// Actors: the caller, its handler, the receiver, a sender. Bound 2, prompt. Fails, as a deadlock, if
/// the handler waits for the receiver.
#[test]
fn signal_on_initiator() {
    Model::new("all_threads::signal_on_initiator").actors(4).bound(Bound::At(2)).check(|| {
        let kernel = Kernel::new().at_most(1).prompt();
        let world = World::new(kernel);
        let queue = Arc::new(SignalQueue::new());
        sends_to(kernel, &queue);
        let receiver = receiver(&world, &queue);
        let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::USR2));
        assert_eq!(world.call(0).others, 1);
        sender.join();
        // A place to land at, at the latest.
        kernel.sigmask(How::Block, SigSet::EMPTY);
        queue.close();
        let received = receiver.join();
        assert!(received.is_empty() || received == [2], "{received:?}");
        assert_eq!(world.kept(1), 1);
    });
}

/// Claim: what fails on the first thread is run on no other, and the next call is as if it had not
/// been.
/// Actors: the caller, a thread, its handler. Bound 3. Fails if a thread is asked before the first
/// one succeeded.
#[test]
fn first_error_changes_nothing() {
    Model::new("all_threads::first_error_changes_nothing")
        .actors(3)
        .bound(Bound::At(3))
        .check_hostile_too(|| {
            let world = World::new(Kernel::new().at_most(1));
            let over = Arc::new(Note::new());
            let end = Arc::clone(&over);
            let other = beside(&world, move |_, _| _ = end.sleep(None));
            let statics = world.statics();
            let refused = world.try_call_of(|| Err(Errno(5)));
            assert_eq!(refused, Err(CallError::First(Errno(5))));
            assert_eq!(statics.all.reach().sent.get(), 0);
            assert_eq!(world.call(0).others, 1);
            over.wake();
            other.join();
            assert_eq!(world.kept(1), 1);
        });
}

/// Claim: a call whose deadline passes says which threads it has not reached, and then reaches them,
/// or lets them go for ever.
/// Actors: the caller, a thread that masks, its handler, the clock. Bound 2, prompt. Fails if one that
/// was let go still runs it, or if one that is reached late is taken for missed.
#[test]
fn deadline_then_finish() {
    for finishes in [true, false] {
        let name = format!("all_threads::deadline_then_finish: finishes {finishes}");
        Model::new(name).actors(4).bound(Bound::At(2)).check(move || {
            let kernel = Kernel::new().at_most(2).prompt();
            let world = World::new(kernel);
            let deadline = Deadline::after(core::time::Duration::ZERO);
            let [joined, over, last] = [(); 3].map(|()| Arc::new(Note::new()));
            let [note, end, leave] = [&joined, &over, &last].map(Arc::clone);
            let other = world.thread("other", 1, move |_, _| {
                kernel.sigmask(How::Block, SigSet::of(&[sig::USR1]));
                note.wake();
                end.sleep(None);
                kernel.sigmask(How::Unblock, SigSet::of(&[sig::USR1]));
                // Still there when it is asked again.
                leave.sleep(None);
            });
            joined.sleep(None);
            let clock = thread::spawn("clock", move || kernel.expire_deadlines());
            let asked = Cell::new(0);
            let late = |missing: &Missing<'_, host::Simulated>| {
                asked.set(asked.get() + 1);
                let mut seats = 0;
                missing.each(&mut |seat| {
                    seats += u32::from(core::ptr::eq(seat, &world.statics().seats[1]));
                });
                assert_eq!(seats, 1);
                if !finishes {
                    return Late::Abandon;
                }
                over.wake();
                Late::Wait
            };
            let report = world.try_call(0, Some((&deadline, &late))).expect("nobody had the turn");
            assert_eq!(asked.get(), 1, "it masks the signal");
            over.wake();
            last.wake();
            other.join();
            clock.join();
            let reached = u32::from(finishes);
            assert_eq!((report.others, report.gone + report.abandoned), (reached, 1 - reached));
            assert_eq!(world.kept(1), reached);
        });
    }
}

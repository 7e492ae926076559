//! The gate: no thread is suspended in external code, nobody waits for external code, and nothing
//! that fails leaves anything behind.

mod ends;
pub(crate) mod host;
mod neighbours;
mod requests;
mod two_gates;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use self::host::{Failing, WAYS, Way, World};
use super::{Bound, Model};
use crate::model::futex::Deadline;
use crate::model::{Handler, How, Kernel, Outcome, SigSet, sig, thread};
use crate::note::{Note, Park};
use crate::preempt::host::Barrier;
use crate::preempt::{Asymmetric, Fenced, SuspendError, Target};

/// The thread waits for who has claimed it.
const CLAIMED_AND_WANTED: u32 = 3;

/// Explores `body` for both ways of stopping a thread.
fn both_ways(name: &str, actors: usize, bound: Option<usize>, body: fn(Way)) {
    for way in WAYS {
        let name =
            format!("preempt::{name}: {}", if way == Way::System { "system" } else { "signal" });
        let model = Model::new(name).actors(actors).apart();
        let model = match bound {
            Some(bound) => model.bound(Bound::At(bound)),
            None => model,
        };
        model.check(move || body(way));
    }
}

/// What an attempt may come to while its target goes out and in.
#[track_caller]
fn done_or_external(attempt: Result<(), SuspendError>) {
    assert!(matches!(attempt, Ok(()) | Err(SuspendError::External)), "{attempt:?}");
}

/// A thread works, calls out, and works again, while another tries to suspend it.
pub(crate) fn out_and_back<B: Barrier + 'static>(kernel: Kernel, way: Way, barrier: B) {
    let world = World::new(kernel, way, barrier);
    let mut member = world.register(0);
    let (theirs, target) = (world.clone(), member.thread());
    let suspender = thread::spawn("suspender", move || done_or_external(theirs.suspend(0, target)));
    world.work(0);
    let external = member.external();
    world.call_out(0);
    drop(external);
    world.work(0);
    suspender.join();
    drop(member);
    world.assert_open(0);
}

/// Claim: a thread is suspended before it goes out or after it came back, never in between, and what
/// it wrote is seen by who has it suspended, and the other way round (I1, E1 to E3).
/// Actors: the thread, its handler, one that suspends. Bound 4. Fails if the look does not read the
/// newest claim, or does not publish.
#[test]
fn enter_against_suspend() {
    both_ways("enter_against_suspend", 3, Some(4), |way| {
        out_and_back(Kernel::new().at_most(1), way, Fenced);
    });
}

/// Claim: the same where going out is plain accesses, and the suspender pays.
/// Actors: the thread, its handler, one that suspends. Bound 4. Fails without the heavy barrier.
#[test]
fn asymmetric_enter_against_suspend() {
    both_ways("asymmetric_enter_against_suspend", 3, Some(4), |way| {
        let kernel = Kernel::new().at_most(2).prompt();
        out_and_back(kernel, way, Asymmetric::new().unwrap());
    });
}

/// Claim: one that comes back as a plain store is suspended only when it is back, and it goes out
/// again unsuspended.
/// Actors: the thread, its handler, one that suspends. Bound 4. Fails if one that finds it outside
/// suspends it all the same.
#[test]
fn asymmetric_exit_against_suspend() {
    both_ways("asymmetric_exit_against_suspend", 3, Some(4), |way| {
        let kernel = Kernel::new().at_most(2).prompt();
        let world = World::new(kernel, way, Asymmetric::new().unwrap());
        let mut member = world.register(0);
        let (theirs, target) = (world.clone(), member.thread());
        let external = member.external();
        let suspender =
            thread::spawn("suspender", move || done_or_external(theirs.suspend(0, target)));
        // Nobody has it suspended out here.
        world.work(0);
        drop(external);
        world.work(0);
        drop(member.external());
        suspender.join();
    });
}

/// Claim: a process that ends from outside ends, whoever wants to suspend the thread that ends it.
/// Actors: the thread, one that suspends. Exhaustive. Fails, as a ghost process, if exit does not go
/// out.
#[test]
fn suspend_against_exit_process() {
    Model::new("preempt::suspend_against_exit_process").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let world = World::new(kernel, Way::System, Fenced);
        let mut member = world.register(0);
        let (theirs, target) = (world.clone(), member.thread());
        let suspender = thread::spawn("suspender", move || {
            done_or_external(theirs.suspend(0, target));
        });
        assert_eq!(member.exit(3), Ok(()));
        suspender.join();
        assert_eq!(kernel.outcome(), Outcome::Exited(3));
    });
}

/// Claim: who goes out waits for the claim that it found, and is suspended no more after that (I3).
/// Actors: the thread, its handler, one that suspends, twice. Bound 4, prompt. Fails if later claims are
/// let in while it waits, or do not see that it is outside then.
#[test]
fn enter_waits_for_one_suspension_only() {
    both_ways("enter_waits_for_one_suspension_only", 3, Some(4), |way| {
        let world = World::new(Kernel::new().at_most(2).prompt(), way, Fenced);
        let mut member = world.register(0);
        let (target, entering) = (member.thread(), Rc::new(Cell::new(0)));
        let (theirs, counted) = (world.clone(), Rc::clone(&entering));
        let suspender = thread::spawn("suspender", move || {
            for _ in 0..2 {
                let Ok(suspended) = theirs.gates().try_suspend(target) else { continue };
                assert!(!theirs.statics().shown[0].outside.get(), "suspended in external code");
                if theirs.gate(0).claim_word().kernel_read() == CLAIMED_AND_WANTED {
                    counted.set(counted.get() + 1);
                }
                drop(suspended);
            }
        });
        let external = member.external();
        assert!(entering.get() <= 1, "waited for {} suspensions", entering.get());
        world.call_out(0);
        drop(external);
        suspender.join();
    });
}

/// Claim: who finds a thread outside sees what it did before it went.
/// Actors: the thread, its handler, one that suspends. Bound 4, prompt. Fails, as an unordered
/// access, if going out passes nothing on.
#[test]
fn external_is_published() {
    both_ways("external_is_published", 3, Some(4), |way| {
        let world = World::new(Kernel::new().at_most(1).prompt(), way, Fenced);
        let mut member = world.register(0);
        let (theirs, target) = (world.clone(), member.thread());
        let suspender = thread::spawn("suspender", move || {
            if theirs.suspend(0, target) == Err(SuspendError::External) {
                assert_eq!(theirs.statics().shown[0].heap.get(), 1);
            }
        });
        world.work(0);
        let external = member.external();
        suspender.join();
        drop(external);
    });
}

/// Claim: a gate changes hands, whoever tries to suspend the one and the other (I6).
/// Actors: a thread that leaves, one that comes, one that suspends. Bound 3, prompt. Fails, as an
/// unordered access, if the end passes nothing on.
#[test]
fn gate_changes_hands() {
    both_ways("gate_changes_hands", 4, Some(3), |way| {
        let world = World::new(Kernel::new().at_most(1).prompt(), way, Fenced);
        let member = world.register(0);
        let (theirs, target) = (world.clone(), member.thread());
        let next = thread::spawn("next", move || {
            let registered = theirs.gates().register(theirs.gate(0));
            registered.is_ok_and(|member| member.thread() != target)
        });
        let theirs = world.clone();
        let suspender = thread::spawn("suspender", move || {
            let attempt = theirs.suspend(0, target);
            let known = [SuspendError::External, SuspendError::Gone, SuspendError::Busy];
            assert!(attempt.is_ok() || known.contains(&attempt.unwrap_err()), "{attempt:?}");
        });
        world.work(0);
        drop(member);
        let _changed = next.join();
        suspender.join();
        drop(world.register(0));
    });
}

/// Claim: nobody waits for a thread that is outside, not even if that one waits for him (I4).
/// Actors: the thread, one that suspends. Exhaustive. Fails, as a deadlock, if he waits.
#[test]
fn suspender_never_waits_for_external() {
    both_ways("suspender_never_waits_for_external", 2, None, |way| {
        let world = World::new(Kernel::new().at_most(1).prompt(), way, Fenced);
        let mut member = world.register(0);
        let (theirs, target) = (world.clone(), member.thread());
        let external = member.external();
        let told = Arc::new(Note::new());
        let note = Arc::clone(&told);
        let suspender = thread::spawn("suspender", move || {
            assert_eq!(theirs.suspend(0, target), Err(SuspendError::External));
            let mut targets = [Target::new(target)];
            assert_eq!(theirs.gates().stop_all(&mut targets).stopped().count(), 0);
            assert!(theirs.gates().request(target).is_err());
            note.wake();
        });
        told.sleep(None);
        drop(external);
        suspender.join();
    });
}

/// Claim: whichever call of the system fails, the thread goes out and back as if nothing had been,
/// and can be suspended afterwards (I2).
/// Actors: the thread, its handler, one that suspends. Bound 4, asymmetric 3, prompt. Fails, as no
/// progress, if an early return keeps the claim or the turn.
#[test]
fn early_returns_leave_gate_open() {
    both_ways("early_returns_leave_gate_open: asking", 3, Some(4), |way| {
        fails(way, Failing::Ask, Fenced);
    });
    both_ways("early_returns_leave_gate_open: waiting", 3, Some(4), |way| {
        fails(way, Failing::Confirm, Fenced);
    });
    both_ways("early_returns_leave_gate_open: asymmetric", 3, Some(3), |way| {
        fails(way, Failing::Confirm, Asymmetric::new().unwrap());
    });
}

fn fails<B: Barrier + 'static>(way: Way, failing: Failing, barrier: B) {
    let world = World::new(Kernel::new().at_most(4).prompt(), way, barrier);
    let mut member = world.register(0);
    world.backend().failing.set(Some(failing));
    let (theirs, target) = (world.clone(), member.thread());
    let suspender = thread::spawn("suspender", move || {
        let attempts = [(), ()].map(|()| theirs.suspend(0, target));
        let failed = |attempt: &&Result<(), SuspendError>| {
            matches!(attempt, Err(SuspendError::Refused(_) | SuspendError::NotAnswering))
        };
        assert!(attempts.iter().filter(failed).count() <= 1, "{attempts:?}");
        let known = [Ok(()), Err(SuspendError::External), Err(SuspendError::Gone)];
        assert!(attempts.iter().all(|a| failed(&a) || known.contains(a)), "{attempts:?}");
    });
    let external = member.external();
    world.call_out(0);
    drop(external);
    world.work(0);
    drop(member);
    suspender.join();
    world.assert_open(0);
}

/// Claim: of two threads that suspend each other both come back (I5).
/// Actors: two threads, their handlers. Bound 3. Fails, as a deadlock, if the turn is given
/// up before the thread has stopped.
#[test]
fn mutual_suspend() {
    both_ways("mutual_suspend", 4, Some(3), |way| {
        let world = World::new(Kernel::new().at_most(2), way, Fenced);
        let member = world.register(0);
        let (theirs, first) = (world.clone(), member.thread());
        let (second, registered) = (Rc::new(Cell::new(None)), Arc::new(Note::new()));
        let (mine, note) = (Rc::clone(&second), Arc::clone(&registered));
        let other = thread::spawn("other", move || {
            let member = theirs.register(1);
            mine.set(Some(member.thread()));
            note.wake();
            theirs.work(1);
            theirs.suspend(0, first).unwrap();
            theirs.work(1);
        });
        world.work(0);
        registered.sleep(None);
        let attempt = world.suspend(1, second.get().expect("it is registered"));
        let ended = [SuspendError::External, SuspendError::Gone];
        assert!(attempt.is_ok() || ended.contains(&attempt.unwrap_err()), "{attempt:?}");
        other.join();
        world.work(0);
    });
}

/// Claim: who has stopped a thread that waits for its turn can have the turn again before it lets that
/// one go.
/// Actors: one that suspends, a thread that does so too, its handler. Bound 3. Fails, as no progress,
/// if who comes new lets those by who wait for as long as they do.
#[test]
fn stopped_waiter_holds_nobody_up() {
    both_ways("stopped_waiter_holds_nobody_up", 3, Some(3), |way| {
        let world = World::new(Kernel::new().at_most(1), way, Fenced);
        let ended = world.register(1).thread();
        let (target, registered) = (Rc::new(Cell::new(None)), Arc::new(Note::new()));
        let (theirs, told, note) = (world.clone(), Rc::clone(&target), Arc::clone(&registered));
        let waiter = thread::spawn("waiter", move || {
            let member = theirs.register(0);
            told.set(Some(member.thread()));
            note.wake();
            assert_eq!(theirs.suspend(1, ended), Err(SuspendError::Gone));
        });
        registered.sleep(None);
        let target = target.get().expect("it is registered");
        if let Ok(stopped) = world.gates().try_suspend(target) {
            assert_eq!(world.suspend(1, ended), Err(SuspendError::Gone));
            drop(stopped);
        }
        waiter.join();
    });
}

/// Claim: threads that ended registered are told as gone by the system, which is asked by turns (E4).
/// Actors: two that suspend, one each. Exhaustive. Fails, as an unordered access, if the turn passes
/// nothing on.
#[test]
fn system_is_asked_by_turns() {
    both_ways("system_is_asked_by_turns", 2, None, |way| {
        let world = World::new(Kernel::new().at_most(1), way, Fenced);
        let [first, second] = [0, 1].map(|at| {
            let theirs = world.clone();
            let ends = thread::spawn("ends", move || {
                let member = theirs.register(at);
                let own = member.thread();
                core::mem::forget(member);
                own
            });
            ends.join()
        });
        let theirs = world.clone();
        let other = thread::spawn("other", move || theirs.suspend(1, second));
        assert_eq!(world.suspend(0, first), Err(SuspendError::Gone));
        assert_eq!(other.join(), Err(SuspendError::Gone));
    });
}

/// Claim: out, called back, out again and back: inside it may be suspended, outside not, at every
/// depth.
/// Actors: the thread, its handler, one that suspends. Bound 4, prompt. Fails if a callback's end
/// does not go out again.
#[test]
fn nested_callbacks_balance() {
    both_ways("nested_callbacks_balance", 3, Some(4), |way| {
        let world = World::new(Kernel::new().at_most(1).prompt(), way, Fenced);
        let mut member = world.register(0);
        let (theirs, target) = (world.clone(), member.thread());
        let suspender =
            thread::spawn("suspender", move || done_or_external(theirs.suspend(0, target)));
        let mut external = member.external();
        {
            let mut inside = external.inside();
            world.work(0);
            drop(inside.external());
            world.work(0);
        }
        world.call_out(0);
        drop(external);
        assert!(!world.gate(0).is_outside());
        suspender.join();
    });
}

/// Claim: a thread that ends is suspended before or not at all, the system is never asked for one
/// that is gone, and the next one at its gate is not taken for it (I6).
/// Actors: one that suspends, a thread, its handler. Bound 4. Fails if a thread may end while it is
/// claimed.
#[test]
fn thread_gone_during_suspend() {
    both_ways("thread_gone_during_suspend", 3, Some(4), |way| {
        let world = World::new(Kernel::new().at_most(1), way, Fenced);
        let (target, registered) = (Rc::new(Cell::new(None)), Arc::new(Note::new()));
        let (theirs, told, note) = (world.clone(), Rc::clone(&target), Arc::clone(&registered));
        let first = thread::spawn("first", move || {
            let member = theirs.register(0);
            told.set(Some(member.thread()));
            note.wake();
            theirs.work(0);
        });
        registered.sleep(None);
        let target = target.get().expect("it is registered");
        let attempt = world.suspend(0, target);
        let known = [SuspendError::External, SuspendError::Gone];
        assert!(attempt.is_ok() || known.contains(&attempt.unwrap_err()), "{attempt:?}");
        assert_eq!(world.backend().refused.get(), 0, "asked for a thread that had ended");
        first.join();
        let member = world.register(0);
        assert!(target != member.thread());
        let theirs = world.clone();
        let late = thread::spawn("late", move || theirs.suspend(0, target));
        assert_eq!(late.join(), Err(SuspendError::Gone));
    });
}

/// Claim: somebody else's signal, whose handler even wakes the stopped thread, does not let it go on.
/// Actors: the thread, its handlers, one that suspends, a foreign sender. Bound 4, prompt. Fails if
/// the stopped thread looks once.
#[test]
fn foreign_signal_during_suspend() {
    Model::new("preempt::foreign_signal_during_suspend")
        .actors(3)
        .apart()
        .bound(Bound::At(4))
        .check(|| {
            let kernel = Kernel::new().at_most(2).prompt();
            let world = World::new(kernel, Way::Signal, Fenced);
            let theirs = world.clone();
            let wake = move |_| theirs.gate(0).stop_word().wake_for_nothing();
            kernel.sigaction(sig::USR2, Handler::new(wake));
            let member = world.register(0);
            let (theirs, target) = (world.clone(), member.thread());
            let suspender = thread::spawn("suspender", move || theirs.suspend(0, target).unwrap());
            let theirs = world.clone();
            let foreign = thread::spawn("foreign", move || {
                theirs.gate(0).stop_word().wake_for_nothing();
                kernel.tgkill(thread::main(), sig::USR2);
            });
            world.work(0);
            suspender.join();
            foreign.join();
            world.work(0);
            drop(member);
        });
}

/// Claim: a thread that masks the signal is told as not answering when time is up, and the signal that
/// lands later changes nothing.
/// Actors: the thread, its handler, one that suspends, the clock. Bound 4, prompt. Fails if the
/// question is not taken back.
#[test]
fn masked_thread_is_reported() {
    Model::new("preempt::masked_thread_is_reported").actors(3).bound(Bound::At(4)).check(|| {
        let kernel = Kernel::new().at_most(1).prompt();
        let world = World::new(kernel, Way::Signal, Fenced);
        world.backend().patience.set(Some(Deadline::after(core::time::Duration::ZERO)));
        let member = world.register(0);
        let (theirs, target) = (world.clone(), member.thread());
        kernel.sigmask(How::Block, SigSet::of(&[sig::USR1]));
        let clock = thread::spawn("clock", move || kernel.expire_deadlines());
        let suspender = thread::spawn("suspender", move || {
            assert_eq!(theirs.suspend(0, target), Err(SuspendError::NotAnswering));
        });
        suspender.join();
        world.work(0);
        kernel.sigmask(How::Unblock, SigSet::of(&[sig::USR1]));
        world.work(0);
        clock.join();
        drop(member);
        world.assert_open(0);
    });
}

/// Claim: all are asked before any is waited for, each stands still, and those outside are left alone.
/// Actors: one that stops the world, two threads, their handlers. Bound 3, prompt. Fails if one that
/// could not be stopped is taken for stopped.
#[test]
fn stop_all_stops_all() {
    both_ways("stop_all_stops_all", 4, Some(3), |way| {
        let world = World::new(Kernel::new().at_most(1).prompt(), way, Fenced);
        let member = world.register(0);
        let (theirs, first) = (world.clone(), member.thread());
        let (second, registered) = (Rc::new(Cell::new(None)), Arc::new(Note::new()));
        let (told, note) = (Rc::clone(&second), Arc::clone(&registered));
        let over = Arc::new(Note::new());
        let ended = Arc::clone(&over);
        let other = thread::spawn("other", move || {
            let mut member = theirs.register(1);
            told.set(Some(member.thread()));
            note.wake();
            theirs.work(1);
            drop(member.external());
            ended.sleep(None);
        });
        let collector = world.clone();
        registered.sleep(None);
        let second = second.get().expect("it is registered");
        let stopper = thread::spawn("collector", move || {
            let mut targets = [first, second].map(Target::new);
            let stopped = collector.gates().stop_all(&mut targets);
            for target in stopped.targets().iter().filter(|target| target.outcome().is_ok()) {
                let at = usize::from(target.thread() != first);
                let heap = &collector.statics().shown[at].heap;
                heap.set(heap.get() + 1);
            }
            let holds = collector.gates().holds();
            assert_eq!(holds as usize, stopped.stopped().count());
        });
        world.work(0);
        stopper.join();
        over.wake();
        other.join();
        drop(member);
    });
}

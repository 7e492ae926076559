//! Flags that the handler sets: in time, not after they were ended, and never beside the default action.

use std::sync::Arc;

use super::super::support::Payload;
use super::super::{Control, Model};
use super::{Process, process};
use crate::model::{thread, violation};
use crate::signal::flags::{Flag, Flags, Target};
use crate::sigqueue::{Origin, Sent};
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::{AtomicBool, AtomicU32, relax};

/// For the execution's life.
fn flag() -> &'static AtomicBool {
    Box::leak(Box::new(AtomicBool::new(false)))
}

fn counter() -> &'static AtomicU32 {
    Box::leak(Box::new(AtomicU32::new(0)))
}

impl Process {
    fn add(&self, target: Target) -> &'static Flag {
        self.hub.add_flag(1, target).unwrap()
    }

    fn end(&self, flag: &'static Flag) {
        assert_eq!(self.hub.end_flag(flag), Default::default());
    }
}

/// Claim: a signal is in the flag when Stop returns, or takes the default action; never both, nor neither, and
/// nothing is set after Stop returned.
/// Actors: raiser with its handler, stopper. Exhaustive. Fails if Stop does not wait for the handler that is inside,
/// if the handler does not count itself, or sets the flag before the queue has accepted the signal. Controls:
/// `flag_is_not_waited_for`, `flag_is_set_first`.
#[test]
fn flag_against_stop() {
    Model::new("stop::flag_against_stop").actors(2).check(|| {
        let process = process(1);
        let counter = counter();
        let flag = process.add(Target::Count(counter));
        let raiser = process.raiser(1);
        process.end(flag);
        let at_return = u64::from(counter.load(Relaxed));
        raiser.join();
        assert_eq!(u64::from(counter.load(Relaxed)), at_return, "set after Stop returned");
        assert_eq!(at_return + process.died(), 1, "set or defaulted, once");
        process.assert_idle();
    });
}

/// Claim: when the handler has returned the flag is set, and the interrupted code goes on with that; wherever it
/// lands, Stop's own steps included.
/// Actors: kernel, one that stops with a nested handler. Exhaustive.
#[test]
fn flag_interrupts_stop() {
    Model::new("stop::flag_interrupts_stop").actors(2).check(|| {
        let process = process(1);
        let counter = counter();
        let flag = process.add(Target::Count(counter));
        let theirs = process.clone();
        let stopper = thread::spawn("stopper", move || {
            theirs.end(flag);
            counter.load(Relaxed)
        });
        process.sim.tgkill(stopper.id(), 1);
        let at_return = stopper.join();
        let set = counter.load(Relaxed);
        assert_eq!(set, at_return, "set after Stop returned");
        assert!(u64::from(set) + process.died() <= 1, "set and defaulted");
        process.assert_idle();
    });
}

/// Claim: who sees the flag sees what its thread did before the signal (E5).
/// Actors: raiser, one that looks. Exhaustive. Relaxed, the store of the target fails by an access that nothing
/// orders.
#[test]
fn flag_passes_on() {
    Model::new("stop::flag_passes_on").actors(2).check(|| {
        let process = process(1);
        let (set, done) = (flag(), Arc::new(Payload::new()));
        process.add(Target::Flag(set));
        let (theirs, data) = (process.clone(), Arc::clone(&done));
        let raiser = thread::spawn("raiser", move || {
            data.set(7);
            theirs.sim.raise(1);
        });
        if set.load(Acquire) {
            assert_eq!(done.get(), 7);
        }
        raiser.join();
        assert!(set.load(Relaxed), "the handler has returned");
        assert_eq!(process.died(), 0);
    });
}

/// Claim: while a signal has a flag or a subscriber at every moment, it never takes its default action, and is in
/// one of them at least.
/// Actors: raiser, one that makes a flag and ends the subscription. Exhaustive. Fails if the queue is told in two
/// steps that nobody receives it, and that it is noted; or if a handler that has entered no flag does not look again, or not
/// for what came before it was told (the fence relaxed, E1).
#[test]
fn flag_beside_a_mailbox() {
    Model::new("stop::flag_beside_a_mailbox").actors(2).check(|| {
        let process = process(1);
        let key = process.subscribe(1);
        let counter = counter();
        let raiser = process.raiser(1);
        process.add(Target::Count(counter));
        process.stop(key);
        raiser.join();
        let set = u64::from(counter.load(Relaxed));
        assert_eq!(process.died(), 0, "it was wanted at every moment");
        assert!(set <= 1 && set + process.delivered(key) >= 1, "neither set nor delivered");
        process.assert_idle();
    });
}

/// Claim: a subscription of a signal that had a flag alone receives what comes from then on, and the flag has it all.
/// Actors: raiser, subscriber. Exhaustive.
#[test]
fn mailbox_beside_a_flag() {
    Model::new("stop::mailbox_beside_a_flag").actors(2).check(|| {
        let process = process(1);
        let counter = counter();
        let flag = process.add(Target::Count(counter));
        let raiser = process.raiser(1);
        let key = process.subscribe(1);
        process.end(flag);
        raiser.join();
        process.hub.deliver_all(None);
        assert_eq!(process.died(), 0, "it was wanted at every moment");
        let (set, delivered) = (u64::from(counter.load(Relaxed)), process.delivered(key));
        assert!(set <= 1 && delivered <= 1 && set + delivered >= 1, "neither set nor delivered");
        process.assert_idle();
    });
}

/// Claim: Reset ends flags as Stop does.
/// Actors: raiser, resetter. Exhaustive.
#[test]
fn flag_against_reset() {
    Model::new("stop::flag_against_reset").actors(2).check(|| {
        let process = process(1);
        let counter = counter();
        let flag = process.add(Target::Count(counter));
        let raiser = process.raiser(1);
        process.hub.set_disposition(1, false).unwrap();
        let at_return = u64::from(counter.load(Relaxed));
        raiser.join();
        assert_eq!(u64::from(counter.load(Relaxed)), at_return, "set after Reset returned");
        assert_eq!(at_return + process.died(), 1, "set or defaulted, once");
        process.end(flag);
        process.assert_idle();
    });
}

/// Claim: a flag whose handle is gone has its place used again, while handlers come by that found it before: they
/// set what they were to set, or nothing, and no access to its target goes unordered (F4).
/// Actors: raiser, one that ends a flag and makes another. Exhaustive. Fails by an access that nothing orders if the
/// last handler is not waited for, or leaves relaxed; if it enters relaxed.
#[test]
fn flag_is_used_again() {
    Model::new("stop::flag_is_used_again").actors(2).check(|| {
        let process = process(1);
        // Which keeps the signal ours.
        let key = process.subscribe(1);
        let (old, new) = (counter(), counter());
        let flag = process.add(Target::Count(old));
        let raiser = process.raiser(1);
        process.end(flag);
        flag.disown();
        let at_return = old.load(Relaxed);
        let other = process.add(Target::Count(new));
        raiser.join();
        assert_eq!(old.load(Relaxed), at_return, "set after Stop returned");
        assert!(at_return + new.load(Relaxed) <= 1, "set twice");
        process.stop(key);
        assert_eq!(process.delivered(key), 1);
        process.end(other);
        process.assert_idle();
    });
}

/// Claim: in the child of a fork no handler of another thread is waited for.
/// Actors: a handler that is inside as another thread forks. Exhaustive. Fails as no progress if the child counts it.
#[test]
fn flag_in_a_child() {
    Model::new("stop::flag_in_a_child").actors(1).check(|| {
        let process = process(0);
        let flag = process.add(Target::Flag(flag()));
        // A thread that is not in the child.
        let _never_left = process.hub.flags.enter(1);
        // SAFETY: no other thread, no handler.
        unsafe { process.hub.in_child(&mut process.hub.lock(), 1) };
        process.end(flag);
    });
}

/// One handler against one Stop, as shipped but for what a control leaves out: who stops does not `wait`, or the
/// handler sets the flag `first`, and then asks the queue.
fn one_flag(wait: bool, first: bool) {
    let process = process(0);
    let counter = counter();
    let flags: &'static Flags = Box::leak(Box::new(Flags::new()));
    let flag = flags.add(&mut Some(Box::new(Flag::new(1))), 1, Target::Count(counter)).unwrap();
    process.hub.queue.note_only(1).unwrap();
    let theirs = process.clone();
    let handler = thread::spawn("handler", move || {
        let entered = flags.enter(1);
        let send = || theirs.hub.queue.send(1, Origin::UNKNOWN);
        let sent = if first {
            entered.leave(Sent::Noted);
            send()
        } else {
            let sent = send();
            entered.leave(sent);
            sent
        };
        u32::from(sent == Sent::Unwanted)
    });
    process.hub.queue.disable(1).unwrap();
    flag.end();
    while wait && !flag.is_quiet() {
        relax();
    }
    let at_return = counter.load(Relaxed);
    let defaulted = handler.join();
    let set = counter.load(Relaxed);
    if set != at_return {
        violation("set after Stop returned");
    }
    if set + defaulted != 1 {
        violation("set and defaulted");
    }
}

/// What the two below fail by is what they leave out, and not the model.
#[test]
fn flag_waited_for_and_set_last() {
    Model::new("stop::flag_waited_for_and_set_last").actors(2).check(|| one_flag(true, false));
}

/// Stop ends the flag and does not wait for a handler that is inside, which sets it when Stop has returned.
/// Passes: `stop::flag_against_stop`, `stop::flag_waited_for_and_set_last`.
#[test]
fn flag_is_not_waited_for() {
    Control::new("stop::flag_is_not_waited_for", "set after Stop returned")
        .actors(2)
        .check(|| one_flag(false, false));
}

/// The handler sets the flag before it has asked the queue, as one would that looks at flags alone: the signal is in
/// the flag, and ends the process too.
/// Passes: `stop::flag_against_stop`, `stop::flag_waited_for_and_set_last`.
#[test]
fn flag_is_set_first() {
    Control::new("stop::flag_is_set_first", "set and defaulted")
        .actors(2)
        .check(|| one_flag(true, true));
}

/// One handler against a flag that is made as the subscription ends. It looks for the flag `again`, or does not.
fn flag_after_mailbox(again: bool) {
    let process = process(0);
    let key = process.subscribe(1);
    let counter = counter();
    let theirs = process.clone();
    let handler = thread::spawn("handler", move || {
        let entered = theirs.hub.flags.enter(1);
        let sent = theirs.hub.queue.send(1, Origin::UNKNOWN);
        if !entered.leave(sent) && sent == Sent::Noted && again {
            let _ = theirs.hub.on_signal(1, Origin::UNKNOWN);
        }
    });
    process.add(Target::Count(counter));
    process.stop(key);
    handler.join();
    if u64::from(counter.load(Relaxed)) + process.delivered(key) == 0 {
        violation("neither set nor delivered");
    }
}

/// What the next one fails by is what it leaves out, and not the model.
#[test]
fn flag_is_looked_for_again() {
    Model::new("stop::flag_is_looked_for_again").actors(2).check(|| flag_after_mailbox(true));
}

/// The handler has looked at the flags before there was one, and takes the queue's word that the signal is a flag's:
/// as this crate first had it.
/// Passes: `stop::flag_is_looked_for_again`, `stop::flag_beside_a_mailbox`.
#[test]
fn flag_is_not_looked_for_again() {
    Control::new("stop::flag_is_not_looked_for_again", "neither set nor delivered")
        .actors(2)
        .check(|| flag_after_mailbox(false));
}

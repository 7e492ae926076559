//! The world: while it is stopped nobody runs, nobody is missed, and nobody waits for ever.

mod host;

use self::host::{Runtime, Unborn, work};
use super::preempt::host::{Ends, Way};
use super::{Bound, Model};
use crate::model::futex::Deadline;
use crate::model::{Kernel, thread};
use crate::note::{Note, Park};
use crate::preempt::host::Barrier;
use crate::preempt::{Asymmetric, Fenced, SuspendError, Target};
use crate::world::{EnterError, StopByError};

/// Explores `body` with both barriers.
macro_rules! both_barriers {
    ($name:literal, $actors:expr, $bound:expr, $body:expr) => {{
        let bounded =
            |name: &str| Model::new(name).actors($actors).bound(Bound::At($bound)).apart();
        bounded(concat!("world::", $name)).check(|| $body(Kernel::new(), Fenced));
        bounded(concat!("world::", $name, ": asymmetric")).check(|| {
            let kernel = Kernel::new().at_most(4).prompt();
            $body(kernel, Asymmetric::new().unwrap());
        });
    }};
}

mod ends;
mod handshake;
mod shutdown;
mod stack;

/// A member works, polls, works, and leaves, while another thread stops the world.
pub(crate) fn polls<B: Barrier + 'static>(kernel: Kernel, barrier: B) {
    let runtime = Runtime::new(1, kernel, barrier);
    let theirs = runtime.clone();
    let member = thread::spawn("member", move || {
        let mut own = theirs.enter();
        work(own.record());
        own.poll();
        work(own.record());
    });
    let stop = runtime.stop();
    runtime.collect(&stop);
    drop(stop);
    member.join();
    runtime.assert_open();
}

/// Claim: while the world is stopped no thread is inside, whether it enters, polls or leaves then (I1, I3); what
/// it wrote is seen by the stopper, and the other way round (E1 to E3, E5); and nobody waits for ever (I5).
/// Actors: a member, a stopper. Fails if who polls runs on.
#[test]
fn nobody_runs_while_stopped() {
    both_barriers!("nobody_runs_while_stopped", 2, 4, polls);
}

/// A member goes out, and comes in, while another thread stops the world.
pub(crate) fn returns<B: Barrier + 'static>(kernel: Kernel, barrier: B) {
    let runtime = Runtime::new(1, kernel, barrier);
    let mut own = runtime.enter();
    let stopper = runtime.stopper(1..=1);
    work(own.record());
    drop(own.external());
    work(own.record());
    runtime.leave(own, [stopper]);
}

/// Claim: who comes back to a stopped world waits, and sees what the stopper did (I1, I3, E5).
/// Actors: a member, a stopper. Fails if who comes in does not look again.
#[test]
fn returns_are_held() {
    both_barriers!("returns_are_held", 2, 4, returns);
}

/// A member bears a thread and goes on, while another thread stops the world.
pub(crate) fn births<B: Barrier + 'static>(kernel: Kernel, barrier: B) {
    let runtime = Runtime::new(2, kernel, barrier);
    let mut own = runtime.enter();
    // Before it was born, or while it is there, or after.
    let stopper = runtime.stopper(1..=2);
    let birth: Unborn<B> = own.birth().unwrap();
    // What is handed to the child is to be found from here on.
    work(birth.record());
    let child = thread::spawn("child", move || {
        let own = birth.enter().unwrap();
        work(own.record());
    });
    runtime.leave(own, [child, stopper]);
}

/// Claim: a thread that is born while the world is being stopped is seen, and does not run in it (I1, I2, E2).
/// Actors: a member, its child, a stopper. Bound 2. Fails if the stopper does not look for slots used since.
#[test]
fn born_during_stop() {
    both_barriers!("born_during_stop", 3, 2, births);
}

/// Claim: what is born by a member before it stops is listed (I2), in a slot that is new to the stopper.
/// Actors: a member, a stopper. Fails if the stopper lists what it saw before it waited.
#[test]
fn unborn_is_listed() {
    both_barriers!("unborn_is_listed", 2, 4, |kernel, barrier| {
        let runtime = Runtime::new(2, kernel, barrier);
        let mut own = runtime.enter();
        let stopper = runtime.stopper(2..=2);
        let birth = own.birth().unwrap();
        work(birth.record());
        let external = own.external();
        stopper.join();
        drop(external);
        work(birth.record());
        drop((birth, own));
        runtime.assert_open();
    });
}

/// Claim: who has a slot next sees what was put into its record for a thread that was not born after all (E3).
/// Actors: a member, a thread that enters. Fails if giving the slot up does not publish.
#[test]
fn birth_is_given_up() {
    both_barriers!("birth_is_given_up", 2, 4, |kernel, barrier| {
        let runtime = Runtime::new(2, kernel, barrier);
        let mut own = runtime.enter();
        let birth: Unborn<_> = own.birth().unwrap();
        let theirs = runtime.clone();
        let next = thread::spawn("next", move || {
            if let Ok(own) = theirs.world().enter() {
                work(own.record());
            }
        });
        work(birth.record());
        drop(birth);
        runtime.leave(own, [next]);
    });
}

/// Claim: a thread that enters by a slot of which a stop under way does not know waits for it (I1, E2, E5), and
/// later stops know of it.
/// Actors: a thread that enters, a stopper. Fails if who enters does not ask the world.
#[test]
fn enters_during_stop() {
    both_barriers!("enters_during_stop", 2, 3, |kernel, barrier| {
        let runtime = Runtime::new(1, kernel, barrier);
        let theirs = runtime.clone();
        let foreign = thread::spawn("foreign", move || {
            let own = theirs.enter();
            work(own.record());
        });
        for _ in 0..2 {
            let stop = runtime.stop();
            runtime.collect(&stop);
        }
        foreign.join();
        runtime.assert_open();
    });
}

/// Claim: of two that stop the world each has it alone, and sees what the other did (E4); one of them is a member,
/// and the other need not wait for it (I4).
/// Actors: a member that stops, another stopper. Fails if a member waits for its turn inside.
#[test]
fn two_stoppers() {
    both_barriers!("two_stoppers", 2, 4, |kernel: Kernel, barrier| {
        let runtime = Runtime::new(1, kernel, barrier);
        let mut own = runtime.enter();
        let other = runtime.stopper(1..=1);
        work(own.record());
        let stop = own.stop().unwrap();
        assert_eq!(runtime.collect(&stop), 1, "the stopper itself");
        drop(stop);
        work(own.record());
        runtime.leave(own, [other]);
    });
}

/// Two members stop the world.
fn both_stop<B: Barrier + 'static>(kernel: Kernel, barrier: B) {
    let runtime = Runtime::new(2, kernel, barrier);
    let stops = |runtime: Runtime<B>| {
        let mut own = runtime.enter();
        work(own.record());
        let stop = own.stop().unwrap();
        runtime.collect(&stop);
        drop(stop);
        work(own.record());
    };
    let theirs = runtime.clone();
    let other = thread::spawn("other", move || stops(theirs));
    stops(runtime.clone());
    other.join();
    runtime.assert_open();
}

/// Claim: two members that stop the world, each waiting for the other, both come back (I4).
/// Actors: two members. Bound 2. Fails, as a deadlock, if a member waits for its turn inside.
#[test]
fn members_stop_each_other() {
    both_barriers!("members_stop_each_other", 2, 2, both_stop);
}

/// Claim: a turn that is given while who waited for it gives up is had by the next (I5); who gave up has none to give
/// (E4).
/// Actors: who has the world stopped, one that waits for its turn until a deadline, one that waits for it without.
/// Fails, as a deadlock, if who was woken and is late does not look once more; or if who is late gives the turn.
#[test]
fn turn_is_passed_on() {
    both_barriers!("turn_is_passed_on", 3, 3, |kernel: Kernel, barrier| {
        let runtime = Runtime::new(1, kernel, barrier);
        let deadline = Deadline::after(core::time::Duration::ZERO);
        let stop = runtime.stop();
        let theirs = runtime.clone();
        let late = thread::spawn("late", move || match theirs.stop_until(&deadline) {
            Ok(_) | Err(StopByError::Busy) => {}
            Err(other) => panic!("{other}"),
        });
        let next = runtime.stopper(0..=0);
        kernel.expire_deadlines();
        runtime.write_all();
        drop(stop);
        late.join();
        next.join();
        runtime.assert_open();
    });
}

/// Claim: a slot that one thread leaves and another enters carries on what the first did (E3), while the world
/// is stopped in between or not.
/// Actors: two threads with one slot, a stopper. Bound 2. Fails if leaving does not publish.
#[test]
fn slot_changes_hands() {
    both_barriers!("slot_changes_hands", 3, 2, |kernel: Kernel, barrier| {
        let runtime = Runtime::new(1, kernel, barrier);
        let own = runtime.enter();
        let theirs = runtime.clone();
        let next = thread::spawn("next", move || {
            if let Ok(own) = theirs.world().enter() {
                work(own.record());
            }
        });
        let stopper = runtime.stopper(0..=1);
        work(own.record());
        drop(own);
        next.join();
        stopper.join();
        runtime.assert_open();
    });
}

/// Claim: a stop whose deadline passes says who runs, and lets go of the others; the world goes on.
/// Actors: a member that does not poll, a stopper. Fails if the world stays shut.
#[test]
fn deadline_passes() {
    both_barriers!("deadline_passes", 2, 4, |kernel: Kernel, barrier| {
        let runtime = Runtime::new(1, kernel, barrier);
        let own = runtime.enter();
        let (theirs, done) = (runtime.clone(), std::sync::Arc::new(Note::new()));
        let told = std::sync::Arc::clone(&done);
        let deadline = Deadline::after(core::time::Duration::ZERO);
        let stopper = thread::spawn("stopper", move || {
            // The member is inside until it is told.
            let Err(StopByError::Late(late)) = theirs.stop_until(&deadline) else {
                panic!("it did not stop");
            };
            assert_eq!(late.threads().count(), 1);
            drop(late);
            told.wake();
        });
        work(own.record());
        kernel.expire_deadlines();
        done.sleep(None);
        work(own.record());
        stopper.join();
        drop(own);
        runtime.assert_open();
    });
}

/// A thread that comes in to a gate that somebody has claimed, to suspend it, while the world is stopped.
pub(crate) fn claimed<B: Barrier + 'static>(kernel: Kernel, barrier: B) {
    let runtime = Runtime::new(1, kernel.at_most(4), barrier);
    let mut own = runtime.enter();
    let (theirs, thread) = (runtime.clone(), own.thread());
    let profiler = thread::spawn("profiler", move || {
        let asked = theirs.world().gates().request(thread).map(drop);
        assert!(matches!(asked, Ok(()) | Err(SuspendError::External)), "{asked:?}");
    });
    let external = own.external();
    let stopper = runtime.stopper(1..=1);
    drop(external);
    work(own.record());
    runtime.leave(own, [profiler, stopper]);
}

/// Claim: who comes in while its gate is claimed, and so looks in vain, sees the stop, or is seen (I1, E1).
/// Actors: a member, a profiler that asks it to be preempted, a stopper. Bound 2. Fails if that look is
/// believed.
#[test]
fn claimed_as_it_comes_in() {
    both_barriers!("claimed_as_it_comes_in", 3, 2, claimed);
}

/// A member that does not poll goes out and comes in, while another thread stops the world by suspending it if it
/// has to.
fn forced<B: Barrier + 'static>(way: Way, kernel: Kernel, barrier: B) {
    let runtime = Runtime::suspending(1, kernel, way, barrier);
    let mut own = runtime.enter();
    let deadline = Deadline::after(core::time::Duration::ZERO);
    kernel.expire_deadlines();
    let theirs = runtime.clone();
    let stopper = thread::spawn("stopper", move || {
        let late = match theirs.stop_until(&deadline) {
            Ok(stop) => return assert_eq!(theirs.collect(&stop), 1),
            Err(StopByError::Late(late)) => late,
            Err(other) => panic!("{other}"),
        };
        let mut targets: Vec<_> = late.threads().map(|it| Target::new(it.thread())).collect();
        let forced = late.suspend(&mut targets).expect("it stands, or is out");
        theirs.write_all();
        assert_eq!(forced.threads().count(), 1);
    });
    work(own.record());
    drop(own.external());
    work(own.record());
    runtime.leave(own, [stopper]);
}

/// Claim: a thread that does not poll is suspended where it is, or is out by then, and stays so (I1); what it wrote
/// is seen (E3).
/// Actors: a member, its handler, a stopper. Bound 3. Fails if who comes in does not look again.
#[test]
fn forced_stop() {
    for (name, way) in [("system", Way::System), ("signal", Way::Signal)] {
        let model = |barrier: &str| {
            let model = Model::new(format!("world::forced_stop: {name}{barrier}"));
            model.actors(3).bound(Bound::At(3)).apart()
        };
        model("").check(move || forced(way, Kernel::new().at_most(1), Fenced));
        model(": asymmetric").check(move || {
            let kernel = Kernel::new().at_most(4).prompt();
            forced(way, kernel, Asymmetric::new().unwrap());
        });
    }
}

/// Claim: a member whose stop is late comes in when that is over, and not before, as its own gate is shut, too (I4).
/// Actors: a member that stops, one that does not poll. Bound 3. Fails, as a deadlock, if it comes in first.
#[test]
fn member_is_refused() {
    both_barriers!("member_is_refused", 2, 3, |kernel: Kernel, barrier| {
        let runtime = Runtime::new(2, kernel, barrier);
        let mut own = runtime.enter();
        let deadline = Deadline::after(core::time::Duration::ZERO);
        kernel.expire_deadlines();
        let theirs = runtime.clone();
        let other = thread::spawn("other", move || {
            let own = theirs.enter();
            work(own.record());
        });
        match own.stop_by(&deadline) {
            Ok(stop) => _ = runtime.collect(&stop),
            Err(StopByError::Late(late)) => _ = late.threads().count(),
            Err(other) => panic!("{other}"),
        }
        work(own.record());
        runtime.leave(own, [other]);
    });
}

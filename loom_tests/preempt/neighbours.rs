//! Others in the process that stop threads by signals of their own, and take no turns: a conservative
//! collector.

use std::rc::Rc;
use std::sync::Arc;

use super::super::{Bound, Control, Model};
use super::host::{Others, Way, World};
use crate::model::futex;
use crate::model::thread::{self, ThreadId};
use crate::model::{Handler, Kernel, SigSet, sig};
use crate::note::{Note, Park};
use crate::preempt::{Fenced, Target};
use crate::sync::{AtomicU32, Ordering::*};

/// A collector: its handler says that the thread stands still, and waits for the end.
struct Collector {
    kernel: Kernel,
    standing: AtomicU32,
    over: AtomicU32,
}

impl Collector {
    fn new(kernel: Kernel) -> Rc<Self> {
        let own = Rc::new(Self { kernel, standing: AtomicU32::new(0), over: AtomicU32::new(0) });
        let theirs = Rc::clone(&own);
        kernel.sigaction(sig::USR2, Handler::new(move |_| theirs.stands()).mask(SigSet::ALL));
        own
    }

    fn stands(&self) {
        self.standing.fetch_add(1, AcqRel);
        futex::wake_one(&self.standing);
        while self.over.load(Acquire) == 0 {
            futex::wait(&self.over, 0, None);
        }
    }

    /// Stops all of them once.
    fn collect(&self, threads: &[ThreadId]) {
        let there = threads.iter().filter(|thread| self.kernel.try_tgkill(**thread, sig::USR2));
        let asked = there.count() as u32;
        loop {
            let standing = self.standing.load(Acquire);
            if standing >= asked {
                break;
            }
            futex::wait(&self.standing, standing, None);
        }
        self.over.store(1, Release);
        threads.iter().for_each(|_| futex::wake_one(&self.over));
    }
}

/// The collector stops a thread and who suspends it.
fn two_stop_the_worlds(others: Others, all: bool) {
    let kernel = Kernel::new().at_most(3).prompt();
    let world = World::new(kernel, Way::Signal, Fenced);
    world.backend().others.set(others);
    let collector = Collector::new(kernel);
    let member = world.register(0);
    let (theirs, target) = (world.clone(), member.thread());
    // A collector knows which threads are there: they stay until it is through.
    let over = Arc::new(Note::new());
    let ended = Arc::clone(&over);
    let suspender = thread::spawn("suspender", move || {
        if all {
            let mut targets = [Target::new(target)];
            let stopped = theirs.gates().stop_all(&mut targets);
            assert_eq!(stopped.stopped().count(), 1);
        } else {
            theirs.suspend(0, target).unwrap();
        }
        ended.sleep(None);
    });
    let threads = [thread::current(), suspender.id()];
    let collects = thread::spawn("collector", move || {
        collector.collect(&threads);
        over.wake();
    });
    world.work(0);
    suspender.join();
    collects.join();
    drop(member);
    world.assert_open(0);
}

/// Claim: one that suspends a thread, and a collector that stops both by signals of its own, both come to
/// their end, whoever was first (I9).
/// Actors: the thread, one that suspends it, a collector, their handlers. Bound 2. Fails, as a deadlock, if
/// who suspends does not mask the collector's signal, or does and does not give way.
#[test]
fn two_stop_the_worlds_come_back() {
    for (name, all) in [("one", false), ("all", true)] {
        Model::new(format!("preempt::two_stop_the_worlds_come_back: {name}"))
            .actors(4)
            .bound(Bound::At(2))
            .apart()
            .check(move || two_stop_the_worlds(Others::GivesWay, all));
    }
}

/// The collector stops who waits for the thread that stands in our handler, where it masks the
/// collector's signal. Passes: `preempt::two_stop_the_worlds_come_back`.
#[test]
fn suspender_is_stopped_by_others() {
    Control::new("preempt::suspender_is_stopped_by_others", "deadlock")
        .actors(4)
        .bound(Bound::At(2))
        .stands("main", "in the handler of SIGUSR1, futex wait: sleeps 2 at host.rs")
        .stands("suspender", "in the handler of SIGUSR2, futex wait: sleeps 0 at neighbours.rs")
        .check(|| two_stop_the_worlds(Others::Unmasked, false));
}

/// The thread stands in the collector's handler, where it masks ours; and the collector waits for who waits
/// for it. Passes: `preempt::two_stop_the_worlds_come_back`.
#[test]
fn suspender_masks_and_does_not_give_way() {
    Control::new("preempt::suspender_masks_and_does_not_give_way", "deadlock")
        .actors(4)
        .bound(Bound::At(2))
        .stands("main", "in the handler of SIGUSR2, futex wait: sleeps 0 at neighbours.rs")
        .stands("suspender", "futex wait: sleeps 1 at host.rs")
        .check(|| two_stop_the_worlds(Others::Masked, false));
}

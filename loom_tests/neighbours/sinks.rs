//! What the crate's thread hears in a sink, against who stops.
//!
//! Mirrored, and not shipped source: the kernel's calls of `signal/global.rs` and `signal/ours.rs`. Shipped:
//! `signal/closing.rs`, the hub, the queue.

use std::cell::Cell;
use std::sync::{Arc, Weak};

use super::super::{Bound, Control, Model};
use crate::model::{Disposition, Handler, How, Kernel as Sim, Outcome, SigSet, thread};
use crate::note::Deadline;
use crate::signal::closing::Closing;
use crate::signal::hub::{Hub, Kernel};
use crate::signal::mailbox::Key;
use crate::signal::set::SignalSet;
use crate::sigqueue::{Origin, Sent};
use crate::sync::{AtomicU32, Ordering::Relaxed};
use crate::sys::{Errno, Mask, Restored};

/// Stopped.
const SIGNAL: i32 = 1;
/// The sink's.
const SINKS: i32 = 2;
/// By which the crate's thread is asked.
const ASKS: i32 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Design {
    Shipped,
    /// The disposition changes whatever the crate's thread hears.
    NeverAsks,
    /// The answer says that nothing is under way, and leaves the thread open.
    StaysOpen,
    /// What begins after the answer is open again.
    OpensAgain,
}

struct System {
    sim: Sim,
    design: Design,
    hub: Weak<Hub<System>>,
    closing: Arc<Closing>,
    /// The crate's thread.
    ours: Cell<Option<thread::ThreadId>>,
}

// SAFETY: the threads of a model are coroutines of one real thread.
unsafe impl Send for System {}
// SAFETY: as above.
unsafe impl Sync for System {}

impl System {
    /// What is masked in ordinary threads, and in sinks that may hear: nothing.
    const OPEN: SigSet = SigSet::EMPTY;

    fn is_ours(&self) -> bool {
        self.ours.get() == Some(thread::current())
    }
}

impl Kernel for System {
    fn install(&self, signal: i32) -> Result<(), Errno> {
        let (sim, hub) = (self.sim, self.hub.clone());
        let handler = Handler::new(move |signal| {
            match hub.upgrade().expect("it outlives them").on_signal(signal, Origin::UNKNOWN) {
                Sent::Accepted | Sent::Coalesced | Sent::Noted | Sent::Ignored => {}
                Sent::Unwanted => sim.raise(signal),
            }
        });
        self.sim.sigaction(signal, handler.mask(SigSet::ALL));
        Ok(())
    }
    fn restore(&self, signal: i32) -> Result<Restored, Errno> {
        // As the shipped one does, which takes what was chosen for this thread meanwhile.
        _ = self.sim.sigaction_query(signal);
        self.sim.sigaction(signal, Disposition::Default);
        Ok(Restored::Previous)
    }
    fn set_default(&self, _: i32) -> Result<(), Errno> {
        unreachable!("nobody resets")
    }
    fn set_ignored(&self, _: i32) -> Result<(), Errno> {
        unreachable!("nobody ignores")
    }
    fn under(&self, _: &Mask, open: bool, body: &mut dyn FnMut()) {
        if !self.is_ours() {
            return body();
        }
        let open = open || self.design == Design::OpensAgain;
        let subscribed = SigSet::of(&[SIGNAL, SINKS]);
        let before = self.sim.sigmask(How::Set, if open { Self::OPEN } else { subscribed });
        body();
        self.sim.sigmask(How::Set, before);
    }
    fn would_hear(&self) -> bool {
        self.is_ours()
    }
    fn close(&self, is_open: &mut dyn FnMut() -> bool) {
        if self.design == Design::NeverAsks || self.is_ours() {
            return;
        }
        let thread = self.ours.get().expect("it was open");
        self.closing.ask(|| self.sim.try_tgkill(thread, ASKS), is_open);
    }
}

#[derive(Clone)]
struct Process {
    sim: Sim,
    hub: Arc<Hub<System>>,
}

fn process(design: Design, signals: u32) -> Process {
    // What comes too late acts by default: that is judged below, by its outcome.
    let sim = Sim::new().at_most(signals).may_die();
    let closing = Arc::new(Closing::new());
    let asked = Arc::clone(&closing);
    let handler = Handler::new(move |_| {
        asked.answer(|| {
            if design != Design::StaysOpen {
                sim.mask_on_return(SigSet::of(&[SIGNAL, SINKS]));
            }
        });
    });
    sim.sigaction(ASKS, handler.mask(SigSet::ALL));
    let hub = Arc::new_cyclic(|hub| {
        Hub::new(System { sim, design, hub: hub.clone(), closing, ours: Cell::new(None) })
    });
    Process { sim, hub }
}

impl Process {
    fn subscribe(&self, signal: i32, sink: Option<crate::signal::mailbox::Sink>) -> Key {
        self.hub.subscribe(SignalSet::new([signal]).unwrap(), 4, sink).unwrap().0
    }

    /// The crate's thread, which masks all but what it is asked by, calls the sinks that have something to do.
    fn ours(&self) -> thread::JoinHandle<()> {
        let theirs = self.clone();
        let before = self.sim.sigmask(How::Set, SigSet::ALL.without(ASKS));
        let ours = thread::spawn("the crate's", move || {
            theirs.hub.kernel.ours.set(Some(thread::current()));
            theirs.hub.deliver_all(None);
            theirs.hub.run_sinks();
        });
        self.sim.sigmask(How::Set, before);
        ours
    }
}

/// A sink is called, twice perhaps; somebody sends the process a signal, and stops its only subscription then. The
/// system gives it to the crate's thread if that hears it.
fn stop_beside_a_sink(design: Design, calls: u32) {
    let process = process(design, 6);
    let called = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&called);
    process.subscribe(SINKS, Some(Box::new(move |_| _ = count.fetch_add(1, Relaxed))));
    let key = process.subscribe(SIGNAL, None);
    for _ in 0..calls {
        process.sim.raise(SINKS);
        // Each a delivery of its own.
        process.hub.deliver_all(None);
    }
    let ours = process.ours();
    process.sim.chooses(ours.id());
    process.sim.kill(SIGNAL);
    let stopped = process.hub.stop(key, &Deadline::after(core::time::Duration::ZERO)).unwrap();
    assert_eq!(stopped, Default::default());
    let delivered = process.hub.locked(|table, _| table.mailboxes.get(key).unwrap().items.len());
    ours.join();
    assert_eq!(process.sim.outcome(), Outcome::Running, "sent before stop, acted after it");
    assert_eq!(delivered, 1, "sent before stop");
    assert_eq!(called.load(Relaxed), calls);
}

/// Claim: a signal that was sent before stop, to a process of which an ordinary thread hears it, is in the mailbox
/// when stop returns, and never acts by default, though the crate's thread hears it too while it runs a sink, and
/// the system gives it to that one.
/// Actors: the crate's thread with its handlers, who sends and stops. Bound 3. Fails if nobody asks that thread to
/// mask the signal first, if its answer leaves it open, or if what it begins afterwards is open again.
/// Shipped: `signal/closing.rs`, `Hub::changing`. On the real kernel: `neighbours::sinks::stop_beside_a_sink`.
#[test]
fn sink_hears_what_is_stopped() {
    for calls in [1, 2] {
        Model::new(format!("neighbours::sink_hears_what_is_stopped: {calls} calls"))
            .actors(2)
            .bound(Bound::At(3))
            .check(move || stop_beside_a_sink(Design::Shipped, calls));
    }
}

/// Passes: `neighbours::sink_hears_what_is_stopped`.
#[test]
fn sink_is_not_asked() {
    Control::new("neighbours::sink_is_not_asked", "sent before stop")
        .actors(2)
        .bound(Bound::At(2))
        .check(|| stop_beside_a_sink(Design::NeverAsks, 1));
}

/// Passes: `neighbours::sink_hears_what_is_stopped`.
#[test]
fn sink_answers_and_stays_open() {
    Control::new("neighbours::sink_answers_and_stays_open", "sent before stop")
        .actors(2)
        .bound(Bound::At(3))
        .check(|| stop_beside_a_sink(Design::StaysOpen, 1));
}

/// Passes: `neighbours::sink_hears_what_is_stopped`.
#[test]
fn sink_opens_again() {
    Control::new("neighbours::sink_opens_again", "sent before stop")
        .actors(2)
        .bound(Bound::At(3))
        .check(|| stop_beside_a_sink(Design::OpensAgain, 2));
}

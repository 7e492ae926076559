//! tokio's signal driver: the handler sets a flag for its signal and writes to a socket; a driver that wakes
//! by it drains the socket, takes the flags and tells the listeners.
//!
//! Promised: a signal that comes after the listener was polled is told to it; more than one may be told as one.

use std::rc::Rc;

use super::super::support::Payload;
use super::super::{Bound, Control, Model};
use super::one_order;
use crate::model::{Disposition, Kernel, futex, sig, thread};
use crate::sync::AtomicU32;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// What is done in which order.
#[derive(Clone, Copy, PartialEq)]
enum Steps {
    Shipped,
    /// The driver takes the flags, then drains.
    FlagsFirst,
    /// The handler writes, then sets its flag.
    WriteFirst,
}

struct Globals {
    pending: AtomicU32,
    /// Whether there is a byte in the socket, which has room for one: the rest is refused, as by a full one.
    socket: AtomicU32,
    /// epoll, edge-triggered: something was written since it was asked last.
    edge: AtomicU32,
    /// Signals that came, and how many of them have been told.
    came: AtomicU32,
    told: AtomicU32,
    steps: Steps,
}

impl Globals {
    fn new(steps: Steps) -> Rc<Self> {
        let [pending, socket, edge, came, told] = [0; 5].map(AtomicU32::new);
        Rc::new(Self { pending, socket, edge, came, told, steps })
    }

    fn action(&self) {
        self.came.fetch_add(1, Relaxed);
        if self.steps == Steps::WriteFirst {
            self.write();
        }
        one_order();
        // Theirs is a store. loom may have an exchange read what is older than a store that happened before it,
        // which C11 does not; that a store passes on less is `today_merged_signal_passes_nothing_on`.
        self.pending.swap(1, AcqRel);
        if self.steps != Steps::WriteFirst {
            self.write();
        }
    }

    /// Under the socket's lock; a refused write is no edge.
    fn write(&self) {
        if self.socket.fetch_or(1, AcqRel) == 0 {
            self.edge.swap(1, AcqRel);
            futex::wake_one(&self.edge);
        }
    }

    /// epoll_wait: an edge is reported if there still is something to read.
    fn park(&self) {
        loop {
            futex::wait(&self.edge, 0, None);
            if self.edge.swap(0, AcqRel) != 0 && self.socket.fetch_or(0, AcqRel) != 0 {
                return;
            }
        }
    }

    fn process(&self) {
        if self.steps == Steps::FlagsFirst {
            self.broadcast();
        }
        self.socket.swap(0, AcqRel);
        if self.steps != Steps::FlagsFirst {
            self.broadcast();
        }
    }

    /// What is told here is what the listeners find when they run.
    fn broadcast(&self) {
        one_order();
        if self.pending.swap(0, AcqRel) != 0 {
            let came = self.came.fetch_or(0, Relaxed);
            self.told.store(came, Release);
        }
    }

    /// A driver until as many signals have been told.
    fn drive(&self, signals: u32) {
        while self.told.load(Acquire) < signals {
            self.park();
            self.process();
        }
    }
}

fn install(kernel: Kernel, globals: &Rc<Globals>) {
    let theirs = Rc::clone(globals);
    kernel.sigaction(sig::USR1, Disposition::handler(move |_| theirs.action()));
}

/// Two signals, each handled by a thread of its own, and one driver.
fn two_handlers(steps: Steps) {
    let kernel = Kernel::new().at_most(1);
    let globals = Globals::new(steps);
    install(kernel, &globals);
    let raise = move || kernel.raise(sig::USR1);
    let threads = ["first", "second"].map(|name| thread::spawn(name, raise));
    globals.drive(2);
    threads.into_iter().for_each(thread::JoinHandle::join);
}

/// Claim: after each signal the listeners are told, however the handlers and the driver meet, and although the
/// socket is full. Actors: two threads with handlers, a driver. Bound 3.
#[test]
fn each_signal_is_told() {
    Model::new("found::tokio::each_signal_is_told")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| two_handlers(Steps::Shipped));
}

/// A driver that drains last: it empties the socket of a signal whose flag it has not seen.
/// Passes: `found::tokio::each_signal_is_told`.
#[test]
fn flags_before_the_socket() {
    Control::new("found::tokio::flags_before_the_socket", "deadlock")
        .actors(3)
        .bound(Bound::At(3))
        .stands("main", "futex wait: sleeps 0 at tokio.rs")
        .stands("first", "thread exits")
        .stands("second", "thread exits")
        .check(|| two_handlers(Steps::FlagsFirst));
}

/// A handler that writes first, as CPython's did: the driver finds no flag.
/// Passes: `found::tokio::each_signal_is_told`.
#[test]
fn socket_before_the_flag() {
    Control::new("found::tokio::socket_before_the_flag", "deadlock")
        .actors(3)
        .bound(Bound::At(3))
        .stands("main", "futex wait: sleeps 0 at tokio.rs")
        .stands("first", "thread exits")
        .stands("second", "thread exits")
        .check(|| two_handlers(Steps::WriteFirst));
}

/// Claim: the driver's own thread may be the one that is interrupted, anywhere in its turn. Exhaustive.
#[test]
fn driver_is_interrupted() {
    Model::new("found::tokio::driver_is_interrupted").actors(2).check(|| {
        let kernel = Kernel::new().at_most(2);
        let globals = Globals::new(Steps::Shipped);
        let theirs = Rc::clone(&globals);
        let twice = move |_| theirs.action();
        kernel.sigaction(sig::USR1, Disposition::handler(twice.clone()));
        kernel.sigaction(sig::USR2, Disposition::handler(twice));
        let sender = thread::spawn("sender", move || {
            kernel.tgkill(thread::main(), sig::USR1);
            kernel.tgkill(thread::main(), sig::USR2);
        });
        globals.drive(2);
        sender.join();
    });
}

/// What two threads have written before their signals, which are told as one.
fn what_was_written(merges_by_exchange: bool) {
    let kernel = Kernel::new().at_most(1);
    let flag = Rc::new(AtomicU32::new(0));
    let written = Rc::new([Payload::new(), Payload::new()]);
    let theirs = Rc::clone(&flag);
    let handler = move |_| {
        // Without `one_order`: loom has its fences pass on what C11 has passed on by what is read alone.
        if merges_by_exchange {
            theirs.swap(1, AcqRel);
        } else {
            theirs.store(1, Release);
        }
    };
    kernel.sigaction(sig::USR1, Disposition::handler(handler));
    let order = Rc::new(AtomicU32::new(0));
    let threads = [0, 1].map(|at| {
        let (written, order) = (Rc::clone(&written), Rc::clone(&order));
        thread::spawn(format!("writer {at}"), move || {
            written[at].set(7);
            kernel.raise(sig::USR1);
            order.fetch_add(1, Relaxed);
        })
    });
    // Both handlers are over, and nothing else is known of them.
    if order.fetch_or(0, Relaxed) == 2 && flag.swap(0, AcqRel) != 0 {
        written.iter().for_each(|written| _ = written.get());
    }
    threads.into_iter().for_each(thread::JoinHandle::join);
}

/// Today's flag is stored: of two signals that are told as one, what the earlier sender had written is not
/// passed on by it. tokio does not promise it. Passes: `found::tokio::merged_by_an_exchange`.
#[test]
fn today_merged_signal_passes_nothing_on() {
    Control::new("found::tokio::today_merged_signal_passes_nothing_on", "Causality violation")
        .actors(3)
        .stands("main", "cell read at tokio.rs")
        .check(|| what_was_written(false));
}

/// Claim: a flag that is set by an exchange passes on both. Exhaustive.
#[test]
fn merged_by_an_exchange() {
    Model::new("found::tokio::merged_by_an_exchange").actors(3).check(|| what_was_written(true));
}

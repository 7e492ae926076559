//! signal-hook-registry: the half lock, by which a handler reads what `register` and `unregister` replace, and
//! the order in which the first registration of a signal puts its parts in place.
//!
//! Promised: what a handler reads is not freed while it reads; an action is not called once `unregister` has
//! returned; the handler that was there before is called for each signal; a handler waits for nobody.

use std::rc::Rc;

use super::super::support::Payload;
use super::super::{Bound, Control, Model};
use super::one_order;
use crate::model::{Disposition, Kernel, sig, thread, violation};
use crate::sync::Ordering::{self, AcqRel, Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, AtomicUsize, relax};

/// The orders of a half lock.
#[derive(Clone, Copy, PartialEq)]
enum Orders {
    /// Sequentially consistent, each access: as it ships.
    Shipped,
    /// Those that its comments say would be enough, where they say one.
    Comments,
    /// The same, and a fence on each side between what it writes and what it reads.
    CommentsAndFences,
}

impl Orders {
    /// Before an access of which the comments say `weaker`.
    fn said(self, weaker: Ordering, shipped: Ordering) -> Ordering {
        if self == Self::Shipped {
            one_order();
            return shipped;
        }
        weaker
    }

    /// Before one of which they say nothing: as it ships.
    fn unsaid(self) {
        one_order();
    }

    fn fence(self) {
        if self == Self::CommentsAndFences {
            one_order();
        }
    }
}

const FREED: u32 = u32::MAX;

struct HalfLock {
    /// Which of the versions.
    data: AtomicUsize,
    generation: AtomicUsize,
    readers: [AtomicUsize; 2],
    /// Freed in turn, used once.
    versions: [Payload; 3],
    orders: Orders,
    /// Whether a writer waits for both counts.
    both: bool,
}

impl HalfLock {
    fn new(orders: Orders, both: bool) -> Rc<Self> {
        let [data, generation] = [0; 2].map(AtomicUsize::new);
        let readers = [0; 2].map(AtomicUsize::new);
        let versions = [0; 3].map(|_| Payload::new());
        Rc::new(Self { data, generation, readers, versions, orders, both })
    }

    /// A handler, from one end to the other.
    fn read(&self) {
        let generation = self.generation.load(self.orders.said(Relaxed, Acquire));
        let readers = &self.readers[generation % 2];
        readers.fetch_add(1, self.orders.said(Acquire, AcqRel));
        self.orders.fence();
        let version = self.data.load(self.orders.said(Acquire, Acquire));
        if self.versions[version].get() == FREED {
            violation("a handler reads what is freed");
        }
        readers.fetch_sub(1, self.orders.said(Release, AcqRel));
    }

    /// `WriteGuard::store`, under the writers' mutex.
    fn store(&self, version: usize) {
        let old = self.data.swap(version, self.orders.said(Release, AcqRel));
        self.orders.fence();
        self.wait_for_readers();
        self.versions[old].set(FREED);
    }

    fn wait_for_readers(&self) {
        let now = self.generation.load(Relaxed) % 2;
        let mut seen = [!self.both; 2];
        seen[now] = false;
        self.look(&mut seen);
        self.orders.unsaid();
        self.generation.fetch_add(1, AcqRel);
        while seen != [true; 2] {
            relax();
            self.look(&mut seen);
        }
    }

    fn look(&self, seen: &mut [bool; 2]) {
        for (seen, readers) in seen.iter_mut().zip(&self.readers) {
            if !*seen {
                self.orders.unsaid();
                *seen = readers.load(Acquire) == 0;
            }
        }
    }
}

/// A signal whose handler reads, at any step of a thread that writes, or of another one.
fn signal_against_stores(orders: Orders, both: bool, stores: usize, on_writer: bool) {
    let kernel = Kernel::new().at_most(1);
    let lock = HalfLock::new(orders, both);
    let theirs = Rc::clone(&lock);
    kernel.sigaction(sig::USR1, Disposition::handler(move |_| theirs.read()));
    let other = thread::spawn("other thread", move || {
        if on_writer {
            kernel.tgkill(thread::main(), sig::USR1);
        } else {
            kernel.raise(sig::USR1);
        }
    });
    (1..=stores).for_each(|version| lock.store(version));
    other.join();
}

/// Claim: as it ships, a handler on another thread reads nothing freed, through one replacement.
/// Actors: the writer, a thread with a handler. Bound 4.
#[test]
fn read_against_store() {
    Model::new("found::signal_hook::read_against_store")
        .actors(2)
        .bound(Bound::At(4))
        .check(|| signal_against_stores(Orders::Shipped, true, 1, false));
}

/// Claim: nor through two, with the generation read before the first. Bound 3.
#[test]
fn read_against_two_stores() {
    Model::new("found::signal_hook::read_against_two_stores")
        .actors(2)
        .bound(Bound::At(3))
        .check(|| signal_against_stores(Orders::Shipped, true, 2, false));
}

/// Claim: nor does the writer that its own handler interrupts, at any step, wait for it for ever. Exhaustive.
#[test]
fn writer_is_interrupted() {
    Model::new("found::signal_hook::writer_is_interrupted")
        .actors(2)
        .check(|| signal_against_stores(Orders::Shipped, true, 2, true));
}

/// A writer that waits for the readers of the last generation only: one that read the number before is late.
/// Passes: `found::signal_hook::read_against_two_stores`.
#[test]
fn one_count_is_waited_for() {
    Control::new("found::signal_hook::one_count_is_waited_for", "Causality violation")
        .actors(2)
        .bound(Bound::At(3))
        .stands("other thread", "in the handler of SIGUSR1, cell read at signal_hook.rs")
        .check(|| signal_against_stores(Orders::Shipped, false, 2, false));
}

/// The orders that the comments give: the reader counts itself and reads, the writer writes and reads the
/// count, and neither sees the other. Passes: `found::signal_hook::orders_of_the_comments_and_fences`.
#[test]
fn orders_of_the_comments() {
    Control::new("found::signal_hook::orders_of_the_comments", "Causality violation")
        .actors(2)
        .bound(Bound::At(3))
        .stands("other thread", "in the handler of SIGUSR1, cell read at signal_hook.rs")
        .check(|| signal_against_stores(Orders::Comments, true, 1, false));
}

/// Claim: with a fence on each side they are enough. Bound 4.
#[test]
fn orders_of_the_comments_and_fences() {
    Model::new("found::signal_hook::orders_of_the_comments_and_fences")
        .actors(2)
        .bound(Bound::At(4))
        .check(|| signal_against_stores(Orders::CommentsAndFences, true, 1, false));
}

/// The registry's two half locks, each as one word here: who was there before, and which signals have a slot.
struct Registry {
    /// The signal whose previous handler is remembered, beside the slots.
    fallback: AtomicU32,
    slots: AtomicU32,
    /// Calls of the handler that was there before.
    previous: AtomicU32,
}

impl Registry {
    fn handle(&self, signal: i32, fallback_first: bool) {
        let look = |word: &AtomicU32| {
            one_order();
            word.load(Acquire)
        };
        let (fallback, slots) = if fallback_first {
            let fallback = look(&self.fallback);
            (fallback, look(&self.slots))
        } else {
            let slots = look(&self.slots);
            (look(&self.fallback), slots)
        };
        if slots & 1 << signal != 0 || fallback == signal as u32 {
            self.previous.fetch_add(1, Relaxed);
        }
    }

    /// The first registration of `signal`.
    fn register(self: &Rc<Self>, kernel: Kernel, signal: i32, fallback_first: bool) {
        one_order();
        self.fallback.swap(signal as u32, AcqRel);
        let theirs = Rc::clone(self);
        let handler = move |signal| theirs.handle(signal, fallback_first);
        kernel.sigaction(signal, Disposition::handler(handler));
        one_order();
        self.slots.fetch_or(1 << signal, AcqRel);
    }
}

/// A signal while two are registered for the first time, each of which has a handler already.
fn signal_against_registrations(fallback_first: bool) {
    let kernel = Kernel::new().at_most(1);
    let [fallback, slots, previous] = [0; 3].map(AtomicU32::new);
    let registry = Rc::new(Registry { fallback, slots, previous });
    for signal in [sig::USR1, sig::USR2] {
        let theirs = Rc::clone(&registry);
        let handler = move |_| _ = theirs.previous.fetch_add(1, Relaxed);
        kernel.sigaction(signal, Disposition::handler(handler));
    }
    let other = thread::spawn("other thread", move || kernel.raise(sig::USR1));
    registry.register(kernel, sig::USR1, fallback_first);
    registry.register(kernel, sig::USR2, fallback_first);
    other.join();
    let called = registry.previous.load(Relaxed);
    if called != 1 {
        violation(format!("the handler that was there before was called {called} times"));
    }
}

/// Claim: the handler that was there before is called once for a signal, at whatever step of the registration
/// it comes, and of the next one. Actors: who registers, a thread with a handler. Exhaustive.
#[test]
fn previous_handler_is_called() {
    Model::new("found::signal_hook::previous_handler_is_called")
        .actors(2)
        .check(|| signal_against_registrations(true));
}

/// A handler that looks for its slot first: by the time it looks at who was there, that is another signal's.
/// Passes: `found::signal_hook::previous_handler_is_called`.
#[test]
fn slots_are_read_first() {
    Control::new("found::signal_hook::slots_are_read_first", "was called 0 times")
        .actors(2)
        .check(|| signal_against_registrations(false));
}

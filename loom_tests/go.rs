//! Go's signal queue and os/signal as published, as far as the historical bugs need it: three
//! words for the pending bits, the wish and the state, and a registry that the receiver's thread
//! asks. Which version it is, is a matter of [`Version`].

use std::sync::Arc;

use crate::model::{Disposition, Handler, Kernel, Outcome, SigSet, thread, violation};
use crate::note::{Note, Park};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::{self, AtomicU32, Mutex};

pub(super) const IDLE: u32 = 0;
pub(super) const RECEIVING: u32 = 1;
pub(super) const SENDING: u32 = 2;
pub(super) const FIXUP: u32 = 3;

const SIGNAL: u32 = 1;
const QUIT: u32 = 2;

/// How Stop waits for what was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Before 8ec7a39f: not at all.
    Not,
    /// 8ec7a39f: until the receiver sleeps.
    UntilIdle,
    /// eb97160f: first until no handler is in flight, counted by read-modify-writes.
    Counted,
    /// The same, the count read by a plain load.
    CountedByLoad,
}

#[derive(Debug)]
pub(super) struct GoQueue {
    pub(super) state: AtomicU32,
    wanted: AtomicU32,
    ignored: AtomicU32,
    mask: AtomicU32,
    delivering: AtomicU32,
    pub(super) note: Note,
    wait: Wait,
    registry: Mutex<Registry>,
}

/// Which of os/signal's two lists the channel stands in, and what it was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Registry {
    registered: bool,
    stopping: u32,
    pub(super) delivered: u32,
}

pub(super) fn queue(wait: Wait) -> Arc<GoQueue> {
    Arc::new(GoQueue {
        state: AtomicU32::new(IDLE),
        wanted: AtomicU32::new(0),
        ignored: AtomicU32::new(0),
        mask: AtomicU32::new(0),
        delivering: AtomicU32::new(0),
        note: Note::new(),
        wait,
        registry: Mutex::new(Registry::default()),
    })
}

impl GoQueue {
    fn counts(&self) -> bool {
        matches!(self.wait, Wait::Counted | Wait::CountedByLoad)
    }

    /// sigsend, in the handler.
    pub(super) fn send(&self, bit: u32) -> bool {
        if self.counts() {
            self.delivering.fetch_add(1, AcqRel);
        }
        let accepted = bit == QUIT || self.wanted.load(Acquire) != 0;
        if accepted && self.mask.fetch_or(bit, AcqRel) & bit == 0 {
            self.wake();
        }
        if self.counts() {
            self.delivering.fetch_sub(1, AcqRel);
        }
        accepted
    }

    fn wake(&self) {
        loop {
            // A read-modify-write, so that only the bug in question is found.
            let now = match self.state.compare_exchange(IDLE, SENDING, AcqRel, Acquire) {
                Ok(_) => return,
                Err(now) => now,
            };
            match now {
                SENDING
                    if self.state.compare_exchange(SENDING, SENDING, AcqRel, Relaxed).is_ok() =>
                {
                    return;
                }
                RECEIVING
                    if self.state.compare_exchange(RECEIVING, IDLE, AcqRel, Relaxed).is_ok() =>
                {
                    return self.note.wake();
                }
                // fd6ba1c8: the handler waits for the receiver to come round.
                FIXUP => sync::relax(),
                _ => {}
            }
        }
    }

    /// signal_recv.
    pub(super) fn recv(&self) -> u32 {
        loop {
            let bits = self.mask.swap(0, AcqRel);
            if bits != 0 {
                return bits;
            }
            if self.state.compare_exchange(IDLE, RECEIVING, AcqRel, Relaxed).is_ok() {
                self.note.sleep(None);
                self.note.clear();
                let _ = self.state.compare_exchange(FIXUP, IDLE, AcqRel, Relaxed);
            } else {
                let _ = self.state.compare_exchange(SENDING, IDLE, AcqRel, Relaxed);
            }
        }
    }

    /// os/signal's loop and process.
    pub(super) fn receive_until_quit(&self) {
        loop {
            let bits = self.recv();
            if bits & SIGNAL != 0 {
                let mut registry = self.registry.lock();
                registry.delivered += u32::from(registry.registered) + registry.stopping;
            }
            if bits & QUIT != 0 {
                return;
            }
        }
    }

    /// Notify: registered, wanted, the handler installed.
    pub(super) fn notify(self: &Arc<Self>, kernel: Kernel) {
        let mut registry = self.registry.lock();
        registry.registered = true;
        self.ignored.store(0, Release);
        self.wanted.store(1, Release);
        let queue = Arc::clone(self);
        let handler = Handler::new(move |signal| {
            if !queue.send(SIGNAL) && queue.ignored.load(Acquire) == 0 {
                kernel.sigaction(signal, Disposition::Default);
                kernel.raise(signal);
            }
        });
        kernel.sigaction(1, handler.mask(SigSet::ALL));
    }

    /// Stop.
    pub(super) fn stop(&self, kernel: Kernel) {
        let mut registry = self.registry.lock();
        if !registry.registered {
            return;
        }
        registry.registered = false;
        self.disable(kernel);
        if self.wait == Wait::Not {
            return;
        }
        registry.stopping += 1;
        drop(registry);
        self.wait_until_idle();
        self.registry.lock().stopping -= 1;
    }

    fn disable(&self, kernel: Kernel) {
        kernel.sigaction(1, Disposition::Default);
        self.wanted.store(0, Release);
    }

    fn wait_until_idle(&self) {
        loop {
            let in_flight = match self.wait {
                Wait::Counted => self.delivering.fetch_add(0, AcqRel),
                Wait::CountedByLoad => self.delivering.load(Acquire),
                Wait::Not | Wait::UntilIdle => 0,
            };
            if in_flight == 0 {
                break;
            }
            sync::relax();
        }
        while self.state.compare_exchange(RECEIVING, RECEIVING, AcqRel, Relaxed).is_err() {
            sync::relax();
        }
    }

    /// Reset: as Stop, but nobody stands in the list of the stopping, and nobody waits.
    pub(super) fn reset(&self, kernel: Kernel) {
        let mut registry = self.registry.lock();
        registry.registered = false;
        self.disable(kernel);
    }

    /// Ignore, with the published order of the two stores.
    pub(super) fn ignore(&self, kernel: Kernel) {
        let mut registry = self.registry.lock();
        registry.registered = false;
        kernel.sigaction(1, Disposition::Ignore);
        self.wanted.store(0, Release);
        self.ignored.store(1, Release);
    }

    pub(super) fn registry(&self) -> Registry {
        *self.registry.lock()
    }
}

/// One signal lands on a thread of its own while `act` runs in the main one and the receiver's
/// loop in a third; returns how often it was delivered, and whether the process died of it. The kernel is one
/// that may: after Stop the default action is what the signal is for, and each model judges what it is told.
pub(super) fn one_signal(
    queue: &Arc<GoQueue>,
    kernel: Kernel,
    act: impl FnOnce() + 'static,
) -> (u32, bool) {
    queue.notify(kernel);
    let theirs = Arc::clone(queue);
    let receiver = thread::spawn("receiver", move || theirs.receive_until_quit());
    let raiser = thread::spawn("raiser", move || kernel.raise(1));
    act();
    raiser.join();
    queue.send(QUIT);
    receiver.join();
    (queue.registry().delivered, kernel.outcome() != Outcome::Running)
}

/// The property of Stop and Reset.
pub(super) fn delivered_or_defaulted((delivered, died): (u32, bool)) {
    match (delivered, died) {
        (1, false) | (0, true) => {}
        (0, false) => violation("lost signal: neither delivered nor defaulted"),
        _ => panic!("delivered {delivered} times, died: {died}"),
    }
}

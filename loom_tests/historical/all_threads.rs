//! Operations on all threads as Go (fd6ba1c8, S5), glibc, musl and libpsx had them before each was
//! mended; what ships passes the model named beside each.

mod asked;
mod bell;

use std::rc::Rc;

use super::super::all_threads::host::{World, waker};
use super::super::{Bound, Control, Model};
use crate::model::futex;
use crate::model::thread;
use crate::model::{Handler, Kernel, SigSet, sig};
use crate::note::{Note, Park};
use crate::sigqueue::{Event, SignalQueue};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, relax};
use std::sync::Arc;

/// A call while a thread sleeps in the signal receiver, which is woken by its queue or by the note that it parks
/// on otherwise.
fn receiver_is_asleep(woken_by_queue: bool) {
    let world = World::new(Kernel::new());
    let (queue, joined) = (Arc::new(SignalQueue::new()), Arc::new(Note::new()));
    let (theirs, note) = (Arc::clone(&queue), Arc::clone(&joined));
    let receiver = world.thread("receiver", 1, move |_, member| {
        let park = Note::new();
        let wake = || match woken_by_queue {
            true => theirs.fixup(),
            false => park.wake(),
        };
        let mut receiver = theirs.receiver().unwrap();
        member.cooperate(&waker(&wake), |member| {
            note.wake();
            let event = receiver.recv(None, || _ = member.poll());
            assert!(matches!(event, Event::Closed));
        });
    });
    joined.sleep(None);
    let _ = world.call(0);
    queue.close();
    receiver.join();
}

/// golang/go#43149 (D2): the thread in signal_recv sleeps on the queue's note, and the coordinator
/// wakes the one that it parks on otherwise. Passes: `historical::receiver_woken_by_its_queue`,
/// `all_threads::receiver_asleep`.
#[test]
fn go43149_receiver_never_woken() {
    Control::new("historical::go43149_receiver_never_woken", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 1 at host.rs")
        .stands("receiver", "futex wait: sleeps 2 at note.rs")
        .check(|| receiver_is_asleep(false));
}

/// Claim: the same ends where the waker is the queue's.
#[test]
fn receiver_woken_by_its_queue() {
    Model::new("historical::receiver_woken_by_its_queue")
        .actors(2)
        .bound(Bound::At(3))
        .check(|| receiver_is_asleep(true));
}

/// The state of the signal queue in S5: a handler that finds FIXUP waits for IDLE, which the receiver
/// sets when it may run again.
struct Stopped {
    state: AtomicU32,
    /// The world is stopped: the receiver waits for it.
    world: AtomicU32,
    /// mFixup of the one other thread: its function is pending, its lock is taken.
    pending: AtomicU32,
    lock: AtomicU32,
    bell: AtomicU32,
}

const FIXUP: u32 = 1;

impl Stopped {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            state: AtomicU32::new(0),
            world: AtomicU32::new(1),
            pending: AtomicU32::new(0),
            lock: AtomicU32::new(0),
            bell: AtomicU32::new(0),
        })
    }

    /// sigsend: osyield while the state is sigFixup.
    fn send(&self) {
        while self.state.load(Acquire) == FIXUP {
            relax();
        }
    }

    /// signal_recv, woken: needs a P.
    fn receive(&self) {
        while self.world.load(Acquire) == 1 {
            futex::wait(&self.world, 1, None);
        }
        self.state.store(0, Release);
    }

    fn start_world(&self) {
        self.world.store(0, Release);
        futex::wake_one(&self.world);
    }

    /// mDoFixup.
    fn fix(&self) {
        while self.lock.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            relax();
        }
        self.pending.store(0, Release);
        futex::wake_one(&self.pending);
        self.lock.store(0, Release);
    }
}

/// A signal lands on the coordinator, which has the world stopped.
fn signal_on_caller(handler_waits: bool) {
    let kernel = Kernel::new().at_most(1);
    let go = Stopped::new();
    let theirs = Rc::clone(&go);
    kernel.sigaction(
        sig::USR2,
        Handler::new(move |_| {
            if handler_waits {
                theirs.send();
            }
        }),
    );
    go.state.store(FIXUP, Release);
    let theirs = Rc::clone(&go);
    let receiver = thread::spawn("receiver", move || theirs.receive());
    kernel.raise(sig::USR2);
    go.start_world();
    receiver.join();
}

/// golang/go#44193 (D3, a bug of S5): a signal lands on the coordinator, whose handler waits for the
/// receiver, which waits for the coordinator to start the world. Passes:
/// `historical::go44193_handler_waits_for_nothing`, `all_threads::signal_on_initiator`.
#[test]
fn go44193_signal_on_initiator() {
    Control::new("historical::go44193_signal_on_initiator", "no progress")
        .actors(2)
        .stands("main", "in the handler of SIGUSR2, ")
        .stands("receiver", "futex wait: sleeps 1 at all_threads.rs")
        .check(|| signal_on_caller(true));
}

/// Claim: the same ends where the handler goes on.
#[test]
fn go44193_handler_waits_for_nothing() {
    Model::new("historical::go44193_handler_waits_for_nothing")
        .actors(2)
        .check(|| signal_on_caller(false));
}

/// The other thread is parked; a signal on it finds FIXUP.
fn signal_on_parked(handler_fixes: bool) {
    let kernel = Kernel::new().at_most(1);
    let go = Stopped::new();
    let theirs = Rc::clone(&go);
    let handle = move |_| match handler_fixes {
        true => theirs.fix(),
        false => theirs.send(),
    };
    kernel.sigaction(sig::USR2, Handler::new(handle));
    let theirs = Rc::clone(&go);
    let parked = thread::spawn("parked", move || {
        while theirs.bell.load(Acquire) == 0 {
            futex::wait(&theirs.bell, 0, None);
        }
        theirs.fix();
    });
    let theirs = Rc::clone(&go);
    let receiver = thread::spawn("receiver", move || theirs.receive());
    go.state.store(FIXUP, Release);
    go.pending.store(1, Release);
    kernel.tgkill(parked.id(), sig::USR2);
    go.bell.store(1, Release);
    futex::wake_one(&go.bell);
    while go.pending.load(Acquire) == 1 {
        futex::wait(&go.pending, 1, None);
    }
    go.start_world();
    parked.join();
    receiver.join();
}

/// golang/go#44193 (D4, a bug of S5): the handler waits for the receiver, so that its own thread never
/// runs what the coordinator waits for. Passes: `all_threads::signal_on_parked_thread`.
#[test]
fn go44193_signal_on_parked_thread() {
    Control::new("historical::go44193_signal_on_parked_thread", "no progress")
        .actors(3)
        .stands("parked", "in the handler of SIGUSR2, ")
        .stands("main", "futex wait: sleeps 1 at all_threads.rs")
        .stands("receiver", "futex wait: sleeps 1 at all_threads.rs")
        .check(|| signal_on_parked(false));
}

/// golang/go#44193 (D4b): the handler runs it itself, but the code that it interrupted has the lock.
/// Passes: `all_threads::signal_inside_fixup`.
#[test]
fn go44193_signal_in_fixup_lock() {
    Control::new("historical::go44193_signal_in_fixup_lock", "no progress")
        .actors(3)
        .stands("parked", "in the handler of SIGUSR2, compare_exchange at all_threads.rs")
        .check(|| signal_on_parked(true));
}

/// A thread is blocked in read(2) while an operation is pending for it.
fn blocked_in_read(interrupts: bool) {
    let kernel = Kernel::new().at_most(1);
    let go = Stopped::new();
    let theirs = Rc::clone(&go);
    kernel.sigaction(sig::USR2, Handler::new(move |_| theirs.fix()).mask(SigSet::ALL));
    go.pending.store(1, Release);
    let theirs = Rc::clone(&go);
    let data = Rc::new(AtomicU32::new(0));
    let pipe = Rc::clone(&data);
    let blocked = thread::spawn("blocked", move || {
        while pipe.load(Acquire) == 0 {
            futex::wait(&pipe, 0, None);
        }
        theirs.fix();
    });
    if interrupts {
        kernel.tgkill(blocked.id(), sig::USR2);
    }
    while go.pending.load(Acquire) == 1 {
        futex::wait(&go.pending, 1, None);
    }
    data.store(1, Release);
    futex::wake_one(&data);
    blocked.join();
}

/// golang/go#50113 (D5): a thread blocked in read(2) polls nothing. Passes:
/// `historical::blocked_and_interrupted`, `all_threads::blocked_in_syscall`.
#[test]
fn go50113_blocked_in_syscall() {
    Control::new("historical::go50113_blocked_in_syscall", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 1 at all_threads.rs")
        .stands("blocked", "futex wait: sleeps 0 at all_threads.rs")
        .check(|| blocked_in_read(false));
}

/// Claim: the same ends where the thread is interrupted, and its handler runs what is pending.
#[test]
fn blocked_and_interrupted() {
    Model::new("historical::blocked_and_interrupted").actors(2).check(|| blocked_in_read(true));
}

//! Operations on all threads as Go (fd6ba1c8, S5), glibc, musl and libpsx had them before each was
//! mended; what ships passes the model named beside each.

use std::cell::Cell;
use std::rc::Rc;

use super::super::all_threads::host::{World, waker};
use super::super::support::Payload;
use super::super::{Bound, Control, Model};
use crate::model::futex;
use crate::model::thread::{self, ThreadId};
use crate::model::{Handler, Kernel, SigSet, sig};
use crate::note::{Note, Park};
use crate::sigqueue::{Event, SignalQueue};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, relax};
use std::sync::Arc;

/// golang/go#43149 (D2): the thread in signal_recv sleeps on the queue's note, and the coordinator
/// wakes the one that it parks on otherwise. Passes: `all_threads::receiver_asleep`.
#[test]
fn go43149_receiver_never_woken() {
    Control::new("historical::go43149_receiver_never_woken", "deadlock").actors(2).check(|| {
        let world = World::new(Kernel::new());
        let (queue, joined) = (Arc::new(SignalQueue::new()), Arc::new(Note::new()));
        let (theirs, note) = (Arc::clone(&queue), Arc::clone(&joined));
        let receiver = world.thread("receiver", 1, move |_, member| {
            let park = Note::new();
            let wake = || park.wake();
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
    });
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

/// golang/go#44193 (D3, a bug of S5): a signal lands on the coordinator, whose handler waits for the
/// receiver, which waits for the coordinator to start the world. Passes:
/// `all_threads::signal_on_initiator`.
#[test]
fn go44193_signal_on_initiator() {
    Control::new("historical::go44193_signal_on_initiator", "no progress").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let go = Stopped::new();
        let theirs = Rc::clone(&go);
        kernel.sigaction(sig::USR2, Handler::new(move |_| theirs.send()));
        go.state.store(FIXUP, Release);
        let theirs = Rc::clone(&go);
        let receiver = thread::spawn("receiver", move || theirs.receive());
        kernel.raise(sig::USR2);
        go.start_world();
        receiver.join();
    });
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
        .check(|| signal_on_parked(false));
}

/// golang/go#44193 (D4b): the handler runs it itself, but the code that it interrupted has the lock.
/// Passes: `all_threads::signal_inside_fixup`.
#[test]
fn go44193_signal_in_fixup_lock() {
    Control::new("historical::go44193_signal_in_fixup_lock", "no progress")
        .actors(3)
        .check(|| signal_on_parked(true));
}

/// golang/go#50113 (D5): a thread blocked in read(2) polls nothing. Passes:
/// `all_threads::blocked_in_syscall`.
#[test]
fn go50113_blocked_in_syscall() {
    Control::new("historical::go50113_blocked_in_syscall", "deadlock").actors(2).check(|| {
        let _kernel = Kernel::new();
        let go = Stopped::new();
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
        while go.pending.load(Acquire) == 1 {
            futex::wait(&go.pending, 1, None);
        }
        data.store(1, Release);
        futex::wake_one(&data);
        blocked.join();
    });
}

/// What the kernel keeps for each thread, and the caller's list of them.
struct Kept {
    kernel: Kernel,
    times: [Cell<u32>; 4],
    needs: [AtomicU32; 4],
    left: AtomicU32,
    arguments: Payload,
}

impl Kept {
    fn new(kernel: Kernel) -> Rc<Self> {
        let kept = Rc::new(Self {
            kernel,
            times: core::array::from_fn(|_| Cell::new(0)),
            needs: core::array::from_fn(|_| AtomicU32::new(0)),
            left: AtomicU32::new(0),
            arguments: Payload::new(),
        });
        let theirs = Rc::clone(&kept);
        let handler = Handler::new(move |_| theirs.on_signal());
        kernel.sigaction(sig::USR1, handler.mask(SigSet::ALL));
        kept
    }

    fn on_signal(&self) {
        let me = thread::current().number();
        if self.needs[me].swap(0, AcqRel) == 1 {
            self.times[me].set(self.times[me].get() + 1);
            assert_eq!(self.arguments.get(), 7, "the arguments were cleared");
            self.left.fetch_sub(1, Release);
            futex::wake_one(&self.left);
        }
    }

    fn ask(&self, thread: ThreadId) {
        self.left.fetch_add(1, AcqRel);
        self.needs[thread.number()].swap(1, AcqRel);
        self.kernel.try_tgkill(thread, sig::USR1);
    }

    fn wait(&self) {
        loop {
            match self.left.load(Acquire) {
                0 => break,
                left => _ = futex::wait(&self.left, left, None),
            }
        }
    }

    /// Somewhere for signals to land, until this is over.
    fn idle(&self, over: &AtomicU32) {
        while over.load(Acquire) == 0 {
            futex::wait(over, 0, None);
        }
    }
}

fn end(over: &AtomicU32) {
    over.store(1, Release);
    futex::wake_one(over);
    futex::wake_one(over);
}

/// D6: a thread is on the list before it is cloned; it is cloned by one that has run the operation, and
/// then asked. Passes: `all_threads::thread_born_during_call`.
#[test]
fn double_execution_by_clone() {
    Control::new("historical::double_execution_by_clone", "twice").actors(3).check(|| {
        let kept = Kept::new(Kernel::new().at_most(2).prompt());
        kept.arguments.set(7);
        let over = Rc::new(AtomicU32::new(0));
        let born = Rc::new(Cell::new(None));
        let (theirs, until, told) = (Rc::clone(&kept), Rc::clone(&over), Rc::clone(&born));
        let creator = thread::spawn("creator", move || {
            // Somewhere for the signal to land.
            relax();
            let inherited = theirs.times[thread::current().number()].get();
            let child = Rc::clone(&theirs);
            let clone = thread::spawn("clone", move || {
                let me = thread::current().number();
                child.times[me].set(inherited);
                child.idle(&until);
                assert!(child.times[me].get() <= 1, "run twice");
            });
            told.set(Some(clone.id()));
        });
        kept.ask(creator.id());
        kept.wait();
        creator.join();
        // It was on the list before it was cloned.
        kept.ask(born.get().expect("it is there by now"));
        kept.wait();
        end(&over);
    });
}

/// D6: the arguments are cleared when all were asked. Passes: `all_threads::two_threads_exactly_once`.
#[test]
fn args_cleared_before_acks() {
    Control::new("historical::args_cleared_before_acks", "Causality violation").actors(2).check(
        || {
            let kept = Kept::new(Kernel::new().at_most(1).prompt());
            kept.arguments.set(7);
            let over = Rc::new(AtomicU32::new(0));
            let (theirs, until) = (Rc::clone(&kept), Rc::clone(&over));
            let other = thread::spawn("other", move || theirs.idle(&until));
            kept.ask(other.id());
            kept.arguments.set(0);
            kept.wait();
            end(&over);
            other.join();
        },
    );
}

/// libpsx 2.76 (peers.md 4d): psx_lock is taken by ordinary code, and by the handler of the signal that
/// another caller sends. Passes: `all_threads::two_callers`.
#[test]
fn libpsx_two_callers_self_deadlock() {
    Control::new("historical::libpsx_two_callers_self_deadlock", "no progress").actors(2).check(
        || {
            let kernel = Kernel::new().at_most(1);
            let lock = Rc::new(AtomicU32::new(0));
            fn take(lock: &AtomicU32) {
                while lock.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
                    relax();
                }
            }
            let theirs = Rc::clone(&lock);
            let handle = move |_| {
                take(&theirs);
                theirs.store(0, Release);
            };
            kernel.sigaction(sig::USR1, Handler::new(handle));
            let other = thread::spawn("caller", move || kernel.tgkill(thread::main(), sig::USR1));
            take(&lock);
            lock.store(0, Release);
            other.join();
        },
    );
}

/// musl before 7f3a2925: one semaphore says that a thread was caught and that it may go on, so that one
/// which was caught takes what was meant for another, and goes on while the caller still works.
/// Passes: `all_threads::two_threads_exactly_once` (what is counted is answers and nothing else).
#[test]
fn musl_one_semaphore_two_purposes() {
    Control::new("historical::musl_one_semaphore_two_purposes", "mixed").actors(3).check(|| {
        let _kernel = Kernel::new();
        let (semaphore, done) = (Rc::new(AtomicU32::new(0)), Rc::new(Cell::new(false)));
        fn wait(semaphore: &AtomicU32) {
            loop {
                let seen = semaphore.load(Acquire);
                if seen == 0 {
                    futex::wait(semaphore, 0, None);
                } else if semaphore.compare_exchange(seen, seen - 1, AcqRel, Relaxed).is_ok() {
                    return;
                }
            }
        }
        fn post(semaphore: &AtomicU32) {
            semaphore.fetch_add(1, AcqRel);
            futex::wake_one(semaphore);
        }
        let caught = ["first", "second"].map(|name| {
            let (semaphore, done) = (Rc::clone(&semaphore), Rc::clone(&done));
            thread::spawn(name, move || {
                // Caught; then it waits to be let go.
                post(&semaphore);
                wait(&semaphore);
                assert!(done.get(), "goes on with mixed credentials");
            })
        });
        // Both are caught.
        wait(&semaphore);
        wait(&semaphore);
        relax();
        done.set(true);
        post(&semaphore);
        post(&semaphore);
        caught.into_iter().for_each(thread::JoinHandle::join);
    });
}

/// glibc before 523df511: an exiting thread is asked when it takes no signals any more, and does not
/// look before it is gone. Passes: `all_threads::thread_dies_during_call`.
#[test]
fn glibc_exit_race() {
    Control::new("historical::glibc_exit_race", "deadlock").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1).prompt();
        let kept = Kept::new(kernel);
        kept.arguments.set(7);
        let exits = thread::spawn("exits", move || {
            kernel.sigmask(crate::model::How::Block, SigSet::ALL);
            // Off the list only when it is gone.
        });
        kept.ask(exits.id());
        kept.wait();
        exits.join();
    });
}

/// glibc 25942 (4cab20fa): the caller has the lock of the threads' stacks while it waits for their
/// answers; a detached thread that exits needs it before it answers. Passes:
/// `all_threads::thread_dies_during_call` (nobody takes a lock to leave).
#[test]
fn glibc25942_detached_exit() {
    Control::new("historical::glibc25942_detached_exit", "deadlock").actors(2).check(|| {
        let _kernel = Kernel::new();
        let stacks = Rc::new(crate::sync::Mutex::new(()));
        let asked = Rc::new(AtomicU32::new(0));
        let (lock, flag) = (Rc::clone(&stacks), Rc::clone(&asked));
        let exits = thread::spawn("exits", move || {
            // Its stack goes to the cache; then it looks whether it is asked.
            drop(lock.lock());
            flag.swap(0, AcqRel);
            futex::wake_one(&flag);
        });
        let held = stacks.lock();
        asked.swap(1, AcqRel);
        while asked.load(Acquire) == 1 {
            futex::wait(&asked, 1, None);
        }
        drop(held);
        exits.join();
    });
}

/// The turn of this library, and two that wait for it with all signals masked: each is asked, the bell is rung
/// once, and who is woken passes it on if the bell has another number, as `look` finds it, than before.
fn pass_on(look: fn(&AtomicU32) -> u32) {
    struct Turn {
        taken: AtomicU32,
        bell: AtomicU32,
        asked: [AtomicU32; 2],
        left: AtomicU32,
    }
    impl Turn {
        fn ring(&self) {
            self.bell.fetch_add(1, Release);
            futex::wake_one(&self.bell);
        }
    }
    let _kernel = Kernel::new().at_most(0).prompt().wakes_tell_nothing();
    let turn = Rc::new(Turn {
        taken: AtomicU32::new(1),
        bell: AtomicU32::new(0),
        asked: core::array::from_fn(|_| AtomicU32::new(0)),
        left: AtomicU32::new(2),
    });
    let others = [0, 1].map(|at| {
        let turn = Rc::clone(&turn);
        thread::spawn("waits", move || {
            loop {
                let rung = turn.bell.load(Acquire);
                if turn.asked[at].swap(0, Acquire) == 1 {
                    turn.left.fetch_sub(1, Release);
                    futex::wake_one(&turn.left);
                }
                if turn.taken.swap(1, Acquire) == 0 {
                    turn.taken.swap(0, Release);
                    return turn.ring();
                }
                futex::wait(&turn.bell, rung, None);
                if look(&turn.bell) != rung {
                    futex::wake_one(&turn.bell);
                }
            }
        })
    });
    // They come to wait.
    relax();
    turn.asked.iter().for_each(|asked| _ = asked.swap(1, Release));
    turn.ring();
    loop {
        match turn.left.load(Acquire) {
            0 => break,
            left => _ = futex::wait(&turn.left, left, None),
        }
    }
    turn.taken.swap(0, Release);
    turn.ring();
    others.into_iter().for_each(thread::JoinHandle::join);
}

/// This library before it looked by a read-modify-write: one that is woken reads what there was before, passes
/// nothing on, and sleeps over the bell that it sees in the next turn. Passes:
/// `historical::passed_on_by_read_modify_write`, `all_threads::masked_callers_are_told_nothing`.
#[test]
fn passed_on_by_a_look() {
    Control::new("historical::passed_on_by_a_look", "deadlock")
        .actors(3)
        .bound(Bound::At(1))
        .check(|| pass_on(|bell| bell.load(Relaxed)));
}

/// Claim: both are told.
/// Actors: one that calls, two that wait. Bound 1. Fails if they look by a load.
#[test]
fn passed_on_by_read_modify_write() {
    Model::new("historical::passed_on_by_read_modify_write")
        .actors(3)
        .bound(Bound::At(1))
        .check(|| pass_on(|bell| bell.fetch_or(0, Relaxed)));
}

//! Threads that are asked by a signal each, as kernels and C libraries do it.

use std::cell::Cell;
use std::rc::Rc;

use super::super::super::support::Payload;
use super::super::super::{Bound, Control, Model};
use crate::model::futex;
use crate::model::thread::{self, ThreadId};
use crate::model::{Handler, Kernel, SigSet, sig};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, relax};

/// What the kernel keeps for each thread, and the caller's list of them.
struct Kept {
    kernel: Kernel,
    times: [Cell<u32>; 4],
    needs: [AtomicU32; 4],
    left: AtomicU32,
    arguments: Payload,
    /// A thread looks whether it has run this round.
    rounds: Cell<bool>,
}

impl Kept {
    fn new(kernel: Kernel) -> Rc<Self> {
        let kept = Rc::new(Self {
            kernel,
            times: core::array::from_fn(|_| Cell::new(0)),
            needs: core::array::from_fn(|_| AtomicU32::new(0)),
            left: AtomicU32::new(0),
            arguments: Payload::new(),
            rounds: Cell::new(false),
        });
        let theirs = Rc::clone(&kept);
        let handler = Handler::new(move |_| theirs.on_signal());
        kernel.sigaction(sig::USR1, handler.mask(SigSet::ALL));
        kept
    }

    fn on_signal(&self) {
        let me = thread::current().number();
        if self.needs[me].swap(0, AcqRel) == 1 {
            let times = &self.times[me];
            if !self.rounds.get() || times.get() == 0 {
                times.set(times.get() + 1);
            }
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

/// A thread that has run the operation clones one that was on the list before.
fn cloned_by_one_that_ran(rounds: bool) {
    let kept = Kept::new(Kernel::new().at_most(2).prompt());
    kept.arguments.set(7);
    kept.rounds.set(rounds);
    let [asked, over] = [0; 2].map(|_| Rc::new(AtomicU32::new(0)));
    let born = Rc::new(Cell::new(None));
    let (theirs, until, told) = (Rc::clone(&kept), Rc::clone(&over), Rc::clone(&born));
    let answered = Rc::clone(&asked);
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
        // It stays until it has answered.
        theirs.idle(&answered);
    });
    kept.ask(creator.id());
    kept.wait();
    end(&asked);
    creator.join();
    // It was on the list before it was cloned.
    kept.ask(born.get().expect("it is there by now"));
    kept.wait();
    end(&over);
}

/// D6: a thread is on the list before it is cloned; it is cloned by one that has run the operation, and
/// then asked. Passes: `historical::clone_inherits_the_round`, `all_threads::thread_born_during_call`.
#[test]
fn double_execution_by_clone() {
    Control::new("historical::double_execution_by_clone", "run twice")
        .actors(3)
        .check(|| cloned_by_one_that_ran(false));
}

/// Claim: who looks at the round that it has inherited answers, and does not run it again.
#[test]
fn clone_inherits_the_round() {
    Model::new("historical::clone_inherits_the_round")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| cloned_by_one_that_ran(true));
}

/// D6: the arguments are cleared when all were asked. Passes: `all_threads::two_threads_exactly_once`.
#[test]
fn args_cleared_before_acks() {
    Control::new("historical::args_cleared_before_acks", "Causality violation")
        .actors(2)
        .stands("main", "futex wait: sleeps 1 at asked.rs")
        .stands("other", "in the handler of SIGUSR1, cell read at asked.rs")
        .check(|| {
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
        });
}

/// libpsx 2.76 (peers.md 4d): psx_lock is taken by ordinary code, and by the handler of the signal that
/// another caller sends. Passes: `all_threads::two_callers`.
#[test]
fn libpsx_two_callers_self_deadlock() {
    Control::new("historical::libpsx_two_callers_self_deadlock", "no progress")
        .actors(2)
        .stands("main", "in the handler of SIGUSR1, ")
        .stands("caller", "thread exits")
        .check(|| {
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
        });
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
    Control::new("historical::glibc_exit_race", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 1 at asked.rs")
        .stands("exits", "thread exits")
        .check(|| {
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
    Control::new("historical::glibc25942_detached_exit", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 1 at asked.rs")
        .stands("exits", "lock at asked.rs")
        .check(|| {
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

//! The gate of golang/go runtime/os_windows.go (957259b7, S3) with each of its parts left out, and
//! what others built to the same end.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::super::preempt::host::{Way, World};
use super::super::preempt::out_and_back;
use super::super::{Bound, Control, Model};
use crate::model::futex;
use crate::model::thread::{self, ThreadId};
use crate::model::{Handler, Kernel, Outcome, sig, violation};
use crate::preempt::host::{Barrier, Claim};
use crate::preempt::{Asymmetric, Fenced};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, Mutex, relax};
use crate::sys::Errno;

/// Which part is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// SuspendThread fails, and preemptExtLock stays taken.
    Reopening,
    /// It fails, and preemptGen stays as it is.
    Acknowledging,
    /// suspendLock is released before GetThreadContext.
    Waiting,
}

/// preemptM, osPreemptExtEnter, osPreemptExtExit, exit.
struct Go {
    kernel: Kernel,
    without: Without,
    /// A thread's preemptExtLock and preemptGen.
    lock: [AtomicU32; 2],
    generation: AtomicU32,
    suspend_lock: AtomicU32,
    /// SuspendThread fails, once.
    fails: Cell<bool>,
}

fn take(lock: &AtomicU32) {
    while lock.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
        relax();
    }
}

impl Go {
    fn new(kernel: Kernel, without: Without) -> Rc<Self> {
        Rc::new(Self {
            kernel: kernel.suspending(),
            without,
            lock: [AtomicU32::new(0), AtomicU32::new(0)],
            generation: AtomicU32::new(0),
            suspend_lock: AtomicU32::new(0),
            fails: Cell::new(false),
        })
    }

    fn enter(&self, at: usize) {
        take(&self.lock[at]);
    }

    fn leave(&self, at: usize) {
        self.lock[at].store(0, Release);
    }

    fn acknowledge(&self) {
        self.generation.fetch_add(1, Release);
    }

    fn preempt(&self, at: usize, target: ThreadId, body: impl FnOnce()) {
        if self.lock[at].compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            return self.acknowledge();
        }
        take(&self.suspend_lock);
        if self.fails.take() || !self.kernel.suspend(target) {
            self.suspend_lock.store(0, Release);
            if self.without != Without::Reopening {
                self.leave(at);
            }
            if self.without != Without::Acknowledging {
                self.acknowledge();
            }
            return;
        }
        if self.without == Without::Waiting {
            self.suspend_lock.store(0, Release);
        }
        self.kernel.thread_context(target);
        if self.without != Without::Waiting {
            self.suspend_lock.store(0, Release);
        }
        body();
        self.leave(at);
        self.acknowledge();
        self.kernel.resume(target);
    }
}

/// A process ends while another thread preempts the one that ends it.
fn exit_against_preempt(gate: bool) {
    let kernel = Kernel::new().at_most(1);
    let go = Go::new(kernel, Without::Nothing);
    let theirs = Rc::clone(&go);
    let other = thread::spawn("preempts", move || theirs.preempt(0, thread::main(), || ()));
    if gate {
        go.enter(0);
    }
    kernel.exit_process(0);
    other.join();
    assert_ne!(kernel.outcome(), Outcome::Ghost, "ghost process");
}

/// golang/go#35775 (C1): C code calls ExitProcess while its thread is being suspended.
/// Passes: `preempt::suspend_against_exit_process`.
#[test]
fn go35775_ghost_process() {
    Control::new("historical::go35775_ghost_process", "ghost process")
        .actors(2)
        .check(|| exit_against_preempt(false));
}

#[test]
fn go_957259b7_gated_exit() {
    Model::new("historical::go_957259b7_gated_exit").actors(2).check(|| exit_against_preempt(true));
}

/// C2f: the runtime's own exit takes no part in it. Passes: `preempt::suspend_against_exit_process`.
#[test]
fn exit_without_gate() {
    Control::new("historical::exit_without_gate", "ghost process").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let world = World::new(kernel, Way::System, Fenced);
        let member = world.register(0);
        let (theirs, target) = (world.clone(), member.thread());
        let other = thread::spawn("suspender", move || _ = theirs.suspend(0, target));
        kernel.exit_process(0);
        other.join();
        assert_ne!(kernel.outcome(), Outcome::Ghost, "ghost process");
        drop(member);
    });
}

fn failed_attempt(without: Without) {
    let go = Go::new(Kernel::new().at_most(1).prompt(), without);
    go.fails.set(true);
    let theirs = Rc::clone(&go);
    let other = thread::spawn("preempts", move || {
        theirs.preempt(0, thread::main(), || ());
        // suspendG goes on when the attempt is over, one way or the other.
        while theirs.generation.load(Acquire) == 0 {
            relax();
        }
    });
    go.enter(0);
    go.leave(0);
    other.join();
    go.enter(0);
    go.leave(0);
}

/// C2b, dotnet/runtime#130144: an attempt that fails leaves the gate closed.
/// Passes: `preempt::early_returns_leave_gate_open`.
#[test]
fn gate_left_closed_on_failure() {
    Control::new("historical::gate_left_closed_on_failure", "no progress")
        .actors(2)
        .stands("main", "compare_exchange at preempt.rs")
        .stands("preempts", "thread exits")
        .check(|| failed_attempt(Without::Reopening));
}

/// C2c: one that fails is not acknowledged. Passes: `preempt::request_always_acknowledged`.
#[test]
fn no_acknowledge_on_failure() {
    Control::new("historical::no_acknowledge_on_failure", "no progress")
        .actors(2)
        .stands("preempts", "load Acquire -> 0 at preempt.rs")
        .check(|| failed_attempt(Without::Acknowledging));
}

#[test]
fn go_957259b7_failed_attempt() {
    Model::new("historical::go_957259b7_failed_attempt")
        .actors(2)
        .bound(Bound::At(3))
        .check(|| failed_attempt(Without::Nothing));
}

fn each_other(without: Without) {
    let go = Go::new(Kernel::new().at_most(1), without);
    let theirs = Rc::clone(&go);
    let other = thread::spawn("other", move || theirs.preempt(0, thread::main(), || ()));
    go.preempt(1, other.id(), || ());
    other.join();
}

/// C2d: suspendLock is released when the suspension was asked for, not when it is there.
/// Passes: `preempt::mutual_suspend`.
#[test]
fn unlock_before_context() {
    Control::new("historical::unlock_before_context", "deadlock")
        .actors(2)
        .bound(Bound::At(3))
        .stands("main", "= stopped at preempt.rs")
        .stands("other", "= stopped at preempt.rs")
        .check(|| each_other(Without::Waiting));
}

#[test]
fn go_957259b7_each_other() {
    Model::new("historical::go_957259b7_each_other")
        .actors(2)
        .bound(Bound::At(3))
        .check(|| each_other(Without::Nothing));
}

/// golang/go#80982 (C3): a lock is taken while the thread that may have it is suspended.
/// Passes: `preempt::enter_against_suspend` (nothing is called in between).
#[test]
fn go80982_lock_between_suspend_and_resume() {
    Control::new("historical::go80982_lock_between_suspend_and_resume", "deadlock")
        .actors(2)
        .stands("main", "= stopped at sync.rs")
        .stands("preempts", "lock at preempt.rs")
        .check(|| {
            let go = Go::new(Kernel::new().at_most(1).prompt(), Without::Nothing);
            let profile = Arc::new(Mutex::new(()));
            let (theirs, lock) = (Rc::clone(&go), Arc::clone(&profile));
            let other = thread::spawn("preempts", move || {
                theirs.preempt(0, thread::main(), || drop(lock.lock()));
            });
            drop(profile.lock());
            other.join();
        });
}

/// golang/go#50557 (C5), c216c3aa9f (C6): the handle is read, the thread ends its runtime life and
/// closes it, another thread's has the same value.
/// Passes: `preempt::thread_gone_during_suspend`.
#[test]
fn go50557_suspend_after_unminit() {
    Control::new("historical::go50557_suspend_after_unminit", "the wrong thread").actors(2).check(
        || {
            let kernel = Kernel::new().at_most(1).prompt().suspending();
            let published = Rc::new(Cell::new(Some(kernel.open_thread(thread::main()))));
            let handle = Rc::clone(&published);
            let profiler = thread::spawn("profiler", move || {
                let Some(handle) = handle.get() else { return };
                let Some(named) = kernel.thread_of(handle) else { return };
                if named != thread::main() {
                    violation("suspended the wrong thread");
                }
                kernel.suspend(named);
                kernel.thread_context(named);
                kernel.resume(named);
            });
            let own = published.get().expect("it is registered");
            relax();
            published.set(None);
            // unminit
            kernel.close_thread(own);
            kernel.open_thread(profiler.id());
            profiler.join();
        },
    );
}

/// bdwgc#633: a stopped thread waits in its handler until it is woken, by whatever signal.
/// Passes: `preempt::foreign_signal_during_suspend`.
#[test]
fn bdwgc633_foreign_signal_wakes_suspended() {
    Control::new("historical::bdwgc633_foreign_signal_wakes_suspended", "moved while suspended")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| {
            let kernel = Kernel::new().at_most(2).prompt();
            let (stopped, bell) = (Rc::new(Cell::new(false)), Arc::new(AtomicU32::new(0)));
            let (theirs, sleeps) = (Rc::clone(&stopped), Arc::clone(&bell));
            let told = Arc::new(AtomicU32::new(0));
            let tell = Arc::clone(&told);
            let stop = move |_| {
                theirs.set(true);
                tell.store(1, Release);
                futex::wake_one(&tell);
                // sigsuspend: any handler ends it.
                futex::wait(&sleeps, 0, None);
            };
            kernel.sigaction(sig::USR1, Handler::new(stop));
            let foreign = Arc::clone(&bell);
            let wakes = move |_| {
                foreign.fetch_add(1, Relaxed);
                futex::wake_one(&foreign);
            };
            kernel.sigaction(sig::USR2, Handler::new(wakes));
            let (held, resumes) = (Rc::clone(&stopped), Arc::clone(&bell));
            let collector = thread::spawn("collector", move || {
                kernel.tgkill(thread::main(), sig::USR1);
                while told.load(Acquire) == 0 {
                    futex::wait(&told, 0, None);
                }
                relax();
                held.set(false);
                resumes.fetch_add(1, Relaxed);
                futex::wake_one(&resumes);
            });
            let foreign =
                thread::spawn("foreign", move || kernel.tgkill(thread::main(), sig::USR2));
            bell.load(Relaxed);
            if stopped.get() {
                violation("moved while suspended");
            }
            collector.join();
            foreign.join();
        });
}

/// The suspender does not pay for what the thread leaves out.
struct NobodyPays(Asymmetric);

// SAFETY: it does not keep the promise, which is what is to be seen.
unsafe impl Barrier for NobodyPays {
    fn look(&self, claim: &Claim) -> u32 {
        self.0.look(claim)
    }
    fn heavy(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// Two plain stores and loads, each side's load before the other's store.
/// Passes: `preempt::asymmetric_enter_against_suspend`.
#[test]
fn asymmetric_without_heavy_barrier() {
    Control::new("historical::asymmetric_without_heavy_barrier", "suspended in external code")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| {
            let kernel = Kernel::new().at_most(2).prompt();
            out_and_back(kernel, Way::System, NobodyPays(Asymmetric::new().unwrap()));
        });
}

/// A queue for the turn: who has stopped a thread that is next in it waits for what that one cannot give
/// back. Passes: `preempt::stopped_waiter_holds_nobody_up`.
#[test]
fn turn_by_ticket() {
    Control::new("historical::turn_by_ticket", "no progress")
        .actors(2)
        .stands("main", " at preempt.rs")
        .stands("waiter", "= stopped at preempt.rs")
        .check(|| {
            let kernel = Kernel::new().at_most(1).suspending();
            let turns = Rc::new([AtomicU32::new(0), AtomicU32::new(0)]);
            let [mine, theirs] = [Rc::clone(&turns), turns];
            let take = |[next, served]: &[AtomicU32; 2]| {
                let ticket = next.fetch_add(1, Relaxed);
                while served.load(Acquire) != ticket {
                    relax();
                }
            };
            let give = |[_, served]: &[AtomicU32; 2]| _ = served.fetch_add(1, Release);
            let waiter = thread::spawn("waiter", move || {
                take(&theirs);
                give(&theirs);
            });
            take(&mine);
            let stopped = kernel.suspend(waiter.id());
            if stopped {
                kernel.thread_context(waiter.id());
            }
            give(&mine);
            // For another thread, before this one goes on.
            take(&mine);
            give(&mine);
            if stopped {
                kernel.resume(waiter.id());
            }
            waiter.join();
        });
}

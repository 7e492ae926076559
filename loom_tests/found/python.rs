//! CPython: `trip_signal` in the C handler, `handle_signals` and `_PyErr_CheckSignalsTstate` in the main
//! thread, and what the child of a fork forgets.
//!
//! Promised: the Python handler of a signal is called after the C handler ran, in the main thread; signals of
//! one number may be one call; who sleeps on the wakeup fd is woken.

use std::rc::Rc;

use super::super::{Control, Model};
use super::one_order;
use crate::model::{Disposition, How, Kernel, SigSet, futex, sig, thread, violation};
use crate::sync::AtomicU32;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// How the main thread takes the word back that says that there is something to look for.
#[derive(Clone, Copy, PartialEq)]
enum Clear {
    /// By a store, after a load: as it ships.
    Store,
    /// The same, and then nothing is read before that is seen: a sequentially consistent store is so on x86;
    /// sequentially consistent loads of the flags would be so everywhere.
    StoreAndBarrier,
}

/// When the C handler writes to the wakeup fd.
#[derive(Clone, Copy, PartialEq)]
enum Wake {
    Last,
    /// Before the flags: until bpo-30038 (python/cpython#74224).
    First,
}

const SIGNALS: [i32; 2] = [sig::USR1, sig::USR2];

struct Interpreter {
    /// `Handlers[i].tripped`.
    tripped: [AtomicU32; 2],
    is_tripped: AtomicU32,
    /// The bit of signals in the main thread's `eval_breaker`.
    breaker: AtomicU32,
    /// Whether there is something to read at the wakeup fd.
    wakeup: AtomicU32,
    /// Calls of the Python handlers.
    called: [AtomicU32; 2],
    clear: Clear,
    wake: Wake,
}

impl Interpreter {
    fn new(clear: Clear, wake: Wake) -> Rc<Self> {
        let [is_tripped, breaker, wakeup] = [0; 3].map(AtomicU32::new);
        let [tripped, called] = [0; 2].map(|_| [0; 2].map(AtomicU32::new));
        Rc::new(Self { tripped, is_tripped, breaker, wakeup, called, clear, wake })
    }

    /// Installs the C handler for both signals.
    fn install(self: &Rc<Self>, kernel: Kernel) {
        for (at, signal) in SIGNALS.into_iter().enumerate() {
            let theirs = Rc::clone(self);
            kernel.sigaction(signal, Disposition::handler(move |_| theirs.trip(at)));
        }
    }

    fn trip(&self, at: usize) {
        if self.wake == Wake::First {
            self.write_wakeup();
        }
        one_order();
        self.tripped[at].store(1, Release);
        one_order();
        self.is_tripped.store(1, Release);
        one_order();
        self.breaker.fetch_or(1, AcqRel);
        if self.wake == Wake::Last {
            self.write_wakeup();
        }
    }

    /// write(2) and poll(2): the kernel's lock of the pipe.
    fn write_wakeup(&self) {
        self.wakeup.fetch_or(1, AcqRel);
        futex::wake_one(&self.wakeup);
    }

    fn poll_wakeup(&self) {
        while self.wakeup.fetch_or(0, AcqRel) == 0 {
            futex::wait(&self.wakeup, 0, None);
        }
    }

    fn drain_wakeup(&self) {
        self.wakeup.swap(0, AcqRel);
    }

    /// At an instruction that looks at the breaker.
    fn look(&self) {
        if self.breaker.load(Relaxed) != 0 {
            one_order();
            self.breaker.fetch_and(!1, AcqRel);
            self.check_signals();
        }
    }

    fn check_signals(&self) {
        one_order();
        if self.is_tripped.load(Acquire) == 0 {
            return;
        }
        one_order();
        self.is_tripped.store(0, Release);
        if self.clear == Clear::StoreAndBarrier {
            one_order();
        }
        for (tripped, called) in self.tripped.iter().zip(&self.called) {
            if tripped.load(Relaxed) != 0 {
                tripped.store(0, Relaxed);
                called.fetch_add(1, Relaxed);
            }
        }
    }

    /// `_PySignal_AfterFork`, in the child.
    fn after_fork(&self) {
        one_order();
        if self.is_tripped.load(Acquire) != 0 {
            one_order();
            self.is_tripped.store(0, Release);
            self.tripped.iter().for_each(|tripped| tripped.store(0, Relaxed));
        }
    }

    /// All C handlers are over, and the main thread looks once more.
    fn assert_called(&self, signals: usize) {
        self.look();
        for called in &self.called[..signals] {
            if called.load(Relaxed) == 0 {
                violation("tripped, and nobody looks for it");
            }
        }
    }
}

/// Two signals, handled by another thread than the main one, while that looks.
fn on_another_thread(clear: Clear) {
    let kernel = Kernel::new().at_most(2);
    let interpreter = Interpreter::new(clear, Wake::Last);
    interpreter.install(kernel);
    let other = thread::spawn("other thread", move || {
        kernel.raise(SIGNALS[0]);
        kernel.raise(SIGNALS[1]);
    });
    interpreter.look();
    interpreter.look();
    other.join();
    interpreter.assert_called(2);
}

/// Today's orders: the flag of a signal may be read as it was before the word was taken back, and then there is
/// a flag and no word. Passes: `found::python::called_where_a_store_is_a_barrier`.
#[test]
fn today_tripped_and_not_called() {
    Control::new("found::python::today_tripped_and_not_called", "nobody looks for it")
        .actors(2)
        .check(|| on_another_thread(Clear::Store));
}

/// Claim: not so where nothing is read before the store is seen. Actors: the main thread, one that handles. Exhaustive.
#[test]
fn called_where_a_store_is_a_barrier() {
    Model::new("found::python::called_where_a_store_is_a_barrier")
        .actors(2)
        .check(|| on_another_thread(Clear::StoreAndBarrier));
}

/// Claim: of signals that the main thread handles itself, at any step of its look, none is lost; the window
/// between the word and the flags costs a look for nothing. Actors: the main thread, a sender. Exhaustive.
#[test]
fn called_on_the_main_thread() {
    Model::new("found::python::called_on_the_main_thread").actors(2).check(|| {
        let kernel = Kernel::new().at_most(2);
        let interpreter = Interpreter::new(Clear::Store, Wake::Last);
        interpreter.install(kernel);
        let sender = thread::spawn("sender", move || {
            kernel.tgkill(thread::main(), SIGNALS[0]);
            kernel.tgkill(thread::main(), SIGNALS[1]);
        });
        interpreter.look();
        sender.join();
        interpreter.assert_called(2);
    });
}

/// An event loop: the main thread looks, then sleeps on the wakeup fd, until its handler was called.
fn event_loop(wake: Wake) {
    let kernel = Kernel::new().at_most(1);
    let interpreter = Interpreter::new(Clear::Store, wake);
    interpreter.install(kernel);
    let other = thread::spawn("other thread", move || kernel.raise(SIGNALS[0]));
    loop {
        interpreter.poll_wakeup();
        interpreter.look();
        interpreter.drain_wakeup();
        if interpreter.called[0].load(Relaxed) != 0 {
            break;
        }
    }
    other.join();
}

/// Claim: who sleeps on the wakeup fd finds the signal when it wakes. Exhaustive.
#[test]
fn wakeup_after_the_flags() {
    Model::new("found::python::wakeup_after_the_flags").actors(2).check(|| event_loop(Wake::Last));
}

/// bpo-30038 (python/cpython#74224): woken before the flags are set, it finds none, and sleeps on.
/// Passes: `found::python::wakeup_after_the_flags`.
#[test]
fn bpo30038_wakeup_before_the_flags() {
    Control::new("found::python::bpo30038_wakeup_before_the_flags", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 0 at python.rs")
        .stands("other thread", "thread exits")
        .check(|| event_loop(Wake::First));
}

/// A child that somebody sends a signal to as soon as it is there. What it has of the interpreter is a copy
/// without a signal in it.
fn signal_for_a_new_child(masked: bool) {
    let kernel = Kernel::new().at_most(1);
    let copy = Interpreter::new(Clear::Store, Wake::Last);
    copy.install(kernel);
    let pid = Rc::new(AtomicU32::new(0));
    let theirs = Rc::clone(&pid);
    let parent = thread::spawn("parent", move || {
        while theirs.load(Relaxed) == 0 {
            futex::wait(&theirs, 0, None);
        }
        kernel.tgkill(thread::main(), SIGNALS[0]);
    });
    if masked {
        kernel.sigmask(How::Block, SigSet::of(&SIGNALS));
    }
    kernel.become_child();
    pid.store(1, Relaxed);
    futex::wake_one(&pid);
    copy.after_fork();
    if masked {
        kernel.sigmask(How::Unblock, SigSet::of(&SIGNALS));
    }
    copy.look();
    parent.join();
    copy.assert_called(1);
}

/// Today: what comes to the child before it has cleared what it inherited is cleared with it. Seen on a real
/// system. Passes: `found::python::signal_for_a_new_child_masked`.
#[test]
fn today_signal_for_a_new_child_is_lost() {
    Control::new("found::python::today_signal_for_a_new_child_is_lost", "nobody looks for it")
        .actors(2)
        .check(|| signal_for_a_new_child(false));
}

/// Claim: it is kept if signals are masked from before the fork until after the clearing. Exhaustive.
#[test]
fn signal_for_a_new_child_masked() {
    Model::new("found::python::signal_for_a_new_child_masked")
        .actors(2)
        .check(|| signal_for_a_new_child(true));
}

//! The gate.

use std::cell::RefCell;
use std::mem::forget;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use portcullis::preempt::{
    ExitError, Fenced, Gate, Gates, Hook, RegisterError, Registration, SuspendError, SystemBackend,
    Target, ThreadRef,
};

use super::alone;

type Ours = Gates<Fenced, SystemBackend>;
type Name = ThreadRef<Fenced, SystemBackend>;

static PREEMPTED: AtomicU32 = AtomicU32::new(0);
static FIRST: Ours = Gates::new(Fenced, SystemBackend::new(Hook::count(&PREEMPTED)));
static SECOND: Ours = Gates::new(Fenced, SystemBackend::new(Hook::nothing()));
static GATES: [Gate<SystemBackend>; 4] = [const { Gate::new() }; 4];

/// A thread that is registered until this is told to end it.
struct Thread {
    name: Name,
    over: Sender<()>,
    handle: JoinHandle<()>,
}

impl Thread {
    fn new(gates: &'static Ours, at: usize) -> Self {
        Self::that(gates, at, |own, over| {
            _ = over.recv();
            drop(own);
        })
    }

    fn that(
        gates: &'static Ours,
        at: usize,
        body: impl FnOnce(Registration<Fenced, SystemBackend>, Receiver<()>) + Send + 'static,
    ) -> Self {
        let (tell, told) = channel();
        let (over, end) = channel();
        let handle = thread::spawn(move || {
            let own = gates.register(&GATES[at]).unwrap();
            tell.send(own.thread()).unwrap();
            body(own, end);
        });
        Self { name: told.recv().unwrap(), over, handle }
    }

    fn end(self) {
        drop(self.over);
        self.handle.join().unwrap();
    }
}

fn refused(done: Result<impl Sized, SuspendError>) -> SuspendError {
    done.map(drop).unwrap_err()
}

#[test]
fn a_thread_of_another_gates() {
    alone("gate::a_thread_of_another_gates", || {
        let thread = Thread::new(&FIRST, 0);
        assert_eq!(refused(SECOND.try_suspend(thread.name)), SuspendError::OtherGates);
        assert_eq!(refused(SECOND.request(thread.name)), SuspendError::OtherGates);
        let mut targets = [Target::new(thread.name)];
        assert_eq!(SECOND.stop_all(&mut targets).stopped().count(), 0);
        assert_eq!(targets[0].outcome(), Err(SuspendError::OtherGates));
        let request = FIRST.request(thread.name).unwrap();
        assert_eq!(SECOND.send_again(&request), Err(SuspendError::OtherGates));
        drop(FIRST.try_suspend(thread.name).unwrap());
        thread.end();
    });
}

/// With a turn each they would stop each other for ever.
#[test]
fn suspenders_by_two_gates() {
    alone("gate::suspenders_by_two_gates", || {
        static NAMES: [std::sync::OnceLock<Name>; 2] = [const { std::sync::OnceLock::new() }; 2];
        let suspender = |own: &'static Ours, others: &'static Ours, at: usize| {
            thread::spawn(move || {
                let own = own.register(&GATES[at]).unwrap();
                NAMES[at].set(own.thread()).unwrap();
                let other = NAMES[1 - at].wait();
                let mut stopped = 0;
                while stopped < 300 {
                    match others.try_suspend(*other) {
                        Ok(suspended) => {
                            drop(suspended);
                            stopped += 1;
                        }
                        Err(SuspendError::Gone) => break,
                        Err(_) => thread::yield_now(),
                    }
                }
            })
        };
        let both = [suspender(&FIRST, &SECOND, 0), suspender(&SECOND, &FIRST, 1)];
        both.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_registration_forgotten() {
    alone("gate::a_registration_forgotten", || {
        for (at, gate) in GATES[..3].iter().enumerate() {
            let thread = Thread::that(&FIRST, at, |own, _| forget(own));
            let name = thread.name;
            thread.handle.join().unwrap();
            assert_eq!(refused(FIRST.try_suspend(name)), SuspendError::Gone);
            assert_eq!(refused(FIRST.request(name)), SuspendError::Gone);
            assert_eq!(FIRST.register(gate).map(drop), Err(RegisterError::GateInUse));
        }
        drop(FIRST.register(&GATES[3]).unwrap());
    });
}

thread_local! {
    static KEPT: RefCell<Option<Registration<Fenced, SystemBackend>>> = const { RefCell::new(None) };
}

#[test]
fn a_registration_in_a_thread_local() {
    alone("gate::a_registration_in_a_thread_local", || {
        for _ in 0..50 {
            let thread = Thread::that(&FIRST, 0, |own, _| KEPT.set(Some(own)));
            let name = thread.name;
            while !matches!(FIRST.try_suspend(name).map(drop), Err(SuspendError::Gone)) {
                thread::yield_now();
            }
            thread.handle.join().unwrap();
        }
        drop(FIRST.register(&GATES[0]).unwrap());
    });
}

#[test]
fn registered_twice_and_at_a_gate_in_use() {
    alone("gate::registered_twice_and_at_a_gate_in_use", || {
        let thread = Thread::new(&FIRST, 0);
        for gates in [&FIRST, &SECOND] {
            assert_eq!(gates.register(&GATES[0]).map(drop), Err(RegisterError::GateInUse));
        }
        let own = FIRST.register(&GATES[1]).unwrap();
        for gates in [&FIRST, &SECOND] {
            assert_eq!(gates.register(&GATES[2]).map(drop), Err(RegisterError::AlreadyRegistered));
        }
        assert_eq!(refused(FIRST.try_suspend(own.thread())), SuspendError::Oneself);
        drop(own);
        thread.end();
    });
}

/// Out and in again by guards that are forgotten: a thread outside is left alone, one inside is stopped,
/// and the next call out puts it right.
#[test]
fn guards_forgotten() {
    alone("gate::guards_forgotten", || {
        static OUT: AtomicBool = AtomicBool::new(false);
        let thread = Thread::that(&FIRST, 0, |mut own, over| {
            forget(own.external());
            OUT.store(true, Release);
            _ = over.recv();
            forget(own.external().inside());
            drop(own.external());
            drop(own);
        });
        while !OUT.load(Acquire) {
            thread::yield_now();
        }
        assert_eq!(refused(FIRST.try_suspend(thread.name)), SuspendError::External);
        let name = thread.name;
        thread.end();
        assert_eq!(refused(FIRST.try_suspend(name)), SuspendError::Gone);
        drop(FIRST.register(&GATES[0]).unwrap());
    });
}

/// It lasts for ever, and others are told so; the process does not end by way of the gate.
#[test]
fn a_suspension_forgotten() {
    alone("gate::a_suspension_forgotten", || {
        let thread = Thread::new(&FIRST, 0);
        forget(FIRST.try_suspend(thread.name).unwrap());
        for _ in 0..3 {
            assert_eq!(refused(FIRST.try_suspend(thread.name)), SuspendError::Busy);
            assert_eq!(refused(FIRST.request(thread.name)), SuspendError::Busy);
        }
        let mut own = FIRST.register(&GATES[1]).unwrap();
        assert_eq!(own.exit(0).map(drop), Err(ExitError::HoldsSuspended(1)));
    });
}

/// What it borrowed is used for something else.
#[test]
fn stopped_threads_forgotten_and_their_targets_reused() {
    alone("gate::stopped_threads_forgotten_and_their_targets_reused", || {
        let [one, another] = [0, 1].map(|at| Thread::new(&FIRST, at));
        let mut targets = vec![Target::new(one.name)];
        forget(FIRST.stop_all(&mut targets));
        targets.insert(0, Target::new(another.name));
        let stopped = FIRST.stop_all(&mut targets);
        let names: Vec<_> = stopped.stopped().map(|(name, _)| name).collect();
        assert_eq!(names, [another.name]);
        assert_eq!(stopped.targets()[1].outcome(), Err(SuspendError::Busy));
        drop(stopped);
        drop(targets);
        another.end();
    });
}

#[test]
fn signals_that_cannot_be_had() {
    alone("gate::signals_that_cannot_be_had", || {
        for signal in [0, -1, 9, 19, 4, 7, 8, 11, 32, 33, 1000, i32::MAX, i32::MIN] {
            let backend = SystemBackend::new(Hook::nothing()).by_signal(signal);
            let gates: &'static Ours = Box::leak(Box::new(Gates::new(Fenced, backend)));
            let unusable = RegisterError::UnusableSignal(signal);
            assert_eq!(gates.register(&GATES[0]).map(drop), Err(unusable));
            assert!(unusable.to_string().contains(&signal.to_string()));
        }
        drop(FIRST.register(&GATES[0]).unwrap());
    });
}

#[test]
fn requests_that_nobody_waits_for() {
    alone("gate::requests_that_nobody_waits_for", || {
        let thread = Thread::that(&FIRST, 0, |own, over| {
            while over.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                std::hint::spin_loop();
            }
            drop(own);
        });
        for _ in 0..50 {
            let _ = FIRST.request(thread.name).unwrap();
        }
        while PREEMPTED.load(Acquire) == 0 {
            thread::yield_now();
        }
        thread.end();
    });
}

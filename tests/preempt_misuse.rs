//! The gate used as a new user would, on the real kernel: errors that say what is wrong, and nothing
//! hangs.
//!
//! Bounded: fixed counts; each test is a process of its own with an alarm of 30 s.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use portcullis::preempt::{
    Asymmetric, Checked, Either, ExitError, Fenced, Gate, Gates, Hook, RegisterError, Registration,
    SuspendError, SystemBackend, Target, ThreadRef,
};

#[global_allocator]
static ALLOCATOR: Checked<std::alloc::System> = Checked(std::alloc::System);

static MET: AtomicU32 = AtomicU32::new(0);

fn met(_: *mut ()) {
    MET.fetch_add(1, Relaxed);
    // SAFETY: the thread's own.
    unsafe { *libc::__errno_location() = libc::EXDEV };
}

// SAFETY: it adds to a counter and sets errno, which the gate puts back.
const HOOK: Hook = unsafe { Hook::new(met) };

static GATES: LazyLock<Gates<Either, SystemBackend>> = LazyLock::new(|| {
    Gates::new(Either::new(), SystemBackend::new(HOOK).patience(Duration::from_millis(50)))
});
static FIRST: Gate<SystemBackend> = Gate::new();
static SECOND: Gate<SystemBackend> = Gate::new();

type Thread = ThreadRef<Either, SystemBackend>;

/// A thread that does what it is told, in turn.
struct Puppet {
    thread: Thread,
    tell: Sender<fn(&mut Registration<Either, SystemBackend>)>,
    done: Receiver<()>,
    handle: thread::JoinHandle<()>,
}

impl Puppet {
    fn new() -> Self {
        let (tell, told) = channel::<fn(&mut Registration<Either, SystemBackend>)>();
        let (finished, done) = channel();
        let (name, named) = channel();
        let handle = thread::spawn(move || {
            let mut member = GATES.register(&FIRST).unwrap();
            name.send(member.thread()).unwrap();
            for order in told {
                order(&mut member);
                finished.send(()).unwrap();
            }
        });
        Self { thread: named.recv().unwrap(), tell, done, handle }
    }

    fn does(&self, order: fn(&mut Registration<Either, SystemBackend>)) {
        self.tell.send(order).unwrap();
        self.done.recv().unwrap();
    }

    fn end(self) -> Thread {
        drop(self.tell);
        self.handle.join().unwrap();
        self.thread
    }
}

/// To the calling thread.
fn raise() {
    // SAFETY: the calling thread exists.
    unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGURG) };
}

fn attempt(thread: Thread) -> Result<(), SuspendError> {
    GATES.try_suspend(thread).map(drop)
}

#[test]
fn oneself_twice_and_one_that_ended() {
    isolated("oneself_twice_and_one_that_ended", || {
        let own = GATES.register(&SECOND).unwrap();
        assert_eq!(attempt(own.thread()), Err(SuspendError::Oneself));
        assert_eq!(GATES.request(own.thread()).unwrap_err(), SuspendError::Oneself);
        let puppet = Puppet::new();
        let thread = puppet.thread;
        let suspended = GATES.try_suspend(thread).unwrap();
        let again = attempt(thread);
        let request = GATES.request(thread).map(drop);
        let is_there = suspended.context().is_some_and(|context| !context.is_null());
        drop(suspended);
        assert_eq!((again, request), (Err(SuspendError::Busy), Err(SuspendError::Busy)));
        assert!(is_there);
        assert_eq!(attempt(thread), Ok(()));
        let stale = puppet.end();
        assert_eq!(attempt(stale), Err(SuspendError::Gone));
        assert_eq!(GATES.request(stale).unwrap_err(), SuspendError::Gone);
        // The next thread at the same gate is another.
        let next = Puppet::new();
        assert_eq!(attempt(stale), Err(SuspendError::Gone));
        assert_eq!(attempt(next.thread), Ok(()));
        next.end();
        drop(own);
        let own = GATES.register(&SECOND).unwrap();
        assert_eq!(attempt(own.thread()), Err(SuspendError::Oneself));
    });
}

#[test]
fn registered_twice() {
    isolated("registered_twice", || {
        let _own = GATES.register(&SECOND).unwrap();
        assert_eq!(GATES.register(&FIRST).unwrap_err(), RegisterError::AlreadyRegistered);
        let puppet = Puppet::new();
        let taken = || GATES.register(&FIRST).map(drop);
        assert_eq!(thread::spawn(taken).join().unwrap(), Err(RegisterError::GateInUse));
        puppet.end();
        assert_eq!(thread::spawn(taken).join().unwrap(), Ok(()));
    });
}

#[test]
fn exit_with_a_thread_suspended() {
    isolated("exit_with_a_thread_suspended", || {
        let child = fork(|| {
            let puppet = Puppet::new();
            let mut own = GATES.register(&SECOND).unwrap();
            let suspended = GATES.try_suspend(puppet.thread).unwrap();
            let refused = own.exit(8).unwrap_err();
            drop(suspended);
            assert_eq!(refused, ExitError::HoldsSuspended(1));
            // Refused or not, it is as it was.
            puppet.does(|member| drop(member.external()));
            match own.exit(9) {
                Err(error) => panic!("{error}"),
                Ok(never) => match never {},
            }
        });
        assert_eq!(wait_for(child), Ended::Exited(9));
    });
}

/// It is never resumed; nobody else waits for it, and the process ends.
#[test]
fn a_suspension_is_forgotten() {
    isolated("a_suspension_is_forgotten", || {
        let child = fork(|| {
            let puppet = Puppet::new();
            std::mem::forget(GATES.try_suspend(puppet.thread).unwrap());
            exit(if attempt(puppet.thread) == Err(SuspendError::Busy) { 6 } else { 7 })
        });
        assert_eq!(wait_for(child), Ended::Exited(6));
    });
}

#[test]
fn a_panic_outside_comes_back() {
    isolated("a_panic_outside_comes_back", || {
        let puppet = Puppet::new();
        puppet.does(|member| {
            let out = || {
                let mut external = member.external();
                let _inside = external.inside();
                panic!("in a callback");
            };
            catch_unwind(AssertUnwindSafe(out)).unwrap_err();
        });
        assert_eq!(attempt(puppet.thread), Ok(()));
        puppet.does(|member| std::mem::forget(member.external()));
        assert_eq!(attempt(puppet.thread), Err(SuspendError::External), "forgotten, out for ever");
        puppet.does(|member| drop(member.external()));
        assert_eq!(attempt(puppet.thread), Ok(()));
        puppet.end();
    });
}

/// It is told of, and not waited for; the signal that comes late does nothing.
#[test]
fn a_thread_that_masks_the_signal() {
    isolated("a_thread_that_masks_the_signal", || {
        let puppet = Puppet::new();
        puppet.does(|_| set_mask(1 << libc::SIGURG));
        let start = Instant::now();
        assert_eq!(attempt(puppet.thread), Err(SuspendError::NotAnswering));
        assert!(start.elapsed() >= Duration::from_millis(50));
        let request = GATES.request(puppet.thread).unwrap();
        assert!(!request.is_acknowledged());
        // Others have the same one.
        assert_eq!(GATES.request(puppet.thread).unwrap().generation(), request.generation());
        GATES.send_again(&request).unwrap();
        puppet.does(|_| set_mask(0));
        assert!(request.is_acknowledged());
        assert_eq!((MET.load(Relaxed), attempt(puppet.thread)), (1, Ok(())));
        puppet.end();
    });
}

/// A signal of the number that is used, from somebody else, and swallowed by somebody else.
#[test]
fn foreign_signals_of_the_same_number() {
    isolated("foreign_signals_of_the_same_number", || {
        let puppet = Puppet::new();
        puppet.does(|_| {
            (0..100).for_each(|_| raise());
        });
        assert_eq!((MET.load(Relaxed), attempt(puppet.thread)), (0, Ok(())));
        puppet.does(|_| set_mask(1 << libc::SIGURG));
        let request = GATES.request(puppet.thread).unwrap();
        puppet.does(|_| {
            // SAFETY: all zeros is storage for a set.
            let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
            let mut taken = 0;
            // SAFETY: both are locals.
            unsafe {
                libc::sigaddset(&raw mut set, libc::SIGURG);
                libc::sigwait(&raw const set, &raw mut taken);
            }
            set_mask(0);
        });
        assert!(!request.is_acknowledged(), "swallowed");
        GATES.send_again(&request).unwrap();
        while !request.is_acknowledged() {
            thread::yield_now();
        }
        // It is acknowledged before the handler acts on it; the thread does nothing else until it has.
        puppet.does(|_| ());
        assert_eq!(MET.load(Relaxed), 1);
        puppet.end();
    });
}

static OURS: AtomicU32 = AtomicU32::new(0);

extern "C" fn plain(signal: i32) {
    assert_eq!(signal, libc::SIGURG);
    OURS.fetch_add(1, Relaxed);
}

/// What had the signal before has what is not the gate's: on any thread.
#[test]
fn a_handler_that_was_there_before() {
    isolated("a_handler_that_was_there_before", || {
        set_disposition(libc::SIGURG, Disposition::simple(plain as *const () as usize));
        let puppet = Puppet::new();
        // This thread is not registered.
        kill_self(libc::SIGURG);
        assert_eq!(OURS.load(Relaxed), 1);
        puppet.does(|_| raise());
        assert_eq!((OURS.load(Relaxed), MET.load(Relaxed)), (2, 0));
        GATES.request(puppet.thread).unwrap();
        assert_eq!(attempt(puppet.thread), Ok(()));
        while MET.load(Relaxed) == 0 {
            thread::yield_now();
        }
        assert_eq!(OURS.load(Relaxed), 2, "the gate's own are not handed on");
        puppet.end();
    });
}

/// The interrupted code finds its errno as it was, whatever the hook does to it.
#[test]
fn errno_stays_as_it_was() {
    isolated("errno_stays_as_it_was", || {
        static READY: AtomicBool = AtomicBool::new(false);
        let puppet = Puppet::new();
        puppet
            .tell
            .send(|_| {
                // SAFETY: the thread's own.
                let errno = || unsafe { libc::__errno_location() };
                // SAFETY: as above, here and below.
                unsafe { *errno() = libc::EDOM };
                READY.store(true, Release);
                while MET.load(Relaxed) == 0 {
                    std::hint::spin_loop();
                }
                // SAFETY: as above.
                assert_eq!(unsafe { *errno() }, libc::EDOM);
            })
            .unwrap();
        while !READY.load(Acquire) {
            thread::yield_now();
        }
        (0..1000).for_each(|_| assert_eq!(attempt(puppet.thread), Ok(())));
        GATES.request(puppet.thread).unwrap();
        puppet.done.recv().unwrap();
        puppet.end();
    });
}

/// Threads that are stopped together have one patience.
#[test]
fn all_have_one_patience() {
    const MANY: usize = 20;
    static EACH: [Gate<SystemBackend>; MANY] = [const { Gate::new() }; MANY];
    isolated("all_have_one_patience", || {
        let (name, named) = channel();
        let (over, end) = channel::<()>();
        let end = std::sync::Arc::new(std::sync::Mutex::new(end));
        let masked = EACH.each_ref().map(|gate| {
            let (name, end) = (name.clone(), std::sync::Arc::clone(&end));
            thread::spawn(move || {
                set_mask(1 << libc::SIGURG);
                let member = GATES.register(gate).unwrap();
                name.send(member.thread()).unwrap();
                let _ = end.lock().unwrap().recv();
            })
        });
        let mut targets: Vec<Target<Either, SystemBackend>> =
            named.iter().take(MANY).map(Target::new).collect();
        let start = Instant::now();
        let stopped = GATES.stop_all(&mut targets).stopped().count();
        let took = start.elapsed();
        assert_eq!(stopped, 0);
        assert!(targets.iter().all(|t| t.outcome() == Err(SuspendError::NotAnswering)));
        let each = Duration::from_millis(50);
        assert!(took >= each && took < each * MANY as u32, "{took:?}");
        drop(over);
        masked.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// None of them is installed, and the gate is as it was.
#[test]
fn signals_that_are_not_to_be_had() {
    isolated("signals_that_are_not_to_be_had", || {
        let bad = [-1, 0, 65, i32::MAX, libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS];
        let faults = [libc::SIGFPE, libc::SIGILL];
        for signal in bad.into_iter().chain(faults).chain(32..libc::SIGRTMIN()) {
            let before = disposition(signal).ok();
            let backend = SystemBackend::new(Hook::nothing()).by_signal(signal);
            let gates: &'static Gates<_, _> = Box::leak(Box::new(Gates::new(Fenced, backend)));
            let refused = gates.register(&FIRST).unwrap_err();
            assert_eq!(refused, RegisterError::UnusableSignal(signal));
            assert!(refused.to_string().contains(&signal.to_string()), "{refused}");
            assert_eq!(disposition(signal).ok(), before);
        }
        drop(GATES.register(&FIRST).unwrap());
    });
}

/// Each has a barrier of its own, so by one a thread of the other's is not suspended, whatever the gate.
#[test]
fn a_thread_of_other_gates() {
    static OTHERS: Gates<Either, SystemBackend> =
        Gates::new(Either::Fenced(Fenced), SystemBackend::new(Hook::nothing()));
    isolated("a_thread_of_other_gates", || {
        let puppet = Puppet::new();
        let refused = Err(SuspendError::OtherGates);
        assert_eq!(OTHERS.try_suspend(puppet.thread).map(drop), refused);
        assert_eq!(OTHERS.request(puppet.thread).map(drop), refused);
        let request = GATES.request(puppet.thread).unwrap();
        assert_eq!(OTHERS.send_again(&request), refused);
        let mut targets = [Target::new(puppet.thread)];
        assert_eq!(OTHERS.stop_all(&mut targets).stopped().count(), 0);
        assert_eq!(targets[0].outcome(), refused);
        assert_eq!(attempt(puppet.thread), Ok(()));
        let taken = || OTHERS.register(&FIRST).map(drop);
        assert_eq!(thread::spawn(taken).join().unwrap(), Err(RegisterError::GateInUse));
        // One thread has one gate, whosever it is.
        let _own = OTHERS.register(&SECOND).unwrap();
        assert_eq!(GATES.register(&SECOND).unwrap_err(), RegisterError::AlreadyRegistered);
        puppet.end();
    });
}

/// Two runtimes of one process have one turn: two threads that suspend each other, each by the other's
/// gates, both come back.
#[test]
fn two_gates_suspend_each_other() {
    static OTHERS: Gates<Fenced, SystemBackend> =
        Gates::new(Fenced, SystemBackend::new(Hook::nothing()));
    isolated("two_gates_suspend_each_other", || {
        let own = GATES.register(&SECOND).unwrap();
        let (first, over) = (own.thread(), std::sync::Arc::new(AtomicBool::new(false)));
        let (name, named) = channel();
        let ended = std::sync::Arc::clone(&over);
        let other = thread::spawn(move || {
            let own = OTHERS.register(&FIRST).unwrap();
            name.send(own.thread()).unwrap();
            while !ended.load(Acquire) {
                attempt(first).unwrap();
            }
        });
        let second = named.recv().unwrap();
        (0..20_000).for_each(|_| OTHERS.try_suspend(second).map(drop).unwrap());
        over.store(true, Release);
        other.join().unwrap();
    });
}

/// What must not be done while a thread is suspended is found in debug builds.
#[test]
fn allocating_with_a_thread_suspended() {
    isolated("allocating_with_a_thread_suspended", || {
        static ALLOCATES: AtomicBool = AtomicBool::new(true);
        for allocates in [true, false] {
            ALLOCATES.store(allocates, Relaxed);
            let child = fork(|| {
                let puppet = Puppet::new();
                let suspended = GATES.try_suspend(puppet.thread).unwrap();
                if ALLOCATES.load(Relaxed) {
                    drop(std::hint::black_box(Box::new(1)));
                }
                drop(suspended);
                0
            });
            let found = allocates && cfg!(debug_assertions);
            let expected = if found { Ended::Killed(libc::SIGABRT) } else { Ended::Exited(0) };
            assert_eq!(wait_for(child), expected);
        }
    });
}

/// Both barriers, and the asymmetric one in the child of a fork.
#[test]
fn both_barriers() {
    static FENCED: Gates<Fenced, SystemBackend> = Gates::new(Fenced, SystemBackend::new(HOOK));
    fn tried<B: portcullis::preempt::host::Barrier>(
        gates: &'static Gates<B, SystemBackend>,
    ) -> bool {
        let (name, named) = channel();
        let (over, end) = channel::<()>();
        let other = thread::spawn(move || {
            let mut member = gates.register(&FIRST).unwrap();
            name.send(member.thread()).unwrap();
            let _ = end.recv();
            let external = member.external();
            let _ = end.recv();
            drop(external);
        });
        let thread = named.recv().unwrap();
        let inside = gates.try_suspend(thread).is_ok();
        over.send(()).unwrap();
        while gates.try_suspend(thread).map(drop) != Err(SuspendError::External) {}
        drop(over);
        other.join().unwrap();
        inside && gates.holds() == 0
    }
    isolated("both_barriers", || {
        assert!(tried(&FENCED));
        static ASYMMETRIC: LazyLock<Option<Gates<Asymmetric, SystemBackend>>> =
            LazyLock::new(|| Some(Gates::new(Asymmetric::new()?, SystemBackend::new(HOOK))));
        let Some(gates) = LazyLock::force(&ASYMMETRIC) else {
            eprintln!("both_barriers: no membarrier(2) here");
            return;
        };
        assert!(tried(gates));
        assert_eq!(wait_for(fork(|| i32::from(!tried(gates)))), Ended::Exited(0));
    });
}

//! What callers of attach should not do, or do in odd places, on the real kernel: nothing is
//! corrupted, and what is kept is counted.
//!
//! Bounded: fixed counts; each test is a process of its own with an alarm of 30 s.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;
mod foreign;

use std::cell::RefCell;
use std::ffi::{c_int, c_long, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use foreign::*;
use portcullis::Errno;
use portcullis::attach::{AsyncSignalSafe, CreateError, Misuse, RawAttached, Threads};
use portcullis::attach::{
    AttachError, AttachKind, Binding, DetachError, Runtime, SystemHost, ThreadState,
};
use portcullis::note::Deadline;

fn until(done: impl Fn() -> bool) {
    while !done() {
        thread::yield_now();
    }
}

/// A runtime with few records, two of them for handlers.
struct Few;

static SELF: AtomicBool = AtomicBool::new(false);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

impl Runtime for Few {
    type Record = ();
    fn create(&self, index: usize) -> Option<()> {
        (index < 5).then_some(())
    }
    /// Attaches from between two steps, if it is told to.
    fn reset(&self, (): &(), _: u32) {
        if SELF.load(Relaxed) {
            let refused =
                FEW.attach(Binding::Unbound).is_err_and(|e| e == AttachError::InTransition)
                    && FEW.attach_in_handler().is_err_and(|e| e == AttachError::InTransition)
                    && FEW.state() == ThreadState::InTransition;
            REFUSED.fetch_add(usize::from(refused), Relaxed);
        }
    }
}

// SAFETY: a load and an addition; `attach` refuses before it does anything that a handler must not.
unsafe impl AsyncSignalSafe for Few {}

portcullis::thread_slot!(FewSlot);
static FEW: Threads<Few, SystemHost<FewSlot>, 16> = Threads::new(Few, SystemHost::new(), 2);

static ATTACHED: AtomicUsize = AtomicUsize::new(0);
static FULL: AtomicUsize = AtomicUsize::new(0);
static LEAVE: AtomicBool = AtomicBool::new(false);

/// Stays attached, so that the next one finds one record less.
extern "C" fn take_and_hold(_: c_int) {
    match FEW.attach_in_handler() {
        Err(AttachError::Full) => FULL.fetch_add(1, AcqRel),
        Err(_) => return,
        Ok(token) => {
            ATTACHED.fetch_add(usize::from(token.how() == AttachKind::Attached), AcqRel);
            until(|| LEAVE.load(Acquire));
            0
        }
    };
}

#[test]
fn handlers_have_the_reserve_when_all_else_is_taken() {
    isolated("handlers_have_the_reserve_when_all_else_is_taken", || {
        FEW.create().unwrap();
        handle(libc::SIGUSR2, take_and_hold);
        thread::scope(|scope| {
            // Three that are not the reserve's.
            for held in 1..=3 {
                scope.spawn(move || {
                    let _token = FEW.attach(Binding::Unbound).unwrap();
                    until(|| LEAVE.load(Acquire));
                });
                until(|| FEW.counts().in_use == held);
            }
            let soon = Deadline::after(Duration::from_millis(20));
            let start = Instant::now();
            assert_eq!(FEW.attach_until(Binding::Bound, &soon).unwrap_err(), AttachError::Full);
            assert!(start.elapsed() >= Duration::from_millis(20));
            assert_eq!(FEW.try_attach(Binding::Bound).unwrap_err(), AttachError::Full);
            for at in 1..=2 {
                scope.spawn(|| raise_here(libc::SIGUSR2));
                until(|| ATTACHED.load(Acquire) == at);
            }
            assert_eq!((FEW.counts().spare, FULL.load(Relaxed)), (0, 0));
            // The third is refused, and says so at once.
            raise_here(libc::SIGUSR2);
            assert_eq!((ATTACHED.load(Relaxed), FULL.load(Relaxed)), (2, 1));
            LEAVE.store(true, Release);
        });
        assert_eq!((FEW.counts().in_use, FEW.counts().total), (0, 5));
        raise_here(libc::SIGUSR2);
        assert_eq!(ATTACHED.load(Relaxed), 3);
    });
}

#[test]
fn attach_between_two_steps() {
    isolated("attach_between_two_steps", || {
        FEW.create().unwrap();
        SELF.store(true, Relaxed);
        for _ in 0..100 {
            drop(FEW.attach(Binding::Unbound).unwrap());
        }
        assert_eq!((REFUSED.load(Relaxed), FEW.counts().in_use, mask()), (100, 0, 0));
        // After a wait, too.
        thread::scope(|scope| {
            for at in 1..=4 {
                scope.spawn(|| {
                    let _token = FEW.attach(Binding::Unbound).unwrap();
                    until(|| LEAVE.load(Acquire));
                });
                until(|| FEW.counts().in_use + FEW.counts().waiting == at);
            }
            assert_eq!(FEW.counts().waiting, 1);
            LEAVE.store(true, Release);
        });
        assert_eq!((REFUSED.load(Relaxed), FEW.counts().in_use), (104, 0));
    });
}

/// At the end of a process; 7 tells that all was well.
extern "C" fn attach_at_exit() {
    visit(&attach(Binding::Unbound));
    visit(&attach(Binding::Bound));
    raise_here(libc::SIGUSR1);
    let in_use = THREADS.counts().in_use;
    exit(if (in_use, THREADS.misuse()) == (1, Misuse::default()) { 7 } else { 8 })
}

extern "C" fn attach_at_unload(_: *mut c_void) -> c_long {
    attach_at_exit();
    0
}

#[test]
fn attach_at_the_end_of_the_process() {
    isolated("attach_at_the_end_of_the_process", || {
        begin(8);
        foreign();
        for at in 0..10 {
            let child = fork(|| {
                if at % 4 < 2 {
                    // SAFETY: a function that lives for ever.
                    unsafe { libc::atexit(attach_at_exit) };
                } else {
                    (foreign().at_unload)(attach_at_unload, ptr::null_mut());
                }
                // As one that is known to the runtime, and as one that is not.
                let token = (at % 2 == 0).then(|| attach(Binding::Bound));
                drop(token);
                // SAFETY: what is called at exit ends the process.
                unsafe { libc::exit(9) }
            });
            assert_eq!(wait_for(child), Ended::Exited(7), "{at}");
        }
        assert_clean();
    });
}

/// Attaches when its thread's variables are dropped, which is before keys are.
struct AtDrop(Binding);

impl Drop for AtDrop {
    fn drop(&mut self) {
        visit(&attach(self.0));
        raise_here(libc::SIGUSR1);
        visit(&attach(Binding::Unbound));
        DROPPED.fetch_add(1, Relaxed);
    }
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static AT_DROP: RefCell<Option<AtDrop>> = const { RefCell::new(None) };
}

extern "C" fn leave_a_variable(turn: *mut c_void) -> c_long {
    let at = turn.addr();
    let binding = if at % 2 == 0 { Binding::Bound } else { Binding::Unbound };
    AT_DROP.with_borrow_mut(|place| *place = Some(AtDrop(binding)));
    if at % 4 < 2 {
        visit(&attach(Binding::Bound));
    }
    1
}

#[test]
fn attach_when_thread_locals_are_dropped() {
    isolated("attach_when_thread_locals_are_dropped", || {
        begin(8);
        for at in 0..100 {
            let argument = ptr::without_provenance_mut(at);
            assert_eq!(Plan { argument, ..Plan::new(1, 1, leave_a_variable) }.run(), 1);
        }
        assert_eq!((DROPPED.load(Relaxed), handled()), (100, 100));
        assert_clean();
    });
}

/// The tokens of the thread that forks are good in the child, and nobody else's.
#[test]
fn tokens_in_the_child_of_a_fork() {
    isolated("tokens_in_the_child_of_a_fork", || {
        begin(8);
        let mut outer = attach(Binding::Bound);
        visit(&outer);
        let external = outer.external();
        let inner = attach(Binding::Unbound);
        let child = fork(|| {
            assert_eq!((THREADS.state(), THREADS.counts().in_use), (ThreadState::Inside, 1));
            visit(&inner);
            raise_here(libc::SIGUSR1);
            let bits = inner.into_raw().into_bits();
            // SAFETY: of these two the second finds nothing to give up.
            let [raw, twice] = [0; 2].map(|_| unsafe { RawAttached::from_bits(bits) });
            detach_raw(raw);
            assert!(matches!(THREADS.detach_raw(twice), Err(DetachError::NotAttached(_))));
            assert_eq!(THREADS.state(), ThreadState::External);
            raise_here(libc::SIGUSR1);
            drop(external);
            assert_eq!((THREADS.state(), THREADS.counts().in_use), (ThreadState::Inside, 1));
            i32::from(handled() != 2 || THREADS.misuse() != Misuse::default())
        });
        assert_eq!(wait_for(child), Ended::Exited(0));
    });
}

#[test]
fn attach_after_shutdown() {
    isolated("attach_after_shutdown", || {
        begin(8);
        static DONE: AtomicBool = AtomicBool::new(false);
        thread::spawn(|| {
            let token = attach(Binding::Bound);
            THREADS.shutdown();
            visit(&attach(Binding::Unbound));
            drop(THREADS.attach_in_handler().unwrap());
            drop(token);
            let deadline = Deadline::after(SOON);
            let ways = [
                THREADS.attach(Binding::Bound),
                THREADS.try_attach(Binding::Unbound),
                THREADS.attach_until(Binding::Unbound, &deadline),
                THREADS.attach_in_handler(),
            ];
            DONE.store(ways.iter().all(Result::is_err), Release);
            assert_eq!(THREADS.counts().in_use, 1, "bound until the end");
        });
        until(|| DONE.load(Acquire) && THREADS.counts().in_use == 0);
        assert_eq!(THREADS.attach(Binding::Bound).unwrap_err(), AttachError::ShuttingDown);
        let child = fork(|| {
            // A closed list stays closed.
            i32::from(THREADS.attach(Binding::Bound).map(drop) != Err(AttachError::ShuttingDown))
        });
        assert_eq!(wait_for(child), Ended::Exited(0));
        assert_clean();
    });
}

#[test]
fn tokens_forgotten_mixed_up_and_stolen() {
    isolated("tokens_forgotten_mixed_up_and_stolen", || {
        begin(8);
        thread::spawn(|| std::mem::forget(attach(Binding::Unbound))).join().unwrap();
        assert_eq!((THREADS.counts().in_use, THREADS.misuse().abandoned), (0, 1));

        let (outer, inner) = (attach(Binding::Unbound), attach(Binding::Unbound));
        drop(outer);
        raise_here(libc::SIGUSR1);
        visit(&inner);
        drop(inner);
        assert_eq!((THREADS.counts().in_use, THREADS.misuse().misordered > 0), (0, true));

        let raw: RawAttached = attach(Binding::Unbound).into_raw();
        let refused = |raw| match THREADS.detach_raw(raw) {
            Err(DetachError::NotAttached(raw)) => raw,
            other => panic!("another thread's: {other:?}"),
        };
        let steal = move || {
            let raw = refused(raw);
            let _own = attach(Binding::Unbound);
            refused(raw)
        };
        detach_raw(thread::spawn(steal).join().unwrap());
        assert_eq!(THREADS.counts().in_use, 0);
    });
}

extern "C" fn leave_by_jump(_: *mut c_void) -> c_long {
    std::mem::forget(THREADS.attach_in_handler());
    0
}

extern "C" fn jumped(_: *mut c_void) -> c_long {
    for _ in 0..10 {
        assert_eq!((foreign().jump)(libc::SIGUSR2, leave_by_jump), 1);
        assert_eq!(THREADS.counts().in_use, 1, "kept, and the same");
        raise_here(libc::SIGUSR1);
        visit(&attach(Binding::Unbound));
    }
    1
}

/// On a thread that never attaches in ordinary code.
extern "C" fn jumped_once(_: *mut c_void) -> c_long {
    assert_eq!((foreign().jump)(libc::SIGUSR2, leave_by_jump), 1);
    assert_eq!(THREADS.counts().in_use, 1);
    1
}

/// A handler that does not return keeps the record until its thread ends.
#[test]
fn a_handler_that_jumps() {
    isolated("a_handler_that_jumps", || {
        begin(8);
        extern "C" fn watched(_: *mut c_void) -> c_long {
            drop(attach(Binding::Unbound));
            jumped(ptr::null_mut())
        }
        for at in 1..=10 {
            assert_eq!(Plan::new(1, 1, watched).run(), 1);
            assert_eq!((THREADS.counts().in_use, THREADS.misuse().abandoned), (0, at));
        }
        assert_eq!((HANDLED[0].load(Relaxed), handled()), (0, 100));
        for at in 11..=20 {
            assert_eq!(Plan::new(1, 1, jumped_once).run(), 1);
            assert_eq!((THREADS.counts().in_use, THREADS.misuse().abandoned), (0, at));
        }
    });
}

/// The system has no key left to watch a thread's end with.
#[test]
fn no_keys_left() {
    isolated("no_keys_left", || {
        let mut keys = Vec::new();
        let mut key = 0;
        // SAFETY: the key is a local.
        while unsafe { libc::pthread_key_create(&raw mut key, None) } == 0 {
            keys.push(key);
        }
        begin(8);
        let refused = THREADS.attach(Binding::Unbound).unwrap_err();
        assert!(matches!(refused, AttachError::ThreadEnd(errno) if errno.0 == libc::EAGAIN));
        assert_eq!((THREADS.state(), mask()), (ThreadState::Unknown, 0));
        raise_here(libc::SIGUSR1);
        // SAFETY: made above.
        unsafe { libc::pthread_key_delete(keys[0]) };
        visit(&attach(Binding::Unbound));
        assert_eq!(handled(), 1);
        assert_clean();
    });
}

/// No memory for a stack: refused, and made when there is some.
#[test]
fn no_memory_for_stacks() {
    isolated("no_memory_for_stacks", || {
        let limit = |bytes| {
            let all = libc::RLIM_INFINITY;
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: all };
            // SAFETY: the limit is a local.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
        };
        limit(4096);
        let refused = FEW.create();
        let none = FEW.attach(Binding::Unbound).map(drop);
        limit(libc::RLIM_INFINITY);
        assert_eq!(refused, Err(CreateError::System(Errno(libc::ENOMEM))));
        assert_eq!(none, Err(AttachError::NoRecords));
        FEW.create().unwrap();
        drop(FEW.attach(Binding::Unbound).unwrap());
        assert_eq!(FEW.counts().in_use, 0);
    });
}

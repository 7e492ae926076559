//! Others that stop threads: a conservative collector, which stops all that it knows by a signal of its own
//! and waits in its handler, as bdwgc does; and takes no turns with this crate.

use std::ffi::{c_int, c_void};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::*};
use std::sync::mpsc;
use std::thread;

use portcullis::all_threads::{Call, Operation, call_everyone};
use portcullis::preempt::{Either, Gate, Gates, Hook, SuspendError, SystemBackend, Target};

use super::common::*;
use super::{function, gettid, set, tgkill};

/// bdwgc's on Linux.
const SUSPEND: c_int = libc::SIGPWR;
const ROUNDS: u32 = 500;

/// How often the world was stopped; odd while it is.
static EPOCH: AtomicU32 = AtomicU32::new(0);
static STANDING: AtomicU32 = AtomicU32::new(0);

/// Masks all while it waits, but faults.
extern "C" fn stands(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    let epoch = EPOCH.load(Acquire);
    STANDING.fetch_add(1, AcqRel);
    while EPOCH.load(Acquire) == epoch {
        thread_yield();
    }
    STANDING.fetch_sub(1, AcqRel);
}

fn thread_yield() {
    // SAFETY: no preconditions; async-signal-safe.
    unsafe { libc::sched_yield() };
}

/// Stops all of them, and lets them go on.
fn collect(threads: &[libc::pid_t]) {
    EPOCH.fetch_add(1, AcqRel);
    threads.iter().for_each(|thread| assert!(tgkill(*thread, SUSPEND)));
    while STANDING.load(Acquire) < threads.len() as u32 {
        thread_yield();
    }
    (0..100).for_each(|_| spin_loop());
    EPOCH.fetch_add(1, AcqRel);
    while STANDING.load(Acquire) > 0 {
        thread_yield();
    }
}

fn gates() -> &'static Gates<Either, SystemBackend> {
    static GATES: std::sync::LazyLock<Gates<Either, SystemBackend>> =
        std::sync::LazyLock::new(|| Gates::new(Either::new(), SystemBackend::new(Hook::nothing())));
    &GATES
}

static GATE: [Gate<SystemBackend>; 2] = [const { Gate::new() }; 2];
static MOVES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
static DONE: AtomicBool = AtomicBool::new(false);
static OVER: AtomicBool = AtomicBool::new(false);

/// Two that work, and go out now and then; one that suspends them, by one way or the other; a collector
/// that stops all three. All come to their end, and what is suspended stands still.
#[test]
fn two_stop_the_worlds() {
    isolated_open("stoppers::two_stop_the_worlds", 60, || {
        set(SUSPEND, function(stands), libc::SA_ONSTACK | libc::SA_SIGINFO | libc::SA_RESTART);
        let (tell, told) = mpsc::channel();
        let workers = [0, 1].map(|at| {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut own = gates().register(&GATE[at]).unwrap();
                tell.send((at, own.thread(), gettid())).unwrap();
                while !OVER.load(Acquire) {
                    (0..100).for_each(|_| _ = MOVES[at].fetch_add(1, Relaxed));
                    drop(own.external());
                }
            })
        });
        let mut known = [told.recv().unwrap(), told.recv().unwrap()];
        known.sort_by_key(|known| known.0);
        let mut targets = known.map(|(_, name, _)| Target::new(name));
        static SUSPENDER: AtomicI32 = AtomicI32::new(0);
        let suspender = thread::spawn(move || {
            SUSPENDER.store(gettid(), Release);
            let mut stopped = 0;
            for round in 0..ROUNDS as usize {
                let at = round % 2;
                let name = known[at].1;
                let before = |at: usize| MOVES[at].load(Relaxed);
                let done = match round % 4 {
                    0 => gates().try_suspend(name).map(|_held| {
                        let seen = before(at);
                        (0..50).for_each(|_| spin_loop());
                        assert_eq!(before(at), seen, "it moved");
                    }),
                    1 => {
                        let world = gates().stop_all(&mut targets);
                        let seen = [before(0), before(1)];
                        (0..50).for_each(|_| spin_loop());
                        for (at, target) in world.targets().iter().enumerate() {
                            assert!(
                                target.outcome().is_err() || before(at) == seen[at],
                                "it moved"
                            );
                        }
                        drop(world);
                        targets[at].outcome()
                    }
                    2 => gates().request(name).map(drop),
                    _ => {
                        let all = call_everyone(Call::new(Operation::barrier())).unwrap();
                        assert_eq!((all.missing, all.others >= 3), (None, true));
                        continue;
                    }
                };
                assert!(matches!(done, Ok(()) | Err(SuspendError::External)), "{done:?}");
                stopped += u32::from(done.is_ok());
                assert_eq!(gates().holds(), 0);
            }
            // A collector knows which threads are there: it stays.
            DONE.store(true, Release);
            while !OVER.load(Acquire) {
                thread::yield_now();
            }
            stopped
        });
        while SUSPENDER.load(Acquire) == 0 {
            thread::yield_now();
        }
        let stops = [known[0].2, known[1].2, SUSPENDER.load(Acquire)];
        let mut collections = 0;
        while !DONE.load(Acquire) {
            collect(&stops);
            collections += 1;
        }
        OVER.store(true, Release);
        let stopped = suspender.join().unwrap();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        eprintln!("{stopped} of {ROUNDS} stopped beside {collections} collections");
        assert!(stopped > 0 && collections > 0);
    });
}

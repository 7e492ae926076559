//! The world on the real system: whoever works, goes out, enters, is born or leaves, while the world is stopped
//! without a pause.
//!
//! What a thread owns is two counters, which differ only in the middle of its work: a stopper that finds them
//! so, or whose own writes are lost, has missed a thread.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;

use std::cell::UnsafeCell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::thread;
use std::time::Duration;

use common::*;
use portcullis::note::Deadline;
use portcullis::preempt::host::{Barrier, Claim};
use portcullis::preempt::{
    Asymmetric, Errno, Fenced, Hook, RegisterError, SuspendError, SystemBackend, Target, ThreadRef,
};
use portcullis::world::{EnterError, Member, Slot, Stop, StopByError, StopError, World, WorldOf};

/// A thread's own, and a stopper's.
#[derive(Default)]
struct Heap(UnsafeCell<[u64; 2]>);

// SAFETY: its thread writes it while it is inside, a stopper while it is not: what is tried here.
unsafe impl Sync for Heap {}

impl Heap {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; 2]))
    }

    fn add(&self, first: u64, second: u64) {
        // SAFETY: as above.
        let [one, other] = unsafe { &mut *self.0.get() };
        *one += first;
        *other += second;
    }

    /// Half of it, then the other half.
    fn work(&self) {
        self.add(1, 0);
        std::hint::black_box(self);
        self.add(0, 1);
    }

    fn read(&self) -> [u64; 2] {
        // SAFETY: as above.
        unsafe { *self.0.get() }
    }
}

const SLOTS: usize = 8;
type Ours<B> = World<Heap, B, SystemBackend>;

type Static<B> = WorldOf<Heap, B, SystemBackend, SLOTS>;

const fn with<B: Barrier>(barrier: B) -> Static<B> {
    let backend = SystemBackend::new(Hook::nothing());
    World::new(barrier, backend, [const { Slot::new(Heap::new()) }; SLOTS])
}

static FENCED: Static<Fenced> = with(Fenced);
static ASYMMETRIC: LazyLock<Option<Static<Asymmetric>>> =
    LazyLock::new(|| Asymmetric::new().map(with));

static OVER: AtomicBool = AtomicBool::new(false);
/// What threads added that have left.
static WORKED: AtomicU64 = AtomicU64::new(0);
/// What those count who do not poll, and who go out.
static COUNTS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// How often threads of each kind have come round: that polls, that goes out, that comes and goes.
static KINDS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
/// What stoppers added.
static COLLECTED: AtomicU64 = AtomicU64::new(0);

/// Sees every thread whole, and adds to all of them.
fn collect<B: Barrier, W>(stop: &Stop<Heap, B, SystemBackend, W>) {
    for thread in stop.threads() {
        let [one, other] = thread.record().read();
        assert_eq!(one, other, "it is in the middle of its work");
        thread.record().add(1 << 32, 1 << 32);
        COLLECTED.fetch_add(1 << 32, Relaxed);
    }
}

/// Stops the world so often, from outside.
fn stops<B: Barrier>(world: &'static Ours<B>, times: usize) {
    (0..times).for_each(|_| collect(&world.stop().expect("all of them poll")));
}

/// The slots in the end hold what threads and stoppers added, and nothing else.
fn account<B: Barrier>(world: &'static Ours<B>) {
    drop(world.stop().expect("nobody is there"));
    let mut sum = 0;
    for record in world.records() {
        let [one, other] = record.read();
        assert_eq!(one, other);
        sum += one;
    }
    assert_eq!(sum, WORKED.load(Relaxed) + COLLECTED.load(Relaxed));
}

fn works<B: Barrier>(own: &mut Member<Heap, B, SystemBackend>, times: u64) {
    for _ in 0..times {
        own.record().work();
        own.poll();
    }
    WORKED.fetch_add(times, Relaxed);
}

/// Polls, until all is over.
fn polls<B: Barrier>(world: &'static Ours<B>) {
    let mut own = world.enter().expect("there is a slot");
    while !OVER.load(Relaxed) {
        works(&mut own, 100);
        KINDS[0].fetch_add(1, Relaxed);
    }
}

/// Goes out and is called back, until all is over.
fn calls_out<B: Barrier>(world: &'static Ours<B>) {
    let mut own = world.enter().expect("there is a slot");
    while !OVER.load(Relaxed) {
        works(&mut own, 1);
        let mut external = own.external();
        let mut inside = external.inside();
        inside.record().work();
        WORKED.fetch_add(1, Relaxed);
        inside.poll();
        drop(inside.external());
        drop(inside);
        drop(external);
        KINDS[1].fetch_add(1, Relaxed);
    }
}

/// Enters, bears a thread, and leaves, until all is over.
fn comes_and_goes<B: Barrier>(world: &'static Ours<B>) {
    while !OVER.load(Relaxed) {
        let mut own = world.enter().expect("there is a slot");
        works(&mut own, 1);
        let birth = own.birth().expect("there is a slot");
        birth.record().work();
        WORKED.fetch_add(1, Relaxed);
        let child = thread::spawn(move || works(&mut birth.enter().expect("it has one"), 1));
        drop(own);
        child.join().unwrap();
        KINDS[2].fetch_add(1, Relaxed);
    }
}

fn storm<B: Barrier>(world: &'static Ours<B>, rounds: usize) {
    thread::scope(|scope| {
        scope.spawn(|| polls(world));
        scope.spawn(|| calls_out(world));
        scope.spawn(|| comes_and_goes(world));
        scope.spawn(|| {
            let mut own = world.enter().expect("there is a slot");
            for _ in 0..rounds / 2 {
                collect(&own.stop().expect("all of them poll"));
                works(&mut own, 1);
            }
        });
        stops(world, rounds);
        // They may begin late, on a busy machine: until each kind has met stops.
        let met = || KINDS.iter().all(|times| times.load(Relaxed) >= 200);
        while !met() {
            stops(world, 1);
        }
        OVER.store(true, Relaxed);
    });
    assert_ne!(COLLECTED.load(Relaxed), 0);
    account(world);
}

#[test]
fn a_storm_with_the_fenced_barrier() {
    isolated_within("a_storm_with_the_fenced_barrier", 120, || storm(&FENCED, 4000));
}

#[test]
fn a_storm_with_the_asymmetric_barrier() {
    isolated_within("a_storm_with_the_asymmetric_barrier", 120, || match &*ASYMMETRIC {
        Some(world) => storm(world, 2000),
        None => eprintln!("left out: the system has no such barrier"),
    });
}

/// A profiler suspends a thread of the world, while that is stopped over and over.
#[test]
fn a_profiler_beside_it() {
    isolated_within("a_profiler_beside_it", 120, || {
        let (tell, told) = std::sync::mpsc::channel::<ThreadRef<Fenced, SystemBackend>>();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut own = FENCED.enter().expect("there is a slot");
                tell.send(own.thread()).expect("it is waited for");
                while !OVER.load(Relaxed) {
                    works(&mut own, 1);
                    drop(own.external());
                }
            });
            let target = told.recv().expect("it tells");
            let profiler = scope.spawn(move || {
                let mut suspended = 0;
                while !OVER.load(Relaxed) {
                    match FENCED.gates().try_suspend(target).map(drop) {
                        Ok(()) => suspended += 1,
                        Err(SuspendError::External | SuspendError::Gone) => thread::yield_now(),
                        Err(other) => panic!("{other}"),
                    }
                }
                suspended
            });
            stops(&FENCED, 500);
            // It gets its turn, too.
            while !profiler.is_finished() && FENCED.gates().try_suspend(target).is_err() {
                thread::yield_now();
            }
            OVER.store(true, Relaxed);
            profiler.join().unwrap();
        });
        account(&FENCED);
    });
}

#[test]
fn what_is_refused() {
    isolated("what_is_refused", || {
        let own = FENCED.enter().unwrap();
        let again = FENCED.enter().unwrap_err();
        assert_eq!(again, EnterError::Register(RegisterError::AlreadyRegistered));
        assert!(again.to_string().contains("registered already"), "{again}");
        let refused = FENCED.stop().unwrap_err();
        assert!(matches!(refused, StopError::Member), "{refused}");
        let births: Vec<_> = (1..SLOTS).map(|_| FENCED.birth().unwrap()).collect();
        assert_eq!(FENCED.birth().unwrap_err(), EnterError::Full(SLOTS));
        drop(births);
        drop(own);
        // Those that were not born have left their slots.
        let births: Vec<_> = (0..SLOTS).map(|_| FENCED.birth().unwrap()).collect();
        assert_eq!(
            thread::spawn(|| FENCED.stop().unwrap().threads().count()).join().unwrap(),
            SLOTS
        );
        drop(births);
        assert_eq!(FENCED.stop().unwrap().threads().count(), 0);
    });
}

/// A thread that does not poll is named; the others stand meanwhile, and it may be waited for again.
#[test]
fn a_deadline() {
    isolated("a_deadline", || {
        let mut own = FENCED.enter().unwrap();
        let name = own.thread();
        let stopper = thread::spawn(move || {
            let soon = Deadline::after(Duration::from_millis(1));
            let Err(StopByError::Late(late)) = FENCED.stop_by(&soon) else {
                panic!("it stopped");
            };
            assert!(late.threads().map(|thread| thread.thread()).eq([name]));
            OVER.store(true, Release);
            let stop = late.wait().unwrap();
            assert!(stop.threads().map(|thread| thread.thread()).eq([name]));
            COLLECTED.fetch_add(1, Relaxed);
        });
        while !OVER.load(Acquire) {
            std::hint::spin_loop();
        }
        while COLLECTED.load(Relaxed) == 0 {
            own.poll();
        }
        stopper.join().unwrap();
        // One who has the world stopped keeps others from it until their deadline.
        let stop = own.stop().unwrap();
        // More than once: who was late has no turn to give.
        for _ in 0..3 {
            let busy = thread::spawn(|| {
                let soon = Deadline::after(Duration::from_millis(1));
                matches!(FENCED.stop_by(&soon), Err(StopByError::Busy))
            });
            assert!(busy.join().unwrap());
        }
        drop(stop);
    });
}

/// A member whose stop is late comes in again when that is dropped.
#[test]
fn a_members_deadline() {
    isolated("a_members_deadline", || {
        let mut own = FENCED.enter().unwrap();
        let runs = thread::spawn(|| {
            let _own = FENCED.enter().unwrap();
            KINDS[0].store(1, Release);
            while !OVER.load(Acquire) {
                std::hint::spin_loop();
            }
        });
        while KINDS[0].load(Acquire) == 0 {
            thread::yield_now();
        }
        let soon = Deadline::after(Duration::from_millis(1));
        let late = own.stop_by(&soon).unwrap_err();
        assert!(late.to_string().starts_with("1 threads did not stop"), "{late}");
        drop(late);
        own.record().work();
        OVER.store(true, Release);
        drop(own.stop().unwrap());
        drop(own);
        runs.join().unwrap();
    });
}

/// A thread ends with its member forgotten, or has it dropped in its last moments: nobody waits for it any more.
#[test]
fn a_member_that_is_forgotten() {
    thread_local! {
        static KEPT: std::cell::Cell<Option<Member<Heap, Fenced, SystemBackend>>> =
            const { std::cell::Cell::new(None) };
    }
    isolated("a_member_that_is_forgotten", || {
        for round in 1..SLOTS {
            let ends = thread::spawn(|| std::mem::forget(FENCED.enter().unwrap()));
            stops(&FENCED, 1);
            ends.join().unwrap();
            thread::spawn(|| {
                // Dropped before or after the backend is told that the thread ends.
                KEPT.set(None);
                KEPT.set(Some(FENCED.enter().unwrap()));
            })
            .join()
            .unwrap();
            assert_eq!(FENCED.stop().unwrap().threads().count(), 0);
            // That of who forgot is lost.
            let births: Vec<_> = (round..SLOTS).map(|_| FENCED.birth().unwrap()).collect();
            assert_eq!(FENCED.birth().unwrap_err(), EnterError::Full(SLOTS));
            drop(births);
        }
    });
}

/// Threads that never poll stand where they are, while those that come and go are held; over and over.
#[test]
fn stops_by_force() {
    isolated_within("stops_by_force", 60, || {
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let own = FENCED.enter().unwrap();
                    while !OVER.load(Relaxed) {
                        COUNTS[0].fetch_add(1, Relaxed);
                    }
                    drop(own);
                });
            }
            scope.spawn(|| {
                let mut own = FENCED.enter().unwrap();
                while !OVER.load(Relaxed) {
                    COUNTS[1].fetch_add(1, Relaxed);
                    drop(own.external());
                }
            });
            while COUNTS.iter().any(|count| count.load(Relaxed) == 0) {
                thread::yield_now();
            }
            let mut forced_stops = 0;
            while forced_stops < 300 {
                let soon = Deadline::after(Duration::from_micros(50));
                let late = match FENCED.stop_by(&soon) {
                    Err(StopByError::Late(late)) => late,
                    Ok(_) => continue,
                    Err(other) => panic!("{other}"),
                };
                let mut targets = Vec::with_capacity(SLOTS);
                targets.extend(late.threads().map(|thread| Target::new(thread.thread())));
                if let Ok(forced) = late.suspend(&mut targets) {
                    let before = COUNTS.each_ref().map(|count| count.load(Relaxed));
                    (0..2_000).for_each(|_| std::hint::spin_loop());
                    let after = COUNTS.each_ref().map(|count| count.load(Relaxed));
                    let counted = (forced.threads().count(), forced.suspended().count());
                    drop(forced);
                    assert_eq!((before, counted.0), (after, 3));
                    assert!(counted.1 >= 1);
                    forced_stops += 1;
                }
            }
            OVER.store(true, Relaxed);
        });
    });
}

/// A barrier that a sandbox has taken away.
struct Forbidden;

// SAFETY: `heavy` fails, always.
unsafe impl Barrier for Forbidden {
    fn look(&self, claim: &Claim) -> u32 {
        Fenced.look(claim)
    }
    fn heavy(&self) -> Result<(), Errno> {
        Err(Errno(libc::EPERM))
    }
}

/// Nobody is stopped by a barrier that does not work, and nobody waits.
#[test]
fn a_barrier_that_fails() {
    static WORLD: Static<Forbidden> = with(Forbidden);
    isolated("a_barrier_that_fails", || {
        let mut own = WORLD.enter().unwrap();
        let refused = own.stop().unwrap_err();
        assert!(matches!(refused, StopError::NoBarrier(Errno(libc::EPERM))), "{refused}");
        own.poll();
        let refused = thread::spawn(|| WORLD.stop().unwrap_err().to_string()).join().unwrap();
        assert!(refused.contains("use a fenced world"), "{refused}");
        own.poll();
    });
}

/// A member forks, also with the world shut by another: the child's has one thread, and is not stopped.
#[test]
fn a_fork() {
    isolated("a_fork", || {
        let mut own = FENCED.enter().unwrap();
        let stopper = thread::spawn(|| stops(&FENCED, 200));
        while !stopper.is_finished() {
            let child = fork(|| {
                // SAFETY: the only thread of the child, first of all; not in the middle of anything.
                unsafe { FENCED.reset_after_fork() }.unwrap();
                own.poll();
                let stop = own.stop().unwrap();
                i32::from(stop.threads().count() == 1)
            });
            assert_eq!(wait_for(child), Ended::Exited(1));
            own.poll();
        }
        drop(own);
        stopper.join().unwrap();
    });
}

#[test]
fn what_threads_may_share() {
    fn both<T: Send + Sync>() {}
    fn error<T: std::error::Error + Send + Sync>() {}
    both::<Static<Fenced>>();
    both::<portcullis::world::Birth<Heap, Fenced, SystemBackend>>();
    both::<(Stop<Heap, Fenced, SystemBackend>, portcullis::world::Late<Heap, Fenced, SystemBackend>)>(
    );
    error::<EnterError>();
    error::<StopError>();
    error::<StopByError<Heap, Fenced, SystemBackend>>();
}

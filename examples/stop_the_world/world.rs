//! The threads, and the account.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{LazyLock, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use portcullis::preempt::{
    Checked, Either, Gate, Gates, Hook, Registration, SuspendError, SystemBackend, Target,
    ThreadRef,
};

/// In debug builds: nobody allocates while the world stands still.
#[global_allocator]
static ALLOCATOR: Checked<std::alloc::System> = Checked(std::alloc::System);

const STOPS: usize = 10_000;
/// A stop waits until each thread has had a processor: where others want those too, fewer will do.
const LONG_ENOUGH: Duration = Duration::from_secs(10);
const MUTATORS: usize = 4;

static PREEMPTED: AtomicU32 = AtomicU32::new(0);

static GATES: LazyLock<Gates<Either, SystemBackend>> =
    LazyLock::new(|| Gates::new(Either::new(), SystemBackend::new(Hook::count(&PREEMPTED))));
static EACH: [Gate<SystemBackend>; MUTATORS] = [const { Gate::new() }; MUTATORS];
static HEAP: [AtomicU64; MUTATORS] = [const { AtomicU64::new(0) }; MUTATORS];
static OUTSIDE: [AtomicBool; MUTATORS] = [const { AtomicBool::new(false) }; MUTATORS];
static THREADS: Mutex<[Option<ThreadRef<Either, SystemBackend>>; MUTATORS]> =
    Mutex::new([None; MUTATORS]);

/// External code of all lengths: nothing, a few instructions, a sleep.
fn foreign_code(round: u64) {
    match round % 256 {
        0 => thread::sleep(Duration::from_micros(50)),
        1..64 => (0..round % 64).for_each(|_| spin_loop()),
        _ => {}
    }
}

fn live(at: usize, member: &mut Registration<Either, SystemBackend>) {
    for round in 0..20_000 {
        for _ in 0..100 {
            HEAP[at].fetch_add(1, Relaxed);
        }
        let _external = member.external();
        OUTSIDE[at].store(true, Relaxed);
        foreign_code(round);
        OUTSIDE[at].store(false, Relaxed);
    }
}

/// One thread after another.
fn mutator(at: usize) {
    loop {
        let life = move || {
            let mut member = GATES.register(&EACH[at]).expect("a gate of its own");
            THREADS.lock().expect("nobody panics")[at] = Some(member.thread());
            live(at, &mut member);
        };
        thread::spawn(life).join().expect("it ends well");
    }
}

fn known() -> Vec<(usize, ThreadRef<Either, SystemBackend>)> {
    let threads = THREADS.lock().expect("nobody panics");
    threads.iter().enumerate().filter_map(|(at, thread)| Some((at, (*thread)?))).collect()
}

#[derive(Default)]
struct Account {
    stopped: u64,
    outside: u64,
    ended: u64,
    busy: u64,
    other: u64,
    /// That moved, or ran external code, while it was stopped.
    wrong: u64,
}

impl Account {
    fn add(&mut self, outcome: Result<(), SuspendError>) {
        match outcome {
            Ok(()) => self.stopped += 1,
            Err(SuspendError::External) => self.outside += 1,
            Err(SuspendError::Gone) => self.ended += 1,
            Err(SuspendError::Busy) => self.busy += 1,
            Err(_) => self.other += 1,
        }
    }

    fn print(&self, who: &str) {
        println!(
            "  {who:<10} {:>8} stopped {:>8} outside {:>7} ended {:>6} busy {:>4} other {:>3} wrong",
            self.stopped, self.outside, self.ended, self.busy, self.other, self.wrong,
        );
    }
}

/// Suspends whomever it likes, and asks others to be preempted.
fn profiler(over: &AtomicBool) -> Account {
    let (mut account, mut random) = (Account::default(), 0x2545_f491_4f6c_dd1d_u64);
    while !over.load(Acquire) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let known = known();
        let Some(&(at, thread)) = known.get(random as usize % known.len().max(1)) else { continue };
        if random & 0x100 != 0 {
            let _ = GATES.request(thread);
        } else {
            let sample = GATES.try_suspend(thread);
            let outside = sample.is_ok() && OUTSIDE[at].load(Relaxed);
            account.wrong += u64::from(outside);
            account.add(sample.map(drop));
        }
        thread::sleep(Duration::from_micros(random % 200));
    }
    account
}

/// Stops the world and looks whether it stands still; returns how long each pause was.
fn collector(account: &mut Account) -> Vec<Duration> {
    let mut pauses = Vec::with_capacity(STOPS);
    let end = Instant::now() + LONG_ENOUGH;
    while pauses.len() < STOPS && Instant::now() < end {
        let known = known();
        let mut targets: Vec<_> = known.iter().map(|(_, thread)| Target::new(*thread)).collect();
        let start = Instant::now();
        let world = GATES.stop_all(&mut targets);
        let stopped = known.iter().zip(world.targets());
        for ((at, _), _) in stopped.filter(|(_, target)| target.outcome().is_ok()) {
            let before = HEAP[*at].load(Relaxed);
            (0..20).for_each(|_| spin_loop());
            let moved = HEAP[*at].load(Relaxed) != before || OUTSIDE[*at].load(Relaxed);
            account.wrong += u64::from(moved);
        }
        drop(world);
        pauses.push(start.elapsed());
        targets.iter().for_each(|target| account.add(target.outcome()));
        // The world has to go on for a while to be worth collecting.
        thread::sleep(Duration::from_micros(100));
    }
    pauses
}

pub(crate) fn run() {
    println!("{MUTATORS} mutators, up to {STOPS} stops, barrier: {}", Either::new());
    (0..MUTATORS).for_each(|at| drop(thread::spawn(move || mutator(at))));
    let over = AtomicBool::new(false);
    let mut collected = Account::default();
    let (mut pauses, sampled) = thread::scope(|scope| {
        let profiler = scope.spawn(|| profiler(&over));
        let pauses = collector(&mut collected);
        over.store(true, Release);
        (pauses, profiler.join().expect("it ends well"))
    });
    pauses.sort_unstable();
    let at = |share: usize| pauses[(pauses.len() - 1) * share / 100];
    println!(
        "{} stops; half of the pauses up to {:.1?}, 99 of 100 up to {:.1?}, all up to {:.1?}",
        pauses.len(),
        at(50),
        at(99),
        at(100)
    );
    collected.print("collector");
    sampled.print("profiler");
    println!("  preempted  {:>8}", PREEMPTED.load(Relaxed));
    let well = collected.wrong + sampled.wrong + collected.other == 0 && collected.stopped > 0;

    // The end, while others suspend the thread that ends it.
    static LAST: Gate<SystemBackend> = Gate::new();
    static NAME: OnceLock<ThreadRef<Either, SystemBackend>> = OnceLock::new();
    static SUSPENDED: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
    // They are there before the first of them suspends: who is suspended again and again makes no
    // thread, for the system begins that anew after each signal.
    for suspended in &SUSPENDED {
        thread::spawn(move || {
            loop {
                let done = NAME.get().map(|name| GATES.try_suspend(*name).map(drop));
                suspended.fetch_add(u32::from(done == Some(Ok(()))), Relaxed);
            }
        });
    }
    println!("exit in the middle of it");
    let mut member = GATES.register(&LAST).expect("a gate of its own");
    NAME.set(member.thread()).expect("set once");
    while SUSPENDED.iter().any(|suspended| suspended.load(Relaxed) < 10) {
        spin_loop();
    }
    match member.exit(if well { 7 } else { 1 }) {
        Err(error) => println!("{error}"),
        Ok(never) => match never {},
    }
}

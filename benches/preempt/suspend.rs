//! Suspending one thread and all of them.

use std::mem::zeroed;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use portcullis::preempt::{Either, Gate, Gates, Hook, SystemBackend, Target, ThreadRef};

use crate::stats;

static GATES: LazyLock<Gates<Either, SystemBackend>> =
    LazyLock::new(|| Gates::new(Either::new(), SystemBackend::new(Hook::nothing())));
const MOST: usize = 256;
static EACH: [Gate<SystemBackend>; MOST] = [const { Gate::new() }; MOST];

/// A semaphore of the C library.
struct Semaphore(std::cell::UnsafeCell<libc::sem_t>);
// SAFETY: made for that.
unsafe impl Sync for Semaphore {}

static STOPPED: LazyLock<Semaphore> = LazyLock::new(Semaphore::new);
static RESUME: LazyLock<Semaphore> = LazyLock::new(Semaphore::new);

impl Semaphore {
    fn new() -> Self {
        // SAFETY: all zeros is storage for one.
        let semaphore = Self(std::cell::UnsafeCell::new(unsafe { zeroed() }));
        // SAFETY: its own storage; it is moved before its first use only.
        unsafe { libc::sem_init(semaphore.0.get(), 0, 0) };
        semaphore
    }
    fn post(&self) {
        // SAFETY: initialised.
        unsafe { libc::sem_post(self.0.get()) };
    }
    fn wait(&self) {
        // SAFETY: initialised.
        while unsafe { libc::sem_wait(self.0.get()) } != 0 {}
    }
}

extern "C" fn stop_by_hand(_: i32) {
    STOPPED.post();
    RESUME.wait();
}

fn handle_by_hand() {
    // SAFETY: all zeros is a valid sigaction.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = stop_by_hand as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the set is a local's; the handler is async-signal-safe.
    unsafe {
        libc::sigfillset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
}

/// Nanoseconds a round trip.
fn timed(turns: u32, mut body: impl FnMut()) -> u64 {
    let start = Instant::now();
    (0..turns).for_each(|_| body());
    start.elapsed().as_nanos() as u64 / u64::from(turns)
}

/// A thread that works until told otherwise: its name here and to the system.
fn with_worker<R>(body: impl FnOnce(ThreadRef<Either, SystemBackend>, i32) -> R) -> R {
    let over = &AtomicBool::new(false);
    static WORK: AtomicU64 = AtomicU64::new(0);
    thread::scope(|scope| {
        let (name, named) = channel();
        scope.spawn(move || {
            let member = GATES.register(&EACH[0]).expect("a gate of its own");
            // SAFETY: no memory is passed.
            let tid = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
            name.send((member.thread(), tid)).expect("somebody listens");
            while !over.load(Relaxed) {
                WORK.fetch_add(1, Relaxed);
            }
        });
        let (thread, tid) = named.recv().expect("it is registered");
        let result = body(thread, tid);
        over.store(true, Relaxed);
        result
    })
}

/// One running thread: ours, and the same handshake without a gate.
pub(crate) fn table(rounds: usize) -> Vec<String> {
    handle_by_hand();
    LazyLock::force(&STOPPED);
    LazyLock::force(&RESUME);
    let samples: Vec<[u64; 2]> = with_worker(|thread, tid| {
        let ours = || drop(GATES.try_suspend(thread).expect("it runs"));
        let by_hand = || {
            // SAFETY: a thread of this process.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1) };
            STOPPED.wait();
            RESUME.post();
        };
        (0..rounds).map(|_| [timed(300, ours), timed(300, by_hand)]).collect()
    });
    let median = |case: usize| {
        let mut of_case: Vec<u64> = samples.iter().map(|round| round[case]).collect();
        stats::summary(&mut of_case).0
    };
    let rows = [
        vec!["suspend and resume".to_owned(), median(0).to_string()],
        vec!["tgkill and two semaphores".to_owned(), median(1).to_string()],
    ];
    stats::table("One running thread", &["", "ns"], &rows);
    let mut ratios: Vec<u64> =
        samples.iter().map(|round| round[0] * 1000 / round[1].max(1)).collect();
    let ratio = stats::summary(&mut ratios).0 as f64 / 1000.0;
    vec!["suspend and resume, to the bare handshake".into(), "1.15".into(), format!("{ratio:.2}")]
}

/// Many threads, asleep in the runtime's code.
pub(crate) fn world(rounds: u32) {
    let rows: Vec<_> = [1, 4, 16, 64, MOST]
        .map(|count| {
            let (name, named) = channel();
            let (over, end) = channel::<()>();
            let end = std::sync::Arc::new(std::sync::Mutex::new(end));
            let threads: Vec<_> = (0..count)
                .map(|at| {
                    let (name, end) = (name.clone(), end.clone());
                    thread::spawn(move || {
                        let member = GATES.register(&EACH[at]).expect("a gate of its own");
                        name.send(member.thread()).expect("somebody listens");
                        // Asleep, all but one on the lock.
                        let _ = end.lock().expect("nobody panics").recv();
                    })
                })
                .collect();
            let mut targets: Vec<_> = named.iter().take(count).map(Target::new).collect();
            let mut stopped = 0;
            let took = timed(rounds, || stopped = GATES.stop_all(&mut targets).stopped().count());
            assert_eq!(stopped, count);
            drop(over);
            threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
            vec![count.to_string(), format!("{:.1}", took as f64 / 1000.0)]
        })
        .into_iter()
        .collect();
    stats::table("Stop and resume all, asleep", &["threads", "us"], &rows);
}

//! The threads, and the ways to reach them.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::sync::mpsc;
use std::time::Duration;
use std::{hint, thread};

use super::psx::Psx;
use criterion::{BenchmarkId, Criterion};
use portcullis::all_threads::linux::{self, Syscall};
use portcullis::all_threads::{Call, Operation, ThreadSeat, WakeFn, registered};
use portcullis::note::{Note, Park};

const COUNTS: [usize; 6] = [1, 4, 16, 64, 256, 1024];
static SEATS: [ThreadSeat; 1025] = [const { ThreadSeat::new() }; 1025];
static NOTES: [Note; 1024] = [const { Note::new() }; 1024];
static OVER: AtomicBool = AtomicBool::new(false);

/// How the threads spend their time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// In a wait of the standard library's; not registered.
    Idle,
    /// The same, registered.
    Joined,
    /// In a note of ours.
    Parked,
    /// One half joined, one parked.
    Mixed,
    /// Running; not registered.
    Busy,
    /// Running and registered: polls.
    Polling,
}

struct Crowd {
    names: Vec<c_int>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Idle threads wait for its end.
    end: Option<mpsc::Sender<()>>,
}

fn live(life: Life, at: usize, until: &std::sync::Mutex<mpsc::Receiver<()>>, ready: impl FnOnce()) {
    let member = (!matches!(life, Life::Idle | Life::Busy))
        .then(|| registered().join(&SEATS[at]).expect("a seat of its own"));
    let life = match life {
        Life::Mixed if at % 2 == 0 => Life::Parked,
        life => life,
    };
    match (&member, life) {
        (Some(member), Life::Parked) => {
            member.cooperate(&WakeFn::note(&NOTES[at]), |member| {
                ready();
                while !OVER.load(Acquire) {
                    NOTES[at].sleep(None);
                    NOTES[at].clear();
                    member.poll();
                }
            });
        }
        (Some(member), Life::Polling) => {
            ready();
            while !OVER.load(Acquire) {
                member.poll();
            }
        }
        (_, Life::Busy) => {
            ready();
            while !OVER.load(Acquire) {
                hint::spin_loop();
            }
        }
        _ => {
            ready();
            _ = until.lock().map(|until| until.recv());
        }
    }
}

impl Crowd {
    fn new(count: usize, life: Life) -> Self {
        OVER.store(false, Release);
        let (end, ended) = mpsc::channel();
        let ended: &'static _ = Box::leak(Box::new(std::sync::Mutex::new(ended)));
        let (ready, is_ready) = mpsc::channel();
        let threads = (0..count)
            .map(|at| {
                let ready = ready.clone();
                // SAFETY: no preconditions.
                let say = move || ready.send(unsafe { libc::gettid() }).expect("it is waited for");
                let builder = thread::Builder::new().stack_size(64 << 10);
                builder.spawn(move || live(life, at, ended, say)).expect("a thread")
            })
            .collect();
        let names = is_ready.iter().take(count).collect();
        Self { names, threads, end: Some(end) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        OVER.store(true, Release);
        self.end.take();
        NOTES.iter().for_each(Park::wake);
        self.threads.drain(..).for_each(|thread| thread.join().expect("it ends"));
    }
}

static LEFT: AtomicU32 = AtomicU32::new(0);

/// The floor's handler: one system call, one counter.
extern "C" fn answer(_: c_int) {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_getppid) };
    if LEFT.fetch_sub(1, AcqRel) == 1 {
        futex(libc::FUTEX_WAKE, 1);
    }
}

fn futex(operation: c_int, value: u32) {
    // SAFETY: the word is a static.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            LEFT.as_ptr(),
            operation | libc::FUTEX_PRIVATE_FLAG,
            value,
            std::ptr::null::<c_void>(),
        )
    };
}

fn floor(names: &[c_int]) {
    LEFT.store(names.len() as u32, Release);
    for name in names {
        // SAFETY: no memory is passed.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), *name, libc::SIGUSR1) };
    }
    loop {
        match LEFT.load(Acquire) {
            0 => return,
            left => futex(libc::FUTEX_WAIT, left),
        }
    }
}

fn everyone() {
    let _ = hint::black_box(linux::syscall(&Syscall::getppid()).expect("it succeeds"));
}

fn joined(count: usize) {
    let getppid = Syscall::getppid();
    let call = Call::new(Operation::syscall(&getppid));
    let report = registered().call(&SEATS[..count], call).expect("nobody else calls");
    let _ = hint::black_box(report);
}

/// The ways that need nothing of the threads on these, ours on these others.
fn measure(
    criterion: &mut Criterion,
    name: &str,
    life: Life,
    ours: &[(&str, Life)],
    counts: &[usize],
    psx: bool,
) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(1));
    for &count in counts {
        let crowd = Crowd::new(count, life);
        let id = |way| BenchmarkId::new(way, count);
        group.bench_function(id("floor"), |bencher| bencher.iter(|| floor(&crowd.names)));
        group.bench_function(id("everyone"), |bencher| bencher.iter(everyone));
        // SAFETY: no memory is passed; the group stays.
        let glibc = || assert_eq!(unsafe { libc::setgid(libc::getgid()) }, 0);
        group.bench_function(id("C library"), |bencher| bencher.iter(glibc));
        drop(crowd);
        if let Some(mut psx) = psx.then(|| Psx::new(count)).flatten() {
            group.bench_function(id("libpsx"), |bencher| bencher.iter_custom(|n| psx.calls(n)));
        }
        for &(way, life) in ours {
            let _crowd = Crowd::new(count, life);
            group.bench_function(id(way), |bencher| bencher.iter(|| joined(count)));
        }
    }
    group.finish();
}

pub(crate) fn run() {
    // SAFETY: all zeros is a valid sigaction; the handler is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = answer as *const () as usize;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
    let psx = Psx::build() && Psx::new(0).is_some();
    if !psx {
        eprintln!(
            "libpsx: left out; it takes cc and Debian's libcap-dev, or what has libpsx there"
        );
    }
    let mut criterion = Criterion::default().configure_from_args();
    let idle = [("joined", Life::Joined), ("parked", Life::Parked)];
    measure(&mut criterion, "idle", Life::Idle, &idle, &COUNTS, psx);
    let busy = [("joined", Life::Polling)];
    measure(&mut criterion, "busy", Life::Busy, &busy, &COUNTS[..3], false);
    let mixed = [("joined", Life::Mixed)];
    measure(&mut criterion, "mixed", Life::Mixed, &mixed, &COUNTS, false);
    criterion.final_summary();
}

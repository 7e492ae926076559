//! The threads, the calls, and the account of them.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{fs, hint, thread};

use portcullis::all_threads::linux::{self, Syscall};
use portcullis::all_threads::{
    Call, Late, Member, Missing, Operation, ProcessReach, SystemReach, ThreadSeat, WakeFn,
    call_everyone, registered,
};
use portcullis::note::{Deadline, Note, Park};
use portcullis::sigqueue::{Event, SignalQueue};

const FLIPS: u32 = 1000;
const SEATS: usize = 128;
static SEAT: [ThreadSeat; SEATS] = [const { ThreadSeat::new() }; SEATS];
static TAKEN: AtomicU32 = AtomicU32::new(0);
static OVER: AtomicBool = AtomicBool::new(false);
static NOTES: [Note; 20] = [const { Note::new() }; 20];
static QUEUE: SignalQueue = SignalQueue::new();
static BORN: AtomicU64 = AtomicU64::new(0);

/// A thread in one of the states.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Parked,
    Receiving,
    Reading,
    External,
    Masking,
    Creating,
}

const CROWD: [(State, usize, &str, &str); 7] = [
    (State::Running, 19, "running", "signal, or its own poll"),
    (State::Parked, 20, "parked in a note", "its waker"),
    (State::Receiving, 1, "in the signal receiver", "FIXUP"),
    (State::Reading, 20, "in read(2)", "signal"),
    (State::External, 20, "in external code", "signal"),
    (State::Masking, 10, "masking everything, on and off", "signal, later"),
    (State::Creating, 10, "creating threads that end", "signal, or itself"),
];

/// Which thread is in which state.
static NAMES: Mutex<Vec<(State, i32)>> = Mutex::new(Vec::new());

fn gettid() -> i32 {
    // SAFETY: no preconditions.
    unsafe { libc::gettid() }
}

fn mask(how: i32) {
    // SAFETY: a set that is a local.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(how, &raw const all, std::ptr::null_mut());
    }
}

fn over() -> bool {
    OVER.load(Acquire)
}

/// The life of a thread, until all is over.
fn live(state: State, at: usize, member: &Member<SystemReach>, pipe: &mut UnixStream) {
    match state {
        State::Running => {
            while !over() {
                (0..1000).for_each(|_| hint::spin_loop());
                member.poll();
                thread::yield_now();
            }
        }
        State::Parked => {
            member.cooperate(&WakeFn::note(&NOTES[at]), |member| {
                while !over() {
                    NOTES[at].sleep(None);
                    NOTES[at].clear();
                    member.poll();
                }
            });
        }
        State::Receiving => {
            let mut receiver = QUEUE.receiver().expect("the only one");
            member.cooperate(&WakeFn::fixup(&QUEUE), |member| {
                let event = receiver.recv(None, || _ = member.poll());
                assert!(matches!(event, Event::Closed));
            });
        }
        State::Reading => assert_eq!(pipe.read(&mut [0]).expect("it is closed in the end"), 0),
        State::External => {
            while !over() {
                // Code that knows nothing of us.
                // SAFETY: no preconditions.
                unsafe { libc::usleep(1000) };
            }
        }
        State::Masking => {
            while !over() {
                mask(libc::SIG_BLOCK);
                thread::sleep(Duration::from_micros(200));
                mask(libc::SIG_UNBLOCK);
                thread::sleep(Duration::from_millis(2));
            }
        }
        State::Creating => {
            while !over() {
                let seat = &SEAT[100 + at];
                let born = member.spawn(seat, |_| ()).expect("its own seat");
                born.join().expect("it ends").expect("it begins");
                BORN.fetch_add(1, Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

fn start(state: State, at: usize, pipe: &UnixStream) -> thread::JoinHandle<()> {
    let mut pipe = pipe.try_clone().expect("a descriptor");
    let (ready, is_ready) = mpsc::channel();
    let thread = thread::spawn(move || {
        let seat = &SEAT[TAKEN.fetch_add(1, Relaxed) as usize];
        let member = registered().join(seat).expect("a seat of its own");
        NAMES.lock().unwrap().push((state, gettid()));
        ready.send(()).expect("it is waited for");
        live(state, at, &member, &mut pipe);
    });
    is_ready.recv().expect("it begins");
    thread
}

fn slack_of(thread: i32) -> Option<u64> {
    fs::read_to_string(format!("/proc/{thread}/timerslack_ns")).ok()?.trim().parse().ok()
}

/// How long each took, sorted.
fn timed(mut call: impl FnMut(u32)) -> Vec<Duration> {
    let mut took: Vec<_> = (0..FLIPS)
        .map(|round| {
            let start = Instant::now();
            call(round);
            start.elapsed()
        })
        .collect();
    took.sort();
    took
}

fn told(name: &str, took: &[Duration]) {
    let at = |part: usize| took[took.len() * part / 1000 - 1];
    println!("{name:<46} {:>9.1?} {:>9.1?} {:>9.1?}", at(500), at(990), at(1000));
}

/// A thread that masks everything, the C library's own signals too, and does not come back: told by its number.
fn stubborn() {
    let (name, named) = mpsc::channel();
    let (let_go, held) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let all = [!0_u64; 2];
        let (how, none) = (libc::SIG_BLOCK, std::ptr::null_mut::<u64>());
        // pthread_sigmask leaves two signals open, by which it would be reached.
        // SAFETY: a set of the kernel's size, a local.
        unsafe {
            libc::syscall(libc::SYS_rt_sigprocmask, how, all.as_ptr(), none, libc::SIGRTMAX() / 8)
        };
        name.send(gettid()).expect("it is waited for");
        let _ = held.recv();
    });
    let thread_number = named.recv().expect("it begins");
    let deadline = Deadline::after(Duration::from_millis(20));
    let late = |missing: &Missing<'_, ProcessReach>| {
        let mut numbers = Vec::new();
        missing.each(&mut |seat| numbers.extend(seat.thread()));
        assert!(numbers.contains(&(thread_number as usize)), "{numbers:?}");
        println!("a thread that masks all for ever: not reached in 20 ms, told by its number");
        Late::Abandon
    };
    let call = Call::new(Operation::barrier()).until(&deadline).when_late(&late);
    let report = call_everyone(call).expect("nobody else calls");
    assert!(!report.is_complete(), "it masks the signal");
    drop(let_go);
    thread.join().expect("it ends");
}

pub(crate) fn run() {
    let (reader, writer) = UnixStream::pair().expect("a pair");
    let threads: Vec<_> = CROWD
        .iter()
        .flat_map(|(state, count, ..)| (0..*count).map(move |at| (*state, at)))
        .map(|(state, at)| start(state, at, &reader))
        .collect();
    println!(
        "{} threads, {FLIPS} calls of each kind{:>17} {:>9} {:>9}",
        threads.len(),
        "p50",
        "p99",
        "max"
    );

    let flips = timed(|round| {
        linux::set_keep_capabilities(round % 2 == 1).expect("nobody else calls");
    });
    told("keepcaps, every thread of the process", &flips);

    let mut reached = 0;
    let slacks = timed(|round| {
        let set = Syscall::set_timer_slack(100_000 + round as usize);
        let call = Call::new(Operation::syscall(&set));
        let report = registered().call(&SEAT, call).expect("nobody else calls");
        assert_eq!((report.first, report.mismatches), (0, 0));
        reached = report.others;
    });
    told("timer slack, every thread that has joined", &slacks);

    println!("\n{:<34} {:>7} {:>22}  reached by", "state", "threads", "value read from /proc");
    let names = NAMES.lock().unwrap();
    let last = 100_000 + u64::from(FLIPS) - 1;
    let mut wrong = 0;
    for (state, _, name, way) in CROWD {
        let mine = names.iter().filter(|(at, _)| *at == state);
        let values: Vec<_> = mine.filter_map(|(_, thread)| slack_of(*thread)).collect();
        let right = values.iter().filter(|value| **value == last).count();
        wrong += values.len() - right;
        println!("{name:<34} {:>7} {:>15} of {:>3}  {way}", values.len(), right, values.len());
    }
    println!("threads born and ended meanwhile {:>9}", BORN.load(Relaxed));
    assert!(reached >= 100, "{reached} were reached");
    assert_eq!(wrong, 0, "threads with another value");
    drop(names);
    stubborn();

    OVER.store(true, Release);
    NOTES.iter().for_each(Park::wake);
    QUEUE.close();
    drop(writer);
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
}

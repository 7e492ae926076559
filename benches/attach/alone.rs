//! What one thread does alone.

use std::cell::Cell;
use std::hint::black_box;
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use portcullis::attach::{AsyncSignalSafe, Binding, Runtime, SystemHost, Threads};
use portcullis::thread_slot;

use crate::{by_hand, stats};

pub(crate) struct Toy;

impl Runtime for Toy {
    type Record = AtomicU64;
    fn create(&self, _: usize) -> Option<AtomicU64> {
        Some(AtomicU64::new(0))
    }
    fn reset(&self, record: &AtomicU64, _: u32) {
        record.store(0, Relaxed);
    }
}

// SAFETY: stores.
unsafe impl AsyncSignalSafe for Toy {}

thread_slot!(pub(crate) Unbound);
thread_slot!(pub(crate) Bound);
pub(crate) static THREADS: Threads<Toy, SystemHost<Unbound>, 64> =
    Threads::new(Toy, SystemHost::new(), 2);
static BOUND: Threads<Toy, SystemHost<Bound>, 64> = Threads::new(Toy, SystemHost::new(), 2);

thread_local! {
    static LOCAL: Cell<u64> = const { Cell::new(0) };
}

/// Picoseconds a turn.
fn timed(turns: u32, mut body: impl FnMut()) -> u64 {
    let start = Instant::now();
    (0..turns).for_each(|_| body());
    (start.elapsed().as_nanos() * 1000 / u128::from(turns)) as u64
}

extern "C" fn empty(_: i32) {}

extern "C" fn attaching(_: i32) {
    black_box(THREADS.attach_in_handler()).ok();
}

fn handle(signal: i32, handler: extern "C" fn(i32)) {
    // SAFETY: all zeros is a valid sigaction.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: the handlers are async-signal-safe.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }, 0);
}

fn raise(signal: i32) {
    // SAFETY: the calling thread exists, and handles the signal.
    unsafe { libc::pthread_kill(libc::pthread_self(), signal) };
}

const CASES: usize = 10;
const NAMES: [&str; CASES] = [
    "attach and detach, unbound",
    "the six calls by hand",
    "Go's eight calls by hand",
    "the mask calls alone",
    "bound: attach and detach again",
    "thread-local increment",
    "nested",
    "out and back",
    "raise, a handler that attaches",
    "raise, an empty handler",
];

/// What a caller wants of a token: to be attached while something is done.
fn used<T, E>(token: Result<T, E>) {
    let Ok(_token) = token else { panic!("refused") };
    black_box(());
}

/// Each case once, for so many turns.
fn round(own: &libc::stack_t) -> [u64; CASES] {
    const CALLS: u32 = 500;
    const FAST: u32 = 100_000;
    let unbound = || drop(black_box(THREADS.attach(Binding::Unbound)));
    let increment = || LOCAL.with(|local| local.set(black_box(local.get() + 1)));
    let again = || used(BOUND.attach(Binding::Bound));
    let mut token = THREADS.attach(Binding::Unbound).expect("a record");
    let nested = timed(FAST, || used(THREADS.attach(Binding::Unbound)));
    let out = timed(FAST, || drop(token.external()));
    drop(token);
    [
        timed(CALLS, unbound),
        timed(CALLS, || by_hand::six(own)),
        timed(CALLS, || by_hand::eight(own)),
        timed(CALLS, || by_hand::set_mask(&by_hand::mask_all())),
        timed(FAST, again),
        timed(FAST, increment),
        nested,
        out,
        timed(CALLS, || raise(libc::SIGUSR1)),
        timed(CALLS, || raise(libc::SIGUSR2)),
    ]
}

/// Prints what each takes; returns the promises and what was measured of them.
pub(crate) fn table(rounds: usize) -> Vec<Vec<String>> {
    BOUND.create().expect("memory for the first records");
    handle(libc::SIGUSR1, attaching);
    handle(libc::SIGUSR2, empty);
    let own = by_hand::stack();
    let samples: Vec<[u64; CASES]> = (0..rounds).map(|_| round(&own)).collect();
    let median = |case: usize| {
        let mut of_case: Vec<u64> = samples.iter().map(|round| round[case]).collect();
        stats::summary(&mut of_case).0
    };
    let row =
        |case: usize| vec![NAMES[case].to_owned(), format!("{:.2}", median(case) as f64 / 1000.0)];
    let rows: Vec<_> = (0..CASES).map(row).collect();
    stats::table("One thread", &["", "ns"], &rows);
    // Each round's own ratio, so that what disturbs a round disturbs both sides.
    let ratio = |of: usize, to: usize| {
        let mut ratios: Vec<u64> =
            samples.iter().map(|round| round[of] * 1000 / round[to].max(1)).collect();
        format!("{:.2}", stats::summary(&mut ratios).0 as f64 / 1000.0)
    };
    vec![
        vec!["first pair, to the six calls".into(), "1.20".into(), ratio(0, 1)],
        vec!["bound again, to an increment".into(), "3.00".into(), ratio(4, 5)],
    ]
}

/// A record's share, without the runtime's own data.
pub(crate) fn memory() -> Vec<String> {
    type Of<const N: usize> = Threads<Toy, SystemHost<Unbound>, N>;
    let bytes = (size_of::<Of<128>>() - size_of::<Of<64>>()) / 64 - size_of::<AtomicU64>();
    vec!["bytes a record, without its stack".into(), "256".into(), bytes.to_string()]
}

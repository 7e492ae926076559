//! The toy runtime, its thread records, and the account of who called.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use portcullis::attach::{
    AsyncSignalSafe, AttachError, AttachKind, Attached, Binding, Runtime, SystemHost, Threads,
};
use portcullis::thread_slot;

use crate::c::{Callback, foreign};
use crate::rain;

/// Of which no handler ever finds the list empty: one for each signal that rains, on each processor
/// and to spare.
const RESERVE: usize = 6;
/// The runtime makes no more records than these.
const RECORDS: usize = 16;

/// What the runtime keeps for each thread. Only the owner writes.
#[derive(Default)]
struct Record {
    /// Objects made in this stay.
    allocated: AtomicU64,
}

struct Toy;

impl Runtime for Toy {
    type Record = Record;
    fn create(&self, index: usize) -> Option<Record> {
        (index < RECORDS).then(Record::default)
    }
    fn reset(&self, record: &Record, _: u32) {
        record.allocated.store(0, Relaxed);
    }
}

// SAFETY: stores.
unsafe impl AsyncSignalSafe for Toy {}

thread_slot!(Slot);
static THREADS: Threads<Toy, SystemHost<Slot>, 64> =
    Threads::new(Toy, SystemHost::new(), RESERVE as u16);

/// What happened, in one phase.
#[derive(Default)]
struct Account {
    calls: AtomicU64,
    attached: AtomicU64,
    nested: AtomicU64,
    waits: AtomicU64,
    in_handlers: AtomicU64,
    attached_in_handlers: AtomicU64,
    reserve_used: AtomicU64,
    failures: AtomicU64,
}

static ACCOUNT: Account = Account {
    calls: AtomicU64::new(0),
    attached: AtomicU64::new(0),
    nested: AtomicU64::new(0),
    waits: AtomicU64::new(0),
    in_handlers: AtomicU64::new(0),
    attached_in_handlers: AtomicU64::new(0),
    reserve_used: AtomicU64::new(0),
    failures: AtomicU64::new(0),
};

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

type Token = Attached<Toy, SystemHost<Slot>, 64>;

/// Attaches, and counts whether there was a wait.
fn attach(binding: Binding) -> Option<Token> {
    let token = match THREADS.try_attach(binding) {
        Err(AttachError::Full) => {
            add(&ACCOUNT.waits);
            THREADS.attach(binding)
        }
        other => other,
    };
    match &token {
        Ok(token) if token.how() == AttachKind::Nested => add(&ACCOUNT.nested),
        Ok(_) => add(&ACCOUNT.attached),
        Err(_) => add(&ACCOUNT.failures),
    }
    token.ok()
}

/// What the runtime does for its callers: makes an object.
fn allocate(token: &Token) {
    let allocated = &token.record().allocated;
    let before = allocated.load(Relaxed);
    if token.how() == AttachKind::Attached && before != 0 {
        add(&ACCOUNT.failures); // Carried over from another thread.
    }
    allocated.store(before + 1, Relaxed);
}

extern "C" fn call(_: *mut c_void) {
    add(&ACCOUNT.calls);
    attach(Binding::Unbound).iter().for_each(allocate);
}

extern "C" fn call_bound(_: *mut c_void) {
    add(&ACCOUNT.calls);
    // Bound, a first call finds a clean record and later ones what it left.
    if let Some(token) = attach(Binding::Bound) {
        allocate(&token);
    }
}

/// C, the runtime, C, the runtime.
extern "C" fn call_out_and_back(argument: *mut c_void) {
    add(&ACCOUNT.calls);
    if let Some(mut token) = attach(Binding::Unbound) {
        allocate(&token);
        let _outside = token.external();
        call(argument);
    }
}

/// In a handler, wherever it landed.
pub(crate) fn call_in_handler() {
    add(&ACCOUNT.in_handlers);
    let Ok(token) = THREADS.attach_in_handler() else {
        return add(&ACCOUNT.failures);
    };
    if token.how() == AttachKind::Attached {
        add(&ACCOUNT.attached_in_handlers);
        allocate(&token);
    }
    if THREADS.counts().spare < RESERVE {
        add(&ACCOUNT.reserve_used);
    }
}

/// Records in use though every thread that called has ended: none, once the handlers that run at
/// this moment are through.
fn leaked() -> u64 {
    let patience = Instant::now() + Duration::from_secs(2);
    while THREADS.counts().in_use > 0 && Instant::now() < patience {
        std::thread::yield_now();
    }
    THREADS.counts().in_use as u64
}

/// Runs a phase and prints its row. Returns what went wrong.
fn phase(name: &str, threads: i32, rounds: i64, callback: Callback) -> u64 {
    let start = Instant::now();
    let made = (foreign().run)(threads, rounds, callback, ptr::null_mut());
    let leaked = leaked();
    let count = |counter: &AtomicU64| counter.swap(0, Relaxed);
    let (calls, failures) = (count(&ACCOUNT.calls), count(&ACCOUNT.failures));
    let row = [
        calls,
        count(&ACCOUNT.attached),
        count(&ACCOUNT.nested),
        count(&ACCOUNT.waits),
        count(&ACCOUNT.in_handlers),
        count(&ACCOUNT.attached_in_handlers),
        count(&ACCOUNT.reserve_used),
        leaked,
    ];
    let row: String = row.iter().map(|number| format!("{number:>11}")).collect();
    println!("{name:<34}{row}{:>8.1} s", start.elapsed().as_secs_f64());
    failures + leaked + u64::from(made != threads) + u64::from(calls == 0)
}

pub(crate) fn run() -> i32 {
    THREADS.create().expect("memory for the first records");
    println!(
        "{RECORDS} thread records, {RESERVE} of them for handlers; SIGALRM, SIGCHLD, SIGUSR1 rain"
    );
    let head =
        ["calls", "attached", "nested", "waits", "handlers", "attached", "reserve", "leaked"];
    let head: String = head.iter().map(|name| format!("{name:>11}")).collect();
    println!("{:<34}{head}{:>10}", "", "time");
    let rain = rain::start();
    let failures = phase("50 threads, once each", 50, 1, call)
        + phase("4 threads, a million times, bound", 4, 1_000_000, call_bound)
        + phase("4 threads, 250,000 times", 4, 250_000, call)
        + phase("4 threads, out and back", 4, 250_000, call_out_and_back)
        + phase("64 threads for 10 records", 64, 10_000, call);
    let signals = rain.stop();
    let leaked = leaked();
    let misuse = THREADS.misuse();
    let (misordered, abandoned) = (misuse.misordered, misuse.abandoned);
    println!();
    println!("{signals} signals sent; {} records made, {leaked} leaked", THREADS.counts().total);
    println!("failures: {failures}, tokens out of order: {misordered}, abandoned: {abandoned}");
    i32::from(failures + leaked + u64::from(misordered + abandoned) != 0)
}

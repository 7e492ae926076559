//! This crate as C functions, for hosts in other languages: pn.h says what each does. Numbers alone cross.
#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "pn.h has the words; the tests in Rust use some of it"
)]

use std::ffi::c_void;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Mutex, Once};
use std::time::Duration;

use portcullis::all_threads::{Call, Operation, call_everyone, linux};
use portcullis::attach::{Binding, RawAttached, Runtime, SystemHost, Threads};
use portcullis::preempt::{Fenced, Gate, Gates, Hook, SystemBackend, Target, ThreadRef};
use portcullis::signal::{Builder, RecvError, Subscription};

static SUBSCRIPTIONS: Mutex<Vec<Option<Subscription>>> = Mutex::new(Vec::new());

/// The one of this number, which nobody else has meanwhile.
fn subscription(number: i32) -> Option<Subscription> {
    let number = usize::try_from(number).ok()?;
    SUBSCRIPTIONS.lock().unwrap().get_mut(number)?.take()
}

// SAFETY: hosts look for this name, here and below, and call it as pn.h has it; nobody else has such names.
#[unsafe(no_mangle)]
pub extern "C" fn pn_subscribe(signal: i32, alone: i32) -> i32 {
    let builder = if alone == 0 { Builder::new() } else { Builder::new().alone() };
    let Ok(made) = builder.subscribe([signal]) else { return -1 };
    let mut all = SUBSCRIPTIONS.lock().unwrap();
    all.push(Some(made));
    all.len() as i32 - 1
}

// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn pn_recv_timeout(number: i32, milliseconds: u32) -> i32 {
    let Some(mut own) = subscription(number) else { return -1 };
    let received = own.recv_timeout(Duration::from_millis(milliseconds.into()));
    SUBSCRIPTIONS.lock().unwrap()[number as usize] = Some(own);
    match received {
        Ok(delivery) => delivery.signal,
        Err(RecvError::TimedOut) => 0,
        Err(_) => -1,
    }
}

// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn pn_stop(number: i32) -> i32 {
    let Some(own) = subscription(number) else { return -1 };
    own.stop().map_or(-1, |stopped| stopped.foreign.len() as i32)
}

// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn pn_call_all() -> i32 {
    let ran = AtomicU32::new(0);
    let Ok(report) = call_everyone(Call::new(Operation::count(&ran))) else { return -1 };
    // Threads that were created meanwhile by one that had run it are told too, and have not.
    let once = (1..=report.others + 1).contains(&ran.load(Relaxed));
    if report.is_complete() && once { report.others as i32 } else { -1 }
}

// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn pn_no_new_privs() -> i32 {
    if linux::set_no_new_privs().is_err() {
        return -1;
    }
    let mut shown = 0;
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return -1 };
    for task in tasks.flatten() {
        // One that has ended meanwhile is not to be read.
        let Ok(status) = std::fs::read_to_string(task.path().join("status")) else { continue };
        match status.contains("NoNewPrivs:\t1\n") {
            true => shown += 1,
            false => return -1,
        }
    }
    shown
}

struct Interpreter;
impl Runtime for Interpreter {
    type Record = AtomicU64;
    fn create(&self, _: usize) -> Option<AtomicU64> {
        Some(AtomicU64::new(0))
    }
    fn reset(&self, record: &AtomicU64, _: u32) {
        record.store(0, Relaxed);
    }
}
portcullis::thread_slot!(Slot);
static THREADS: Threads<Interpreter, SystemHost<Slot>, 64> =
    Threads::new(Interpreter, SystemHost::new(), 2);

/// # Safety
///
/// There is room for four numbers.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pn_attach(token: *mut [u32; 4]) -> i32 {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| _ = THREADS.create().unwrap());
    let Ok(attached) = THREADS.attach(Binding::Bound) else { return -1 };
    attached.record().fetch_add(1, Relaxed);
    // SAFETY: as the caller promises.
    unsafe { token.write(attached.into_raw().into_bits()) };
    0
}

/// # Safety
///
/// What [`pn_attach`] wrote, once.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pn_detach(token: *const [u32; 4]) -> i32 {
    // SAFETY: as the caller promises.
    let raw = unsafe { RawAttached::from_bits(token.read()) };
    if THREADS.detach_raw(raw).is_ok() { 0 } else { -1 }
}

type Name = ThreadRef<Fenced, SystemBackend>;
static GATES: Gates<Fenced, SystemBackend> =
    Gates::new(Fenced, SystemBackend::new(Hook::nothing()));

struct Worker {
    gate: Gate<SystemBackend>,
    /// While it works.
    name: Mutex<Option<Name>>,
    /// Moves on only while its thread is inside.
    counter: AtomicU64,
    taken: AtomicU32,
}

static WORKERS: [Worker; 8] = [const {
    Worker {
        gate: Gate::new(),
        name: Mutex::new(None),
        counter: AtomicU64::new(0),
        taken: AtomicU32::new(0),
    }
}; 8];

fn set_name(worker: &Worker, name: Option<Name>) {
    *worker.name.lock().unwrap() = name;
}

/// # Safety
///
/// `call`, if there is one, may be called with `data`.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pn_work(
    rounds: u32,
    call: Option<unsafe extern "C" fn(*mut c_void)>,
    data: *mut c_void,
) -> i32 {
    let free = |worker: &&Worker| worker.taken.swap(1, Acquire) == 0;
    let Some(worker) = WORKERS.iter().find(free) else { return -1 };
    let Ok(mut own) = GATES.register(&worker.gate) else { return -1 };
    // What takes a lock is outside.
    let name = own.thread();
    let mut outside = own.external();
    set_name(worker, Some(name));
    for _ in 0..rounds {
        let inside = outside.inside();
        for _ in 0..2_000 {
            black_box(worker.counter.fetch_add(1, Relaxed));
        }
        drop(inside);
        if let Some(call) = call {
            // SAFETY: as the caller promises.
            unsafe { call(data) };
        }
    }
    set_name(worker, None);
    drop(outside);
    drop(own);
    worker.taken.store(0, Release);
    0
}

// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn pn_stop_world() -> i32 {
    let mut targets = Vec::with_capacity(WORKERS.len());
    let mut whose = Vec::with_capacity(WORKERS.len());
    for worker in &WORKERS {
        if let Some(name) = *worker.name.lock().unwrap() {
            targets.push(Target::new(name));
            whose.push(worker);
        }
    }
    let (mut still, mut moved) = (0, false);
    let stopped = GATES.stop_all(&mut targets);
    // Nothing here allocates or blocks.
    let counters = || whose.iter().map(|worker| worker.counter.load(Relaxed));
    let mut before = [0; WORKERS.len()];
    counters().zip(&mut before).for_each(|(count, place)| *place = count);
    for _ in 0..1_000 {
        std::hint::spin_loop();
    }
    for ((target, count), before) in stopped.targets().iter().zip(counters()).zip(before) {
        if target.outcome().is_ok() {
            still += 1;
            moved |= count != before;
        }
    }
    drop(stopped);
    if moved { -1 } else { still }
}

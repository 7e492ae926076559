//! The runtime's own threads: workers; one that receives signals; one that operates on all threads, forks and
//! executes; and a profiler, which is no thread of the world.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::*};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use portcullis::all_threads::{Call, CallError, Operation, call_everyone, linux};
use portcullis::preempt::SuspendError;
use portcullis::signal::{self, Builder, Delivery, Subscription};

use super::account::{COUNTS, add, get, wrong};
use super::child;
use super::queue::{QUEUE, Task};
use super::random::Random;
use super::shim::{faults, is_armed};
use super::threads::{self, Own, Runs, some_name, tell_name, world};

pub(crate) static OVER: AtomicBool = AtomicBool::new(false);
/// The signal by which the process is to die; 0 if none asked for it.
pub(crate) static ASKED_BY: AtomicI32 = AtomicI32::new(0);

/// The sum of the numbers of those signals that have one.
static RECEIVED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn is_over() -> bool {
    OVER.load(Relaxed)
}

/// A thread of the world, born by another one: no stop misses it.
pub(crate) fn spawn(own: &mut Own, body: impl FnOnce(&mut Own) + Send + 'static) -> JoinHandle<()> {
    let birth = own.birth().expect("there is a slot for each of the runtime's own");
    thread::spawn(move || {
        let mut own = threads::enter(birth).expect("its slot waits for it");
        tell_name(&own, true);
        body(&mut own);
    })
}

pub(crate) fn worker(own: &mut Own) {
    while !is_over() {
        match QUEUE.pop(own) {
            Some(task) => {
                let task = task.run(own);
                QUEUE.push(own, task);
            }
            None => QUEUE.sleep(own),
        }
    }
}

/// Each of these is queued by the system, with a number, and none may be lost.
pub(crate) fn counted() -> i32 {
    libc::SIGRTMIN() + 1
}

/// What the thread below receives. Before the first thread is there, so that none ends the process.
pub(crate) fn subscribe() -> Result<Subscription, signal::SignalError> {
    let wanted = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
    // As nohup(1) or a shell's background has it: whoever ignores it for us means it.
    let wanted = wanted.into_iter().filter(|signal| signal::is_ignored(*signal) == Ok(false));
    Builder::new().capacity(1 << 12).subscribe(wanted.chain([counted(), libc::SIGUSR1]))
}

/// Receives signals, and makes tasks of some: outside while it waits, so that nobody waits for it.
pub(crate) fn receiver(own: &mut Own, mut subscription: Subscription) {
    while let Ok(delivery) = own.outside(|_| subscription.recv()) {
        match delivery.signal {
            signal if signal == counted() => receive(own, &delivery),
            libc::SIGUSR1 => _ = Task::new(0).run(own),
            signal => {
                ASKED_BY.store(signal, Relaxed);
                OVER.store(true, Relaxed);
            }
        }
    }
}

/// One that was queued, with its number. They come in any order: several threads may take them from the system.
fn receive(own: &mut Own, delivery: &Delivery) {
    let number = delivery.origin.map_or(0, |origin| origin.value as u64);
    add(&COUNTS.received, 1);
    RECEIVED.fetch_add(number, Relaxed);
    // It is a task's: which runs here.
    _ = Task::new(number).run(own);
}

/// Whether each that was sent was received, once: as many, and of the same numbers.
pub(crate) fn all_received() -> bool {
    let sent = get(&COUNTS.sent);
    sent == get(&COUNTS.received) && RECEIVED.load(Relaxed) == sent * (sent + 1) / 2
}

/// Sends those, one after another, as fast as they are received.
pub(crate) fn sender() {
    while !is_over() {
        let sent = get(&COUNTS.sent);
        if sent < get(&COUNTS.received) + 16 {
            let value =
                libc::sigval { sival_ptr: std::ptr::without_provenance_mut(sent as usize + 1) };
            // SAFETY: no preconditions.
            if unsafe { libc::sigqueue(libc::getpid(), counted(), value) } == 0 {
                add(&COUNTS.sent, 1);
            }
        }
        thread::sleep(Duration::from_micros(500));
    }
}

/// Changes something that the kernel keeps for each thread, on all threads; forks.
pub(crate) fn operator(own: &mut Own) {
    let mut random = Random::new(101);
    while !is_over() {
        own.outside(|_| {
            thread::sleep(Duration::from_millis(5));
            // On all threads or on none; and something that no thread minds.
            match linux::set_keep_capabilities(random.below(2) == 0) {
                Ok(()) => add(&COUNTS.operations, 1),
                Err(error) => wrong(&format!("an operation on every thread: {error}")),
            }
            match faults(|| call_everyone(Call::new(Operation::barrier()))) {
                Ok(report) if report.is_complete() => {
                    add(&COUNTS.operations, 1);
                    add(&COUNTS.reached, u64::from(report.others));
                }
                Err(CallError::System(_)) if is_armed() => add(&COUNTS.not_reached, 1),
                other => wrong(&format!("an operation on every thread: {other:?}")),
            }
        });
        if random.below(if is_armed() { 4 } else { 16 }) == 0 {
            child::fork_and_execute(own);
        }
    }
}

/// Suspends whomever it finds, and sees that it is not outside.
pub(crate) fn profiler() {
    let mut random = Random::new(102);
    while !is_over() {
        if let Some((name, record)) = some_name(random.next()) {
            let sample = faults(|| world().gates().try_suspend(name));
            let outside = sample.is_ok() && record.is_outside();
            // Nobody is suspended any more: from here on it may take locks.
            let outcome = sample.map(drop);
            match outcome {
                Ok(()) if outside => wrong("a thread was suspended outside"),
                Ok(()) => add(&COUNTS.samples, 1),
                Err(SuspendError::External) => add(&COUNTS.outside, 1),
                Err(SuspendError::Gone) => add(&COUNTS.gone, 1),
                Err(_) => add(&COUNTS.busy, 1),
            }
        }
        thread::sleep(Duration::from_micros(300));
    }
}

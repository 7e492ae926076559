//! The one hub of the process, its handler, its receiver thread and its fork.

use std::thread;

use super::hub::{Hub, Kernel};
use super::ours;
use super::set::{SignalSet, check};
use super::table::{SignalCounts, Table};
use super::{Builder, STOP_PATIENCE, SignalError, Subscription};
use crate::note::Deadline;
use crate::sigqueue::{Origin, Sent};
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, MutexGuard, Ordering::*, UnsafeCell};
use crate::sys::{self, AllBlocked, Errno, Mask, RawOrigin, Restored, Verdict};

/// The real system, whose handlers feed [`HUB`].
#[derive(Debug)]
pub(crate) struct System;

impl Kernel for System {
    fn install(&self, signal: i32) -> Result<(), Errno> {
        sys::install(signal, on_signal)
    }
    fn look_again(&self, signal: i32) -> Result<(), Errno> {
        sys::install(signal, on_signal)
    }
    fn look(&self, signal: i32) {
        sys::look(signal);
    }
    fn restore(&self, signal: i32) -> Result<Restored, Errno> {
        sys::restore(signal)
    }
    fn set_default(&self, signal: i32) -> Result<(), Errno> {
        sys::set_default(signal)
    }
    fn set_ignored(&self, signal: i32) -> Result<(), Errno> {
        sys::set_ignored(signal)
    }
    fn in_child_late(&self, begin: &mut dyn FnMut(usize)) {
        let _all = AllBlocked::and_faults();
        begin(sys::thread_id());
    }
    fn serve_child(&self) {
        serve_child();
    }
    fn under(&self, mask: &Mask, open: bool, body: &mut dyn FnMut()) {
        ours::under(mask, open, body);
    }
    fn would_hear(&self) -> bool {
        ours::would_hear()
    }
    fn close(&self, is_open: &mut dyn FnMut() -> bool) {
        ours::close(is_open);
    }
    fn await_quiet(&self, is_quiet: &mut dyn FnMut() -> bool) {
        let patience = Deadline::after(STOP_PATIENCE);
        while !is_quiet() && !patience.has_passed() {
            thread::yield_now();
        }
    }
}

pub(crate) static HUB: Hub<System> = Hub::new(System);

/// In the handler, on any thread.
fn on_signal(signal: i32, raw: RawOrigin) -> Verdict {
    let origin = Origin { code: raw.code, pid: raw.pid, uid: raw.uid, value: raw.value };
    match HUB.on_signal(signal, origin) {
        Sent::Accepted | Sent::Coalesced | Sent::Noted => Verdict::Handled,
        Sent::Ignored => Verdict::Ignored,
        Sent::Unwanted => Verdict::Unwanted,
    }
}

const NONE: usize = 0;
const RUNNING: usize = 1;

/// Whether a thread receives in this process: NONE, RUNNING, or the name of the thread that is about to start it,
/// which is even.
static RECEIVER: AtomicUsize = AtomicUsize::new(NONE);
static FORK_HOOKED: AtomicU32 = AtomicU32::new(0);
/// Subscriptions that an event loop polls: it uses nothing here until it is told.
pub(super) static POLLED: AtomicUsize = AtomicUsize::new(0);
static FOLLOWS: AtomicBool = AtomicBool::new(true);

/// Starts the receiver's thread unless there is one.
pub(super) fn ensure_receiver() -> Result<(), SignalError> {
    if !take_part(sys::thread_id()) {
        return Ok(());
    }
    let started = {
        // The thread inherits the mask: signals go to the program's own threads, and the receiver
        // is not interrupted while it works, but by operations that must reach every thread.
        let _blocked = AllBlocked::but_interrupts();
        thread::Builder::new()
            .name("portcullis-signal".into())
            .spawn(|| ours::run(|| HUB.run_receiver()))
    };
    let now = if started.is_ok() { RUNNING } else { NONE };
    // ORDERING: Relaxed: as in `take_part`.
    RECEIVER.store(now, Relaxed);
    started.map(drop).map_err(|_| SignalError::NoThread)
}

/// Makes RECEIVER this, unless there is one; waits for who is about to start one, which may fail. That one's
/// allocator may come here itself: then there is one, as far as it is concerned.
fn take_part(part: usize) -> bool {
    let me = sys::thread_id();
    loop {
        // ORDERING: Relaxed, here and below: the word says only who starts the thread; starting it
        // synchronises.
        match RECEIVER.load(Relaxed) {
            NONE => {
                hook_fork();
                if RECEIVER.compare_exchange(NONE, part, Relaxed, Relaxed).is_ok() {
                    return true;
                }
            }
            starter if starter == RUNNING || starter == me => return false,
            _ => thread::yield_now(),
        }
    }
}

/// Lends the calling thread to be the receiver. Returns when [`shutdown`] is called, and not before:
/// what sinks and wakers panic with on it is caught, and kept for whoever stops them.
///
/// Call it before the first subscription, or [`shutdown`] never having been called, from a thread
/// whose mask is as the program wants it: signals that the thread masks are taken by others.
///
/// # Errors
/// [`SignalError::ReceiverTaken`] if the crate's thread or another lent one runs already,
/// [`SignalError::ShutDown`].
pub fn run_receiver() -> Result<(), SignalError> {
    if HUB.lock().closed {
        return Err(SignalError::ShutDown);
    }
    if !take_part(RUNNING) {
        return Err(SignalError::ReceiverTaken);
    }
    HUB.run_receiver()
}

/// What the forking thread holds from before the fork until after it, on both sides. Not in a
/// thread-local: a thread may fork when those are gone already.
struct Forking(UnsafeCell<Option<(MutexGuard<'static, Table>, AllBlocked)>>);

// SAFETY: the cell is reached by the thread that holds the hub's lock and no other: `before_fork`
// fills it once it has the lock, and `take` empties it before it gives the lock back; in a handler that
// interrupted the holder it stays empty. The C library calls the three around one fork in one thread; others
// that fork meanwhile wait for the lock.
unsafe impl Sync for Forking {}

static FORKING: Forking = Forking(UnsafeCell::new(None));

impl Forking {
    fn put(&self, held: (MutexGuard<'static, Table>, AllBlocked)) {
        // SAFETY: the caller holds the lock, in what it hands in.
        self.0.with_mut(|place| unsafe { *place = Some(held) });
    }

    fn take(&self) -> Option<(MutexGuard<'static, Table>, AllBlocked)> {
        // SAFETY: the C library calls this in the thread that forked, after `before_fork` in it,
        // and that thread has held the lock since.
        self.0.with_mut(|place| unsafe { (*place).take() })
    }
}

pub(super) fn hook_fork() {
    // ORDERING: Relaxed: registering is itself synchronised by the C library.
    if FORK_HOOKED.swap(1, Relaxed) == 0 {
        sys::at_fork(before_fork, after_fork, in_child);
    }
}

/// No signal is half accepted and no subscription half made when the child is copied; but in a handler that
/// interrupted the holder of the lock, which will be done in the child too.
fn before_fork() {
    let blocked = AllBlocked::new();
    if let Some(table) = HUB.lock_for_fork() {
        FORKING.put((table, blocked));
    }
}

fn after_fork() {
    drop(FORKING.take());
}

fn in_child() {
    let mut held = FORKING.take();
    match &mut held {
        Some((table, _)) => {
            // Whatever a fork before this one left to be done is done here.
            _ = table.take_forked();
            let _all = AllBlocked::and_faults();
            // SAFETY: only the forking thread lives on in the child, and it masks all signals. That no
            // handler has forked that interrupted a send is on whoever installed it: all others wait for
            // that, and those of faults must not fork (docs/neighbours.md).
            unsafe { HUB.in_child(table, sys::thread_id()) };
        }
        None => HUB.forked_within(),
    }
    // ORDERING: Relaxed: no other thread is there.
    RECEIVER.store(NONE, Relaxed);
    if held.is_some() {
        drop(held);
        serve_child();
    }
}

/// In the child of a fork: who receives by himself has a thread started when he does; sinks have nobody who
/// would. Not on the crate's own thread, whose sink has forked: that one is to end as it returns.
fn serve_child() {
    // ORDERING: Relaxed, all: no other thread is there.
    let waits = HUB.sinks.load(Relaxed) != 0 || POLLED.load(Relaxed) != 0;
    if waits && FOLLOWS.load(Relaxed) && !ours::is_this_one() {
        // Without one, signals wait until the module is used.
        _ = ensure_receiver();
    }
}

/// Whether the child of a fork(2) that has sinks is given a thread that calls them, at once: so a daemon hears
/// its signals. It is unless this was called with false: for a program whose children are to enter a user
/// namespace, say, which takes a process of one thread. Their signals wait then until they use this module.
///
/// Children of vfork(2), posix_spawn(3) and clone(2) have none: nothing is told of them. Nor has one that was
/// forked in a sink on the crate's thread: it ends when the sink returns.
pub fn follow_forks(yes: bool) {
    // ORDERING: Relaxed: read by who comes after it in the same process, or forks after it.
    FOLLOWS.store(yes, Relaxed);
}

/// Subscribes to a set of signals with the usual capacity; see [`Builder`] for more.
///
/// # Errors
/// A [`SignalError`]; nothing has changed then.
pub fn subscribe(
    signals: impl IntoIterator<Item = impl Into<i32>>,
) -> Result<Subscription, SignalError> {
    Builder::new().subscribe(signals)
}

/// Gives each of the signals its default action and takes it from all its subscribers.
///
/// What was accepted before is in their mailboxes. Undoes [`ignore`].
///
/// # Errors
/// A [`SignalError`]. One about a number or an empty set changes nothing; after one from the
/// system the signals before it are reset.
pub fn reset(signals: impl IntoIterator<Item = impl Into<i32>>) -> Result<(), SignalError> {
    set_all(signals, false)
}

/// Has each of the signals ignored and takes it from all its subscribers.
///
/// What was accepted before is in their mailboxes. A handler that was entered before and finds
/// the signal ignored does nothing.
///
/// # Errors
/// As for [`reset`].
pub fn ignore(signals: impl IntoIterator<Item = impl Into<i32>>) -> Result<(), SignalError> {
    set_all(signals, true)
}

fn set_all(
    signals: impl IntoIterator<Item = impl Into<i32>>,
    ignored: bool,
) -> Result<(), SignalError> {
    let set = SignalSet::new(signals)?;
    if HUB.lock().closed {
        return Err(SignalError::ShutDown);
    }
    if let Some(signal) = set.iter().find(|signal| sys::interrupts(*signal)) {
        return Err(SignalError::Interrupts(signal));
    }
    set.iter().try_for_each(|signal| HUB.set_disposition(signal, ignored))
}

/// Whether the process ignores the signal, by [`ignore`] or from its parent (man 1 nohup).
///
/// # Errors
/// A [`SignalError`] about the number.
pub fn is_ignored(signal: impl Into<i32>) -> Result<bool, SignalError> {
    let signal = check(signal.into())?;
    sys::is_ignored(signal).map_err(|errno| SignalError::System { signal, errno })
}

/// Ends the process by the signal itself, as if it had never been caught, also when it is masked:
/// a shell then sees 128 + `signal`. No destructor runs.
///
/// # Errors
/// It returns only if that did not end the process: a [`SignalError`] about the number,
/// [`SignalError::NotFatal`] if the signal's default action does not end processes,
/// [`SignalError::Survived`] if the system protects this one.
pub fn die_by(signal: impl Into<i32>) -> SignalError {
    match check(signal.into()) {
        Ok(signal) if !sys::ends_process(signal) => SignalError::NotFatal(signal),
        Ok(signal) => match sys::die_by(signal) {
            Errno(0) => SignalError::Survived(signal),
            errno => SignalError::System { signal, errno },
        },
        Err(error) => error,
    }
}

/// What was counted of one signal since the start.
///
/// # Errors
/// A [`SignalError`] about the number.
pub fn counts(signal: impl Into<i32>) -> Result<SignalCounts, SignalError> {
    check(signal.into()).map(|signal| HUB.counts(signal))
}

/// Real-time signals that arrived while the queue was full, and were merged into one delivery
/// without origin.
pub fn overflow() -> u64 {
    HUB.queue.overflow()
}

/// Ends all receiving for good: every disposition is restored, mailboxes can be emptied, blocked
/// subscribers are woken with [`RecvError::ShutDown`](super::RecvError::ShutDown), the receiver's
/// thread ends and a lent one returns. Further calls answer [`SignalError::ShutDown`].
pub fn shutdown() {
    HUB.shut_down();
}

//! Sleep and wake, with the contract of the real futex (man 2 futex).

use super::deliver;
use super::lanes::Detail;
use super::state::{Run, Sleeper, Words, touch};
use crate::sync::AtomicU32;
use core::panic::Location;
use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

/// Why `wait` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waited {
    /// Woken, or the word differed: look again.
    Woken,
    /// The deadline passed.
    TimedOut,
}

/// A moment that comes when loom chooses, by `Kernel::expire_deadlines`, or never.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(usize);

impl Deadline {
    /// A deadline; the model has no clock, so how far away it is does not matter.
    pub fn after(_: Duration) -> Self {
        let run = Run::expect();
        let mut inner = run.borrow();
        inner.deadlines.push(false);
        Self(inner.deadlines.len() - 1)
    }

    /// Zero once it has passed; `None` until then, as how far away it is nobody knows.
    #[track_caller]
    pub fn left(&self) -> Option<Duration> {
        self.has_passed().then_some(Duration::ZERO)
    }

    /// Whether it is over. A step of the program: it may pass before it, or after it.
    #[track_caller]
    pub fn has_passed(&self) -> bool {
        let at = Location::caller();
        let run = Run::expect();
        deliver::step(&run, at);
        if let Some(words) = run.words() {
            touch(&words.clock);
        }
        expired(&run, Some(self))
    }
}

/// Sleeps while `word` is `expected`, until woken or out of time. Handlers run meanwhile, and the
/// sleep goes on after them, as the real one does after a handler with `SA_RESTART`.
#[track_caller]
pub fn wait(word: &AtomicU32, expected: u32, deadline: Option<&Deadline>) -> Waited {
    let at = Location::caller();
    let run = Run::expect();
    let me = run.me();
    let words = run.words();
    deliver::step(&run, at);
    if let Some(words) = &words {
        deliver::leaving(&run, words, me, at);
        if deadline.is_some() {
            touch(&words.clock);
        }
    }
    // A hostile system was asked about the sleep that comes.
    let mut asked = false;
    loop {
        super::suspend::exchange(&run, me);
        // The kernel's check: the newest value, and one step with going to sleep, for loom
        // switches before an operation and never between it and the park.
        let seen = word.kernel_read();
        if seen != expected {
            let seen = Detail::Number(u64::from(seen));
            run.row_about(word.about(), me, "futex wait: word differs", seen, at);
            return Waited::Woken;
        }
        if expired(&run, deadline) {
            run.row(me, "futex wait: timed out", Detail::Nothing, at);
            return Waited::TimedOut;
        }
        if super::suspend::pay_barrier(&run, me, at) {
            continue;
        }
        let mut woken = words.is_none();
        if !signalled(&run, me) {
            if !asked && super::hostile::may_strike(&run) {
                asked = true;
                if super::hostile::strikes(&run) {
                    super::hostile::delays(&run);
                    run.row(me, "futex wait: returns for no reason", Detail::Nothing, at);
                    return Waited::Woken;
                }
                // The word may be another by now.
                continue;
            }
            asked = false;
            let seen = Detail::Number(u64::from(seen));
            run.row_about(word.about(), me, "futex wait: sleeps", seen, at);
            let address = core::ptr::from_ref(word).addr();
            woken |= sleep(&run, me, address, deadline.map(|deadline| deadline.0));
            run.row_told(me, "futex wait: awake", at);
            super::suspend::hold(&run, me, at);
        }
        if let Some(words) = &words {
            deliver::leaving(&run, words, me, at);
        }
        if woken {
            return Waited::Woken;
        }
    }
}

/// Wakes one thread that sleeps on `word`. Safe in a handler.
#[track_caller]
pub fn wake_one(word: &AtomicU32) {
    let at = Location::caller();
    let run = Run::expect();
    let me = run.me();
    deliver::step(&run, at);
    let address = core::ptr::from_ref(word).addr();
    let several = count(&run, address) > 1;
    let second = several && super::hostile::strikes(&run);
    // Orders the look into the table with every sleeper's check of the word.
    word.kernel_read();
    let woken = wake_untold(&run, me, address, second && count(&run, address) > 1);
    let name = woken.map(|slot| run.borrow().threads[slot].name.clone());
    let text = name.map_or_else(|| "nobody".to_owned(), |name| format!("\"{name}\""));
    run.row_about(word.about(), me, "futex wake", Detail::Text(text), at);
    if let Some(words) = run.words() {
        deliver::leaving(&run, &words, me, at);
    }
}

/// How many threads sleep on `word`: what no program can ask.
#[cfg(test)]
pub(crate) fn sleepers(word: &AtomicU32) -> usize {
    count(&Run::expect(), core::ptr::from_ref(word).addr())
}

/// Wakes all threads that sleep on `word`. Safe in a handler.
#[track_caller]
pub fn wake_all(word: &AtomicU32) {
    let at = Location::caller();
    let run = Run::expect();
    let me = run.me();
    deliver::step(&run, at);
    // As in `wake_one`.
    word.kernel_read();
    let address = core::ptr::from_ref(word).addr();
    let woken = core::iter::from_fn(|| wake_untold(&run, me, address, false)).count();
    run.row_about(word.about(), me, "futex wake all", Detail::Number(woken as u64), at);
    if let Some(words) = run.words() {
        deliver::leaving(&run, &words, me, at);
    }
}

/// Parks the calling thread in the table; whoever takes it out of there unparks it. True if that was
/// a wake-up.
pub(super) fn sleep(run: &Run, me: usize, address: usize, deadline: Option<usize>) -> bool {
    let handle = loom::thread::current();
    run.borrow().threads[me].woken = false;
    run.borrow().sleepers.push(Sleeper { slot: me, address, deadline, handle });
    super::suspend::asleep(run, me);
    while run.borrow().sleepers.iter().any(|sleeper| sleeper.slot == me) {
        loom::thread::park();
    }
    super::suspend::exchange(run, me);
    run.borrow().threads[me].woken
}

/// One sleep of a thread that waits for a lock or a join; its handlers run meanwhile.
#[track_caller]
pub(super) fn block(run: &Rc<Run>, address: usize) {
    let (me, at) = (run.me(), Location::caller());
    // Whoever calls this looks again afterwards.
    if !signalled(run, me) && !super::suspend::pay_barrier(run, me, at) {
        sleep(run, me, address, None);
        super::suspend::hold(run, me, at);
    }
    if signalled(run, me)
        && let Some(words) = run.words()
    {
        deliver::leaving(run, &words, me, at);
    }
}

/// Wakes the first that sleeps on `address`.
pub(super) fn wake(run: &Run, address: usize) -> Option<usize> {
    let sleeper = take(run, |sleeper| sleeper.address == address)?;
    run.borrow().threads[sleeper.slot].woken = true;
    sleeper.handle.unpark();
    Some(sleeper.slot)
}

/// The same, or the second. Who is woken learns nothing by that, if there is a porter.
fn wake_untold(run: &Run, me: usize, address: usize, second: bool) -> Option<usize> {
    let mut skipped = !second;
    let sleeper =
        take(run, |sleeper| sleeper.address == address && core::mem::replace(&mut skipped, true))?;
    run.tells(me, sleeper.slot);
    let mut inner = run.borrow();
    inner.threads[sleeper.slot].woken = true;
    match &mut inner.errands {
        Some(errands) => errands.push_back(sleeper.handle),
        None => {
            drop(inner);
            sleeper.handle.unpark();
        }
    }
    Some(sleeper.slot)
}

/// How many sleep there.
fn count(run: &Run, address: usize) -> usize {
    run.borrow().sleepers.iter().filter(|sleeper| sleeper.address == address).count()
}

/// Starts the porter: a thread that wakes whom it is told to, and knows no more than its creator does now.
///
/// loom's unpark passes on what its caller knows. The porter is told by plain fields, which loom does not
/// see; and as it may not be unparked either, it yields until there is something to do. A sleeper that
/// yielded itself would not do: loom has no thread read again what it read before it yielded.
pub(super) fn hire_porter(run: &Run) {
    run.borrow().errands = Some(VecDeque::new());
    loom::thread::spawn(|| {
        let run = Run::expect();
        loop {
            let errand = run.borrow().errands.as_mut().and_then(VecDeque::pop_front);
            match errand {
                Some(sleeper) => sleeper.unpark(),
                // It is over, or a deadlock: loom tells them apart.
                None if nobody_runs(&run) => return,
                None => loom::thread::yield_now(),
            }
        }
    });
}

fn nobody_runs(run: &Run) -> bool {
    let inner = run.borrow();
    let sleeps = |slot| inner.sleepers.iter().any(|sleeper| sleeper.slot == slot);
    inner.threads.iter().enumerate().all(|(slot, thread)| thread.over || sleeps(slot))
}

/// A signal was posted to the thread in `slot`.
pub(super) fn interrupt(run: &Run, slot: usize) {
    rouse(run, |sleeper| sleeper.slot == slot);
}

/// Every deadline passes.
pub(super) fn expire(run: &Run, words: &Words) {
    touch(&words.clock);
    run.borrow().deadlines.fill(true);
    while rouse(run, |sleeper| sleeper.deadline.is_some()).is_some() {}
}

/// Wakes everybody who sleeps on `address`.
pub(super) fn rouse_all(run: &Run, address: usize) {
    while wake(run, address).is_some() {}
}

fn rouse(run: &Run, which: impl Fn(&Sleeper) -> bool) -> Option<usize> {
    let sleeper = take(run, which)?;
    sleeper.handle.unpark();
    Some(sleeper.slot)
}

fn take(run: &Run, which: impl FnMut(&Sleeper) -> bool) -> Option<Sleeper> {
    let mut inner = run.borrow();
    let index = inner.sleepers.iter().position(which)?;
    Some(inner.sleepers.remove(index))
}

fn expired(run: &Run, deadline: Option<&Deadline>) -> bool {
    deadline.is_some_and(|deadline| run.borrow().deadlines[deadline.0])
}

/// Whether something was posted to this thread that it has not noticed, and will.
fn signalled(run: &Run, me: usize) -> bool {
    deliver::unnoticed(run, me) && deliver::listens(run, me)
}

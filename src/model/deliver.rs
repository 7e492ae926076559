//! Where signals land, and what happens then.

use super::disposition::{Action, Handler, Info};
use super::kernel::{Call, Outcome};
use super::lanes::{Detail, place};
use super::signals::{Signal, is_realtime, sig};
use super::state::{COINS, Frame, Pending, Run, TABLES, Thread, Words, touch};
use core::panic::Location;
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use std::rc::Rc;

/// Before an operation of the program: a signal in flight may land now, or later.
pub(super) fn step(run: &Rc<Run>, at: &'static Location<'static>) {
    let Some(words) = run.words() else { return };
    let me = run.me();
    if !listens(run, me) {
        return;
    }
    if !unnoticed(run, me) {
        // Orders this step with every post, so that loom tries each place for it.
        touch(&words.lines[me]);
    }
    // The signal was sent; when it arrives is up to the coin, whatever else the sender did
    // since: an interrupt may be slower than the data written after it. So a landing place
    // costs no preemption either, and bounded explorations reach all of them.
    if unnoticed(run, me) {
        let coin = run.borrow().threads[me].coin;
        // Without a coin it lands at once.
        if coin.is_none_or(|coin| words.coins[coin].load(Relaxed)) {
            arrive(run, &words, me, at);
            return;
        }
    }
    if candidate(run, me, false).is_some() {
        take_all(run, &words, me, false, at);
    }
}

/// At the end of a kernel call: whatever was sent to this thread is delivered.
pub(super) fn leaving(run: &Rc<Run>, words: &Words, me: usize, at: &'static Location<'static>) {
    if !listens(run, me) {
        return;
    }
    touch(&words.lines[me]);
    arrive(run, words, me, at);
}

/// After a change of the mask: what it let through is delivered, process-directed ones too.
pub(super) fn unmasked(run: &Rc<Run>, words: &Words, me: usize, at: &'static Location<'static>) {
    if run.borrow().threads[me].mask == super::signals::SigSet::ALL {
        return;
    }
    touch(&words.lines[me]);
    notice(run, me);
    take_all(run, words, me, true, at);
}

/// Whether the thread may still be interrupted by something it has not noticed.
pub(super) fn listens(run: &Run, me: usize) -> bool {
    let mut inner = run.borrow();
    let most = inner.at_most.unwrap_or(u32::MAX);
    let thread = &inner.threads[me];
    thread.mask != super::signals::SigSet::ALL
        && thread.noticed < most
        && !thread.exited
        && inner.process_of(me).outcome == Outcome::Running
}

/// Whether something was posted to this thread that it has not noticed.
pub(super) fn unnoticed(run: &Run, me: usize) -> bool {
    let thread = &run.borrow().threads[me];
    thread.posted > thread.noticed
}

/// An interruption sends the thread into the kernel, which looks at all that is pending.
fn arrive(run: &Rc<Run>, words: &Words, me: usize, at: &'static Location<'static>) {
    let rung = notice(run, me);
    super::suspend::hold(run, me, at);
    if rung {
        touch(&words.shared);
    }
    take_all(run, words, me, rung, at);
}

fn notice(run: &Run, me: usize) -> bool {
    let thread = &mut run.borrow().threads[me];
    thread.noticed = thread.posted;
    thread.coin = None;
    core::mem::take(&mut thread.rung)
}

/// One more interruption of the thread in slot `to`; returns its number.
pub(super) fn interrupt(run: &Run, to: usize) -> u32 {
    let mut inner = run.borrow();
    let fresh = inner.threads[to].posted == inner.threads[to].noticed;
    if fresh && !inner.prompt && inner.coins_used < COINS {
        let coin = inner.coins_used;
        inner.coins_used += 1;
        inner.threads[to].coin = Some(coin);
    }
    let thread = &mut inner.threads[to];
    thread.posted += 1;
    let number = thread.posted;
    drop(inner);
    check_promised(run, to, number);
    number
}

/// A thread that has noticed as many as [`at_most`](super::Kernel::at_most) promises looks for no more: what
/// comes after them would never act, and the model would be green without it.
fn check_promised(run: &Run, to: usize, number: u32) {
    let text = {
        let mut inner = run.borrow();
        let Some(most) = inner.at_most.filter(|&most| number > most) else { return };
        if inner.process_of(to).outcome != Outcome::Running {
            return;
        }
        let name = &inner.threads[to].name;
        format!(
            "at_most({most}) is broken: interruption {number} of thread \"{name}\" would never land; \
             promise at_most({number}) or more"
        )
    };
    super::violation(text);
}

/// Delivers what this thread has noticed and does not mask, one after the other.
fn take_all(
    run: &Rc<Run>,
    words: &Words,
    me: usize,
    mut shared: bool,
    at: &'static Location<'static>,
) {
    while let Some((signal, thread_directed)) = candidate(run, me, shared) {
        // The kernel takes the signal off the pending set and reads its disposition under one
        // lock: what follows this read in program order is one step with it.
        read_table(words, signal);
        let (action, value) = {
            let mut inner = run.borrow();
            let taken = if thread_directed {
                let pending = &mut inner.threads[me].pending;
                let index = pending.iter().position(|p| p.signal == signal);
                index.map(|index| pending.remove(index).value)
            } else {
                let pending = &mut inner.process_of(me).pending;
                let index = pending.iter().position(|&p| p == signal);
                index.map(|index| pending.remove(index)).map(|_| 0)
            };
            let Some(value) = taken else { continue };
            (inner.action(me, signal), value)
        };
        act(run, words, me, (signal, value), action, at);
        // A handler masks its own signal, and that may have kept others away.
        shared = true;
    }
}

fn candidate(run: &Run, me: usize, shared: bool) -> Option<(Signal, bool)> {
    let mut inner = run.borrow();
    if inner.process_of(me).outcome != Outcome::Running {
        return None;
    }
    let thread = &inner.threads[me];
    let (mask, noticed) = (thread.mask, thread.noticed);
    let own = thread.pending.iter().find(|p| p.number <= noticed && !mask.contains(p.signal));
    if let Some(own) = own {
        return Some((own.signal, true));
    }
    let process = inner.process_of(me);
    let found = process.pending.iter().copied().find(|&p| shared && !mask.contains(p));
    found.map(|signal| (signal, false))
}

/// Reads the disposition table: the newest, with what its writer wrote before.
pub(super) fn read_table(words: &Words, signal: Signal) {
    let table = &words.tables[signal as usize % TABLES];
    // Fails, hence stores nothing; the failure order does the acquiring.
    let _ = table.compare_exchange(u32::MAX, u32::MAX, Relaxed, Acquire);
}

fn act(
    run: &Rc<Run>,
    words: &Words,
    me: usize,
    (signal, value): (Signal, usize),
    action: Action,
    at: &'static Location<'static>,
) {
    match action {
        Action::Nothing => run.row(me, "ignored:", Detail::Signal(signal), at),
        Action::Terminate => {
            check_may_die(run, me, signal, at);
            end(run, words, me, Outcome::DiedOf(signal));
            run.row(me, "process dies of", Detail::Signal(signal), at);
        }
        Action::Run(handler) => run_handler(run, words, me, (signal, value), &handler, at),
    }
}

fn run_handler(
    run: &Rc<Run>,
    words: &Words,
    me: usize,
    (signal, value): (Signal, usize),
    handler: &Handler,
    at: &'static Location<'static>,
) {
    run.row(me, "> handler of", Detail::Signal(signal), at);
    let (saved, wrong_stack) = {
        let mut inner = run.borrow();
        if handler.resethand {
            inner.process_of(me).dispositions[signal as usize] = Default::default();
        }
        let thread = &mut inner.threads[me];
        let nested = thread.frames.iter().any(|frame| frame.on_altstack);
        let on_altstack = nested || (handler.onstack && thread.altstack.is_some());
        let saved = thread.mask;
        thread.mask = saved.union(handler.mask);
        if !handler.nodefer {
            thread.mask = thread.mask.with(signal);
        }
        thread.frames.push(Frame { signal, interrupted: at, on_altstack, returns_to: saved });
        (saved, thread.attached && !on_altstack)
    };
    retarget(run, words, me);
    if wrong_stack {
        let name = run.borrow().threads[me].name.clone();
        super::violation(format!(
            "wrong stack: handler of {} on attached thread \"{name}\", interrupted at {}, is not \
             on its signal stack",
            super::signals::name(signal),
            place(at),
        ));
    }
    let context = (&raw const saved).addr();
    (handler.run)(signal, Info { value, context });
    {
        let thread = &mut run.borrow().threads[me];
        if let Some(frame) = thread.frames.pop() {
            thread.mask = frame.returns_to;
        }
    }
    run.row(me, "< handler returns", Detail::Nothing, at);
}

/// Nothing that happens after a death fails a model, so one that nobody meant must not pass for an end.
fn check_may_die(run: &Run, me: usize, signal: Signal, at: &'static Location<'static>) {
    let text = {
        let mut inner = run.borrow();
        if inner.may_die || inner.process_of(me).outcome != Outcome::Running {
            return;
        }
        format!(
            "unexpected death of {} (thread \"{}\", at {}): handle it, or say Kernel::may_die()",
            super::signals::name(signal),
            inner.threads[me].name,
            place(at),
        )
    };
    super::violation(text);
}

/// Ends the caller's process; the first end counts.
pub(super) fn end(run: &Run, words: &Words, me: usize, outcome: Outcome) {
    touch(&words.shared);
    settle(run, me, outcome);
}

/// Records the end of the caller's process, as one step with the operation before.
pub(super) fn settle(run: &Run, me: usize, outcome: Outcome) {
    let mut inner = run.borrow();
    let process = inner.process_of(me);
    if process.outcome == Outcome::Running {
        process.outcome = outcome;
    }
}

/// Sends `signal` to the thread in slot `to`, with a value. Of a standard signal one is pending at a time, the
/// first; real-time ones are queued.
pub(super) fn post(call: &Call, to: usize, signal: Signal, value: usize) {
    let (run, words, at) = (&*call.run, &*call.words, call.at);
    touch(&words.tables[signal as usize % TABLES]);
    // No order: sending a signal publishes nothing.
    touch(&words.lines[to]);
    if kills(run, to, signal, at) {
        return;
    }
    let masked = {
        let mut inner = run.borrow();
        let nothing = matches!(inner.action(to, signal), Action::Nothing);
        let thread = &inner.threads[to];
        let masked = thread.mask.contains(signal);
        let merges = !is_realtime(signal);
        let duplicate = merges && thread.pending.iter().any(|p| p.signal == signal);
        if thread.exited || duplicate || (nothing && !masked) {
            return;
        }
        masked
    };
    let number = if masked { 0 } else { interrupt(run, to) };
    run.borrow().threads[to].pending.push(Pending { signal, number, value });
    if !masked {
        super::futex::interrupt(run, to);
    }
}

/// Sends `signal` to the process of the thread in slot `from`.
pub(super) fn post_process(call: &Call, signal: Signal) {
    let (run, words, from) = (&*call.run, &*call.words, call.me);
    touch(&words.tables[signal as usize % TABLES]);
    touch(&words.shared);
    if kills(run, from, signal, call.at) {
        return;
    }
    let targets: Vec<usize> = {
        let mut inner = run.borrow();
        let targets = targets(&inner, from, signal);
        let nothing = matches!(inner.action(from, signal), Action::Nothing);
        let pending = &mut inner.process_of(from).pending;
        if !is_realtime(signal) && pending.contains(&signal) || (nothing && !targets.is_empty()) {
            return;
        }
        pending.push(signal);
        targets
    };
    ring(run, words, &targets);
}

/// Who is to look for a signal that is pending for the process of the thread in slot `of`.
fn targets(inner: &super::state::Inner, of: usize, signal: Signal) -> Vec<usize> {
    let process = inner.threads[of].process;
    let takes = |t: &Thread| t.process == process && !t.exited && !t.mask.contains(signal);
    let all = inner.threads.iter().enumerate();
    let all: Vec<usize> = all.filter(|(_, t)| takes(t)).map(|(slot, _)| slot).collect();
    match inner.chosen.filter(|chosen| all.contains(chosen)) {
        Some(chosen) => vec![chosen],
        None => all,
    }
}

fn ring(run: &Run, words: &Words, targets: &[usize]) {
    for &to in targets {
        touch(&words.lines[to]);
        interrupt(run, to);
        run.borrow().threads[to].rung = true;
        super::futex::interrupt(run, to);
    }
}

/// After a change of the mask of the one that is chosen: what it does not take any more is for others.
pub(super) fn retarget(run: &Run, words: &Words, me: usize) {
    if run.borrow().chosen != Some(me) {
        return;
    }
    touch(&words.shared);
    let others: Vec<usize> = {
        let mut inner = run.borrow();
        let mask = inner.threads[me].mask;
        let pending = inner.process_of(me).pending.clone();
        let masked = pending.into_iter().filter(|signal| mask.contains(*signal));
        masked.flat_map(|signal| targets(&inner, me, signal)).collect()
    };
    ring(run, words, &others);
}

/// SIGKILL needs no thread to take it.
fn kills(run: &Run, slot: usize, signal: Signal, at: &'static Location<'static>) -> bool {
    if signal != sig::KILL {
        return false;
    }
    check_may_die(run, slot, signal, at);
    settle(run, slot, Outcome::DiedOf(signal));
    true
}

//! Where signals land, and what happens then.

use super::disposition::{Action, Handler, Info};
use super::kernel::{Call, Outcome};
use super::lanes::{About, Detail, place};
use super::signals::{Signal, is_realtime, place_in_line, sig};
use super::state::{COINS, Frame, Pending, Run, TABLES, Thread, Words, touch};
use core::panic::Location;
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use std::rc::Rc;

/// Before an operation of the program: a signal in flight may land now, or later.
pub(super) fn step(run: &Rc<Run>, at: &'static Location<'static>) {
    step_on(run, 0, at);
}

/// The same, of one that reads the word of this number.
pub(super) fn step_on(run: &Rc<Run>, word: usize, at: &'static Location<'static>) {
    let me = run.me();
    // The one before is over, though it may not have said so.
    run.borrow().threads[me].doing = None;
    let Some(words) = run.words() else { return };
    if !listens(run, me) {
        // No mask keeps a barrier away.
        super::suspend::pay_barrier(run, me, at);
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
        super::flight::prolong(run, &words, me, word);
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

/// After a change of the mask: what it let through is delivered, process-directed ones too, and what nothing
/// masks has arrived by now.
pub(super) fn unmasked(run: &Rc<Run>, words: &Words, me: usize, at: &'static Location<'static>) {
    if run.borrow().threads[me].mask == super::signals::SigSet::ALL {
        return;
    }
    touch(&words.lines[me]);
    if unnoticed(run, me) {
        notice(run, me);
        super::suspend::hold(run, me, at);
    }
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
    let mut inner = run.borrow();
    let thread = &mut inner.threads[me];
    thread.noticed = thread.posted;
    thread.coin = None;
    let rung = core::mem::take(&mut thread.rung);
    super::flight::ends(&mut inner, me);
    rung
}

/// One more interruption of the thread in slot `to`; returns its number.
pub(super) fn interrupt(run: &Run, to: usize) -> u32 {
    let from = run.me();
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
    super::flight::begins(&mut inner, from, to);
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
    while let Some((signal, thread_directed)) = chosen(run, me, shared) {
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
        let sender = run.taken(thread_directed.then_some(me), signal);
        act(run, words, me, (signal, value), action, (at, sender));
        // A handler masks its own signal, and that may have kept others away.
        shared = true;
    }
}

/// What this thread takes next, and whether that was sent to the thread: what was sent to the process waits for it.
fn candidate(run: &Run, me: usize, shared: bool) -> Option<(Signal, bool)> {
    line(run, me, shared).into_iter().next()
}

/// The same where the system chooses.
fn chosen(run: &Run, me: usize, shared: bool) -> Option<(Signal, bool)> {
    let line = line(run, me, shared);
    let second = second(&line).filter(|_| super::hostile::strikes(run));
    second.or_else(|| candidate(run, me, shared))
}

/// Who else may be taken first: POSIX says no more than that the lowest of several real-time signals is.
fn second(line: &[(Signal, bool)]) -> Option<(Signal, bool)> {
    let (first, _) = *line.first()?;
    let mut others = line.iter().copied().filter(|(signal, _)| *signal != first);
    let other = others.find(|(signal, _)| !is_realtime(first) || !is_realtime(*signal))?;
    let lowest = |(signal, _): &(Signal, bool)| is_realtime(*signal) && *signal < other.0;
    let waits = is_realtime(other.0) && line.iter().any(lowest);
    (!waits).then_some(other)
}

/// All that this thread would take, in order.
fn line(run: &Run, me: usize, shared: bool) -> Vec<(Signal, bool)> {
    let mut inner = run.borrow();
    if inner.process_of(me).outcome != Outcome::Running {
        return Vec::new();
    }
    let thread = &inner.threads[me];
    let (mask, noticed) = (thread.mask, thread.noticed);
    let own = thread.pending.iter().filter(|p| p.number <= noticed).map(|p| (p.signal, true));
    let mut line: Vec<_> = own.collect();
    if shared {
        line.extend(inner.process_of(me).pending.iter().map(|&signal| (signal, false)));
    }
    line.retain(|(signal, _)| !mask.contains(*signal));
    line.sort_by_key(|&(signal, own)| (!own, place_in_line(signal)));
    line
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
    (at, sender): (&'static Location<'static>, About),
) {
    match action {
        Action::Nothing => run.row_about(sender, me, "ignored:", Detail::Signal(signal), at),
        Action::Terminate => {
            check_may_die(run, me, signal, at);
            end(run, words, me, Outcome::DiedOf(signal));
            run.row_about(sender, me, "process dies of", Detail::Signal(signal), at);
        }
        Action::Run(handler) => {
            run.row_about(sender, me, "> handler of", Detail::Signal(signal), at);
            run_handler(run, words, me, (signal, value), &handler, at);
        }
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
    let (saved, wrong_stack, doing) = {
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
        (saved, thread.attached && !on_altstack, thread.doing.take())
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
    // All that is pending gets its frame before the thread is back in the program: who is taken first runs last.
    take_all(run, words, me, true, at);
    (handler.run)(signal, Info { value, context });
    {
        let thread = &mut run.borrow().threads[me];
        if let Some(frame) = thread.frames.pop() {
            thread.mask = frame.returns_to;
        }
        thread.doing = doing;
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
/// first; real-time ones are queued. For one that plays a child it waits in the parent.
pub(super) fn post(call: &Call, to: usize, signal: Signal, value: usize) {
    let (run, words, at) = (&*call.run, &*call.words, call.at);
    touch(&words.tables[signal as usize % TABLES]);
    // No order: sending a signal publishes nothing.
    touch(&words.lines[to]);
    let process = run.borrow().threads[call.me].process;
    let away = run.borrow().threads[to].away_from(process).is_some();
    // Whose process it is for.
    let owner = if away { call.me } else { to };
    if kills(run, owner, signal, at) {
        return;
    }
    let masked = {
        let mut inner = run.borrow();
        let nothing = matches!(inner.action(owner, signal), Action::Nothing);
        let thread = &mut inner.threads[to];
        let exited = thread.exited;
        let (mask, pending) = match thread.away.iter_mut().find(|away| away.process == process) {
            Some(away) => (away.mask, &mut away.pending),
            None => (thread.mask, &mut thread.pending),
        };
        let masked = mask.contains(signal);
        let merges = !is_realtime(signal);
        let duplicate = merges && pending.iter().any(|p| p.signal == signal);
        if exited || duplicate || (nothing && !masked) {
            return;
        }
        if away {
            pending.push(Pending { signal, number: 0, value });
        }
        masked
    };
    run.sends(call.me, Some(to), signal);
    if !away {
        let number = if masked { 0 } else { interrupt(run, to) };
        run.borrow().threads[to].pending.push(Pending { signal, number, value });
    }
    if !masked {
        rouse(run, call.me, to, false);
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
    run.sends(from, None, signal);
    ring(run, words, from, &targets);
}

/// Who is to look for a signal that is pending for the process of the thread in slot `of`.
fn targets(inner: &super::state::Inner, of: usize, signal: Signal) -> Vec<usize> {
    let process = inner.threads[of].process;
    let takes = |t: &Thread| t.mask_in(process).is_some_and(|mask| !mask.contains(signal));
    let all = inner.threads.iter().enumerate();
    let all: Vec<usize> = all.filter(|(_, t)| takes(t)).map(|(slot, _)| slot).collect();
    match inner.chosen.filter(|chosen| all.contains(chosen)) {
        Some(chosen) => vec![chosen],
        None => all,
    }
}

/// Has these look at what is pending for the process of the thread in slot `from`.
fn ring(run: &Run, words: &Words, from: usize, targets: &[usize]) {
    for &to in targets {
        touch(&words.lines[to]);
        let process = run.borrow().threads[from].process;
        let away = run.borrow().threads[to].away_from(process).is_some();
        if !away {
            interrupt(run, to);
            run.borrow().threads[to].rung = true;
        }
        rouse(run, from, to, true);
    }
}

/// Ends the sleep of the thread in slot `to`, unless what sleeps is the child that it plays: then it is told as soon as
/// it is back in the parent.
fn rouse(run: &Run, from: usize, to: usize, rings: bool) {
    let away = {
        let mut inner = run.borrow();
        let process = inner.threads[from].process;
        let away = inner.threads[to].away_from(process);
        away.map(|away| {
            away.posted += 1;
            away.rung |= rings;
        })
    };
    if away.is_none() {
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
    ring(run, words, me, &others);
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

//! The calls into the simulated kernel.

use super::deliver;
use super::disposition::{Action, Disposition};
use super::lanes::Detail;
use super::signals::{SigSet, Signal, sig};
use super::state::{HOSTILITIES, Process, Run, TABLES, Words, touch};
use super::thread::ThreadId;
use core::panic::Location;
use core::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::cell::Cell;
use std::rc::Rc;

/// What became of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    Running,
    /// A signal's default action ended it.
    DiedOf(Signal),
    /// It exited with this code.
    Exited(i32),
    /// Its last thread was suspended while it exited; see [`Kernel::exit_process`].
    Ghost,
}

/// How `sigmask` combines the set given with the mask in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Mask these too.
    Block,
    /// Mask these no longer.
    Unblock,
    /// Mask these and nothing else.
    Set,
}

/// The simulated kernel of this execution; a token to be copied into every thread.
#[derive(Clone, Copy, Debug)]
pub struct Kernel(());

impl Kernel {
    /// Boots the kernel for this execution, before any thread is spawned. A model without one
    /// pays nothing for signals.
    #[must_use]
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "booting is an event, not a value")]
    pub fn new() -> Self {
        let run = Run::expect();
        run.set_words(run.tossed().unwrap_or_else(|| boot(HOSTILITIES)));
        run.borrow().processes = vec![Process::new()];
        Self(())
    }

    /// The kernel booted by `new`.
    #[must_use]
    #[track_caller]
    pub fn current() -> Self {
        Self::booted().expect("no kernel: call Kernel::new() first")
    }

    /// The same, if there is one.
    pub(crate) fn booted() -> Option<Self> {
        Run::expect().words().is_some().then_some(Self(()))
    }

    /// Promises that no thread is interrupted more than `signals` times in this execution. Threads
    /// that have seen so many stop looking for more, which saves executions. One interruption more is a
    /// violation, of whoever sends it.
    ///
    /// What counts: signals that are not masked when they are sent, not merged with one that is pending, and
    /// not ignored; those sent to the process for each thread that may take them; suspensions; barriers.
    #[must_use]
    pub fn at_most(self, signals: u32) -> Self {
        Run::expect().borrow().at_most = Some(signals);
        self
    }

    /// A default action may end a process of this model, one forked included. Without this such a death is
    /// a violation: whatever happens after it counts for nothing, so the model would be green. That
    /// the program asks for [`Kernel::outcome`] does not say as much: it may ask before, or by another thread.
    #[must_use]
    pub fn may_die(self) -> Self {
        Run::expect().borrow().may_die = true;
        self
    }

    /// A signal sent to the process is for `thread` as long as that one does not mask it, and then for those that
    /// do not; others take what comes their way. Otherwise each that does not mask it looks for it.
    pub fn chooses(self, thread: ThreadId) {
        Run::expect().borrow().chosen = Some(thread.0);
    }

    /// Gives up flight where it cannot be seen: a signal lands at the next step of its target, or stays in
    /// flight where that step reads what was done after the signal was sent, by its sender or by who has seen that.
    /// Up to there the steps of the target may as well have come before the signal, so far fewer executions show as
    /// much. Under a preemption bound each other landing place costs a preemption again.
    ///
    /// Where the target is told by a third thread, which has seen it, not every order of the three is tried; what
    /// is told by no word or lock of the model goes unseen.
    #[must_use]
    pub fn prompt(self) -> Self {
        Run::expect().borrow().prompt = true;
        self
    }

    /// With [`prompt`](Self::prompt): no signal is late at all, though that could be seen. A limit of the
    /// exploration, as a preemption bound is, where it does not end in time otherwise.
    #[must_use]
    pub fn never_late(self) -> Self {
        Run::expect().borrow().never_late = true;
        self
    }

    /// Threads will be suspended, and what a thread wrote before it fell asleep is to be seen by
    /// who has it suspended then. Costs an operation at each sleep.
    #[must_use]
    pub fn suspending(self) -> Self {
        Run::expect().borrow().suspending = true;
        self
    }

    /// A wake-up passes nothing on: what the waker did is seen by who was woken only as far as it reads
    /// so. That is as the real futex has it; without this the sleeper knows all that its waker knew.
    /// Costs executions, and a thread: beside the main one two are left.
    ///
    /// Wake-ups by signals, deadlines, locks and joins pass on what they did before.
    #[must_use]
    pub fn wakes_tell_nothing(self) -> Self {
        super::futex::hire_porter(&Run::expect());
        self
    }

    /// Sets the disposition of `signal`; returns the one it replaces.
    #[track_caller]
    pub fn sigaction(self, signal: Signal, new: impl Into<Disposition>) -> Disposition {
        let new = new.into();
        assert_ne!(signal, sig::KILL, "SIGKILL cannot be caught");
        let call = Call::enter(Location::caller());
        // The kernel's lock: who is handed this handler sees what was written before.
        call.words.tables[signal as usize % TABLES].fetch_add(1, AcqRel);
        let name = new.name();
        let old = {
            let mut inner = call.run.borrow();
            let discards = matches!(new.action(signal), Action::Nothing);
            let process = inner.threads[call.me].process;
            let dispositions = &mut inner.processes[process].dispositions;
            let old = core::mem::replace(&mut dispositions[signal as usize], new);
            if discards {
                super::cause::forget(&mut inner, signal);
                inner.processes[process].pending.retain(|&s| s != signal);
                for thread in &mut inner.threads {
                    if thread.process == process {
                        thread.pending.retain(|p| p.signal != signal);
                    }
                    if let Some(away) = thread.away_from(process) {
                        away.pending.retain(|p| p.signal != signal);
                    }
                }
            }
            old
        };
        let text = format!("{} {name} (was {})", super::signals::name(signal), old.name());
        call.leave("sigaction", Detail::Text(text));
        old
    }

    /// The disposition of `signal`.
    #[must_use]
    #[track_caller]
    pub fn sigaction_query(self, signal: Signal) -> Disposition {
        let call = Call::enter(Location::caller());
        deliver::read_table(&call.words, signal);
        let found = call.run.borrow().process_of(call.me).dispositions[signal as usize].clone();
        let text = format!("{} is {}", super::signals::name(signal), found.name());
        call.leave("sigaction", Detail::Text(text));
        found
    }

    /// Changes the calling thread's mask; returns the one it replaces. A pending signal that
    /// this unmasks is acted on before the call returns.
    #[track_caller]
    pub fn sigmask(self, how: How, set: SigSet) -> SigSet {
        let call = Call::enter(Location::caller());
        // Orders the change with every process-directed signal's choice of threads.
        touch(&call.words.shared);
        let old = {
            let thread = &mut call.run.borrow().threads[call.me];
            let old = thread.mask;
            thread.mask = match how {
                How::Block => old.union(set),
                How::Unblock => old.minus(set),
                How::Set => set,
            };
            old
        };
        let op = match how {
            How::Block => "sigmask block",
            How::Unblock => "sigmask unblock",
            How::Set => "sigmask set",
        };
        call.run.row(call.me, op, Detail::Number(set.bits()), call.at);
        deliver::retarget(&call.run, &call.words, call.me);
        deliver::unmasked(&call.run, &call.words, call.me, call.at);
        old
    }

    /// What is pending for the calling thread, or its process, and held back by its mask: sigpending(2).
    #[track_caller]
    pub fn sigpending(self) -> SigSet {
        let call = Call::enter(Location::caller());
        // Orders the look with every post to the thread, and to the process.
        super::state::touch(&call.words.lines[call.me]);
        touch(&call.words.shared);
        let mut pending = SigSet::EMPTY;
        {
            let mut inner = call.run.borrow();
            let own = inner.threads[call.me].pending.iter().map(|p| p.signal).collect::<Vec<_>>();
            let shared = inner.process_of(call.me).pending.clone();
            let mask = inner.threads[call.me].mask;
            for signal in own.into_iter().chain(shared).filter(|&signal| mask.contains(signal)) {
                pending = pending.with(signal);
            }
        }
        call.leave("sigpending", Detail::Number(pending.bits()));
        pending
    }

    /// In a handler: its return will mask these too, as an addition to `uc_sigmask` has it.
    #[track_caller]
    pub fn mask_on_return(self, set: SigSet) {
        let call = Call::enter(Location::caller());
        {
            let frame = &mut call.run.borrow();
            let frame = frame.threads[call.me].frames.last_mut().expect("in a handler");
            frame.returns_to = frame.returns_to.union(set);
        }
        call.leave("mask on return", Detail::Number(set.bits()));
    }

    /// Sends `signal` to the calling thread; if unmasked, it is acted on before this returns.
    #[track_caller]
    pub fn raise(self, signal: Signal) {
        let call = Call::enter(Location::caller());
        deliver::post(&call, call.me, signal, 0);
        call.leave("raise", Detail::Signal(signal));
    }

    /// Sends `signal` to one thread.
    #[track_caller]
    pub fn tgkill(self, thread: ThreadId, signal: Signal) {
        let call = Call::enter(Location::caller());
        deliver::post(&call, thread.0, signal, 0);
        let name = call.run.borrow().threads[thread.0].name.clone();
        let text = format!("{} to \"{name}\"", super::signals::name(signal));
        call.leave("tgkill", Detail::Text(text));
    }

    /// The same; false, and nothing is sent, if `thread` has ended.
    #[track_caller]
    pub fn try_tgkill(self, thread: ThreadId, signal: Signal) -> bool {
        self.queue(thread, signal, 0)
    }

    /// `rt_tgsigqueueinfo`: the same, with a value for the handler.
    #[track_caller]
    pub fn queue(self, thread: ThreadId, signal: Signal, value: usize) -> bool {
        let call = Call::enter(Location::caller());
        touch(&call.words.lines[thread.0]);
        let there = !call.run.borrow().threads[thread.0].exited;
        if there {
            deliver::post(&call, thread.0, signal, value);
        }
        let text = format!("{}, there: {there}", super::signals::name(signal));
        call.leave("tgkill", Detail::Text(text));
        there
    }

    /// Sends `signal` to the process: one thread that does not mask it takes it.
    #[track_caller]
    pub fn kill(self, signal: Signal) {
        let call = Call::enter(Location::caller());
        deliver::post_process(&call, signal);
        call.leave("kill", Detail::Signal(signal));
    }

    /// Registers the calling thread's alternate signal stack, named by a number of the caller's
    /// choice, or none; returns the one it replaces.
    ///
    /// Fails while a handler runs on the one in force, as the real call does (`EPERM`).
    #[track_caller]
    #[expect(clippy::result_unit_err, reason = "the real call has this one error here")]
    pub fn sigaltstack(self, stack: Option<usize>) -> Result<Option<usize>, ()> {
        let call = Call::enter(Location::caller());
        let result = {
            let thread = &mut call.run.borrow().threads[call.me];
            if thread.frames.iter().any(|frame| frame.on_altstack) {
                Err(())
            } else {
                Ok(core::mem::replace(&mut thread.altstack, stack))
            }
        };
        let text = format!("{stack:?} -> {result:?}");
        call.leave("sigaltstack", Detail::Text(text));
        result
    }

    /// The calling thread's alternate stack.
    #[must_use]
    pub fn altstack(self) -> Option<usize> {
        let run = Run::expect();
        let me = run.me();
        run.borrow().threads[me].altstack
    }

    /// Whether the calling code is a handler on the alternate stack.
    #[must_use]
    pub fn on_altstack(self) -> bool {
        let run = Run::expect();
        let me = run.me();
        run.borrow().threads[me].frames.iter().any(|frame| frame.on_altstack)
    }

    /// How many handlers the calling code is nested in.
    #[must_use]
    pub fn depth(self) -> usize {
        let run = Run::expect();
        let me = run.me();
        run.borrow().threads[me].frames.len()
    }

    /// Ends the process with `code`; what follows does not count (see [`Kernel::alive`]).
    #[track_caller]
    pub fn exit(self, code: i32) {
        let call = Call::enter(Location::caller());
        deliver::end(&call.run, &call.words, call.me, Outcome::Exited(code));
        call.leave("exit", Detail::Number(code as u64));
    }

    /// What became of the calling thread's process.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        let run = Run::expect();
        let me = run.me();
        // Orders the question with every end of a process.
        touch(&run.words().expect("booted").shared);
        run.borrow().process_of(me).outcome
    }

    /// Whether the calling thread's process still runs. Its threads go on after it died, so that
    /// the execution ends in order; no signal is delivered any more and violations are ignored.
    #[must_use]
    pub fn alive(self) -> bool {
        self.outcome() == Outcome::Running
    }

    /// Runs `hook` when the calling thread exits, the last registered first.
    pub fn at_thread_exit(self, hook: impl FnOnce() + 'static) {
        let run = Run::expect();
        let me = run.me();
        run.borrow().threads[me].at_exit.push(Box::new(hook));
    }

    /// Keeps what stands for a `static` until the last thread has exited, its exit hooks run.
    pub fn keep(self, what: impl core::any::Any) {
        Run::expect().borrow().kept.push(Box::new(what));
    }

    /// Lets every deadline of the model expire now.
    #[track_caller]
    pub fn expire_deadlines(self) {
        let call = Call::enter(Location::caller());
        super::futex::expire(&call.run, &call.words);
        call.leave("deadlines expire", Detail::Nothing);
    }
}

/// The words of a kernel, its coins tossed: stored to from a thread that ends unjoined. No other order is of
/// interest.
pub(super) fn boot(hostilities: usize) -> Rc<Words> {
    let word = || loom::sync::atomic::AtomicU32::new(0);
    let coin = || loom::sync::atomic::AtomicBool::new(false);
    let words = Rc::new(Words {
        lines: core::array::from_fn(|_| word()),
        coins: core::array::from_fn(|_| coin()),
        hostilities: (0..hostilities).map(|_| coin()).collect(),
        shared: word(),
        tables: core::array::from_fn(|_| word()),
        seen: core::array::from_fn(|_| word()),
        clock: word(),
    });
    let booting = loom::thread::current();
    let tossed = Rc::new(Cell::new(false));
    let (theirs, done) = (Rc::clone(&words), Rc::clone(&tossed));
    loom::stop_exploring();
    loom::thread::spawn(move || {
        // What is stored from here on, the waker does not pass on. And loom does not switch
        // away from a thread that can go on unless it explores.
        booting.unpark();
        for coin in theirs.coins.iter().chain(&theirs.hostilities) {
            coin.store(true, Relaxed);
        }
        done.set(true);
    });
    loom::thread::park();
    assert!(tossed.get(), "coins are tossed before the model goes on");
    loom::explore();
    words
}

/// A call in progress: signals land before it and are delivered at its end.
pub(super) struct Call {
    pub(super) run: Rc<Run>,
    pub(super) words: Rc<Words>,
    pub(super) me: usize,
    pub(super) at: &'static Location<'static>,
}

impl Call {
    #[track_caller]
    pub(super) fn enter(at: &'static Location<'static>) -> Self {
        let run = Run::expect();
        let words = run.words().expect("no kernel: call Kernel::new() first");
        let me = run.me();
        deliver::step(&run, at);
        Self { run, words, me, at }
    }

    pub(super) fn leave(self, op: &'static str, detail: Detail) {
        self.run.row(self.me, op, detail, self.at);
        deliver::leaving(&self.run, &self.words, self.me, self.at);
    }
}

//! The simulated kernel: signals, suspension, sleep and fork for programs under loom.
//!
//! loom explores the threads of a program and knows nothing of signals. This module supplies the
//! rest, for this crate's own models and for yours: with `--cfg loom` and feature `loom` it is
//! public, and every type of this crate runs on it.
//!
//! # A handler being checked
//!
//! A counter that a handler shares with the code it interrupts, read and written back: an
//! increment is lost, and the lanes show where. (The model is `documented_example` among the
//! crate's own.)
//!
//! ```ignore (needs --cfg loom and feature loom)
//! use portcullis::model::atomic::{AtomicU32, Ordering::Relaxed};
//! use portcullis::model::{Disposition, Kernel, Model, sig, thread};
//! use std::sync::Arc;
//!
//! Model::new("counter").actors(2).check(|| {
//!     let kernel = Kernel::new().at_most(1);
//!     let hits = Arc::new(AtomicU32::new(0));
//!     let count = Arc::clone(&hits);
//!     let handler = move |_| _ = count.fetch_add(1, Relaxed);
//!     kernel.sigaction(sig::USR1, Disposition::handler(handler));
//!
//!     let sender = thread::spawn("sender", move || {
//!         kernel.tgkill(thread::main(), sig::USR1);
//!     });
//!     let read = hits.load(Relaxed);
//!     hits.store(read + 1, Relaxed);
//!     sender.join();
//!     assert_eq!(hits.load(Relaxed), 2);
//! });
//! ```
//!
//! # The pieces
//!
//! | | |
//! |---|---|
//! | [`Model`] | explores a program and says how far: `model NAME: N executions, exhaustive` |
//! | [`Control`] | a program that must fail, for a stated reason; explored in a child process |
//! | [`Kernel`] | boots with `Kernel::new()`; signals, masks, dispositions, altstacks, fork, suspension |
//! | [`Handler`], [`Info`], [`Disposition`], [`SigSet`], [`sig`] | what its calls take |
//! | [`thread`] | threads with a lane of their own; `spawn(name, body)`, `join` |
//! | [`atomic`] | loom's atomics, each operation a place where a signal lands |
//! | [`cell`] | cells that a handler must not touch in the middle of an access |
//! | [`sync`], [`futex`] | locks, condition variables, sleep and wake |
//! | `thread_local!`, `lazy_static!` | loom's: each execution has its own |
//! | [`violation`], [`say`], [`name_thread`], [`set_attached`] | claims and remarks |
//!
//! # Rules of the kernel
//!
//! - A signal that is pending and not masked runs its handler on its thread, nested: the code it
//!   interrupted stands still until the handler returns. Handlers are interrupted in turn, except
//!   by what they mask: their own signal unless `nodefer`, and their `mask`.
//! - It lands before any operation of this crate's types or of [`atomic`], before or at the end
//!   of a kernel call, or while its thread sleeps; nowhere else. What a thread shares with its
//!   own handlers must go through these types, or the model cannot interrupt there.
//! - It may be in flight for any number of steps, even past operations that its sender made
//!   afterwards and the target has seen; a kernel call or a yield of the target ends the flight.
//!   Sending publishes nothing.
//! - Of several that are pending those sent to the thread are taken first, then those sent to the process; of
//!   either the lowest number, after those of faults and before real-time ones; of one number the oldest. Each is
//!   interrupted by the next before its handler's first instruction, so the last one taken runs first.
//! - The kernel takes a signal off the pending set and reads its disposition in one step, and
//!   whoever is handed a handler sees what was written before it was installed. Entering the
//!   handler is a later step: the disposition may have changed by then.
//! - A process-directed signal is taken by exactly one thread that does not mask it.
//! - A standard signal of which one is pending already is discarded, and so is one that is ignored when
//!   sent and not masked, and what is pending when its disposition becomes ignoring. Real-time ones
//!   are queued.
//! - The default action ends the process, or does nothing (CHLD, CONT, URG, WINCH). The first end
//!   counts: [`Kernel::outcome`]. loom needs every thread to reach its end, so the threads of a
//!   dead process go on, but get no more signals, and [`violation`]s of theirs are ignored. So a death is a
//!   violation itself, unless [`Kernel::may_die`] says that it is meant.
//! - What a model promises is checked: an interruption past [`Kernel::at_most`] fails the model that sends it.
//!   Any panic fails the model, even one that the program catches, as code that runs users' code does;
//!   `std::panic::resume_unwind` raises one that is meant.
//! - A sleep goes on after a handler, unless the word differs by then: the worst that a system
//!   does, though some return. The waker's stores are seen only as far as the word that
//!   was waited for carries them; loom does pass on to a thread that *slept* what its waker knew,
//!   and a program cannot tell, for a wait that found the word changed passes on nothing.
//! - That is a friendly system. A hostile one ([`Model::hostile`], [`Model::check_hostile_too`]) does a few times in
//!   an execution what else is allowed: a sleep returns though nobody woke it, at once or late, or after a handler;
//!   the wake-up is the second sleeper's; another of several pending signals is taken first. See below.
//! - A handler on an attached thread ([`set_attached`]) must be on its alternate stack, and a
//!   handler must not wait for a lock that a frame below it holds: either fails the model.
//! - Exit hooks run on their thread, last registered first, before its join returns.
//! - A suspension is asynchronous like a signal; see [`Kernel::suspend`]. One that is under way
//!   acts on a thread that exits the process after the others ended: [`Outcome::Ghost`].
//! - Fork runs the child as a closure; see [`Kernel::fork`] for what that can and cannot show. What the parent's
//!   threads send to the thread meanwhile waits until it goes on as the parent.
//!
//! # Cost
//!
//! A program that boots no kernel pays nothing. Threads that mask everything pay nothing. For the
//! others each step has one more loom operation until the number promised by [`Kernel::at_most`]
//! has come. [`Kernel::prompt`] gives up flight where that cannot be seen, for a fraction of the
//! executions. The kernel is one of loom's five threads: it leaves four.
//!
//! A [`SignalQueue`](crate::sigqueue::SignalQueue) has the 64 signals of Linux, 35 and above
//! real-time, and all its records; each comes to be when it is first touched, so what a program does
//! not use it does not pay for. Enable a signal before the threads start: a number that is first
//! touched while another thread looks for pending ones may be left out of that look.
//! `examples/model_a_handler.rs` explores such a program.
//!
//! # A hostile system
//!
//! Models that cost little are explored on it too in the plain run, as `NAME: hostile`; a model in which nothing
//! sleeps on a word, and no two signals are pending at once, is the same there. `.ci/hostile` takes all models, each
//! at its own bound, and all controls. The 363 of which both were counted have 4.5 times the executions there: for all
//! that is some 30 minutes of one processor, by what an execution costs; it was not run in one go. The 20 longest ones
//! have not been explored so to their end. Of the models of a protocol none says `hostile(0)`; those of the kernel do
//! whose claim is what a friendly system does.
//!
//! `loom_tests/hostile.rs` has a program for each way in which a system is hostile, with what makes up for it and
//! without: the one passes, the other fails there, and passes on a friendly system.
//!
//! # Limits
//!
//! - Up to six interruptions of an execution have a flight; later ones land at the next step.
//! - Of `siginfo` the value alone, of signals sent to a thread.
//! - The only system call that a signal ends early is a sleep on a word, on a hostile system.
//! - Locks and joins of the model are friendly on a hostile system too: they wait again by themselves, and hand over in
//!   order of arrival.
//! - What was rung for the thread of [`Kernel::chooses`] alone is told to no other when that one ends.
//! - A thread that masks everything is not suspended until it unmasks something, or sleeps.
//! - What loom does not see, this does not: compiler reordering against a handler, load
//!   buffering, `SeqCst` accesses (they count as acquire and release).
//!
//! Left out, as it shows no more than what is there:
//!
//! - Stop and continue: who is stopped takes no steps, as one that loom does not run. A sleep that ends by it is one
//!   that ends for no reason.
//! - vfork: the closure of [`Kernel::fork`] runs in the parent's memory and in the place of its thread already.
//! - exec: nothing that a protocol keeps outlasts it.
//! - Signals pending for a thread that ends: they are gone with it, as here.
//!
//! Left out, as no handler of this crate is concerned; a program of yours that depends on it is not checked:
//!
//! - Handlers that are left by unwinding or longjmp: each returns here. Ours are never left: what they call must not
//!   unwind, and while one runs all but faults is masked, so no handler of others, which may be left, stands above
//!   it. Who leaves a frame of the program by one forgets what that frame held, and forgotten parts are modelled
//!   (`all_threads::forgotten_member_leaves`, `preempt::forgotten_thread_acknowledges`); in the middle of a call into
//!   this crate it is undefined, as in the middle of any that is not async-signal-safe.
//! - Cancellation of threads: its signal is masked in our handlers, as all of the C library's are, and the deferred
//!   kind acts in calls of the C library that block, where this crate's sleeps on Linux are none. What it unwinds
//!   is dropped as a panic drops it. The asynchronous kind is undefined for Rust.
//! - A full queue of signals (`RLIMIT_SIGPENDING`): [`Kernel::queue`] refuses for a thread that has ended, and for
//!   nothing else. What the gate makes of a refusal is modelled by backends that refuse
//!   (`preempt::request_always_acknowledged`); sending again from a handler, and signals that come unmarked for want
//!   of room, are tried on the real kernel (`sys::tests::contested`, `neighbours::threads::no_room_for_signals`).
//!
//! Left out, and a program that depends on it is not checked:
//!
//! - Stacks that run out: handlers nest as deep as the signals of the execution go.
//!
//! # Environment
//!
//! | variable | effect |
//! |---|---|
//! | `PORTCULLIS_BOUND=4`, `=none` | raises every model's preemption bound, never lowers it |
//! | `PORTCULLIS_PROCESSES=8` | explores each model by so many processes; says how far it has come |
//! | `PORTCULLIS_RESUME=directory` | the same; what was interrupted goes on from what is kept there |
//! | `PORTCULLIS_RANDOM=60` | random walks for so many seconds: see below |
//! | `PORTCULLIS_SEED=7` | the first walk's seed, as a failure names it; alone, this one walk |
//! | `PORTCULLIS_SHRINK=60` | so many seconds to look for a smaller failure, 5 by default; 0 shows the first |
//! | `PORTCULLIS_HOSTILE=1`, up to 3 | the system is hostile so often in each execution; see [`Model::hostile`] |
//! | `PORTCULLIS_LANES=1` | controls print the lanes of what they found; models always do |
//! | `PORTCULLIS_PICTURE=directory` | writes each failing execution, the smallest that is found, as `NAME.svg` there |
//! | `PORTCULLIS_LEDGER=file` | appends kind, name, actors, bound, executions, seconds |
//!
//! Several processes explore the executions that one would, and as many. Controls are explored by one.
//!
//! Random walks go past the bound of a model whose exploration does not end without one. They take
//! the place of the bounded exploration; models without a bound are explored as ever, for that shows
//! more. Controls are walked first, and explored if that finds nothing.

pub mod atomic;
pub mod cell;
pub mod futex;
pub(crate) mod hook;
pub(crate) mod lock;
pub mod sync;
pub mod thread;

mod again;
mod cause;
mod check;
mod control;
mod deliver;
mod disposition;
mod edges;
mod explore;
mod flight;
mod fork;
mod hostile;
mod kernel;
mod lanes;
mod part;
mod path;
mod picture;
mod pointers;
mod random;
mod report;
mod resume;
mod shrink;
mod signals;
mod source;
mod split;
mod state;
mod suspend;
mod words;

pub use check::{Bound, Model};
pub use control::Control;
pub use disposition::{Disposition, Handler, Info};
pub use kernel::{How, Kernel, Outcome};
pub use signals::{SigSet, Signal, sig};
pub use suspend::ThreadHandle;

pub use loom::{lazy_static, thread_local};

use core::panic::Location;
use lanes::Detail;
use state::Run;

/// Heads the calling thread's lane.
pub fn name_thread(name: impl Into<String>) {
    let run = Run::expect();
    let me = run.me();
    run.borrow().threads[me].name = name.into();
}

/// Writes a remark into the calling thread's lane.
#[track_caller]
pub fn say(text: impl Into<String>) {
    let run = Run::expect();
    run.row(run.me(), "--", Detail::Text(text.into()), Location::caller());
}

/// Fails the model with `reason`, unless the calling thread's process has died.
#[track_caller]
pub fn violation(reason: impl Into<String>) {
    let run = Run::expect();
    let me = run.me();
    let alive = run.words().is_none() || run.borrow().process_of(me).outcome == Outcome::Running;
    if alive {
        let reason = reason.into();
        run.row(me, "!!", Detail::Text(reason.clone()), Location::caller());
        panic!("{reason}");
    }
}

/// Says that the calling thread counts as attached to the runtime, or no longer. While it does,
/// each of its handlers must run on its alternate signal stack.
pub fn set_attached(attached: bool) {
    let run = Run::expect();
    let me = run.me();
    run.borrow().threads[me].attached = attached;
}

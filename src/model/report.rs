//! What a failing execution says: its reason, its number, its lanes.

use super::lanes::Row;
use super::picture::{self, Picture};
use super::state::{Inner, Run};
use super::{cause, check, lanes, shrink};
use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Once};

/// Exit code of a child process whose control failed as a control should.
pub(super) const FOUND: i32 = 86;
/// Marks in what such a child prints.
pub(super) const BEGIN: &str = "-- control found --";
pub(super) const END: &str = "-- end of control --";

/// The reason if nobody can go on.
const DEADLOCK: &str = "deadlock: every thread is asleep";

/// Rows that are interruptions of what runs.
const INTERRUPTIONS: [&str; 3] = ["> handler of", "= stopped", "= barrier"];

thread_local! {
    static WATCHED: RefCell<Option<Watched>> = const { RefCell::new(None) };
}

struct Watched {
    name: String,
    executions: Arc<AtomicUsize>,
    /// What is to be known of how the execution came to be.
    note: String,
    reported: bool,
    /// Failures are kept, not said.
    keeps: bool,
    kept: Option<Failure>,
}

/// What is to be said of a failing execution.
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) at: String,
    /// Where each thread stands.
    pub(super) standing: String,
    pub(super) lanes: String,
    pub(super) interruptions: usize,
    pub(super) steps: usize,
    rows: Vec<Row>,
    threads: Vec<String>,
}

/// While it lives, the first panic on this system thread is reported as the model's failure.
pub(super) struct Watch;

impl Watch {
    pub(super) fn start(name: &str, executions: Arc<AtomicUsize>) -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if !report(info) {
                    previous(info);
                }
            }));
        });
        WATCHED.set(Some(Watched {
            name: name.to_owned(),
            executions,
            note: String::new(),
            reported: false,
            keeps: false,
            kept: None,
        }));
        Self
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.set(None);
        Run::end();
    }
}

/// Of the exploration on this system thread.
fn watched<T>(use_it: impl FnOnce(&mut Watched) -> T) -> T {
    WATCHED.with_borrow_mut(|watched| use_it(watched.as_mut().expect("an exploration")))
}

/// Says how the executions that follow come to be.
pub(super) fn note(note: &str) {
    watched(|watched| watched.note = note.to_owned());
}

/// Failures are kept from now on, to be taken.
pub(super) fn keep() {
    watched(|watched| watched.keeps = true);
}

/// Takes the failure that was kept; the exploration may go on to the next.
pub(super) fn take() -> Option<Failure> {
    watched(|watched| {
        watched.reported = false;
        watched.kept.take()
    })
}

/// Whether the exploration on this system thread has had a failure.
pub(super) fn reported() -> bool {
    WATCHED.with_borrow(|watched| watched.as_ref().is_some_and(|watched| watched.reported))
}

/// True if the panic was a model's.
fn report(info: &PanicHookInfo<'_>) -> bool {
    WATCHED.with_borrow_mut(|watched| {
        let Some(watched) = watched else { return false };
        // loom ends the other threads of a failed execution by unwinding them.
        if core::mem::replace(&mut watched.reported, true) {
            return true;
        }
        let failure = Failure::of(info);
        if watched.keeps {
            watched.kept = Some(failure);
        } else if super::control::in_child() {
            watched.hand_over(failure);
        } else {
            watched.say(failure);
        }
        true
    })
}

impl Watched {
    /// To the process that looks for this failure.
    fn hand_over(&self, mut failure: Failure) -> ! {
        if picture::wanted(&self.name).is_some() {
            let name = self.name.clone();
            // The stacks of loom's threads are small.
            let drawn = std::thread::spawn(move || {
                failure.draw(&name);
                failure
            });
            failure = drawn.join().expect("a picture is drawn");
        }
        let executions = self.executions.load(Relaxed);
        let reason = failure.reason.replace('\n', " / ");
        let (at, note, lanes) = (&failure.at, &self.note, &failure.lanes);
        let standing = failure.standing.replace('\n', " / ");
        check::say(&format!(
            "{BEGIN}\n{executions}\n{reason}\n{at}\n{note}\n{standing}\n{lanes}{END}"
        ));
        // The test harness must not see this: the exit code is the answer.
        std::process::exit(FOUND);
    }

    /// The smallest failure like it, if there is one.
    fn say(&self, failure: Failure) {
        let note = if self.note.is_empty() { String::new() } else { format!(" ({})", self.note) };
        let executions = self.executions.load(Relaxed);
        let head = format!("model {}: FAILED in execution {executions}{note}", self.name);
        let command = shrink::command(&self.name, &failure.reason);
        let name = self.name.clone();
        // The stacks of loom's threads are small.
        let said = std::thread::spawn(move || {
            failure.draw(&name);
            let Failure { reason, at, lanes, .. } = failure;
            match command.and_then(shrink::run) {
                Some(smallest) => {
                    let (at, lanes) = (&smallest.at, &smallest.lanes);
                    check::say(&format!("{head}; {smallest}: {reason}\n  at {at}\n{lanes}"));
                }
                None => check::say(&format!("{head}: {reason}\n  at {at}\n{lanes}")),
            }
            say_where(&name);
        });
        let _ = said.join();
    }
}

/// Says where the picture of the model `name` is, if there is one.
pub(super) fn say_where(name: &str) {
    if let Some(path) = picture::wanted(name) {
        check::say(&format!("picture: {}", path.display()));
    }
}

impl Failure {
    fn of(info: &PanicHookInfo<'_>) -> Self {
        let mut failure = Self {
            reason: reason(info),
            at: info.location().map(|at| at.to_string()).unwrap_or_default(),
            standing: String::new(),
            lanes: String::new(),
            interruptions: 0,
            steps: 0,
            rows: Vec::new(),
            threads: Vec::new(),
        };
        if let Some(run) = Run::current()
            && let Some(mut inner) = run.try_borrow()
        {
            failure.standing = lanes::standing(&inner);
            failure.rows = core::mem::take(&mut inner.rows);
            failure.threads = inner.threads.iter().map(|thread| thread.name.clone()).collect();
            let interruptions = failure.rows.iter().filter(|row| INTERRUPTIONS.contains(&row.op));
            failure.interruptions = interruptions.count();
            failure.steps = failure.rows.len();
            if failure.reason.starts_with(DEADLOCK) {
                failure.rows.extend(cause::waiting(&inner));
            }
            failure.lanes = lanes::render(&failure.rows, &failure.threads);
        }
        failure
    }

    /// Its picture, where pictures are wanted: a failure of the model `name`.
    pub(super) fn draw(&self, name: &str) {
        let Some(path) = picture::wanted(name) else { return };
        let reason = self.reason.replace('\n', " / ");
        let reason = reason.split(" (thread").next().unwrap_or_default();
        let drawn = Picture { name, reason, rows: &self.rows, threads: &self.threads };
        if let Err(error) = drawn.write(&path) {
            check::say(&format!("no picture {}: {error}", path.display()));
        }
    }
}

fn reason(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("panic without a message");
    if text.starts_with("deadlock; threads") {
        return DEADLOCK.to_owned();
    }
    if text.starts_with("Model exceeded maximum number of branches") {
        let spins = Run::current().and_then(|run| run.try_borrow().and_then(|inner| spins(&inner)));
        return format!("no progress (branch limit){}", spins.unwrap_or_default());
    }
    text.trim().to_owned()
}

/// How many rows of one handler, and no others, are a loop of its.
const LOOP: usize = 100;

/// A handler that waits in a loop: for what the code below it may have to do, which stands still.
fn spins(inner: &Inner) -> Option<String> {
    let last = inner.rows.last()?;
    let mut tail = inner.rows.iter().rev().take(LOOP);
    let alone = tail.all(|row| row.slot == last.slot && row.depth > 0);
    let frame = inner.threads[last.slot].frames.last()?;
    (alone && inner.rows.len() >= LOOP).then(|| {
        format!(
            ": the handler of {} on \"{}\" spins at {}, for what the code that it interrupted at {} may have to do",
            super::signals::name(frame.signal),
            inner.threads[last.slot].name,
            lanes::place(last.at),
            lanes::place(frame.interrupted),
        )
    })
}

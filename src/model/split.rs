//! One exploration by several processes.
//!
//! The coordinator keeps the parts that are to be explored, hands them to workers, and sees to it that
//! none is explored twice: the executions are those of a single process. What it keeps it also writes to
//! a file, if told where, so that an exploration that was interrupted goes on from there.

use super::again;
use super::check::{Model, say};
use super::explore::Explorer;
use super::part::{Answer, Part, Task};
use super::random::variable;
use super::report;
use super::resume::{File, State};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tells a process for which model it is to work.
const WORKER: &str = "PORTCULLIS_WORKER";
/// Begins an answer: others write into the same pipe.
const ANSWER: &str = "portcullis answers: ";
/// Seconds until a worker answers: soon if others wait, else seldom.
const SOON: f64 = 0.05;
const SELDOM: f64 = 0.5;
/// How often progress is said.
const PROGRESS: Duration = Duration::from_secs(10);

/// For which model this process is to work.
pub(super) fn works_for() -> Option<String> {
    std::env::var(WORKER).ok()
}

/// A worker's life: a task a line, an answer a line.
pub(super) fn work(model: &Model, program: impl Fn() + Send + Sync + 'static) {
    let explorer = Explorer::new(model, program);
    report::note("of one of several processes");
    for line in std::io::stdin().lines() {
        let line = line.expect("tasks are text");
        let task: Task = serde_json::from_str(&line).expect("a task");
        let answer = serde_json::to_string(&task.work(&explorer)).expect("plain data");
        println!("\n{ANSWER}{answer}");
    }
}

/// Explores `model` by several processes, if that is wanted and there can be any; returns the number of
/// executions, and the seconds they took.
pub(super) fn explore(model: &Model) -> Option<(usize, f64)> {
    let processes = variable("PORTCULLIS_PROCESSES");
    let file = File::wanted(&model.name, &model.bound_in_force().to_string());
    if processes.is_none() && file.is_none() {
        return None;
    }
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    let processes: usize = processes.unwrap_or_else(all).max(1);
    let workers: Option<Vec<Command>> =
        (0..processes).map(|_| again::command(WORKER, &model.name)).collect();
    let state = file.as_ref().and_then(File::read);
    let state =
        state.unwrap_or_else(|| State::new(Part::whole(model.bound_in_force().preemptions())));
    let coordinator = Coordinator {
        name: &model.name,
        processes,
        before: state.seconds,
        start: Instant::now(),
        shared: Mutex::new(Shared {
            running: vec![None; processes],
            state,
            file,
            failed: None,
            said: (Instant::now(), 1.0),
        }),
        changed: Condvar::new(),
    };
    coordinator.lock().begin();
    std::thread::scope(|scope| {
        for (number, command) in workers?.into_iter().enumerate() {
            let coordinator = &coordinator;
            scope.spawn(move || coordinator.lead(number, command));
        }
        Some(())
    })?;
    let shared = coordinator.lock();
    if let Some(failed) = &shared.failed {
        panic!("model {}: failed in a process of its own ({failed})", model.name);
    }
    if let Some(file) = &shared.file {
        file.remove();
    }
    Some((shared.state.executions, shared.state.seconds))
}

struct Coordinator<'a> {
    name: &'a str,
    processes: usize,
    /// Seconds that were spent before an interruption.
    before: f64,
    start: Instant,
    shared: Mutex<Shared>,
    changed: Condvar,
}

struct Shared {
    state: State,
    file: Option<File>,
    /// What the workers explore.
    running: Vec<Option<Part>>,
    failed: Option<String>,
    /// When progress was said, and what was left then.
    said: (Instant, f64),
}

impl Coordinator<'_> {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives tasks to one worker until there are none.
    fn lead(&self, number: usize, mut command: Command) {
        command.stdin(Stdio::piped()).stderr(Stdio::inherit());
        let mut worker = command.spawn().expect("tests can be run again");
        while let Some(task) = self.next(number) {
            if let Some(answer) = ask(&mut worker, &task) {
                self.note(number, answer);
            } else {
                let status = worker.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
                self.lock().failed = Some(status);
                self.changed.notify_all();
                return;
            }
        }
        // Its input ends, and so it does. If another one failed it may be busy for long.
        if self.lock().failed.is_some() {
            let _ = worker.kill();
        }
        drop(worker.stdin.take());
        let _ = worker.wait();
    }

    /// A part for a worker, as soon as there is one; none if there will be none.
    fn next(&self, number: usize) -> Option<Task> {
        let mut shared = self.lock();
        loop {
            if shared.failed.is_some() {
                return None;
            }
            if let Some(part) = shared.state.parts.pop_front() {
                shared.running[number] = Some(part.clone());
                let share = shared.state.parts.len() < self.processes;
                let seconds = if share { SOON } else { SELDOM };
                return Some(Task { part, seconds, share });
            }
            if shared.running.iter().all(Option::is_none) {
                self.changed.notify_all();
                return None;
            }
            shared = self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn note(&self, number: usize, answer: Answer) {
        let mut shared = self.lock();
        shared.running[number] = None;
        let state = &mut shared.state;
        state.add(answer);
        state.seconds = self.before + self.start.elapsed().as_secs_f64();
        self.changed.notify_all();
        if shared.said.0.elapsed() > PROGRESS {
            say(&format!("model {}: {}", self.name, shared.progress()));
        }
        if let Some(file) = &shared.file {
            file.write(&shared.state, shared.running.iter().flatten());
        }
    }
}

impl Shared {
    /// How long it will take is judged by what was done since this was said last: parts that are explored
    /// late are larger than they look.
    fn progress(&mut self) -> String {
        let left = self.left();
        let (said, before) = core::mem::replace(&mut self.said, (Instant::now(), left));
        let time = said.elapsed().as_secs_f64() * left / (before - left);
        let time =
            if time.is_finite() && time > 0.0 { format!("{time:.0} s") } else { "unknown".into() };
        // Rounded down: nothing is done before it is.
        let percent = (10_000.0 * (1.0 - left)).floor() / 100.0;
        let executions = self.state.executions;
        format!("{executions} executions, about {percent:.2} %, time left: {time}, by estimate")
    }

    fn begin(&mut self) {
        self.said.1 = self.left();
    }

    fn left(&self) -> f64 {
        let parts = self.state.parts.iter().chain(self.running.iter().flatten());
        parts.map(Part::left).sum::<f64>() / self.state.weight
    }
}

/// None if the worker has ended, as it does when the model fails.
fn ask(worker: &mut Child, task: &Task) -> Option<Answer> {
    let task = serde_json::to_string(task).expect("plain data");
    writeln!(worker.stdin.as_mut()?, "{task}").ok()?;
    let mut line = String::new();
    let mut lines = BufReader::new(worker.stdout.as_mut()?);
    while lines.read_line(&mut line).ok()? > 0 {
        if let Some(answer) = line.strip_prefix(ANSWER) {
            return Some(serde_json::from_str(answer).expect("an answer"));
        }
        line.clear();
    }
    None
}

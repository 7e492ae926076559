//! Runs models and says what was explored.

use super::explore::Explorer;
use super::random::Walks;
use super::{again, shrink, split};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How far a model is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Every execution.
    Exhaustive,
    /// Every execution in which threads are preempted at most so often.
    At(usize),
}

impl Bound {
    pub(super) fn preemptions(self) -> Option<usize> {
        match self {
            Self::Exhaustive => None,
            Self::At(bound) => Some(bound),
        }
    }
}

impl core::fmt::Display for Bound {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Exhaustive => write!(f, "exhaustive"),
            Self::At(bound) => write!(f, "bound {bound}"),
        }
    }
}

/// A model: a name, the bounds of its exploration and, in `check`, the program.
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) name: String,
    pub(super) actors: usize,
    bound: Bound,
    pub(super) max_branches: usize,
    max_duration: Option<Duration>,
    apart: bool,
    pub(super) hostile: Option<usize>,
}

/// Tells a process which model it is to explore.
const APART: &str = "PORTCULLIS_MODEL";
/// After it, it says how many executions there were.
const EXPLORED: &str = "explored: ";

impl Model {
    /// A model that is explored exhaustively unless told otherwise.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            actors: 0,
            bound: Bound::Exhaustive,
            max_branches: 20_000,
            max_duration: None,
            apart: false,
            hostile: None,
        }
    }

    /// How many threads take part, the main one included; for the ledger.
    #[must_use]
    pub fn actors(self, actors: usize) -> Self {
        Self { actors, ..self }
    }

    /// How far to explore. `PORTCULLIS_BOUND=4` or `=none` in the environment raises the bound
    /// of every model for a longer exploration, and never lowers it.
    #[must_use]
    pub fn bound(self, bound: Bound) -> Self {
        Self { bound, ..self }
    }

    /// How many steps one execution may have before it counts as making no progress.
    #[must_use]
    pub fn max_branches(self, max_branches: usize) -> Self {
        Self { max_branches, ..self }
    }

    /// Fails the model if its exploration takes longer.
    #[must_use]
    pub fn max_duration(self, max_duration: Duration) -> Self {
        Self { max_duration: Some(max_duration), ..self }
    }

    /// Explores in a process of its own, which runs the calling test alone: for long models. Each
    /// execution maps and unmaps stacks, and tests that do so at once in one process wait for each
    /// other: two long ones take twice the time. What `program` leaves behind is left in that process.
    /// Outside of libtest, and where it runs tests on the main thread, this changes nothing.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// Explores the model; returns the number of executions.
    ///
    /// # Panics
    ///
    /// If an execution fails, with the reason, after printing its lanes; and if the exploration
    /// was cut short. Any panic is a failure, even one that the program catches: raise one that is
    /// meant by `std::panic::resume_unwind`.
    pub fn check(self, program: impl Fn() + Send + Sync + 'static) -> usize {
        if let Some(name) = shrink::is_wanted() {
            if name == self.name {
                shrink::search(&self, program);
            }
            return 0;
        }
        if let Some(name) = split::works_for() {
            if name == self.name {
                split::work(&self, program);
            }
            return 0;
        }
        if let Some(executions) = self.explored_apart() {
            return executions;
        }
        let start = Instant::now();
        let walks = Walks::wanted().filter(|_| self.bound != Bound::Exhaustive);
        let (kind, how, executions, seconds) = if let Some(walks) = walks {
            let explorer = Explorer::new(&self, program);
            let how = format!("{} random walks", walks.take(&explorer));
            ("random", how, explorer.executions(), start.elapsed().as_secs_f64())
        } else {
            let alone = || (self.explore(program), start.elapsed().as_secs_f64());
            let (executions, seconds) = split::explore(&self).unwrap_or_else(alone);
            let limit = self.max_duration.unwrap_or(Duration::MAX);
            assert!(start.elapsed() < limit, "exploration cut: longer than {limit:?}");
            ("model", self.bound_in_force().to_string(), executions, seconds)
        };
        let name = &self.name;
        say(&format!("model {name}: {executions} executions, {how}, {seconds:.1} s"));
        ledger(name, self.actors, &how, executions, seconds, kind);
        if self.apart {
            println!("{EXPLORED}{executions}");
        }
        executions
    }

    fn explore(&self, program: impl Fn() + Send + Sync + 'static) -> usize {
        let explorer = Explorer::new(self, program);
        explorer.all(self.bound_in_force(), self.max_duration);
        explorer.executions()
    }

    /// In another process, unless this is it, or there can be none.
    fn explored_apart(&self) -> Option<usize> {
        if !self.apart {
            return None;
        }
        if let Ok(wanted) = std::env::var(APART) {
            return (wanted != self.name).then_some(0);
        }
        let mut again = again::command(APART, &self.name)?;
        let output = again.stderr(Stdio::inherit()).output().expect("tests can be run again");
        let (name, status) = (&self.name, output.status);
        assert!(status.success(), "model {name}: failed in a process of its own ({status})");
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().find_map(|line| line.split_once(EXPLORED)?.1.parse().ok())
    }

    pub(super) fn bound_in_force(&self) -> Bound {
        let Bound::At(bound) = self.bound else {
            return Bound::Exhaustive;
        };
        match std::env::var("PORTCULLIS_BOUND").as_deref() {
            Ok("none") => Bound::Exhaustive,
            Ok(raised) => {
                let raised = raised.parse().expect("PORTCULLIS_BOUND is a number or none");
                Bound::At(bound.max(raised))
            }
            Err(_) => Bound::At(bound),
        }
    }
}

/// Writes a line where libtest does not capture it.
pub(super) fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Appends a line to the file named by `PORTCULLIS_LEDGER`: tab-separated kind, name, actors,
/// bound, executions, seconds.
pub(super) fn ledger(
    name: &str,
    actors: usize,
    bound: &str,
    executions: usize,
    seconds: f64,
    kind: &str,
) {
    let Ok(path) = std::env::var("PORTCULLIS_LEDGER") else {
        return;
    };
    let line = format!("{kind}\t{name}\t{actors}\t{bound}\t{executions}\t{seconds:.2}\n");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    written.unwrap_or_else(|error| panic!("ledger {path}: {error}"));
}

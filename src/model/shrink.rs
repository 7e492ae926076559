//! The smallest failure: what is shown instead of the first one found.
//!
//! A process of its own looks for it, as a failing model may take its process along: with no preemption,
//! then one, and so on, until the model fails for the same reason; then by random walks near that bound,
//! for a failure with fewer preemptions, interruptions, or steps.

use super::again;
use super::check::{Bound, Model, say};
use super::explore::Explorer;
use super::path::Path;
use super::random::walk;
use super::report::{self, BEGIN, END, Failure};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

/// Tell a process which model it is to shrink, and how that fails.
const NAME: &str = "PORTCULLIS_SMALLEST";
const REASON: &str = "PORTCULLIS_SMALLEST_REASON";

/// Seconds for it, unless `PORTCULLIS_SHRINK` says otherwise.
const SECONDS: f64 = 5.0;
/// So many executions in vain end it: on the same program it ends with the same failure.
const IN_VAIN: usize = 3000;

/// The smallest failure that was found.
pub(super) struct Smallest {
    preemptions: usize,
    interruptions: usize,
    pub(super) at: String,
    pub(super) lanes: String,
}

impl core::fmt::Display for Smallest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let plural = |number| if number == 1 { "" } else { "s" };
        let (preemptions, signals) = (self.preemptions, self.interruptions);
        write!(f, "smallest found: {preemptions} preemption{}", plural(preemptions))?;
        write!(f, ", {signals} signal{}", plural(signals))
    }
}

/// A process that looks for the smallest failure of the model `name`; `None` where there can be none, or
/// none is wanted.
pub(super) fn command(name: &str, reason: &str) -> Option<Command> {
    if is_wanted().is_some() || seconds() <= 0.0 {
        return None;
    }
    let mut command = again::command(NAME, name)?;
    command.env(REASON, reason);
    Some(command)
}

/// Runs such a process; what it said last is the smallest.
pub(super) fn run(mut command: Command) -> Option<Smallest> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let (text, _) = text.rsplit_once(END)?;
    let (_, text) = text.rsplit_once(BEGIN)?;
    let mut lines = text.trim_start().splitn(4, '\n');
    Some(Smallest {
        preemptions: lines.next()?.parse().ok()?,
        interruptions: lines.next()?.parse().ok()?,
        at: lines.next()?.to_owned(),
        lanes: lines.next()?.to_owned(),
    })
}

/// The name of the model that this process is to shrink.
pub(super) fn is_wanted() -> Option<String> {
    std::env::var(NAME).ok()
}

/// Looks for the smallest failure of `model`; says each that is smaller than the one before.
pub(super) fn search(model: &Model, program: impl Fn() + Send + Sync + 'static) {
    let explorer = Explorer::new(model, program);
    report::keep();
    let reason = std::env::var(REASON).expect("set by the one who asked");
    let mut search = Search {
        model,
        explorer: &explorer,
        reason: kind(&reason),
        start: Instant::now(),
        found: None,
    };
    search.raise_bound(model.bound_in_force());
    search.walk();
}

struct Search<'a> {
    model: &'a Model,
    explorer: &'a Explorer,
    reason: String,
    start: Instant,
    found: Option<Found>,
}

struct Found {
    preemptions: usize,
    failure: Failure,
}

impl Found {
    fn size(&self) -> (usize, usize, usize) {
        (self.preemptions, self.failure.interruptions, self.failure.steps)
    }
}

impl Search<'_> {
    /// The fewest preemptions, in half of the time.
    fn raise_bound(&mut self, most: Bound) {
        let most = most.preemptions().unwrap_or(usize::from(u8::MAX));
        for bound in 0..=most {
            let half = Duration::from_secs_f64(seconds() / 2.0);
            let left = half.saturating_sub(self.start.elapsed());
            if left.is_zero() {
                return;
            }
            let explorer = self.explorer;
            if let Some(failure) = failure(|| explorer.all(Bound::At(bound), Some(left))) {
                if kind(&failure.reason) == self.reason {
                    self.keep(Found { preemptions: bound, failure });
                }
                return;
            }
        }
    }

    /// Fewer preemptions, interruptions or steps.
    fn walk(&mut self) {
        let explorer = self.explorer;
        let mut last = explorer.executions();
        for seed in 0.. {
            let late = self.start.elapsed().as_secs_f64() > seconds();
            if late || explorer.executions() - last >= IN_VAIN {
                return;
            }
            // A higher bound too: at its bound loom tries no other thread where one has to wait either,
            // though that is no preemption.
            let bound = self.found.as_ref().map(|found| found.preemptions);
            let bound = bound.map(|bound| (bound + seed as usize % 4).saturating_sub(1));
            let before = explorer.executions();
            let failed = failure(|| {
                if let Some(first) = explorer.some(&Path::root(bound), 1) {
                    walk(explorer, first, seed);
                }
            });
            let Some(failure) = failed.filter(|failed| kind(&failed.reason) == self.reason) else {
                continue;
            };
            let first = explorer.executions() == before + 1;
            let found = Found { preemptions: explorer.path().preemptions(), failure };
            if self.found.as_ref().is_none_or(|best| found.size() < best.size()) {
                self.keep(found);
                last = explorer.executions();
            }
            // Every walk begins with this one.
            if first {
                return;
            }
        }
    }

    fn keep(&mut self, found: Found) {
        found.failure.draw(&self.model.name);
        let preemptions = found.preemptions;
        let Failure { interruptions, at, lanes, .. } = &found.failure;
        say(&format!("{BEGIN}\n{preemptions}\n{interruptions}\n{at}\n{lanes}{END}"));
        self.found = Some(found);
    }
}

/// How `explore` fails, if it does.
fn failure(explore: impl FnOnce()) -> Option<Failure> {
    let panic = catch_unwind(AssertUnwindSafe(explore)).err()?;
    Some(report::take().unwrap_or_else(|| resume_unwind(panic)))
}

/// What failures for the same reason have in common.
fn kind(reason: &str) -> String {
    let reason = reason.replace('\n', " / ");
    // Where a handler spins, and whom it interrupted, may differ.
    let kind = reason.split(" (thread").next().and_then(|reason| reason.split(" spins at").next());
    kind.unwrap_or_default().to_owned()
}

fn seconds() -> f64 {
    super::random::variable("PORTCULLIS_SHRINK").unwrap_or(SECONDS)
}

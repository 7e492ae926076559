//! Negative controls: models that must be found failing.

use super::check::{Bound, Model, ledger, say};
use super::explore::Explorer;
use super::random::Walks;
use super::report::{BEGIN, END, FOUND, say_where};
use super::{again, picture, shrink};
use std::time::Instant;

const CHILD: &str = "PORTCULLIS_CONTROL";

/// A model that must fail, and why.
#[derive(Clone, Debug)]
pub struct Control {
    model: Model,
    expected: String,
    shows: Vec<String>,
    /// Threads, and where each stands.
    stands: Vec<(String, String)>,
}

impl Control {
    /// A control whose failure's reason must contain `expected`. Where that is a reason that any program may
    /// fail for, as "deadlock", [`stands`](Self::stands) or [`shows`](Self::shows) has to say more.
    #[must_use]
    pub fn new(name: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            model: Model::new(name),
            expected: expected.into(),
            shows: Vec::new(),
            stands: Vec::new(),
        }
    }

    /// See [`Model::actors`].
    #[must_use]
    pub fn actors(self, actors: usize) -> Self {
        Self { model: self.model.actors(actors), ..self }
    }

    /// See [`Model::bound`].
    #[must_use]
    pub fn bound(self, bound: Bound) -> Self {
        Self { model: self.model.bound(bound), ..self }
    }

    /// See [`Model::max_branches`].
    #[must_use]
    pub fn max_branches(self, max_branches: usize) -> Self {
        Self { model: self.model.max_branches(max_branches), ..self }
    }

    /// See [`Model::hostile`].
    #[must_use]
    pub fn hostile(self, times: usize) -> Self {
        Self { model: self.model.hostile(times), ..self }
    }

    /// What the lanes of the failure must show: the line at which it fails, say, or what was read there.
    #[must_use]
    pub fn shows(mut self, text: impl Into<String>) -> Self {
        self.shows.push(text.into());
        self
    }

    /// Where `thread` must stand when the model fails: the operation that it has begun, or its last one, with its
    /// place, must contain `text`: "futex wait: sleeps", "join at", "cell read at list.rs".
    #[must_use]
    pub fn stands(mut self, thread: impl Into<String>, text: impl Into<String>) -> Self {
        self.stands.push((thread.into(), text.into()));
        self
    }

    /// Looks for the failure, in a child process: a failing model may take its process along.
    /// The child runs this same test, so each control needs a test of its own. Returns the
    /// execution in which the failure was found.
    ///
    /// # Panics
    ///
    /// If no execution fails, or one fails for another reason, or with lanes that do not show what they must. If
    /// the control says no more of its failure than any program's could.
    pub fn check(self, program: impl Fn() + Send + Sync + 'static) -> usize {
        let name = self.model.name.clone();
        if let Some(wanted) = shrink::is_wanted() {
            if wanted == name {
                shrink::search(&self.model, program);
            }
            return 0;
        }
        if let Ok(wanted) = std::env::var(CHILD) {
            if wanted == name {
                let explorer = Explorer::new(&self.model, program);
                if let Some(walks) = Walks::wanted() {
                    walks.take(&explorer);
                }
                explorer.all(self.model.bound_in_force(), None);
            }
            return 0;
        }
        let start = Instant::now();
        let mut again = again::command(CHILD, &name).expect("libtest names its threads");
        let output = again.output().expect("tests can be run again");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(FOUND),
            "control {name}: NOT FOUND: the model should fail with \"{}\" and did not ({})\n{text}",
            self.expected,
            output.status,
        );
        let report = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
        let (report, _) = report.expect("the child reports what it found");
        let mut lines = report.trim_start().splitn(6, '\n');
        let executions: usize =
            lines.next().and_then(|line| line.parse().ok()).expect("a number of executions");
        let mut line = || lines.next().unwrap_or_default();
        let (reason, at, note, standing, lanes) = (line(), line(), line(), line(), line());
        assert!(
            reason.contains(&self.expected),
            "control {name}: failed for another reason than \"{}\": {reason}\n  at {at}\n{lanes}",
            self.expected,
        );
        assert!(lanes.lines().count() > 1, "control {name}: found, but without lanes");
        let names = !self.shows.is_empty() || !self.stands.is_empty();
        assert!(
            names || !is_anybodys(&self.expected),
            "control {name}: names neither a line nor a claim, and any program may fail with \"{}\"; where the \
             threads stand: {standing}\n{lanes}",
            self.expected,
        );
        for text in &self.shows {
            assert!(lanes.contains(text), "control {name}: lanes without \"{text}\"\n{lanes}");
        }
        for (thread, text) in &self.stands {
            let there = standing.split("; ").any(|stands| {
                stands
                    .strip_prefix(thread.as_str())
                    .and_then(|rest| rest.strip_prefix(": "))
                    .is_some_and(|rest| rest.contains(text))
            });
            assert!(
                there,
                "control {name}: \"{thread}\" does not stand at \"{text}\": {standing}\n{lanes}"
            );
        }
        let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
        let mut how = format!("after {executions} executions{note}");
        let mut lanes = lanes.to_owned();
        let shown = std::env::var_os("PORTCULLIS_LANES").is_some();
        let wanted = shown || picture::wanted(&name).is_some();
        if let Some(command) = shrink::command(&name, reason).filter(|_| wanted)
            && let Some(smallest) = shrink::run(command)
        {
            how = format!("{how}; {smallest}");
            lanes = smallest.lanes;
        }
        let reason = reason.split(" (thread").next().unwrap_or(reason);
        say(&format!("control {name}: found {how}: {reason}"));
        if shown {
            say(&lanes);
        }
        say_where(&name);
        let seconds = start.elapsed().as_secs_f64();
        ledger(&name, self.model.actors, reason, executions, seconds, "control");
        executions
    }
}

/// Reasons for which any program may fail.
const ANYBODYS: [&str; 8] = [
    "deadlock: every thread is asleep",
    "no progress (branch limit)",
    "Causality violation: Concurrent read and write accesses",
    "Causality violation: Concurrent write accesses to `UnsafeCell`",
    "assertion `left == right` failed",
    "assertion `left != right` failed",
    "called `Option::unwrap()` on a `None` value",
    "called `Result::unwrap()` on an `Err` value",
];

/// Whether this is a part of such a reason, and no more.
fn is_anybodys(expected: &str) -> bool {
    ANYBODYS.iter().any(|reason| reason.contains(expected))
}

/// Whether this process was started to run one control.
pub(super) fn in_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

//! A test program with all mutants in it: what each test reaches, and whether it fails with a mutant on.

use crate::mutant::hash;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// A test as it is without a mutant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Test {
    pub name: String,
    pub seconds: f64,
    /// It ended within the limit; if not, it may reach more than is known.
    pub ended: bool,
    pub reached: BTreeSet<usize>,
}

/// The models.
pub struct Stage {
    program: PathBuf,
    scratch: PathBuf,
    pub tests: Vec<Test>,
}

/// What a test did with a mutant on.
pub enum Outcome {
    Passed,
    /// By which model, in which execution, for which reason.
    Failed(String),
    NotEnded,
}

impl Stage {
    /// Runs every test once without a mutant, unless that was done for the same program. Left out are those
    /// that fail or reach no mutant, and controls: a control that fails says nothing.
    pub fn new(program: PathBuf, work: &Path, fingerprint: u64, limit: u64) -> Self {
        let scratch = work.join("models");
        fs::create_dir_all(&scratch).unwrap();
        let mut stage = Self { program, scratch, tests: Vec::new() };
        let known = work.join("models-baseline.tsv");
        let head = format!("{fingerprint:x} {limit}");
        let text = fs::read_to_string(&known).unwrap_or_default();
        if text.lines().next() != Some(&head) {
            let lines = stage.baseline(limit);
            fs::write(&known, format!("{head}\n{lines}")).unwrap();
        }
        stage.tests = fs::read_to_string(&known).unwrap().lines().skip(1).map(read).collect();
        stage.tests.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        stage
    }

    pub fn without_baseline(program: PathBuf, work: &Path) -> Self {
        Self { program, scratch: work.join("models"), tests: Vec::new() }
    }

    fn baseline(&self, limit: u64) -> String {
        let list = Command::new(&self.program).arg("--list").output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        let names: Vec<_> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
        eprintln!("{} tests without a mutant", names.len());
        let lines = crate::run::two_at_a_time(&names, |name| self.without(name, limit));
        lines.into_iter().flatten().collect()
    }

    fn without(&self, name: &str, limit: u64) -> Option<String> {
        let file = |kind: &str| self.scratch.join(format!("{:x}.{kind}", hash(name)));
        let (reached, ledger) = (file("reached"), file("ledger"));
        let _ = (fs::remove_file(&reached), fs::remove_file(&ledger));
        let start = Instant::now();
        let mut command = self.command(name, limit, &reached);
        let output = command
            .env("PORTCULLIS_MUTANT", "reach")
            .env("PORTCULLIS_LEDGER", &ledger)
            .output()
            .unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let ended = seconds < limit as f64;
        let bytes = fs::read(&reached).unwrap_or_default();
        let ids =
            bytes.chunks_exact(4).map(|id| u32::from_le_bytes(id.try_into().unwrap()) as usize);
        let ids: BTreeSet<_> = ids.collect();
        let models = fs::read_to_string(&ledger).unwrap_or_default();
        let control = models.lines().any(|line| line.starts_with("control"));
        if (ids.is_empty() && ended) || control || (ended && !output.status.success()) {
            return None;
        }
        let ids: Vec<_> = ids.iter().map(usize::to_string).collect();
        Some(format!("{name}\t{seconds:.2}\t{ended}\t{}\n", ids.join(" ")))
    }

    /// One test, alone in a process that is ended by force after `limit` seconds.
    fn command(&self, test: &str, limit: u64, reached: &Path) -> Command {
        let mut command = Command::new("bash");
        // A mutant may allocate without end.
        let script = "ulimit -v 8000000; exec 77>>\"$1\"; exec timeout -s KILL \"$2\" \"$3\" --exact \"$4\" --nocapture --test-threads=1";
        command
            .args(["-c", script, "bash"])
            .arg(reached)
            .arg(limit.to_string())
            .arg(&self.program)
            .arg(test);
        command.current_dir(self.program.ancestors().nth(4).unwrap().join("tree"));
        command
    }

    pub fn with(&self, test: &Test, mutant: usize, limit: u64) -> Outcome {
        let start = Instant::now();
        let mut command = self.command(&test.name, limit, Path::new("/dev/null"));
        // The first failure is enough.
        command.env("PORTCULLIS_SHRINK", "0");
        let output = command.env("PORTCULLIS_MUTANT", mutant.to_string()).output().unwrap();
        if output.status.success() {
            return Outcome::Passed;
        }
        if start.elapsed().as_secs_f64() >= limit as f64 {
            return Outcome::NotEnded;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        match reason(&said) {
            Some(reason) => Outcome::Failed(reason),
            // A control does not find what it should, say: that is no verdict on the mutant.
            None => Outcome::Passed,
        }
    }
}

/// One line of what a failing model said; `None` if no model says that it failed.
fn reason(said: &str) -> Option<String> {
    let short = |text: &str| text.chars().take(140).collect::<String>().replace('|', "/");
    let mut models = said.lines().filter_map(|line| line.strip_prefix("model "));
    let (model, how) = models.find_map(|line| line.split_once(": FAILED in "))?;
    let mut how = how.trim_end().to_owned();
    // The reason of an assertion is in the lines below.
    let after = said.split(": FAILED in ").nth(1).unwrap_or_default().lines().skip(1);
    for line in after.take(2).filter(|line| {
        line.trim_start().starts_with("left:") || line.trim_start().starts_with("right:")
    }) {
        how = format!("{how}, {}", line.trim());
    }
    Some(format!("`{model}`: {}", short(&how)))
}

fn read(line: &str) -> Test {
    let mut parts = line.split('\t');
    let mut next = || parts.next().unwrap();
    Test {
        name: next().to_owned(),
        seconds: next().parse().unwrap(),
        ended: next() == "true",
        reached: next()
            .split(' ')
            .filter(|id| !id.is_empty())
            .map(|id| id.parse().unwrap())
            .collect(),
    }
}

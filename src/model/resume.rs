//! What is known of an exploration, and the file that keeps it over interruptions.

use super::check::say;
use super::part::{Answer, Part};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// How far an exploration has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) executions: usize,
    pub(super) seconds: f64,
    /// That of all parts, explored or not.
    pub(super) weight: f64,
    pub(super) parts: VecDeque<Part>,
    /// Of every part that there was.
    keys: HashSet<String>,
}

impl State {
    pub(super) fn new(whole: Part) -> Self {
        let keys = HashSet::from([whole.key()]);
        Self { executions: 0, seconds: 0.0, weight: 1.0, parts: [whole].into(), keys }
    }

    pub(super) fn add(&mut self, answer: Answer) {
        self.executions += answer.executions;
        self.parts.extend(answer.rest);
        for part in answer.shared {
            let fresh = self.keys.insert(part.key());
            assert!(fresh, "a part was found before it was shared");
            self.parts.push_back(part);
        }
        for part in answer.found {
            if self.keys.insert(part.key()) {
                self.weight += part.weight();
                self.parts.push_back(part);
            }
        }
    }
}

/// Where it is kept.
pub(super) struct File {
    path: PathBuf,
    /// What the exploration is of: of anything else, or by another program, nothing is taken up.
    of: String,
    /// When it is to be written again.
    next: Cell<Option<Instant>>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    of: String,
    state: State,
}

impl File {
    /// In the directory `PORTCULLIS_RESUME`.
    pub(super) fn wanted(model: &str, bound: &str) -> Option<Self> {
        let directory = PathBuf::from(std::env::var_os("PORTCULLIS_RESUME")?);
        std::fs::create_dir_all(&directory).expect("PORTCULLIS_RESUME is a directory");
        let name: String =
            model.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let path = directory.join(format!("{name}.json"));
        Some(Self { path, of: format!("{model}, {bound}, {}", program()), next: Cell::new(None) })
    }

    /// What was kept when the exploration was interrupted.
    pub(super) fn read(&self) -> Option<State> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        let kept: Kept = serde_json::from_str(&text).ok()?;
        let path = self.path.display();
        if kept.of != self.of {
            say(&format!("{path} is of another exploration, and begun anew"));
            return None;
        }
        let State { executions, seconds, .. } = kept.state;
        say(&format!("{path}: goes on after {executions} executions, {seconds:.0} s"));
        Some(kept.state)
    }

    /// What workers were about to do is to be done again.
    ///
    /// Not each time: it may be much that is to be written.
    pub(super) fn write<'a>(&self, state: &State, running: impl Iterator<Item = &'a Part>) {
        let start = Instant::now();
        if self.next.get().is_some_and(|next| start < next) {
            return;
        }
        let mut state = state.clone();
        state.parts.extend(running.cloned());
        let text = serde_json::to_string(&Kept { of: self.of.clone(), state });
        // Renamed when it is whole: an interruption may come at any moment.
        let new = self.path.with_extension("new");
        let written = std::fs::write(&new, text.expect("plain data"));
        let written = written.and_then(|()| std::fs::rename(&new, &self.path));
        written.unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        let pause = (20 * start.elapsed()).max(Duration::from_millis(200));
        self.next.set(Some(Instant::now() + pause));
    }

    pub(super) fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Changes whenever the program is built anew.
fn program() -> String {
    let file = std::env::current_exe().and_then(std::fs::metadata);
    let built = file.and_then(|file| Ok((file.len(), file.modified()?)));
    built.map_or_else(
        |error| error.to_string(),
        |(size, time)| {
            let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("{size} bytes of {time:?}")
        },
    )
}

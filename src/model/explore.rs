//! Executions of a program, all of them or some.

use super::check::{Bound, Model};
use super::hostile::Hostility;
use super::path::Path;
use super::report::{self, Watch};
use super::state::Run;
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// A program under exploration. While it lives, panics on this system thread are the model's.
pub(super) struct Explorer {
    max_branches: usize,
    hostile: Hostility,
    program: Arc<dyn Fn() + Send + Sync>,
    executions: Arc<AtomicUsize>,
    /// Where loom leaves its path.
    file: PathBuf,
    /// Where the last exploration of some began, and how many executions there were before.
    began: RefCell<Option<(Path, usize)>>,
    _watch: Watch,
}

impl Explorer {
    pub(super) fn new(model: &Model, program: impl Fn() + Send + Sync + 'static) -> Self {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let executions = Arc::new(AtomicUsize::new(0));
        let number = FILES.fetch_add(1, Relaxed);
        let file = format!("portcullis-path-{}-{number}", std::process::id());
        Self {
            max_branches: model.max_branches,
            hostile: model.hostility(),
            program: Arc::new(program),
            file: memory().join(file),
            began: RefCell::new(None),
            _watch: Watch::start(&model.name, Arc::clone(&executions)),
            executions,
        }
    }

    /// How many executions there were.
    pub(super) fn executions(&self) -> usize {
        self.executions.load(Relaxed)
    }

    /// Every execution within `bound`; returns early, and quietly, when out of time.
    pub(super) fn all(&self, bound: Bound, limit: Option<Duration>) {
        let mut builder = self.builder();
        builder.max_duration = limit;
        builder.checkpoint_interval = if limit.is_some() { 1 } else { usize::MAX };
        builder.preemption_bound = bound.preemptions();
        builder.check(self.body(None));
    }

    /// `count` executions, the first as `path` has it; returns the path of the next one, unless all
    /// that `path` leaves open was explored.
    pub(super) fn some(&self, path: &Path, count: usize) -> Option<Path> {
        self.began.replace(Some((path.clone(), self.executions())));
        std::fs::write(&self.file, path.to_json()).expect("a file in memory can be written");
        let mut builder = self.builder();
        // loom looks at both, and writes the file, before each execution whose number is a
        // multiple of the interval.
        builder.checkpoint_interval = count + 1;
        builder.max_permutations = Some(count + 1);
        builder.checkpoint_file = Some(self.file.clone());
        builder.check(self.body(Some(self.file.clone())));
        let next = std::fs::read_to_string(&self.file).ok()?;
        Some(Path::from_json(&next))
    }

    /// The path of the last execution, one of `some`, that failed.
    pub(super) fn path(&self) -> Path {
        let (path, before) = self.began.take().expect("some were explored");
        match self.executions() - before {
            1 => path,
            count => self.some(&path, count - 1).expect("one more"),
        }
    }

    fn builder(&self) -> loom::model::Builder {
        let mut builder = loom::model::Builder::new();
        builder.max_branches = self.max_branches;
        builder.max_duration = None;
        builder.max_permutations = None;
        builder.checkpoint_file = None;
        builder
    }

    /// One execution. `read` has been read when the first begins; if it is there afterwards, loom has
    /// written it.
    fn body(&self, read: Option<PathBuf>) -> impl Fn() + Send + Sync + 'static {
        let program = Arc::clone(&self.program);
        let count = Arc::clone(&self.executions);
        let before = count.load(Relaxed);
        let hostile = self.hostile;
        move || {
            if count.fetch_add(1, Relaxed) == before
                && let Some(read) = &read
            {
                std::fs::remove_file(read).expect("it was read");
            }
            Run::begin();
            let run = Run::expect();
            super::hostile::prepare(&run, hostile);
            program();
            super::thread::exit(&run, 0, core::panic::Location::caller());
            run.borrow().threads[0].over = true;
            assert!(!report::reported(), "the program caught its own failure");
        }
    }
}

impl Drop for Explorer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// A directory that costs no disk, where there is one.
fn memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}

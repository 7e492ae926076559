//! The rules of the house that a reader of one file cannot see broken.

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file below a folder of the repository.
pub(super) fn rust_files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => walk(&path, found),
                path if path.extension().is_some_and(|ext| ext == "rs") => found.push(path),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    assert!(!found.is_empty(), "no files below {folder}");
    found
}

fn shipped() -> impl Iterator<Item = (PathBuf, String)> {
    let own = |path: &PathBuf| !path.components().any(|part| part.as_os_str() == "tests");
    rust_files("src").into_iter().filter(own).map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    })
}

fn is_code(line: &str) -> bool {
    !line.trim_start().starts_with("//")
}

/// `src/sync.rs` alone names loom or core's atomics. The simulated kernel, which stands on loom and
/// is not shipped, may.
#[test]
fn only_the_facade_names_atomics() {
    for (path, text) in shipped() {
        if path.ends_with("sync.rs") || path.components().any(|part| part.as_os_str() == "model") {
            continue;
        }
        for (number, line) in text.lines().enumerate().filter(|(_, line)| is_code(line)) {
            let named = ["sync::atomic", "loom::"].iter().any(|name| line.contains(name));
            assert!(!named, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

const OPERATIONS: [&str; 7] =
    [".load(", ".store(", ".swap(", ".compare_exchange(", ".fetch_", "fence(", ".fetch_or("];
const ORDERS: [&str; 4] = ["Relaxed", "Acquire", "Release", "AcqRel"];

/// Every atomic operation says which edge it carries, no further than a dozen lines above it.
#[test]
fn every_ordering_is_explained() {
    for (path, text) in shipped() {
        if path.ends_with("sync.rs") || path.components().any(|part| part.as_os_str() == "model") {
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| is_code(line)) {
            let operation = OPERATIONS.iter().any(|name| line.contains(name))
                && ORDERS.iter().any(|order| line.contains(order));
            let above = &lines[number.saturating_sub(12)..number];
            let explained = above.iter().any(|line| line.contains("ORDERING:"));
            assert!(!operation || explained, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

#[test]
fn no_sequentially_consistent_access() {
    for (path, text) in shipped() {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| is_code(line)) {
            let bad = line.contains("SeqCst") && !line.contains("fence(");
            assert!(!bad, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

/// A protocol that cites an edge or an invariant states it, and states none that nobody cites.
#[test]
fn edges_and_invariants_are_stated() {
    for file in [
        "all_threads.rs",
        "attach.rs",
        "extra_list.rs",
        "note.rs",
        "preempt.rs",
        "records.rs",
        "sigqueue.rs",
        "world.rs",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
        let text = fs::read_to_string(&path).unwrap();
        let stated = |id: &str| text.contains(&format!("//! - {id}:"));
        for id in (1..=9).flat_map(|n| [format!("E{n}"), format!("I{n}")]) {
            let code = text.lines().filter(|line| !line.starts_with("//!"));
            let cited = code.clone().any(|line| line.contains(&format!("{id} ")));
            assert!(!cited || stated(&id), "{file} cites {id} and does not state it");
        }
    }
}

#[test]
fn files_are_short_enough_to_read() {
    for folder in ["src", "loom_tests", "tests", "examples", "benches"] {
        for path in rust_files(folder) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 500, "{} has {lines} lines", path.display());
        }
    }
}

/// Public enums and structs with public fields that are as they are for good.
const CLOSED: [&str; 8] = [
    // Three sets, as the kernel has had them since Linux 2.2; written out by its user.
    "Capabilities",
    // Two answers to one question.
    "Taker",
    // A name: these two, no more.
    "Ticket",
    // What was wrong, and nothing beside it.
    "NotInUse",
    "NoSuchSignal",
    // A number of the system's.
    "Errno",
    // One or the other of the two barriers.
    "Either",
    // A wrapper of somebody's allocator, made by its user.
    "Checked",
];

#[test]
fn what_may_grow_is_not_exhaustive() {
    let (mut seen, mut closed) = (0, Vec::new());
    for (path, text) in shipped() {
        if path.components().any(|part| ["model", "sys"].iter().any(|own| part.as_os_str() == *own))
        {
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((kind, rest)) = line.strip_prefix("pub ").and_then(|it| it.split_once(' '))
            else {
                continue;
            };
            let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            let body = lines[at..].iter().take_while(|line| !line.starts_with('}'));
            let shows =
                line.contains("(pub ") || body.clone().any(|line| line.starts_with("    pub "));
            if kind != "enum"
                && !(kind == "struct" && shows && !line.ends_with(';') || line.contains("(pub "))
            {
                continue;
            }
            seen += 1;
            let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
            let open = attributes.into_iter().any(|line| line.contains("non_exhaustive"));
            let known = CLOSED.contains(&name);
            if !open && !known {
                closed.push(format!("{}:{}: {name}", path.display(), at + 1));
            }
        }
    }
    assert!(closed.is_empty(), "{closed:#?}");
    assert!(seen > 20, "only {seen} were found");
}

/// A value that undoes something when it is dropped says so to who drops it at once.
#[test]
fn what_acts_when_it_is_dropped_must_be_used() {
    /// A value to be read, whose drop frees it and no more; a part of what says so itself.
    const OTHERS: [&str; 2] = ["Panic", "Back"];
    let mut seen = 0;
    for (path, text) in shipped() {
        if path.components().any(|part| ["model", "sys"].iter().any(|own| part.as_os_str() == *own))
        {
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        for line in
            lines.iter().filter(|line| line.starts_with("impl") && line.contains(" Drop for "))
        {
            let (_, rest) = line.split_once(" Drop for ").unwrap();
            let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap();
            let declared = ["<", " ", "("].map(|after| format!("pub struct {name}{after}"));
            let at = lines.iter().position(|line| declared.iter().any(|it| line.starts_with(it)));
            let Some(at) = at.filter(|_| !OTHERS.contains(&name)) else { continue };
            seen += 1;
            let mut attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
            let says = attributes.any(|line| line.starts_with("#[must_use = "));
            assert!(says, "{}:{}: {name} has no word for who drops it", path.display(), at + 1);
        }
    }
    assert!(seen >= 12, "only {seen} were found");
}

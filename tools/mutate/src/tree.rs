//! The copied tree: written with all mutants in, compiled once for the models and once for the plain tests.

use crate::find::find;
use crate::mutant::{Kind, Mutant, Source, Written, hash};
use crate::results::Results;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Not protocols: the facade, the simulated kernel, the system, tests, what is said to people; and the
/// backends of single systems, which no model reaches.
const LEFT_OUT: [&str; 15] = [
    "sync",
    "sync.rs",
    "model",
    "sys",
    "tests",
    "lib.rs",
    "error.rs",
    "windows.rs",
    "posix.rs",
    "linux",
    "linux.rs",
    "system.rs",
    "global.rs",
    "panic.rs",
    "ours.rs",
];

/// The checker runs fast; the protocols, which are changed, are built fast.
const MANIFEST: &str = "
[workspace]

[profile.test.package.\"*\"]
opt-level = 3
";

pub struct Tree {
    pub root: PathBuf,
    pub work: PathBuf,
    pub sources: Vec<Source>,
}

impl Tree {
    /// Every mutant of the protocol files below `root`.
    pub fn find(root: &Path) -> Self {
        let mut files = Vec::new();
        walk(&root.join("src"), &mut files);
        let own = |path: &PathBuf| {
            let relative = path.strip_prefix(root.join("src")).unwrap();
            !relative.components().any(|part| LEFT_OUT.iter().any(|name| part.as_os_str() == *name))
        };
        let mut sources: Vec<_> = files
            .into_iter()
            .filter(own)
            .map(|path| {
                let file = path.strip_prefix(root.join("src")).unwrap().to_str().unwrap();
                find(file, &fs::read_to_string(&path).unwrap())
            })
            .collect();
        let (mut id, mut seen) = (0, BTreeMap::new());
        for mutant in sources.iter_mut().flat_map(|source| &mut source.mutants) {
            id += 1;
            mutant.id = id;
            let times = seen.entry(mutant.key()).or_insert(0);
            mutant.nth = *times;
            *times += 1;
        }
        Self { root: root.to_owned(), work: root.join("target/mutate"), sources }
    }

    /// Leaves out what the compiler refused before.
    pub fn refuse(&mut self, results: &Results) {
        for mutant in self.sources.iter_mut().flat_map(|source| &mut source.mutants) {
            mutant.refused = results.of(mutant).is_some_and(|verdict| verdict.word == "refused");
        }
    }

    pub fn mutants(&self) -> impl Iterator<Item = &Mutant> {
        self.sources.iter().flat_map(|source| &source.mutants)
    }

    pub fn mutant_mut(&mut self, id: usize) -> &mut Mutant {
        self.sources
            .iter_mut()
            .flat_map(|source| &mut source.mutants)
            .find(|it| it.id == id)
            .unwrap()
    }

    /// Copies what is compiled, but for the files with mutants, and takes out of the manifest what is not
    /// copied. A file that is the same is left alone, so that nothing is built twice.
    pub fn copy(&self) {
        let tree = self.work.join("tree");
        let mut wanted = BTreeMap::new();
        for folder in
            ["src", "loom_tests", "docs", "proptest_regressions", "README.md", "Cargo.lock"]
        {
            let mut files = Vec::new();
            walk(&self.root.join(folder), &mut files);
            for path in files {
                let name = path.strip_prefix(&self.root).unwrap().to_owned();
                wanted.insert(name, fs::read(&path).unwrap());
            }
        }
        let manifest = fs::read_to_string(self.root.join("Cargo.toml")).unwrap();
        let left_out = ["[bench]]", "lints.", "lib]"];
        let kept = manifest
            .split("\n[")
            .filter(|table| !left_out.iter().any(|name| table.starts_with(name)));
        let manifest = kept.collect::<Vec<_>>().join("\n[") + MANIFEST;
        wanted.insert("Cargo.toml".into(), manifest.into_bytes());
        wanted.get_mut(Path::new("src/lib.rs")).unwrap().extend(b"\n#[cfg(test)]\nmod mutants;\n");
        let count = format!("\nconst COUNT: usize = {};\n", self.mutants().count() + 1);
        let switch = include_str!("switch.rs.txt").to_owned() + &count;
        wanted.insert("src/mutants.rs".into(), switch.into_bytes());
        let mut there = Vec::new();
        walk(&tree, &mut there);
        for path in there.iter().filter(|it| !wanted.contains_key(it.strip_prefix(&tree).unwrap()))
        {
            fs::remove_file(path).unwrap();
        }
        let mutated =
            |name: &Path| self.sources.iter().any(|it| name == Path::new("src").join(&it.file));
        for (name, bytes) in wanted.iter().filter(|(name, _)| !mutated(name)) {
            put(&tree.join(name), bytes);
        }
    }

    /// Writes the mutants in, leaving out one after the other those at which the compiler stops.
    pub fn write(&mut self, flags: &str) {
        loop {
            let mut written = BTreeMap::new();
            for source in &self.sources {
                let (text, places) = source.write();
                put(&self.work.join("tree/src").join(&source.file), text.as_bytes());
                written.insert(format!("src/{}", source.file), (text, places));
            }
            let check = ["check", "--lib", "--profile", "test", "--message-format=short"];
            let output = self.cargo(flags).args(check).output().expect("cargo can be run");
            if output.status.success() {
                return;
            }
            let said = String::from_utf8_lossy(&output.stderr);
            let mut refused = Vec::new();
            for line in said.lines().filter(|line| line.contains(": error")) {
                let steps = |id: usize| {
                    self.mutants()
                        .any(|it| it.id == id && matches!(it.kind, Kind::Drop | Kind::Swap))
                };
                refused.extend(at_fault(line, &written, steps));
            }
            refused.sort_unstable();
            refused.dedup();
            eprintln!("the compiler refuses {} mutants", refused.len());
            assert!(
                !refused.is_empty(),
                "the tree does not compile for a reason of its own:\n{said}"
            );
            for id in refused {
                self.mutant_mut(id).refused = true;
            }
        }
    }

    pub fn cargo(&self, flags: &str) -> Command {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(self.work.join("tree"))
            .env("CARGO_TARGET_DIR", self.work.join("target"))
            .env("CARGO_PROFILE_TEST_DEBUG", "0")
            .env("CARGO_PROFILE_TEST_INCREMENTAL", "false")
            .env(
                "CARGO_PROFILE_TEST_OPT_LEVEL",
                std::env::var("MUTATE_OPT").unwrap_or("1".to_owned()),
            )
            .env("RUSTFLAGS", format!("{flags} -Awarnings"));
        cargo
    }

    /// The test program with all mutants in.
    pub fn build(&self, flags: &str) -> PathBuf {
        let output = self
            .cargo(flags)
            .args(["test", "--lib", "--no-run"])
            .output()
            .expect("cargo can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let line = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("Executable unittests src/lib.rs ("));
        let program = line.expect("cargo names the program").trim_end_matches(')');
        self.work.join("tree").join(program)
    }

    /// Of all that is compiled.
    pub fn fingerprint(&self) -> u64 {
        let mut files = Vec::new();
        walk(&self.work.join("tree"), &mut files);
        files.sort();
        let code = files
            .iter()
            .filter(|path| path.extension().is_some_and(|ext| ext == "rs" || ext == "toml"));
        let hashes = code.map(|path| hash(&fs::read_to_string(path).unwrap()).to_string());
        hash(&hashes.collect::<Vec<_>>().join(" "))
    }
}

/// How far off a mutant may be that has moved a value, in bytes.
const NEAR: usize = 1000;

/// The mutants whose text an error is in; if it is in none, the innermost around it; if there is none, those
/// near it that leave out or move a statement with what the message names.
fn at_fault(
    line: &str,
    written: &BTreeMap<String, (String, Vec<Written>)>,
    steps: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let mut parts = line.split(':');
    let (Some(file), Some(row), Some(column)) = (parts.next(), parts.next(), parts.next()) else {
        return vec![];
    };
    let (Some((text, places)), Ok(row), Ok(column)) =
        (written.get(file), row.parse::<usize>(), column.parse::<usize>())
    else {
        return vec![];
    };
    let start: usize = text.split_inclusive('\n').take(row - 1).map(str::len).sum();
    let within = text[start..].char_indices().nth(column - 1).map_or(0, |(at, _)| at);
    let at = start + within;
    let own: Vec<_> = places
        .iter()
        .filter(|it| it.own.iter().any(|range| range.contains(&at)))
        .map(|it| it.id)
        .collect();
    if !own.is_empty() {
        return own;
    }
    let around =
        places.iter().filter(|it| it.around.contains(&at)).min_by_key(|it| it.around.len());
    if let Some(around) = around {
        return vec![around.id];
    }
    // A value that was moved: by those near that name it.
    let name = line.split('`').nth(1).unwrap_or_default();
    let near =
        |it: &&Written| it.around.start < at + NEAR && it.around.end + NEAR > at && steps(it.id);
    let near: Vec<_> = places.iter().filter(near).collect();
    let naming: Vec<_> =
        near.iter().filter(|it| text[it.around.clone()].contains(name)).map(|it| it.id).collect();
    if naming.is_empty() { near.iter().map(|it| it.id).collect() } else { naming }
}

pub fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.is_file() {
        found.push(folder.to_owned());
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

/// Writes a file, unless it is so already.
fn put(path: &Path, bytes: &[u8]) {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

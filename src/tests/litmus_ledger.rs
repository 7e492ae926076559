//! Every happens-before edge has a litmus test, and `docs/litmus.md` lists what each says. Whether herd7 says the same
//! is found by `.ci/litmus`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Edges as the heads of the sources state them: "sigqueue.rs E1".
fn stated() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut edges = BTreeSet::new();
    for path in super::tidy::rust_files("src") {
        let file = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        for line in fs::read_to_string(&path).unwrap().lines() {
            let Some((id, _)) = line.strip_prefix("//! - E").and_then(|it| it.split_once(':'))
            else {
                continue;
            };
            edges.insert(format!("{file} E{id}"));
        }
    }
    edges
}

struct Litmus {
    name: String,
    head: Vec<String>,
}

impl Litmus {
    fn is(&self, key: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
    }
}

fn tests() -> Vec<Litmus> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("litmus");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|ext| ext == "litmus"));
    files
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(text.starts_with(&format!("C {name}\n(*\n")), "{name} has another name inside");
            let head = text.lines().skip(2).take_while(|line| *line != "*)");
            Litmus { name, head: head.map(str::to_owned).collect() }
        })
        .collect()
}

#[test]
fn every_edge_has_a_litmus_test() {
    let (stated, tests) = (stated(), tests());
    assert!(stated.len() > 20, "only {stated:?} were found in the sources");
    let tested: BTreeSet<_> =
        tests.iter().filter_map(|test| test.is("edge")).map(str::to_owned).collect();
    let untested: Vec<_> = stated.difference(&tested).collect();
    assert!(untested.is_empty(), "without a test in litmus/: {untested:?}");
    let unstated: Vec<_> = tested.difference(&stated).collect();
    assert!(unstated.is_empty(), "of tests in litmus/, and not stated in src/: {unstated:?}");
}

#[test]
fn the_ledger_lists_every_verdict() {
    let (ledger, models) = (read("docs/litmus.md"), read("docs/models.md"));
    let mut rows = BTreeSet::new();
    for test in tests() {
        let name = &test.name;
        for key in ["what", "bad", "ships", "loom"] {
            assert!(test.is(key).is_some(), "{name} has no line `{key}: `");
        }
        let loom = test.is("loom").unwrap();
        let known = [format!("`{loom}`"), format!("`{loom}::right`")];
        let known = loom == "none" || known.iter().any(|model| models.contains(model));
        assert!(known, "{name} names {loom}, which docs/models.md does not");
        let verdicts = test.head.iter().filter_map(|line| line.split_once(": rc11 "));
        for (change, verdict) in verdicts {
            let change = if change == "ships" { "as it is" } else { change };
            let words: Vec<_> = verdict.split([' ', ',']).filter(|word| !word.is_empty()).collect();
            assert!(words.len() > 2 && words[1] == "c11", "{name}: {change}: {verdict}");
            rows.insert(format!("| `{name}` | {change} | {} | {} |", words[0], words[2]));
        }
    }
    assert!(rows.len() > 200, "only {} verdicts were found", rows.len());
    let missing: Vec<_> = rows.iter().filter(|row| !ledger.contains(*row)).collect();
    assert!(missing.is_empty(), "write docs/litmus.md anew by .ci/litmus; it lacks {missing:#?}");
    let listed = ledger.split("## Verdicts").nth(1).unwrap().matches("\n| `").count();
    assert_eq!(listed, rows.len(), "docs/litmus.md lists what no test says any more");
}

//! Every control names the model that passes where it fails, and every ordering the model that it rests on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Rows of a section of `docs/models.md`.
fn listed(section: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/models.md");
    let ledger = fs::read_to_string(path).unwrap();
    let (_, rows) = ledger.split_once(section).unwrap();
    let rows = rows.lines().take_while(|line| !line.starts_with("## "));
    let names = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    names.map(str::to_owned).collect()
}

/// Models that pass, each without what follows its name where it is explored several times.
fn models() -> BTreeSet<String> {
    let base = |name: String| name.split(": ").next().unwrap_or_default().to_owned();
    listed("## Must pass").into_iter().map(base).collect()
}

/// What the comment in front of the function that holds line `at` says.
fn comment_above(lines: &[&str], at: usize) -> String {
    let function = lines[..=at].iter().rposition(|line| line.trim_start().starts_with("fn "));
    let above = lines[..function.unwrap_or(0)].iter().rev();
    let above = above.take_while(|line| line.trim_start().starts_with(['/', '#']));
    let mut above: Vec<_> = above.map(|line| line.trim_start().trim_start_matches('/')).collect();
    above.reverse();
    above.concat()
}

/// What is between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A control that no model passes beside may fail because nothing can pass.
#[test]
fn every_control_has_a_twin_that_passes() {
    let models = models();
    let (mut seen, mut without) = (0, Vec::new());
    for path in super::tidy::rust_files("loom_tests") {
        // Of the harness there is nothing to pass.
        if ["harness.rs", "deeper.rs"].iter().any(|own| path.ends_with(own)) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in
            lines.iter().enumerate().filter(|(_, line)| line.contains("Control::new("))
        {
            // One whose name is made has its name on no line: those that call it are looked at.
            let name = format!("{line}{}", lines.get(at + 1).unwrap_or(&""));
            let Some((_, name)) = name.split_once('"').filter(|_| !line.contains("format!")) else {
                continue;
            };
            seen += 1;
            let comment = comment_above(&lines, at);
            let named = comment.split_once("Passes: ").map_or("", |(_, names)| names);
            if !quoted(named).any(|name| models.contains(name)) {
                without.push(format!(
                    "{} ({})",
                    name.split('"').next().unwrap_or(name),
                    path.display()
                ));
            }
            let unknown =
                quoted(named).filter(|name| name.contains("::") && !models.contains(*name));
            without
                .extend(unknown.map(|name| format!("{name}, which is none ({})", path.display())));
        }
    }
    assert!(
        without.is_empty(),
        "no \"Passes: `model`\" of docs/models.md in front of {without:#?}"
    );
    assert!(seen > 100, "only {seen} controls were found");
}

/// One name, one row: of two controls of one name `.ci/ledger` would list the first.
#[test]
fn no_two_have_one_name() {
    let mut names = BTreeSet::new();
    for path in super::tidy::rust_files("loom_tests") {
        let text = fs::read_to_string(path).unwrap();
        for start in ["Model::new(", "Control::new("] {
            for rest in text.split(start).skip(1) {
                let Some(rest) = rest.trim_start().strip_prefix('"') else { continue };
                let name = rest.split('"').next().unwrap_or_default().to_owned();
                assert!(names.insert(name.clone()), "two are called {name}");
            }
        }
    }
}

/// Comments on orderings, each with its file and line.
fn orderings() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in super::tidy::rust_files("src") {
        if path
            .components()
            .any(|part| ["model", "tests"].iter().any(|own| part.as_os_str() == *own))
        {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((_, first)) = line.split_once("// ORDERING:") else { continue };
            let more = lines[at + 1..].iter().map_while(|line| line.strip_prefix("// "));
            let more = more.take_while(|line| !line.contains("ORDERING:"));
            let comment = core::iter::once(first.trim()).chain(more).collect::<Vec<_>>().join(" ");
            found.push((format!("{}:{}", path.display(), at + 1), comment));
        }
    }
    found
}

/// The models that a comment names: "Weakened: preempt request_publishes, external_is_published."
fn named(comment: &str) -> Vec<String> {
    let mut names = Vec::new();
    for start in ["Weakened: ", "A load: ", "Left out: "] {
        for rest in comment.split(start).skip(1) {
            let (list, _) = rest.split_once(['.', ';']).unwrap_or((rest, ""));
            let Some((group, list)) = list.trim().split_once(' ') else { continue };
            let model = |name: &str| name.contains('_') && !name.contains([' ', '`']);
            let list = list.split(", ").map(str::trim).filter(|name| model(name));
            names.extend(list.map(|name| format!("{group}::{name}")));
        }
    }
    names
}

#[test]
fn models_that_orderings_name_are_there() {
    let models = models();
    let (mut seen, mut unknown) = (0, Vec::new());
    for (place, comment) in orderings() {
        for name in named(&comment) {
            seen += 1;
            if !models.contains(&name) {
                unknown.push(format!("{place}: {name}"));
            }
        }
    }
    assert!(unknown.is_empty(), "not in docs/models.md: {unknown:#?}");
    assert!(seen > 50, "only {seen} were found");
}

/// Models that the comments of each function of a protocol name, by file below `src` and function.
fn named_by_function() -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut found = BTreeMap::<_, BTreeSet<String>>::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (place, comment) in orderings() {
        let (path, line) = place.rsplit_once(':').unwrap();
        let text = fs::read_to_string(path).unwrap();
        let above: Vec<&str> = text.lines().take(line.parse().unwrap()).collect();
        let function = above.iter().rev().find_map(|line| {
            let (before, name) = line.split_once("fn ")?;
            (!before.contains("//")).then(|| name.split(['(', '<']).next().unwrap_or_default())
        });
        let file = Path::new(path).strip_prefix(&src).unwrap().display().to_string();
        let names = found.entry((file, function.unwrap_or_default().to_owned())).or_default();
        names.extend(named(&comment));
    }
    found
}

/// Where a model was seen to fail for a weakened ordering, and comments there name models, it is among them: the
/// one named is asked first, so another in its place says that it does not fail.
#[test]
fn models_that_orderings_name_do_fail() {
    let named = named_by_function();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/orderings.md");
    let table = fs::read_to_string(path).unwrap();
    let (mut seen, mut others, mut file) = (0, Vec::new(), "");
    for line in table.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            file = heading;
        }
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (Some(function), Some(verdict)) = (cells.next(), cells.nth(2)) else { continue };
        let Some(named) = named.get(&(file.to_owned(), function.to_owned())) else { continue };
        if named.is_empty() {
            continue;
        }
        for killer in quoted(verdict).map(|name| name.split(": ").next().unwrap_or_default()) {
            seen += 1;
            if !named.contains(killer) {
                others.push(format!("{file}, {function}: {killer}, and not {named:?}"));
            }
        }
    }
    assert!(others.is_empty(), "{others:#?}");
    assert!(seen > 30, "only {seen} verdicts were compared");
}

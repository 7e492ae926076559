//! `docs/orderings.md` lists every atomic operation of the protocols, with its orderings.

use std::fs;
use std::path::Path;

/// As in tools/mutate, which writes the list: what is no protocol, and the backends of single systems.
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
const ORDERS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

fn words(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// What is within the parenthesis that `text` begins behind, and in none further in.
fn arguments(text: &str) -> String {
    let mut depth = 1;
    let depths = text.chars().map(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        (c, depth)
    });
    depths
        .take_while(|(_, depth)| *depth > 0)
        .filter(|(_, depth)| *depth == 1)
        .map(|(c, _)| c)
        .collect()
}

/// Without `impl` and `mod` blocks that only tests have.
fn without_blocks_for_tests(code: &str) -> String {
    let mut parts = code.split("\n#[cfg(");
    let mut kept = parts.next().unwrap().to_owned();
    for part in parts {
        let block = part.lines().nth(1).is_some_and(|line| line.starts_with(['i', 'm']));
        let left_out = (part.starts_with("test)") || part.starts_with("all(test")) && block;
        let end = if left_out { part.find("\n}\n").unwrap() } else { 0 };
        kept.push_str(&part[end..]);
    }
    kept
}

/// A row for each operation: function, operation, orderings.
fn operations(source: &str) -> Vec<String> {
    let code = source.lines().filter_map(|line| line.split("//").next());
    let code = without_blocks_for_tests(&code.collect::<Vec<_>>().join("\n"));
    let (mut rows, mut function, mut before) = (Vec::new(), "", "");
    let mut left_out = false;
    for (at, _) in code.match_indices(['(', '<']) {
        let name = words(&code[..at]).next_back().unwrap_or_default();
        let known = ["load", "store", "swap", "compare_exchange", "fence"].contains(&name)
            || name.starts_with("fetch_");
        before = words(&code[..at - name.len()]).next_back().unwrap_or(before);
        if before == "fn" {
            function = name;
            let head = code[..at].rsplit(['{', '}', ';']).next().unwrap();
            // What is said to people has no part in a protocol.
            left_out = name == "fmt" || head.contains("cfg(test)") || head.contains("cfg(all(test");
        } else if known && !left_out && code[at..].starts_with('(') {
            let given = arguments(&code[at + 1..]);
            let orders: Vec<_> = words(&given).filter(|word| ORDERS.contains(word)).collect();
            if !orders.is_empty() {
                rows.push(format!("| {function} | {name} | {} |", orders.join(", ")));
            }
        }
    }
    rows
}

#[test]
fn the_ledger_lists_every_operation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ledger = fs::read_to_string(root.join("docs/orderings.md")).unwrap();
    let (mut count, mut wrong) = (0, Vec::new());
    for path in super::tidy::rust_files("src") {
        let file = path.strip_prefix(root.join("src")).unwrap();
        if file.components().any(|part| LEFT_OUT.iter().any(|name| part.as_os_str() == *name)) {
            continue;
        }
        let found = operations(&fs::read_to_string(&path).unwrap());
        let file = file.to_str().unwrap().replace('\\', "/");
        let section = ledger.split(&format!("\n## {file}\n")).nth(1).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
        let listed: Vec<_> = rows
            .map(|row| row.splitn(5, '|').take(4).collect::<Vec<_>>().join("|") + "|")
            .collect();
        count += found.len();
        if listed != found {
            let differs = listed.iter().zip(&found).find(|(listed, found)| listed != found);
            let lengths = (listed.len(), found.len());
            wrong.push(format!("{file}: listed and found {lengths:?}, first {differs:?}"));
        }
    }
    assert!(wrong.is_empty(), "write docs/orderings.md anew by `.ci/mutate report`: {wrong:#?}");
    assert!(count > 200, "only {count} operations were found in the sources");
}

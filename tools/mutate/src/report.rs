//! Writes `docs/mutants.md` and `docs/orderings.md` from the kept results.

use crate::mutant::{Mutant, Operation};
use crate::results::{Results, Verdict};
use crate::tree::Tree;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

/// What follows this line in docs/orderings.md is written by hand, and kept.
const BY_HAND: &str = "## By argument";

const INTRO: &str = "\
# Mutants

Written by `.ci/mutate`: each is one change of one line of a protocol, all built into one program and tried one
by one. First come the models that the comment beside the line names, then the others that come by that line,
the quickest first; the first failure is noted, with the number of the execution and its reason. The changes:
an ordering one step weaker, a statement dropped, two neighbouring statements swapped, a flag left out, a
condition negated or one of its clauses left out. Compiler fences are not weakened: no model can see them.

A mutant counts as *killed* if a model says so. One that makes quick tests run on without an end is listed as
*unended*; one that no model fails for, while long ones were cut, as *undecided*, and so is one that no model
comes by as far as those that were cut have run. The next run tries both again, with longer limits if it is
given them.
Plain tests are not asked: what no model comes by, or kills, may well fail there.
";

pub fn write(tree: &Tree, results: &Results) {
    let argued = Arguments::read(tree);
    fs::write(tree.root.join("docs/mutants.md"), mutants(tree, results, &argued)).unwrap();
    let path = tree.root.join("docs/orderings.md");
    let old = fs::read_to_string(&path).unwrap();
    let kept = old.find(BY_HAND).map_or("", |at| &old[at..]);
    fs::write(&path, orderings(tree, results, &argued) + kept).unwrap();
}

/// Why a survivor survives: kept by hand, in tools/mutate/arguments.txt.
struct Arguments(BTreeMap<String, String>);

impl Arguments {
    fn read(tree: &Tree) -> Self {
        let text =
            fs::read_to_string(tree.root.join("tools/mutate/arguments.txt")).unwrap_or_default();
        let mut found = BTreeMap::new();
        let mut keys: Vec<String> = Vec::new();
        let mut open = false;
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            if let Some(said) = line.strip_prefix("    ") {
                for key in &keys {
                    let whole: &mut String = found.entry(key.clone()).or_default();
                    if !whole.is_empty() {
                        whole.push(' ');
                    }
                    whole.push_str(said.trim());
                }
                open = false;
            } else {
                if !open {
                    keys.clear();
                }
                keys.push(line.to_owned());
                open = true;
            }
        }
        let known: Vec<_> = tree.mutants().map(Mutant::key).collect();
        for key in found.keys().filter(|key| !known.contains(key)) {
            eprintln!("arguments.txt: there is no such mutant: {key}");
        }
        Self(found)
    }

    fn of(&self, mutant: &Mutant) -> Option<&str> {
        self.0.get(&mutant.key()).map(String::as_str)
    }
}

fn mutants(tree: &Tree, results: &Results, argued: &Arguments) -> String {
    let all: Vec<_> = tree.mutants().map(|mutant| (mutant, results.of(mutant))).collect();
    let with = |word: &str| {
        let word = word.to_owned();
        all.iter().filter_map(move |(mutant, verdict)| {
            verdict.filter(|verdict| verdict.word == word).map(|verdict| (*mutant, verdict))
        })
    };
    let count = |word: &str| with(word).count();
    let mut out = INTRO.to_owned();
    let tried = all.iter().filter(|(_, verdict)| verdict.is_some()).count();
    let survivors: Vec<_> = with("survives").chain(with("unended")).collect();
    let open: Vec<_> = survivors.iter().filter(|(mutant, _)| argued.of(mutant).is_none()).collect();
    writeln!(out, "\nTried {tried} of {}: {} killed, {} survive ({} of them\n\
        without an argument), {} in code that no model comes by, {} refused by the compiler, {} undecided. Not tried yet: {}.\n",
        all.len(), count("killed"), survivors.len(), open.len(), count("unreached"), count("refused"), count("undecided"),
        all.len() - tried).unwrap();
    files(&mut out, tree, results);
    out.push_str("\n## Survivors without an argument\n\n");
    table(
        &mut out,
        open.iter()
            .map(|(mutant, verdict)| (*mutant, format!("{}: {}", verdict.word, verdict.how))),
    );
    out.push_str("\n## Survivors with an argument\n\n");
    let closed =
        survivors.iter().filter_map(|(mutant, _)| Some((*mutant, argued.of(mutant)?.to_owned())));
    table(&mut out, closed);
    out.push_str("\n## Undecided\n\nNo model failed, and those that are named were cut.\n\n");
    table(&mut out, with("undecided").map(|(mutant, verdict)| (mutant, verdict.how.clone())));
    out.push_str("\n## In code that no model comes by\n\n");
    table(
        &mut out,
        with("unreached").map(|(mutant, _)| (mutant, argued.of(mutant).unwrap_or("").to_owned())),
    );
    out.push_str("\n## Killed by models\n\n");
    table(&mut out, with("killed").map(|(mutant, verdict)| (mutant, verdict.how.clone())));
    out
}

fn files(out: &mut String, tree: &Tree, results: &Results) {
    out.push_str("| file | mutants | tried | killed | survive | undecided | no model | refused |\n|---|---|---|---|---|---|---|---|\n");
    for source in tree.sources.iter().filter(|source| !source.mutants.is_empty()) {
        let words: Vec<_> =
            source.mutants.iter().filter_map(|it| Some(results.of(it)?.word.as_str())).collect();
        let count = |word: &str| words.iter().filter(|it| **it == word).count();
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            source.file,
            source.mutants.len(),
            words.len(),
            count("killed"),
            count("survives") + count("unended"),
            count("undecided"),
            count("unreached"),
            count("refused")
        )
        .unwrap();
    }
}

fn table<'a>(out: &mut String, rows: impl Iterator<Item = (&'a Mutant, String)>) {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        out.push_str("None.\n");
        return;
    }
    out.push_str("| where | what | |\n|---|---|---|\n");
    for (mutant, said) in rows {
        let nth = if mutant.nth > 0 { format!(" (no. {})", mutant.nth + 1) } else { String::new() };
        let what = mutant.what.replace('|', "\\|");
        writeln!(out, "| {} `{}` | {what}{nth} | {said} |", mutant.file, mutant.function).unwrap();
    }
}

fn orderings(tree: &Tree, results: &Results, argued: &Arguments) -> String {
    let mut out = "\
# Orderings

Written by `.ci/mutate`, from the same run as [mutants.md](mutants.md), up to the sections by argument. Every
atomic operation of a protocol file, in the order of the source; a test checks that none is missing. Its comment
in the source names the edge and the partner; the last column says what each ordering does when it is one step
weaker. An operation that is Relaxed throughout has nothing to weaken. Operations of the backends of single
systems and of the facade (`src/sys`, `src/sync`, `posix.rs`, `linux.rs` and the like) are not here: no model
comes by.
"
    .to_owned();
    for source in tree.sources.iter().filter(|source| !source.operations.is_empty()) {
        writeln!(
            out,
            "\n## {}\n\n| function | operation | orderings | weakened |\n|---|---|---|---|",
            source.file
        )
        .unwrap();
        for operation in &source.operations {
            let said: Vec<_> = operation
                .mutants
                .iter()
                .map(|at| weakened(&source.mutants[*at], results.of(&source.mutants[*at]), argued))
                .collect();
            let Operation { function, name, orders, .. } = operation;
            writeln!(out, "| {function} | {name} | {orders} | {} |", said.join("; ")).unwrap();
        }
    }
    out.push('\n');
    out
}

fn weakened(mutant: &Mutant, verdict: Option<&Verdict>, argued: &Arguments) -> String {
    let change = mutant.what.split(':').next().unwrap_or_default();
    let says = match verdict.map(|verdict| (verdict.word.as_str(), &verdict.how)) {
        None => "not tried".to_owned(),
        Some(("killed", how)) => how.split("`: ").next().unwrap_or(how).to_owned() + "`",
        Some(("unreached", _)) => "no model comes by".to_owned(),
        Some((word, _)) => match argued.of(mutant) {
            Some(_) if word == "survives" => "survives, by argument (mutants.md)".to_owned(),
            _ => format!("**{word}**"),
        },
    };
    format!("{change}: {says}")
}

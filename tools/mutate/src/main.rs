//! Tries one-line mutations of the protocols against the models. See `.ci/mutate`.

mod find;
mod mutant;
mod orders;
mod report;
mod results;
mod run;
mod stage;
mod steps;
mod tree;

use mutant::{Kind, Mutant};
use results::{Results, Verdict};
use stage::Stage;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;
use tree::Tree;

const LOOM: &str = "--cfg loom";
/// How many a sample has.
const SAMPLE: usize = 24;
const USAGE: &str = "usage: mutate [all | orderings | sample | list | report] [--file PART] [--seconds N] \
                     [--minutes N] [--anew]";

struct Options {
    what: String,
    file: String,
    seconds: u64,
    minutes: Option<u64>,
    anew: bool,
}

fn options() -> Options {
    let mut options = Options {
        what: "all".to_owned(),
        file: String::new(),
        seconds: 120,
        minutes: None,
        anew: false,
    };
    let mut args = std::env::args().skip(1);
    let number = |arg: Option<String>| arg.and_then(|arg| arg.parse().ok()).expect(USAGE);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "all" | "orderings" | "sample" | "list" | "report" => options.what = arg,
            "--file" => options.file = args.next().expect(USAGE),
            "--seconds" => options.seconds = number(args.next()),
            "--minutes" => options.minutes = Some(number(args.next())),
            "--anew" => options.anew = true,
            _ => panic!("{USAGE}"),
        }
    }
    options
}

fn main() {
    let options = options();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned();
    let mut tree = Tree::find(&root);
    let kept = root.join("tools/mutate/results.tsv");
    tree.refuse(&Results::read(&kept));
    match options.what.as_str() {
        "list" => {
            for mutant in tree.mutants().filter(|mutant| mutant.file.contains(&options.file)) {
                println!("{}\t{}\t{:x}\t{}", mutant.id, mutant.line, mutant.body, mutant.key());
            }
        }
        "report" => {
            let results = Results::read(&kept);
            results.tidy(&tree.mutants().collect::<Vec<_>>());
            report::write(&tree, &results);
        }
        "sample" => sample(&mut tree, &Results::read(&kept)),
        _ => {
            attempt(&mut tree, &options, Results::read(&kept));
            report::write(&tree, &Results::read(&kept));
        }
    }
}

/// Everything that is asked for and not known.
fn attempt(tree: &mut Tree, options: &Options, results: Results) {
    let until = options.minutes.map(|minutes| Instant::now() + run::minutes(minutes));
    let limits = run::Limits { seconds: options.seconds, until };
    let results = Mutex::new(results);
    let stage = models(tree, options.seconds);
    let new = |mutant: &&Mutant| mutant.refused && results.lock().unwrap().of(mutant).is_none();
    for mutant in tree.mutants().filter(new).collect::<Vec<_>>() {
        let word = "refused".to_owned();
        results
            .lock()
            .unwrap()
            .add(mutant, Verdict { word, how: "does not compile".to_owned(), by: String::new() });
    }
    // Those that are not tried, then those that were cut; not those that are known.
    let rank = |mutant: &Mutant| match results.lock().unwrap().of(mutant) {
        None => 0,
        Some(verdict) if matches!(verdict.word.as_str(), "undecided" | "unended") => 1,
        Some(_) => 2,
    };
    let mut chosen: Vec<_> = tree
        .mutants()
        .filter(|mutant| !mutant.refused && mutant.file.contains(&options.file))
        .filter(|mutant| options.what == "all" || mutant.kind == Kind::Ordering)
        .filter(|mutant| options.anew || rank(mutant) < 2)
        .collect();
    // Steps in no order, so that a run that is cut has tried some of every protocol.
    let order = |mutant: &Mutant| {
        if mutant.kind == Kind::Ordering { 0 } else { mutant::hash(&mutant.key()) }
    };
    chosen.sort_by_key(|mutant| (rank(mutant), order(mutant)));
    run::all(&stage, &with_comments(tree, &chosen), &results, &limits);
    let all: Vec<_> = tree.mutants().collect();
    results.lock().unwrap().tidy(&all);
}

fn models(tree: &mut Tree, seconds: u64) -> Stage {
    tree.copy();
    tree.write(LOOM);
    let program: PathBuf = tree.build(LOOM);
    Stage::new(program, &tree.work, tree.fingerprint(), seconds)
}

/// Some that a model killed early, chosen by their text and so always the same: each dies still, and not without
/// the mutant.
fn sample(tree: &mut Tree, results: &Results) {
    let early = |verdict: &Verdict| {
        // Unoptimised, as the sample is built, these overflow the small stacks of a model's threads.
        if verdict.by.contains("::neighbours::") {
            return false;
        }
        let number = verdict.how.split("execution ").nth(1).and_then(|rest| rest.split(':').next());
        verdict.word == "killed"
            && number.and_then(|it| it.parse().ok()).is_some_and(|it: u64| it < 300)
    };
    let known = tree.mutants().filter_map(|it| Some((it.id, it.key(), results.of(it)?.clone())));
    let mut known: Vec<_> = known.filter(|(_, _, verdict)| early(verdict)).collect();
    known.sort_by_key(|(_, key, _)| mutant::hash(key));
    known.truncate(SAMPLE);
    assert!(!known.is_empty(), "tools/mutate/results.tsv is out of date: run .ci/mutate");
    tree.copy();
    tree.write(LOOM);
    let stage = Stage::without_baseline(tree.build(LOOM), &tree.work);
    let answers = run::two_at_a_time(&known, |(id, key, verdict)| {
        let test = stage::Test { name: verdict.by.clone(), ..stage::Test::default() };
        let word = match (stage.with(&test, *id, 120), stage.with(&test, 0, 120)) {
            (stage::Outcome::Failed(_), stage::Outcome::Passed) => "killed",
            // On a busy machine.
            (stage::Outcome::NotEnded, _) | (_, stage::Outcome::NotEnded) => "not ended",
            _ => "SURVIVES",
        };
        println!("{word} {key}: {}", verdict.by);
        word
    });
    let count = |word| answers.iter().filter(|answer| **answer == word).count();
    if count("SURVIVES") > 0 {
        eprintln!("a mutant that was killed is not killed any more, or its model fails without it");
        std::process::exit(1);
    }
    if count("killed") * 2 < answers.len() {
        eprintln!("most of the sample did not end: this says nothing");
        std::process::exit(1);
    }
}

fn with_comments<'a>(tree: &'a Tree, mutants: &[&'a Mutant]) -> Vec<(&'a Mutant, String)> {
    let comment = |mutant: &Mutant| {
        let source = tree.sources.iter().find(|source| source.file == mutant.file).unwrap();
        comment_above(&source.text, mutant.line)
    };
    mutants.iter().map(|mutant| (*mutant, comment(mutant))).collect()
}

/// The comments of the dozen lines up to this one.
pub fn comment_above(text: &str, line: usize) -> String {
    let lines: Vec<_> = text.lines().take(line + 2).collect();
    let near = lines.iter().skip(line.saturating_sub(12));
    near.filter_map(|line| line.trim_start().strip_prefix("//")).collect::<Vec<_>>().join(" ")
}

//! Verdicts, kept in a file as they come, by the mutant's text and that of its function.

use crate::mutant::Mutant;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `killed`, `survives`, `unreached` (no model comes by), `undecided`
    /// (a model that takes long was cut), `unended` (one that is quick without the mutant was), `refused` (by the
    /// compiler).
    pub word: String,
    /// Who killed it, how and why; or how many tried.
    pub how: String,
    /// The test that killed it.
    pub by: String,
}

pub struct Results {
    path: PathBuf,
    known: BTreeMap<(String, u64), Verdict>,
}

impl Results {
    pub fn read(path: &Path) -> Self {
        let mut known = BTreeMap::new();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let mut parts = line.split('\t');
            if let (Some(key), Some(body), Some(word), Some(by), Some(how)) =
                (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
            {
                let body = u64::from_str_radix(body, 16).unwrap();
                let verdict =
                    Verdict { word: word.to_owned(), how: how.to_owned(), by: by.to_owned() };
                known.insert((key.to_owned(), body), verdict);
            }
        }
        Self { path: path.to_owned(), known }
    }

    pub fn of(&self, mutant: &Mutant) -> Option<&Verdict> {
        self.known.get(&(mutant.key(), mutant.body))
    }

    pub fn add(&mut self, mutant: &Mutant, verdict: Verdict) {
        let line = line(mutant, &verdict);
        let file = fs::OpenOptions::new().create(true).append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("results can be kept");
        self.known.insert((mutant.key(), mutant.body), verdict);
    }

    /// Those of the mutants that there are, sorted: what is kept in the repository.
    pub fn tidy(&self, mutants: &[&Mutant]) {
        let mut lines: Vec<_> =
            mutants.iter().filter_map(|mutant| Some(line(mutant, self.of(mutant)?))).collect();
        lines.sort();
        fs::write(&self.path, lines.concat()).expect("results can be kept");
    }
}

fn line(mutant: &Mutant, verdict: &Verdict) -> String {
    let how = verdict.how.replace(['\t', '\n'], " ");
    format!("{}\t{:x}\t{}\t{}\t{how}\n", mutant.key(), mutant.body, verdict.word, verdict.by)
}

//! What the source says of a step: the function that it is in, and what its object is called there.

use super::lanes::{About, Row};
use core::panic::Location;
use std::collections::{BTreeMap, HashMap};

/// Files that were read. Paths are as the compiler had them: of the package that is tested they are found from
/// its directory, where `cargo test` runs.
#[derive(Default)]
pub(super) struct Sources(HashMap<&'static str, Vec<String>>);

impl Sources {
    fn lines(&mut self, file: &'static str) -> &[String] {
        self.0.entry(file).or_insert_with(|| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        })
    }

    /// The function in which a step is: the nearest one above that is less indented.
    pub(super) fn function(&mut self, at: &'static Location<'static>) -> Option<String> {
        let lines = self.lines(at.file());
        let line = at.line() as usize;
        let here = indentation(lines.get(line - 1)?);
        let above = lines[..line].iter().rev();
        above
            .filter(|line| indentation(line) < here)
            .find_map(|line| declared(line))
            .map(str::to_owned)
    }

    /// Names for the objects of these rows, by id: the field that each is where it is used first as one, or else
    /// what it is called where it is used first.
    pub(super) fn names(&mut self, rows: &[Row]) -> BTreeMap<u32, String> {
        let mut order = Vec::new();
        let mut names: BTreeMap<u32, Name> = BTreeMap::new();
        for row in rows {
            let About::Object { id, .. } = row.about else { continue };
            if !order.contains(&id) {
                order.push(id);
            }
            let known = names.get(&id);
            if known.is_some_and(|known| known.is_field) {
                continue;
            }
            let better = self.receiver(row.at).filter(|name| known.is_none() || name.is_field);
            if let Some(name) = better {
                names.insert(id, name);
            }
        }
        number(&order, &names)
    }

    /// `x` of `a.x.load(..)`, if the step is such a call.
    fn receiver(&mut self, at: &'static Location<'static>) -> Option<Name> {
        let lines = self.lines(at.file());
        let line = at.line() as usize - 1;
        let (before, call) = lines.get(line)?.split_at_checked(at.column() as usize - 1)?;
        let method = call.split('(').next()?;
        OPERATIONS.iter().any(|op| method.starts_with(op)).then_some(())?;
        // A chain of calls may begin on a line above.
        let above = lines[..line].iter().rev().take(3).map(String::as_str);
        let mut before = core::iter::once(before)
            .chain(above)
            .map(str::trim)
            .find(|text| !text.is_empty() && !text.starts_with("//") && *text != ".")?;
        loop {
            before = before.trim_end_matches(['.', '?']);
            before = without_group(before);
            let start =
                before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
            let word = &before[start..];
            if word == "self" {
                let file = at.file().rsplit(['/', '\\']).next()?;
                let text = file.trim_end_matches(".rs").to_owned();
                return Some(Name { text, is_field: true });
            }
            if word.is_empty() || !word.bytes().all(|b| b.is_ascii_digit()) {
                let is_field = before[..start].ends_with('.');
                return (!word.is_empty()).then(|| Name { text: word.to_owned(), is_field });
            }
            before = &before[..start];
        }
    }
}

/// What an object is called in one place.
struct Name {
    text: String,
    is_field: bool,
}

/// Methods whose receiver is the object.
const OPERATIONS: [&str; 9] =
    ["load", "store", "swap", "compare_exchange", "fetch_", "with", "lock", "try_lock", "get"];

/// Names that several objects have are told apart by a number; who has none has only that.
fn number(order: &[u32], names: &BTreeMap<u32, Name>) -> BTreeMap<u32, String> {
    let mut taken: HashMap<&str, usize> = HashMap::new();
    let numbered = order.iter().map(|id| {
        let base = names.get(id).map_or("", |name| name.text.as_str());
        let count = taken.entry(base).or_default();
        *count += 1;
        let several = base.is_empty() || *count > 1;
        (*id, if several { format!("{base}#{count}") } else { base.to_owned() })
    });
    numbered.collect()
}

fn indentation(line: &str) -> usize {
    let used = line.trim_start();
    if used.is_empty() { usize::MAX } else { line.len() - used.len() }
}

/// The function that is declared here.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let (before, after) = line.split_once("fn ")?;
    let head = before.split_whitespace().all(|word| {
        word.starts_with("pub")
            || ["const", "unsafe", "async", "extern", "in"].contains(&word)
            || word.ends_with(')')
            || word.starts_with('"')
    });
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (head && end > 0).then_some(&after[..end])
}

/// Without arguments or an index at its end.
fn without_group(text: &str) -> &str {
    let (open, close) = match text.as_bytes().last() {
        Some(b')') => ('(', ')'),
        Some(b']') => ('[', ']'),
        _ => return text,
    };
    let mut depth = 0;
    let start = text.char_indices().rev().find(|&(_, c)| {
        depth += i32::from(c == close) - i32::from(c == open);
        depth == 0
    });
    start.map_or("", |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u32, at: &'static Location<'static>) -> Row {
        let about = About::Object { id, initial: 0 };
        Row {
            slot: 0,
            depth: 0,
            op: "load",
            detail: super::super::lanes::Detail::Nothing,
            at,
            about,
        }
    }

    struct Word;
    impl Word {
        #[track_caller]
        fn load(&self) -> &'static Location<'static> {
            Location::caller()
        }
    }

    struct Queue {
        head: Word,
        words: [(Word, Word); 1],
    }

    /// Objects are called what the code calls them.
    #[test]
    fn objects_have_the_names_of_the_source() {
        let queue = Queue { head: Word, words: [(Word, Word)] };
        let other = Queue { head: Word, words: [(Word, Word)] };
        let chained = queue.head.load();
        let steps =
            [queue.head.load(), queue.words[0].1.load(), other.head.load(), Location::caller()];
        let rows: Vec<_> = steps.into_iter().zip(1..).map(|(at, id)| row(id, at)).collect();
        let mut sources = Sources::default();
        let names: Vec<_> = sources.names(&rows).into_values().collect();
        assert_eq!(names, ["head", "words", "head#2", "#1"]);
        assert_eq!(sources.names(&[row(9, chained)]).into_values().collect::<Vec<_>>(), ["head"]);
        assert_eq!(
            sources.function(steps[0]).as_deref(),
            Some("objects_have_the_names_of_the_source")
        );
        let _ = &other.words;
        // A field's name says more than a helper's argument.
        let word = &queue.head;
        let rows = [row(1, word.load()), row(1, queue.head.load()), row(2, word.load())];
        let names: Vec<_> = sources.names(&rows).into_values().collect();
        assert_eq!(names, ["head", "word"]);
    }

    /// Functions are told from what looks like them.
    #[test]
    fn functions_are_told() {
        assert_eq!(declared("    pub(crate) const unsafe fn join(self) {"), Some("join"));
        assert_eq!(declared("    run: fn(Signal),"), None);
        assert_eq!(declared("    // a fn that"), None);
    }
}

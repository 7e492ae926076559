//! What a mutant is, and a file with all of its mutants written in.

use std::ops::Range;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    #[default]
    Ordering,
    Drop,
    Swap,
    Flag,
    Condition,
}

/// Text put before and behind a range of the file.
#[derive(Debug, Clone)]
pub struct Edit {
    range: Range<usize>,
    open: String,
    close: String,
    outside: bool,
}

impl Edit {
    pub fn around(range: Range<usize>, open: &str, close: &str) -> Self {
        Self { range, open: open.to_owned(), close: close.to_owned(), outside: false }
    }
    /// Outside of all others of the same range.
    pub fn outside(range: Range<usize>, open: &str, close: &str) -> Self {
        Self { outside: true, ..Self::around(range, open, close) }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Mutant {
    pub id: usize,
    pub kind: Kind,
    pub file: String,
    pub function: String,
    /// Of the function's text: a result holds for as long as that is the same.
    pub body: u64,
    pub line: usize,
    pub what: String,
    pub edits: Vec<Edit>,
    /// Equal ones of a function are told apart by this.
    pub nth: usize,
    /// The compiler refused it.
    pub refused: bool,
}

impl Mutant {
    /// By which it is known from one run to the next, and in the file of arguments.
    pub fn key(&self) -> String {
        let nth = if self.nth > 0 { format!(" (no. {})", self.nth + 1) } else { String::new() };
        format!("{} {}: {}{nth}", self.file, self.function, self.what)
    }
}

/// An atomic operation; its mutants by their place in the file.
#[derive(Debug, Clone)]
pub struct Operation {
    pub function: String,
    pub name: String,
    pub orders: String,
    pub mutants: Vec<usize>,
}

#[derive(Debug, Default)]
pub struct Source {
    pub file: String,
    pub text: String,
    pub mutants: Vec<Mutant>,
    pub operations: Vec<Operation>,
    /// Edits that hold for all mutants.
    pub always: Vec<Edit>,
}

/// Where in the written file the text of a mutant is, and what it is around.
pub struct Written {
    pub id: usize,
    pub own: Vec<Range<usize>>,
    pub around: Range<usize>,
}

impl Source {
    /// The file with all mutants in that the compiler has not refused.
    pub fn write(&self) -> (String, Vec<Written>) {
        let mut edits: Vec<(usize, &Edit)> = self.always.iter().map(|edit| (0, edit)).collect();
        let taken = self.mutants.iter().filter(|mutant| !mutant.refused);
        edits.extend(taken.flat_map(|mutant| mutant.edits.iter().map(|edit| (mutant.id, edit))));
        // Outer ones first.
        edits.sort_by_key(|(_, edit)| {
            (edit.range.start, std::cmp::Reverse(edit.range.end), !edit.outside)
        });
        // Positions, closing ones first; of those the innermost.
        let mut pieces = Vec::new();
        for (order, (id, edit)) in edits.iter().enumerate() {
            let order = order as isize;
            pieces.push((edit.range.start, 1, order, order as usize, *id, edit.open.as_str()));
            pieces.push((edit.range.end, 0, -order, order as usize, *id, edit.close.as_str()));
        }
        pieces.sort();
        let (mut out, mut from) = (String::new(), 0);
        let mut own = vec![Vec::new(); edits.len()];
        for (at, _, _, edit, id, text) in pieces {
            out.push_str(&self.text[from..at]);
            from = at;
            let start = out.len();
            out.push_str(&text.replace('$', &id.to_string()));
            own[edit].push(start..out.len());
        }
        out.push_str(&self.text[from..]);
        let written = edits.iter().zip(own).filter(|((id, _), _)| *id > 0);
        let written = written.map(|((id, _), own)| {
            let around = own[0].start..own[1].end;
            Written { id: *id, own, around }
        });
        (out, written.collect())
    }
}

/// FNV-1a, which is the same tomorrow.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

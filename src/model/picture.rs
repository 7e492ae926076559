//! An execution as a picture: an SVG with a column a thread, handlers nested in it, and edges.
//!
//! Each row has words in one column only, so an edge leaves its row level, goes up or down between two columns, and
//! enters the other row level, and crosses no words.

mod draw;
mod edge;
mod page;
#[cfg(test)]
mod tests;

use super::edges::{self, Edge};
use super::lanes::{Row, repeated, times_more};
use super::pointers::Pointers;
use super::source::Sources;
use super::words::{Words, cut};
use std::io;
use std::path::{Path, PathBuf};

/// Where the picture of the model `name` is wanted, if pictures are.
pub(super) fn wanted(name: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("PORTCULLIS_PICTURE").filter(|path| !path.is_empty())?;
    Some(Path::new(&directory).join(file_name(name)))
}

/// One failing execution.
#[derive(Clone, Copy)]
pub(super) struct Picture<'a> {
    /// Of the model.
    pub(super) name: &'a str,
    /// How the claim is violated.
    pub(super) reason: &'a str,
    pub(super) rows: &'a [Row],
    pub(super) threads: &'a [String],
}

impl Picture<'_> {
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(path, self.svg())
    }

    fn svg(&self) -> String {
        page::Page::new(self).svg()
    }

    /// The rows that are shown, and what stands for those that are repeated.
    fn lines(&self) -> Lines {
        let mut sources = Sources::default();
        let words = Words { names: sources.names(self.rows), pointers: Pointers::new() };
        let cells: Vec<Cell> = self
            .rows
            .iter()
            .map(|row| Cell {
                slot: row.slot,
                depth: row.depth,
                text: words.of(row),
                place: place(row, &mut sources),
            })
            .collect();
        let mut shown = Vec::new();
        let mut lines = vec![None; cells.len()];
        let mut row = 0;
        while row < cells.len() {
            let (rows, more) = repeated(&cells[row..]).unwrap_or((1, 0));
            for (index, line) in lines.iter_mut().enumerate().skip(row).take(rows) {
                *line = Some(shown.len());
                shown.push(Line::Row(index));
            }
            if more > 0 {
                shown.push(Line::More(times_more(rows, more)));
            }
            row += rows * (more + 1);
        }
        let drawn = edges::of(self.rows).into_iter().filter_map(|edge| {
            Some(Edge { from: lines[edge.from]?, to: lines[edge.to]?, kind: edge.kind })
        });
        Lines { edges: drawn.collect(), cells, shown }
    }
}

/// What the page has of a row.
#[derive(Clone, Debug, PartialEq)]
struct Cell {
    slot: usize,
    depth: usize,
    text: String,
    place: String,
}

#[derive(Debug)]
enum Line {
    Row(usize),
    More(String),
}

struct Lines {
    cells: Vec<Cell>,
    shown: Vec<Line>,
    /// From line to line.
    edges: Vec<Edge>,
}

impl Lines {
    fn cell(&self, line: usize) -> Option<(usize, &Cell)> {
        match self.shown.get(line)? {
            Line::Row(row) => Some((*row, &self.cells[*row])),
            Line::More(_) => None,
        }
    }
}

/// Where the step is: file, line and function.
fn place(row: &Row, sources: &mut Sources) -> String {
    let place = super::lanes::place(row.at);
    let function = sources.function(row.at).map(|function| format!(" {}", cut(&function, 24)));
    place + &function.unwrap_or_default()
}

/// A model's name as that of a file, wherever.
fn file_name(name: &str) -> String {
    let plain = name.replace("::", ".");
    let plain =
        plain.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' });
    plain.chain(".svg".chars()).collect()
}

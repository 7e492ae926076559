//! The execution as lanes: one column a thread, one row a step, handlers indented.

use super::atomic::Store;
use super::pointers::Pointers;
use super::state::{Inner, Thread};
use core::fmt::Write;
use core::panic::Location;
use core::sync::atomic::Ordering;

/// One step. Recorded raw, for 100,000 executions are recorded for one that is printed.
#[derive(Debug)]
pub(crate) struct Row {
    pub(super) slot: usize,
    pub(super) depth: usize,
    pub(super) op: &'static str,
    pub(super) detail: Detail,
    pub(super) at: &'static Location<'static>,
    pub(super) about: About,
}

/// With what a step has to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About {
    Nothing,
    /// An atomic, a cell, a lock.
    Object {
        id: u32,
        initial: u64,
    },
    /// The thread that is spawned or joined.
    Thread(usize),
    /// What another thread did.
    Cause(Cause),
}

impl About {
    pub(crate) fn plain(id: u32) -> Self {
        Self::Object { id, initial: 0 }
    }
}

/// The next row of a thread, from this one on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cause {
    pub(super) slot: u32,
    pub(super) row: u32,
}

/// The values of a step.
#[derive(Debug)]
pub(crate) enum Detail {
    Nothing,
    Load { order: Ordering, seen: u64, unseen: Option<Store> },
    Store { value: u64, order: Ordering },
    Swap { value: u64, order: Ordering, old: u64, new: u64 },
    Cas { expected: u64, new: u64, order: Ordering, result: Result<u64, u64> },
    Fence(Ordering),
    Signal(i32),
    Number(u64),
    Text(String),
}

impl Row {
    fn text(&self, pointers: &Pointers) -> String {
        let mut text = "  ".repeat(self.depth);
        text.push_str(self.op);
        let value = |value: u64| pointers.shown(value);
        let written = match &self.detail {
            Detail::Nothing => Ok(()),
            Detail::Load { order, seen, unseen } => {
                let seen = write!(text, " {order:?} -> {}", value(*seen));
                match unseen {
                    // Older than the last, which the order allows: a reader would take it for another fault.
                    Some(Store { value: last, at }) => {
                        write!(text, ", not yet {} of {}", value(*last), place(at))
                    }
                    None => seen,
                }
            }
            Detail::Store { value: new, order } => write!(text, " {} {order:?}", value(*new)),
            Detail::Swap { value: given, order, old, .. } => {
                write!(text, " {} {order:?} -> {}", value(*given), value(*old))
            }
            Detail::Cas { expected, new, order, result } => {
                let (word, seen) = match result {
                    Ok(seen) => ("ok", seen),
                    Err(seen) => ("failed, saw", seen),
                };
                let (expected, new, seen) = (value(*expected), value(*new), value(*seen));
                write!(text, " {expected} => {new} {order:?} {word} {seen}")
            }
            Detail::Fence(order) => write!(text, " {order:?}"),
            Detail::Signal(signal) => write!(text, " {}", super::signals::name(*signal)),
            Detail::Number(number) => write!(text, " {}", value(*number)),
            Detail::Text(more) => write!(text, " {more}"),
        };
        written.expect("a string takes any text");
        text
    }
}

/// `file:line` without the directories that every row shares.
pub(super) fn place(at: &Location<'_>) -> String {
    let file = at.file().rsplit(['/', '\\']).next().unwrap_or_default();
    format!("{file}:{}", at.line())
}

/// Where each thread stands: in the operation that it has begun, or after its last one.
// Not inline: the stacks of loom's threads are small, and what runs there has to fit beside the program's frames.
#[inline(never)]
pub(super) fn standing(inner: &Inner) -> String {
    let pointers = Pointers::new();
    let stands = |(slot, thread): (usize, &Thread)| {
        let last = inner.rows.iter().rev().find(|row| row.slot == slot);
        let last =
            last.map(|row| format!("{} at {}", row.text(&pointers).trim_start(), place(row.at)));
        let doing = thread.doing.map(|doing| format!("{} at {}", doing.op, place(doing.at)));
        let what = doing.or(last).unwrap_or_else(|| "before its first step".to_owned());
        let handler = thread.frames.last().map(|frame| super::signals::name(frame.signal));
        let handler =
            handler.map(|signal| format!("in the handler of {signal}, ")).unwrap_or_default();
        format!("{}: {handler}{what}", thread.name)
    };
    inner.threads.iter().enumerate().map(stands).collect::<Vec<_>>().join("; ")
}

const WIDEST: usize = 60;

/// Prints an execution, given the threads' names.
pub(super) fn render(rows: &[Row], threads: &[String]) -> String {
    let count = threads.len();
    let pointers = Pointers::new();
    let cells: Vec<(usize, String, String)> =
        rows.iter().map(|row| (row.slot, row.text(&pointers), place(row.at))).collect();
    let width = |slot: usize| {
        let rows = cells.iter().filter(|cell| cell.0 == slot).map(|cell| cell.1.chars().count());
        rows.chain([threads[slot].chars().count()]).max().unwrap_or(0).min(WIDEST)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let places = cells.iter().map(|cell| cell.2.len()).max().unwrap_or(0);
    let line = |number: &str, at: &str, slot: Option<usize>, text: &str| {
        let mut out = format!("{number:>5}  {at:<places$} ");
        for (column, &width) in widths.iter().enumerate() {
            let name = &threads[column];
            let cell = match slot {
                None => name.as_str(),
                Some(slot) if slot == column => text,
                Some(_) => "",
            };
            out.push_str("| ");
            out.push_str(cell);
            let used = cell.chars().count();
            out.extend(core::iter::repeat_n(' ', width.saturating_sub(used) + 1));
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    };
    let mut page = line("step", "where", None, "");
    let mut step = 0;
    while step < cells.len() {
        let (rows, more) = repeated(&cells[step..]).unwrap_or((1, 0));
        for (number, (slot, text, at)) in cells.iter().enumerate().skip(step).take(rows) {
            page.push_str(&line(&(number + 1).to_string(), at, Some(*slot), text));
        }
        step += rows * (more + 1);
        if more > 0 {
            writeln!(page, "       ... {}", times_more(rows, more))
                .expect("a string takes any text");
        }
    }
    page
}

/// The longest sequence of rows that is shown once if it is repeated, and how often it has to be.
const LONGEST: usize = 16;
const OFTEN: usize = 3;

/// Says that these rows, which were shown, come again.
pub(super) fn times_more(rows: usize, more: usize) -> String {
    let rows = if rows == 1 { "row".to_owned() } else { format!("{rows} rows") };
    format!("the last {rows} {more} times more")
}

/// How many of these rows, from the first on, are repeated at once, and how often.
pub(super) fn repeated<T: PartialEq>(cells: &[T]) -> Option<(usize, usize)> {
    (1..=LONGEST.min(cells.len())).find_map(|rows| {
        let (first, rest) = cells.split_at(rows);
        let more = rest.chunks_exact(rows).take_while(|next| *next == first).count();
        (more >= OFTEN).then_some((rows, more))
    })
}

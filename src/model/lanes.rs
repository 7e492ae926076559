//! The execution as lanes: one column a thread, one row a step, handlers indented.

use super::atomic::Store;
use super::state::Inner;
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
}

/// The values of a step.
#[derive(Debug)]
pub(crate) enum Detail {
    Nothing,
    Load { order: Ordering, seen: u64, unseen: Option<Store> },
    Store { value: u64, order: Ordering },
    Swap { value: u64, order: Ordering, old: u64 },
    Cas { expected: u64, new: u64, order: Ordering, result: Result<u64, u64> },
    Fence(Ordering),
    Signal(i32),
    Number(u64),
    Text(String),
}

impl Row {
    fn text(&self) -> String {
        let mut text = "  ".repeat(self.depth);
        text.push_str(self.op);
        let written = match &self.detail {
            Detail::Nothing => Ok(()),
            Detail::Load { order, seen, unseen } => {
                let seen = write!(text, " {order:?} -> {}", Value(*seen));
                match unseen {
                    // Older than the last, which the order allows: a reader would take it for another fault.
                    Some(Store { value, at }) => {
                        write!(text, ", not yet {} of {}", Value(*value), place(at))
                    }
                    None => seen,
                }
            }
            Detail::Store { value, order } => write!(text, " {} {order:?}", Value(*value)),
            Detail::Swap { value, order, old } => {
                write!(text, " {} {order:?} -> {}", Value(*value), Value(*old))
            }
            Detail::Cas { expected, new, order, result } => {
                let (word, seen) = match result {
                    Ok(seen) => ("ok", seen),
                    Err(seen) => ("failed, saw", seen),
                };
                let (expected, new, seen) = (Value(*expected), Value(*new), Value(*seen));
                write!(text, " {expected} => {new} {order:?} {word} {seen}")
            }
            Detail::Fence(order) => write!(text, " {order:?}"),
            Detail::Signal(signal) => write!(text, " {}", super::signals::name(*signal)),
            Detail::Number(number) => write!(text, " {}", Value(*number)),
            Detail::Text(more) => write!(text, " {more}"),
        };
        written.expect("a string takes any text");
        text
    }
}

/// Small numbers in decimal, words and addresses in hexadecimal.
struct Value(u64);

impl core::fmt::Display for Value {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.0 < 1000 { write!(f, "{}", self.0) } else { write!(f, "{:#x}", self.0) }
    }
}

/// `file:line` without the directories that every row shares.
pub(super) fn place(at: &Location<'_>) -> String {
    let file = at.file().rsplit(['/', '\\']).next().unwrap_or_default();
    format!("{file}:{}", at.line())
}

const WIDEST: usize = 60;

/// Prints the execution so far.
pub(super) fn render(inner: &Inner) -> String {
    let count = inner.threads.len();
    let cells: Vec<(usize, String, String)> =
        inner.rows.iter().map(|row| (row.slot, row.text(), place(row.at))).collect();
    let width = |slot: usize| {
        let rows = cells.iter().filter(|cell| cell.0 == slot).map(|cell| cell.1.chars().count());
        rows.chain([inner.threads[slot].name.chars().count()]).max().unwrap_or(0).min(WIDEST)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let places = cells.iter().map(|cell| cell.2.len()).max().unwrap_or(0);
    let line = |number: &str, at: &str, slot: Option<usize>, text: &str| {
        let mut out = format!("{number:>5}  {at:<places$} ");
        for (column, &width) in widths.iter().enumerate() {
            let name = &inner.threads[column].name;
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
            let rows = if rows == 1 { "row".to_owned() } else { format!("{rows} rows") };
            writeln!(page, "       ... the last {rows} {more} times more")
                .expect("a string takes any text");
        }
    }
    page
}

/// The longest sequence of rows that is shown once if it is repeated, and how often it has to be.
const LONGEST: usize = 16;
const OFTEN: usize = 3;

/// How many of these rows, from the first on, are repeated at once, and how often.
fn repeated(cells: &[(usize, String, String)]) -> Option<(usize, usize)> {
    (1..=LONGEST.min(cells.len())).find_map(|rows| {
        let (first, rest) = cells.split_at(rows);
        let more = rest.chunks_exact(rows).take_while(|next| *next == first).count();
        (more >= OFTEN).then_some((rows, more))
    })
}

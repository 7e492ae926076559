//! The page: where everything stands, and what it looks like.

use super::super::edges::Kind;
use super::draw::Svg;
use super::edge::{At, Routes, class};
use super::{Line, Lines, Picture};
use core::fmt::Write;

/// Sizes in pixels: of a character, of a small one, of a line, of what each nesting moves to the right.
const CHARACTER: f64 = 6.65;
const SMALL: f64 = 6.05;
const LINE: usize = 17;
const NESTED: usize = 12;
const MARGIN: usize = 12;
/// The first line, below the title and the threads' names.
const TOP: usize = 74;
const STEPS: usize = 34;
const TRACK: usize = 7;
/// Digits of a line number that are left room for, however many it has: so a picture without them is the same.
const DIGITS: usize = 4;

pub(super) struct Page<'a> {
    picture: &'a Picture<'a>,
    lines: Lines,
    routes: Routes,
    columns: Vec<Column>,
    width: usize,
}

/// Of one thread: where its life is drawn, and how wide it is.
struct Column {
    x: usize,
    width: usize,
}

fn wide(characters: usize, size: f64) -> usize {
    (characters as f64 * size).ceil() as usize
}

impl<'a> Page<'a> {
    pub(super) fn new(picture: &'a Picture<'a>) -> Self {
        let lines = picture.lines();
        let routes = Routes::new(&lines, picture.threads.len());
        let places = lines.shown.iter().filter_map(|line| match line {
            Line::Row(row) => Some(without_digits(&lines.cells[*row].place)),
            Line::More(_) => None,
        });
        let places = wide(places.max().unwrap_or(0) + DIGITS, SMALL);
        let mut x = MARGIN + STEPS + places + 4;
        let mut columns = Vec::new();
        for (slot, name) in picture.threads.iter().enumerate() {
            x += MARGIN + routes.tracks[slot] * TRACK;
            let own = lines.shown.iter().filter_map(|line| match line {
                Line::Row(row) => Some(&lines.cells[*row]).filter(|cell| cell.slot == slot),
                Line::More(_) => None,
            });
            let words =
                own.map(|cell| cell.depth * NESTED + wide(cell.text.chars().count(), CHARACTER));
            let width = words.chain([wide(name.chars().count(), 7.3)]).max().unwrap_or(0) + 20;
            columns.push(Column { x, width });
            x += width;
        }
        let width = (x + MARGIN).max(560);
        Self { picture, lines, routes, columns, width }
    }

    pub(super) fn svg(&self) -> String {
        let mut svg = Svg::default();
        svg.text("title", MARGIN, 24, self.picture.name);
        self.threads(&mut svg);
        self.handlers(&mut svg);
        for kind in self.routes.kinds() {
            let (lines, tips) = self.routes.paths(kind, self);
            let (name, _) = class(kind);
            svg.path(&format!("edge {name}"), &lines);
            svg.path(&format!("tip {name}"), &tips);
        }
        for line in 0..self.lines.shown.len() {
            self.line(&mut svg, line);
        }
        let claim = self.claim(&mut svg);
        let bottom = self.legend(&mut svg, claim + LINE);
        svg.page(&format!("{}: {}", self.picture.name, self.picture.reason), self.width, bottom)
    }

    /// Names, and lives: dashed while the thread sleeps.
    fn threads(&self, svg: &mut Svg) {
        for (slot, name) in self.picture.threads.iter().enumerate() {
            let x = self.columns[slot].x;
            svg.text("thread", x - 4, TOP - 24, name);
            let (mut life, mut sleep) = (String::new(), String::new());
            let mut last: Option<(usize, bool)> = None;
            let own = (0..self.lines.shown.len()).filter_map(|line| {
                self.lines
                    .cell(line)
                    .filter(|(_, cell)| cell.slot == slot)
                    .map(|(row, _)| (line, row))
            });
            let mut ended = false;
            for (line, row) in own {
                let op = self.picture.rows[row].op;
                let y = self.y(line);
                if let Some((from, asleep)) = last {
                    let path = if asleep { &mut sleep } else { &mut life };
                    write!(path, "M{x} {from}V{y}").expect("a string takes any text");
                }
                last = Some((y, op == "futex wait: sleeps" || op == "= stopped"));
                ended = op == "thread exits";
            }
            if let Some((from, asleep)) = last.filter(|_| !ended) {
                let path = if asleep { &mut sleep } else { &mut life };
                write!(path, "M{x} {from}V{}", self.y(self.lines.shown.len()))
                    .expect("a string takes any text");
            }
            svg.path("life", &life);
            svg.path("sleep", &sleep);
        }
    }

    /// A box around each handler, to the end if it does not return.
    fn handlers(&self, svg: &mut Svg) {
        let mut open: Vec<Vec<usize>> = vec![Vec::new(); self.columns.len()];
        let mut boxes = Vec::new();
        for line in 0..self.lines.shown.len() {
            let Some((row, cell)) = self.lines.cell(line) else { continue };
            match self.picture.rows[row].op {
                "> handler of" => open[cell.slot].push(line),
                "< handler returns" => {
                    boxes.extend(open[cell.slot].pop().map(|first| (first, line)))
                }
                _ => {}
            }
        }
        let last = self.lines.shown.len().saturating_sub(1);
        boxes.extend(open.into_iter().flatten().map(|first| (first, last)));
        boxes.sort_unstable();
        for (first, last) in boxes {
            let Some((_, cell)) = self.lines.cell(first) else { continue };
            let column = &self.columns[cell.slot];
            let inset = cell.depth * NESTED;
            let (x, y) = (column.x + inset - 7, self.y(first) - LINE / 2);
            let (width, height) = (column.width - inset + 5, (last - first + 1) * LINE);
            svg.add(format_args!(
                "<rect class=\"in\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"5\"/>"
            ));
        }
    }

    fn line(&self, svg: &mut Svg, line: usize) {
        let base = self.y(line) + 4;
        match &self.lines.shown[line] {
            Line::More(text) => svg.text("more", MARGIN + STEPS, base, &format!("… {text}")),
            Line::Row(row) => {
                let cell = &self.lines.cells[*row];
                let bad = self.violates(line);
                let step = (row + 1).to_string();
                svg.text("step", MARGIN + STEPS - 8 - wide(step.len(), SMALL), base, &step);
                svg.text("place", MARGIN + STEPS, base, &cell.place);
                let x = self.start(line) + 5;
                svg.dot(if bad { "bad" } else { "dot" }, x, self.y(line));
                svg.text(if bad { "badtext" } else { "words" }, x + 8, base, &cell.text);
            }
        }
    }

    /// The last row that is shown, after which the claim does not hold; in a deadlock the last of each thread.
    fn violates(&self, line: usize) -> bool {
        let rows = self.picture.rows;
        let mut later = (line + 1..self.lines.shown.len()).filter_map(|line| self.lines.cell(line));
        if !self.picture.reason.starts_with("deadlock") {
            return later.next().is_none();
        }
        self.lines.cell(line).is_some_and(|(row, cell)| {
            rows[row].op != "thread exits" && !later.any(|(_, later)| later.slot == cell.slot)
        })
    }

    /// What is violated; returns where it ends.
    fn claim(&self, svg: &mut Svg) -> usize {
        let top = self.y(self.lines.shown.len());
        let said = wrapped(self.picture.reason, ((self.width - 4 * MARGIN) as f64 / 7.0) as usize);
        let height = said.len() * LINE + 8;
        let width = self.width - 2 * MARGIN;
        svg.add(format_args!(
            "<rect class=\"box\" x=\"{MARGIN}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"5\"/>"
        ));
        for (number, words) in said.iter().enumerate() {
            let mark = if number == 0 { "✗" } else { " " };
            svg.text("claim", 2 * MARGIN, top + 16 + number * LINE, &format!("{mark} {words}"));
        }
        top + height
    }

    /// What the edges mean; returns where the page ends.
    fn legend(&self, svg: &mut Svg, top: usize) -> usize {
        let kinds: Vec<Kind> = self.routes.kinds();
        for (number, &kind) in kinds.iter().enumerate() {
            let y = top + number * LINE + 4;
            let (name, meaning) = class(kind);
            svg.path(&format!("edge {name}"), &format!("M{MARGIN} {y}h24"));
            svg.path(&format!("tip {name}"), &format!("M{} {y}l-6 -3v6z", MARGIN + 30));
            svg.text("key", MARGIN + 38, y + 4, meaning);
        }
        top + kinds.len() * LINE + 4
    }
}

impl At for Page<'_> {
    fn start(&self, line: usize) -> usize {
        self.lines
            .cell(line)
            .map_or(0, |(_, cell)| self.columns[cell.slot].x + cell.depth * NESTED - 5)
    }

    fn end(&self, line: usize) -> usize {
        let characters = self.lines.cell(line).map_or(0, |(_, cell)| cell.text.chars().count());
        self.start(line) + 15 + wide(characters, CHARACTER)
    }

    fn y(&self, line: usize) -> usize {
        TOP + line * LINE
    }

    fn track(&self, gap: usize, track: usize) -> usize {
        let right = self.columns.get(gap).map_or(self.width, |column| column.x);
        right - MARGIN - track * TRACK
    }
}

fn without_digits(place: &str) -> usize {
    let words = place.chars().count();
    let digits = place
        .split_once(':')
        .map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
    words - digits
}

/// In lines of so many characters at most, if its words allow it.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("one at least");
        if !last.is_empty() && last.chars().count() + word.chars().count() >= most {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

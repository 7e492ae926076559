//! Pictures of small executions.

use super::super::hook::{About, Detail};
use super::super::lanes::{Cause, Row};
use super::draw::escaped;
use super::{Picture, file_name};
use core::panic::Location;
use core::sync::atomic::Ordering::{Acquire, Release};

#[track_caller]
fn row(slot: usize, depth: usize, op: &'static str, detail: Detail, about: About) -> Row {
    Row { slot, depth, op, detail, at: Location::caller(), about }
}

fn plain(slot: usize, depth: usize, op: &'static str) -> Row {
    row(slot, depth, op, Detail::Nothing, About::Nothing)
}

fn svg(rows: &[Row], threads: &[&str], reason: &str) -> String {
    let threads: Vec<_> = threads.iter().map(|name| (*name).to_owned()).collect();
    Picture { name: "a::model", reason, rows, threads: &threads }.svg()
}

/// The lines of `svg` that begin so.
fn parts<'a>(svg: &'a str, begin: &str) -> Vec<&'a str> {
    svg.lines().filter(|line| line.starts_with(begin)).collect()
}

/// The number that an attribute of `element` has.
fn number(element: &str, attribute: &str) -> usize {
    let (_, rest) = element.split_once(&format!(" {attribute}=\"")).expect(attribute);
    rest.split('"').next().unwrap().parse().unwrap()
}

/// Tags that are opened are closed, in order: enough of XML for what is written here.
fn is_balanced(svg: &str) -> bool {
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let Some((tag, text)) = tag.split_once('>') else { return false };
        if text.contains('&')
            && !["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|known| text.contains(known))
        {
            return false;
        }
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap_or_default());
        }
    }
    open.is_empty()
}

/// What a program says cannot end an element or an attribute.
#[test]
fn words_are_escaped() {
    assert_eq!(escaped("a<b> & \"c\"\u{1b}"), "a&lt;b&gt; &amp; &quot;c&quot;\u{fffd}");
    let said = row(0, 0, "--", Detail::Text("</text><script>&".to_owned()), About::Nothing);
    let svg = svg(&[said], &["<main>"], "1 < 2 && \"so\"");
    assert!(is_balanced(&svg), "{svg}");
    assert!(!svg.contains("<script"), "{svg}");
    assert!(svg.contains(">-- &lt;/text&gt;&lt;script&gt;&amp;</text>"), "{svg}");
    assert!(svg.contains("✗ 1 &lt; 2 &amp;&amp; &quot;so&quot;"), "{svg}");
}

/// A handler that interrupts a handler has its box in that one's, in its thread's column.
#[test]
fn handlers_are_nested() {
    let rows = [
        plain(1, 0, "relax"),
        plain(0, 0, "> handler of"),
        plain(0, 1, "> handler of"),
        plain(0, 2, "relax"),
        plain(0, 1, "< handler returns"),
        plain(1, 0, "> handler of"),
        plain(0, 0, "< handler returns"),
        plain(0, 0, "relax"),
    ];
    let svg = svg(&rows, &["main", "other"], "wrong");
    let boxes = parts(&svg, "<rect class=\"in\"");
    let [outer, inner, other] = boxes[..] else { panic!("{boxes:?}") };
    let span = |part: &str| {
        let (x, y) = (number(part, "x"), number(part, "y"));
        (x, x + number(part, "width"), y, y + number(part, "height"))
    };
    let ((x0, x1, y0, y1), (a0, a1, b0, b1)) = (span(outer), span(inner));
    assert!(x0 < a0 && a1 <= x1 && y0 < b0 && b1 < y1, "{outer} {inner}");
    let (o0, _, _, end) = span(other);
    assert!(o0 > x1, "{other}");
    // It does not return: the box goes on to the last row.
    assert!(end > y1, "{other}");
    // What runs in a handler is to the right of what it interrupted.
    let dots: Vec<_> = parts(&svg, "<circle").into_iter().map(|dot| number(dot, "cx")).collect();
    assert_eq!((dots[2] - dots[1], dots[3] - dots[2]), (12, 12), "{dots:?}");
}

/// An edge leaves the level of the one row and enters that of the other, at its words.
#[test]
fn edges_are_drawn() {
    let store = Detail::Store { value: 1, order: Release };
    let load = Detail::Load { order: Acquire, seen: 1, unseen: None };
    let by = About::Cause(Cause { slot: 1, row: 2 });
    let rows = [
        row(0, 0, "store", store, About::plain(1)),
        row(1, 0, "load", load, About::plain(1)),
        plain(1, 0, "tgkill"),
        row(0, 0, "> handler of", Detail::Signal(10), by),
    ];
    let svg = svg(&rows, &["main", "other"], "wrong");
    let dots = parts(&svg, "<circle");
    let (x, y) = (|row: usize| number(dots[row], "cx"), |row: usize| number(dots[row], "cy"));
    let edges = parts(&svg, "<path class=\"edge");
    // Behind them those of the legend.
    let [read, signal, ..] = edges[..] else { panic!("{edges:?}") };
    assert!(read.contains("\"edge read\"") && signal.contains("\"edge signal\""), "{edges:?}");
    assert!(read.contains(&format!(" {}H", y(0))), "{read}");
    assert!(read.ends_with(&format!("V{}H{}\"/>", y(1), x(1) - 11)), "{read}");
    assert!(signal.contains(&format!(" {}H", y(2))), "{signal}");
    // The other way round it enters behind the words.
    let (_, end) = signal.split_once(&format!("V{}H", y(3))).expect(signal);
    let end: usize = end.trim_end_matches("\"/>").parse().unwrap();
    assert!(end > x(3) + 60 && end < x(1), "{signal}");
}

/// Rows that are repeated are shown once, and edges to the others not at all.
#[test]
fn repeated_rows_are_collapsed() {
    let mut rows = vec![row(0, 0, "spawn", Detail::Text("other".to_owned()), About::Thread(1))];
    rows.extend((0..50).map(|_| plain(0, 0, "relax")));
    rows.push(plain(1, 0, "relax"));
    let svg = svg(&rows, &["main", "other"], "no progress");
    assert_eq!(parts(&svg, "<circle").len(), 3, "{svg}");
    assert!(svg.contains("… the last row 49 times more"), "{svg}");
    // The steps keep their numbers.
    assert!(svg.contains(">52</text>"), "{svg}");
    assert_eq!(
        parts(&svg, "<path class=\"edge life\"").len(),
        2,
        "the edge, and its legend\n{svg}"
    );
}

/// In a deadlock each thread's last row is marked, otherwise the last.
#[test]
fn the_violation_is_marked() {
    let rows = [
        plain(0, 0, "relax"),
        plain(1, 0, "futex wait: sleeps"),
        plain(0, 0, "futex wait: sleeps"),
    ];
    let marked =
        |reason| parts(&svg(&rows, &["main", "other"], reason), "<circle class=\"bad\"").len();
    assert_eq!((marked("deadlock: every thread is asleep"), marked("wrong")), (2, 1));
    let spins: Vec<_> = (0..9).map(|_| plain(0, 0, "relax")).collect();
    assert_eq!(parts(&svg(&spins, &["main"], "no progress"), "<circle class=\"bad\"").len(), 1);
}

/// A long reason takes several lines; where a line number stands does not move anything.
#[test]
fn long_words_are_wrapped() {
    let reason =
        "the handler waits for what the code that it interrupted may have to do ".repeat(4);
    let svg = svg(&[plain(0, 0, "relax")], &["main"], &reason);
    assert!(parts(&svg, "<text class=\"claim\"").len() > 2, "{svg}");
    assert!(is_balanced(&svg));
}

/// Files have names that any system takes.
#[test]
fn files_are_named() {
    assert_eq!(file_name("kernel::late wake: hostile"), "kernel.late-wake--hostile.svg");
}

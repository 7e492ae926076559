//! Where edges run: level in their rows, up and down between two columns.

use super::super::edges::{Edge, Kind};
use super::Lines;
use core::fmt::Write;

/// Edges with the gap that each goes down in, and the track in it.
pub(super) struct Routes {
    routes: Vec<Route>,
    /// Tracks in the gap to the left of each column.
    pub(super) tracks: Vec<usize>,
}

struct Route {
    edge: Edge,
    gap: usize,
    track: usize,
    rightward: bool,
}

/// More edges than that beside each other share tracks.
const TRACKS: usize = 12;

impl Routes {
    pub(super) fn new(lines: &Lines, columns: usize) -> Self {
        let mut ends: Vec<Vec<usize>> = vec![Vec::new(); columns + 1];
        let mut routes = Vec::new();
        let mut edges = lines.edges.clone();
        edges.sort_by_key(|edge| edge.from);
        for edge in edges {
            let column = |line| lines.cell(line).map(|(_, cell)| cell.slot);
            let (Some(from), Some(to)) = (column(edge.from), column(edge.to)) else { continue };
            let rightward = from < to;
            let gap = if rightward { to } else { to + 1 };
            // A track is free below the edge that it had before.
            let free = ends[gap].iter().position(|&end| end < edge.from);
            let track = free.unwrap_or(ends[gap].len()) % TRACKS;
            let tracks = ends[gap].len().max(track + 1);
            ends[gap].resize(tracks, 0);
            ends[gap][track] = ends[gap][track].max(edge.to);
            routes.push(Route { edge, gap, track, rightward });
        }
        Self { routes, tracks: ends.iter().map(Vec::len).collect() }
    }

    /// The kinds that there are.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<_> = self.routes.iter().map(|route| route.edge.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// Lines and tips of the edges of `kind`. `start` and `end` say how far the words of a line reach, `gap` where
    /// that gap begins, `y` where a line is.
    pub(super) fn paths(&self, kind: Kind, at: &dyn At) -> (String, String) {
        let (mut lines, mut tips) = (String::new(), String::new());
        for route in self.routes.iter().filter(|route| route.edge.kind == kind) {
            let (from, to) = (route.edge.from, route.edge.to);
            let (x0, x1, back) = if route.rightward {
                (at.end(from), at.start(to), -6)
            } else {
                (at.start(from), at.end(to), 6)
            };
            let (y0, y1) = (at.y(from), at.y(to));
            let x = at.track(route.gap, route.track);
            let tip = x1 as isize + back;
            write!(lines, "M{x0} {y0}H{x}V{y1}H{tip}").expect("a string takes any text");
            write!(tips, "M{x1} {y1}l{back} -3v6z").expect("a string takes any text");
        }
        (lines, tips)
    }
}

/// Where things are on the page.
pub(super) trait At {
    /// The left of a line's words, and the right.
    fn start(&self, line: usize) -> usize;
    fn end(&self, line: usize) -> usize;
    fn y(&self, line: usize) -> usize;
    fn track(&self, gap: usize, track: usize) -> usize;
}

/// The class of an edge in the style, and what it means.
pub(super) fn class(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Read => ("read", "an acquiring read, from the release store that it read"),
        Kind::Guess => {
            ("guess", "the same, of the last of several equal stores that it may have read")
        }
        Kind::Life => ("life", "a thread is spawned, or joined"),
        Kind::Lock => ("lock", "a lock, from who gave it back"),
        Kind::Wake => ("wake", "a wake-up"),
        Kind::Signal => ("signal", "a signal, from who sent it to the handler"),
        Kind::Ask => ("ask", "a suspension, or a barrier, and who asked for it"),
    }
}

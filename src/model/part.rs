//! A part of an exploration, and what a worker does with it.
//!
//! The executions of a model are a tree of decisions. A part of it is a path whose first branches are
//! fixed, and all that the path leaves open after them. Whoever explores a part also finds out what is to be
//! explored at its fixed branches: loom learns only from executions that another turn there matters.

use super::explore::Explorer;
use super::path::{Path, Turn};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// What is to be explored: all that `path` leaves open after its first `fixed` branches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    path: Path,
    fixed: usize,
    /// The share of the whole that it is, by estimate.
    weight: f64,
}

/// What a worker is to do.
#[derive(Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) part: Part,
    pub(super) seconds: f64,
    /// Others have nothing to do.
    pub(super) share: bool,
}

/// What came of it.
#[derive(Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) executions: usize,
    pub(super) rest: Option<Part>,
    /// Parts that nobody else has.
    pub(super) shared: Vec<Part>,
    /// Parts that others may have found too.
    pub(super) found: Vec<Part>,
}

impl Part {
    pub(super) fn whole(preemption_bound: Option<usize>) -> Self {
        Self { path: Path::root(preemption_bound), fixed: 0, weight: 1.0 }
    }

    /// What no other part has in common with it.
    pub(super) fn key(&self) -> String {
        self.path.decisions(self.fixed)
    }

    /// The share of the whole that is left here, by estimate.
    pub(super) fn left(&self) -> f64 {
        self.weight * (1.0 - self.path.explored(self.fixed))
    }

    pub(super) fn weight(&self) -> f64 {
        self.weight
    }

    fn holds(&self, path: &Path) -> bool {
        path.len() > self.fixed && path.decisions(self.fixed) == self.key()
    }

    /// Gives away what was found to be explored at its fixed branches.
    fn give_found(&mut self) -> Vec<Self> {
        let turns = self.path.open(0, self.fixed);
        self.give(&turns, self.weight)
    }

    /// Gives away all turns that are left at the first branch where there are any.
    fn share(&mut self) -> Vec<Self> {
        let turns = self.path.open(self.fixed, self.path.len());
        let Some(first) = turns.first().map(|turn| turn.branch) else { return Vec::new() };
        let turns: Vec<Turn> = turns.into_iter().take_while(|it| it.branch == first).collect();
        let weight = self.weight * self.path.share(self.fixed, first + 1);
        let given = self.give(&turns, weight);
        (self.fixed, self.weight) = (first + 1, weight);
        given
    }

    fn give(&mut self, turns: &[Turn], weight: f64) -> Vec<Self> {
        turns.iter().for_each(|turn| self.path.close(turn.branch));
        let part = |turn: &Turn| {
            let mut path = self.path.clone();
            path.take(*turn);
            Self { path, fixed: turn.branch + 1, weight }
        };
        turns.iter().map(part).collect()
    }
}

impl Task {
    /// Explores the part for a while.
    pub(super) fn work(self, explorer: &Explorer) -> Answer {
        let Self { mut part, seconds, share } = self;
        let start = Instant::now();
        let mut answer =
            Answer { executions: 0, rest: None, shared: Vec::new(), found: Vec::new() };
        let mut count = 8;
        // The part has so many executions at most.
        let mut most = None;
        loop {
            let next = explorer.some(&part.path, count);
            // After the last execution of the part loom turns at a fixed branch, or ends.
            let inside = next.as_ref().is_some_and(|next| part.holds(next));
            if !inside && count > 1 {
                most = Some(count);
                count /= 2;
                continue;
            }
            answer.executions += count;
            if !inside {
                if let Some(next) = next {
                    part.path = next;
                    let turns = part.path.turns(0);
                    answer.found = part.give(&turns, part.weight);
                }
                return answer;
            }
            part.path = next.expect("inside");
            match &mut most {
                Some(most) => {
                    *most -= count;
                    count = (*most / 2).max(1);
                }
                None if start.elapsed().as_secs_f64() < seconds => count = (2 * count).min(1024),
                None => break,
            }
        }
        answer.found = part.give_found();
        if share {
            answer.shared = part.share();
        }
        answer.rest = Some(part);
        answer
    }
}

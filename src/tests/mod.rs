//! Tests without a second thread: properties against plain reference models, every state with
//! every event, and the rules of the house.

#[cfg(unix)]
mod abandon;
mod all_threads;
mod attach;
mod controls;
mod extra_list;
mod gallery;
mod guide;
mod hub;
mod litmus_ledger;
mod models_ledger;
mod orderings_ledger;
mod preempt;
mod queue;
mod tidy;
mod transitions;
mod turn;
mod words;

use proptest::test_runner::{Config, FileFailurePersistence};

/// Seeds of failures are kept in the repository.
pub(crate) fn config() -> Config {
    let seeds = FileFailurePersistence::SourceParallel("proptest_regressions");
    Config { failure_persistence: Some(Box::new(seeds)), ..Config::default() }
}

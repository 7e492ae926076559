//! `docs/models.md` lists every model and every control.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Models that fail before they could be entered in the ledger, to test the harness.
const HARNESS: &str = "loom_tests/kernel/harness.rs";

/// Names as the sources give them to `Model::new` and `Control::new`.
fn named_in_sources() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in super::tidy::rust_files("loom_tests") {
        if path.ends_with(HARNESS) {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for start in ["Model::new(", "Control::new("] {
            // Names made by a macro are listed below.
            let quoted = text.split(start).skip(1).filter_map(|rest| {
                rest.trim_start().strip_prefix('"')?.split('"').next().map(str::to_owned)
            });
            names.extend(quoted);
        }
        let edges = text.split("\nedge! {").skip(1);
        let shapes = edges.filter_map(|rest| {
            let line = rest.lines().find(|line| {
                let line = line.trim();
                line.contains(": ") && !line.starts_with("///")
            })?;
            line.trim().split(':').next().map(str::to_owned)
        });
        for name in shapes {
            names.extend(
                ["right", "without_release", "without_acquire"]
                    .map(|part| format!("litmus::{name}::{part}")),
            );
        }
    }
    names
}

#[test]
fn the_ledger_lists_every_model() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/models.md");
    let ledger = fs::read_to_string(path).unwrap();
    let names = named_in_sources();
    assert!(names.len() > 60, "only {} models were found in the sources", names.len());
    let missing: Vec<_> =
        names.iter().filter(|name| !ledger.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "write docs/models.md anew by .ci/ledger; it lacks {missing:?}");
}

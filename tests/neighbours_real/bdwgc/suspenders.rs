//! Two that stop the world: bdwgc's collector and our gate, by threads that each may stop.

use super::host;

/// The suspender is a thread that bdwgc stops, too: it waits for nobody who waits for it.
#[test]
fn a_suspender_that_bdwgc_stops() {
    host("its");
}

//! What comes to nothing: records that were not made, permits that are void, gifts to a closed list.

use std::sync::Arc;

use super::super::Model;
use super::{assert_whole, becomes_child, fixture, forked_by_handler, open};
use crate::extra_list::{Replenish, TakeError, Taker};
use crate::model::thread;

/// Claim: a record that was begun and not made is not counted, nor can it be had.
/// Actors: one whose creation fails, one that takes. Exhaustive. If the failed one stays in the total it fails as one
/// in use that nobody has.
#[test]
fn refused_is_not_counted() {
    Model::new("extra_list::refused_is_not_counted").actors(2).check(|| {
        let fixture = fixture(0);
        let held = fixture.take(Taker::Thread).unwrap();
        let theirs = Arc::clone(&fixture);
        let other = thread::spawn("taker", move || match theirs.take(Taker::Thread) {
            Ok(got) => theirs.use_and_give(got),
            Err(error) => assert_eq!(error, TakeError::Empty),
        });
        assert_eq!(fixture.list.replenish(|_| false), Replenish::Refused(0));
        fixture.use_and_give(held);
        other.join();
        assert_whole(&fixture.list);
    });
}

/// Claim: what is given back to a closed list is granted to nobody: who waits is sent away.
/// Actors: one that closes and gives, a waiter. Exhaustive. If it is granted it fails as one that had a record of a
/// closed list.
#[test]
fn closed_grants_nothing() {
    Model::new("extra_list::closed_grants_nothing").actors(2).check_hostile_too(|| {
        let fixture = fixture(0);
        let held = fixture.take(Taker::Thread).unwrap();
        let theirs = Arc::clone(&fixture);
        let waiter = thread::spawn("waiter", move || {
            assert_eq!(theirs.wait(None), Err(TakeError::Closed), "granted by a closed list");
        });
        fixture.list.close();
        fixture.use_and_give(held);
        waiter.join();
        fixture.assert_all_spare(1);
    });
}

/// Claim: a permit that a thread has when its handler forks is void in the child, where it is dropped without effect:
/// the child's list counted its record as spare.
/// Actors: one thread and its handler, a sender. Exhaustive. Given back it fails as the counts
/// are read: more are spare than there are.
#[test]
fn void_permit_is_dropped() {
    Model::new("extra_list::void_permit_is_dropped").actors(2).check(|| {
        forked_by_handler(becomes_child, |list| {
            let permit = list.take(Taker::Thread).unwrap();
            open(|| ());
            drop(permit);
            assert_eq!(list.counts().spare, 1, "counted twice");
        });
    });
}

//! The signal queue: what is announced by whom, and whose mark ACTIVE is.

use std::sync::Arc;

use super::super::Model;
use super::super::support::{Fixture, fixture, from, receive};
use crate::model::{Kernel, Outcome, thread};
use crate::note::{Note, Park};
use crate::sigqueue::{Event, Quiet, Sent};
use crate::sync;

/// Claim: a real-time signal that finds no record wakes the receiver as one that finds one does.
/// Actors: sender, receiver. Exhaustive. Fails, as a deadlock, if only a record is announced.
#[test]
fn bare_send_wakes() {
    Model::new("sigqueue::bare_send_wakes").actors(2).check_hostile_too(|| {
        let fixture = fixture();
        assert_eq!(fixture.queue.send(3, from(0)), Sent::Accepted);
        assert_eq!(fixture.queue.send(3, from(1)), Sent::Accepted);
        let all_records = fixture.queue.take(3).unwrap();
        let theirs = Arc::clone(&fixture);
        let receiver = thread::spawn("receiver", move || {
            let mut receiver = theirs.queue.receiver().unwrap();
            // The two above were announced, and taken by another.
            let Event::Signal(mut batch) = receiver.recv(None, || {}) else { panic!("no signal") };
            assert_eq!(batch.next(), Some(None), "there was no record");
        });
        assert_eq!(fixture.queue.send(3, from(2)), Sent::Accepted);
        receiver.join();
        drop(all_records);
        fixture.assert_idle();
    });
}

/// Claim: one that was accepted without a record is received beside those that come later and have one.
/// Actors: one that frees the records, a sender. Exhaustive. If a record takes the place of the mark it fails as one
/// too few.
#[test]
fn record_joins_bare() {
    Model::new("sigqueue::record_joins_bare").actors(2).check(|| {
        let fixture = fixture();
        (0..2).for_each(|nth| assert_eq!(fixture.queue.send(3, from(nth)), Sent::Accepted));
        let all_records = fixture.queue.take(3).unwrap();
        assert_eq!(fixture.queue.send(3, from(2)), Sent::Accepted);
        let theirs = Arc::clone(&fixture);
        let sender = thread::spawn("sender", move || theirs.queue.send(3, from(3)));
        drop(all_records);
        assert_eq!(sender.join(), Sent::Accepted);
        let received = fixture.queue.take(3).unwrap().count() as u64;
        // Those without a record are received as one.
        assert_eq!(received + fixture.queue.overflow(), 3, "received or merged");
        fixture.assert_idle();
    });
}

/// Claim: what a receiver has not looked at when it leaves is the next one's, who is not asleep over it.
/// Actors: two receivers, one after the other, a sender. Exhaustive. Fails, as a deadlock, if leaving announces
/// nothing.
#[test]
fn rest_is_the_next_ones() {
    Model::new("sigqueue::rest_is_the_next_ones").actors(3).check(|| {
        let fixture = fixture();
        assert_eq!(fixture.send(0, 1), Sent::Accepted);
        let theirs = Arc::clone(&fixture);
        let sender = thread::spawn("sender", move || theirs.send(1, 2));
        let theirs = Arc::clone(&fixture);
        let first = thread::spawn("first", move || {
            let mut receiver = theirs.queue.receiver().unwrap();
            let Event::Signal(batch) = receiver.recv(None, || {}) else { panic!("no signal") };
            batch.signal()
        });
        let before = first.join();
        let mut receiver = fixture.queue.receiver().unwrap();
        let rest = receive(&mut receiver, 1);
        assert_ne!(rest, [(before, 1)], "each once");
        drop(receiver);
        assert_eq!(sender.join(), Sent::Accepted);
        fixture.assert_idle();
    });
}

/// A receiver that writes the second payload while it has a batch of signal 1.
fn writes_beside_its_batch(fixture: &Arc<Fixture>, there: &Arc<Note>) -> thread::JoinHandle<()> {
    let (theirs, there) = (Arc::clone(fixture), Arc::clone(there));
    thread::spawn("receiver", move || {
        let mut receiver = theirs.queue.receiver().unwrap();
        let Event::Signal(batch) = receiver.recv(None, || {}) else { panic!("no signal") };
        there.wake();
        theirs.payloads[1].set(8);
        drop(batch);
    })
}

/// Claim: who takes a signal beside a receiver that has a batch of it, and drops what it took, does not make it
/// quiet: that is the receiver's alone.
/// Actors: receiver, one that takes and disables. Exhaustive. Fails, as an unordered access, if taking clears
/// ACTIVE, or if a batch that was not received does.
#[test]
fn taken_beside_a_batch() {
    Model::new("sigqueue::taken_beside_a_batch").actors(2).check(|| {
        let fixture = fixture();
        assert_eq!(fixture.send(0, 1), Sent::Accepted);
        let there = Arc::new(Note::new());
        let receiver = writes_beside_its_batch(&fixture, &there);
        there.sleep(None);
        assert_eq!(fixture.queue.send(1, from(0)), Sent::Accepted);
        fixture.queue.disable(1).unwrap();
        assert_eq!(fixture.queue.take(1).unwrap().count(), 1);
        let quiet = fixture.queue.wait_quiet(1, || {
            sync::relax();
            true
        });
        assert_eq!(quiet, Ok(Quiet::Quiet));
        assert_eq!(fixture.payloads[1].get(), 8);
        receiver.join();
        fixture.assert_idle();
    });
}

/// Claim: a batch that another thread has at a fork does not keep its signal from being quiet in the child.
/// Actors: receiver, one that forks. Exhaustive. Fails, as a signal that is not quiet, if the child keeps ACTIVE.
#[test]
fn forked_beside_a_batch() {
    Model::new("sigqueue::forked_beside_a_batch").actors(2).check(|| {
        let kernel = Kernel::new().at_most(0);
        let fixture = fixture();
        assert_eq!(fixture.send(0, 1), Sent::Accepted);
        let receiver = writes_beside_its_batch(&fixture, &Arc::new(Note::new()));
        let copy = fixture.queue.copied();
        let outcome = kernel.fork(move || {
            // SAFETY: the child's copy is used by nobody else.
            unsafe { copy.reset_after_fork() };
            copy.disable(1).unwrap();
            let inherited = copy.take(1).unwrap().count();
            assert!(inherited <= 1);
            assert_eq!(copy.wait_quiet(1, || false), Ok(Quiet::Quiet), "nobody has a batch here");
            copy.assert_no_record_in_use();
        });
        assert_eq!(outcome, Outcome::Running);
        receiver.join();
        fixture.assert_idle();
    });
}

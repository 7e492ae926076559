//! The part of receiver: one owner at a time, and no signal falls between two of them.

use std::sync::Arc;

use super::support::{Fixture, fixture, receive, sender};
use super::{Bound, Model};
use crate::model::{Kernel, thread};
use crate::note::{Deadline, Note, Park};
use crate::sigqueue::{Event, Quiet, SignalQueue, Wakeup};

/// Claim: a guest takes the part from a sleeping primary and gives it back; a signal that comes at
/// any step of this is received by one of the two, and neither sleeps over it (E4).
/// Actors: primary, guest, sender. Fails if the part is given back over an announcement without
/// waking the primary.
#[test]
fn guest_against_send() {
    Model::new("guest::guest_against_send").actors(3).apart().bound(Bound::At(3)).check(|| {
        let kernel = Kernel::new();
        let fixture = fixture();
        let theirs = Arc::clone(&fixture);
        let primary = thread::spawn("primary", move || {
            let Ok(mut receiver) = theirs.queue.receiver() else {
                return;
            };
            loop {
                let wakeup = receiver.await_work(None);
                let taken = theirs.queue.take(1).unwrap().count();
                if taken == 1 {
                    assert_eq!(theirs.payloads[0].get(), 7);
                    theirs.queue.close();
                }
                if wakeup == Wakeup::Closed {
                    return;
                }
            }
        });
        let sender = sender(&fixture, 0, 1);
        if let Ok(mut guest) = fixture.queue.borrow() {
            let deadline = Deadline::after(core::time::Duration::ZERO);
            kernel.expire_deadlines();
            let _ = guest.await_work(Some(&deadline));
            if fixture.queue.take(1).unwrap().count() == 1 {
                assert_eq!(fixture.payloads[0].get(), 7);
                fixture.queue.close();
            }
        }
        let _ = sender.join();
        primary.join();
        fixture.assert_idle();
    });
}

/// Claim: the part of receiver is one: what its holders do in it never overlaps, and the next
/// sees what the last did (E4).
/// Actors: two guests, and a third after them. Exhaustive.
#[test]
fn guests_exclude_each_other() {
    Model::new("guest::guests_exclude_each_other").actors(2).check(|| {
        let fixture = fixture();
        let theirs = Arc::clone(&fixture);
        let guest = |fixture: &Fixture| {
            fixture.queue.borrow().map(|_part| fixture.payloads[0].set(7)).is_ok()
        };
        let other = thread::spawn("other guest", move || guest(&theirs));
        let mine = guest(&fixture);
        assert!(other.join() || mine, "the part was free");
        assert!(guest(&fixture), "it was given back");
    });
}

/// Claim: the part goes from the sleeping primary to a guest and back with all that each did in
/// it (E4), whoever is woken by the signal.
/// Actors: primary, guest, one that has work. Bound 3. Fails, as an unordered access, if falling asleep passes
/// nothing on, or changing the owner.
#[test]
fn part_is_handed_over() {
    Model::new("guest::part_is_handed_over").actors(3).bound(Bound::At(3)).check(|| {
        let fixture = fixture();
        let theirs = Arc::clone(&fixture);
        let primary = thread::spawn("primary", move || in_part(&theirs));
        let theirs = Arc::clone(&fixture);
        let initiator = thread::spawn("initiator", move || theirs.queue.fixup());
        if let Ok(_part) = fixture.queue.borrow() {
            fixture.payloads[0].set(2);
        }
        initiator.join();
        fixture.queue.close();
        primary.join();
    });
}

/// A primary that writes in its part whenever there is work.
fn in_part(fixture: &Fixture) {
    let Ok(mut receiver) = fixture.queue.receiver() else { return };
    while let Wakeup::Work { .. } = receiver.await_work(None) {
        fixture.payloads[0].set(1);
    }
}

/// Claim: one that closes the queue gives the primary no part that a guest has (E4).
/// Actors: primary, guest, one that has work and closes. Bound 3. Fails, as an unordered access, if the primary
/// takes for its own what is announced to the guest.
#[test]
fn closed_under_a_guest() {
    Model::new("guest::closed_under_a_guest").actors(3).bound(Bound::At(3)).check_hostile_too(
        || {
            let fixture = fixture();
            let guest = fixture.queue.borrow().unwrap();
            let theirs = Arc::clone(&fixture);
            let primary = thread::spawn("primary", move || in_part(&theirs));
            let theirs = Arc::clone(&fixture);
            let closer = thread::spawn("closer", move || {
                theirs.queue.fixup();
                theirs.queue.close();
            });
            fixture.payloads[0].set(2);
            drop(guest);
            primary.join();
            closer.join();
        },
    );
}

/// Claim: while a guest has a batch of a signal, that is not quiet: a primary has none of it, whose end would be
/// taken for the guest's, when the queue is closed either.
/// Actors: primary, guest. Exhaustive. Fails, as a quiet signal, if the primary takes what is left.
#[test]
fn closed_with_a_batch() {
    Model::new("guest::closed_with_a_batch").actors(2).check(|| {
        let fixture = fixture();
        let mut guest = fixture.queue.borrow().unwrap();
        let (theirs, there) = (Arc::clone(&fixture), Arc::new(Note::new()));
        let note = Arc::clone(&there);
        let primary = thread::spawn("primary", move || {
            let mut receiver = theirs.queue.receiver().unwrap();
            note.wake();
            while let Event::Signal(_) = receiver.recv(None, || {}) {}
        });
        there.sleep(None);
        let _ = fixture.send(0, 1);
        let Event::Signal(batch) = guest.recv(None, || {}) else { panic!("it was sent") };
        let _ = fixture.send(1, 1);
        fixture.queue.close();
        primary.join();
        assert_ne!(fixture.queue.wait_quiet(1, || false), Ok(Quiet::Quiet), "the guest has it");
        drop(batch);
        drop(guest);
        let left = fixture.queue.take(1).unwrap().count();
        assert_eq!(left, 1, "nobody else has");
    });
}

/// Claim: a guest that stays until the signal comes is woken for it, whether the primary exists,
/// sleeps, or comes to be meanwhile.
/// Actors: primary coming, sender, guest. Fails if a new primary takes the guest's wake-up.
#[test]
fn guest_against_new_primary() {
    Model::new("guest::guest_against_new_primary").actors(3).bound(Bound::At(3)).check(|| {
        let fixture = fixture();
        let mut guest = fixture.queue.borrow().unwrap();
        let theirs = Arc::clone(&fixture);
        let primary = thread::spawn("primary", move || {
            let Ok(mut receiver) = theirs.queue.receiver() else {
                return;
            };
            while receiver.await_work(None) != Wakeup::Closed {}
        });
        let sender = sender(&fixture, 0, 1);
        assert_eq!(receive(&mut guest, 1), [(1, 1)]);
        assert_eq!(fixture.payloads[0].get(), 7);
        drop(guest);
        fixture.queue.close();
        primary.join();
        let _ = sender.join();
        fixture.assert_idle();
    });
}

/// Claim: a guest that sleeps while the primary leaves is woken by the signal.
/// Actors: guest, primary that comes and leaves, sender. Bound 3. If who leaves clears RECEIVING, which is the guest's,
/// it fails as a deadlock: nobody knows that the guest sleeps.
#[test]
fn guest_outlasts_primary() {
    Model::new("guest::guest_outlasts_primary").actors(3).bound(Bound::At(3)).check(|| {
        let fixture = fixture();
        let mut guest = fixture.queue.borrow().unwrap();
        let theirs = Arc::clone(&fixture);
        let primary = thread::spawn("primary", move || drop(theirs.queue.receiver().unwrap()));
        let sender = sender(&fixture, 0, 1);
        assert_eq!(receive(&mut guest, 1), [(1, 1)]);
        assert_eq!(fixture.payloads[0].get(), 7);
        drop(guest);
        primary.join();
        let _ = sender.join();
        fixture.assert_idle();
    });
}

/// Claim: a second receiver is refused and changes nothing; the part can be had again once given
/// back.
#[test]
fn second_receiver_is_refused() {
    Model::new("guest::second_receiver_is_refused").actors(2).check(|| {
        let queue = Arc::new(SignalQueue::new());
        let theirs = Arc::clone(&queue);
        let other = thread::spawn("other", move || theirs.receiver().map(drop).is_ok());
        let mine = queue.receiver().map(drop).is_ok();
        assert!(other.join() || mine, "one of two gets the part");
        assert!(queue.receiver().is_ok(), "it was given back");
    });
}

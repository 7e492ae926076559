//! The note: no wake-up is lost, and each tells what came before it.

use std::sync::Arc;

use super::Model;
use super::support::Payload;
use crate::model::{Kernel, thread};
use crate::note::{Deadline, Note, Park, Waited};
use crate::sync::{AtomicU32, Ordering::Relaxed};

struct Fixture {
    note: Note,
    payload: Payload,
    reason: AtomicU32,
}

fn fixture() -> Arc<Fixture> {
    Arc::new(Fixture { note: Note::new(), payload: Payload::new(), reason: AtomicU32::new(0) })
}

fn waker(fixture: &Arc<Fixture>) -> thread::JoinHandle<()> {
    let theirs = Arc::clone(fixture);
    thread::spawn("waker", move || {
        theirs.payload.set(7);
        theirs.reason.fetch_or(1, Relaxed);
        theirs.note.wake();
    })
}

/// Claim: a wake-up before, at any step of, or during the sleep ends it, and passes on what was
/// written before (I1, I2, E1).
/// Actors: waker, sleeper. Exhaustive. Fails, as a deadlock, if the check and the falling asleep
/// are two steps.
#[test]
fn wake_against_sleep() {
    Model::new("note::wake_against_sleep").actors(2).check_hostile_too(|| {
        let fixture = fixture();
        let waker = waker(&fixture);
        assert_eq!(fixture.note.sleep(None), Waited::Woken);
        assert_eq!(fixture.payload.get(), 7);
        waker.join();
    });
}

/// Claim: a sleep whose deadline passes says so, unless it was woken; then it has seen the wake-up,
/// and one that comes later ends the next sleep.
/// Actors: waker, clock, sleeper. Exhaustive. Fails if giving up wipes out a wake-up.
#[test]
fn wake_against_deadline() {
    Model::new("note::wake_against_deadline").actors(3).check_hostile_too(|| {
        let kernel = Kernel::new();
        let fixture = fixture();
        let deadline = Deadline::after(core::time::Duration::ZERO);
        let clock = thread::spawn("clock", move || kernel.expire_deadlines());
        let waker = waker(&fixture);
        if fixture.note.sleep(Some(&deadline)) == Waited::TimedOut {
            assert_eq!(fixture.note.sleep(None), Waited::Woken);
        }
        assert_eq!(fixture.payload.get(), 7);
        waker.join();
        clock.join();
    });
}

/// Claim: a wake-up that `clear` wipes out still tells its reason (E2).
/// Actors: waker, sleeper. Exhaustive. Fails if `clear` does not acquire.
#[test]
fn clear_against_wake() {
    Model::new("note::clear_against_wake").actors(2).check(|| {
        let kernel = Kernel::new();
        let fixture = fixture();
        let waker = waker(&fixture);
        fixture.note.clear();
        let reason = fixture.reason.load(Relaxed);
        waker.join();
        let deadline = Deadline::after(core::time::Duration::ZERO);
        kernel.expire_deadlines();
        let wiped_out = fixture.note.sleep(Some(&deadline)) == Waited::TimedOut;
        assert!(!wiped_out || reason == 1, "a wake-up was wiped out and its reason not seen");
    });
}

//! Handshakes: one thread stands, the others run.

use super::host::{Runtime, work};
use super::*;
use crate::world::HandshakeError;

/// A member works, polls, goes out, and leaves, while another thread shakes hands with it.
fn shakes<B: Barrier + 'static>(kernel: Kernel, barrier: B) {
    let runtime = Runtime::new(1, kernel, barrier);
    let mut own = runtime.enter();
    let (theirs, thread) = (runtime.clone(), own.thread());
    let other = thread::spawn("other", move || {
        match theirs.world().handshake(thread, |stopped| work(stopped.record())) {
            Ok(()) | Err(HandshakeError::Gone) => {}
            Err(other) => panic!("{other}"),
        }
    });
    work(own.record());
    own.poll();
    work(own.record());
    drop(own.external());
    work(own.record());
    drop(own);
    other.join();
    runtime.assert_open();
}

/// Claim: while somebody shakes hands with a thread, that does not run; and each sees what the other did (I1, E1, E3,
/// E5). One that has left is gone.
/// Actors: a member, another thread. Bound 3. Fails if its gate is not shut.
#[test]
fn handshake_with_one() {
    both_barriers!("handshake_with_one", 2, 3, shakes);
}

/// Claim: a handshake and a stop of the world take turns (E4), and the others run during the handshake: the member
/// with which it is not waited for by it.
/// Actors: a member that shakes hands with itself, a stopper. Bound 3. Fails if a handshake does not take the turn.
#[test]
fn handshake_against_stop() {
    both_barriers!("handshake_against_stop", 2, 3, |kernel: Kernel, barrier| {
        let runtime = Runtime::new(1, kernel, barrier);
        let mut own = runtime.enter();
        let stopper = runtime.stopper(1..=1);
        work(own.record());
        let thread = own.thread();
        own.handshake(thread, |stopped| work(stopped.record())).unwrap();
        work(own.record());
        runtime.leave(own, [stopper]);
    });
}

/// Claim: a handshake with each thread meets all that are there when it begins, also one that is born, once (E2).
/// Actors: a member that bears a thread, that, and one that shakes hands. Bound 2. Fails if the slots are not read
/// anew.
#[test]
fn each_is_met() {
    both_barriers!("each_is_met", 3, 2, |kernel: Kernel, barrier| {
        let runtime = Runtime::new(2, kernel, barrier);
        let mut own = runtime.enter();
        let theirs = runtime.clone();
        let other = thread::spawn("other", move || {
            let mut met = 0;
            let each = theirs.world().each(|stopped| {
                work(stopped.record());
                met += 1;
            });
            each.unwrap();
            assert!((1..=2).contains(&met), "{met}");
        });
        let birth: Unborn<_> = own.birth().unwrap();
        work(birth.record());
        let child = thread::spawn("child", move || {
            let own = birth.enter().unwrap();
            work(own.record());
        });
        runtime.leave(own, [child, other]);
    });
}

//! The child of a fork: an inherited queue neither hangs nor loses what it had.

use std::sync::Arc;

use super::Model;
use super::support::{fixture, from, receive};
use crate::model::{Kernel, Outcome, thread};
use crate::sigqueue::Sent;

/// Claim: a fork while a handler of another thread is at any step of `send` leaves the child a
/// queue that works, with every record usable again, and nothing pending unannounced.
/// Actors: a sender with its handler's steps, the forking thread. Exhaustive. Fails if the child
/// keeps the records of handlers that are not in it, or relies on their announcement (I1).
#[test]
fn fork_while_handler_sends() {
    Model::new("fork::fork_while_handler_sends").actors(2).check(|| {
        let kernel = Kernel::new().at_most(0);
        let fixture = fixture();
        let theirs = Arc::clone(&fixture);
        let sender = thread::spawn("sender", move || theirs.queue.send(3, from(1)));
        let copy = fixture.queue.copied();
        let outcome = kernel.fork(move || {
            // SAFETY: the child's copy is used by nobody else.
            unsafe { copy.reset_after_fork() };
            let inherited = u32::from(copy.next_pending(1).is_some());
            assert_eq!(copy.send(3, from(2)), Sent::Accepted);
            let mut receiver = copy.receiver().unwrap();
            let sends: u32 = receive(&mut receiver, 1 + inherited).iter().map(|(_, n)| n).sum();
            assert_eq!(sends, 1 + inherited, "the inherited signal and the child's own");
            drop(receiver);
            copy.assert_no_record_in_use();
            // Both records can be had.
            assert_eq!(copy.send(3, from(3)), Sent::Accepted);
            assert_eq!(copy.send(3, from(4)), Sent::Accepted);
            assert_eq!(copy.take(3).unwrap().filter(Option::is_some).count(), 2);
        });
        assert_eq!(outcome, Outcome::Running);
        assert_eq!(sender.join(), Sent::Accepted);
        assert_eq!(fixture.queue.take(3).unwrap().count(), 1, "the parent's own is the parent's");
        fixture.assert_idle();
    });
}

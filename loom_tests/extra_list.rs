//! The list of spare records: one owner each, no waiter forgotten, counts that always add up.

mod ends;

use std::sync::Arc;

use super::support::Payload;
use super::{Bound, Control, Model};
use crate::extra_list::{ExtraList, RecordCounts, Replenish, TakeError, Taker, Ticket};
use crate::model::{Disposition, How, Kernel, SigSet, sig, thread};
use crate::note::Deadline;
use crate::sync::Ordering::Relaxed;

/// A list of up to four records, and what its owner alone may touch of each.
struct Fixture {
    list: ExtraList<4>,
    payloads: [Payload; 4],
}

/// With as many records as make one more than the reserve.
fn fixture(reserve: u16) -> Arc<Fixture> {
    let list = ExtraList::new(reserve);
    let made = usize::from(reserve) + 1;
    assert_eq!(list.replenish(|_| true), Replenish::Created(made));
    Arc::new(Fixture { list, payloads: core::array::from_fn(|_| Payload::new()) })
}

impl Fixture {
    /// The owner's use of a record: loom fails it if another's is not over.
    #[track_caller]
    fn touch(&self, index: usize) {
        self.payloads[index].set(1);
        self.payloads[index].set(0);
    }

    fn take(&self, taker: Taker) -> Result<Ticket, TakeError> {
        self.list.take(taker).map(|permit| permit.redeem().unwrap())
    }

    fn wait(&self, deadline: Option<&Deadline>) -> Result<Ticket, TakeError> {
        self.list.wait(deadline).map(|permit| permit.redeem().unwrap())
    }

    #[track_caller]
    fn use_and_give(&self, ticket: Ticket) {
        self.touch(ticket.index);
        self.list.give(ticket).unwrap();
    }

    #[track_caller]
    fn assert_all_spare(&self, total: usize) {
        let expected = RecordCounts { total, spare: total, in_use: 0, waiting: 0 };
        assert_eq!(self.list.counts(), expected);
    }
}

/// Claim: of two threads that take the only record one gets it, or both one after the other, the
/// second after the first is done (I1, E1).
/// Actors: two takers. Exhaustive. Fails, as an unordered access, if a bit or the word passes
/// nothing on.
#[test]
fn two_takers_one_spare() {
    Model::new("extra_list::two_takers_one_spare").actors(2).check(|| {
        let fixture = fixture(0);
        let body = |fixture: Arc<Fixture>| match fixture.take(Taker::Thread) {
            Ok(index) => fixture.use_and_give(index),
            Err(error) => assert_eq!(error, TakeError::Empty),
        };
        let theirs = Arc::clone(&fixture);
        let other = thread::spawn("taker", move || body(theirs));
        body(Arc::clone(&fixture));
        other.join();
        fixture.assert_all_spare(1);
    });
}

/// Claim: a thread that waits gets what is given back, whenever that is (E2), and after its last
/// use (E1).
/// Actors: giver, waiter. Exhaustive. Fails, as a deadlock, if the bell is read after the word.
#[test]
fn give_wakes_waiter() {
    Model::new("extra_list::give_wakes_waiter").actors(2).check_hostile_too(|| {
        let fixture = fixture(0);
        let held = fixture.take(Taker::Thread).unwrap();
        let theirs = Arc::clone(&fixture);
        let giver = thread::spawn("giver", move || theirs.use_and_give(held));
        let got = fixture.wait(None).unwrap();
        fixture.use_and_give(got);
        giver.join();
        fixture.assert_all_spare(1);
    });
}

/// Claim: two threads wait for one record; each gets it in its turn, and nobody is woken for
/// nothing or forgotten (I3, I4).
/// Actors: giver, two waiters. Bound 3. Fails, as a deadlock, if what a waiter gives back does not
/// wake the other.
#[test]
fn empty_then_give() {
    Model::new("extra_list::empty_then_give").actors(3).apart().bound(Bound::At(3)).check(|| {
        let fixture = fixture(0);
        let held = fixture.take(Taker::Thread).unwrap();
        let waiters = ["first", "second"].map(|name| {
            let theirs = Arc::clone(&fixture);
            thread::spawn(name, move || {
                let got = theirs.wait(None).unwrap();
                theirs.use_and_give(got);
            })
        });
        fixture.use_and_give(held);
        waiters.into_iter().for_each(thread::JoinHandle::join);
        fixture.assert_all_spare(1);
    });
}

/// Claim: a handler that interrupts its own thread at any step of `take` or `give`, the last
/// ordinary record being gone or not, gets a record at once (I5).
/// Actors: one thread and its handler, a sender. Exhaustive. Fails if ordinary code may take the
/// reserve, or if any step keeps out those that come after it.
#[test]
fn handler_takes_from_reserve() {
    Model::new("extra_list::handler_takes_from_reserve").actors(2).check(|| {
        let kernel = Kernel::new().at_most(1);
        let fixture = fixture(1);
        let theirs = Arc::clone(&fixture);
        let handler = move |_| {
            let got = theirs.take(Taker::Handler).expect("the reserve");
            theirs.use_and_give(got);
        };
        kernel.sigaction(sig::USR1, Disposition::handler(handler));
        let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::USR1));
        let held = fixture.take(Taker::Thread).unwrap();
        assert_eq!(fixture.take(Taker::Thread), Err(TakeError::Empty), "the reserve is kept");
        fixture.use_and_give(held);
        sender.join();
        fixture.assert_all_spare(2);
    });
}

/// Claim: whatever an observer sees adds up, with no more in use or waiting than there are threads
/// (I2), and all is spare in the end.
/// Actors: a taker, a waiter, an observer. Bound 3. Fails if a record is counted before or after
/// it is had, as with a counter of its own.
#[test]
fn counts_add_up() {
    Model::new("extra_list::counts_add_up").actors(3).bound(Bound::At(3)).check_hostile_too(|| {
        let fixture = fixture(0);
        let users = ["first", "second"].map(|name| {
            let theirs = Arc::clone(&fixture);
            thread::spawn(name, move || {
                let got = theirs.wait(None).unwrap();
                theirs.use_and_give(got);
            })
        });
        // As in `created_is_published`.
        fixture.list.word().fetch_or(0, Relaxed);
        let seen = fixture.list.counts();
        assert_eq!(seen.spare + seen.in_use, seen.total);
        assert!(seen.in_use <= 1 && seen.waiting <= 1, "{seen:?}");
        assert!(seen.waiting == 0 || seen.in_use == 1, "waits beside a spare record: {seen:?}");
        users.into_iter().for_each(thread::JoinHandle::join);
        fixture.assert_all_spare(1);
    });
}

/// Claim: if whoever takes the last record has more created, there is one more than needed when
/// all are done, none was created twice, none without need, and nobody ever waited in vain.
/// Actors: two takers that hold their record until both have one. Exhaustive. Fails if a need that
/// arises while another thread creates is seen by neither.
#[test]
fn create_hook_keeps_one_more() {
    Model::new("extra_list::create_hook_keeps_one_more").actors(2).apart().check(|| {
        let fixture = fixture(0);
        let body = |fixture: Arc<Fixture>| {
            let permit = fixture.list.wait(None).unwrap();
            let short = permit.short();
            let held = permit.redeem().unwrap();
            if short {
                let made = fixture.list.replenish(|index| {
                    fixture.touch(index);
                    true
                });
                assert!(!matches!(made, Replenish::Refused(_)));
            }
            fixture.touch(held.index);
            held
        };
        let theirs = Arc::clone(&fixture);
        let other = thread::spawn("other", move || body(theirs));
        let held = [body(Arc::clone(&fixture)), other.join()];
        assert_ne!(held[0].index, held[1].index, "one record, two owners");
        let counts = fixture.list.counts();
        assert_eq!((counts.total, counts.spare, counts.in_use), (3, 1, 2));
        held.into_iter().for_each(|ticket| fixture.use_and_give(ticket));
        fixture.assert_all_spare(3);
    });
}

/// Claim: who sees that there are so many records sees what was made of them (E3).
/// Actors: one that creates, one that walks. Exhaustive. Fails, as an unordered access, if a record
/// is counted before it is made, or the count passes nothing on.
#[test]
fn created_is_published() {
    Model::new("extra_list::created_is_published").actors(2).check(|| {
        let fixture = fixture(0);
        let theirs = Arc::clone(&fixture);
        let creator = thread::spawn("creator", move || {
            let held = theirs.take(Taker::Thread).unwrap();
            let make = |index: usize| {
                theirs.payloads[index].set(7);
                true
            };
            assert_eq!(theirs.list.replenish(make), Replenish::Created(1));
            theirs.list.give(held).unwrap();
        });
        // loom does not think of a plain load before another thread's load and exchange; with this
        // it tries every place.
        fixture.list.word().fetch_or(0, Relaxed);
        for index in 1..fixture.list.counts().total {
            assert_eq!(fixture.payloads[index].get(), 7);
        }
        creator.join();
        fixture.assert_all_spare(2);
    });
}

/// Claim: a record given at the moment at which a waiter's deadline passes is had by it, or is
/// spare; never lost (I3).
/// Actors: giver, clock, waiter. Bound 3. Fails if a waiter leaves without looking for a grant.
#[test]
fn deadline_against_give() {
    Model::new("extra_list::deadline_against_give")
        .actors(3)
        .bound(Bound::At(3))
        .check_hostile_too(|| {
            let kernel = Kernel::new().at_most(0);
            let fixture = fixture(0);
            let held = fixture.take(Taker::Thread).unwrap();
            let deadline = Deadline::after(core::time::Duration::ZERO);
            let theirs = Arc::clone(&fixture);
            let giver = thread::spawn("giver", move || theirs.use_and_give(held));
            let clock = thread::spawn("clock", move || kernel.expire_deadlines());
            match fixture.wait(Some(&deadline)) {
                Ok(got) => fixture.use_and_give(got),
                Err(error) => assert_eq!(error, TakeError::TimedOut),
            }
            giver.join();
            clock.join();
            fixture.assert_all_spare(1);
        });
}

/// Claim: closing sends everybody away who waits, and a record given meanwhile is had by one of
/// them or spare.
/// Actors: closer, two waiters. Bound 3. Fails, as a deadlock, if it wakes only one.
#[test]
fn close_sends_waiters_away() {
    Model::new("extra_list::close_sends_waiters_away").actors(3).bound(Bound::At(3)).check(|| {
        let fixture = fixture(0);
        let held = fixture.take(Taker::Thread).unwrap();
        let waiters = ["first", "second"].map(|name| {
            let theirs = Arc::clone(&fixture);
            thread::spawn(name, move || match theirs.wait(None) {
                Ok(got) => theirs.use_and_give(got),
                Err(error) => assert_eq!(error, TakeError::Closed),
            })
        });
        fixture.list.close();
        fixture.use_and_give(held);
        waiters.into_iter().for_each(thread::JoinHandle::join);
        fixture.assert_all_spare(1);
    });
}

/// What is a thread's own list from here on: others are not there, this thread holds nothing.
fn becomes_child(list: &ExtraList<4>) {
    // SAFETY: the other threads of the model do not use the list.
    unsafe { list.reset_after_fork(|_| false) };
}

/// Every record that is counted can be had, and no other.
#[track_caller]
fn assert_whole(list: &ExtraList<4>) {
    let RecordCounts { total, spare, in_use, waiting } = list.counts();
    assert_eq!((spare, in_use, waiting), (total, 0, 0));
    let take = || list.take(Taker::Handler).ok().map(|permit| permit.redeem().unwrap());
    let had: Vec<_> = core::iter::from_fn(take).collect();
    assert!(had.iter().map(|ticket| ticket.index).eq(0..total));
    assert!((total..4).all(|index| !list.is_free(index)), "free, and not counted");
    had.into_iter().for_each(|ticket| list.give(ticket).unwrap());
}

/// Runs `body` on a list of a record with a handler that makes it a child's, wherever it lands in
/// what is `open`.
fn forked_by_handler(child: fn(&ExtraList<4>), body: fn(&ExtraList<4>)) {
    let kernel = Kernel::new().at_most(1);
    let fixture = fixture(0);
    let theirs = Arc::clone(&fixture);
    kernel.sigaction(sig::USR1, Disposition::handler(move |_| child(&theirs.list)));
    kernel.sigmask(How::Block, SigSet::ALL);
    let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::USR1));
    body(&fixture.list);
    sender.join();
    assert_whole(&fixture.list);
}

fn open<T>(body: impl FnOnce() -> T) -> T {
    let kernel = Kernel::current();
    kernel.sigmask(How::Unblock, SigSet::ALL);
    let result = body();
    kernel.sigmask(How::Block, SigSet::ALL);
    result
}

/// Who held the only record is not in the child. The sleep is open, as an attach has it.
fn wait_for_one_lost(list: &ExtraList<4>) {
    let _lost = list.take(Taker::Thread).unwrap().redeem();
    let permit = list.wait_with(None, |sleep| open(sleep)).unwrap();
    list.give(permit.redeem().unwrap()).unwrap();
}

/// Claim: a handler that interrupts a wait at any step of its sleep may fork, once or as often in
/// itself as a count of two bits would forget; in the child the wait has what others held.
/// Actors: one thread and its handler, a sender. Exhaustive. Fails, as a deadlock, if the bell is as
/// it was; as a wrong count, if the wait ends as one that is counted.
#[test]
fn fork_in_own_wait() {
    Model::new("extra_list::fork_in_own_wait")
        .actors(2)
        .check_hostile_too(|| forked_by_handler(becomes_child, wait_for_one_lost));
    Model::new("extra_list::four_forks_in_own_wait").actors(2).check(|| {
        forked_by_handler(|list| (0..4).for_each(|_| becomes_child(list)), wait_for_one_lost)
    });
}

/// Passes: `extra_list::fork_in_own_wait`.
#[test]
fn fork_leaves_the_bell() {
    Control::new("extra_list::fork_leaves_the_bell", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 0 at extra_list.rs")
        .stands("sender", "thread exits")
        .check(|| {
            // One record, which is spare, and one fork.
            let child = |list: &ExtraList<4>| {
                list.word().store(1 << 15 | 1, Relaxed);
                list.forks().add();
            };
            forked_by_handler(child, wait_for_one_lost);
        });
}

/// Forks that are counted modulo four: of four the wait learns nothing, and ends as one that the child's
/// list never counted. Passes: `extra_list::four_forks_in_own_wait`.
#[test]
fn forks_counted_modulo_four() {
    Control::new("extra_list::forks_counted_modulo_four", "subtract with overflow")
        .actors(2)
        .check(|| {
            let child = |list: &ExtraList<4>| {
                let before = list.forks().get();
                (0..4).for_each(|_| becomes_child(list));
                list.forks().set(before);
            };
            let waits = |list: &ExtraList<4>| {
                let held = list.take(Taker::Thread).unwrap().redeem().unwrap();
                let deadline = Deadline::after(core::time::Duration::ZERO);
                Kernel::current().expire_deadlines();
                _ = list.wait_with(Some(&deadline), |sleep| open(sleep));
                // In the child it is nobody's.
                _ = list.give(held);
            };
            forked_by_handler(child, waits);
        });
}

/// Claim: a handler that interrupts the making of a record may fork; the child's list has those that
/// were counted, each once, and makes others.
/// Actors: one thread and its handler, a sender. Exhaustive. Fails, as a wrong count, if what was
/// begun before the fork is counted after it; if a number that is not counted is left free.
#[test]
fn fork_in_own_creating() {
    Model::new("extra_list::fork_in_own_creating").actors(2).check(|| {
        forked_by_handler(becomes_child, |list| {
            let first = list.take(Taker::Thread).unwrap().redeem().unwrap();
            let _ = list.replenish(|_| open(|| true));
            // In the child it is nobody's, and no more are wanted than that one.
            let _ = list.give(first);
            assert_whole(list);
            assert_eq!(list.replenish(|_| true), Replenish::Created(0));
        });
    });
}

/// Two that wait beside one that makes a record, for handlers alone as it turns out.
fn refused_beside_waiters(refuses: fn(&ExtraList<4>)) {
    let list = Arc::new(ExtraList::<4>::new(1));
    let waiters = ["first", "second"].map(|name| {
        let theirs = Arc::clone(&list);
        thread::spawn(name, move || {
            assert_eq!(theirs.wait(None).map(drop).unwrap_err(), TakeError::NoRecords);
        })
    });
    refuses(&list);
    waiters.into_iter().for_each(thread::JoinHandle::join);
    let counts = list.counts();
    assert_eq!((counts.total, counts.spare, counts.waiting), (1, 1, 0));
}

/// Claim: who waits while records are made is sent away when that ends and leaves none but the
/// reserve (I6).
/// Actors: one that creates, two that wait. Bound 3. Fails, as a deadlock, if the one who stops
/// creating, or the first who leaves, wakes nobody.
#[test]
fn refused_creation_sends_waiters_away() {
    Model::new("extra_list::refused_creation_sends_waiters_away")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| {
            refused_beside_waiters(|list| {
                assert_eq!(list.replenish(|index| index < 1), Replenish::Refused(1));
            });
        });
}

/// Passes: `extra_list::refused_creation_sends_waiters_away`.
#[test]
fn refused_creation_wakes_nobody() {
    Control::new("extra_list::refused_creation_wakes_nobody", "deadlock")
        .actors(3)
        .stands("second", "futex wait: sleeps 0 at extra_list.rs")
        .check(|| {
            refused_beside_waiters(|list| {
                // The same steps without a wake-up: one record is being made, then a second, then none.
                list.word().fetch_add(1 << 60 | 1 << 15, Relaxed);
                list.number_is_free(0);
                list.word().fetch_add(1 + (1 << 15), Relaxed);
                list.word().fetch_sub(1 << 60 | 1 << 15, Relaxed);
            });
        });
}

/// Claim: so it is when another thread is at any step of it, who is not in the child: what he was
/// making is made anew there.
/// Actors: one that creates, one that forks. Exhaustive. Fails as `fork_in_own_creating`.
#[test]
fn fork_while_creating() {
    Model::new("extra_list::fork_while_creating").actors(2).check(|| {
        let kernel = Kernel::new().at_most(0);
        let fixture = fixture(0);
        let held = fixture.take(Taker::Thread).unwrap();
        let theirs = Arc::clone(&fixture);
        let creator = thread::spawn("creator", move || theirs.list.replenish(|_| true));
        let copy = fixture.list.copied();
        kernel.fork(move || {
            becomes_child(&copy);
            assert_whole(&copy);
            let first = copy.take(Taker::Thread).unwrap();
            let counts = copy.counts();
            let wanted = 1 - counts.spare;
            assert_eq!(copy.replenish(|_| true), Replenish::Created(wanted));
            copy.give(first.redeem().unwrap()).unwrap();
            assert_whole(&copy);
        });
        creator.join();
        fixture.use_and_give(held);
        fixture.assert_all_spare(2);
    });
}

//! Threads that are being created, and births that are given up.

use std::cell::RefCell;

use super::{Seat, Told, World, operation, report, world};
use crate::all_threads::host::Wait;
use crate::all_threads::{Birth, Call, CallError, JoinError, Late, Member, Missing};
use crate::note::Deadline;

/// A thread that is being created has what its creator had, and runs what comes after.
#[test]
fn births() {
    let world = world();
    let told = world.told();
    let creator = world.join(1, 0).unwrap();
    assert_eq!(world.call(), report(1, 0, 0));
    // Not begun when it is asked: nobody interrupts it.
    told.wait.set(Some(Wait::TimedOut));
    let create = |seat: usize| {
        // SAFETY: kept until the calls below have seen that it is not begun.
        let birth = unsafe { creator.create(&world.seats[seat], |birth| birth) };
        birth.map(|birth| RefCell::new(Some(birth)))
    };
    let birth = told.as_thread(1, || create(1)).unwrap();
    let taken = told.as_thread(1, || create(0)).map(drop);
    assert_eq!(taken, Err(JoinError::SeatTaken));
    let run = || world.run();
    let deadline = Deadline::after(std::time::Duration::ZERO);
    let begun = RefCell::new(None);
    let late = |missing: &Missing<'_, Told>| {
        let mut seats = Vec::new();
        missing.each(&mut |seat| seats.push(std::ptr::from_ref(seat)));
        assert_eq!(seats, [std::ptr::from_ref(&world.seats[1])]);
        assert_eq!(missing.count(), 1);
        assert_eq!(world.call(), Err(CallError::Engaged), "a call is under way");
        *begun.borrow_mut() = birth.take().map(|birth| told.as_thread(2, || birth.begin()));
        Late::Until(deadline)
    };
    let call = Call::new(operation(&run)).until(&deadline).when_late(&late);
    let done = world.all.call(world.seats, call).unwrap();
    assert_eq!((done.others, done.is_complete(), world.ran()), (2, true, [2, 2, 1, 0]));
    world.leave(2, begun.take().unwrap().unwrap());
    // One that never comes.
    let birth = told.as_thread(1, || create(2)).unwrap();
    let late = |_: &Missing<'_, Told>| {
        told.as_thread(1, || drop(birth.take()));
        Late::Wait
    };
    let call = Call::new(operation(&run)).until(&deadline).when_late(&late);
    let done = world.all.call(world.seats, call).unwrap();
    assert_eq!((done.others, world.ran()), (1, [3, 3, 1, 0]));
    // On a thread that has a seat: the birth is given up, and nobody waits for it.
    let birth: Option<Birth<Told>> = told.as_thread(1, || create(2)).unwrap().into_inner();
    let refused = told.as_thread(1, || birth.unwrap().begin()).map(drop);
    assert_eq!(refused, Err(JoinError::AlreadyJoined));
    assert_eq!(world.call(), report(1, 0, 0));
    world.leave(1, creator);
}

/// A birth that is given up after its creator ran the round counts as nobody.
#[test]
fn a_birth_given_up_during_a_call() {
    struct GivesUp<'a>(&'a World, &'a Member<Told>);
    impl crate::all_threads::Seats<Told> for GivesUp<'_> {
        fn each(&self, look: &mut dyn FnMut(&Seat)) {
            self.0.seats.iter().for_each(look);
            // SAFETY: the birth is dropped.
            let given_up = || unsafe { self.1.create(&self.0.seats[1], drop) };
            self.0.told().as_thread(1, given_up).unwrap();
        }
    }
    let world = world();
    let creator = world.join(1, 0).unwrap();
    let run = || world.run();
    let done = world.all.call(&GivesUp(&world, &creator), Call::new(operation(&run))).unwrap();
    assert_eq!((done.others, done.mismatches, world.ran()), (1, 0, [1, 1, 0, 0]));
    world.leave(1, creator);
}

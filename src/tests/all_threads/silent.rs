//! Threads that do not answer, are never there, or come as fast as they are asked.

use std::cell::Cell;
use std::time::Duration;

use super::{Seat, Told, World, operation, report, world};
use crate::all_threads::host::Wait;
use crate::all_threads::{Call, Errno, LIVE, Late, Missing, Seats};
use crate::note::Deadline;

/// Without a deadline a call gives up a thread that cannot be reached, and no other: not while it waits for
/// somebody else, nor one that is reached after all.
#[test]
fn who_cannot_be_reached_is_given_up() {
    let world = world();
    let told = world.told();
    let members = [1, 2].map(|thread| world.join(thread, thread).unwrap());
    told.masked[1].set(true);
    told.wait.set(Some(Wait::Look));
    told.unreachable[1].set(true);
    let named = world.call_named().unwrap();
    assert_eq!((named.others, named.abandoned, named.missing), (1, 1, Some(2)));
    let looked = told.looked.replace(0);
    assert!(looked > 1, "not at once");
    let ran = world.ran();
    told.unmask(1);
    assert_eq!(world.ran(), ran, "what was asked was taken back");
    // The other one answers at last, when the first is no more to be reached than before.
    told.masked[1].set(true);
    told.masked[2].set(true);
    told.answers_after.set((2, 5));
    assert_eq!(world.call(), report(1, 0, 1));
    assert!(told.looked.replace(0) > looked.min(5));
    // And where it is told of who is late, that is asked.
    told.unmask(1);
    told.masked[1].set(true);
    let asked = Cell::new(0);
    let late = |missing: &Missing<'_, Told>| {
        asked.set(asked.get() + 1);
        assert_eq!(missing.count(), 1);
        if asked.get() == 2 {
            told.unmask(1);
        }
        Late::Wait
    };
    let run = || world.run();
    let call = Call::new(operation(&run)).when_late(&late);
    assert_eq!(world.all.call(world.seats, call), report(2, 0, 0));
    assert_eq!(asked.get(), 2);
    for (thread, member) in (1..).zip(members) {
        world.leave(thread, member);
    }
}

/// Threads that are told of and are never there, and threads that come as fast as they are asked, end.
#[test]
fn no_sweep_for_ever() {
    /// Before each sweep one more comes.
    struct Come<'a>(&'a World, Cell<u32>, bool);
    impl Seats<Told> for Come<'_> {
        fn each(&self, look: &mut dyn FnMut(&Seat)) {
            self.0.seats.iter().for_each(look);
        }
        fn refresh(&self, strangers: u32) -> Result<(), Errno> {
            self.1.set(self.1.get() + 1);
            assert!(self.1.get() < 10_000, "for ever");
            let told = self.0.told();
            told.ended[3].set(self.2);
            if let Some(free) = self.0.seats.iter().find(|seat| seat.reserve(strangers, 0).is_ok())
            {
                free.sit(4);
                told.here[3].set(Some(Box::leak(Box::default())));
                free.settle(self.0.all, LIVE);
            }
            Ok(())
        }
    }
    for ended in [false, true] {
        let world = world();
        let run = || world.run();
        let come = Come(&world, Cell::new(0), ended);
        world.told().wait.set(Some(Wait::TimedOut));
        let passed = Deadline::after(Duration::ZERO);
        let call = Call::new(operation(&run));
        let done = match ended {
            true => world.all.call(&come, call),
            false => world.all.call(&come, call.until(&passed)),
        };
        assert!(!done.unwrap().is_complete());
    }
}

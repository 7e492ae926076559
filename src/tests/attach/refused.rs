//! What is refused, and what comes back: second owners, waits for what cannot come, tokens forgotten and
//! kept too long.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

#[test]
fn a_host_whose_slots_are_anothers_is_refused() {
    let toy = Toy { on_reset: Cell::new(|_| ()), lot: Cell::new(None), creates: Cell::new(64) };
    let second: &'static Lot = Box::leak(Box::new(Threads::new(toy, Logged::default(), 0)));
    second.host().taken.set(true);
    assert_eq!(second.create(), Err(CreateError::SlotsTaken));
    let attach = |refused: Result<Token, AttachError>| assert_eq!(refused.map(drop), TAKEN);
    const TAKEN: Result<(), AttachError> = Err(AttachError::SlotsTaken);
    attach(second.attach(Binding::Bound));
    attach(second.try_attach(Binding::Unbound));
    attach(second.attach_in_handler());
    // As if a thread of the first one's were there.
    second.host().slot.looks_held();
    attach(second.attach(Binding::Bound));
    assert_eq!((second.state(), second.current()), (ThreadState::Unknown, None));
    let first = lot(0);
    let raw = first.attach(Binding::Unbound).unwrap().into_raw();
    let Err(DetachError::NotAttached(raw)) = second.detach_raw(raw) else { panic!("detached") };
    first.detach_raw(raw).unwrap();
}

#[test]
fn the_runtimes_own_create_does_not_wait_for_itself() {
    /// Attaches and creates from inside.
    struct Recursive(Cell<Option<&'static Within>>, RefCell<Vec<Option<AttachError>>>);
    type Within = Threads<Recursive, Logged, 4>;
    // SAFETY: one thread.
    unsafe impl Sync for Recursive {}
    impl Runtime for Recursive {
        type Record = ();
        fn create(&self, _: usize) -> Option<()> {
            let within = self.0.get().unwrap();
            assert_eq!(within.create(), Ok(Replenish::Busy));
            // Twice: the first changes nothing for the second.
            for _ in 0..2 {
                let refused = within.attach(Binding::Unbound).map(drop).err();
                self.1.borrow_mut().push(refused);
            }
            Some(())
        }
        fn reset(&self, (): &(), _: u32) {}
    }
    let toy = Recursive(Cell::new(None), RefCell::default());
    let within: &'static Within = Box::leak(Box::new(Threads::new(toy, Logged::default(), 1)));
    within.runtime().0.set(Some(within));
    assert_eq!(within.create(), Ok(Replenish::Created(2)));
    let refused = || within.runtime().1.take();
    assert_eq!(refused(), [Some(AttachError::InCreate); 4], "nothing but the reserve");
    let one = within.attach(Binding::Unbound).unwrap();
    assert_eq!(refused(), [None; 2], "the thread that asks for more is attached");
    drop(one);
    assert_eq!(within.counts().in_use, 0);
    assert_eq!(within.state(), ThreadState::Unknown);
}

#[test]
fn a_reserve_that_leaves_nothing_is_refused() {
    for (reserve, created) in [(63, Ok(Replenish::Created(64))), (64, TOO_LARGE), (u16::MAX, HUGE)]
    {
        let toy = Toy { on_reset: Cell::new(|_| ()), lot: Cell::new(None), creates: Cell::new(64) };
        let lot: &'static Lot = Box::leak(Box::new(Threads::new(toy, Logged::default(), reserve)));
        assert_eq!(lot.create(), created);
        let attached = lot.attach(Binding::Unbound).map(drop);
        assert_eq!(attached, if created.is_ok() { Ok(()) } else { Err(AttachError::AllReserved) });
    }
    const TOO_LARGE: Result<Replenish, CreateError> =
        Err(CreateError::ReserveTooLarge { reserve: 64, most: 64 });
    const HUGE: Result<Replenish, CreateError> =
        Err(CreateError::ReserveTooLarge { reserve: u16::MAX as usize, most: 64 });
}

#[test]
fn no_wait_for_records_that_nobody_makes() {
    let lot = lot(2);
    lot.runtime().creates.set(3);
    let held = lot.attach(Binding::Unbound).unwrap();
    drop(held);
    let few = Toy { on_reset: Cell::new(|_| ()), lot: Cell::new(None), creates: Cell::new(2) };
    let few: &'static Lot = Box::leak(Box::new(Threads::new(few, Logged::default(), 2)));
    assert_eq!(few.create(), Ok(Replenish::Refused(2)));
    assert_eq!(few.attach(Binding::Unbound).map(drop), Err(AttachError::NoRecords));
    drop(few.attach_in_handler().unwrap());
    few.runtime().creates.set(3);
    assert_eq!(few.create(), Ok(Replenish::Created(1)));
    drop(few.attach(Binding::Unbound).unwrap());
    assert_none_in_use(few);
}

#[test]
fn a_create_that_panics_keeps_no_stack() {
    struct Panics;
    impl Runtime for Panics {
        type Record = ();
        fn create(&self, index: usize) -> Option<()> {
            assert!(index == 0, "no more than one");
            Some(())
        }
        fn reset(&self, (): &(), _: u32) {}
    }
    let lot: &'static Threads<Panics, Logged, 4> =
        Box::leak(Box::new(Threads::new(Panics, Logged::default(), 1)));
    catch_unwind(AssertUnwindSafe(|| lot.create())).unwrap_err();
    assert_eq!((lot.host().freed.get(), lot.host().masked.get()), (1, false));
    assert_eq!((lot.counts().total, lot.state()), (1, ThreadState::Unknown));
}

/// A handler forgets its token. Where the system lets a handler ask to be told of the thread's end, the
/// record comes back then; else when the thread has attached in ordinary code since.
#[test]
fn a_handlers_forgotten_token_comes_back() {
    for arms in [true, false] {
        let lot = lot(1);
        lot.host().arms_in_handlers.set(arms);
        std::mem::forget(lot.attach_in_handler().unwrap());
        assert_eq!((lot.counts().in_use, lot.host().ends.borrow().len()), (1, usize::from(arms)));
        drop(lot.attach(Binding::Unbound).unwrap());
        assert_eq!((lot.counts().in_use, lot.host().ends.borrow().len()), (1, 1));
        end_thread(lot);
        assert_none_in_use(lot);
        assert_eq!(lot.misuse(), Misuse { abandoned: 1, ..Misuse::default() });
    }
}

#[test]
fn a_token_that_outlives_its_threads_end_gives_nothing_back() {
    let lot = lot(0);
    let token = lot.attach(Binding::Unbound).unwrap();
    end_thread(lot);
    let Err(DetachError::NotAttached(token)) = token.detach() else { panic!("not attached") };
    let other = lot.attach(Binding::Unbound).unwrap();
    drop(token);
    assert_eq!(lot.counts().in_use, 1, "the other one's");
    drop(other);
    end_thread(lot);
    assert_none_in_use(lot);
}

//! Foreign threads.

use std::cell::{Cell, RefCell};
use std::mem::forget;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::thread;

use portcullis::attach::{
    AttachError, Attached, Binding, CreateError, DetachError, RawAttached, Runtime, SystemHost,
    ThreadState, Threads,
};
use portcullis::extra_list::Replenish;

use super::alone;

/// Says of each record who has it.
struct Owned;

impl Runtime for Owned {
    type Record = AtomicUsize;
    fn create(&self, _: usize) -> Option<AtomicUsize> {
        Some(AtomicUsize::new(0))
    }
    fn reset(&self, record: &AtomicUsize, _: u32) {
        record.store(0, Relaxed);
    }
}

portcullis::thread_slot!(Slot);
static THREADS: Threads<Owned, SystemHost<Slot>, 8> = Threads::new(Owned, SystemHost::new(), 1);
/// Of the same slots.
static SECOND: Threads<Owned, SystemHost<Slot>, 4> = Threads::new(Owned, SystemHost::new(), 0);

type Token = Attached<Owned, SystemHost<Slot>, 8>;

#[test]
fn one_slot_type_in_two_threads() {
    alone("attach::one_slot_type_in_two_threads", || {
        THREADS.create().unwrap();
        assert_eq!(SECOND.create(), Err(CreateError::SlotsTaken));
        let token = THREADS.attach(Binding::Bound).unwrap();
        token.record().store(7, Relaxed);
        for refused in
            [SECOND.attach(Binding::Bound).map(drop), SECOND.try_attach(Binding::Unbound).map(drop)]
        {
            assert_eq!(refused, Err(AttachError::SlotsTaken));
        }
        assert_eq!((SECOND.state(), SECOND.current().is_none()), (ThreadState::Unknown, true));
        let raw = token.into_raw();
        let Err(DetachError::NotAttached(raw)) = SECOND.detach_raw(raw) else { panic!("detached") };
        THREADS.detach_raw(raw).unwrap();
        drop(THREADS.attach(Binding::Bound).unwrap());
        assert!(AttachError::SlotsTaken.to_string().contains("slot type for each"));
    });
}

#[test]
fn a_second_threads_used_first_by_another_thread() {
    alone("attach::a_second_threads_used_first_by_another_thread", || {
        let ways = || {
            let first = THREADS.create().is_ok();
            let second = SECOND.create().is_ok();
            (first, second)
        };
        let both: Vec<_> = (0..8).map(|_| thread::spawn(ways)).map(|t| t.join().unwrap()).collect();
        let won = both[0];
        assert!(won.0 != won.1 && both.iter().all(|other| *other == won), "{both:?}");
    });
}

#[test]
fn forgotten_tokens_come_back_with_the_threads_end() {
    alone("attach::forgotten_tokens_come_back_with_the_threads_end", || {
        THREADS.create().unwrap();
        for _ in 0..100 {
            thread::spawn(|| {
                let mut token = THREADS.attach(Binding::Unbound).unwrap();
                forget(token.external());
                forget(token);
                forget(THREADS.attach(Binding::Bound).unwrap());
            })
            .join()
            .unwrap();
        }
        assert_eq!((THREADS.counts().in_use, THREADS.misuse().abandoned), (0, 100));
    });
}

thread_local! {
    static KEPT: RefCell<Vec<Token>> = const { RefCell::new(Vec::new()) };
    static LATE: Late = const { Late(Cell::new(0)) };
}

/// Attaches when its thread ends, again and again, and keeps the tokens where nothing drops them.
struct Late(Cell<u32>);

impl Drop for Late {
    fn drop(&mut self) {
        let token = THREADS.attach(Binding::Bound).unwrap();
        token.record().store(1, Relaxed);
        assert!(THREADS.is_attached());
        forget(token);
    }
}

#[test]
fn tokens_in_thread_locals_and_destructors() {
    alone("attach::tokens_in_thread_locals_and_destructors", || {
        THREADS.create().unwrap();
        for _ in 0..50 {
            thread::spawn(|| {
                LATE.with(|late| late.0.set(1));
                KEPT.with_borrow_mut(|kept| {
                    kept.extend((0..3).map(|_| THREADS.attach(Binding::Unbound).unwrap()));
                });
            })
            .join()
            .unwrap();
        }
        assert_eq!(THREADS.counts().in_use, 0);
        drop(THREADS.attach(Binding::Bound).unwrap());
    });
}

#[test]
fn tokens_given_up_in_every_wrong_order() {
    alone("attach::tokens_given_up_in_every_wrong_order", || {
        THREADS.create().unwrap();
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut tokens = [(); 3].map(|()| THREADS.attach(Binding::Unbound).ok());
            for at in order {
                let token = tokens[at].take().unwrap();
                token.record().fetch_add(1, Relaxed);
                drop(token);
                let left = tokens.iter().any(Option::is_some);
                assert_eq!(THREADS.state() == ThreadState::Unknown, !left);
            }
            assert_eq!(THREADS.counts().in_use, 0);
        }
    });
}

/// Raw tokens change threads, and are dropped.
#[test]
fn raw_tokens_stolen_and_lost() {
    alone("attach::raw_tokens_stolen_and_lost", || {
        THREADS.create().unwrap();
        let steal = |raw: RawAttached| match THREADS.detach_raw(raw) {
            Err(DetachError::NotAttached(raw)) => raw,
            other => panic!("{other:?}"),
        };
        let raw = THREADS.attach(Binding::Unbound).unwrap().into_raw();
        let raw = thread::spawn(move || {
            let own = THREADS.attach(Binding::Unbound).unwrap();
            let raw = steal(raw);
            drop(own);
            steal(raw)
        })
        .join()
        .unwrap();
        let outer = THREADS.attach(Binding::Unbound).unwrap();
        let Err(DetachError::NotLast(raw)) = THREADS.detach_raw(raw) else {
            panic!("not the last")
        };
        drop(outer);
        THREADS.detach_raw(raw).unwrap();
        thread::spawn(|| drop(THREADS.attach(Binding::Unbound).unwrap().into_raw()))
            .join()
            .unwrap();
        assert_eq!(THREADS.counts().in_use, 0, "lost, and back at its thread's end");
    });
}

/// Its hooks use the list that they are called for.
struct Recursive;

static REFUSED: AtomicUsize = AtomicUsize::new(0);

impl Runtime for Recursive {
    type Record = ();
    fn create(&self, _: usize) -> Option<()> {
        match RECURSIVE.attach(Binding::Bound) {
            Err(AttachError::InCreate) => _ = REFUSED.fetch_add(1, Relaxed),
            done => drop(done.unwrap()),
        }
        assert_eq!(RECURSIVE.create(), Ok(Replenish::Busy));
        assert!(RECURSIVE.counts().total < 5 && RECURSIVE.records().count() < 5);
        Some(())
    }
    fn reset(&self, (): &(), _: u32) {
        assert_eq!(RECURSIVE.attach(Binding::Bound).map(drop), Err(AttachError::InTransition));
        assert_eq!(RECURSIVE.state(), ThreadState::InTransition);
    }
}

portcullis::thread_slot!(RecursiveSlot);
static RECURSIVE: Threads<Recursive, SystemHost<RecursiveSlot>, 4> =
    Threads::new(Recursive, SystemHost::new(), 1);

#[test]
fn hooks_that_attach_and_create() {
    alone("attach::hooks_that_attach_and_create", || {
        assert_eq!(RECURSIVE.create(), Ok(Replenish::Created(2)));
        assert!(REFUSED.load(Relaxed) > 0, "it would have waited for itself");
        for _ in 0..3 {
            drop(RECURSIVE.attach(Binding::Unbound).unwrap());
        }
        assert_eq!(RECURSIVE.counts().in_use, 0);
    });
}

/// Panics wherever it is called.
struct Panics;

static ARMED: AtomicUsize = AtomicUsize::new(0);

impl Runtime for Panics {
    type Record = ();
    fn create(&self, index: usize) -> Option<()> {
        assert!(ARMED.load(Relaxed) != 1, "create {index}");
        Some(())
    }
    fn reset(&self, (): &(), _: u32) {
        assert!(ARMED.load(Relaxed) != 2, "reset");
    }
}

portcullis::thread_slot!(PanicsSlot);
static PANICS: Threads<Panics, SystemHost<PanicsSlot>, 8> =
    Threads::new(Panics, SystemHost::new(), 1);

#[test]
fn hooks_that_panic() {
    alone("attach::hooks_that_panic", || {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        ARMED.store(1, Relaxed);
        assert!(thread::spawn(|| PANICS.create()).join().is_err());
        ARMED.store(2, Relaxed);
        PANICS.create().unwrap();
        for _ in 0..20 {
            assert!(thread::spawn(|| PANICS.attach(Binding::Bound).map(drop)).join().is_err());
        }
        std::panic::set_hook(quiet);
        ARMED.store(0, Relaxed);
        for _ in 0..20 {
            thread::spawn(|| PANICS.attach(Binding::Bound).map(drop)).join().unwrap().unwrap();
        }
        assert_eq!(PANICS.counts().in_use, 0);
    });
}

portcullis::thread_slot!(ReservedSlot);
static RESERVED: Threads<Owned, SystemHost<ReservedSlot>, 4> =
    Threads::new(Owned, SystemHost::new(), 4);

#[test]
fn a_reserve_as_large_as_the_list() {
    alone("attach::a_reserve_as_large_as_the_list", || {
        let refused = CreateError::ReserveTooLarge { reserve: 4, most: 4 };
        assert_eq!(RESERVED.create(), Err(refused));
        assert_eq!(RESERVED.attach(Binding::Bound).map(drop), Err(AttachError::AllReserved));
        assert!(refused.to_string().contains('4'));
    });
}

/// Makes two records, both of which are the reserve.
struct Two;

impl Runtime for Two {
    type Record = ();
    fn create(&self, index: usize) -> Option<()> {
        (index < 2).then_some(())
    }
    fn reset(&self, (): &(), _: u32) {}
}

portcullis::thread_slot!(TwoSlot);
static TWO: Threads<Two, SystemHost<TwoSlot>, 4> = Threads::new(Two, SystemHost::new(), 2);

#[test]
fn a_runtime_that_makes_too_few() {
    alone("attach::a_runtime_that_makes_too_few", || {
        let waiting: Vec<_> = (0..4)
            .map(|_| thread::spawn(|| TWO.attach(Binding::Bound).map(drop).unwrap_err()))
            .collect();
        assert_eq!(TWO.create(), Ok(Replenish::Refused(2)));
        for refused in waiting {
            assert_eq!(refused.join().unwrap(), AttachError::NoRecords);
        }
        assert_eq!(TWO.attach(Binding::Unbound).map(drop), Err(AttachError::NoRecords));
    });
}

/// A `Threads` that is the first field of another has the same address, and other slots are not to be had.
#[test]
fn one_threads_inside_another() {
    portcullis::thread_slot!(Nested);
    #[repr(align(128))]
    struct Outer {
        inner: Threads<Owned, SystemHost<Nested>, 4>,
    }
    impl Runtime for Outer {
        type Record = ();
        fn create(&self, _: usize) -> Option<()> {
            Some(())
        }
        fn reset(&self, (): &(), _: u32) {}
    }
    static OUTER: Threads<Outer, SystemHost<Nested>, 8> = Threads::new(
        Outer { inner: Threads::new(Owned, SystemHost::new(), 0) },
        SystemHost::new(),
        0,
    );
    alone("attach::one_threads_inside_another", || {
        let inner = &OUTER.runtime().inner;
        assert!(inner.create().is_ok());
        assert_eq!(OUTER.create(), Err(CreateError::SlotsTaken));
        let token = inner.attach(Binding::Unbound).unwrap();
        assert_eq!(OUTER.attach(Binding::Unbound).map(drop), Err(AttachError::SlotsTaken));
        assert_eq!((OUTER.state(), inner.state()), (ThreadState::Unknown, ThreadState::Inside));
        drop(token);
    });
}

/// The first record, attached for the first time, is named alike by two `Threads`.
#[test]
fn a_raw_token_of_another_threads() {
    portcullis::thread_slot!(Other);
    static OTHER: Threads<Owned, SystemHost<Other>, 8> = Threads::new(Owned, SystemHost::new(), 1);
    alone("attach::a_raw_token_of_another_threads", || {
        THREADS.create().unwrap();
        OTHER.create().unwrap();
        let ours = THREADS.attach(Binding::Unbound).unwrap();
        let others = OTHER.attach(Binding::Unbound).unwrap();
        assert_eq!((ours.index(), ours.generation()), (others.index(), others.generation()));
        let raw = ours.into_raw();
        let Err(DetachError::NotAttached(raw)) = OTHER.detach_raw(raw) else { panic!("detached") };
        assert!(OTHER.is_attached() && THREADS.is_attached());
        THREADS.detach_raw(raw).unwrap();
        assert!(OTHER.is_attached() && !THREADS.is_attached());
        drop(others);
        assert!(!OTHER.is_attached());
    });
}

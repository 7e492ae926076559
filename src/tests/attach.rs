//! A thread's steps on a host that logs them: every state with every event against the tables in
//! [`crate::attach`], random histories against a stack of tokens, and misuse.

mod refused;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;

use crate::attach::host::{Callback, Host, Slot};
use crate::attach::{
    AsyncSignalSafe, AttachError, AttachKind, Attached, Binding, CalledOut, CreateError,
    DetachError, Misuse, RawAttached, Runtime, ThreadState, Threads,
};
use crate::extra_list::{RecordCounts, Replenish};
use crate::note::Deadline;
use crate::sys::Errno;

/// One thread, whose system calls are logged.
#[derive(Debug, Default)]
struct Logged {
    slot: Slot,
    log: RefCell<Vec<&'static str>>,
    masked: Cell<bool>,
    /// The caller is a handler on the record's stack.
    on_own_stack: Cell<bool>,
    ends: RefCell<Vec<Callback>>,
    refuses_ends: Cell<bool>,
    refuses_stacks: Cell<bool>,
    arms_in_handlers: Cell<bool>,
    /// Another has the slots.
    taken: Cell<bool>,
    /// Stacks given back unused.
    freed: Cell<u32>,
}

// SAFETY: each is used by one thread.
unsafe impl Sync for Logged {}

// SAFETY: one thread, one slot.
unsafe impl Host for Logged {
    type Mask = bool;
    type Stack = u32;
    type Saved = u32;
    fn slot(&self) -> *const Slot {
        &raw const self.slot
    }
    unsafe fn claim(&self, _: *const ()) -> bool {
        !self.taken.get()
    }
    unsafe fn block(&self) -> bool {
        self.log.borrow_mut().push("mask");
        self.masked.replace(true)
    }
    unsafe fn restore(&self, mask: bool) {
        self.log.borrow_mut().push("unmask");
        self.masked.set(mask);
    }
    unsafe fn make_stack(&self) -> Result<u32, Errno> {
        if self.refuses_stacks.get() { Err(Errno(12)) } else { Ok(1) }
    }
    unsafe fn free_stack(&self, _: u32) {
        self.freed.set(self.freed.get() + 1);
    }
    unsafe fn enter_stack(&self, own: &u32) -> u32 {
        assert!(self.masked.get());
        self.log.borrow_mut().push("stack");
        own + 1
    }
    unsafe fn leave_stack(&self, own: &u32, saved: u32) -> Option<u32> {
        assert!(self.masked.get());
        assert_eq!(saved, own + 1);
        if self.on_own_stack.get() {
            return Some(saved);
        }
        self.log.borrow_mut().push("stack back");
        None
    }
    unsafe fn arm(&'static self, exit: Callback) -> Result<(), Errno> {
        if self.refuses_ends.get() {
            return Err(Errno(11));
        }
        self.ends.borrow_mut().push(exit);
        Ok(())
    }
    unsafe fn arm_in_handler(&'static self, exit: Callback) -> bool {
        let arms = self.arms_in_handlers.get();
        if arms {
            self.ends.borrow_mut().push(exit);
        }
        arms
    }
    unsafe fn at_fork(&'static self, _: Callback) {}
}

/// Resets by a function that a test may change.
struct Toy {
    on_reset: Cell<fn(&'static Lot)>,
    lot: Cell<Option<&'static Lot>>,
    creates: Cell<usize>,
}

// SAFETY: each is used by one thread.
unsafe impl Sync for Toy {}

impl Runtime for Toy {
    type Record = ();
    fn create(&self, index: usize) -> Option<()> {
        (index < self.creates.get()).then_some(())
    }
    fn reset(&self, (): &(), _: u32) {
        self.lot.get().into_iter().for_each(self.on_reset.get());
    }
}

// SAFETY: the hooks of these tests run in no handler.
unsafe impl AsyncSignalSafe for Toy {}

type Lot = Threads<Toy, Logged, 64>;
type Token = Attached<Toy, Logged, 64>;

fn lot(reserve: u16) -> &'static Lot {
    let toy = Toy { on_reset: Cell::new(|_| ()), lot: Cell::new(None), creates: Cell::new(64) };
    let lot: &'static Lot = Box::leak(Box::new(Threads::new(toy, Logged::default(), reserve)));
    lot.runtime().lot.set(Some(lot));
    assert_eq!(lot.create(), Ok(Replenish::Created(usize::from(reserve) + 1)));
    log(lot);
    lot
}

fn log(lot: &Lot) -> Vec<&'static str> {
    lot.host().log.take()
}

/// The thread ends, as far as the host is concerned.
fn end_thread(lot: &Lot) {
    for callback in lot.host().ends.take() {
        // SAFETY: on the one thread.
        unsafe { callback.run() };
    }
}

#[track_caller]
fn assert_none_in_use(lot: &Lot) {
    let RecordCounts { in_use, waiting, spare, total } = lot.counts();
    assert_eq!((in_use, waiting, spare), (0, 0, total));
    assert!(!lot.host().masked.get());
    assert_eq!(lot.state(), ThreadState::Unknown);
}

const FIRST: [&str; 3] = ["mask", "stack", "unmask"];
const LAST: [&str; 3] = ["mask", "stack back", "unmask"];
/// One more record: masked, but while the runtime makes it.
const CREATION: [&str; 4] = ["mask", "unmask", "mask", "unmask"];
const NOTHING: [&str; 0] = [];

#[test]
fn steps_in_their_order_and_none_when_nested_or_bound() {
    let lot = lot(0);
    let token = lot.attach(Binding::Unbound).unwrap();
    assert_eq!((token.how(), token.was_inside()), (AttachKind::Attached, false));
    assert_eq!(log(lot), [&FIRST[..], &CREATION].concat(), "it was the last one");
    let nested = lot.attach(Binding::Bound).unwrap();
    assert_eq!((nested.how(), nested.was_inside()), (AttachKind::Nested, true));
    assert_eq!((nested.index(), nested.generation()), (token.index(), token.generation()));
    drop(nested);
    assert_eq!(log(lot), NOTHING);
    let stay = (token.index(), token.generation());
    drop(token);
    assert_eq!(log(lot), LAST);
    assert_none_in_use(lot);

    let bound = lot.attach(Binding::Bound).unwrap();
    assert_ne!((bound.index(), bound.generation()), stay, "two stays by one name");
    drop(bound);
    assert_eq!((lot.state(), log(lot)), (ThreadState::External, FIRST.to_vec()));
    let again = lot.attach(Binding::Unbound).unwrap();
    assert_eq!((again.how(), again.was_inside()), (AttachKind::Nested, false));
    drop(again);
    assert_eq!((lot.state(), log(lot)), (ThreadState::External, NOTHING.to_vec()));
    end_thread(lot);
    assert_eq!(log(lot), LAST);
    assert_none_in_use(lot);
    assert_eq!(lot.misuse(), Misuse::default());
}

/// A thread in each state of the table, and how to leave it.
fn in_each_state(mut check: impl FnMut(&'static Lot, ThreadState)) {
    let unknown = lot(1);
    check(unknown, ThreadState::Unknown);
    assert_none_in_use(unknown);

    let inside = lot(1);
    let token = inside.attach(Binding::Unbound).unwrap();
    check(inside, ThreadState::Inside);
    token.detach().unwrap();
    assert_none_in_use(inside);

    let called_out = lot(1);
    let mut token = called_out.attach(Binding::Unbound).unwrap();
    let external = token.external();
    check(called_out, ThreadState::External);
    drop(external);
    token.detach().unwrap();
    assert_none_in_use(called_out);

    let idle = lot(1);
    drop(idle.attach(Binding::Bound).unwrap());
    check(idle, ThreadState::External);
    end_thread(idle);
    assert_none_in_use(idle);
}

#[test]
fn attach_and_detach_in_every_state() {
    type Attach = fn(&'static Lot) -> Result<Token, AttachError>;
    let ways: [Attach; 4] = [
        |lot| lot.attach(Binding::Unbound),
        |lot| lot.try_attach(Binding::Unbound),
        |lot| lot.attach_until(Binding::Unbound, &Deadline::after(Default::default())),
        |lot| lot.attach_in_handler(),
    ];
    for way in ways {
        in_each_state(|lot, state| {
            assert_eq!(lot.state(), state);
            assert_eq!(lot.is_attached(), state != ThreadState::Unknown);
            assert_eq!(lot.current().is_some(), state != ThreadState::Unknown);
            let token = way(lot).unwrap();
            assert_eq!(lot.state(), ThreadState::Inside);
            assert_eq!(token.how() == AttachKind::Attached, state == ThreadState::Unknown);
            assert_eq!(token.was_inside(), state == ThreadState::Inside);
            token.detach().unwrap();
            assert_eq!(lot.state(), state);
        });
    }
}

#[test]
fn every_event_in_transition_is_refused() {
    let lot = lot(1);
    lot.runtime().on_reset.set(|lot| {
        assert_eq!(lot.state(), ThreadState::InTransition);
        assert!(!lot.is_attached() && lot.current().is_none());
        assert_eq!(lot.attach_in_handler().unwrap_err(), AttachError::InTransition);
        assert_eq!(lot.attach(Binding::Bound).unwrap_err(), AttachError::InTransition);
        assert_eq!(lot.try_attach(Binding::Bound).unwrap_err(), AttachError::InTransition);
        assert!(lot.host().masked.get(), "still masked");
    });
    drop(lot.attach(Binding::Unbound).unwrap());
    assert_none_in_use(lot);
}

#[test]
fn shutdown_in_every_state() {
    in_each_state(|lot, state| {
        lot.shutdown();
        let nested = [lot.try_attach(Binding::Bound), lot.attach(Binding::Bound)]
            .into_iter()
            .chain([lot.attach_in_handler()])
            .map(|result| result.map(drop));
        let idle = state == ThreadState::External && lot.host().slot.tokens() == 0;
        for result in nested {
            // A bound thread between its attaches is refused as one that is unknown.
            let refused = idle || state == ThreadState::Unknown;
            assert_eq!(result, if refused { Err(AttachError::ShuttingDown) } else { Ok(()) });
        }
        assert!(lot.runtime().creates.get() > 0);
    });
}

#[test]
fn the_end_of_a_thread_in_every_state() {
    for state in ["unknown", "inside", "called out", "idle"] {
        let lot = lot(0);
        let token = (state != "unknown").then(|| lot.attach(Binding::Bound).unwrap());
        match (state, token) {
            ("inside", token) => core::mem::forget(token),
            ("called out", Some(mut token)) => {
                core::mem::forget(token.external());
                core::mem::forget(token);
            }
            (_, token) => drop(token),
        }
        end_thread(lot);
        assert_none_in_use(lot);
        let abandoned = u32::from(state == "inside" || state == "called out");
        assert_eq!(lot.misuse(), Misuse { abandoned, ..Misuse::default() }, "{state}");
        if state == "unknown" {
            continue; // Nobody watched its end.
        }
        // What its other destructors attach is not kept.
        drop(lot.attach(Binding::Bound).unwrap());
        assert_none_in_use(lot);
        core::mem::forget(lot.attach(Binding::Bound).unwrap());
        end_thread(lot);
        assert_none_in_use(lot);
    }
}

#[test]
fn full_and_empty_lists_refuse_and_say_so() {
    let toy = Toy { on_reset: Cell::new(|_| ()), lot: Cell::new(None), creates: Cell::new(1) };
    let lot: &'static Lot = Box::leak(Box::new(Threads::new(toy, Logged::default(), 0)));
    for result in [lot.attach(Binding::Bound), lot.try_attach(Binding::Bound)] {
        assert_eq!(result.unwrap_err(), AttachError::NoRecords);
    }
    assert_eq!(lot.attach_in_handler().unwrap_err(), AttachError::NoRecords);
    lot.host().refuses_stacks.set(true);
    assert_eq!(lot.create(), Err(CreateError::System(Errno(12))));
    lot.host().refuses_stacks.set(false);
    assert_eq!(lot.create(), Ok(Replenish::Created(1)));
    // The only record, and no more to be had: as if another thread held it.
    let held = lot.list().take(crate::extra_list::Taker::Handler).unwrap().redeem().unwrap();
    log(lot);
    let soon = Deadline::after(std::time::Duration::from_millis(1));
    assert_eq!(lot.try_attach(Binding::Bound).unwrap_err(), AttachError::Full);
    assert_eq!(lot.attach_until(Binding::Bound, &soon).unwrap_err(), AttachError::Full);
    assert_eq!(lot.attach_in_handler().unwrap_err(), AttachError::Full);
    assert!(!lot.host().masked.get());
    lot.list().give(held).unwrap();
    drop(lot.attach(Binding::Unbound).unwrap());
    assert_none_in_use(lot);
}

#[test]
fn a_thread_whose_end_cannot_be_watched_is_refused() {
    let lot = lot(0);
    lot.host().refuses_ends.set(true);
    let error = lot.attach(Binding::Bound).unwrap_err();
    assert_eq!(error, AttachError::ThreadEnd(Errno(11)));
    assert!(error.to_string().contains("11"), "{error}");
    assert_none_in_use(lot);
    // A handler's attach ends with the handler, so it needs nobody to watch.
    drop(lot.attach_in_handler().unwrap());
    lot.host().refuses_ends.set(false);
    drop(lot.attach(Binding::Bound).unwrap());
    assert!(lot.is_attached());
}

#[test]
fn a_hook_that_panics_undoes_the_attach() {
    let lot = lot(0);
    lot.runtime().on_reset.set(|_| panic!("no reset"));
    let attach = || lot.attach(Binding::Bound).map(drop);
    catch_unwind(AssertUnwindSafe(attach)).unwrap_err();
    assert_none_in_use(lot);
    lot.runtime().on_reset.set(|_| ());
    attach().unwrap();
    assert!(lot.is_attached());
}

#[test]
fn a_panic_inside_leaves_by_the_tokens() {
    let lot = lot(0);
    let calls = || {
        let mut token = lot.attach(Binding::Unbound).unwrap();
        let _external = token.external();
        let _inner = lot.attach(Binding::Unbound).unwrap();
        panic!("in a callback");
    };
    catch_unwind(AssertUnwindSafe(calls)).unwrap_err();
    assert_none_in_use(lot);
    assert_eq!(lot.misuse(), Misuse::default());
}

#[test]
fn tokens_out_of_order_are_refused_or_counted() {
    let lot = lot(0);
    let outer = lot.attach(Binding::Unbound).unwrap();
    let inner = lot.attach(Binding::Unbound).unwrap();
    let Err(DetachError::NotLast(outer)) = outer.detach() else { panic!("out of order") };
    drop(outer);
    assert_eq!(lot.state(), ThreadState::Inside, "the inner one is alive");
    drop(inner);
    assert_none_in_use(lot);
    assert_eq!(lot.misuse().abandoned, 0);
    assert!(lot.misuse().misordered > 0);
}

#[test]
fn raw_tokens_are_checked() {
    let lot = lot(0);
    let outer = lot.attach(Binding::Unbound).unwrap().into_raw();
    let inner = lot.attach(Binding::Unbound).unwrap().into_raw();
    let Err(DetachError::NotLast(outer)) = lot.detach_raw(outer) else { panic!("not the last") };
    let bits = inner.into_bits();
    // SAFETY: of these two none is given up while something is used under the other.
    let [inner, twice] = [0; 2].map(|_| unsafe { RawAttached::from_bits(bits) });
    lot.detach_raw(inner).unwrap();
    let twice = lot.detach_raw(twice).map(drop);
    assert!(matches!(twice, Err(DetachError::NotAttached(_))), "twice");
    let bits = outer.into_bits();
    // SAFETY: as above.
    let [outer, stale] = [0; 2].map(|_| unsafe { RawAttached::from_bits(bits) });
    lot.detach_raw(outer).unwrap();
    // Of an earlier stay, on a thread that is attached again with the same record.
    let again = lot.attach(Binding::Unbound).unwrap();
    let stale = lot.detach_raw(stale).map(drop);
    assert!(matches!(stale, Err(DetachError::NotAttached(_))), "of another stay");
    drop(again);
    assert_none_in_use(lot);
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Attach(bool),
    InHandler,
    CallOut,
    Leave,
    EndOfThread,
}

enum Frame {
    Token(Token),
    External(
        #[expect(dead_code, reason = "held for its drop")] CalledOut<'static, Toy, Logged, 64>,
    ),
}

proptest! {
    #![proptest_config(super::config())]

    /// Whatever a thread does in order, its state is that of the innermost frame, and nothing is
    /// left when all frames are.
    #[test]
    fn frames_are_the_reference(
        actions in prop::collection::vec(prop_oneof![
            3 => any::<bool>().prop_map(Action::Attach),
            2 => Just(Action::InHandler),
            2 => Just(Action::CallOut),
            5 => Just(Action::Leave),
            1 => Just(Action::EndOfThread),
        ], 1..60),
    ) {
        let lot = lot(1);
        let mut frames: Vec<Frame> = Vec::new();
        let (mut bound, mut ending) = (false, false);
        for action in actions {
            let nested = bound || !frames.is_empty();
            match action {
                Action::Attach(binds) => {
                    let binding = if binds { Binding::Bound } else { Binding::Unbound };
                    let token = lot.attach(binding).unwrap();
                    prop_assert_eq!(token.how() == AttachKind::Nested, nested);
                    bound |= binds && !nested && !ending;
                    frames.push(Frame::Token(token));
                }
                Action::InHandler => {
                    let token = lot.attach_in_handler().unwrap();
                    prop_assert_eq!(token.how() == AttachKind::Nested, nested);
                    frames.push(Frame::Token(token));
                }
                Action::CallOut => if let Some(Frame::Token(token)) = frames.last_mut() {
                    // SAFETY: the token stays where it is until the guard is gone, for frames are
                    // left in order; the guard does not look at it.
                    let token = unsafe { &mut *core::ptr::from_mut(token) };
                    frames.push(Frame::External(token.external()));
                },
                Action::Leave => drop(frames.pop()),
                Action::EndOfThread => if frames.is_empty() {
                    ending |= bound || !lot.host().ends.borrow().is_empty();
                    end_thread(lot);
                    bound = false;
                },
            }
            let expected = match frames.last() {
                Some(Frame::Token(_)) => ThreadState::Inside,
                Some(Frame::External(_)) => ThreadState::External,
                None if bound => ThreadState::External,
                None => ThreadState::Unknown,
            };
            prop_assert_eq!(lot.state(), expected);
            let held = usize::from(expected != ThreadState::Unknown);
            prop_assert_eq!(lot.counts().in_use, held);
        }
        while frames.pop().is_some() {}
        end_thread(lot);
        assert_none_in_use(lot);
        prop_assert_eq!(lot.misuse(), Misuse::default());
    }
}

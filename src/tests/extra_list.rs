//! The list of spare records: every state with every event against the table in
//! [`crate::extra_list`], and random histories against a plain reference model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use crate::extra_list::{ExtraList, NotInUse, RecordCounts, Replenish, TakeError, Taker, Ticket};
use crate::note::Deadline;
use crate::sync::{Ordering::Relaxed, Word};

const TOTAL: u64 = 4;
/// 15 or 7, by the width of the word.
const BITS: u32 = crate::extra_list::MAX_RECORDS.ilog2() + 1;

/// The word as the table names its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    spare: u64,
    waiting: u64,
    granted: u64,
    creating: bool,
    closed: bool,
}

impl State {
    fn word(self, made: u64) -> u64 {
        self.spare
            | (made + u64::from(self.creating)) << BITS
            | self.waiting << (2 * BITS)
            | self.granted << (3 * BITS)
            | u64::from(self.creating) << (4 * BITS)
            | u64::from(self.closed) << (4 * BITS + 1)
    }

    /// What the table says of a record that is put back.
    fn put(self, reserve: u64) -> Self {
        if self.waiting > 0 && self.spare >= reserve && !self.closed {
            return Self { waiting: self.waiting - 1, granted: self.granted + 1, ..self };
        }
        Self { spare: self.spare + 1, ..self }
    }
}

/// All that can be: no more handed out than there are, nobody waits beside a spare record (I4).
fn states(reserve: u64) -> impl Iterator<Item = State> {
    (0..=TOTAL * 3 * 3 * 4 + 36).filter_map(move |code| {
        let (spare, rest) = (code % (TOTAL + 1), code / (TOTAL + 1));
        let (waiting, granted, flags) = (rest % 3, rest / 3 % 3, rest / 9);
        let state =
            State { spare, waiting, granted, creating: flags & 1 != 0, closed: flags & 2 != 0 };
        let can_be = flags < 4
            && spare + granted <= TOTAL
            && (waiting == 0 || spare <= reserve || state.closed);
        can_be.then_some(state)
    })
}

/// A list in a state, the first of its records in use as far as any are.
fn in_state(state: State, reserve: u64) -> ExtraList<64> {
    let list = ExtraList::new(reserve as u16);
    // SAFETY: one thread.
    unsafe {
        list.word().store((TOTAL << BITS) as Word, Relaxed);
        let used = TOTAL - state.spare - state.granted;
        list.reset_after_fork(|index| (index as u64) < used);
    }
    list.word().store(state.word(TOTAL) as Word, Relaxed);
    list
}

/// For each reserve, state and list in it.
fn everywhere(mut check: impl FnMut(u64, State, ExtraList<64>)) {
    for reserve in 0..=2 {
        let mut seen = 0;
        for state in states(reserve) {
            check(reserve, state, in_state(state, reserve));
            seen += 1;
        }
        assert!(seen > 60, "only {seen} states");
    }
}

#[track_caller]
fn is_in(list: &ExtraList<64>, expected: State, total: u64, was: State) {
    let word = list.word().load(Relaxed);
    assert_eq!(word, expected.word(total) as Word, "{was:?} became {word:#x}, not {expected:?}");
}

#[test]
fn take_in_every_state() {
    for taker in [Taker::Thread, Taker::Handler] {
        everywhere(|reserve, state, list| {
            let floor = if taker == Taker::Handler { 0 } else { reserve };
            let (expected, error) = match state {
                State { closed: true, .. } => (state, Some(TakeError::Closed)),
                State { spare, .. } if spare <= floor => (state, Some(TakeError::Empty)),
                State { spare, .. } => (State { spare: spare - 1, ..state }, None),
            };
            let permit = list.take(taker);
            is_in(&list, expected, TOTAL, state);
            let had = permit.map(|permit| permit.redeem().unwrap().index as u64);
            assert_eq!(had.as_ref().err(), error.as_ref());
            // Of those that are free, the first.
            let first = TOTAL - state.spare - state.granted;
            assert!(had.is_err() || had == Ok(first), "{had:?}");
        });
    }
}

#[test]
fn a_permit_dropped_in_every_state() {
    everywhere(|reserve, state, list| {
        let Ok(permit) = list.take(Taker::Handler) else { return };
        drop(permit);
        let taken = State { spare: state.spare - 1, ..state };
        is_in(&list, taken.put(reserve), TOTAL, state);
    });
}

#[test]
fn wait_in_every_state() {
    everywhere(|reserve, state, list| {
        let passed = Deadline::after(Duration::ZERO);
        let waits = State { waiting: state.waiting + 1, ..state };
        let (expected, result) = match state {
            State { closed: true, .. } => (state, Err(TakeError::Closed)),
            State { spare, .. } if spare > reserve => (State { spare: spare - 1, ..state }, Ok(())),
            State { granted: 1.., .. } => (State { granted: state.granted - 1, ..waits }, Ok(())),
            _ => (state, Err(TakeError::TimedOut)),
        };
        let permit = list.wait(Some(&passed));
        is_in(&list, expected, TOTAL, state);
        assert_eq!(permit.map(|permit| assert!(permit.redeem().is_some())), result);
    });
}

#[test]
fn give_in_every_state() {
    everywhere(|reserve, state, list| {
        // The next number is its creator's, while there is one.
        for index in 0..=TOTAL as usize - usize::from(state.creating) {
            let list = in_state(state, reserve);
            let used = TOTAL - state.spare - state.granted;
            let ticket = list.held(index);
            let stale = Ticket { generation: ticket.generation + 1, ..ticket };
            assert_eq!(list.give(stale), Err(NotInUse(stale)));
            is_in(&list, state, TOTAL, state);
            let in_use = (index as u64) < used || index as u64 == TOTAL;
            if (index as u64) < used {
                assert_eq!(list.give(ticket), Ok(()));
                is_in(&list, state.put(reserve), TOTAL, state);
            }
            if (index as u64) < TOTAL || !in_use {
                // Twice, or never taken.
                let now = list.word().load(Relaxed);
                assert_eq!(list.give(ticket), Err(NotInUse(ticket)));
                assert_eq!(list.word().load(Relaxed), now);
            }
        }
        list.close();
        is_in(&list, State { closed: true, ..state }, TOTAL, state);
    });
}

#[test]
fn replenish_in_every_state() {
    everywhere(|reserve, state, list| {
        let mut expected = state;
        let mut total = TOTAL;
        let wanted = |state: State| !state.closed && (state.waiting > 0 || state.spare <= reserve);
        while !state.creating && wanted(expected) {
            expected = expected.put(reserve);
            total += 1;
        }
        let result = match state.creating {
            true => Replenish::Busy,
            false => Replenish::Created((total - TOTAL) as usize),
        };
        let mut made = Vec::new();
        assert_eq!(
            list.replenish(|index| {
                made.push(index);
                true
            }),
            result
        );
        assert_eq!(made, (TOTAL as usize..total as usize).collect::<Vec<_>>());
        is_in(&list, expected, total, state);
    });
}

#[test]
fn a_hook_that_refuses_or_panics_leaves_the_want() {
    let list = ExtraList::<64>::new(2);
    assert_eq!(list.replenish(|index| index < 1), Replenish::Refused(1));
    let panics = std::panic::AssertUnwindSafe(|| list.replenish(|_| panic!("no memory")));
    std::panic::catch_unwind(panics).unwrap_err();
    assert_eq!(list.replenish(|_| true), Replenish::Created(2));
    assert_eq!(list.counts(), RecordCounts { total: 3, spare: 3, in_use: 0, waiting: 0 });
}

#[test]
fn a_list_grows_to_its_capacity_and_no_further() {
    let list = ExtraList::<64>::new(u16::MAX);
    assert_eq!(list.replenish(|_| true), Replenish::Created(64));
    assert_eq!(list.replenish(|_| true), Replenish::Created(0));
    assert_eq!(list.take(Taker::Thread).unwrap_err(), TakeError::Empty, "all are the reserve");
    let had: BTreeSet<_> =
        (0..64).map(|_| list.take(Taker::Handler).unwrap().redeem().unwrap().index).collect();
    assert_eq!(had, (0..64).collect());
    assert_eq!(list.take(Taker::Handler).unwrap_err(), TakeError::Empty);
}

#[test]
fn a_permit_from_before_a_fork_is_void_after_it() {
    let list = ExtraList::<64>::new(1);
    list.replenish(|_| true);
    let redeemed = list.take(Taker::Thread).unwrap();
    let dropped = list.take(Taker::Handler).unwrap();
    // SAFETY: one thread.
    unsafe { list.reset_after_fork(|_| false) };
    assert_eq!(redeemed.redeem(), None);
    drop(dropped);
    assert_eq!(list.counts(), RecordCounts { total: 2, spare: 2, in_use: 0, waiting: 0 });
}

#[derive(Debug, Clone)]
enum Action {
    Take(bool),
    Give(usize),
    Replenish(usize),
    Close,
    /// The child goes on with those whose number has this remainder.
    Fork(usize),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => any::<bool>().prop_map(Action::Take),
        6 => (0..8_usize).prop_map(Action::Give),
        3 => (0..4_usize).prop_map(Action::Replenish),
        1 => Just(Action::Close),
        1 => (0..2_usize).prop_map(Action::Fork),
    ]
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn list_is_the_reference(
        reserve in 0..3_usize,
        actions in proptest::collection::vec(action(), 1..60),
    ) {
        let list = ExtraList::<64>::new(reserve as u16);
        let mut total = 0;
        let mut held = BTreeMap::new();
        let (mut seen, mut last) = (BTreeSet::new(), [None; 8]);
        let mut closed = false;
        for action in actions {
            let spare = total - held.len();
            match action {
                Action::Take(handler) => {
                    let floor = if handler { 0 } else { reserve };
                    let taker = if handler { Taker::Handler } else { Taker::Thread };
                    let expected = match () {
                        () if closed => Err(TakeError::Closed),
                        () if total == 0 => Err(TakeError::NoRecords),
                        () if spare <= floor => Err(TakeError::Empty),
                        () => Ok(()),
                    };
                    let got = list.take(taker).map(|permit| {
                        assert_eq!(permit.short(), spare - 1 <= reserve && total < 64);
                        let ticket = permit.redeem().unwrap();
                        assert!(ticket.index < total, "{ticket:?} of {total}");
                        assert_eq!(held.insert(ticket.index, ticket), None, "{ticket:?} twice");
                        assert!(seen.insert((ticket.index, ticket.generation)), "an old name");
                    });
                    prop_assert_eq!(got, expected);
                }
                Action::Give(index) => {
                    let none = Ticket { index, generation: 0 };
                    let (ticket, expected) = match held.remove(&index) {
                        Some(ticket) => (ticket, Ok(())),
                        // A name that was somebody's once.
                        None => {
                            let old = last[index].unwrap_or(none);
                            (old, Err(NotInUse(old)))
                        }
                    };
                    last[index] = Some(ticket);
                    prop_assert_eq!(list.give(ticket), expected);
                }
                Action::Replenish(most) => {
                    let wanted = if closed { 0 } else { (reserve + 1).saturating_sub(spare) };
                    let made = wanted.min(most);
                    let expected = match made == wanted {
                        true => Replenish::Created(made),
                        false => Replenish::Refused(made),
                    };
                    let first = total;
                    prop_assert_eq!(list.replenish(|index| index < first + most), expected);
                    total += made;
                }
                Action::Close => {
                    list.close();
                    closed = true;
                }
                Action::Fork(kept) => {
                    held.retain(|index, _| index % 2 == kept);
                    // SAFETY: one thread.
                    unsafe { list.reset_after_fork(|index| held.contains_key(&index)) };
                }
            }
            let spare = total - held.len();
            let counts = RecordCounts { total, spare, in_use: held.len(), waiting: 0 };
            prop_assert_eq!((list.counts(), list.is_closed()), (counts, closed));
        }
    }
}

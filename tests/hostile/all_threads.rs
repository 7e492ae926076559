//! Operations on all threads.

use std::cell::{Cell, RefCell};
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use portcullis::Errno;
use portcullis::all_threads::{
    Call, CallError, JoinError, Late, Member, Mismatch, Operation, Seats, SystemReach, ThreadSeat,
    registered,
};
use portcullis::note::Deadline;

use super::alone;

static SEATS: [ThreadSeat; 8] = [const { ThreadSeat::new() }; 8];

fn count() -> u32 {
    let ran = AtomicU32::new(0);
    let report = registered().call(&SEATS, Call::new(Operation::count(&ran))).unwrap();
    assert_eq!(ran.load(Relaxed), report.others + 1);
    assert!(report.is_complete());
    report.others
}

/// A thread that has a seat until it is told to end.
fn beside(at: usize) -> (Sender<()>, JoinHandle<()>) {
    let (tell, told) = channel();
    let (over, end) = channel();
    let handle = thread::spawn(move || {
        let _member = registered().join(&SEATS[at]).unwrap();
        tell.send(()).unwrap();
        _ = end.recv();
    });
    told.recv().unwrap();
    (over, handle)
}

fn end((over, handle): (Sender<()>, JoinHandle<()>)) {
    drop(over);
    handle.join().unwrap();
}

#[test]
fn members_forgotten() {
    alone("all_threads::members_forgotten", || {
        for seat in &SEATS {
            thread::spawn(|| forget(registered().join(seat).unwrap())).join().unwrap();
            assert_eq!(count(), 0);
        }
        // Their seats are free again.
        let others: Vec<_> = (0..8).map(beside).collect();
        assert_eq!(count(), 8);
        others.into_iter().for_each(end);
    });
}

thread_local! {
    static KEPT: RefCell<Option<Member<SystemReach>>> = const { RefCell::new(None) };
    static LATE: Late_ = const { Late_(Cell::new(false)) };
}

/// Joins when its thread ends.
struct Late_(Cell<bool>);

impl Drop for Late_ {
    fn drop(&mut self) {
        match registered().join(&SEATS[1]) {
            Ok(member) => forget(member),
            Err(refused) => {
                assert!(matches!(refused, JoinError::ThreadEnding | JoinError::AlreadyJoined))
            }
        }
    }
}

#[test]
fn members_in_thread_locals_and_destructors() {
    alone("all_threads::members_in_thread_locals_and_destructors", || {
        for _ in 0..50 {
            let ends = thread::spawn(|| {
                LATE.with(|late| late.0.set(true));
                KEPT.set(Some(registered().join(&SEATS[0]).unwrap()));
            });
            count();
            ends.join().unwrap();
            assert_eq!(count(), 0);
        }
    });
}

#[test]
fn joined_twice_and_at_a_seat_in_use() {
    alone("all_threads::joined_twice_and_at_a_seat_in_use", || {
        let other = beside(0);
        assert_eq!(registered().join(&SEATS[0]).map(drop), Err(JoinError::SeatTaken));
        let own = registered().join(&SEATS[1]).unwrap();
        assert_eq!(registered().join(&SEATS[2]).map(drop), Err(JoinError::AlreadyJoined));
        assert!(own.spawn(&SEATS[0], |_| ()).is_err(), "another's seat");
        assert_eq!(count(), 1);
        end(other);
    });
}

/// What a call calls calls.
#[test]
fn calls_from_inside() {
    alone("all_threads::calls_from_inside", || {
        let others = [beside(0), beside(1)];
        let inner = || {
            let refused = registered().call(&SEATS, Call::new(Operation::barrier())).map(drop);
            assert_eq!(refused, Err(CallError::Engaged));
            assert_eq!(registered().join(&SEATS[5]).map(drop), Err(JoinError::Engaged));
        };
        let heard = Cell::new(0);
        let hear = |_: &ThreadSeat, _| {
            heard.set(heard.get() + 1);
            inner();
        };
        let report =
            registered().call(&SEATS, Call::new(Operation::barrier()).each(&hear)).unwrap();
        assert_eq!((report.others, heard.get()), (2, 2));
        others.into_iter().for_each(end);
        assert_eq!(count(), 0);
    });
}

#[test]
fn panics_inside() {
    alone("all_threads::panics_inside", || {
        std::panic::set_hook(Box::new(|_| ()));
        let other = beside(0);
        let hear = |_: &ThreadSeat, _| panic!("heard");
        let call = Call::new(Operation::barrier()).each(&hear);
        catch_unwind(AssertUnwindSafe(|| registered().call(&SEATS, call))).unwrap_err();
        for panics_at in 0..6 {
            let seats = Lies { looks: Cell::new(0), panics_at: Some(panics_at), hides: false };
            let call = Call::new(Operation::barrier());
            let _ = catch_unwind(AssertUnwindSafe(|| registered().call(&seats, call).map(drop)));
            assert_eq!(count(), 1);
        }
        let own = registered().join(&SEATS[1]).unwrap();
        let born = own.spawn(&SEATS[2], |_| panic!("born")).unwrap();
        born.join().unwrap_err();
        assert_eq!(count(), 1);
        end(other);
    });
}

/// Tells other seats each time, one twice, calls from inside.
struct Lies {
    looks: Cell<u32>,
    panics_at: Option<u32>,
    /// Leaves one out that was told before.
    hides: bool,
}

impl Seats<SystemReach> for Lies {
    fn each(&self, look: &mut dyn FnMut(&ThreadSeat)) {
        let at = self.looks.replace(self.looks.get() + 1);
        assert!(self.panics_at != Some(at), "look {at}");
        let refused = registered().call(&SEATS, Call::new(Operation::barrier())).map(drop);
        assert_eq!(refused, Err(CallError::Engaged));
        if !self.hides || at == 0 {
            for seat in SEATS.iter().chain(&SEATS[..2]) {
                look(seat);
            }
        }
        look(&ThreadSeat::new());
    }
    fn refresh(&self, _: u32) -> Result<(), Errno> {
        Ok(())
    }
}

#[test]
fn seats_that_lie() {
    alone("all_threads::seats_that_lie", || {
        let others = [beside(0), beside(1)];
        for hides in [false, true] {
            let seats = Lies { looks: Cell::new(0), panics_at: None, hides };
            let ran = AtomicU32::new(0);
            let report = registered().call(&seats, Call::new(Operation::count(&ran))).unwrap();
            assert_eq!(ran.load(Relaxed), 3, "each once: {report:?}");
            assert_eq!(count(), 2);
        }
        others.into_iter().for_each(end);
    });
}

#[test]
fn deadlines_that_have_passed() {
    alone("all_threads::deadlines_that_have_passed", || {
        let other = beside(0);
        let passed = Deadline::after(Duration::ZERO);
        for decision in [Late::Abandon, Late::Until(passed), Late::Wait] {
            let asked = Cell::new(0);
            let late = |missing: &portcullis::all_threads::Missing<'_, SystemReach>| {
                asked.set(asked.get() + 1);
                assert!(missing.count() <= 1);
                if asked.get() > 3 { Late::Wait } else { decision }
            };
            let flag = AtomicBool::new(false);
            let call = Call::new(Operation::flag(&flag)).until(&passed).when_late(&late);
            match registered().call(&SEATS, call) {
                Ok(report) => assert!(report.others + report.abandoned <= 1 && flag.load(Relaxed)),
                Err(refused) => assert_eq!(refused, CallError::TimedOut),
            }
            assert_eq!(count(), 1);
        }
        end(other);
    });
}

#[test]
fn undone_by_a_ready_made_operation() {
    alone("all_threads::undone_by_a_ready_made_operation", || {
        let other = beside(0);
        let (ran, undone) = (AtomicU32::new(0), AtomicU32::new(0));
        let call = Call::new(Operation::count(&ran))
            .on_mismatch(Mismatch::Undo(Operation::count(&undone)));
        let report = registered().call(&SEATS, call).unwrap();
        assert_eq!((report.mismatches, ran.load(Relaxed), undone.load(Relaxed)), (0, 2, 0));
        end(other);
    });
}

#[test]
fn many_callers_while_threads_are_spawned() {
    alone("all_threads::many_callers_while_threads_are_spawned", || {
        let own = registered().join(&SEATS[0]).unwrap();
        thread::scope(|scope| {
            let calls = || {
                for _ in 0..100 {
                    let ran = AtomicU32::new(0);
                    let call = Call::new(Operation::count(&ran));
                    let report = registered().call(&SEATS, call).unwrap();
                    // Others may have inherited it.
                    assert!(report.is_complete() && report.others <= 8);
                    assert!((1..=report.others + 1).contains(&ran.load(Relaxed)));
                }
            };
            let callers = [(); 3].map(|()| scope.spawn(calls));
            for round in 0..100 {
                let born = own.spawn(&SEATS[1 + round % 7], |member| _ = member.poll()).unwrap();
                born.join().unwrap().unwrap();
            }
            callers.into_iter().for_each(|caller| caller.join().unwrap());
        });
    });
}

#[cfg(target_os = "linux")]
#[test]
fn system_calls_that_are_ready_made() {
    use portcullis::all_threads::call_everyone;
    use portcullis::all_threads::linux::Syscall;
    alone("all_threads::system_calls_that_are_ready_made", || {
        let other = beside(0);
        for call in [Syscall::gettid(), Syscall::sched_yield(), Syscall::set_timer_slack(50_000)] {
            let report = call_everyone(Call::new(Operation::syscall(&call))).unwrap();
            assert!(report.others >= 1);
            let report = registered().call(&SEATS, Call::new(Operation::syscall(&call))).unwrap();
            assert_eq!(report.others, 1);
        }
        end(other);
    });
}

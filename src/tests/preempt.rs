//! The gate on a backend that does what it is told: every state with every event against the tables
//! in [`crate::preempt`], and random histories against a plain reference.

use std::cell::Cell;

use proptest::prelude::*;

use crate::preempt::host::{
    Backend, BackendError, Claim, GateLocal, Met, StopAnswer, StopWord, Turn,
};
use crate::preempt::{
    Asymmetric, Either, ExitError, External, Fenced, Gate, Gates, Inside, RegisterError,
    Registration, Request, StoppedAll, SuspendError, Suspended, Target, ThreadRef,
};
#[cfg(all(feature = "std", unix))]
use crate::preempt::{Checked, Hook, SystemBackend, SystemThread};
use crate::sync::AtomicU32;
use crate::sys::Errno;

/// Which call fails next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failing {
    Open,
    Ask,
    Confirm,
    Interrupt,
}

/// Two threads, one at a time.
#[derive(Debug, Default)]
struct Told {
    here: [GateLocal; 2],
    turn: Turn,
    now: Cell<usize>,
    failing: Cell<Option<Failing>>,
    /// Not suspended, as the system would have it.
    runs: Cell<bool>,
    /// Interrupts at once, as on Windows.
    synchronous: Cell<bool>,
    interrupts: Cell<u32>,
}

// SAFETY: each is used by one thread.
unsafe impl Sync for Told {}

impl Told {
    fn fails(&self, call: Failing) -> Result<(), BackendError> {
        match self.failing.get() == Some(call) {
            true => Err(BackendError::Refused(Errno(5))),
            false => Ok(()),
        }
    }
}

// SAFETY: nobody runs while another does.
unsafe impl Backend for Told {
    type Handle = ();
    type Context = bool;
    type Exited = i32;
    type Patience = ();

    fn here(&self) -> *const GateLocal {
        &raw const self.here[self.now.get()]
    }
    fn turn(&self) -> &Turn {
        &self.turn
    }
    unsafe fn open(&'static self) -> Result<(), RegisterError> {
        self.fails(Failing::Open).map_err(|_| RegisterError::System(Errno(5)))
    }
    unsafe fn close(&self, (): ()) {}
    fn patience(&self, _: u32) {}
    unsafe fn ask(&self, (): &(), _: &StopWord, (): &()) -> Result<(), BackendError> {
        self.fails(Failing::Ask)
    }
    unsafe fn confirm(&self, (): &(), _: &StopWord, (): &()) -> Result<(), BackendError> {
        self.fails(Failing::Confirm)?;
        assert!(self.runs.replace(false), "suspended twice");
        Ok(())
    }
    unsafe fn context(&self, (): &(), _: &StopWord) -> bool {
        self.runs.get()
    }
    unsafe fn resume(&self, (): &(), _: &StopWord) {
        assert!(!self.runs.replace(true), "resumed twice");
    }
    unsafe fn interrupt(&self, (): &(), _: &StopWord) -> Result<bool, BackendError> {
        self.fails(Failing::Interrupt)?;
        self.interrupts.set(self.interrupts.get() + 1);
        Ok(self.synchronous.get())
    }
    fn pause(&self, turn: u32) {
        assert!(turn < 10, "waits for nobody");
    }
    unsafe fn wait_stopped(&self, _: &AtomicU32, _: u32) {}
    fn wake(&self, _: &AtomicU32) {}
    fn exit(&self, code: i32) -> i32 {
        code
    }
}

struct World {
    gates: &'static Gates<Fenced, Told>,
    gate: &'static Gate<Told>,
}

/// `static`s of one test.
fn world() -> World {
    let told = Told { runs: Cell::new(true), ..Told::default() };
    World { gates: Box::leak(Box::new(Gates::new(Fenced, told))), gate: Box::leak(Box::default()) }
}

impl World {
    fn member(&self) -> Registration<Fenced, Told> {
        self.gates.register(self.gate).unwrap()
    }
    /// As the other thread.
    fn other<R>(&self, body: impl FnOnce() -> R) -> R {
        let before = self.gates.backend().now.replace(1);
        let result = body();
        self.gates.backend().now.set(before);
        result
    }
    fn suspend(&self, thread: ThreadRef<Fenced, Told>) -> Result<(), SuspendError> {
        self.other(|| self.gates.try_suspend(thread).map(drop))
    }
    fn request(&self, thread: ThreadRef<Fenced, Told>) -> Result<bool, SuspendError> {
        self.other(|| self.gates.request(thread).map(|request| request.is_acknowledged()))
    }
    fn fail(&self, failing: Option<Failing>) {
        self.gates.backend().failing.set(failing);
    }
    fn met(&self) -> Met {
        // SAFETY: as its thread, which nothing interrupts.
        unsafe { self.gate.on_signal(self.gates.backend(), std::ptr::null_mut()) }
    }
}

#[test]
fn each_state_with_each_attempt() {
    let world = world();
    let mut member = world.member();
    let thread = member.thread();
    assert_eq!((world.suspend(thread), world.request(thread)), (Ok(()), Ok(false)));
    assert_eq!((world.met(), world.met()), (Met::Preempt, Met::Nothing));
    let mut external = member.external();
    let refused = Err(SuspendError::External);
    assert_eq!((world.suspend(thread), world.request(thread).map(drop)), (refused, refused));
    {
        let mut inside = external.inside();
        assert_eq!(world.suspend(thread), Ok(()));
        let out = inside.external();
        assert_eq!(world.suspend(thread), refused);
        drop(out);
        assert_eq!(world.suspend(thread), Ok(()));
    }
    assert_eq!(world.suspend(thread), refused);
    drop(external);
    assert_eq!(world.suspend(thread), Ok(()));
    assert_eq!(world.gates.try_suspend(thread).map(drop), Err(SuspendError::Oneself));
    assert_eq!(world.gates.register(world.gate).unwrap_err(), RegisterError::AlreadyRegistered);
    let taken = world.other(|| world.gates.register(world.gate).map(drop));
    assert_eq!(taken, Err(RegisterError::GateInUse));
    drop(member);
    let gone = Err(SuspendError::Gone);
    assert_eq!((world.suspend(thread), world.request(thread).map(drop)), (gone, gone));
    let next = world.member();
    assert_eq!((world.suspend(thread), world.suspend(next.thread())), (gone, Ok(())));
}

#[test]
fn each_call_that_fails_leaves_nothing_behind() {
    let world = world();
    world.fail(Some(Failing::Open));
    assert_eq!(world.gates.register(world.gate).unwrap_err(), RegisterError::System(Errno(5)));
    world.fail(None);
    let mut member = world.member();
    let thread = member.thread();
    for failing in [Failing::Ask, Failing::Confirm] {
        world.fail(Some(failing));
        assert_eq!(world.suspend(thread), Err(SuspendError::Refused(Errno(5))));
        let mut targets = [Target::new(thread), Target::new(thread)];
        let stopped = world.other(|| world.gates.stop_all(&mut targets).stopped().count());
        assert_eq!(stopped, 0);
        assert_eq!(targets[0].outcome(), Err(SuspendError::Refused(Errno(5))));
        assert_eq!(targets[1].outcome(), Err(SuspendError::Busy));
        drop(member.external());
        world.fail(None);
        assert_eq!(world.suspend(thread), Ok(()));
    }
    world.fail(Some(Failing::Interrupt));
    assert_eq!(world.request(thread), Err(SuspendError::Refused(Errno(5))));
    world.fail(None);
    assert_eq!((world.met(), world.request(thread)), (Met::Nothing, Ok(false)));
    // One under way serves all; a thread's end acknowledges it.
    assert_eq!((world.request(thread), world.gates.backend().interrupts.get()), (Ok(false), 1));
    let request = world.other(|| world.gates.request(thread)).unwrap();
    world.other(|| world.gates.send_again(&request)).unwrap();
    assert_eq!(world.gates.backend().interrupts.get(), 2);
    drop(member);
    assert!(request.is_acknowledged());
    world.gates.backend().synchronous.set(true);
    let member = world.member();
    assert_eq!(world.request(member.thread()), Ok(true));
}

#[test]
fn who_has_others_suspended_does_not_exit() {
    let world = world();
    let member = world.member();
    let gate: &'static Gate<Told> = Box::leak(Box::default());
    world.other(|| {
        let mut own = world.gates.register(gate).unwrap();
        let suspended = world.gates.try_suspend(member.thread()).unwrap();
        assert_eq!(suspended.context(), Some(false));
        assert_eq!(own.exit(3), Err(ExitError::HoldsSuspended(1)));
        assert_eq!(world.gates.try_suspend(member.thread()).unwrap_err(), SuspendError::Busy);
        drop(suspended);
        assert_eq!(own.exit(3), Ok(3));
    });
    assert_eq!((world.gates.holds(), world.other(|| world.gates.holds())), (0, 0));
}

/// What others held is held by nobody; who forked goes on under a new name, the others are gone.
#[test]
fn the_child_of_a_fork_begins_anew() {
    let world = world();
    let mut member = world.member();
    let lost: &'static Gate<Told> = Box::leak(Box::default());
    let theirs = world.other(|| world.gates.register(lost)).unwrap();
    let (own, lost_thread) = (member.thread(), theirs.thread());
    // Two that live no more: one has this thread claimed, one the other, and the turn.
    world.other(|| _ = world.gates.request(own));
    world.gate.claim().unwrap();
    lost.claim().unwrap();
    world.gates.take_turn();
    std::mem::forget(theirs);
    world.gates.backend().here[1].unregister();
    // SAFETY: there is one thread, that of the test.
    let reset = || unsafe { world.gates.reset_after_fork([world.gate, lost]) };
    world.fail(Some(Failing::Open));
    assert_eq!(reset(), Err(RegisterError::System(Errno(5))));
    world.fail(None);
    assert_eq!(world.suspend(own), Err(SuspendError::Gone), "no handle");
    // SAFETY: as above.
    assert_eq!(reset(), Ok(()));
    assert_eq!(world.met(), Met::Nothing, "a request of the parent");
    drop(member.external());
    assert_eq!((world.suspend(own), world.suspend(lost_thread)), (Ok(()), Err(SuspendError::Gone)));
    let next = world.other(|| world.gates.register(lost)).unwrap();
    assert!(next.thread() != lost_thread);
    world.other(|| drop(next));
}

/// It ends with its registration forgotten, or dropped afterwards.
#[test]
fn a_thread_ends_registered() {
    let world = world();
    let own = world.member();
    let thread = own.thread();
    assert_eq!(world.request(thread), Ok(false));
    let ends = || {
        let (here, marked) = (world.gates.backend().here(), Cell::new(0));
        // SAFETY: as its thread, which nothing interrupts; of this backend.
        unsafe { (*here).thread_ends::<Told>(|()| marked.set(marked.get() + 1), |_| ()) };
        marked.get()
    };
    assert_eq!(ends(), 1);
    assert_eq!(world.met(), Met::Nothing, "its requests are acknowledged");
    // What the mark says it says to the backend, of which this has none.
    assert_eq!(world.suspend(thread), Ok(()));
    assert_eq!(world.gates.register(world.gate).unwrap_err(), RegisterError::ThreadEnding);
    drop(own);
    assert_eq!((ends(), world.suspend(thread)), (0, Err(SuspendError::Gone)));
    assert_eq!(world.gates.register(world.gate).unwrap_err(), RegisterError::ThreadEnding);
    world.other(|| drop(world.member()));
}

#[test]
fn others_gates_are_refused() {
    let (world, others) = (world(), self::world());
    let own = world.member();
    let refused = Err(SuspendError::OtherGates);
    assert_eq!(others.suspend(own.thread()), refused);
    assert_eq!(others.request(own.thread()), refused.map(|()| false));
    let request = world.other(|| world.gates.request(own.thread())).unwrap();
    assert_eq!(others.gates.send_again(&request), refused);
    let mut targets = [Target::new(own.thread())];
    assert_eq!(others.gates.stop_all(&mut targets).stopped().count(), 0);
    assert_eq!((targets[0].outcome(), others.gates.holds()), (refused, 0));
    assert_eq!(world.suspend(own.thread()), Ok(()));
}

#[test]
fn what_threads_may_share() {
    fn both<T: Send + Sync>() {}
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    both::<(Gates<Fenced, Told>, &Gate<Told>, ThreadRef<Fenced, Told>)>();
    both::<(Target<Fenced, Told>, Request<Fenced, Told>)>();
    both::<(GateLocal, Turn, Met, StopAnswer, &StopWord, &Claim)>();
    both::<(Fenced, Asymmetric, Either)>();
    error::<RegisterError>();
    error::<SuspendError>();
    error::<ExitError>();
    error::<BackendError>();
    #[cfg(all(feature = "std", unix))]
    both::<(SystemBackend, SystemThread, Hook, Checked<std::alloc::System>)>();
    assert!(error_source(&RegisterError::System(Errno(5))));
    assert!(error_source(&SuspendError::Refused(Errno(5))));
    assert!(error_source(&BackendError::Refused(Errno(5))));
    assert!(!error_source(&SuspendError::Gone));
}

/// What is its thread's own: `Registration`, `External`, `Inside`, `Suspended`, `StoppedAll`. A call is
/// ambiguous if the type is `Send` or `Sync`.
#[test]
fn what_threads_may_not_share() {
    trait Neither<Which> {
        fn neither() {}
    }
    impl<T: ?Sized> Neither<()> for T {}
    impl<T: ?Sized + Send> Neither<u8> for T {}
    impl<T: ?Sized + Sync> Neither<u16> for T {}
    <Registration<Fenced, Told> as Neither<_>>::neither();
    <External<'_, Fenced, Told> as Neither<_>>::neither();
    <Inside<'_, Fenced, Told> as Neither<_>>::neither();
    <Suspended<'_, Fenced, Told> as Neither<_>>::neither();
    <StoppedAll<'_, Fenced, Told> as Neither<_>>::neither();
}

fn error_source(error: &dyn std::error::Error) -> bool {
    error.source().is_some_and(|source| source.to_string() == Errno(5).to_string())
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Register,
    End,
    Out,
    Back,
    Suspend,
    Request,
    Signal,
    Fail(usize),
}

/// What a gate comes down to.
#[derive(Debug, Default)]
struct Reference {
    registered: bool,
    outside: bool,
    under_way: bool,
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn the_gate_is_the_reference(
        actions in prop::collection::vec(prop_oneof![
            Just(Action::Register), Just(Action::End), Just(Action::Out), Just(Action::Back),
            Just(Action::Suspend), Just(Action::Request), Just(Action::Signal),
            (0..4_usize).prop_map(Action::Fail),
        ], 1..80),
    ) {
        let world = world();
        let (mut member, mut last) = (None, None);
        let mut reference = Reference::default();
        for action in actions {
            let Reference { registered, outside, .. } = reference;
            match action {
                Action::Register if !registered => {
                    let new = world.member();
                    prop_assert!(last != Some(new.thread()));
                    last = Some(new.thread());
                    member = Some(new);
                    reference = Reference { registered: true, ..Reference::default() };
                }
                Action::End if registered => {
                    member = None;
                    reference = Reference::default();
                }
                // Forgotten, as frames cannot be kept in a list.
                Action::Out if registered && !outside => {
                    std::mem::forget(member.as_mut().unwrap().external());
                    reference.outside = true;
                }
                Action::Back if outside => {
                    drop(member.as_mut().unwrap().external());
                    reference.outside = false;
                }
                Action::Suspend | Action::Request => if let Some(thread) = last {
                    let expected = match () {
                        () if !registered => Err(SuspendError::Gone),
                        () if outside => Err(SuspendError::External),
                        () => Ok(()),
                    };
                    if matches!(action, Action::Suspend) {
                        prop_assert_eq!(world.suspend(thread), expected);
                    } else {
                        prop_assert_eq!(world.request(thread), expected.map(|()| false));
                        reference.under_way |= expected.is_ok();
                    }
                },
                Action::Signal if registered => {
                    let expected = match (reference.under_way, outside) {
                        (false, _) => Met::Nothing,
                        (true, true) => Met::Something,
                        (true, false) => Met::Preempt,
                    };
                    prop_assert_eq!(world.met(), expected);
                    reference.under_way = false;
                }
                Action::Fail(which) => if let Some(thread) = last.filter(|_| registered && !outside) {
                    let calls = [Failing::Ask, Failing::Confirm, Failing::Interrupt];
                    let Some(&call) = calls.get(which) else { continue };
                    if call == Failing::Interrupt && reference.under_way { continue; }
                    world.fail(Some(call));
                    let attempt = match call {
                        Failing::Interrupt => world.request(thread).map(drop),
                        _ => world.suspend(thread),
                    };
                    world.fail(None);
                    prop_assert_eq!(attempt, Err(SuspendError::Refused(Errno(5))));
                },
                _ => {}
            }
        }
    }
}

//! Threads that the simulated kernel knows from their birth.

use super::cause::Waits;
use super::futex::{block, sleep, wake};
use super::lanes::{About, Detail};
use super::state::{Run, Thread};
use core::panic::Location;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A thread of the model, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadId(pub(super) usize);

impl ThreadId {
    /// A number that no other thread of the model has.
    pub(crate) fn number(self) -> usize {
        self.0
    }
}

/// The calling thread.
#[must_use]
pub fn current() -> ThreadId {
    ThreadId(Run::expect().me())
}

/// The thread that loom started the model on.
#[must_use]
pub fn main() -> ThreadId {
    ThreadId(0)
}

/// One step of a loop that waits for another thread: `std::thread::yield_now`, and `std::hint::spin_loop` too,
/// for without it the others do not run.
#[track_caller]
pub fn yield_now() {
    crate::sync::relax();
}

/// Spawns a thread, its lane headed `name`. It inherits the mask of its parent.
#[track_caller]
pub fn spawn<T: 'static>(
    name: impl Into<String>,
    body: impl FnOnce() -> T + 'static,
) -> JoinHandle<T> {
    let at = Location::caller();
    let run = Run::expect();
    let parent = run.me();
    let name = name.into();
    let slot = {
        let mut inner = run.borrow();
        let (process, mask) = (inner.threads[parent].process, inner.threads[parent].mask);
        inner.threads.push(Thread::new(name.clone(), process, mask));
        let slot = inner.threads.len() - 1;
        super::flight::tells(&mut inner, parent, slot);
        slot
    };
    run.row_about(About::Thread(slot), parent, "spawn", Detail::Text(name), at);
    let shared = Rc::new(Shared {
        result: RefCell::new(None),
        joined: Cell::new(false),
        detached: Cell::new(false),
    });
    let theirs = Rc::clone(&shared);
    loom::thread::spawn(move || {
        let run = Run::expect();
        run.borrow().threads[slot].id = Some(loom::thread::current().id());
        let result = body();
        // Exiting is a kernel call: a signal may land before it.
        super::deliver::step(&run, at);
        exit(&run, slot, at);
        *theirs.result.borrow_mut() = Some(result);
        theirs.hand_over(&run, slot);
        run.borrow().threads[slot].over = true;
    });
    JoinHandle { shared, slot }
}

/// Runs the exit hooks of a thread and takes it out of the kernel's sight.
pub(super) fn exit(run: &Run, slot: usize, at: &'static Location<'static>) {
    loop {
        let hook = run.borrow().threads[slot].at_exit.pop();
        let Some(hook) = hook else { break };
        hook();
    }
    super::suspend::exchange(run, slot);
    // It leaves its processor for good: what it wrote is there for who runs a barrier on all threads after that.
    loom::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    run.borrow().threads[slot].exited = true;
    super::suspend::asleep(run, slot);
    run.row(slot, "thread exits", Detail::Nothing, at);
    let last = run.borrow().threads.iter().all(|thread| thread.exited);
    if last {
        // What handlers own is dropped while the execution that it belongs to lasts.
        let processes = run.borrow().processes.len();
        for process in 0..processes {
            let handlers = core::mem::take(&mut run.borrow().processes[process].dispositions);
            drop(handlers);
        }
        let kept = core::mem::take(&mut run.borrow().kept);
        drop(kept);
    }
}

/// A join without a loom object.
///
/// The one who joins learns what the other wrote by being unparked, so it always sleeps, and the
/// other waits with its end until then. Any object would have loom try both orders of the end
/// and the join, between which there is no difference: several times the executions.
struct Shared<T> {
    result: RefCell<Option<T>>,
    joined: Cell<bool>,
    detached: Cell<bool>,
}

impl<T> Shared<T> {
    fn joiner(&self) -> usize {
        core::ptr::from_ref(&self.joined).addr()
    }

    fn ended(&self) -> usize {
        core::ptr::from_ref(&self.detached).addr()
    }

    fn hand_over(&self, run: &Run, slot: usize) {
        while !self.detached.get() {
            if wake(run, self.joiner()).is_some() {
                self.joined.set(true);
                return;
            }
            sleep(run, slot, self.ended(), None);
        }
    }
}

/// Waits for a thread. loom's own handle prints at each join.
pub struct JoinHandle<T> {
    shared: Rc<Shared<T>>,
    slot: usize,
}

impl<T> core::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("JoinHandle").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl<T> JoinHandle<T> {
    /// The thread's name in the kernel.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        ThreadId(self.slot)
    }

    /// Waits until the thread has exited; returns what it returned.
    #[track_caller]
    pub fn join(self) -> T {
        let run = Run::expect();
        super::hook::before("join");
        let (op, about) = ("join: waits for the end of", About::Thread(self.slot));
        let waits = Waits { op, about, at: Location::caller() };
        let me = run.me();
        run.borrow().threads[me].waits = Some(waits);
        loop {
            super::suspend::exchange(&run, run.me());
            if self.shared.joined.get() {
                break;
            }
            wake(&run, self.shared.ended());
            block(&run, self.shared.joiner());
        }
        run.borrow().threads[me].waits = None;
        super::flight::tells(&mut run.borrow(), self.slot, me);
        let name = run.borrow().threads[self.slot].name.clone();
        super::hook::after_on(About::Thread(self.slot), "join", Detail::Text(name));
        self.shared.result.borrow_mut().take().expect("written before the end")
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if !self.shared.joined.get() && !std::thread::panicking() {
            self.shared.detached.set(true);
            wake(&Run::expect(), self.shared.ended());
        }
    }
}

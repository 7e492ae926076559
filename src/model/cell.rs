//! Cells whose accesses are checked: against other threads by loom, against handlers by the kernel.
//!
//! loom reports two threads that access a cell with nothing to order them. A handler runs on the thread that
//! it interrupts, so loom sees one thread; the kernel reports a handler that accesses a cell in the middle of
//! an access by the code it interrupted, unless both only read.

use super::hook::{self, About, Detail};
use super::lanes::place;
use super::state::Run;
use core::cell::RefCell;
use core::panic::Location;

/// `core::cell::UnsafeCell` by loom's closures. Each access has a beginning and an end, between which a signal
/// may land: it takes more than one instruction, as far as anybody knows.
#[derive(Debug)]
pub struct UnsafeCell<T> {
    inner: loom::cell::UnsafeCell<T>,
    open: RefCell<Vec<Open>>,
    id: u32,
}

/// An access that has begun.
#[derive(Debug)]
struct Open {
    slot: usize,
    depth: usize,
    writes: bool,
    at: &'static Location<'static>,
}

impl<T> UnsafeCell<T> {
    /// A cell that holds this.
    #[track_caller]
    pub fn new(value: T) -> Self {
        let inner = loom::cell::UnsafeCell::new(value);
        Self { inner, open: RefCell::default(), id: hook::new_id() }
    }

    /// What it holds.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }

    /// A read. Reading through the pointer is up to the caller, as with core's: others that write meanwhile
    /// are reported.
    #[track_caller]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        self.access("cell read", false, || self.inner.with(f))
    }

    /// A write, or a read and a write. Others that access it meanwhile are reported.
    #[track_caller]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        self.access("cell write", true, || self.inner.with_mut(f))
    }

    #[track_caller]
    fn access<R>(&self, op: &'static str, writes: bool, f: impl FnOnce() -> R) -> R {
        let at = Location::caller();
        hook::before(op);
        let Some(run) = Run::current().filter(|_| !std::thread::panicking()) else {
            return f();
        };
        let slot = run.me();
        self.check(&run, slot, writes, at);
        let depth = run.borrow().threads[slot].frames.len();
        self.open.borrow_mut().push(Open { slot, depth, writes, at });
        hook::after_on(About::plain(self.id), op, Detail::Text("begins".to_owned()));
        let result = f();
        hook::before(op);
        let is_this = |open: &Open| open.slot == slot && open.depth == depth;
        let index = self.open.borrow().iter().rposition(is_this);
        index.map(|index| self.open.borrow_mut().remove(index));
        hook::after_on(About::plain(self.id), op, Detail::Text("ends".to_owned()));
        result
    }

    /// Reports an access in the middle of one by the code that the running handler interrupted.
    #[track_caller]
    fn check(&self, run: &Run, slot: usize, writes: bool, at: &'static Location<'static>) {
        let open = self.open.borrow();
        let own = |open: &&Open| open.slot == slot && (open.writes || writes);
        let Some(open) = open.iter().find(own) else { return };
        let (does, did) = (verb(writes), verb(open.writes));
        let (here, there) = (place(at), place(open.at));
        let handler = run.borrow().threads[slot].frames.get(open.depth).map(|frame| frame.signal);
        super::violation(match handler {
            Some(signal) => {
                let signal = super::signals::name(signal);
                format!(
                    "torn: the handler of {signal} {does} at {here} the cell that the code it interrupted \
                     {did} at {there}"
                )
            }
            None => format!("torn: one thread {does} at {here} the cell that it {did} at {there}"),
        });
    }
}

fn verb(writes: bool) -> &'static str {
    if writes { "writes" } else { "reads" }
}

/// `core::cell::Cell`, checked in the same way.
#[derive(Debug)]
pub struct Cell<T>(UnsafeCell<T>);

impl<T> Cell<T> {
    /// A cell that holds this.
    #[track_caller]
    pub fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// What it holds.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }

    /// What it holds.
    #[track_caller]
    pub fn get(&self) -> T
    where
        T: Copy,
    {
        // SAFETY: the pointer is the cell's; `UnsafeCell::with` fails the model if anybody writes meanwhile.
        self.0.with(|value| unsafe { *value })
    }

    /// Drops what it held.
    #[track_caller]
    pub fn set(&self, value: T) {
        drop(self.replace(value));
    }

    /// What it held.
    #[track_caller]
    pub fn replace(&self, value: T) -> T {
        // SAFETY: as in `get`, if anybody reads or writes meanwhile.
        self.0.with_mut(|place| unsafe { core::mem::replace(&mut *place, value) })
    }
}

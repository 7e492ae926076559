//! What the facade tells the kernel at each operation.

use super::cause::Waits;
use super::lanes::place;
pub(crate) use super::lanes::{About, Detail};
use super::state::{Doing, Held, Run};
use super::{deliver, flight};
use core::cell::Cell;
use core::panic::Location;

/// A name for the next object that the lanes tell of: no address, for that may be used again.
pub(crate) fn new_id() -> u32 {
    std::thread_local! {
        static LAST: Cell<u32> = const { Cell::new(0) };
    }
    let id = LAST.get().wrapping_add(1);
    LAST.set(id);
    id
}

/// Before an operation: a signal may land here.
#[track_caller]
pub(crate) fn before(op: &'static str) {
    before_word(op, 0);
}

/// A number for a new word of the program, from 1 on; 0 outside of models.
pub(crate) fn number() -> usize {
    let Some(run) = Run::current() else { return 0 };
    let Some(mut inner) = run.try_borrow() else { return 0 };
    inner.words += 1;
    inner.words
}

/// Before an operation on the word of this number.
#[track_caller]
pub(crate) fn before_word(op: &'static str, word: usize) {
    // A facade operation in a destructor, while a failed model unwinds, is nobody's step.
    if std::thread::panicking() {
        return;
    }
    if let Some(run) = Run::current() {
        let at = Location::caller();
        deliver::step_on(&run, if op == "store" { 0 } else { word }, at);
        let me = run.me();
        if op != "load" {
            flight::will_write(&run, me, word);
        }
        run.borrow().threads[me].doing = Some(Doing { op, word, at });
    }
}

/// After an operation: the row of the lanes.
#[track_caller]
pub(crate) fn after(op: &'static str, detail: Detail) {
    after_on(About::Nothing, op, detail);
}

/// The same of an operation on an object.
#[track_caller]
pub(crate) fn after_on(about: About, op: &'static str, detail: Detail) {
    if std::thread::panicking() {
        return;
    }
    if let Some(run) = Run::current() {
        let me = run.me();
        let done = run.borrow().threads[me].doing.take();
        if let Some(done) = done.filter(|done| done.op != "store") {
            flight::has_read(&mut run.borrow(), me, done.word);
        }
        run.row_about(about, me, op, detail, Location::caller());
    }
}

/// The calling thread is about to wait for the lock at `address`.
///
/// If a frame below the running handler holds it, nobody will ever give it: the violation names
/// both places.
#[track_caller]
pub(crate) fn lock_wanted(address: usize) {
    let Some(run) = Run::current().filter(|_| !std::thread::panicking()) else {
        return;
    };
    let me = run.me();
    let inner = run.borrow();
    let thread = &inner.threads[me];
    let Some(held) = thread.locks.iter().find(|held| held.address == address) else {
        return;
    };
    let here = place(Location::caller());
    let taken = place(held.taken);
    let message = match thread.frames.get(held.depth) {
        Some(frame) => format!(
            "self-deadlock: handler awaits a lock held by the frame it interrupted \
             (thread \"{}\": taken at {taken}, interrupted at {} by {}, awaited at {here})",
            thread.name,
            place(frame.interrupted),
            super::signals::name(frame.signal),
        ),
        None => format!(
            "self-deadlock: thread \"{}\" awaits at {here} the lock it took at {taken}",
            thread.name
        ),
    };
    drop(inner);
    super::violation(message);
}

/// The calling thread waits for the lock with this id, until it has it.
#[track_caller]
pub(crate) fn lock_awaited(id: u32, awaited: bool) {
    let Some(run) = Run::current() else { return };
    let at = Location::caller();
    let waits = Waits { op: "lock: waits", about: About::plain(id), at };
    let me = run.me();
    run.borrow().threads[me].waits = awaited.then_some(waits);
}

/// Whether the calling thread holds the lock at `address`.
pub(crate) fn holds_lock(address: usize) -> bool {
    Run::current().is_some_and(|run| {
        let me = run.me();
        let inner = run.borrow();
        inner.threads[me].locks.iter().any(|held| held.address == address)
    })
}

/// The calling thread took the lock at `address`.
#[track_caller]
pub(crate) fn lock_taken(address: usize) {
    let Some(run) = Run::current() else { return };
    let me = run.me();
    let thread = &mut run.borrow().threads[me];
    let depth = thread.frames.len();
    thread.locks.push(Held { address, depth, taken: Location::caller() });
}

/// The lock at `address` was given back.
pub(crate) fn lock_given(address: usize) {
    let Some(run) = Run::current() else { return };
    let me = run.me();
    let mut inner = run.borrow();
    // Mostly the giver is the taker, but a lock may be handed over.
    let held = |held: &Held| held.address == address;
    let count = inner.threads.len();
    for slot in core::iter::once(me).chain(0..count) {
        let locks = &mut inner.threads[slot].locks;
        if let Some(index) = locks.iter().rposition(held) {
            locks.remove(index);
            return;
        }
    }
}

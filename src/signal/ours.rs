//! The thread that the crate makes: whose code it runs, what it hears meanwhile, and how it is asked to hear it no
//! more. See [`super::closing`].

use std::cell::Cell;

use crate::sys::{self, Mask};

/// Whose code a thread runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It is no thread of ours: its mask is as its program gave it.
    Lent,
    /// Ours, on the thread that the crate made, which masks signals.
    Ours,
    /// The user's, on that thread: a sink or a waker.
    Users,
}

std::thread_local! {
    static PART: Cell<Part> = const { Cell::new(Part::Lent) };
}

/// Whether the calling thread is the one; also where it cannot be told any more, as its thread-locals are gone.
pub(super) fn is_this_one() -> bool {
    PART.try_with(Cell::get) != Ok(Part::Lent)
}

/// Whether the calling thread hears what is subscribed to while it runs the user's code.
pub(super) fn would_hear() -> bool {
    sys::MASKS_ON_RETURN && PART.get() != Part::Lent
}

/// The user's code has returned, or panicked.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        PART.set(Part::Ours);
    }
}

/// Runs code of the user's, on the crate's thread under this mask.
pub(super) fn under(mask: &Mask, open: bool, body: &mut dyn FnMut()) {
    match PART.get() {
        Part::Ours => {
            PART.set(Part::Users);
            let _back = Back;
            let mask = if open { *mask } else { mask.and_subscribed() };
            mask.under(body);
        }
        // A waker that a sink wakes runs as that one does.
        Part::Users | Part::Lent => body(),
    }
}

/// Runs the receiver on the thread that the crate has made for it.
pub(super) fn run<R>(receiver: impl FnOnce() -> R) -> R {
    PART.set(Part::Ours);
    asked::set_thread();
    receiver()
}

/// The crate's thread masks what is subscribed to, if that is not the calling one: what that one has not taken
/// it takes when it next leaves the system, which it does before it changes a disposition.
pub(super) fn close(is_open: &mut dyn FnMut() -> bool) {
    if PART.get() == Part::Lent {
        asked::close(is_open);
    }
}

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        mod asked {
            use core::ffi::c_void;
            use std::thread;

            use crate::note::Deadline;
            use crate::signal::STOP_PATIENCE;
            use crate::signal::closing::Closing;
            use crate::sync::{AtomicUsize, Ordering::Relaxed};
            use crate::sys::{self, Crossing, OsThread};

            static CLOSING: Closing = Closing::new();

            /// The crate's thread, by its number and by its name; the last one that there was.
            static NUMBER: AtomicUsize = AtomicUsize::new(0);
            static NAME: AtomicUsize = AtomicUsize::new(0);

            pub(super) fn set_thread() {
                // Handlers of others' interrupt sinks too. Without memory for it the thread has what std gave it.
                _ = sys::keep_stack();
                // ORDERING: Relaxed, both: who reads one has had the hub's lock after this thread counted itself as
                // open under it, or is this thread.
                NAME.store(sys::thread_id(), Relaxed);
                NUMBER.store(OsThread::current().number(), Relaxed);
            }

            pub(super) fn close(is_open: &mut dyn FnMut() -> bool) {
                // ORDERING: Relaxed: see `set_thread`.
                // SAFETY: `set_thread` stored it; on these systems it is a number also when the thread has ended.
                let thread = unsafe { OsThread::of_number(NUMBER.load(Relaxed)) };
                let patience = Deadline::after(STOP_PATIENCE);
                let goes_on = || {
                    thread::yield_now();
                    is_open() && !patience.has_passed()
                };
                CLOSING.ask(|| send_to(thread), goes_on);
            }

            /// By the signal for that; where there is no room for it, by one that needs none.
            fn send_to(thread: OsThread) -> bool {
                let chosen = sys::interrupt(Crossing::Sinks, on_interrupt);
                let sent = chosen.and_then(|()| thread.send(sys::chosen()));
                sent.is_ok() || {
                    let first = sys::interrupt_by(sys::INTERRUPT, Crossing::Sinks, on_interrupt);
                    first.and_then(|()| thread.send(sys::INTERRUPT)).is_ok()
                }
            }

            /// In the handler of that signal, on whichever thread it interrupts.
            fn on_interrupt(_: i32, context: *mut c_void) {
                // ORDERING: Relaxed: see `set_thread`.
                if NAME.load(Relaxed) == sys::thread_id() {
                    // SAFETY: what the handler was given, and it has not returned.
                    CLOSING.answer(|| unsafe { sys::mask_subscribed_on_return(context) });
                }
            }
        }
    } else {
        /// Elsewhere the crate's thread hears nothing of what is subscribed to.
        mod asked {
            pub(super) fn set_thread() {}
            pub(super) fn close(_: &mut dyn FnMut() -> bool) {}
        }
    }
}

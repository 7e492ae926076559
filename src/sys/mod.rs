//! Thin shims over the operating system: one file a system, one contract, stated here.
//!
//! A shim is calls and error mapping. It holds no protocol state and loops only to retry an
//! interrupted call. Every function says whether it is async-signal-safe.
//!
//! # Contract: wait on address
//!
//! - `wait(word, expected, deadline) -> Waited`: sleeps while `word` holds `expected`. The check
//!   and the falling asleep are one step with respect to `wake_one` of the same word. May return
//!   early for no reason (`Waited::Woken`); returns `Waited::TimedOut` only once the deadline has
//!   passed, also where the system cannot be told so late a time: then it returns early. Not for
//!   signal handlers: it blocks.
//! - `wake_one(word)`: wakes one thread asleep on `word`, if any. Async-signal-safe; preserves
//!   errno.
//! - `Deadline::after(Duration)`: a point on the monotonic clock; a duration too long to be
//!   represented is for ever.
//!
//! # Contract: signals
//!
//! - `SIGNALS`: one more than the highest number; `REALTIME_MIN`: the first real-time one.
//! - `classify(signal) -> Class`. Async-signal-safe.
//! - `install(signal, entry)`: asks for the disposition in force and remembers it, then puts the
//!   shim's handler in place, which calls `entry` and acts on its [`Verdict`]. If ours is there
//!   already nothing changes. If somebody changes the disposition between the two steps, what they
//!   set is remembered instead.
//! - `restore(signal) -> Restored`: puts back what was remembered, unless the disposition in force
//!   is no longer ours.
//! - `set_default`, `set_ignored`: whatever is in force; remembered as such.
//! - `is_ignored`: asks the kernel.
//! - `ends_process(signal)`: whether its default action does. `die_by(signal)`: ends the process by
//!   it, masked or not; returns only if it goes on, with 0 if the system gave no reason.
//!   `stop_by(signal)` stops it by the signal's default action, and puts back what was there when it goes on.
//! - `AllBlocked`: masks every signal that may wait in this thread until dropped, `but_interrupts` all but
//!   those by which threads are interrupted, `and_faults` the others too; no effect where there are none.
//! - `Mask::current()`: what the calling thread masks; `under` runs code under it; `and_subscribed`
//!   adds those that are ours. `Mask::all_but`: the calling thread masks all that may wait but these, until
//!   `restore` on it or on a thread that it creates meanwhile; no effect where there are none.
//! - `interrupts(signal)`: whether threads are interrupted by it.
//! - `at_fork(prepare, parent, child)`: called around each fork, in the forking thread.
//! - `thread_id()`: names the calling thread while it lives. Async-signal-safe.
//!
//! `install`, `restore`, `set_default` and `set_ignored` are called under one lock, which forks wait for.
//!
//! # Contract: a thread's stack and end
//!
//! - `Altstack::new() -> Altstack`: a stack large enough for a handler, with a guard page below it;
//!   `enter` and `leave` register it for the calling thread and put back what was there. Nothing
//!   where there are no handlers. `keep_stack`: sees that the calling thread has one until it ends.
//! - `ThreadEnd::arm(data, function)`: called when the calling thread ends, on that thread; several
//!   `ThreadEnd`s may be. `prepare`, then `arm_in_handler -> bool`: the same, async-signal-safe, where
//!   the system can do that.
//! - `Bell::new() -> Bell`: a descriptor that others poll for being readable. `ring` makes it so, `clear` undoes
//!   that, `renew` in the child of a fork parts it from the parent's. Where there are none, none can be made.
//! - `InChild::register(data, function)`: called in the child of each fork of the C library.
//! - `stack_base()`: the upper end of the calling thread's stack, or null. `with_saved(body)`: runs that with the
//!   registers on the stack, and the stack pointer, or null.

#![cfg_attr(
    not(all(feature = "std", any(unix, windows))),
    allow(
        dead_code,
        unused_imports,
        unreachable_pub,
        reason = "the half about signals has no user"
    )
)]

mod error;
mod signal;
pub use error::Errno;
pub use signal::{Signal, UnknownSignal};

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;

cfg_if::cfg_if! {
    if #[cfg(all(loom, any(test, feature = "loom")))] {
        #[cfg(all(unix, test))]
        pub(crate) mod handlers;
        #[cfg(all(unix, test))]
        pub(crate) mod interrupts;
        #[cfg(all(unix, test))]
        pub(crate) mod record;
        mod model;
        pub(crate) use model::*;
        pub use model::{Deadline, Waited};
    } else if #[cfg(unix)] {
        mod deadline;
        mod errno;
        mod masks;
        mod numbers;
        pub use deadline::Deadline;
        #[cfg(all(feature = "std", any(target_os = "linux", target_os = "android")))]
        pub(crate) use deadline::milliseconds;
        pub(crate) use masks::{AllBlocked, Mask};
        pub(crate) use numbers::*;
        cfg_if::cfg_if! {
            if #[cfg(feature = "std")] {
                mod altstack;
                mod bell;
                pub(crate) mod early;
                mod origin;
                #[cfg(any(target_os = "linux", target_os = "android"))]
                mod backup;
                mod handlers;
                mod interrupts;
                #[cfg(any(target_os = "linux", target_os = "android"))]
                mod own;
                mod pin;
                mod previous;
                mod process;
                mod record;
                mod stop;
                mod thread_end;
                #[cfg(any(target_os = "linux", target_os = "android"))]
                mod tasks;
                #[cfg(any(target_os = "linux", target_os = "android"))]
                pub(crate) use backup::{is_backup, keep_backup};
                #[cfg(any(target_os = "linux", target_os = "android"))]
                pub(crate) use tasks::{Life, Signals, Tasks, map_zeroed, raw_syscall};
                mod unix;
                pub(crate) use altstack::{Altstack, Entered, keep_stack};
                pub(crate) use bell::Bell;
                #[cfg(test)]
                pub(crate) use altstack::needed;
                use early::OWN_IS_MEMORY;
                pub(crate) use stop::{
                    Crossing, INTERRUPT, OTHERS, OsThread, chosen, interrupt, interrupt_by, interrupts,
                };
                pub(crate) use thread_end::{InChild, ThreadEnd};
                pub(crate) use previous::MASKS_ON_RETURN;
                #[cfg(any(target_os = "linux", target_os = "android"))]
                pub(crate) use previous::mask_subscribed_on_return;
                pub(crate) use process::{at_fork, die_by, ends_process, stop_by, thread_id};
                pub(crate) use unix::{
                    install, is_ignored, look, restore, set_alone, set_default, set_ignored,
                };
            }
        }
    } else if #[cfg(windows)] {
        mod windows;
        pub use windows::Deadline;
        pub(crate) use windows::{wait, wake_one};
        mod console;
        mod no_altstack;
        mod thread_end;
        pub(crate) use console::*;
        pub(crate) use no_altstack::*;
        pub(crate) use thread_end::{InChild, ThreadEnd};
    } else {
        mod no_altstack;
        mod spin;
        mod thread_end;
        pub(crate) use no_altstack::*;
        pub(crate) use thread_end::{InChild, ThreadEnd};
        pub use spin::Deadline;
        pub(crate) use spin::{wait, wake_one};
        /// A table for whatever a runtime calls a signal here: 1 to 31, all standard ones.
        pub(crate) const SIGNALS: usize = 32;
        pub(crate) const REALTIME_MIN: i32 = 32;
    }
}

cfg_if::cfg_if! {
    if #[cfg(any(not(unix), all(loom, any(test, feature = "loom"))))] {
    } else if #[cfg(any(target_os = "linux", target_os = "android"))] {
        mod linux;
        pub(crate) use linux::{wait, wake_one};
    } else if #[cfg(target_vendor = "apple")] {
        mod apple;
        pub(crate) use apple::{wait, wake_one};
    } else if #[cfg(target_os = "freebsd")] {
        mod freebsd;
        pub(crate) use freebsd::{wait, wake_one};
    } else if #[cfg(target_os = "openbsd")] {
        mod openbsd;
        pub(crate) use openbsd::{wait, wake_one};
    } else if #[cfg(target_os = "dragonfly")] {
        mod dragonfly;
        pub(crate) use dragonfly::{wait, wake_one};
    } else {
        mod fallback;
        pub(crate) use fallback::{wait, wake_one};
    }
}

#[cfg(not(all(loom, any(test, feature = "loom"))))]
mod membarrier;
mod saved;
#[cfg(not(all(loom, any(test, feature = "loom"))))]
pub(crate) use membarrier::{barrier, prepare_barrier};
pub(crate) use saved::{stack_base, with_saved};

/// Why a wait on an address ended.
#[cfg(not(all(loom, any(test, feature = "loom"))))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waited {
    /// Woken, or for no reason: look again.
    Woken,
    /// The deadline has passed.
    TimedOut,
}

/// What sort of signal a number names.
#[cfg_attr(windows, allow(dead_code, reason = "its events have one class"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    OutOfRange,
    Unstoppable,
    ReservedByLibc,
    Synchronous,
    Standard,
    RealTime,
}

/// What `restore` found.
#[cfg_attr(windows, allow(dead_code, reason = "there nothing is replaced"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    /// Our handler; what was there before is in force again.
    Previous,
    /// Somebody else's disposition, which was left alone.
    Foreign,
}

/// Where a signal came from, as the shim reads it; zeros where the system does not say.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RawOrigin {
    pub(crate) code: i32,
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) value: usize,
}

/// What the entry says of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Taken; a handler that was there before is called too.
    Handled,
    /// To be ignored.
    Ignored,
    /// Not ours any more: the disposition in force is to be carried out.
    Unwanted,
}

/// Called in the handler.
pub(crate) type Entry = fn(i32, RawOrigin) -> Verdict;

//! Attach and detach: a thread that the runtime did not create gets a thread record, for one call
//! or until it ends.
//!
//! # Contexts
//!
//! | caller | may call | may not |
//! |---|---|---|
//! | any thread | [`Threads::attach`] and its kin, [`Threads::state`] | hand a token to another thread |
//! | signal handler, any thread | [`Threads::attach_in_handler`], [`Threads::state`], [`Threads::current`] | `attach`: it may block |
//! | the end of a thread | the callback given to [`Host::arm`] | |
//! | child of a fork | the callback given to [`Host::at_fork`], first | |
//!
//! # States
//!
//! Of the calling thread's [`Slot`], one word which nobody but this thread and its handlers uses:
//!
//! | state | bits | meaning |
//! |---|---|---|
//! | UNKNOWN | none | no record |
//! | TRANSITION | TRANSITION | between two steps of attach or detach; signals are masked |
//! | INSIDE | HELD, INSIDE | attached, running the runtime's code |
//! | EXTERNAL | HELD | has a record; running code that is not the runtime's: called out, or bound and idle |
//!
//! beside them: BOUND (the record stays until the thread ends), ARMED (the thread's end is
//! watched), ENDING (that was seen), and a depth: the tokens alive.
//!
//! # Transitions
//!
//! | from | event | to | steps |
//! |---|---|---|---|
//! | UNKNOWN | attach | INSIDE 1 | mask, take, reset, stack, publish, unmask |
//! | EXTERNAL, INSIDE n | attach | INSIDE n + 1 | one store |
//! | INSIDE n + 1 | detach | as before that attach | one store |
//! | INSIDE 1 | detach, not bound | UNKNOWN | mask, unpublish, stack back, give, unmask |
//! | INSIDE n | call out | EXTERNAL n | one store |
//! | EXTERNAL n | return | INSIDE n | one store |
//! | HELD, any depth | the thread ends | UNKNOWN, ENDING | as detach |
//! | TRANSITION | attach | refused | |
//!
//! # Invariants
//!
//! - I1: no signal whose handler may use this module is delivered in TRANSITION: the mask is saved
//!   to a local first and restored from the local last.
//! - I2: while HELD, the slot's record is this thread's alone.
//! - I3: while HELD, the thread has an alternate stack that is large enough.
//! - I4: what a handler changes of its thread's slot it has put back when it returns. So the
//!   interrupted code may load the word and store it later.
//! - I5: a record is reset by its new owner, masked, before it is published: nothing is carried
//!   over, whatever way the last owner went.
//!
//! # Happens-before
//!
//! Between threads, those of [`extra_list`](crate::extra_list): E1 for a record's contents, E3 for
//! its creation. Within a thread, program order; against its own handlers, compiler fences. The
//! flag of `shutdown` carries nothing: who is refused does nothing.
//!
//! # Progress
//!
//! `attach_in_handler` and every detach are lock-free and wait for nobody. `attach` sleeps while no
//! record is spare, with signals open.
//!
//! # Limits
//!
//! A depth of 2^24 tokens. A handler that leaves by longjmp past a token corrupts nothing but keeps
//! the record until its thread ends.
//!
//! # Prior art
//!
//! Go `runtime/proc.go` needm, dropm, cgoBindM; `signal_unix.go` sigblock, msigrestore, minit,
//! unminit (368c4011, c426c87012). There an idle bound thread and one that called out are told by
//! a flag `isExtraInC`, set and cleared by hand (golang/go#72870); here each token puts back the
//! word that it found.

mod error;
mod host;
#[cfg(all(feature = "std", not(all(loom, any(test, feature = "loom")))))]
mod system;
mod thread;
mod token;

use crate::extra_list::{Counts, ExtraList, Replenish, TakeError, Taker};
use crate::note::Deadline;
use crate::sync::{AtomicBool, AtomicU32, Ordering::*, UnsafeCell, filled, model_const_fn};
use crate::sys::Errno;
pub use error::{AttachError, DetachError};
pub use host::{Callback, Host, Slot};
#[cfg(all(feature = "std", not(all(loom, any(test, feature = "loom")))))]
pub use system::{HostStack, Local, Mask, OwnStack, System};
pub use thread::ThreadState;
pub use token::{Attached, External, How, RawAttached};

/// The slot holds a record.
pub(crate) const HELD: u32 = 1;
/// The runtime's code runs.
pub(crate) const INSIDE: u32 = 1 << 1;
/// Between two steps.
pub(crate) const TRANSITION: u32 = 1 << 2;
/// The record stays until the thread ends.
pub(crate) const BOUND: u32 = 1 << 3;
/// The thread's end is watched.
pub(crate) const ARMED: u32 = 1 << 4;
/// The thread is ending: nothing stays any more.
pub(crate) const ENDING: u32 = 1 << 5;
/// One token.
pub(crate) const DEPTH: u32 = 1 << 8;

/// What a runtime tells [`Threads`] about its thread records.
pub trait Runtime: Sync {
    /// What the runtime keeps for each thread. Its owner has it shared with whoever walks
    /// [`Threads::records`].
    type Record: Sync;

    /// Makes record number `index`, or refuses to make more. Called on an attached thread or by
    /// [`Threads::create`], by one thread at a time, never in a handler; may block and allocate.
    fn create(&self, index: usize) -> Option<Self::Record>;

    /// Makes a record as good as new for the thread that calls: the one point at which it changes
    /// hands, at its first use too. Called with signals masked, in handlers too, so it must be
    /// async-signal-safe; a panic (in ordinary code) undoes the attach and passes through.
    fn reset(&self, record: &Self::Record, generation: u32);
}

/// How long a thread keeps the record that it attached with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Until the thread ends: attaching again costs no system call.
    Bound,
    /// Until the last token is gone.
    Unbound,
}

/// What a record consists of, besides its number.
struct Place<T, H: Host> {
    made: UnsafeCell<Option<Made<T, H::Stack>>>,
    saved: UnsafeCell<Option<H::Saved>>,
}

struct Made<T, S> {
    record: T,
    stack: S,
}

/// The threads that are not the runtime's own: up to `N` of them attached at a time.
///
/// Made to be a `static`; a runtime may have several, each with a [`Host`] whose slots are its own.
pub struct Threads<R: Runtime, H: Host, const N: usize> {
    runtime: R,
    host: H,
    places: [Place<R::Record, H>; N],
    /// Read on every attach, so apart from the list's word.
    closed: AtomicBool,
    /// The host was told about forks.
    watched: AtomicBool,
    misordered: AtomicU32,
    abandoned: AtomicU32,
    list: ExtraList<N>,
}

// SAFETY: a place's `made` is written before its number is published and only read after
// (extra_list E3); `saved` is its owner's (I2). Records are shared as `&Record`, which is `Sync`,
// and dropped with the whole.
unsafe impl<R: Runtime, H: Host + Sync, const N: usize> Sync for Threads<R, H, N>
where
    R::Record: Send,
    H::Stack: Send + Sync,
    H::Saved: Send,
{
}

/// What an attach may do.
#[derive(Debug, Clone, Copy)]
struct Request<'a> {
    binding: Binding,
    taker: Taker,
    /// Until when to wait for a record: not at all, until then, for ever.
    patience: Patience<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Patience<'a> {
    None,
    Until(Option<&'a Deadline>),
}

impl<R: Runtime, H: Host, const N: usize> Threads<R, H, N> {
    model_const_fn! {
        /// No records yet: see [`create`](Self::create). `reserve` of them are to be kept for
        /// signal handlers; 1 for each signal that may attach at the same time, on any thread, is
        /// enough.
        pub const fn new(runtime: R, host: H, reserve: u16) -> Self {
            Self {
                runtime,
                host,
                places: filled!(Place {
                    made: UnsafeCell::new(None),
                    saved: UnsafeCell::new(None),
                }; N),
                closed: AtomicBool::new(false),
                watched: AtomicBool::new(false),
                misordered: AtomicU32::new(0),
                abandoned: AtomicU32::new(0),
                list: ExtraList::new(reserve),
            }
        }
    }

    /// Creates the first records, one more than the reserve, or as many as are wanting. A runtime
    /// calls it once before the first thread attaches; later attaches see to it that there is
    /// always one more than needed. Not for handlers.
    ///
    /// # Errors
    ///
    /// The system's, if it refused a stack.
    pub fn create(&'static self) -> Result<Replenish, Errno> {
        // ORDERING: Relaxed: one thread swaps false; the host orders the rest by itself.
        if !self.watched.load(Relaxed) && !self.watched.swap(true, Relaxed) {
            self.host.at_fork(self.callback(Self::forked));
        }
        let mut refused = Ok(());
        let done = self.list.replenish(|index| match self.host.make_stack() {
            Ok(stack) => self.fill(index, stack),
            Err(errno) => {
                refused = Err(errno);
                false
            }
        });
        refused.map(|()| done)
    }

    fn fill(&self, index: usize, stack: H::Stack) -> bool {
        let Some(place) = self.place(index) else { return false };
        let Some(record) = self.runtime.create(index) else {
            self.host.free_stack(stack);
            return false;
        };
        // Not dropped before: in the child of a fork there may be half of one, whose maker is not.
        // SAFETY: one thread creates at a time, and a number beyond the total is nobody's.
        place.made.with_mut(|made| unsafe { made.write(Some(Made { record, stack })) });
        true
    }

    /// Attaches the calling thread, waiting for a record as long as it takes. Not for handlers.
    ///
    /// # Errors
    ///
    /// See [`AttachError`]; never [`Full`](AttachError::Full).
    pub fn attach(&'static self, binding: Binding) -> Result<Attached<R, H, N>, AttachError> {
        self.enter(Request { binding, taker: Taker::Thread, patience: Patience::Until(None) })
    }

    /// The same, waiting until the deadline at most.
    pub fn attach_until(
        &'static self,
        binding: Binding,
        deadline: &Deadline,
    ) -> Result<Attached<R, H, N>, AttachError> {
        let patience = Patience::Until(Some(deadline));
        self.enter(Request { binding, taker: Taker::Thread, patience })
    }

    /// The same without waiting. Not for handlers: it may create records.
    pub fn try_attach(&'static self, binding: Binding) -> Result<Attached<R, H, N>, AttachError> {
        self.enter(Request { binding, taker: Taker::Thread, patience: Patience::None })
    }

    /// Attaches the calling thread for the time of a signal handler. Async-signal-safe: takes from
    /// the reserve too, waits for nothing, creates nothing.
    ///
    /// | the handler interrupted | result |
    /// |---|---|
    /// | a thread unknown to the runtime, or a wait in `attach` | [`How::Attached`], with a record |
    /// | code that an attached thread called, or a bound thread between its attaches | [`How::Nested`], [`was_inside`](Attached::was_inside) false |
    /// | the runtime's own code | [`How::Nested`], `was_inside` true |
    /// | a step of attach or detach (only a signal that cannot be masked can) | [`AttachError::InTransition`] |
    pub fn attach_in_handler(&'static self) -> Result<Attached<R, H, N>, AttachError> {
        let (binding, taker) = (Binding::Unbound, Taker::Handler);
        self.enter(Request { binding, taker, patience: Patience::None })
    }

    /// Refuses every attach from now on but nested ones, and sends away those who wait. Threads
    /// that are attached stay so until they detach. Async-signal-safe.
    pub fn shutdown(&self) {
        // ORDERING: Relaxed: see Happens-before.
        self.closed.store(true, Relaxed);
        self.list.close();
    }

    /// How many records there are, spare and in use, and how many threads wait for one: all of one
    /// moment. A bound thread's record is in use. Async-signal-safe.
    pub fn counts(&self) -> Counts {
        self.list.counts()
    }

    /// Tokens that were given up while later ones were alive, and threads that ended attached.
    /// Both are bugs of the caller which cost no record.
    pub fn misuse(&self) -> (u32, u32) {
        // ORDERING: Relaxed: counters.
        (self.misordered.load(Relaxed), self.abandoned.load(Relaxed))
    }

    /// The runtime.
    pub const fn runtime(&self) -> &R {
        &self.runtime
    }

    /// The host.
    pub const fn host(&self) -> &H {
        &self.host
    }

    /// Every record there is, held or not, with its number; for whoever looks after all threads.
    /// Async-signal-safe.
    pub fn records(&self) -> impl Iterator<Item = (usize, &R::Record)> {
        (0..self.counts().total).filter_map(|index| Some((index, &self.made(index)?.record)))
    }

    #[cfg(test)]
    pub(crate) fn list(&self) -> &ExtraList<N> {
        &self.list
    }

    fn place(&self, index: usize) -> Option<&Place<R::Record, H>> {
        self.places.get(index)
    }

    /// For the record's owner, and for numbers below a total that was seen.
    fn made(&self, index: usize) -> Option<&Made<R::Record, H::Stack>> {
        // SAFETY: written before the number was published, not since (extra_list E3).
        self.place(index)?.made.with(|made| unsafe { (*made).as_ref() })
    }

    fn callback(&'static self, call: unsafe fn(&'static Self)) -> Callback {
        // SAFETY: the two types differ in their argument, a thin pointer that `Callback::run` gets
        // from here.
        let call =
            unsafe { core::mem::transmute::<unsafe fn(&'static Self), unsafe fn(*const ())>(call) };
        Callback { threads: core::ptr::from_ref(self).cast(), call }
    }
}

impl<R: Runtime, H: Host, const N: usize> core::fmt::Debug for Threads<R, H, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Threads").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

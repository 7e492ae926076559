//! Attach and detach: a thread that the runtime did not create gets a thread record, for one call
//! or until it ends.
//!
//! For runtimes, interpreters and collectors that foreign code calls back into: from threads made by C,
//! from signal handlers on any thread. A runtime says what it keeps for each thread, and has one
//! `static`:
//!
//! ```
//! # #[cfg(all(feature = "std", not(loom)))] {
//! use portcullis::attach::{Binding, Runtime, SystemHost, Threads};
//!
//! struct Interpreter;
//! impl Runtime for Interpreter {
//!     type Record = std::sync::atomic::AtomicU64;
//!     fn create(&self, _: usize) -> Option<Self::Record> {
//!         Some(Default::default())
//!     }
//!     fn reset(&self, record: &Self::Record, _: u32) {
//!         record.store(0, std::sync::atomic::Ordering::Relaxed);
//!     }
//! }
//! portcullis::thread_slot!(Slot);
//! static THREADS: Threads<Interpreter, SystemHost<Slot>, 64> =
//!     Threads::new(Interpreter, SystemHost::new(), 4);
//!
//! THREADS.create().unwrap(); // the first records, four of them for signal handlers
//! let attached = THREADS.attach(Binding::Bound).unwrap();
//! assert_eq!(attached.record().load(std::sync::atomic::Ordering::Relaxed), 0);
//! # }
//! ```
//!
//! What only those need who bring a system of their own is in [`host`].
//!
//! # Contexts
//!
//! | caller | may call | may not |
//! |---|---|---|
//! | any thread | [`Threads::attach`] and its kin, [`Threads::state`] | hand a token to another thread |
//! | signal handler, any thread | [`Threads::attach_in_handler`], [`Threads::state`], [`Threads::current`] | `attach`: it may block; give up a token that was not taken in it: the stack that it would put back is taken back as it returns |
//! | the end of a thread | the callback given to [`Host::arm`] | |
//! | child of a fork | the callback given to [`Host::at_fork`], first | |
//! | the runtime's own `create` | what ordinary code may | wait for a record: [`AttachError::InCreate`] |
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
//! watched), ENDING (that was seen, and how often), CREATOR (the runtime's `create` runs on it), and a depth: the
//! tokens alive.
//!
//! Of the [`Threads`] one word, 0 for as long as all is well: UNCLAIMED (whether the host's slots are this
//! one's is found out at the first use), CLOSED (shut down).
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
//! | HELD, any depth | the thread ends | UNKNOWN, ENDING | as detach; tokens of before mean nothing from here on |
//! | TRANSITION | attach | refused | |
//! | any, in a `Threads` whose slots are another's | attach, create | refused | |
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
//! - I6: the host's slots are of one `Threads` alone, by an address inside it that nothing else has; until that
//!   is found out, and where they are another's, nobody is attached.
//! - I7: signals are masked in every step on the list, but in the runtime's `create` and in a wait: no handler
//!   forks with a step half done. A hook that forks itself finds the record of its thread kept, and one that is
//!   being made not written.
//!
//! # Happens-before
//!
//! Between threads, those of [`extra_list`](crate::extra_list): E1 for a record's contents, E3 for
//! its creation. Within a thread, program order; against its own handlers, compiler fences. The
//! word of `shutdown` and of the claim carries nothing: who is refused does nothing.
//!
//! # Progress
//!
//! `attach_in_handler` and every detach are lock-free and wait for nobody. `attach` sleeps while no
//! record is spare, with signals open: until one is given back, for as long as its owners keep theirs.
//! Where none can ever come it is refused: no records, all of them the reserve, shut down, or in the
//! middle of creating.
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

mod create;
mod error;
pub mod host;
#[cfg(all(feature = "std", not(all(loom, any(test, feature = "loom")))))]
mod system;
mod thread;
mod token;

use crate::extra_list::{ExtraList, RecordCounts, TakeError, Taker};
use crate::note::Deadline;
use crate::sync::{AtomicU32, Ordering::*, UnsafeCell, filled, model_const_fn};
pub use error::{AttachError, CreateError, DetachError};
use host::{Host, Slot};
#[cfg(all(feature = "std", not(all(loom, any(test, feature = "loom")))))]
pub use system::SystemHost;
pub use thread::ThreadState;
pub use token::{AttachKind, Attached, CalledOut, RawAttached};

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
/// The runtime's `create` runs on the thread.
pub(crate) const CREATOR: u32 = 1 << 5;
/// The thread is ending: nothing stays any more. Counts how often that was seen, so that tokens of
/// before are told from later ones.
pub(crate) const ENDING: u32 = 3 << 6;
const END: u32 = 1 << 6;
/// What stays of a thread that has no record.
const KEPT: u32 = ARMED | ENDING | CREATOR;
/// One token.
pub(crate) const DEPTH: u32 = 1 << 8;

/// Of [`Threads`]: it is not known yet whether the host's slots are this one's (I6).
const UNCLAIMED: u32 = 1;
/// Shut down.
const CLOSED: u32 = 1 << 1;

/// What a runtime tells [`Threads`] about its thread records.
///
/// The hooks may call whatever they like of the same `Threads`: what they would wait for themselves to
/// do is refused. One whose `reset` may run in handlers says so by [`AsyncSignalSafe`].
pub trait Runtime: Sync {
    /// What the runtime keeps for each thread. Its owner has it shared with whoever walks
    /// [`Threads::records`].
    type Record: Sync;

    /// Makes record number `index`, or refuses to make more. Called on an attached thread or by
    /// [`Threads::create`], by one thread at a time, never in a handler; may block and allocate, but must
    /// not wait for another thread that attaches: that one may wait for this record. A panic passes
    /// through, and no record was made.
    fn create(&self, index: usize) -> Option<Self::Record>;

    /// Makes a record as good as new for the thread that calls: the one point at which it changes
    /// hands, at its first use too. Called with signals masked; in handlers of a runtime that is
    /// [`AsyncSignalSafe`]. A panic undoes the attach and passes through.
    fn reset(&self, record: &Self::Record, generation: u32);
}

/// A runtime whose threads may attach in signal handlers.
///
/// # Safety
///
/// [`Runtime::reset`] is async-signal-safe (man 7 signal-safety): it does not allocate, block, lock, or
/// panic, uses nothing that the interrupted code of its thread may be in the middle of (thread-locals
/// with a destructor or an initialiser among it), and needs no more than [`HANDLER_STACK`] bytes of
/// stack, for it runs on whatever signal stack the thread has.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not promise that its `reset` is async-signal-safe",
    note = "`unsafe impl portcullis::attach::AsyncSignalSafe for {Self}` makes that promise; without it, \
            attach in ordinary code"
)]
pub unsafe trait AsyncSignalSafe: Runtime {}

/// How many bytes of stack the runtime's code may use in a handler before its thread is on a stack of
/// its record's: signal stacks that others give their threads may be as small as 8 KiB, of which the
/// system's frame takes up to 3.
pub const HANDLER_STACK: usize = 2048;

/// How long a thread keeps the record that it attached with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
/// Made to be a `static`; a runtime may have several, each with a host whose slots are its own. The
/// first one that is used has them; another that is made of the same slots refuses
/// ([`AttachError::SlotsTaken`]).
pub struct Threads<R: Runtime, H: Host, const N: usize> {
    runtime: R,
    host: H,
    places: [Place<R::Record, H>; N],
    /// UNCLAIMED, CLOSED. Read on every attach, so apart from the list's word.
    stage: AtomicU32,
    misordered: AtomicU32,
    abandoned: AtomicU32,
    list: ExtraList<N>,
}

// SAFETY: a place's `made` is written before its number is published and only read after
// (extra_list E3): `fill` sees to that. `saved` and the stack are used by the record's owner alone
// (I2): `publish` and `end` see to that, and the host, whose stacks and masks are for whatever thread
// has the record. Records are shared as `&Record`, which is `Sync`, and dropped with the whole.
unsafe impl<R: Runtime, H: Host + Sync, const N: usize> Sync for Threads<R, H, N> where
    R::Record: Send
{
}
// SAFETY: as above; the whole is moved while nobody uses it.
unsafe impl<R: Runtime + Send, H: Host + Send, const N: usize> Send for Threads<R, H, N> where
    R::Record: Send
{
}

/// Bugs of callers, counted; neither costs a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Misuse {
    /// Tokens that were given up while later ones were alive.
    pub misordered: u32,
    /// Threads that ended attached.
    pub abandoned: u32,
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
                stage: AtomicU32::new(UNCLAIMED),
                misordered: AtomicU32::new(0),
                abandoned: AtomicU32::new(0),
                list: ExtraList::new(reserve),
            }
        }
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
    /// A token that is forgotten keeps the record until the thread ends, where the system lets a handler
    /// ask to be told of that ([`Host::arm_in_handler`]: on Linux and Android nearly always) or the
    /// thread attached in ordinary code before or since; else for good.
    ///
    /// | the handler interrupted | result |
    /// |---|---|
    /// | a thread unknown to the runtime, or a wait in `attach` | [`AttachKind::Attached`], with a record |
    /// | code that an attached thread called, or a bound thread between its attaches | [`AttachKind::Nested`], [`was_inside`](Attached::was_inside) false |
    /// | the runtime's own code | [`AttachKind::Nested`], `was_inside` true |
    /// | a step of attach or detach (only a signal that cannot be masked can) | [`AttachError::InTransition`] |
    pub fn attach_in_handler(&'static self) -> Result<Attached<R, H, N>, AttachError>
    where
        R: AsyncSignalSafe,
    {
        let (binding, taker) = (Binding::Unbound, Taker::Handler);
        self.enter(Request { binding, taker, patience: Patience::None })
    }

    /// Refuses every attach from now on but nested ones, and sends away those who wait. Threads
    /// that are attached stay so until they detach. Async-signal-safe.
    pub fn shutdown(&self) {
        // ORDERING: Relaxed: see Happens-before.
        self.stage.fetch_or(CLOSED, Relaxed);
        self.list.close();
    }

    /// How many records there are, spare and in use, and how many threads wait for one: all of one
    /// moment. A bound thread's record is in use. Async-signal-safe.
    pub fn counts(&self) -> RecordCounts {
        self.list.counts()
    }

    /// What callers did that they should not have. Async-signal-safe.
    pub fn misuse(&self) -> Misuse {
        // ORDERING: Relaxed: counters.
        let (misordered, abandoned) = (self.misordered.load(Relaxed), self.abandoned.load(Relaxed));
        Misuse { misordered, abandoned }
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
}

impl<R: Runtime, H: Host, const N: usize> core::fmt::Debug for Threads<R, H, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Threads").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

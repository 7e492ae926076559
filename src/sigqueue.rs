//! The signal queue: handlers send, one receiver at a time receives.
//!
//! For runtimes and programs that install their own handlers and want what those learn in a thread:
//! without a pipe, a lock or an allocation, and with origins. Whoever wants signals and no handlers
//! uses `portcullis::signal`, which stands on this.
//!
//! ```no_run
//! # #[cfg(unix)] {
//! use portcullis::sigqueue::{Event, Origin, SignalQueue};
//!
//! static QUEUE: SignalQueue = SignalQueue::new();
//!
//! extern "C" fn handler(signal: i32) {
//!     let _ = QUEUE.send(signal, Origin::UNKNOWN); // async-signal-safe
//! }
//!
//! QUEUE.enable(libc::SIGUSR1)?; // before the handler is in place
//! // SAFETY: the handler does what handlers may.
//! unsafe { libc::signal(libc::SIGUSR1, handler as *const () as usize) };
//!
//! let mut receiver = QUEUE.receiver()?;
//! while let Event::Signal(batch) = receiver.recv(None, || {}) {
//!     println!("signal {}, merged {}", batch.signal(), batch.coalesced());
//! }
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`SignalQueue::send`] is for handlers; [`Receiver`] for the thread that receives;
//! [`enable`](SignalQueue::enable), [`disable`](SignalQueue::disable) and
//! [`wait_quiet`](SignalQueue::wait_quiet) for whoever changes dispositions. Runtimes that park
//! their threads themselves, lend the part of receiver ([`SignalQueue::borrow`]), fork
//! ([`SignalQueue::reset_after_fork`]) or stop the world ([`SignalQueue::fixup`]) find the protocol
//! below.
//!
//! # Contexts
//!
//! | caller | may call | may not |
//! |---|---|---|
//! | signal handler, any thread, nested | [`SignalQueue::send`], [`SignalQueue::fixup`] | anything else |
//! | the primary receiver: one thread for long | [`Receiver`], made by [`SignalQueue::receiver`] | |
//! | a guest receiver: a thread that blocks anyway | [`Receiver`], made by [`SignalQueue::borrow`] | |
//! | any thread | `enable`, `disable`, `ignore`, `take`, `wait_quiet`, `close` | |
//!
//! # States
//!
//! Each signal number owns one word, its *slot*:
//!
//! | bits | meaning |
//! |---|---|
//! | WANTED | `send` accepts |
//! | IGNORED | not wanted, and to be ignored rather than defaulted |
//! | NOTED | not wanted, and done with once the handler has set a flag for it |
//! | BARE | accepted once or more with no record to hold the origin |
//! | ACTIVE | a [`Batch`] of this signal is being worked on: of a receiver's, one is alive at a time |
//! | CHAIN | the newest of the accepted records, each linked to the one before it |
//! | COALESCED | sends that were merged into a pending one since the last take, as far as it counts |
//!
//! A slot is *pending* while BARE is set or CHAIN is not nil. All slots share one *state* word:
//!
//! | state | bits | meaning |
//! |---|---|---|
//! | IDLE | none of the three | the receiver is awake, or there is none |
//! | RECEIVING | RECEIVING | the owner sleeps, or is about to, and has seen everything before |
//! | SENDING | SENDING | some slot may be pending; the owner is awake or being woken |
//! | FIXUP | FIXUP | the owner is to run pending work; it is awake or being woken |
//!
//! Beside them stand PRIMARY (a primary exists), GUEST (a guest has the part; a primary then
//! sleeps on, unaware, unless the queue is closed) and CLOSED. The *owner* is the guest if there is one, else
//! the primary.
//!
//! # Transitions
//!
//! | from | to | by | operation | edge |
//! |---|---|---|---|---|
//! | slot: wanted, not pending | pending | `send` | compare-exchange | E1 |
//! | slot: pending, standard | COALESCED + 1 | `send` | compare-exchange | E1 |
//! | slot: pending, real-time | longer chain | `send` | compare-exchange | E1 |
//! | slot: pending | not pending | `take`, `recv` | read-modify-write | E1 |
//! | slot: any | WANTED / none of them / IGNORED / NOTED | `enable`, `disable`, `ignore`, `note_only` | compare-exchange | |
//! | state: any | SENDING added | `send` that made a slot pending | fetch-or | E2 |
//! | state: any | FIXUP added | `fixup` | fetch-or | E2 |
//! | state: any | CLOSED added | `close` | fetch-or | E2 |
//! | SENDING, FIXUP, RECEIVING | IDLE | owner, awake | compare-exchange | E2 |
//! | IDLE | RECEIVING | owner, about to sleep | compare-exchange | E3 |
//! | RECEIVING | IDLE | owner, deadline passed | compare-exchange | |
//! | RECEIVING of the primary | IDLE of a guest | `borrow` | compare-exchange | E4 |
//! | IDLE of a guest | RECEIVING of the primary | guest dropped | compare-exchange | E4 |
//! | SENDING, FIXUP of a guest | the same, of the primary, woken | guest dropped | compare-exchange | E4 |
//!
//! # Invariants
//!
//! - I1: whoever makes a slot pending then sets SENDING. Others add to a pending slot and rely on
//!   that one, so a chain that nobody announced is being announced.
//! - I2: RECEIVING is set only while neither SENDING nor FIXUP is; exactly one operation finds
//!   RECEIVING without SENDING, FIXUP and CLOSED, and that one wakes the owner.
//! - I3: acceptance and the test of WANTED are one operation on one word. After `disable` or
//!   `ignore` returns nothing more is accepted, and what was accepted is pending, ACTIVE or taken:
//!   there is no handler in flight to be waited for.
//! - I4: a record belongs to the handler that took it until it is linked into a slot, then to
//!   whoever takes the chain.
//! - I5: WANTED, IGNORED and NOTED change together: no handler sees a signal go from one to another
//!   through none.
//!
//! # Happens-before
//!
//! - E1: `send` (release, on the slot) -> `take` or `recv` of that signal (acquire), coalesced
//!   sends included: every change of a slot is a read-modify-write, so each continues the release
//!   sequences before it.
//! - E2: `send`, `fixup`, `close` (release, on the state) -> the owner that consumes the bit
//!   (acquire): it then finds the slot pending, the work published.
//! - E3: the owner going to sleep (release) -> the one that finds RECEIVING (acquire): the note was
//!   cleared before it is set again.
//! - E4: the guest's release of the part -> the next `borrow` (acquire), both ways.
//! - E5: a [`Batch`] dropped (release) -> `wait_quiet` (acquire).
//! - E6: `enable` (release) -> a `send` that accepts (acquire): what was set up before.
//!
//! # Progress
//!
//! `send` never waits. Its compare-exchange is tried again only when another operation on the same
//! signal succeeded; the announcement is one fetch-or. An awake receiver costs a sender three
//! read-modify-writes (slot, record, state), a coalesced signal two, a sleeping receiver one more
//! for the note. Receivers may be woken for nothing.
//!
//! # Limits
//!
//! Origins are kept for [`STANDARD_RECORDS`] standard signals at once and [`REALTIME_CAPACITY`]
//! real-time ones. Past that a signal is still received, once, without its origin; for real-time
//! signals the merged ones are counted by [`SignalQueue::overflow`]. COALESCED stays at its largest
//! number, 2^32 - 1, or 65,535 where the processor exchanges no more than 32 bits. A guest that
//! never drops its [`Receiver`] keeps the primary asleep. A [`Batch`] that is forgotten keeps its
//! records, and ACTIVE until the signal is received again.
//!
//! # Prior art
//!
//! Go `runtime/sigqueue.go` at fd6ba1c8a2 (states) and eb97160f46 (`delivering`, which I3 makes
//! unnecessary). There the pending bits, the wish and the count of handlers are three words.

use crate::note::{Note, Park};
use crate::records::{LANE, Pool};
use crate::sync::{AtomicU32, AtomicWord, MODEL, Ordering::*, Slots, Word, model_const_fn};
use crate::sys;

mod batch;
mod receiver;
mod slot;
mod wish;

pub use batch::Batch;
pub use receiver::{Event, Receiver, ReceiverRefused, Wakeup};
use slot::{
    ACTIVE, BARE, IGNORED, NAMES, NOTED, WANTED, WISH, chain, is_pending, one_more_coalesced,
    with_chain,
};
pub use wish::{NoSuchSignal, Quiet};

/// One more than the highest signal number of the system.
pub const SIGNALS: usize = sys::SIGNALS;

const STANDARD_WORDS: usize = if MODEL { 1 } else { 64 / LANE };
const REALTIME_WORDS: usize = if MODEL { 1 } else { 128 / LANE };

/// Standard signals whose origin can be held at one time, handlers in flight included.
pub const STANDARD_RECORDS: usize = STANDARD_WORDS * LANE;
/// Real-time signals that can be queued at one time, all numbers together.
pub const REALTIME_CAPACITY: usize = REALTIME_WORDS * LANE;

// Each record has a name, of the larger pool too.
const _: () = assert!(REALTIME_CAPACITY <= NAMES as usize);

pub(crate) const SENDING: u32 = 1;
pub(crate) const RECEIVING: u32 = 1 << 1;
pub(crate) const FIXUP: u32 = 1 << 2;
pub(crate) const CLOSED: u32 = 1 << 3;
pub(crate) const PRIMARY: u32 = 1 << 4;
pub(crate) const GUEST: u32 = 1 << 5;

/// Where a signal came from, as far as the system says; zeros where it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Origin {
    /// `si_code`: how the signal was made (man 2 sigaction).
    pub code: i32,
    /// The sending process, or the child for SIGCHLD.
    pub pid: i32,
    /// The sender's real user id.
    pub uid: u32,
    /// `si_value` of a queued signal or a timer, `si_status` of SIGCHLD.
    pub value: usize,
}

impl Origin {
    /// An origin that nobody told.
    pub const UNKNOWN: Self = Self { code: 0, pid: 0, uid: 0, value: 0 };

    /// What a handler reads from its `siginfo_t`: `si_code`, `si_pid`, `si_uid`, and `si_value` or
    /// `si_status`.
    pub const fn new(code: i32, pid: i32, uid: u32, value: usize) -> Self {
        Self { code, pid, uid, value }
    }
}

/// What became of a signal given to [`SignalQueue::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a signal that was not accepted still wants its default action"]
#[non_exhaustive]
pub enum Sent {
    /// It will be received, with its origin unless the records had run out.
    Accepted,
    /// It was merged into one that is already pending and will be received with that.
    Coalesced,
    /// Nobody wants it, and it is to be ignored.
    Ignored,
    /// Nobody receives it: the handler has a flag or a counter to set, and no more. Subscriptions alone say so
    /// (`signal::flag`).
    Noted,
    /// Nobody wants it: the disposition in force is to be carried out.
    Unwanted,
}

/// The queue. It has no statics: a runtime holds one, its handlers reach it.
///
/// `N` is how its receivers sleep: [`Note`] unless the runtime has its own.
///
/// ```
/// use portcullis::sigqueue::{Event, Origin, Sent, SignalQueue};
///
/// static QUEUE: SignalQueue = SignalQueue::new();
/// QUEUE.enable(10)?;
/// // In the handler:
/// assert_eq!(QUEUE.send(10, Origin::UNKNOWN), Sent::Accepted);
/// // In the thread that receives:
/// let mut receiver = QUEUE.receiver()?;
/// let Event::Signal(batch) = receiver.recv(None, || {}) else { unreachable!() };
/// assert_eq!(batch.signal(), 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[repr(C, align(64))]
pub struct SignalQueue<N = Note> {
    // The words that a sender and the receiver hand to each other stand together, down to the
    // first record: with the slot that makes two cache lines for a signal.
    state: AtomicU32,
    /// How the primary sleeps, how a guest sleeps.
    notes: [N; 2],
    standard: Pool<STANDARD_WORDS>,
    slots: Slots<SIGNALS>,
    realtime: Pool<REALTIME_WORDS>,
    overflow: AtomicWord,
}

impl SignalQueue {
    model_const_fn! {
        /// An empty queue that wants nothing.
        pub const fn new() -> Self {
            Self::with_notes([Note::new(), Note::new()])
        }
    }
}

impl Default for SignalQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl<N> SignalQueue<N> {
    model_const_fn! {
        /// An empty queue whose primary and guest sleep on the given notes, both clear.
        pub const fn with_notes(notes: [N; 2]) -> Self {
            Self {
                slots: Slots::new(),
                state: AtomicU32::new(0),
                notes,
                standard: Pool::new(),
                realtime: Pool::new(),
                overflow: AtomicWord::new(0),
            }
        }
    }

    fn slot(&self, signal: i32) -> Result<&AtomicWord, NoSuchSignal> {
        let index = usize::try_from(signal).map_err(|_| NoSuchSignal(signal))?;
        self.slots.get(index).filter(|_| index != 0).ok_or(NoSuchSignal(signal))
    }

    /// Real-time signals that arrived while all [`REALTIME_CAPACITY`] records were in use: each
    /// was merged into a delivery without origin. Modulo 2^32 where the processor exchanges no more
    /// than 32 bits.
    pub fn overflow(&self) -> u64 {
        #[allow(clippy::useless_conversion, reason = "the word has 32 bits on some systems")]
        // ORDERING: Relaxed: a statistic.
        u64::from(self.overflow.load(Relaxed))
    }

    /// Whether a primary receiver exists, awake or asleep.
    pub fn has_primary(&self) -> bool {
        // ORDERING: Relaxed: an answer about one word, passing nothing on.
        self.state.load(Relaxed) & PRIMARY != 0
    }

    fn take_record(&self, signal: i32, origin: Origin) -> Option<u16> {
        if is_realtime(signal) { self.realtime.take(origin) } else { self.standard.take(origin) }
    }

    fn link_record(&self, signal: i32, name: u16, next: u16) {
        if is_realtime(signal) {
            self.realtime.link(name, next);
        } else {
            self.standard.link(name, next);
        }
    }

    fn give_record(&self, signal: i32, name: u16) {
        if is_realtime(signal) { self.realtime.give(name) } else { self.standard.give(name) }
    }
}

impl<N: Park> SignalQueue<N> {
    /// Hands a signal in. Async-signal-safe, wait-free but for contention on the same signal.
    ///
    /// A number out of range is [`Sent::Unwanted`].
    pub fn send(&self, signal: i32, origin: Origin) -> Sent {
        let Ok(slot) = self.slot(signal) else {
            return Sent::Unwanted;
        };
        let mut record = None;
        // The usual case is tried unseen: a failed attempt reads the newest value.
        let mut seen = WANTED;
        loop {
            if seen & WANTED == 0 {
                self.give_unused(signal, record);
                return unwanted(seen);
            }
            let merged = is_pending(seen) && !is_realtime(signal);
            let new = if merged {
                one_more_coalesced(seen)
            } else {
                record = record.or_else(|| self.take_record(signal, origin));
                self.pushed(signal, seen, record)
            };
            // ORDERING: success AcqRel: E1 to `take` and `recv`, E6 from `enable`. Failure
            // Relaxed: only tried again. Weakened: sigqueue coalesced_send_publishes,
            // enable_against_send.
            match slot.compare_exchange(seen, new, AcqRel, Relaxed) {
                Ok(_) if merged => return self.coalesced(signal, record),
                Ok(_) => return self.accepted(signal, seen, record),
                Err(now) => seen = now,
            }
        }
    }

    /// The slot with one more accepted signal in it.
    fn pushed(&self, signal: i32, seen: Word, record: Option<u16>) -> Word {
        let Some(name) = record else {
            return seen | BARE;
        };
        if is_realtime(signal) {
            // Again at each attempt: the chain may have been taken in between.
            self.link_record(signal, name, chain(seen));
        }
        // BARE stays. Without: sigqueue record_joins_bare.
        with_chain(seen, name)
    }

    fn give_unused(&self, signal: i32, record: Option<u16>) {
        if let Some(name) = record {
            self.give_record(signal, name);
        }
    }

    fn coalesced(&self, signal: i32, unused: Option<u16>) -> Sent {
        self.give_unused(signal, unused);
        Sent::Coalesced
    }

    fn accepted(&self, signal: i32, before: Word, record: Option<u16>) -> Sent {
        if record.is_none() && is_realtime(signal) {
            // ORDERING: Relaxed: a statistic.
            self.overflow.fetch_add(1, Relaxed);
        }
        if !is_pending(before) {
            self.announce(SENDING);
        }
        Sent::Accepted
    }

    /// Has the receiver run pending work: its [`Wakeup`] then says so, and it is woken for it.
    ///
    /// Async-signal-safe. Nothing waits for the receiver: publish the work first, then call this.
    /// No signal is lost or invented by it.
    pub fn fixup(&self) {
        self.announce(FIXUP);
    }

    /// Tells the owner, and wakes it if it sleeps.
    fn announce(&self, what: u32) {
        // ORDERING: AcqRel: E2 to the owner; E3 from its falling asleep, so that the wake-up comes
        // after its note was cleared. Weakened: sigqueue send_recv, close_wakes_receiver; the
        // acquire half: litmus/queue_falls_asleep_bare_note (E3: a cycle of reads-from and program order, which
        // loom does not explore).
        let seen = self.state.fetch_or(what, AcqRel);
        if seen & RECEIVING != 0 && seen & (SENDING | FIXUP | CLOSED) == 0 {
            self.notes[usize::from(seen & GUEST != 0)].wake();
        }
    }

    /// Ends all receiving: receivers are woken and answer [`Event::Closed`] from now on, new ones
    /// are refused. What is pending can still be taken.
    pub fn close(&self) {
        // ORDERING: AcqRel: E2 and E3 as in `announce`. Weakened: sigqueue close_wakes_receiver; the
        // acquire half as there.
        self.state.fetch_or(CLOSED, AcqRel);
        self.notes.iter().for_each(Park::wake);
    }
}

/// What becomes of a signal that is not wanted.
fn unwanted(slot: Word) -> Sent {
    match () {
        () if slot & NOTED != 0 => Sent::Noted,
        () if slot & IGNORED != 0 => Sent::Ignored,
        () => Sent::Unwanted,
    }
}

/// Whether signals of this number are queued rather than coalesced.
pub fn is_realtime(signal: i32) -> bool {
    signal >= sys::REALTIME_MIN
}

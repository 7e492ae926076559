//! What is remembered of the handlers beside ours: under it, over it, and which of them is being called.
//!
//! The same over the system and over the simulated kernel; it asks neither. A disposition is a number and what
//! came with it, which [`super::handlers`] has called.

use core::ffi::c_int;

use super::SIGNALS;
use crate::sync::{AtomicU32, AtomicUsize, Ordering::*, filled, model_const_fn};

/// Words of a mask, 32 signals each.
pub(super) const WORDS: usize = SIGNALS.div_ceil(32);

/// A disposition, in a form that a handler can read while others write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disposition {
    /// `sa_sigaction`: SIG_DFL, SIG_IGN or a function.
    pub(crate) action: usize,
    pub(crate) flags: c_int,
    pub(super) mask: [u32; WORDS],
}

impl Disposition {
    /// Without flags and mask.
    pub(crate) fn simple(action: usize) -> Self {
        Self { action, flags: 0, mask: Default::default() }
    }

    pub(crate) fn is_function(&self) -> bool {
        self.action != libc::SIG_DFL && self.action != libc::SIG_IGN
    }
}

/// Where a disposition is kept. Several writes are one for readers by the count of a [`Record`].
struct Place {
    action: AtomicUsize,
    flags: AtomicU32,
    mask: [AtomicU32; WORDS],
}

impl Place {
    model_const_fn! {
        const fn new() -> Self {
            Self {
                action: AtomicUsize::new(libc::SIG_DFL),
                flags: AtomicU32::new(0),
                mask: filled![AtomicU32::new(0); WORDS],
            }
        }
    }

    fn store(&self, new: &Disposition) {
        // ORDERING: Release, each: in front of them is the end of the write before, for `read`.
        self.action.store(new.action, Release);
        self.flags.store(new.flags as u32, Release);
        for (place, word) in self.mask.iter().zip(new.mask) {
            place.store(word, Release);
        }
    }

    fn load(&self) -> Disposition {
        // ORDERING: Acquire, each: behind them is the second look at the count in `read`.
        Disposition {
            action: self.action.load(Acquire),
            flags: self.flags.load(Acquire) as c_int,
            mask: core::array::from_fn(|at| self.mask[at].load(Acquire)),
        }
    }
}

/// How many of ours there are for a signal, each of which may stand over another's handler: see [`Record`]. A power
/// of two.
pub(crate) const LEVELS: usize = 8;

/// What is known of one signal's dispositions before and beside ours.
///
/// Ours is [`LEVELS`] functions, of which one is in force at a time. The first is put over what was there before
/// us. If somebody has put a handler over it, the next one is put over that, and so on: each remembers what it
/// stands over. So a handler that takes itself out, and puts back what it has found, has one of ours in force that is
/// below it, and is not called again, wherever its code is then. The last one takes the place of itself.
///
/// Handlers read, and seldom write. Of each disposition there are two places: a write fills the one that is
/// not in force, and then says in one step that it is. So a reader that interrupts a writer, or meets one, finds
/// what was there before: were it to find nothing, somebody would not be told of a signal. One that finds the
/// same count before and after has what was there together (until 2^15 writes come between).
pub(crate) struct Record {
    state: AtomicU32,
    /// What each of ours stands over, in the first the base: what stood there before ours.
    below: [[Place; 2]; LEVELS],
}

/// The base holds something.
const KNOWN: u32 = 1;
/// In the middle of a write.
const WRITING: u32 = 1 << 1;
/// Somebody put a handler over ours, and may call ours from it.
pub(super) const COVERED: u32 = 1 << 2;
/// Ours was put in place, and not taken out since.
const INSTALLED: u32 = 1 << 3;
/// Those before ours are not called.
const ALONE: u32 = 1 << 4;
/// Ours was put over a handler that may call ours, now or when it is put back over it.
const CALLS_OURS: u32 = 1 << 5;
/// Which of ours was put in place last.
const LEVEL: u32 = (LEVELS as u32 - 1) << LEVEL_AT;
const LEVEL_AT: u32 = 6;
/// The second place is in force, for the base; for the others in the next bits.
const SECOND: u32 = 1 << 9;
/// One write.
const WRITE: u32 = SECOND << LEVELS;

/// Which of ours was put in place last.
fn level(state: u32) -> usize {
    ((state & LEVEL) >> LEVEL_AT) as usize
}

fn at_level(level: usize) -> u32 {
    (level as u32) << LEVEL_AT
}

/// What one of ours stands over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Below {
    /// Who has it below, and nothing between.
    pub(crate) level: usize,
    pub(crate) it: Disposition,
}

/// Stands where somebody was who is elsewhere now.
const GONE: Disposition = Disposition { action: libc::SIG_DFL, flags: 0, mask: [0; WORDS] };

impl Record {
    model_const_fn! {
        pub(crate) const fn new() -> Self {
            Self {
                state: AtomicU32::new(0),
                below: filled![[Place::new(), Place::new()]; LEVELS],
            }
        }
    }

    fn state(&self) -> u32 {
        // ORDERING: Relaxed: one word, passing nothing on.
        self.state.load(Relaxed)
    }

    /// Flags, and a count of the writes, of now: for one that knows from elsewhere that ours was taken out.
    pub(crate) fn newest(&self) -> u32 {
        // ORDERING: Acquire: from the end of a write, for `read`; a read-modify-write, so that it is the last
        // one. A load: neighbours two_owners_one_signal.
        self.state.fetch_or(0, Acquire) & !WRITING
    }

    pub(crate) fn is_installed(&self) -> bool {
        self.state() & INSTALLED != 0
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.state() & ALONE != 0
    }

    /// Whether ours may be called by one that ours calls, and that is looked after.
    pub(crate) fn calls_ours(&self) -> bool {
        self.state() & CALLS_OURS != 0
    }

    fn place(&self, state: u32, level: usize) -> &Place {
        &self.below[level][usize::from(state & SECOND << level != 0)]
    }

    /// Whether ours was put over somebody who was over ours.
    pub(crate) fn is_above_others(&self) -> bool {
        level(self.state()) != 0
    }

    /// What this one of ours stands over, but for those that have been called already, from this top of ours on down;
    /// `None` if nothing is remembered.
    pub(crate) fn below(&self, of: usize, top: usize) -> Option<Below> {
        loop {
            // ORDERING: Acquire: from the end of a write: what it wrote. The last is ordered by those in
            // between.
            let state = self.state.load(Acquire);
            let below = self.find(state, of, top);
            // Else somebody has got a write done.
            if (self.state.load(Relaxed) ^ state) & !WRITING == 0 {
                return (state & KNOWN != 0).then_some(below);
            }
        }
    }

    fn find(&self, state: u32, of: usize, top: usize) -> Below {
        let last = level(state);
        let (from, top) = (of.min(last), top.min(last));
        let at = |level| self.place(state, level).load();
        let is_above = |it: &Disposition, level: usize| {
            (level + 1..=top).any(|above| self.place(state, above).load().action == it.action)
        };
        let levels = (0..=from).rev().map(|level| Below { level, it: at(level) });
        let found =
            { levels }.find(|below| below.it.is_function() && !is_above(&below.it, below.level));
        let nothing = || match at(0) {
            base if base.is_function() => GONE,
            base => base,
        };
        found.unwrap_or_else(|| Below { level: 0, it: nothing() })
    }

    /// By one writer at a time: nothing if another is in the middle of it, who saw what this one saw, or a
    /// frame that this handler has interrupted. `change` is given the state, and tells the next one; it may fill
    /// places that are in force in that one alone.
    fn write(&self, change: impl FnOnce(u32) -> u32) {
        self.write_after(self.state(), change);
    }

    /// The same; nothing if another wrote since that was the state.
    fn write_after(&self, seen: u32, change: impl FnOnce(u32) -> u32) {
        let before = seen & !WRITING;
        // ORDERING: AcqRel keeps what is stored behind it, Release keeps it in front of the end. Failure
        // Relaxed: nothing is written.
        if self.state.compare_exchange(before, before | WRITING, AcqRel, Relaxed).is_err() {
            return;
        }
        // ORDERING: Release: to `below`.
        self.state.store(change(before.wrapping_add(WRITE)), Release);
    }

    /// In the middle of a write: this is what that one of ours stands over; the state that says so.
    fn fill(&self, state: u32, level: usize, new: &Disposition) -> u32 {
        let after = state ^ SECOND << level;
        self.place(after, level).store(new);
        after
    }

    /// Which of ours is to be put over this one: the next, also where somebody is known from below. Where several
    /// threads put them in place at a time it may be another's that is on its way: the last one again, if that
    /// stands over this.
    pub(crate) fn next(&self, old: &Disposition, by_one: bool) -> usize {
        let state = self.state();
        let last = level(state);
        if !old.is_function() || state & (COVERED | INSTALLED) == 0 {
            return 0;
        }
        let is_known = || self.place(state, last).load().action == old.action;
        if !by_one && state & INSTALLED != 0 && is_known() {
            return last;
        }
        (last + 1).min(LEVELS - 1)
    }

    /// That one of ours is put, or was just put, over this one.
    pub(crate) fn put_over(&self, at: usize, old: &Disposition) {
        self.write(|state| {
            let mut after = state & !LEVEL | at_level(at) | KNOWN | INSTALLED;
            // One that was there before ours does so when it is put over it again. That is not worth a look at what
            // may not be there yet.
            if at != 0 || super::OWN_IS_MEMORY && old.is_function() {
                after |= CALLS_OURS;
            }
            if !old.is_function() {
                // Somebody was quicker, and has taken all of them out.
                after = (0..at).fold(after, |after, level| self.fill(after, level, old));
            }
            self.fill(after, at, old)
        });
    }

    /// That one of ours was just put over another of ours: who was between has left.
    pub(crate) fn put_over_ours(&self, at: usize) {
        self.write(|state| self.fill(state, at, &GONE));
    }

    /// What [`found`](Self::found) is to be given, from before the system is asked.
    pub(crate) fn seen(&self) -> u32 {
        self.state()
    }

    /// That one of ours was found in place: who was above it has left, unless another thread has put one in place
    /// since.
    pub(crate) fn found(&self, at: usize, seen: u32) {
        if seen & INSTALLED != 0 && level(seen) != at {
            self.write_after(seen, |state| state & !LEVEL | at_level(at));
        }
    }

    /// Whoever handled it: this is in force, and nothing is known of others.
    pub(crate) fn set(&self, new: &Disposition) {
        self.write(|state| {
            self.fill(state & !(LEVEL | COVERED | INSTALLED | ALONE) | KNOWN, 0, new)
        });
    }

    /// Ours is no longer there: what this one was over is, or somebody else's, who may call ours.
    pub(crate) fn taken_out(&self, below: Option<usize>) {
        self.write(|state| {
            let left = below.unwrap_or_else(|| level(state) + 1);
            let covered = if left > 0 { COVERED } else { 0 };
            state & !(LEVEL | INSTALLED | ALONE) | at_level(left.saturating_sub(1)) | covered
        });
    }

    /// Whether those before ours are called; true if that has changed.
    pub(crate) fn set_alone(&self, alone: bool) -> bool {
        let set = if alone { ALONE } else { 0 };
        let changes = self.state() & ALONE != set;
        if changes {
            self.write(|state| state & !ALONE | set);
        }
        changes
    }

    /// The base's function is about to be called: it is the default from then on, if it asked for that.
    pub(crate) fn used(&self, base: &Disposition) {
        if base.flags & libc::SA_RESETHAND != 0 {
            let (from, to) = (base.action, libc::SIG_DFL);
            // ORDERING: Relaxed, both: one word; flags and mask mean nothing beside SIG_DFL.
            _ = self.place(self.state(), 0).action.compare_exchange(from, to, Relaxed, Relaxed);
        }
    }
}

/// Which of our handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// That of subscribed signals.
    Subscriptions = 0,
    /// That of the signals by which threads are interrupted.
    Interrupts = 1,
}

/// What each thread has of its own here.
pub(crate) struct Own {
    chaining: [Chaining; 2],
    pub(super) sent: Sent,
}

impl Own {
    model_const_fn! {
        pub(crate) const fn new() -> Self {
            Self { chaining: [Chaining::new(), Chaining::new()], sent: Sent::new() }
        }
    }

    pub(super) fn chaining(&self, whose: Whose) -> &Chaining {
        &self.chaining[whose as usize]
    }
}

/// The handler that one of ours stands over and that the calling thread has been calling: for which signal, from
/// which of ours, and from which frame. One for each kind of ours, as either may have been put over the other.
pub(super) struct Chaining {
    /// 0 for none.
    signal: AtomicU32,
    /// Its level, and that of the first one.
    level: AtomicU32,
    top: AtomicU32,
    /// An address in that frame.
    frame: AtomicUsize,
}

// ORDERING: Relaxed everywhere here: the thread's own, and its handlers'.
impl Chaining {
    model_const_fn! {
        const fn new() -> Self {
            Self {
                signal: AtomicU32::new(0),
                level: AtomicU32::new(0),
                top: AtomicU32::new(0),
                frame: AtomicUsize::new(0),
            }
        }
    }

    /// Which of ours has called what has called this one, and which was the first, if `around` runs that. One that
    /// left `around` by a jump is told from it by where the signal came, the address of its context: above the
    /// frame, and this handler below it.
    pub(super) fn caller(&self, signal: c_int, context: usize) -> Option<Caller> {
        let here = (&raw const context).addr();
        // ORDERING: Relaxed: as above.
        let frame = self.frame.load(Relaxed);
        let is_called = self.signal.load(Relaxed) == signal as u32
            && here < frame
            && (context == 0 || context > frame);
        is_called.then(|| self.calling())
    }

    fn calling(&self) -> Caller {
        // ORDERING: Relaxed, both: as above.
        let [level, top] = [&self.level, &self.top].map(|word| word.load(Relaxed) as usize);
        Caller { level, top }
    }

    fn set(&self, caller: Caller) {
        // ORDERING: Relaxed, both: as above.
        self.level.store(caller.level as u32, Relaxed);
        self.top.store(caller.top as u32, Relaxed);
    }

    #[inline(never)]
    pub(super) fn around(&self, signal: c_int, caller: Caller, body: impl FnOnce()) {
        // ORDERING: Relaxed: as above.
        let before = (self.signal.load(Relaxed), self.calling(), self.frame.load(Relaxed));
        self.frame.store((&raw const before).addr(), Relaxed);
        self.set(caller);
        self.signal.store(signal as u32, Relaxed);
        body();
        self.signal.store(before.0, Relaxed);
        self.set(before.1);
        self.frame.store(before.2, Relaxed);
    }
}

/// One of ours that has called somebody, and the one that was entered first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) level: usize,
    pub(crate) top: usize,
}

/// The signal that the calling thread was sent again last, and what the record's state was then.
pub(super) struct Sent {
    signal: AtomicU32,
    state: AtomicU32,
}

// ORDERING: Relaxed everywhere here: the thread's own, and its handlers'.
impl Sent {
    model_const_fn! {
        const fn new() -> Self {
            Self { signal: AtomicU32::new(0), state: AtomicU32::new(0) }
        }
    }

    /// It came back to our handler, which is not in force: whoever is calls ours.
    pub(super) fn is_back(&self, signal: c_int, state: u32) -> bool {
        // ORDERING: Relaxed: as above.
        self.signal.load(Relaxed) == signal as u32 && self.state.load(Relaxed) == state
    }

    /// At most once for each time that ours was taken out: a handler that the system chose before that.
    pub(super) fn note(&self, signal: c_int, state: u32) {
        // ORDERING: Relaxed: as above.
        self.state.store(state, Relaxed);
        self.signal.store(signal as u32, Relaxed);
    }
}

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

/// What is known of one signal's dispositions before and beside ours.
///
/// Handlers read, and seldom write. Of either disposition there are two places: a write fills the one that is
/// not in force, and then says in one step that it is. So a reader that interrupts a writer, or meets one, finds
/// what was there before: were it to find nothing, somebody would not be told of a signal. One that finds the
/// same count before and after has what was there together (until 2^23 writes come between).
pub(crate) struct Record {
    state: AtomicU32,
    /// What stood there before ours.
    base: [Place; 2],
    /// What was put over ours, and ours over that again: it may call ours as the one before it.
    over: [Place; 2],
}

/// The base holds something.
const KNOWN: u32 = 1;
/// There is something in `over`.
const OVER: u32 = 1 << 1;
/// Somebody put a handler over ours, and may call ours from it.
pub(super) const COVERED: u32 = 1 << 2;
/// Ours was put in place, and not taken out since.
const INSTALLED: u32 = 1 << 3;
/// Those before ours are not called.
const ALONE: u32 = 1 << 4;
/// In the middle of a write.
const WRITING: u32 = 1 << 5;
/// The second place of `base` is in force.
const BASE: u32 = 1 << 6;
/// The second place of `over` is.
const OVERS: u32 = 1 << 7;
/// There has been something in `over`: whoever it was may be in the middle of a call of ours.
const HAD_OVER: u32 = 1 << 8;
/// One write.
const WRITE: u32 = 1 << 9;

/// The index of the place in force, of those that this bit chooses among.
fn at(state: u32, which: u32) -> usize {
    usize::from(state & which != 0)
}

/// A [`Record`] of one moment.
pub(crate) struct Recorded {
    pub(crate) base: Disposition,
    pub(crate) over: Option<Disposition>,
}

impl Record {
    model_const_fn! {
        pub(crate) const fn new() -> Self {
            Self {
                state: AtomicU32::new(0),
                base: [Place::new(), Place::new()],
                over: [Place::new(), Place::new()],
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

    fn has_over(&self) -> bool {
        self.state() & OVER != 0
    }

    /// Whether ours may be called by one that ours calls.
    pub(crate) fn had_over(&self) -> bool {
        self.state() & HAD_OVER != 0
    }

    /// What is remembered.
    pub(crate) fn read(&self) -> Option<Recorded> {
        loop {
            // ORDERING: Acquire: from the end of a write: what it wrote. The last is ordered by those in
            // between.
            let state = self.state.load(Acquire);
            let base = self.base[at(state, BASE)].load();
            let over = (state & OVER != 0).then(|| self.over[at(state, OVERS)].load());
            // Else somebody has got a write done.
            if (self.state.load(Relaxed) ^ state) & !WRITING == 0 {
                return (state & KNOWN != 0).then_some(Recorded { base, over });
            }
        }
    }

    /// By one writer at a time: nothing if another is in the middle of it, who saw what this one saw, or a
    /// frame that this handler has interrupted.
    fn write(&self, clear: u32, set: u32, put: Option<(u32, &Disposition)>) {
        // ORDERING: Relaxed: a guess, confirmed by the exchange.
        let before = self.state.load(Relaxed) & !WRITING;
        // ORDERING: AcqRel keeps what is stored behind it, Release keeps it in front of the end. Failure
        // Relaxed: nothing is written.
        if self.state.compare_exchange(before, before | WRITING, AcqRel, Relaxed).is_err() {
            return;
        }
        let mut after = before.wrapping_add(WRITE) & !clear | set;
        if let Some((which, new)) = put {
            after ^= which;
            let places = if which == BASE { &self.base } else { &self.over };
            places[at(after, which)].store(new);
        }
        // ORDERING: Release: to `read`.
        self.state.store(after, Release);
    }

    /// Ours is put, or was just put, over this one.
    pub(crate) fn put_over(&self, old: &Disposition) {
        let is_over = old.is_function() && self.state() & (COVERED | INSTALLED) != 0;
        if is_over {
            self.write(0, OVER | HAD_OVER | KNOWN | INSTALLED, Some((OVERS, old)));
        } else {
            self.write(OVER, KNOWN | INSTALLED, Some((BASE, old)));
        }
    }

    /// Whoever handled it: this is in force, and nothing is known of others.
    pub(crate) fn set(&self, new: &Disposition) {
        self.write(OVER | COVERED | INSTALLED | ALONE, KNOWN, Some((BASE, new)));
    }

    /// Ours is no longer there: what it was over is, or somebody else's, who may call ours.
    pub(crate) fn taken_out(&self, covered: bool) {
        let covered = covered || self.has_over();
        self.write(INSTALLED | OVER | ALONE, if covered { COVERED } else { 0 }, None);
    }

    /// Whether those before ours are called; true if that has changed.
    pub(crate) fn set_alone(&self, alone: bool) -> bool {
        let (clear, set) = if alone { (0, ALONE) } else { (ALONE, 0) };
        let changes = self.state() & ALONE != set;
        if changes {
            self.write(clear, set, None);
        }
        changes
    }

    /// The base's function is about to be called: it is the default from then on, if it asked for that.
    pub(crate) fn used(&self, base: &Disposition) {
        if base.flags & libc::SA_RESETHAND != 0 {
            let (from, to) = (base.action, libc::SIG_DFL);
            let place = &self.base[at(self.state(), BASE)];
            // ORDERING: Relaxed, both: one word; flags and mask mean nothing beside SIG_DFL.
            _ = place.action.compare_exchange(from, to, Relaxed, Relaxed);
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

/// The handler that was put over one of ours and that the calling thread has been calling: for which signal, and
/// from which frame. One for each of ours, as either may have been put over the other.
pub(super) struct Chaining {
    /// 0 for none.
    signal: AtomicU32,
    /// An address in that frame.
    frame: AtomicUsize,
}

// ORDERING: Relaxed everywhere here: the thread's own, and its handlers'.
impl Chaining {
    model_const_fn! {
        const fn new() -> Self {
            Self { signal: AtomicU32::new(0), frame: AtomicUsize::new(0) }
        }
    }

    /// Whether what `around` runs has called this handler. One that left `around` by a jump is told from
    /// it by where the signal came, the address of its context: above the frame, and this handler below it.
    pub(super) fn is_calling(&self, signal: c_int, context: usize) -> bool {
        let here = (&raw const context).addr();
        // ORDERING: Relaxed: as above.
        let frame = self.frame.load(Relaxed);
        self.signal.load(Relaxed) == signal as u32
            && here < frame
            && (context == 0 || context > frame)
    }

    #[inline(never)]
    pub(super) fn around(&self, signal: c_int, body: impl FnOnce()) {
        // ORDERING: Relaxed: as above.
        let before = (self.signal.load(Relaxed), self.frame.load(Relaxed));
        self.frame.store((&raw const before).addr(), Relaxed);
        self.signal.store(signal as u32, Relaxed);
        body();
        self.signal.store(before.0, Relaxed);
        self.frame.store(before.1, Relaxed);
    }
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

//! What stood where a handler of ours was put, and calling it as the system would have: under its mask,
//! once if it said so, and not for what it did not ask for. man 2 sigaction.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr;

use super::SIGNALS;
use crate::sync::{AtomicU32, AtomicUsize, Ordering::*};

/// linux/signal.h: SA_RESTORER. The C library sets it and what it stands for, unless it finds it set (bionic).
const RESTORER: c_int =
    if cfg!(any(target_os = "linux", target_os = "android")) { 0x0400_0000 } else { 0 };

/// Words of a mask, 32 signals each.
const WORDS: usize = SIGNALS.div_ceil(32);

/// A disposition, in a form that a handler can read while others write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Disposition {
    /// `sa_sigaction`: SIG_DFL, SIG_IGN or a function.
    pub(super) action: usize,
    pub(super) flags: c_int,
    mask: [u32; WORDS],
}

impl Disposition {
    pub(super) fn of(action: &libc::sigaction) -> Self {
        let mut mask = [0; WORDS];
        for signal in 1..SIGNALS as c_int {
            // SAFETY: a set that the system filled, and a number that it has or refuses.
            if unsafe { libc::sigismember(&raw const action.sa_mask, signal) } == 1 {
                mask[signal as usize / 32] |= 1 << (signal % 32);
            }
        }
        Self { action: action.sa_sigaction, flags: action.sa_flags & !RESTORER, mask }
    }

    pub(super) fn to_system(self) -> libc::sigaction {
        // SAFETY: all zeros is a valid sigaction: SIG_DFL, no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { zeroed() };
        (action.sa_sigaction, action.sa_flags) = (self.action, self.flags);
        self.add_mask(&mut action.sa_mask);
        action
    }

    pub(super) fn is_function(&self) -> bool {
        self.action != libc::SIG_DFL && self.action != libc::SIG_IGN
    }

    /// Async-signal-safe.
    fn add_mask(&self, set: &mut libc::sigset_t) {
        for (at, mut word) in self.mask.into_iter().enumerate() {
            while word != 0 {
                let signal = at * 32 + word.trailing_zeros() as usize;
                // SAFETY: the set is borrowed.
                unsafe { libc::sigaddset(set, signal as c_int) };
                word &= word - 1;
            }
        }
    }

    /// Whether it asked for a signal that says this.
    fn wants(&self, signal: c_int, info: *const libc::siginfo_t) -> bool {
        if signal != libc::SIGCHLD || self.flags & libc::SA_NOCLDSTOP == 0 {
            return true;
        }
        // SAFETY: the system's, or what another handler passed on of it: who chains to one of SA_SIGINFO.
        let code = unsafe { info.as_ref() }.map_or(0, |info| info.si_code);
        ![libc::CLD_STOPPED, libc::CLD_CONTINUED, libc::CLD_TRAPPED].contains(&code)
    }

    /// Calls the function, as the system would have: under the mask that was in force where the signal
    /// came, and its own. Async-signal-safe as far as it is.
    ///
    /// # Safety
    ///
    /// [`is_function`](Self::is_function), and the system held it so; the others are what the system gave
    /// the calling handler.
    pub(super) unsafe fn call(
        &self,
        signal: c_int,
        info: *mut libc::siginfo_t,
        context: *mut c_void,
    ) {
        if !self.wants(signal, info) {
            return;
        }
        let _mask = UnderMask::of(self, signal, context);
        if self.flags & libc::SA_SIGINFO != 0 {
            type Three = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
            // SAFETY: as the caller promises: a handler of three arguments (SA_SIGINFO).
            let previous = unsafe { core::mem::transmute::<usize, Three>(self.action) };
            previous(signal, info, context);
        } else {
            // SAFETY: as the caller promises: a handler of one argument.
            let previous =
                unsafe { core::mem::transmute::<usize, extern "C" fn(c_int)>(self.action) };
            previous(signal);
        }
    }
}

/// The calling thread's mask is another while this is alive.
struct UnderMask(libc::sigset_t);

impl UnderMask {
    fn of(previous: &Disposition, signal: c_int, context: *const c_void) -> Self {
        let mut set = interrupted(context);
        previous.add_mask(&mut set);
        // SAFETY: all zeros is storage for a set, filled below.
        let mut ours: libc::sigset_t = unsafe { zeroed() };
        // SAFETY: the sets are locals.
        unsafe {
            if previous.flags & libc::SA_NODEFER == 0 {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, &raw mut ours);
        }
        Self(ours)
    }
}

impl Drop for UnderMask {
    fn drop(&mut self) {
        // SAFETY: the set was written by `of`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

cfg_if::cfg_if! {
    if #[cfg(all(
        any(target_os = "linux", target_os = "android"),
        any(
            target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64", target_arch = "arm",
            target_arch = "riscv64"
        )
    ))] {
        /// The mask of the code that was interrupted: of the context the kernel writes 64 bits.
        fn interrupted(context: *const c_void) -> libc::sigset_t {
            // SAFETY: an empty set.
            let mut set: libc::sigset_t = unsafe { zeroed() };
            if !context.is_null() {
                // SAFETY: a handler of three arguments is given a `ucontext_t`; a set is at least as long
                // as what is copied.
                unsafe {
                    let from = &raw const (*context.cast::<libc::ucontext_t>()).uc_sigmask;
                    ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut set).cast::<u8>(), 8);
                }
            }
            set
        }
    } else {
        /// Where the context's layout is not at hand: nothing but what is added to it.
        fn interrupted(_: *const c_void) -> libc::sigset_t {
            // SAFETY: all zeros is storage for a set, filled next.
            let mut set: libc::sigset_t = unsafe { zeroed() };
            // SAFETY: the set is a local.
            unsafe { libc::sigemptyset(&raw mut set) };
            set
        }
    }
}

/// Where a disposition is kept. Several writes are one for readers by the count of a [`Record`].
struct Place {
    action: AtomicUsize,
    flags: AtomicU32,
    mask: [AtomicU32; WORDS],
}

impl Place {
    const fn new() -> Self {
        Self {
            action: AtomicUsize::new(libc::SIG_DFL),
            flags: AtomicU32::new(0),
            mask: [const { AtomicU32::new(0) }; WORDS],
        }
    }

    fn store(&self, new: &Disposition) {
        // ORDERING: Release, each: in front of them is the count that `Record::write` made odd, for `read`.
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
/// Handlers read, and seldom write. A reader that finds the same even count before and after has
/// what was written together (until 2^26 writes come between).
pub(super) struct Record {
    state: AtomicU32,
    /// What stood there before ours.
    base: Place,
    /// What was put over ours, and ours over that again: it may call ours as the one before it.
    over: Place,
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
pub(super) const ALONE: u32 = 1 << 4;
/// In the middle of a write.
const WRITING: u32 = 1 << 5;
/// One write.
const WRITE: u32 = 1 << 6;

/// A [`Record`] of one moment.
pub(super) struct Recorded {
    pub(super) base: Disposition,
    pub(super) over: Option<Disposition>,
}

impl Record {
    pub(super) const fn new() -> Self {
        Self { state: AtomicU32::new(0), base: Place::new(), over: Place::new() }
    }

    /// Flags, and a count of the writes.
    pub(super) fn state(&self) -> u32 {
        // ORDERING: Relaxed: one word, passing nothing on.
        self.state.load(Relaxed)
    }

    pub(super) fn is_covered(&self) -> bool {
        self.state() & COVERED != 0
    }

    pub(super) fn is_installed(&self) -> bool {
        self.state() & INSTALLED != 0
    }

    pub(super) fn has_over(&self) -> bool {
        self.state() & OVER != 0
    }

    /// What is remembered, unless it is just being changed.
    pub(super) fn read(&self) -> Option<Recorded> {
        // ORDERING: Acquire: from the end of a write: what it wrote. The last is ordered by those in
        // between.
        let state = self.state.load(Acquire);
        let (base, over) = (self.base.load(), self.over.load());
        let whole = self.state.load(Relaxed) == state;
        let known = whole && state & (KNOWN | WRITING) == KNOWN;
        known.then_some(Recorded { base, over: (state & OVER != 0).then_some(over) })
    }

    /// By one writer at a time: nothing if another is in the middle of it, who saw what this one saw, or a
    /// frame that this handler has interrupted.
    fn write(&self, clear: u32, set: u32, body: impl FnOnce()) {
        // ORDERING: Relaxed: a guess, confirmed by the exchange.
        let before = self.state.load(Relaxed) & !WRITING;
        let begun = before.wrapping_add(WRITE) | WRITING;
        // ORDERING: AcqRel keeps what `body` writes behind it, Release keeps it in front of the end. Failure
        // Relaxed: nothing is written.
        if self.state.compare_exchange(before, begun, AcqRel, Relaxed).is_err() {
            return;
        }
        body();
        let flags = before & (WRITE - 1) & !clear | set;
        let count = before.wrapping_add(WRITE) & !(WRITE - 1);
        self.state.store(count | flags, Release);
    }

    /// Ours is put, or was just put, over this one.
    pub(super) fn put_over(&self, old: &Disposition) {
        let is_over = old.is_function() && self.state() & (COVERED | INSTALLED) != 0;
        if is_over {
            self.write(0, OVER | KNOWN | INSTALLED, || self.over.store(old));
        } else {
            self.write(OVER, KNOWN | INSTALLED, || self.base.store(old));
        }
    }

    /// Whoever handled it: this is in force, and nothing is known of others.
    pub(super) fn set(&self, new: &Disposition) {
        self.write(OVER | COVERED | INSTALLED | ALONE, KNOWN, || self.base.store(new));
    }

    /// Ours is no longer there: what it was over is, or somebody else's, who may call ours.
    pub(super) fn taken_out(&self, covered: bool) {
        let covered = covered || self.has_over();
        self.write(INSTALLED | OVER | ALONE, if covered { COVERED } else { 0 }, || ());
    }

    /// Whether those before ours are called; true if that has changed.
    pub(super) fn set_alone(&self, alone: bool) -> bool {
        let (clear, set) = if alone { (0, ALONE) } else { (ALONE, 0) };
        let changes = self.state() & ALONE != set;
        if changes {
            self.write(clear, set, || ());
        }
        changes
    }

    /// The base's function is about to be called: it is the default from then on, if it asked for that.
    pub(super) fn used(&self, base: &Disposition) {
        if base.flags & libc::SA_RESETHAND != 0 {
            let (from, to) = (base.action, libc::SIG_DFL);
            // ORDERING: Relaxed, both: one word; flags and mask mean nothing beside SIG_DFL.
            _ = self.base.action.compare_exchange(from, to, Relaxed, Relaxed);
        }
    }
}

/// Which of our handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// That of subscribed signals.
    Subscriptions = 0,
    /// That of the signals by which threads are interrupted.
    Interrupts = 1,
}

/// The handler that was put over one of ours and that the calling thread has been calling: for which signal, and
/// from which frame. One for each of ours, as either may have been put over the other.
pub(super) struct Chaining {
    /// 0 for none.
    signal: AtomicU32,
    /// An address in that frame.
    frame: AtomicUsize,
}

std::thread_local! {
    static CHAINING: [Chaining; 2] = const { [const { Chaining::new() }; 2] };
}

// ORDERING: Relaxed everywhere here: the thread's own, and its handlers'.
impl Chaining {
    const fn new() -> Self {
        Self { signal: AtomicU32::new(0), frame: AtomicUsize::new(0) }
    }

    /// Whether what `around` runs has called this handler. One that left `around` by a jump is told from
    /// it by where the signal came: above the frame, and this handler below it.
    pub(super) fn is_calling(whose: Whose, signal: c_int, context: *mut c_void) -> bool {
        let here = (&raw const context).addr();
        CHAINING.with(|calling| {
            let calling = &calling[whose as usize];
            // ORDERING: Relaxed: as above.
            let frame = calling.frame.load(Relaxed);
            calling.signal.load(Relaxed) == signal as u32
                && here < frame
                && (context.is_null() || context.addr() > frame)
        })
    }

    #[inline(never)]
    pub(super) fn around(whose: Whose, signal: c_int, body: impl FnOnce()) {
        // ORDERING: Relaxed: as above.
        CHAINING.with(|calling| {
            let calling = &calling[whose as usize];
            let before = (calling.signal.load(Relaxed), calling.frame.load(Relaxed));
            calling.frame.store((&raw const before).addr(), Relaxed);
            calling.signal.store(signal as u32, Relaxed);
            body();
            calling.signal.store(before.0, Relaxed);
            calling.frame.store(before.1, Relaxed);
        });
    }
}

//! Dispositions by POSIX: sigaction, and the handler that every signal of ours enters.
//! man 2 sigaction, man 7 signal-safety; man 2 rt_tgsigqueueinfo for Linux.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr;

use super::origin::origin;
use super::previous::{ALONE, Chaining, Disposition, Record, Recorded, Whose};
use super::process::{acts_by_default, handlers_mask, raise_here};
use super::{Entry, Errno, Restored, SIGNALS, Verdict, errno};
use crate::sync::{AtomicPtr, AtomicU32, Mutex, Ordering::*};

static RECORDS: [Record; SIGNALS] = [const { Record::new() }; SIGNALS];

static ENTRY: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Who has it is the only one that writes records, but for [`Record::used`]. It is taken under the hub's lock,
/// so no fork of the C library finds it taken.
static WRITER: Mutex<()> = Mutex::new(());

fn record(signal: c_int) -> Option<&'static Record> {
    RECORDS.get(usize::try_from(signal).ok()?)
}

/// Whether ours was put in place, and not taken out since.
pub(super) fn is_installed(signal: c_int) -> bool {
    record(signal).is_some_and(Record::is_installed)
}

fn check(result: c_int) -> Result<(), Errno> {
    if result == -1 { Err(Errno(errno::get())) } else { Ok(()) }
}

pub(super) fn query(signal: c_int) -> Result<libc::sigaction, Errno> {
    // SAFETY: all zeros is a valid sigaction.
    let mut now: libc::sigaction = unsafe { zeroed() };
    // SAFETY: a null new action only asks.
    check(unsafe { libc::sigaction(signal, ptr::null(), &raw mut now) })?;
    Ok(now)
}

/// # Safety
///
/// The action is SIG_DFL, SIG_IGN, what the system told before, or a handler of ours that fits its
/// flags.
pub(super) unsafe fn change(
    signal: c_int,
    new: &libc::sigaction,
) -> Result<libc::sigaction, Errno> {
    // SAFETY: all zeros is a valid sigaction.
    let mut old: libc::sigaction = unsafe { zeroed() };
    // SAFETY: both point to sigactions; the new one is what the caller promises.
    check(unsafe { libc::sigaction(signal, new, &raw mut old) })?;
    Ok(old)
}

fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == handler as *const () as usize
}

fn simple(action: usize) -> libc::sigaction {
    // SAFETY: all zeros is a valid sigaction: SIG_DFL, no flags, an empty mask.
    let mut new: libc::sigaction = unsafe { zeroed() };
    new.sa_sigaction = action;
    new
}

/// Ours, over this one: what it asked for in its name it still gets.
fn ours_over(signal: c_int, before: &Disposition) -> libc::sigaction {
    let mut new = simple(handler as *const () as usize);
    new.sa_flags = libc::SA_SIGINFO | before.flags & libc::SA_NOCLDWAIT;
    new.sa_flags |= match before.is_function() {
        // It has no room on an alternate stack; its program expects EINTR.
        true => before.flags & (libc::SA_ONSTACK | libc::SA_RESTART),
        false => libc::SA_ONSTACK | libc::SA_RESTART,
    };
    if signal == libc::SIGCHLD && before.action == libc::SIG_IGN {
        // Children that nobody waits for do not stay.
        new.sa_flags |= libc::SA_NOCLDWAIT;
    }
    new.sa_mask = handlers_mask();
    new
}

/// Puts our handler in place, also where somebody has put another over it since; see the contract in
/// [`super`].
pub(crate) fn install(signal: c_int, entry: Entry) -> Result<(), Errno> {
    // ORDERING: Relaxed: sigaction orders it before every run of the handler.
    ENTRY.store(entry as *mut c_void, Relaxed);
    let _writer = WRITER.lock();
    let before = query(signal)?;
    let Some(record) = record(signal).filter(|_| !is_ours(&before)) else { return Ok(()) };
    let before = Disposition::of(&before);
    record.put_over(&before);
    // SAFETY: `handler` has the three arguments of SA_SIGINFO.
    let old = unsafe { change(signal, &ours_over(signal, &before)) }?;
    let replaced = Disposition::of(&old);
    if !is_ours(&old) && replaced != before {
        record.put_over(&replaced);
    }
    Ok(())
}

/// Puts back what was there; see the contract in [`super`].
pub(crate) fn restore(signal: c_int) -> Result<Restored, Errno> {
    let Some(record) = record(signal) else {
        return Ok(Restored::Foreign);
    };
    let _writer = WRITER.lock();
    if !is_ours(&query(signal)?) {
        record.taken_out(true);
        return Ok(Restored::Foreign);
    }
    let recorded = record.read();
    let old = recorded.map_or(simple(libc::SIG_DFL), |Recorded { base, over }| {
        over.unwrap_or(base).to_system()
    });
    // SAFETY: SIG_DFL, or what the system told `install`.
    let replaced = unsafe { change(signal, &old) }?;
    let foreign = !is_ours(&replaced);
    record.taken_out(foreign);
    if foreign {
        // Somebody was quicker, between the question and the change: theirs stays.
        // SAFETY: the system told it just now.
        return unsafe { change(signal, &replaced) }.map(|_| Restored::Foreign);
    }
    Ok(Restored::Previous)
}

/// Gives the signal its default action, whoever handled it.
pub(crate) fn set_default(signal: c_int) -> Result<(), Errno> {
    set_simple(signal, libc::SIG_DFL)
}

/// The same, remembering nothing; not under the caller's lock. What was there. Async-signal-safe.
pub(super) fn force_default(signal: c_int) -> Result<libc::sigaction, Errno> {
    // SAFETY: SIG_DFL.
    unsafe { change(signal, &simple(libc::SIG_DFL)) }
}

/// Has the signal ignored, whoever handled it.
pub(crate) fn set_ignored(signal: c_int) -> Result<(), Errno> {
    set_simple(signal, libc::SIG_IGN)
}

fn set_simple(signal: c_int, action: usize) -> Result<(), Errno> {
    let _writer = WRITER.lock();
    let new = simple(action);
    // SAFETY: SIG_DFL or SIG_IGN, as its two callers say.
    unsafe { change(signal, &new) }?;
    record(signal).into_iter().for_each(|record| record.set(&Disposition::of(&new)));
    Ok(())
}

/// Whether handlers before ours are to be called, until ours is taken out; true if that has changed.
pub(crate) fn set_alone(signal: c_int, alone: bool) -> bool {
    let _writer = WRITER.lock();
    record(signal).is_some_and(|record| record.set_alone(alone))
}

/// Whether the process ignores the signal; asks the kernel.
pub(crate) fn is_ignored(signal: c_int) -> Result<bool, Errno> {
    query(signal).map(|now| now.sa_sigaction == libc::SIG_IGN)
}

/// The handler of every signal of ours. No allocation, no lock; no thread-local but errno's, unless
/// another handler was put over ours, or the signal is nobody's any more.
extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    errno::kept(|| {
        // ORDERING: Relaxed: sigaction came between the store and this.
        let entry = ENTRY.load(Relaxed);
        let Some(record) = record(signal).filter(|_| !entry.is_null()) else { return };
        let delivery = Delivered { signal, info, context, record };
        if record.has_over() && Chaining::is_calling(Whose::Subscriptions, signal, context) {
            return delivery.call_base();
        }
        // SAFETY: only `install` stores there, and it stores an `Entry`.
        let entry = unsafe { core::mem::transmute::<*mut c_void, Entry>(entry) };
        // SAFETY: the information is the kernel's, or what another handler passed on of it, as sigaction(2) has
        // those do that were installed with SA_SIGINFO.
        let origin = unsafe { origin(signal, info) };
        match entry(signal, origin) {
            Verdict::Handled if record.state() & ALONE != 0 => {}
            Verdict::Handled => delivery.chain(),
            Verdict::Ignored => {}
            Verdict::Unwanted => delivery.unwanted(),
        }
    });
}

/// What our handler was given.
struct Delivered {
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
    record: &'static Record,
}

impl Delivered {
    /// Calls the handler that was there before, if it was a function; the one that was put over ours, if
    /// there is one: it calls ours as the one before it, if it likes.
    fn chain(&self) {
        match self.record.read() {
            Some(Recorded { over: Some(over), .. }) => {
                let Self { signal, info, context, .. } = *self;
                // SAFETY: `put_over` records functions there, as the system told them.
                Chaining::around(Whose::Subscriptions, signal, || unsafe { over.call(signal, info, context) });
            }
            Some(_) => self.call_base(),
            None => {}
        }
    }

    fn call_base(&self) {
        if let Some(Recorded { base, .. }) = self.record.read().filter(|it| it.base.is_function()) {
            self.record.used(&base);
            // SAFETY: a function, by the filter above; `install` recorded it as the system told it.
            unsafe { base.call(self.signal, self.info, self.context) };
        }
    }

    /// Who has the signal: whatever is in force now, unless that is who called ours.
    fn unwanted(&self) {
        if query(self.signal).is_ok_and(|now| is_ours(&now)) {
            return self.act_as_before();
        }
        // ORDERING: of no interest: see `Sent`.
        if self.record.is_covered() || Sent::is_back(self.signal, self.record.state()) {
            return self.call_base();
        }
        Sent::note(self.signal, self.record.state());
        redeliver(self.signal, self.info);
    }

    /// Somebody put ours back, as it had found it, after we took it out: nobody has the signal, and what
    /// was there before us acts. A handler is called and not put back, as a subscription may begin
    /// meanwhile. sigaction(2) is async-signal-safe.
    fn act_as_before(&self) {
        match self.record.read() {
            Some(Recorded { over: None, base }) if base.action == libc::SIG_DFL => {
                if acts_by_default(self.signal) && force_default(self.signal).is_ok() {
                    redeliver(self.signal, self.info);
                }
            }
            _ => self.chain(),
        }
    }
}

/// The signal that the calling thread was sent again last, and what the record's state was then.
struct Sent {
    signal: AtomicU32,
    state: AtomicU32,
}

std::thread_local! {
    static SENT: Sent = const { Sent { signal: AtomicU32::new(0), state: AtomicU32::new(0) } };
}

// ORDERING: Relaxed everywhere here: the thread's own, and its handlers'.
impl Sent {
    /// It came back to our handler, which is not in force: whoever is calls ours.
    fn is_back(signal: c_int, state: u32) -> bool {
        SENT.with(|sent| {
            sent.signal.load(Relaxed) == signal as u32 && sent.state.load(Relaxed) == state
        })
    }

    /// At most once for each time that ours was taken out: a handler that the system chose before that.
    fn note(signal: c_int, state: u32) {
        // ORDERING: Relaxed: as above.
        SENT.with(|sent| {
            sent.state.store(state, Relaxed);
            sent.signal.store(signal as u32, Relaxed);
        });
    }
}

/// Sends the signal to this thread again: it is masked until the handler returns, and then meets
/// the disposition in force, with its origin where the system lets us keep it.
fn redeliver(signal: c_int, info: *mut libc::siginfo_t) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // SAFETY: getpid and gettid have no preconditions; the kernel checks where the
        // information is.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_rt_tgsigqueueinfo,
                libc::getpid(),
                libc::syscall(libc::SYS_gettid),
                signal,
                info,
            )
        };
        if sent == 0 {
            return;
        }
    }
    let _ = info;
    raise_here(signal);
}

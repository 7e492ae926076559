//! The gate to external code: a thread is suspended by others only while it runs the runtime's own
//! code, for external code may end the process, and then nobody is left to resume it.
//!
//! For runtimes that stop threads (to collect, to profile, to preempt) and call code that is not theirs.
//! A thread registers at a gate of its own, and goes out by it around every such call:
//!
//! ```
//! # #[cfg(all(feature = "std", any(unix, windows)))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use portcullis::preempt::{Fenced, Gate, Gates, Hook, SuspendError, SystemBackend};
//! use std::thread::scope;
//!
//! static GATES: Gates<Fenced, SystemBackend> =
//!     Gates::new(Fenced, SystemBackend::new(Hook::nothing()));
//! static GATE: Gate<SystemBackend> = Gate::new();
//!
//! let mut own = GATES.register(&GATE)?;
//! let name = own.thread();
//! // Inside: it stands still while another thread keeps what this returns.
//! scope(|s| s.spawn(|| drop(GATES.try_suspend(name))).join()).unwrap();
//! // Outside: nobody suspends it.
//! let external = own.external();
//! let attempt = scope(|s| s.spawn(|| GATES.try_suspend(name).map(drop)).join()).unwrap();
//! assert_eq!(attempt, Err(SuspendError::External));
//! drop(external);
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "std", any(unix, windows))))]
//! # fn main() {}
//! ```
//!
//! *Who installs the handler*: on Unix [`SystemBackend`] does, at the first registration and again where somebody has
//! replaced it; for SIGURG unless you name another signal by [`SystemBackend::by_signal`]. A handler that was there
//! before is called for signals that are not this crate's. Your program has nothing to install, and must not mask that
//! signal in a registered thread for long. With a backend of your own the handler is yours, and calls
//! [`Gate::on_signal`]. On Windows there is none.
//!
//! What stops threads is a backend: [`SystemBackend`], or one of your own, for which [`host`] has all that
//! it needs. Below is the protocol.
//!
//! # Contexts
//!
//! | caller | may call | may not |
//! |---|---|---|
//! | a thread that is to be suspended | [`Gates::register`], once; then by its [`Registration`] go out and come back | |
//! | any thread, registered or not | [`Gates::try_suspend`], [`Gates::stop_all`], [`Gates::request`], of threads registered by the same [`Gates`] | suspend itself; block, allocate or log while it has a thread suspended |
//! | the child of a fork | [`Gates::reset_after_fork`], first of all | |
//! | the system, on a thread | [`Gate::on_signal`] from the handler of the backend's signal | |
//! | the system, at a thread's end | [`GateLocal::thread_ends`](host::GateLocal::thread_ends), if the backend needs it | |
//!
//! # States
//!
//! Of a gate two words, each with one side that writes it, so that neither overwrites the other:
//!
//! | `own`, its thread's | meaning |
//! |---|---|
//! | GONE | no thread is registered |
//! | INSIDE | the runtime's code: may be suspended |
//! | EXTERNAL | may not |
//! | LEAVING | may not, and does not come back: it unregisters |
//!
//! with a generation above it: how many threads have been registered.
//!
//! | `claim` | meaning |
//! |---|---|
//! | FREE | |
//! | CLAIMED | a suspension is being tried, or in effect; or a thread is being registered |
//! | WANTED | the thread wants to go out, and waits for the one claim that was there: no new ones |
//!
//! and beside them what a [`World`](crate::world) that is being stopped has to say to the thread, SHUT, WATCHED,
//! ASLEEP, of which a gate that is in none has none; and ENDED, of a thread that has ended registered. `own` is HELD, too,
//! where a thread of a world is inside and not to be suspended: to who suspends that is as EXTERNAL.
//!
//! # Transitions
//!
//! | event | steps |
//! |---|---|
//! | go out | `own` = EXTERNAL; look at `claim`; if it is not FREE: WANTED, wait while CLAIMED, FREE |
//! | come back | `own` = INSIDE |
//! | suspend | take the turn; `claim` FREE to CLAIMED; heavy barrier; unless `own` is INSIDE or `claim` has become WANTED, release; ask the backend; wait until it has stopped; give the turn up |
//! | release | `claim` without CLAIMED |
//! | resume | ask the backend; release |
//! | the registration is dropped | as go out; no gate for handlers; `own` = GONE |
//! | the thread ends registered | WANTED, wait while CLAIMED; mark the handle; outside, sleep while SHUT; ENDED, FREE |
//! | fork, in the child | `claim` FREE; `own` GONE but for the thread that lives on; no turn |
//!
//! # Invariants
//!
//! - I1: from look to come back no suspension of the thread is in effect or under way.
//! - I2: every failed attempt leaves `claim` as it found it, and a request acknowledged.
//! - I3: who goes out waits for the claim that it found and no other: WANTED keeps later ones away,
//!   and after it they see EXTERNAL.
//! - I4: nobody waits for external code: who finds EXTERNAL, and nobody waiting, says so.
//! - I5: one thread at a time asks and waits for stops, by whichever [`Gates`], so of two that suspend
//!   each other one is stopped, and the other comes back to resume it.
//! - I6: what `register` stored is used by claimants that saw INSIDE, and changed only when there
//!   can be none: with `claim` CLAIMED by `register`, or after a look.
//! - I7: a handle outlives its thread only with the mark: the thread waits for who has it claimed, and
//!   whoever claims it later sees the mark, and does not have the system look for the thread.
//! - I8: who claims a thread does so by the barrier by which the thread looks: that of the [`Gates`] by
//!   which it was registered, which its name carries.
//! - I9: who has the turn, or holds threads, masks the signals of others, so that nobody else stops him
//!   meanwhile; who waits for a thread that does not answer looks whether one waits for him, and then
//!   gives way: he lets all go, gives the turn up, takes their signals, and begins anew.
//!
//! # Happens-before
//!
//! - E1: going out -> who claims later: it sees EXTERNAL. By [`Barrier`].
//! - E2: `release` -> who goes out and waited for it, and the next who claims: the mark too.
//! - E3: going out, the thread's end -> who reads so in `own`: what the thread did before.
//! - E4: the turn given up -> taken: a backend's calls for stops are one after the other.
//!
//! Registers and memory of a thread that has stopped are the backend's to publish.
//!
//! # Progress
//!
//! Going out waits for one suspension at most, and only if there is one; so does a thread that ends
//! registered, and outside for a world that is stopped. Coming back waits for nothing. An attempt to suspend waits for
//! the attempts of others, those that waited before it first unless they cannot run, and, as long as the backend is
//! patient, for a thread that does not answer. One that gives way is patient anew; each time it waits twice as long
//! before it looks whether it has to, so it does so some ten times at most.
//!
//! # Limits
//!
//! 2^29 threads a gate before generations repeat. A gate whose registration was forgotten is lost when its
//! thread has ended. Code between suspend and resume that blocks on
//! what the suspended thread owns blocks for ever: nothing here does.
//!
//! # Prior art
//!
//! Go `runtime/os_windows.go` preemptM, osPreemptExtEnter, osPreemptExtExit, exit (957259b7): one
//! word for both sides, which costs a read-modify-write even where barriers could be asymmetric, and
//! a handle that is duplicated under a lock; here the claim itself keeps the thread from ending.
//! HotSpot `safepoint.cpp` and CoreCLR FlushProcessWriteBuffers: the asymmetric half.

mod barrier;
mod error;
mod fork;
pub mod host;
mod member;
#[cfg(all(feature = "std", unix, not(all(loom, any(test, feature = "loom")))))]
mod posix;
#[cfg(all(
    feature = "std",
    any(target_os = "linux", target_os = "android"),
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64",
    not(all(loom, any(test, feature = "loom")))
))]
mod registers;
mod request;
pub(crate) mod safepoint;
mod stop;
mod suspend;
#[cfg(all(feature = "std", any(unix, windows), not(all(loom, any(test, feature = "loom")))))]
mod system;
pub(crate) mod turn;
#[cfg(all(feature = "std", windows, not(all(loom, any(test, feature = "loom")))))]
mod windows;

use core::fmt;

use crate::sync::{AtomicU32, Ordering::*, UnsafeCell, compiler_fence, model_const_fn};
use crate::sys;
pub use crate::sys::Errno;
pub use barrier::{Asymmetric, Either, Fenced};
pub use error::{ExitError, RegisterError, RequestError, SuspendError};
use host::{Backend, Barrier, Claim, GateLocal, Met, StopWord, with_local};
pub use member::{External, Inside, Registration, ThreadRef};
#[cfg(all(
    feature = "std",
    any(target_os = "linux", target_os = "android"),
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64",
    not(all(loom, any(test, feature = "loom")))
))]
pub use registers::Interrupted;
pub use request::Request;
use request::Requests;
pub use suspend::{StoppedAll, Suspended, Target};
#[cfg(all(feature = "std", windows, not(all(loom, any(test, feature = "loom")))))]
pub use system::Registers;
#[cfg(all(feature = "std", any(unix, windows), not(all(loom, any(test, feature = "loom")))))]
pub use system::{Checked, Hook, SystemBackend, SystemThread};
use turn::turns;

const GONE: u32 = 0;
const INSIDE: u32 = 1;
const EXTERNAL: u32 = 2;
const LEAVING: u32 = 3;
/// Inside, where it is not to be suspended: of a thread of a world.
const HELD: u32 = 4;
const STATE: u32 = 7;
/// One registration, in `own`.
const GENERATION: u32 = 8;

const CLAIMED: u32 = 1;
const WANTED: u32 = 2;
/// The world is being stopped, or is: who comes in waits, who is in and polls goes out.
const SHUT: u32 = 4;
/// Who stops the world sleeps on `claim` until the thread is out: that takes it away.
const WATCHED: u32 = 8;
/// The thread sleeps on `claim` while it is SHUT.
const ASLEEP: u32 = 16;
/// The thread has ended registered: it stops no world.
const ENDED: u32 = 32;

/// One thread's gate; lives as long as the threads that may ask for it. One cache line.
#[repr(align(64))]
pub struct Gate<K: Backend> {
    own: AtomicU32,
    claim: Claim,
    stop: StopWord,
    requests: Requests,
    handle: UnsafeCell<Option<K::Handle>>,
}

// SAFETY: the handle is written and read by turns, to which all of this module keeps (I6); it is shared
// between threads, and moved from one to another, only if it may be.
unsafe impl<K: Backend> Sync for Gate<K> where K::Handle: Send + Sync {}

/// What all gates of a runtime share. Made to be a `static`; a second one in a process is for another
/// runtime, and knows nothing of the threads of the first.
pub struct Gates<B: Barrier, K: Backend> {
    barrier: B,
    backend: K,
}

impl<K: Backend> Gate<K> {
    model_const_fn! {
        /// Nobody's gate.
        pub const fn new() -> Self {
            Self {
                own: AtomicU32::new(GONE),
                claim: Claim(AtomicU32::new(0)),
                stop: StopWord::new(),
                requests: Requests::new(),
                handle: UnsafeCell::new(None),
            }
        }
    }

    /// The claim, if it was free. Who holds it sees what its thread did before it last went out or
    /// came back, once the barrier is through.
    pub(crate) fn claim(&self) -> Result<(), u32> {
        let mut free = 0;
        loop {
            // ORDERING: Acquire: E1 from a look by read-modify-write, E2 from `release`. Weakened:
            // preempt enter_against_suspend. Failure Acquire: who finds it WANTED sees that the thread goes out.
            // Weakened: world forced_stop.
            match self.claim.0.compare_exchange(free, free | CLAIMED, Acquire, Acquire) {
                Ok(_) => return Ok(()),
                Err(seen) if seen & (CLAIMED | WANTED) != 0 => return Err(seen),
                // What a world has to say does not claim it.
                Err(seen) => free = seen,
            }
        }
    }

    /// Whether the thread waits for the claim that the caller holds, on its way out: it may be
    /// suspended, for it is not out yet.
    fn is_waiting(&self) -> bool {
        // ORDERING: Relaxed: what it did inside is published when it stops.
        self.claim.0.load(Relaxed) & WANTED != 0
    }

    fn release(&self) {
        // ORDERING: Release: E2 to `wait` and `claim`. Weakened: preempt unregistered_acknowledges.
        self.claim.0.fetch_and(!CLAIMED, Release);
    }

    /// In the thread: waits for who has it claimed, and keeps all others away until `then` is done.
    #[cold]
    fn wait_for_claim(&self, pause: impl Fn(u32), then: impl FnOnce()) {
        // ORDERING: Acquire: E2, if it is released by now. Weakened: preempt early_returns_leave_gate_open.
        // Release: to `claim`, which then finds the thread out. Weakened: world forced_stop.
        let mut seen = self.claim.0.fetch_or(WANTED, AcqRel);
        for turn in turns() {
            if seen & CLAIMED == 0 {
                break;
            }
            pause(turn);
            // ORDERING: Acquire: E2 from `release`. Weakened: preempt
            // early_returns_leave_gate_open.
            seen = self.claim.0.load(Acquire);
        }
        then();
        // ORDERING: Release: E1, to the next who claims, and to who watches: he sees that it is out, or this
        // that he does. Weakened: preempt early_returns_leave_gate_open.
        if self.claim.0.fetch_and(!(WANTED | WATCHED), Release) & WATCHED != 0 {
            sys::wake_one(&self.claim.0);
        }
    }

    /// To be called by the handler of the backend's signal: stops if that is asked for, until resumed;
    /// acknowledges a request. `context` is for who has it stopped ([`Suspended::context`]).
    /// Async-signal-safe.
    ///
    /// # Safety
    ///
    /// On the thread whose gate this is ([`GateLocal::gate`]), in a handler, with all signals masked.
    /// `backend` is that of the [`Gates`] by which the thread is registered. `context` is what
    /// [`Backend::context`] makes of it, for as long as the handler runs.
    pub unsafe fn on_signal(&self, backend: &K, context: *mut ()) -> Met {
        // SAFETY: in the handler of the thread, as the caller promises.
        let wait = |word: &AtomicU32, value| unsafe { backend.wait_stopped(word, value) };
        let stopped = self.stop.answer(context, wait, |word| backend.wake(word));
        // ORDERING: Relaxed: the thread's own.
        match self.requests.acknowledge() {
            true if self.own.load(Relaxed) & STATE == INSIDE => Met::Preempt,
            false if !stopped => Met::Nothing,
            _ => Met::Something,
        }
    }

    /// The thread's end has begun, and it is registered still (I7): see [`GateLocal::thread_ends`].
    fn thread_ends(&self, mark: impl FnOnce(&K::Handle), pause: impl Fn(u32)) {
        self.wait_for_claim(pause, || {
            if let Some(handle) = self.handle() {
                mark(handle);
            }
            // There will be no handler to do it.
            self.requests.acknowledge();
            self.end();
        });
    }

    #[cfg(all(test, loom))]
    pub(crate) fn stop_word(&self) -> &StopWord {
        &self.stop
    }

    #[cfg(all(test, loom))]
    pub(crate) fn claim_word(&self) -> &AtomicU32 {
        &self.claim.0
    }

    #[cfg(all(test, loom))]
    pub(crate) fn is_outside(&self) -> bool {
        self.own.kernel_read() & STATE == EXTERNAL
    }

    /// What `register` was given; for who has claimed it and seen INSIDE, and its own thread and its
    /// handlers while it is registered.
    pub(crate) fn handle(&self) -> Option<&K::Handle> {
        // SAFETY: not changed meanwhile: `register`, `unregister` and `reset` keep to I6, and to the
        // fences of `GateLocal` towards handlers.
        self.handle.with(|handle| unsafe { (*handle).as_ref() })
    }
}

impl<K: Backend> Default for Gate<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Barrier, K: Backend> Gates<B, K> {
    model_const_fn! {
        /// Gates of threads that are suspended in this way.
        pub const fn new(barrier: B, backend: K) -> Self {
            Self { barrier, backend }
        }
    }

    /// The backend.
    pub const fn backend(&self) -> &K {
        &self.backend
    }

    /// The calling thread goes out.
    #[inline]
    fn go_out(&self, gate: &Gate<K>, own: u32) {
        self.step_out(gate, own | EXTERNAL);
    }

    #[inline]
    fn step_out(&self, gate: &Gate<K>, out: u32) {
        // ORDERING: Release: E3 to `is_inside`. Weakened: preempt external_is_published.
        gate.own.store(out, Release);
        if self.barrier.look(&gate.claim) != 0 {
            gate.wait_for_claim(|turn| self.backend.pause(turn), || {});
        }
    }

    /// The calling thread comes back.
    #[inline]
    fn come_back(&self, gate: &Gate<K>, own: u32) {
        // Keeps the compiler from moving external code's last stores behind that: who stops the thread in
        // between would have it stopped in external code, with a lock of that perhaps.
        // ORDERING: Release, compiler only: a thread is stopped between two of its instructions.
        compiler_fence(Release);
        // ORDERING: Relaxed: who has it stopped learns by that what it did.
        gate.own.store(own | INSIDE, Relaxed);
    }

    /// How many threads the calling one has suspended, by whichever [`Gates`] of this backend: while there
    /// are any it must not block, allocate, log or free. Async-signal-safe.
    pub fn holds(&self) -> u32 {
        with_local(&self.backend, GateLocal::holds)
    }

    /// Registers the calling thread at this gate: it may be suspended from now on, until the
    /// [`Registration`] is dropped. Waits for a suspension that is being tried of the thread that was there
    /// last. Not async-signal-safe.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn register(
        &'static self,
        gate: &'static Gate<K>,
    ) -> Result<Registration<B, K>, RegisterError> {
        with_local(&self.backend, GateLocal::may_register)?;
        // Others' attempts to suspend the thread that was here last are over at once.
        for turn in turns() {
            // ORDERING: Relaxed: asked again below.
            if gate.own.load(Relaxed) & STATE != GONE {
                return Err(RegisterError::GateInUse);
            }
            if gate.claim().is_ok() {
                break;
            }
            self.backend.pause(turn);
        }
        // ORDERING: Acquire: E3 from `unregister`: the last thread is done with the handle. Weakened:
        // preempt gate_changes_hands.
        let own = gate.own.load(Acquire);
        let handle = match own & STATE {
            // SAFETY: from here, on a thread whose end has not begun, as was asked above.
            GONE => unsafe { self.backend.open() },
            _ => Err(RegisterError::GateInUse),
        };
        let generation = (own & !STATE).wrapping_add(GENERATION);
        let registered = handle.map(|handle| {
            // Before INSIDE or after it: until `release` the claim keeps everybody from looking at either.
            // SAFETY: claimed, and no thread is registered (I6); no handler finds the gate yet.
            gate.handle.with_mut(|place| unsafe { *place = Some(handle) });
            with_local(&self.backend, |own| own.register(gate));
            self.come_back(gate, generation);
            Registration::new(self, gate, generation)
        });
        // Refused or not. Without: preempt refused_registration_leaves_gate_open.
        gate.release();
        registered
    }

    /// The calling thread's end as far as this is concerned. It is EXTERNAL.
    fn unregister(&self, gate: &Gate<K>, generation: u32) {
        with_local(&self.backend, GateLocal::unregister);
        // SAFETY: claimants that come now see EXTERNAL or GONE and leave it alone (I6); handlers find no
        // gate.
        let handle = gate.handle.with_mut(|place| unsafe { (*place).take() });
        // SAFETY: from the drop of a registration, the only one of its generation; nobody uses the handle,
        // as above.
        handle.into_iter().for_each(|handle| unsafe { self.backend.close(handle) });
        // There will be no handler to do it. Without: preempt unregistered_acknowledges.
        gate.requests.acknowledge();
        if with_local(&self.backend, GateLocal::is_ending) {
            // ORDERING: Relaxed: published with GONE.
            gate.claim.0.fetch_and(!ENDED, Relaxed);
        }
        // ORDERING: Release: E3 to the next `register`. Weakened: preempt gate_changes_hands.
        gate.own.store(generation | GONE, Release);
    }
}

impl<K: Backend> fmt::Debug for Gate<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl<B: Barrier, K: Backend> fmt::Debug for Gates<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gates").finish_non_exhaustive()
    }
}

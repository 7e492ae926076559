//! What an attached thread holds: a token, given up by dropping it.

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use super::thread::{Standing, is_gone};
use super::{DEPTH, DetachError, HELD, Host, INSIDE, Runtime, Threads};
use crate::extra_list::Ticket;
use crate::sync::{Ordering::*, compiler_fence};

/// What an attach did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachKind {
    /// The thread got a record.
    Attached,
    /// The thread had one: it is bound, called out, or runs the runtime's code.
    Nested,
}

/// A token without its drop, for code that passes it through a foreign interface. The thread stays
/// attached until it is given to [`Threads::detach_raw`] there; dropped, it is as one forgotten. There is
/// one of each: it is moved, not copied.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the thread stays attached until this is given to detach_raw"]
pub struct RawAttached {
    pub(super) before: u32,
    pub(super) mine: u32,
    pub(super) index: u32,
    pub(super) generation: u32,
    /// Whose it is, by its address; 0 if that is not known.
    pub(super) threads: usize,
}

impl RawAttached {
    /// As plain data, for a foreign interface.
    #[must_use]
    pub const fn into_bits(self) -> [u32; 4] {
        [self.before, self.mine, self.index, self.generation]
    }

    /// What was made plain data.
    ///
    /// # Safety
    ///
    /// [`into_bits`](Self::into_bits) returned it, it is given to the [`Threads`] that it came from, and it is
    /// made a token again once: two would each give up what is still used under the other.
    pub const unsafe fn from_bits([before, mine, index, generation]: [u32; 4]) -> Self {
        Self { before, mine, index, generation, threads: 0 }
    }
}

/// The calling thread is attached while this is alive. Dropping it detaches what it attached, and
/// nothing else.
///
/// Tokens of one thread are given up in reverse order. [`detach`](Self::detach) refuses another
/// order; a drop in another order is counted ([`Threads::misuse`]), and the record is kept until
/// the thread's last token is gone.
///
/// It stays on its thread:
///
/// ```compile_fail
/// fn send<T: Send>() {}
/// fn check<R: portcullis::attach::Runtime, H: portcullis::attach::host::Host>() {
///     send::<portcullis::attach::Attached<R, H, 1>>();
/// }
/// ```
#[must_use = "the thread is detached when this is dropped"]
pub struct Attached<R: Runtime + 'static, H: Host + 'static, const N: usize> {
    pub(super) threads: &'static Threads<R, H, N>,
    /// The slot's word to be put back; without HELD if this one attached.
    pub(super) before: u32,
    /// The slot's word since the attach.
    pub(super) mine: u32,
    /// Not `Send`: it speaks of its thread's slot.
    pub(super) own: PhantomData<*const ()>,
}

impl<R: Runtime, H: Host, const N: usize> Attached<R, H, N> {
    /// What the attach did.
    #[must_use]
    pub const fn how(&self) -> AttachKind {
        if self.before & HELD != 0 { AttachKind::Nested } else { AttachKind::Attached }
    }

    /// Whether the runtime's own code was running when this attach began: a handler that
    /// interrupted it must expect its data half-changed.
    #[must_use]
    pub fn was_inside(&self) -> bool {
        self.before & INSIDE != 0
    }

    /// The thread's record.
    #[must_use]
    pub fn record(&self) -> &R::Record {
        let made = self.threads.made(self.index());
        // The slot has the number of one that was taken here (I6), hence made before (extra_list E3).
        &made.expect("a token has a record").record
    }

    /// The record's number.
    #[must_use]
    pub fn index(&self) -> usize {
        self.threads.held().index
    }

    /// How often the record has changed hands, modulo 2^31: with the number it names one stay of
    /// one thread.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.threads.held().generation
    }

    /// Gives the token up. Dropping it does the same, without the check of the order.
    ///
    /// # Errors
    ///
    /// The token, if later ones of this thread are alive, or the thread is ending and its record went
    /// back.
    pub fn detach(self) -> Result<(), DetachError<Self>> {
        match self.threads.standing(self.mine) {
            Standing::NotLast => Err(DetachError::NotLast(self)),
            Standing::Gone => Err(DetachError::NotAttached(self)),
            Standing::Last => {
                drop(self);
                Ok(())
            }
        }
    }

    /// The same without the drop; see [`Threads::detach_raw`].
    pub fn into_raw(self) -> RawAttached {
        let token = ManuallyDrop::new(self);
        let Ticket { index, generation } = token.threads.held();
        let (before, mine) = (token.before, token.mine);
        let threads = token.threads.identity().addr();
        RawAttached { before, mine, index: index as u32, generation, threads }
    }

    /// Says that the thread runs code that is not the runtime's, until the guard is dropped:
    /// handlers and callbacks that attach meanwhile find that they did not interrupt the runtime.
    /// Async-signal-safe.
    pub fn external(&mut self) -> CalledOut<'_, R, H, N> {
        let slot = self.threads.slot();
        // ORDERING: Relaxed, here and below: the thread's own word; compiler fences keep the code
        // around it on its side, for handlers.
        let before = slot.word.load(Relaxed);
        let mine = before & !INSIDE;
        compiler_fence(AcqRel);
        slot.word.store(mine, Relaxed);
        CalledOut { threads: self.threads, before, mine, token: PhantomData }
    }
}

impl<R: Runtime, H: Host, const N: usize> Drop for Attached<R, H, N> {
    #[inline]
    fn drop(&mut self) {
        self.threads.leave(self.before, self.mine);
    }
}

impl<R: Runtime, H: Host, const N: usize> fmt::Debug for Attached<R, H, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached")
            .field("how", &self.how())
            .field("index", &self.index())
            .field("depth", &(self.mine / DEPTH))
            .finish_non_exhaustive()
    }
}

/// The calling thread is outside the runtime while this is alive; it is back when this is dropped,
/// by a panic too.
#[must_use = "the thread is inside again when this is dropped"]
pub struct CalledOut<'a, R: Runtime + 'static, H: Host + 'static, const N: usize> {
    threads: &'static Threads<R, H, N>,
    before: u32,
    mine: u32,
    token: PhantomData<(&'a mut (), *const ())>,
}

impl<R: Runtime, H: Host, const N: usize> Drop for CalledOut<'_, R, H, N> {
    fn drop(&mut self) {
        let slot = self.threads.slot();
        // ORDERING: Relaxed: as in `external`.
        let now = slot.word.load(Relaxed);
        // A token made outside and still alive counts; it is out of order.
        let back = match now == self.mine {
            true => self.before,
            false if is_gone(now, self.mine) => now,
            false => now | self.before & INSIDE,
        };
        slot.word.store(back, Relaxed);
        compiler_fence(AcqRel);
    }
}

impl<R: Runtime, H: Host, const N: usize> fmt::Debug for CalledOut<'_, R, H, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CalledOut").finish_non_exhaustive()
    }
}

//! Dispositions: what a process does with a signal.

use super::signals::{SigSet, Signal, ignored_by_default};
use core::fmt::{self, Debug, Formatter};
use std::rc::Rc;

/// What a process does with a signal.
#[derive(Clone, Default, PartialEq)]
pub enum Disposition {
    /// The default action: terminate, or nothing for CHLD, CONT, URG and WINCH.
    #[default]
    Default,
    /// Nothing; what is pending is discarded.
    Ignore,
    /// Run this handler on the thread that takes the signal.
    Handler(Handler),
}

/// What a handler is given beside the number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// What [`Kernel::queue`](super::Kernel::queue) was given; 0 for signals sent otherwise.
    pub value: usize,
    /// An address in the frame of the delivery, as that of a `ucontext_t`: what was interrupted is above
    /// it, the handler below.
    pub context: usize,
}

/// A handler with its flags; two are equal if one is a clone of the other.
#[derive(Clone)]
pub struct Handler {
    pub(super) run: Rc<dyn Fn(Signal, Info)>,
    pub(super) mask: SigSet,
    pub(super) nodefer: bool,
    pub(super) onstack: bool,
    pub(super) resethand: bool,
}

/// A disposition resolved: what is to be done.
pub(super) enum Action {
    Nothing,
    Terminate,
    Run(Handler),
}

impl Handler {
    /// A handler that masks its own signal while it runs, on the stack it finds.
    pub fn new(run: impl Fn(Signal) + 'static) -> Self {
        Self::with_info(move |signal, _| run(signal))
    }
    /// `SA_SIGINFO`: the same, told more.
    pub fn with_info(run: impl Fn(Signal, Info) + 'static) -> Self {
        let run = Rc::new(run);
        Self { run, mask: SigSet::EMPTY, nodefer: false, onstack: false, resethand: false }
    }
    /// A call by another handler, that goes on to the one that it found.
    pub fn call(&self, signal: Signal, info: Info) {
        (self.run)(signal, info);
    }
    /// `sa_mask`: masked while the handler runs.
    #[must_use]
    pub fn mask(self, mask: SigSet) -> Self {
        Self { mask, ..self }
    }
    /// `SA_NODEFER`: the handler may be interrupted by its own signal.
    #[must_use]
    pub fn nodefer(self) -> Self {
        Self { nodefer: true, ..self }
    }
    /// `SA_ONSTACK`: runs on the thread's alternate stack if it has one.
    #[must_use]
    pub fn onstack(self) -> Self {
        Self { onstack: true, ..self }
    }
    /// `SA_RESETHAND`: the disposition is the default again once the handler was chosen.
    #[must_use]
    pub fn resethand(self) -> Self {
        Self { resethand: true, ..self }
    }
}

impl PartialEq for Handler {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.run, &other.run)
    }
}

impl Debug for Handler {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("mask", &self.mask).finish_non_exhaustive()
    }
}

impl Debug for Disposition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Disposition {
    /// A plain handler; use [`Handler`] for flags.
    pub fn handler(run: impl Fn(Signal) + 'static) -> Self {
        Self::Handler(Handler::new(run))
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Default => "Default",
            Self::Ignore => "Ignore",
            Self::Handler(_) => "Handler",
        }
    }

    pub(super) fn action(&self, signal: Signal) -> Action {
        match self {
            Self::Handler(handler) => Action::Run(handler.clone()),
            Self::Default if !ignored_by_default(signal) => Action::Terminate,
            Self::Default | Self::Ignore => Action::Nothing,
        }
    }
}

impl From<Handler> for Disposition {
    fn from(handler: Handler) -> Self {
        Self::Handler(handler)
    }
}

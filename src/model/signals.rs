//! Signal numbers and sets of them, as on Linux x86-64.

/// A signal number, 1 to 63.
pub type Signal = i32;

/// The numbers that the simulated kernel knows by name.
pub mod sig {
    use super::Signal;
    /// Hang-up; terminates by default.
    pub const HUP: Signal = 1;
    /// Interrupt; terminates by default.
    pub const INT: Signal = 2;
    /// Cannot be caught, ignored or masked.
    pub const KILL: Signal = 9;
    /// First user signal; terminates by default.
    pub const USR1: Signal = 10;
    /// Second user signal; terminates by default.
    pub const USR2: Signal = 12;
    /// Terminate; terminates by default.
    pub const TERM: Signal = 15;
    /// Child changed; ignored by default.
    pub const CHLD: Signal = 17;
    /// Continue; ignored by default (no process is ever stopped here).
    pub const CONT: Signal = 18;
    /// Urgent data; ignored by default.
    pub const URG: Signal = 23;
    /// Window changed; ignored by default.
    pub const WINCH: Signal = 28;
}

/// The name of `signal`, for the lanes.
pub(super) fn name(signal: Signal) -> String {
    let known = match signal {
        sig::HUP => "SIGHUP",
        sig::INT => "SIGINT",
        sig::KILL => "SIGKILL",
        sig::USR1 => "SIGUSR1",
        sig::USR2 => "SIGUSR2",
        sig::TERM => "SIGTERM",
        sig::CHLD => "SIGCHLD",
        sig::CONT => "SIGCONT",
        sig::URG => "SIGURG",
        sig::WINCH => "SIGWINCH",
        other => return format!("signal {other}"),
    };
    known.to_owned()
}

/// Whether the default action of `signal` is to do nothing.
pub(super) fn ignored_by_default(signal: Signal) -> bool {
    matches!(signal, sig::CHLD | sig::CONT | sig::URG | sig::WINCH)
}

/// Whether signals of this number are queued, and none is merged with another.
pub(super) fn is_realtime(signal: Signal) -> bool {
    // From 32 they are the kernel's, though a libc keeps the first few for itself.
    signal >= 32 || crate::sys::classify(signal) == crate::sys::Class::RealTime
}

/// ILL, TRAP, BUS, FPE, SEGV, SYS.
const SYNCHRONOUS: [Signal; 6] = [4, 5, 7, 8, 11, 31];

/// The lowest of several that are pending is taken first, as Linux does (`next_signal` in kernel/signal.c): those
/// that a thread's own instruction may have caused, then the rest by number, standard ones before real-time ones.
/// Of one number it is the oldest.
pub(super) fn place_in_line(signal: Signal) -> (bool, bool, Signal) {
    (!SYNCHRONOUS.contains(&signal), is_realtime(signal), signal)
}

/// A set of signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigSet(u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// Every signal.
    pub const ALL: Self = Self(!0);

    /// The set of these signals.
    #[must_use]
    pub fn of(signals: &[Signal]) -> Self {
        signals.iter().fold(Self::EMPTY, |set, &signal| set.with(signal))
    }

    /// This set and `signal`.
    #[must_use]
    pub fn with(self, signal: Signal) -> Self {
        Self(self.0 | bit(signal))
    }

    /// This set but `signal`.
    #[must_use]
    pub fn without(self, signal: Signal) -> Self {
        Self(self.0 & !bit(signal))
    }

    /// Everything that is in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether `signal` is in the set.
    #[must_use]
    pub fn contains(self, signal: Signal) -> bool {
        self.0 & bit(signal) != 0
    }

    /// The set as a word, bit N for signal N.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The set whose bit N stands for signal N.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

#[track_caller]
fn bit(signal: Signal) -> u64 {
    assert!((1..64).contains(&signal), "no such signal: {signal}");
    1 << signal
}

//! The system's signals by name. man 7 signal; on Windows the console's events, by the C runtime's numbers.

use core::fmt::{self, Write as _};
use core::ops::RangeInclusive;
use core::str::FromStr;

use super::SIGNALS;

/// A signal of the system, by number or by name.
///
/// Whatever takes a signal in this crate takes one of these or its number.
///
/// ```
/// use portcullis::Signal;
///
/// let signal: Signal = "SIGINT".parse()?;
/// assert_eq!(signal, Signal::SIGINT);
/// assert_eq!(signal.to_string(), "SIGINT");
/// assert_eq!(Signal::try_from(2)?, signal);
/// assert_eq!(i32::from(signal), 2);
/// # #[cfg(target_os = "linux")] {
/// assert_eq!("rtmin+3".parse(), Ok(Signal::realtime(3).unwrap()));
/// assert_eq!(Signal::realtime(3).unwrap().to_string(), "SIGRTMIN+3");
/// # }
/// # Ok::<(), portcullis::UnknownSignal>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// The signal of this number, if the system has one.
    #[must_use]
    pub const fn new(raw: i32) -> Option<Self> {
        if raw >= 1 && (raw as usize) < SIGNALS { Some(Self(raw)) } else { None }
    }

    /// Number 1.
    #[allow(dead_code, reason = "for the subscriptions")]
    pub(crate) const FIRST: Self = Self(1);

    /// The number.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// SIGRTMIN and so much, as the C library counts: it keeps the first of the kernel's real-time signals for
    /// itself, and how many is its own affair. `None` past SIGRTMAX, and where there are no real-time signals.
    #[must_use]
    pub fn realtime(offset: u8) -> Option<Self> {
        let range = realtime_range();
        let number = range.start() + i32::from(offset);
        range.contains(&number).then_some(Self(number))
    }

    /// Which real-time signal it is, counted from SIGRTMIN; `None` if it is none, or the C library's own.
    #[must_use]
    pub fn realtime_offset(self) -> Option<u8> {
        let range = realtime_range();
        let offset = || u8::try_from(self.0 - range.start()).ok();
        range.contains(&self.0).then(offset).flatten()
    }

    /// The name, such as `SIGINT`; `None` for real-time signals, and for those that have none.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(number, _)| *number == self.0).map(|(_, name)| *name)
    }
}

/// From SIGRTMIN to SIGRTMAX, as the C library has them; empty where there are none.
fn realtime_range() -> RangeInclusive<i32> {
    cfg_if::cfg_if! {
        if #[cfg(any(target_os = "linux", target_os = "android"))] {
            libc::SIGRTMIN()..=libc::SIGRTMAX()
        } else if #[cfg(target_os = "freebsd")] {
            // sys/signal.h.
            65..=126
        } else if #[cfg(target_os = "netbsd")] {
            // sys/signal.h.
            33..=63
        } else if #[cfg(any(target_os = "solaris", target_os = "illumos"))] {
            // sys/iso/signal_iso.h.
            42..=73
        } else {
            RangeInclusive::new(1, 0)
        }
    }
}

macro_rules! names {
    ($($name:ident = $number:expr, $meaning:literal;)*) => {
        impl Signal {
            $(#[doc = $meaning] pub const $name: Self = Self($number);)*
        }
        const NAMES: &[(i32, &str)] = &[$(($number, stringify!($name))),*];
    };
}

/// The same, where the numbers are the C library's.
#[cfg(unix)]
macro_rules! of_libc {
    ($($name:ident $meaning:literal)*) => {
        names! { $($name = libc::$name, $meaning;)* }
    };
}

/// Those that every Unix has, and these.
#[cfg(unix)]
macro_rules! common {
    ($($more:tt)*) => {
        of_libc! {
            SIGHUP "The terminal is gone; for daemons: read the configuration again."
            SIGINT "The keyboard interrupts (Ctrl-C)."
            SIGQUIT "The keyboard quits (Ctrl-\\), by default with a core dump."
            SIGILL "An instruction is none."
            SIGTRAP "A breakpoint, or a step of a debugger."
            SIGABRT "abort(3)."
            SIGBUS "Memory that is not there, or badly aligned."
            SIGFPE "An arithmetic error."
            SIGKILL "Ends the process; nobody can catch it."
            SIGUSR1 "The program's own."
            SIGSEGV "Memory that is not the process's."
            SIGUSR2 "The program's own."
            SIGPIPE "Nobody reads the pipe or socket that was written to."
            SIGALRM "alarm(2)."
            SIGTERM "Asks the process to end."
            SIGCHLD "A child has ended or stopped."
            SIGCONT "Goes on if it was stopped."
            SIGSTOP "Stops the process; nobody can catch it."
            SIGTSTP "The keyboard stops (Ctrl-Z)."
            SIGTTIN "The terminal was read in the background."
            SIGTTOU "The terminal was written in the background."
            SIGURG "A socket has urgent data."
            SIGXCPU "Too much time of the processor was used (man 2 setrlimit)."
            SIGXFSZ "A file became too large (man 2 setrlimit)."
            SIGVTALRM "A timer of the process's own time."
            SIGPROF "A profiler's timer."
            SIGWINCH "The terminal has another size."
            SIGSYS "A system call that there is not, or that a sandbox forbids."
            $($more)*
        }
    };
}

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        common! { SIGIO "Input or output is possible." SIGPWR "Power fails, or is back." }
    } else if #[cfg(any(
        target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly", target_os = "netbsd",
        target_os = "openbsd"
    ))] {
        common! {
            SIGIO "Input or output is possible."
            SIGINFO "The keyboard asks how it goes (Ctrl-T)."
            SIGEMT "An instruction was to be emulated."
        }
    } else if #[cfg(unix)] {
        common! {}
    } else if #[cfg(windows)] {
        names! {
            SIGINT = 2, "The keyboard interrupts (Ctrl-C).";
            SIGTERM = 15, "The console is closed, the user logs off, or the system shuts down.";
            SIGBREAK = 21, "The keyboard interrupts (Ctrl-Break).";
        }
    } else {
        const NAMES: &[(i32, &str)] = &[];
    }
}

/// Other names of the same.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ALIASES: &[(&str, Signal)] =
    &[("SIGIOT", Signal::SIGABRT), ("SIGCLD", Signal::SIGCHLD), ("SIGPOLL", Signal::SIGIO)];
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const ALIASES: &[(&str, Signal)] = &[];

/// No signal of the system: why [`Signal`] was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownSignal {
    /// The system has none of this number.
    Number(i32),
    /// None has that name.
    Name,
}

impl fmt::Display for UnknownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => {
                write!(f, "the system has no signal {number}: use 1 to {}", SIGNALS - 1)
            }
            Self::Name => {
                f.write_str("no signal has that name: use one such as SIGINT, INT, SIGRTMIN+1 or 2")
            }
        }
    }
}

impl core::error::Error for UnknownSignal {}

#[cfg(feature = "std")]
impl From<UnknownSignal> for std::io::Error {
    fn from(error: UnknownSignal) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}

impl From<Signal> for i32 {
    fn from(signal: Signal) -> Self {
        signal.0
    }
}

impl TryFrom<i32> for Signal {
    type Error = UnknownSignal;
    fn try_from(raw: i32) -> Result<Self, UnknownSignal> {
        Self::new(raw).ok_or(UnknownSignal::Number(raw))
    }
}

impl PartialEq<i32> for Signal {
    fn eq(&self, raw: &i32) -> bool {
        self.0 == *raw
    }
}

/// `SIGINT`, `INT`, `SIGRTMIN+3`, `RTMAX-1`, `2`: as kill(1) takes them, in any case.
impl FromStr for Signal {
    type Err = UnknownSignal;
    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        if let Ok(number) = text.parse::<i32>() {
            return Self::try_from(number);
        }
        let cut = |text: &str, prefix: &str| {
            let begins = text.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix));
            begins.then_some(prefix.len())
        };
        let name = &text[cut(text, "SIG").unwrap_or(0)..];
        let known = NAMES.iter().map(|(number, name)| (*name, Self(*number)));
        let mut known = known.chain(ALIASES.iter().copied());
        if let Some((_, signal)) = known.find(|(known, _)| known[3..].eq_ignore_ascii_case(name)) {
            return Ok(signal);
        }
        let range = realtime_range();
        let from = |prefix, end: i32, sign: char| {
            let rest = &name[cut(name, prefix)?..];
            let offset = match rest.strip_prefix(sign) {
                // No second sign.
                Some(digits) => digits.parse::<u8>().ok().filter(|_| !digits.starts_with('+'))?,
                None => rest.is_empty().then_some(0)?,
            };
            let offset = if sign == '-' { -i32::from(offset) } else { i32::from(offset) };
            Some(end + offset).filter(|number| range.contains(number)).map(Self)
        };
        let realtime =
            from("RTMIN", *range.start(), '+').or_else(|| from("RTMAX", *range.end(), '-'));
        realtime.ok_or(UnknownSignal::Name)
    }
}

/// What [`FromStr`] takes: a name, `SIGRTMIN` and so many, or a number.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Short::default();
        match (self.name(), self.realtime_offset()) {
            (Some(name), _) => return f.pad(name),
            (None, Some(0)) => text.write_str("SIGRTMIN")?,
            (None, Some(offset)) => write!(text, "SIGRTMIN+{offset}")?,
            (None, None) => write!(text, "{}", self.0)?,
        }
        f.pad(core::str::from_utf8(&text.bytes[..text.len]).unwrap_or_default())
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Room for a name that is put together, so that it can be padded.
#[derive(Default)]
struct Short {
    bytes: [u8; 16],
    len: usize,
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

//! Which threads the process has, without allocation. man 5 proc, man 2 getdents64.

use core::ffi::CStr;

use super::{Errno, errno};

/// /proc/self/task, open. Names no process but the one that opened it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tasks(i32);

/// How often a list that was cut short is asked for again.
const TRIES: u32 = 10_000;

/// linux/dirent.h, linux_dirent64: d_ino, d_reclen, d_name.
const NODE_AT: usize = 0;
const LENGTH_AT: usize = 16;
const NAME_AT: usize = 19;

fn check(result: i64) -> Result<i64, Errno> {
    if result < 0 { Err(Errno(errno::get())) } else { Ok(result) }
}

impl Tasks {
    /// Async-signal-safe, as all here.
    pub(crate) fn open() -> Result<Self, Errno> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: the path is a C string.
        let opened = unsafe { libc::open(c"/proc/self/task".as_ptr(), flags) };
        check(opened.into()).map(|_| Self(opened))
    }

    pub(crate) fn descriptor(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn of_descriptor(descriptor: u32) -> Self {
        Self(descriptor as i32)
    }

    pub(crate) fn close(self) {
        // SAFETY: no memory is passed. That the number is still the one of `open` is on the caller, who
        // keeps it by turns: `all_threads::process` `done`.
        unsafe { libc::close(self.0) };
    }

    /// The number of each thread: every one that was there when this was called and has not ended
    /// since, and perhaps others; some more than once. And the number of its node in /proc, which is another for
    /// another thread, and seldom for the same.
    pub(crate) fn each(
        self,
        mut tell: impl FnMut(usize, u32) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        for _ in 0..TRIES {
            let there = self.count()?;
            if self.list(&mut tell)? >= there {
                return Ok(());
            }
        }
        Err(Errno(libc::EAGAIN))
    }

    /// How many threads there are: the directory's links, less its own two.
    fn count(self) -> Result<u64, Errno> {
        // SAFETY: all zeros is storage for a stat.
        let mut stat: libc::stat = unsafe { core::mem::zeroed() };
        // SAFETY: the pointer is to a local.
        check(unsafe { libc::fstat(self.0, &raw mut stat) }.into())?;
        #[allow(clippy::unnecessary_cast, reason = "its type differs between systems")]
        let links = stat.st_nlink as u64;
        Ok(links.saturating_sub(2))
    }

    /// Tells of the threads in the order in which they were created, and says of how many. The kernel
    /// stops where the thread that it stands at has just ended: then fewer are told than there were.
    fn list(self, tell: &mut impl FnMut(usize, u32) -> Result<(), Errno>) -> Result<u64, Errno> {
        let mut told = 0;
        // SAFETY: no memory is passed.
        check(unsafe { libc::lseek(self.0, 0, libc::SEEK_SET) } as i64)?;
        let mut entries = [0_u8; 4096];
        loop {
            // SAFETY: the buffer is a local of this length.
            let read = check(unsafe {
                libc::syscall(libc::SYS_getdents64, self.0, entries.as_mut_ptr(), entries.len())
            } as i64)?;
            if read == 0 {
                return Ok(told);
            }
            let mut left = entries.get(..read as usize).unwrap_or_default();
            while let Some((entry, rest)) = split(left) {
                if let Some(thread) = number(entry.get(NAME_AT..).unwrap_or_default()) {
                    tell(thread, node(entry))?;
                    told += 1;
                }
                left = rest;
            }
        }
    }

    /// What there is of the thread of this number; one of which the system tells nothing lives.
    pub(crate) fn life(thread: usize) -> Life {
        Self::life_and_birth(thread).0
    }

    /// The same, and when it was created, in ticks of the system's clock; 0 if that is not told.
    pub(crate) fn life_and_birth(thread: usize) -> (Life, u32) {
        errno::kept(|| {
            if is_gone(thread) {
                return (Life::Ended, 0);
            }
            let mut stat = [0_u8; 512];
            let life = read_of(thread, b"/stat", &mut stat).ok().and_then(life_in);
            // Of another namespace's threads nothing is meant.
            life.filter(|_| is_our_proc()).unwrap_or((Life::Lives, 0))
        })
    }

    /// Its signals and whether it runs, if the system tells.
    pub(crate) fn signals(thread: usize) -> Option<Signals> {
        errno::kept(|| {
            let mut status = [0_u8; 4096];
            let told = read_of(thread, b"/status", &mut status).ok().and_then(signals_in);
            told.filter(|_| is_our_proc())
        })
    }
}

/// Whether the kernel knows no thread of this number, whatever /proc says or does not.
fn is_gone(thread: usize) -> bool {
    // SAFETY: no memory is passed, and no signal is sent.
    let found =
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread as libc::pid_t, 0) };
    found != 0 && errno::get() == libc::ESRCH
}

/// Whether /proc calls this process what it calls itself: it may be of another namespace.
fn is_our_proc() -> bool {
    let mut name = [0_u8; 16];
    // SAFETY: a C string, and a local of this length.
    let length =
        unsafe { libc::readlink(c"/proc/self".as_ptr(), name.as_mut_ptr().cast(), name.len()) };
    let told = usize::try_from(length).ok().and_then(|length| name.get(..length));
    // SAFETY: no preconditions.
    told.and_then(decimal) == usize::try_from(unsafe { libc::getpid() }).ok()
}

/// What there is of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Lives,
    /// It is no more; or there for somebody to wait for: the first thread while others go on, one that
    /// is traced.
    Ended,
    /// A worker of the kernel's (io_uring, vhost): it runs none of the process's code.
    Kernels,
}

/// man 5 proc, /proc/pid/stat: the state is the first field after the name, the flags the seventh, the time
/// when it was created the twentieth.
fn life_in(stat: &[u8]) -> Option<(Life, u32)> {
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat.get(name_ends + 2..)?.split(|byte| *byte == b' ');
    let state = fields.next()?;
    let flags = decimal(fields.nth(5)?)?;
    let born = decimal(fields.nth(12)?)? as u32;
    let life = match state {
        b"Z" | b"X" | b"x" => Life::Ended,
        _ if flags & workers() != 0 => Life::Kernels,
        _ => Life::Lives,
    };
    Some((life, born))
}

/// linux/sched.h: PF_IO_WORKER, since 5.12 among a process's threads, and PF_USER_WORKER, since 6.4.
/// These bits meant something else before.
const WORKERS: [(usize, (usize, usize)); 2] = [(0x10, (5, 12)), (0x4000, (6, 4))];

fn workers() -> usize {
    // SAFETY: all zeros is storage for one.
    let mut system: libc::utsname = unsafe { core::mem::zeroed() };
    // SAFETY: a local.
    unsafe { libc::uname(&raw mut system) };
    let release = system.release.map(|byte| byte as u8);
    let mut numbers = release.split(|byte| !byte.is_ascii_digit()).filter_map(decimal);
    let now = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    WORKERS.iter().filter(|(_, since)| now >= *since).fold(0, |all, (flag, _)| all | flag)
}

/// A thread's signals, and what it is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signals {
    pending: u64,
    masked: u64,
    /// It waits for something, and can be interrupted.
    pub(crate) asleep: bool,
    /// By a debugger, or with the whole process.
    pub(crate) stopped: bool,
}

impl Signals {
    pub(crate) fn is_pending(&self, signal: i32) -> bool {
        has(self.pending, signal)
    }

    pub(crate) fn is_masked(&self, signal: i32) -> bool {
        has(self.masked, signal)
    }
}

fn has(set: u64, signal: i32) -> bool {
    u32::try_from(signal - 1)
        .ok()
        .and_then(|at| set.checked_shr(at))
        .is_some_and(|set| set & 1 != 0)
}

/// man 5 proc, /proc/pid/status.
fn signals_in(status: &[u8]) -> Option<Signals> {
    let field = |name: &[u8]| {
        let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_ascii())
    };
    // The longest of them, on mips, has 128 bits, the highest first.
    let set = |name| {
        let digits = field(name)?;
        let low = digits.get(digits.len().saturating_sub(16)..)?;
        u64::from_str_radix(core::str::from_utf8(low).ok()?, 16).ok()
    };
    let state = *field(b"State:")?.first()?;
    Some(Signals {
        pending: set(b"SigPnd:")?,
        masked: set(b"SigBlk:")?,
        asleep: state == b'S',
        stopped: matches!(state, b't' | b'T'),
    })
}

/// Reads /proc/self/task/THREAD and this.
fn read_of<'a>(thread: usize, file: &[u8], into: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    const BEFORE: &[u8] = b"/proc/self/task/";
    let mut path = [0_u8; 64];
    let digits = (thread.max(1).ilog10() + 1) as usize;
    let (number, end) = (BEFORE.len(), BEFORE.len() + digits + file.len());
    // One zero stays behind them.
    let parts = path.get_mut(..end).filter(|_| end < 64).ok_or(Errno(libc::EINVAL))?;
    let (before, rest) = parts.split_at_mut(number);
    let (number, name) = rest.split_at_mut(digits);
    before.copy_from_slice(BEFORE);
    name.copy_from_slice(file);
    let mut left = thread;
    for place in number.iter_mut().rev() {
        *place = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: the path ends with a zero, as said above.
    let file = check(unsafe { libc::open(path.as_ptr().cast(), flags) }.into())? as i32;
    // SAFETY: the buffer is borrowed, and of this length.
    let read = check(unsafe { libc::read(file, into.as_mut_ptr().cast(), into.len()) } as i64);
    // SAFETY: opened above, used no more.
    unsafe { libc::close(file) };
    Ok(into.get(..read? as usize).unwrap_or_default())
}

/// The first entry and the others.
fn split(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = entries.get(LENGTH_AT..LENGTH_AT + 2)?;
    entries.split_at_checked(u16::from_ne_bytes(length.try_into().ok()?).into())
}

/// 32 bits are what /proc counts in.
fn node(entry: &[u8]) -> u32 {
    let node = entry.get(NODE_AT..NODE_AT + 8).and_then(|bytes| bytes.try_into().ok());
    node.map_or(0, |bytes| u64::from_ne_bytes(bytes) as u32)
}

/// A name that is a number; `.` and `..` are not.
fn number(name: &[u8]) -> Option<usize> {
    decimal(CStr::from_bytes_until_nul(name).ok()?.to_bytes())
}

fn decimal(digits: &[u8]) -> Option<usize> {
    let digit = |sum: usize, digit: &u8| {
        let value = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(value)
    };
    digits.iter().try_fold(0, digit).filter(|_| !digits.is_empty())
}

/// man 2 syscall. Async-signal-safe; keeps errno.
///
/// # Safety
///
/// As the system call wants it.
pub(crate) unsafe fn raw_syscall(
    number: libc::c_long,
    [a, b, c, d, e, f]: [usize; 6],
) -> Result<i32, Errno> {
    errno::kept(|| {
        // SAFETY: as the caller promises.
        let done = unsafe { libc::syscall(number, a, b, c, d, e, f) };
        check(done as i64).map(|value| value as i32)
    })
}

/// Fresh memory, all zeros.
pub(crate) fn map_zeroed(size: usize) -> Result<*mut u8, Errno> {
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, of nobody's memory.
    let mapped = unsafe { libc::mmap(core::ptr::null_mut(), size, access, kind, -1, 0) };
    if mapped == libc::MAP_FAILED { Err(Errno(errno::get())) } else { Ok(mapped.cast()) }
}

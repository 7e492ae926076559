//! Which threads the process has, without allocation. man 5 proc, man 2 getdents64.

use core::ffi::CStr;

use super::{Errno, errno};

/// /proc/self/task, open. Names no process but the one that opened it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tasks(i32);

/// How often a list that was cut short is asked for again.
const TRIES: u32 = 10_000;

/// linux/dirent.h, linux_dirent64: d_reclen, d_name.
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
        // SAFETY: no memory is passed. That the number is still the one of `open` is on the caller: it is
        // a copy, as handlers of other threads read it.
        unsafe { libc::close(self.0) };
    }

    /// The number of each thread: every one that was there when this was called and has not ended
    /// since, and perhaps others; some more than once.
    pub(crate) fn each(
        self,
        mut tell: impl FnMut(usize) -> Result<(), Errno>,
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
    fn list(self, tell: &mut impl FnMut(usize) -> Result<(), Errno>) -> Result<u64, Errno> {
        let mut told = 0;
        // SAFETY: no memory is passed.
        check(unsafe { libc::lseek(self.0, 0, libc::SEEK_SET) } as i64)?;
        let mut entries = [0_u8; 4096];
        loop {
            // SAFETY: the buffer is a local of this length.
            let read = check(unsafe {
                libc::syscall(
                    libc::SYS_getdents64,
                    self.0,
                    entries.as_mut_ptr(),
                    entries.len(),
                )
            } as i64)?;
            if read == 0 {
                return Ok(told);
            }
            let mut left = entries.get(..read as usize).unwrap_or_default();
            while let Some((entry, rest)) = split(left) {
                if let Some(thread) = number(entry.get(NAME_AT..).unwrap_or_default()) {
                    tell(thread)?;
                    told += 1;
                }
                left = rest;
            }
        }
    }

    /// Whether the thread of this number can ever handle a signal; what the system does not tell counts as
    /// yes.
    pub(crate) fn life(thread: usize) -> Life {
        let mut stat = [0_u8; 512];
        match errno::kept(|| read_stat(thread, &mut stat)) {
            Ok(read) => stat.get(..read).and_then(life_in).unwrap_or(Life::Lives),
            Err(Errno(libc::ENOENT | libc::ESRCH)) => Life::Ended,
            Err(_) => Life::Lives,
        }
    }
}

/// What there is of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Lives,
    /// It is there for somebody to wait for: the first thread while others go on, one that is traced.
    Ended,
    /// A worker of the kernel's (io_uring): it runs none of the process's code.
    Kernels,
}

/// linux/sched.h: PF_IO_WORKER, PF_USER_WORKER.
const WORKER: u64 = 0x10 | 0x4000;

/// man 5 proc, /proc/pid/stat: the state is the first field after the name, the flags the seventh.
fn life_in(stat: &[u8]) -> Option<Life> {
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat.get(name_ends + 2..)?.split(|byte| *byte == b' ');
    let state = fields.next()?;
    let flags = fields.nth(5)?;
    let digit = |sum: u64, digit: &u8| sum.wrapping_mul(10) + u64::from(digit.wrapping_sub(b'0'));
    Some(match state {
        b"Z" | b"X" | b"x" => Life::Ended,
        _ if flags.iter().fold(0, digit) & WORKER != 0 => Life::Kernels,
        _ => Life::Lives,
    })
}

/// /proc/self/task/THREAD/stat.
fn read_stat(thread: usize, stat: &mut [u8]) -> Result<usize, Errno> {
    let mut path = *b"/proc/self/task/\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let digits = (thread.max(1).ilog10() + 1) as usize;
    let mut rest = thread;
    let at = path.len() - 28;
    for place in path.get_mut(at..at + digits).unwrap_or_default().iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    path.get_mut(at + digits..at + digits + 5).ok_or(Errno(libc::EINVAL))?.copy_from_slice(b"/stat");
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: the path ends with a zero, for it is longer than the longest number and the name after it.
    let file = check(unsafe { libc::open(path.as_ptr().cast(), flags) }.into())? as i32;
    // SAFETY: the buffer is borrowed, and of this length.
    let read = check(unsafe { libc::read(file, stat.as_mut_ptr().cast(), stat.len()) } as i64);
    // SAFETY: opened above, used no more.
    unsafe { libc::close(file) };
    read.map(|read| read as usize)
}

/// The first entry and the others.
fn split(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = entries.get(LENGTH_AT..LENGTH_AT + 2)?;
    entries.split_at_checked(u16::from_ne_bytes(length.try_into().ok()?).into())
}

/// A name that is a number; `.` and `..` are not.
fn number(name: &[u8]) -> Option<usize> {
    let name = CStr::from_bytes_until_nul(name).ok()?.to_bytes();
    let digit = |sum: usize, digit: &u8| {
        digit.is_ascii_digit().then(|| sum * 10 + usize::from(digit - b'0'))
    };
    name.iter().try_fold(0, digit)
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

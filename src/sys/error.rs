//! The system's error numbers, with their names and meanings. man 3 errno.

use core::fmt;

/// An error number of the system: `errno` on Unix, the last-error code on Windows.
///
/// ```
/// use portcullis::Errno;
///
/// let error = Errno::new(1);
/// assert_eq!(error.raw(), 1);
/// # #[cfg(unix)]
/// assert_eq!(error.to_string(), "EPERM (1): operation not permitted");
/// # #[cfg(feature = "std")]
/// assert_eq!(std::io::Error::from(error).raw_os_error(), Some(1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// The error of this number.
    pub const fn new(raw: i32) -> Self {
        Self(raw)
    }

    /// The number.
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(unix)]
        if let Some((_, name, meaning)) = KNOWN.iter().find(|(raw, ..)| *raw == self.0) {
            return write!(f, "{name} ({}): {meaning}", self.0);
        }
        write!(f, "{} {}", if cfg!(windows) { "system error" } else { "errno" }, self.0)
    }
}

impl core::error::Error for Errno {}

#[cfg(feature = "std")]
impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

#[cfg(unix)]
macro_rules! known {
    ($($name:ident $meaning:literal)*) => {
        &[$((libc::$name, stringify!($name), $meaning)),*]
    };
}

/// Those that the calls of this crate, and operations on threads, answer with.
#[cfg(unix)]
const KNOWN: &[(i32, &str, &str)] = known! {
    EPERM "operation not permitted"
    ENOENT "no such file or directory"
    ESRCH "no such process or thread"
    EINTR "interrupted by a signal"
    EIO "input or output error"
    ENXIO "no such device or address"
    E2BIG "argument list too long"
    EBADF "bad file descriptor"
    ECHILD "no child processes"
    EAGAIN "resource temporarily unavailable"
    ENOMEM "out of memory"
    EACCES "permission denied"
    EFAULT "bad address"
    EBUSY "device or resource busy"
    EEXIST "already exists"
    ENODEV "no such device"
    ENOTDIR "not a directory"
    EISDIR "is a directory"
    EINVAL "invalid argument"
    ENFILE "too many open files in the system"
    EMFILE "too many open files in the process"
    ENOTTY "not a terminal"
    EFBIG "file too large"
    ENOSPC "no space left on the device"
    ESPIPE "cannot seek"
    EROFS "read-only file system"
    EMLINK "too many links"
    EPIPE "nobody reads the pipe"
    EDOM "argument out of domain"
    ERANGE "result out of range"
    EDEADLK "a deadlock would follow"
    ENAMETOOLONG "name too long"
    ENOSYS "the system does not offer the call"
    ELOOP "too many symbolic links"
    EOVERFLOW "value too large"
    EOPNOTSUPP "operation not supported"
    ETIMEDOUT "timed out"
    ECANCELED "cancelled"
};

//! A descriptor that others poll: rung, it can be read. man 2 eventfd, pipe, dup, poll.
//!
//! On Linux an eventfd, elsewhere a pipe. Closed by exec, never blocking.

use core::ffi::c_int;

use super::{Errno, errno};
use crate::sync::{AtomicBool, Ordering::Relaxed};

/// See the contract in [`super`].
#[derive(Debug)]
pub(crate) struct Bell {
    ends: Ends,
    /// In this process it is not ours: the child of a fork could not be given its own.
    lost: AtomicBool,
}

/// What is read, and what is written: on Linux the same.
#[derive(Debug, Clone, Copy)]
struct Ends {
    read: c_int,
    write: c_int,
}

fn check(result: c_int) -> Result<c_int, Errno> {
    if result == -1 { Err(Errno(errno::get())) } else { Ok(result) }
}

fn close(descriptor: c_int) {
    // SAFETY: one that is ours.
    unsafe { libc::close(descriptor) };
}

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        impl Ends {
            /// Async-signal-safe.
            fn open() -> Result<Self, Errno> {
                // SAFETY: no preconditions.
                let both = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
                Ok(Self { read: both, write: both })
            }

            /// Has these numbers name what those do, which are closed. Async-signal-safe.
            fn take(self, new: Self) -> Result<(), Errno> {
                // SAFETY: numbers that are ours.
                let done = check(unsafe { libc::dup3(new.read, self.read, libc::O_CLOEXEC) });
                new.close();
                done.map(drop)
            }

            fn close(self) {
                close(self.read);
            }
        }
    } else {
        impl Ends {
            /// Async-signal-safe.
            fn open() -> Result<Self, Errno> {
                let mut ends = [0; 2];
                // SAFETY: room for both.
                check(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
                let ends = Self { read: ends[0], write: ends[1] };
                match ends.set() {
                    Ok(()) => Ok(ends),
                    Err(errno) => {
                        ends.close();
                        Err(errno)
                    }
                }
            }

            fn set(self) -> Result<(), Errno> {
                for end in [self.read, self.write] {
                    // SAFETY: descriptors that are ours.
                    unsafe {
                        check(libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC))?;
                        check(libc::fcntl(end, libc::F_SETFL, libc::O_NONBLOCK))?;
                    }
                }
                Ok(())
            }

            /// Has these numbers name what those do, which are closed. Async-signal-safe.
            fn take(self, new: Self) -> Result<(), Errno> {
                // SAFETY: numbers that are ours.
                let first = check(unsafe { libc::dup2(new.read, self.read) });
                // SAFETY: as above.
                let done = first.and_then(|_| check(unsafe { libc::dup2(new.write, self.write) }));
                new.close();
                done.and_then(|_| self.set())
            }

            fn close(self) {
                close(self.read);
                close(self.write);
            }
        }
    }
}

impl Bell {
    /// One that is silent.
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self { ends: Ends::open()?, lost: AtomicBool::new(false) })
    }

    /// What is polled for being readable.
    pub(crate) fn descriptor(&self) -> c_int {
        self.ends.read
    }

    fn is_lost(&self) -> bool {
        // ORDERING: Relaxed: written in the child of a fork, before any other thread is there.
        self.lost.load(Relaxed)
    }

    /// Can be read from now on. Async-signal-safe; preserves errno.
    pub(crate) fn ring(&self) {
        // A pipe takes one byte, an eventfd eight; full, it can be read already.
        let one = 1_u64;
        let len = if self.ends.read == self.ends.write { 8 } else { 1 };
        if !self.is_lost() {
            // SAFETY: that many bytes of a local.
            errno::kept(|| unsafe { libc::write(self.ends.write, (&raw const one).cast(), len) });
        }
    }

    /// Cannot be read until it is rung again. Preserves errno.
    pub(crate) fn clear(&self) {
        let mut bytes = [0_u8; 64];
        let mut read = || {
            // SAFETY: room for as many bytes.
            unsafe { libc::read(self.ends.read, bytes.as_mut_ptr().cast(), bytes.len()) }
        };
        // An eventfd is empty after one; a pipe that gave less than there is room for is, too.
        errno::kept(|| while !self.is_lost() && read() == 64 {});
    }

    /// In the child of a fork: what these numbers name is the child's own from now on, and silent.
    /// Async-signal-safe.
    pub(crate) fn renew(&self) {
        let renewed = errno::kept(|| Ends::open().and_then(|new| self.ends.take(new)));
        // ORDERING: Relaxed: no other thread is there.
        self.lost.store(renewed.is_err(), Relaxed);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ends.close();
    }
}

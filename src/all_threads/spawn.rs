//! Threads of the standard library's that are created by registered ones.

use core::fmt;
use std::io;
use std::thread::{Builder, JoinHandle};

use super::host::Reach;
use super::{JoinError, Member, Seat};

/// Why no thread was created.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// The seat could not be had.
    Join(JoinError),
    /// The system did not create the thread; the seat is free again.
    Thread(io::Error),
}

impl<R: Reach> Member<R> {
    /// Creates a thread that is registered with this seat from its first step to its last, and does this
    /// with it. What the calling thread has run of the operations the new one has inherited; what comes after
    /// it runs itself.
    ///
    /// The thread returns a [`JoinError`], and `body` is not run, if the system refuses to tell of its end.
    ///
    /// # Errors
    ///
    /// See [`SpawnError`].
    pub fn spawn<T: Send + 'static>(
        &self,
        seat: &'static Seat<R>,
        body: impl FnOnce(&Member<R>) -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T, JoinError>>, SpawnError> {
        self.spawn_by(Builder::new(), seat, body)
    }

    /// The same by this builder: with a name, or a stack of another size.
    ///
    /// # Errors
    ///
    /// See [`SpawnError`].
    pub fn spawn_by<T: Send + 'static>(
        &self,
        builder: Builder,
        seat: &'static Seat<R>,
        body: impl FnOnce(&Member<R>) -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T, JoinError>>, SpawnError> {
        // SAFETY: the birth goes into the new thread's closure, which begins it first of all; without a
        // thread that is dropped, and the birth with it.
        let spawned = unsafe {
            self.create(seat, |birth| builder.spawn(move || birth.begin().map(|own| body(&own))))
        };
        spawned.map_err(SpawnError::Join)?.map_err(SpawnError::Thread)
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(error) => write!(f, "no seat for the new thread: {error}"),
            Self::Thread(error) => write!(f, "the system created no thread: {error}"),
        }
    }
}

impl core::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Join(error) => Some(error),
            Self::Thread(error) => Some(error),
        }
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Join(error) => error.into(),
            SpawnError::Thread(error) => error,
        }
    }
}

//! Why no record was had, or taken back.

use core::fmt;

use super::Ticket;

/// Why no record was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TakeError {
    /// All are in use, or kept for handlers; or so many threads wait that they cannot be counted.
    Empty,
    /// None was created yet, or for ordinary code none but the reserve.
    NoRecords,
    /// All that there can be are kept for handlers: ordinary code can have none.
    AllReserved,
    /// The deadline passed.
    TimedOut,
    /// [`ExtraList::close`](super::ExtraList::close) was called.
    Closed,
}

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "every record is in use: wait, or have more created",
            Self::NoRecords => "there are no records to be had: create some first",
            Self::AllReserved => {
                "every record that there can be is kept for handlers: reserve fewer, or allow more"
            }
            Self::TimedOut => "no record was given back in time",
            Self::Closed => "the list was closed",
        })
    }
}

impl core::error::Error for TakeError {}

/// A ticket given back that is not in use. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotInUse(pub Ticket);

impl fmt::Display for NotInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ticket { index, generation } = self.0;
        write!(
            f,
            "record {index} is not in use by ticket {generation}: it was given back already, or \
             never taken"
        )
    }
}

impl core::error::Error for NotInUse {}

#[cfg(feature = "std")]
impl From<TakeError> for std::io::Error {
    fn from(error: TakeError) -> Self {
        use std::io::ErrorKind;
        let kind = match error {
            TakeError::Empty => ErrorKind::WouldBlock,
            TakeError::TimedOut => ErrorKind::TimedOut,
            TakeError::Closed => ErrorKind::BrokenPipe,
            TakeError::NoRecords | TakeError::AllReserved => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(feature = "std")]
impl From<NotInUse> for std::io::Error {
    fn from(error: NotInUse) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}

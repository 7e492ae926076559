//! The word of the list: its fields, and what each event makes of them.

use super::Raw;

/// Width of a field: four of them and two flags fit the word. 15, or 7 where it has 32 bits.
const BITS: u32 = Raw::BITS / 4 - 1;
/// The largest number that a field holds.
pub(super) const MAX: u16 = (1 << BITS) - 1;

const SPARE: Raw = 1;
const TOTAL: Raw = 1 << BITS;
const WAITING: Raw = 1 << (2 * BITS);
const GRANTED: Raw = 1 << (3 * BITS);
const CREATING: Raw = 1 << (4 * BITS);
const CLOSED: Raw = 1 << (4 * BITS + 1);

/// How many records there are and where, all of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecordCounts {
    /// All that were created: the sum of `spare` and `in_use`.
    pub total: usize,
    /// Nobody holds these, the reserve among them.
    pub spare: usize,
    /// Held, or promised to a thread that was woken for it.
    pub in_use: usize,
    /// Threads that wait for a record.
    pub waiting: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) Raw);

impl Word {
    const fn field(self, unit: Raw) -> u16 {
        (self.0 / unit) as u16 & MAX
    }
    pub(crate) const fn spare(self) -> u16 {
        self.field(SPARE)
    }
    pub(crate) const fn total(self) -> u16 {
        self.field(TOTAL)
    }
    pub(crate) const fn waiting(self) -> u16 {
        self.field(WAITING)
    }
    pub(crate) const fn granted(self) -> u16 {
        self.field(GRANTED)
    }
    pub(crate) const fn creating(self) -> bool {
        self.0 & CREATING != 0
    }
    pub(crate) const fn closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    pub(crate) const fn take_spare(self) -> Self {
        Self(self.0 - SPARE)
    }
    pub(crate) const fn begin_wait(self) -> Self {
        Self(self.0 + WAITING)
    }
    pub(crate) const fn end_wait(self) -> Self {
        Self(self.0 - WAITING)
    }
    pub(crate) const fn take_grant(self) -> Self {
        Self(self.0 - GRANTED)
    }
    pub(crate) const fn close(self) -> Self {
        Self(self.0 | CLOSED)
    }

    /// Whether no record can ever be given to a thread that waits, unless somebody begins to make more.
    pub(crate) const fn hopeless(self, reserve: u16) -> bool {
        self.total() <= reserve && !self.creating()
    }

    /// Whether a record that is put back goes to a thread that waits.
    pub(crate) const fn grants(self, reserve: u16) -> bool {
        // Without CLOSED: extra_list closed_grants_nothing.
        self.waiting() > 0 && self.spare() >= reserve && !self.closed()
    }

    /// One more record may be had.
    pub(crate) const fn put(self, reserve: u16) -> Self {
        if self.grants(reserve) { Self(self.0 - WAITING + GRANTED) } else { Self(self.0 + SPARE) }
    }

    /// One more is being made.
    pub(crate) const fn begin_creating(self) -> Self {
        Self((self.0 | CREATING) + TOTAL)
    }
    /// The last one that was begun is made.
    pub(crate) const fn end_creating(self) -> Self {
        Self(self.0 & !CREATING)
    }
    /// The last one that was begun is not made.
    pub(crate) const fn undo_creating(self) -> Self {
        // With the record still counted: extra_list refused_is_not_counted.
        Self((self.0 & !CREATING) - TOTAL)
    }

    /// Those that are made.
    pub(crate) const fn made(self) -> u16 {
        self.total() - self.creating() as u16
    }

    /// How many records to create: one for each who waits, and one more than needed, above the
    /// reserve.
    pub(crate) const fn wanted(self, reserve: u16, capacity: usize) -> usize {
        if self.closed() {
            return 0;
        }
        let short = (reserve as usize + 1).saturating_sub(self.spare() as usize);
        let wanted = self.waiting() as usize + short;
        let room = capacity - self.total() as usize;
        if wanted < room { wanted } else { room }
    }

    /// Of a process with one thread, in which `spare` records are nobody's.
    pub(crate) const fn reset(self, spare: u16) -> Self {
        let counts = self.made() as Raw * TOTAL + spare as Raw * SPARE;
        Self(self.0 & CLOSED | counts)
    }

    pub(crate) fn counts(self) -> RecordCounts {
        let (total, spare) = (self.made().into(), self.spare().into());
        RecordCounts { total, spare, in_use: total - spare, waiting: self.waiting().into() }
    }
}

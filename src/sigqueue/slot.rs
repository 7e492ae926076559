//! The word of a signal: its fields, as the table in [`crate::sigqueue`] has them. The lowest quarter
//! is flags, the next one names a record, the upper half counts.

use super::Word;

pub(super) const WANTED: Word = 1;
pub(super) const IGNORED: Word = 1 << 1;
pub(super) const BARE: Word = 1 << 2;
pub(super) const ACTIVE: Word = 1 << 3;
pub(super) const NOTED: Word = 1 << 4;
/// What becomes of a signal that comes now: one of them, or none.
pub(super) const WISH: Word = WANTED | IGNORED | NOTED;
const CHAIN_SHIFT: u32 = Word::BITS / 4;
const CHAIN: Word = NAMES << CHAIN_SHIFT;
const COALESCED_SHIFT: u32 = Word::BITS / 2;
const COALESCED_ONE: Word = 1 << COALESCED_SHIFT;
const COALESCED: Word = !0 << COALESCED_SHIFT;

/// The largest name of a record.
pub(super) const NAMES: Word = Word::MAX >> (Word::BITS - CHAIN_SHIFT);

pub(super) fn is_pending(slot: Word) -> bool {
    slot & (BARE | CHAIN) != 0
}

/// The newest of the records.
pub(super) fn chain(slot: Word) -> u16 {
    ((slot & CHAIN) >> CHAIN_SHIFT) as u16
}

/// The slot with this one as the newest.
pub(super) fn with_chain(slot: Word, name: u16) -> Word {
    (slot & !CHAIN) | Word::from(name) << CHAIN_SHIFT
}

pub(super) fn coalesced(slot: Word) -> u32 {
    (slot >> COALESCED_SHIFT) as u32
}

/// No more than it can count.
pub(super) fn one_more_coalesced(slot: Word) -> Word {
    if slot & COALESCED == COALESCED { slot } else { slot + COALESCED_ONE }
}

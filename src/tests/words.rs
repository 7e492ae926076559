//! The fields of the words, on every width that a processor may have: the files are the shipped ones,
//! taken in again for each.

/// A module with the list's word and the signal's, of this width, and the tests of both.
macro_rules! width {
    ($name:ident, $word:ty) => {
        #[allow(dead_code, unreachable_pub, reason = "its users are elsewhere")]
        #[allow(clippy::duplicate_mod, clippy::unnecessary_cast, reason = "one file, two widths")]
        #[path = ".."]
        mod $name {
            type Raw = $word;
            type Word = $word;
            #[path = "extra_list/word.rs"]
            mod list;
            #[path = "sigqueue/slot.rs"]
            mod slot;

            /// What fields are tried with: the ends, and beside them.
            const SOME: [u16; 5] = [0, 1, 2, list::MAX - 1, list::MAX];

            /// A word of these fields, made by the events alone.
            fn made(counts: [u16; 4], creating: bool, closed: bool) -> list::Word {
                let [spare, total, waiting, granted] = counts;
                let zero = list::Word(0);
                let end = |word: list::Word| word.begin_creating().end_creating();
                let mut word = (0..total).fold(zero, |word, _| end(word));
                // Granted: to one who waits, above a reserve of nothing.
                word = (0..granted).fold(word, |word, _| word.begin_wait().put(0));
                word = (0..spare).fold(word, |word, _| word.put(0));
                word = (0..waiting).fold(word, |word, _| word.begin_wait());
                word = if closed { word.close() } else { word };
                if creating { word.begin_creating() } else { word }
            }

            fn fields(word: list::Word) -> ([u16; 4], bool, bool) {
                let counts = [word.spare(), word.total(), word.waiting(), word.granted()];
                (counts, word.creating(), word.closed())
            }

            #[test]
            fn the_lists_fields_are_apart() {
                for code in 0..SOME.len().pow(4) * 4 {
                    let at = |field: u32| SOME[code / 4 / SOME.len().pow(field) % SOME.len()];
                    let counts = [at(0), at(1), at(2), at(3)];
                    let (creating, closed) = (code & 1 != 0, code & 2 != 0);
                    if creating && counts[1] == list::MAX {
                        continue;
                    }
                    let word = made(counts, creating, closed);
                    let total = counts[1] + u16::from(creating);
                    let [spare, _, waiting, granted] = counts;
                    let expected = ([spare, total, waiting, granted], creating, closed);
                    assert_eq!(fields(word), expected);
                    each_event_changes_its_own(word, expected);
                }
            }

            fn each_event_changes_its_own(word: list::Word, was: ([u16; 4], bool, bool)) {
                let ([spare, total, waiting, granted], creating, closed) = was;
                let is =
                    |word, counts: [u16; 4]| assert_eq!(fields(word), (counts, creating, closed));
                if spare > 0 {
                    is(word.take_spare(), [spare - 1, total, waiting, granted]);
                }
                if waiting < list::MAX {
                    is(word.begin_wait(), [spare, total, waiting + 1, granted]);
                }
                if waiting > 0 {
                    is(word.end_wait(), [spare, total, waiting - 1, granted]);
                }
                if granted > 0 {
                    is(word.take_grant(), [spare, total, waiting, granted - 1]);
                }
                if creating {
                    assert_eq!(
                        fields(word.undo_creating()).0,
                        [spare, total - 1, waiting, granted]
                    );
                }
                let reset = word.reset(1);
                assert_eq!(fields(reset), ([1, word.made(), 0, 0], false, closed));
            }

            #[test]
            fn the_lists_counts_are_the_fields() {
                assert!(crate::extra_list::MAX_RECORDS >= 127 && list::MAX >= 127);
                let counts = made([3, 9, 2, 1], true, false).counts();
                assert_eq!(
                    (counts.total, counts.spare, counts.in_use, counts.waiting),
                    (9, 3, 6, 2)
                );
            }

            #[test]
            fn the_slots_fields_are_apart() {
                let most = crate::sigqueue::REALTIME_CAPACITY as u16;
                assert!(Word::from(most) <= slot::NAMES);
                for flags in 0..16 {
                    for name in 0..=most {
                        let named = slot::with_chain(slot::with_chain(flags, most), name);
                        assert_eq!((slot::chain(named), slot::coalesced(named)), (name, 0));
                        assert_eq!(slot::with_chain(named, 0), flags);
                        assert_eq!(slot::is_pending(named), name != 0 || flags & slot::BARE != 0);
                        let more = slot::one_more_coalesced(named);
                        assert_eq!((slot::chain(more), slot::coalesced(more)), (name, 1));
                        assert_eq!(more & 15, flags);
                    }
                }
                let all = slot::WANTED | slot::IGNORED | slot::BARE | slot::ACTIVE;
                assert_eq!(all, 15);
            }

            #[test]
            fn the_slots_count_stays_at_its_largest() {
                let largest = (Word::MAX >> (Word::BITS / 2)) as u32;
                let (below, full) = (Word::MAX - (1 << (Word::BITS / 2)), Word::MAX);
                assert_eq!(slot::coalesced(below), largest - 1);
                assert_eq!(slot::one_more_coalesced(below), full);
                assert_eq!(slot::one_more_coalesced(full), full);
                assert_eq!(slot::coalesced(full), largest);
            }
        }
    };
}

width!(narrow, u32);
width!(wide, u64);

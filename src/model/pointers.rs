//! Values as the lanes show them. Addresses differ from run to run, so they are shown by names that do not.

use std::cell::RefCell;
use std::ops::Range;

/// The addresses that one execution shows, in the order in which it does.
#[derive(Debug)]
pub(super) struct Pointers {
    mapped: Vec<Range<u64>>,
    seen: RefCell<Vec<u64>>,
}

/// What the low bits of an address may be used for by who stores it.
const TAG: u64 = 7;

impl Pointers {
    pub(super) fn new() -> Self {
        Self { mapped: mapped(), seen: RefCell::default() }
    }

    /// Small numbers in decimal, words in hexadecimal, addresses by a letter.
    pub(super) fn shown(&self, value: u64) -> String {
        if value < 1000 {
            return value.to_string();
        }
        if !self.mapped.iter().any(|range| range.contains(&value)) {
            return format!("{value:#x}");
        }
        let (address, tag) = (value & !TAG, value & TAG);
        let mut seen = self.seen.borrow_mut();
        let known = seen.iter().position(|&other| other == address);
        let index = known.unwrap_or_else(|| {
            seen.push(address);
            seen.len() - 1
        });
        let name = name(index);
        if tag == 0 { name } else { format!("{name}+{tag}") }
    }
}

/// `&A`, and after `&Z`, `&A1`.
fn name(index: usize) -> String {
    let letter = char::from(b'A' + (index % 26) as u8);
    let round = index / 26;
    if round == 0 { format!("&{letter}") } else { format!("&{letter}{round}") }
}

/// Where this process has memory; nowhere, where the system does not say.
fn mapped() -> Vec<Range<u64>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let range = |line: &str| {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
    };
    maps.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::Pointers;

    /// Numbers are shown as they are; an address by its turn, with what is stored in its low bits.
    #[test]
    fn values_are_shown() {
        let (first, second) = (Box::new(0_u64), Box::new(0_u64));
        let address = |of: &u64| core::ptr::from_ref(of).addr() as u64;
        let mapped =
            vec![address(&first)..address(&first) + 8, address(&second)..address(&second) + 8];
        let pointers = Pointers { mapped, ..Pointers::new() };
        assert_eq!(pointers.shown(999), "999");
        assert_eq!(pointers.shown(0xffff_ffff_ffff_ffaf), "0xffffffffffffffaf");
        assert_eq!(pointers.shown(address(&second)), "&A");
        assert_eq!(pointers.shown(address(&first) + 1), "&B+1");
        assert_eq!(pointers.shown(address(&second)), "&A");
    }

    /// What this process has is known to be an address.
    #[test]
    #[cfg(target_os = "linux")]
    fn addresses_are_known() {
        let value = Box::new(0_u64);
        let pointers = Pointers::new();
        assert_eq!(pointers.shown(core::ptr::from_ref(&*value).addr() as u64), "&A");
    }
}

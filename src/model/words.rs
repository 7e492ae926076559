//! A row as a picture has it: much like the code that it comes from.

use super::atomic::Store;
use super::lanes::{About, Detail, Row};
use super::pointers::Pointers;
use super::signals::{self, SigSet};
use core::fmt::Write;
use std::collections::BTreeMap;

/// What the rows of one execution call things.
pub(super) struct Words {
    pub(super) names: BTreeMap<u32, String>,
    pub(super) pointers: Pointers,
}

/// Longer ones are cut.
const LONGEST: usize = 52;

impl Words {
    pub(super) fn of(&self, row: &Row) -> String {
        let text = match row.about {
            About::Object { id, .. } => {
                self.on_object(row, self.names.get(&id).map_or("", String::as_str))
            }
            _ => self.plain(row),
        };
        cut(&text, LONGEST)
    }

    fn on_object(&self, row: &Row, name: &str) -> String {
        let value = |value: u64| self.pointers.shown(value);
        let op = row.op;
        match &row.detail {
            Detail::Load { order, seen, unseen } => {
                let mut text = format!("{name}.{op}({order:?}) → {}", value(*seen));
                if let Some(Store { value: last, .. }) = unseen {
                    write!(text, ", not yet {}", value(*last)).expect("a string takes any text");
                }
                text
            }
            Detail::Store { value: new, order } => {
                format!("{name}.{op}({}, {order:?})", value(*new))
            }
            Detail::Swap { value: given, order, old, .. } => {
                format!("{name}.{op}({}, {order:?}) → {}", value(*given), value(*old))
            }
            Detail::Cas { expected, new, order, result } => {
                let (expected, new) = (value(*expected), value(*new));
                let result = match result {
                    Ok(_) => "ok".to_owned(),
                    Err(seen) => format!("failed, saw {}", value(*seen)),
                };
                format!("{name}.cas({expected}, {new}, {order:?}) {result}")
            }
            detail => {
                let (op, how) = op
                    .split_once(':')
                    .map_or((op, String::new()), |(op, how)| (op, format!(":{how}")));
                format!("{op} {name}{how}{}", self.detail(op, detail))
            }
        }
    }

    fn plain(&self, row: &Row) -> String {
        // The claim is said below the rows.
        let op = if row.op == "!!" { "✗ here" } else { row.op };
        format!("{op}{}", self.detail(row.op, &row.detail))
    }

    fn detail(&self, op: &str, detail: &Detail) -> String {
        match detail {
            Detail::Nothing => String::new(),
            Detail::Fence(order) => format!("({order:?})"),
            Detail::Signal(signal) => format!(" {}", signals::name(*signal)),
            Detail::Number(bits) if op.contains("mask") => format!(" {}", set(*bits)),
            Detail::Number(number) => format!(" {}", self.pointers.shown(*number)),
            Detail::Text(_) if op == "!!" => String::new(),
            Detail::Text(text) if op == "futex wake" => format!(" → {text}"),
            Detail::Text(text) => format!(" {}", text.trim_end_matches(", there: true")),
            other => format!(" {other:?}"),
        }
    }
}

fn set(bits: u64) -> String {
    let set = SigSet::from_bits(bits);
    let named: Vec<_> = (1..64).filter(|&signal| set.contains(signal)).map(signals::name).collect();
    match named.len() {
        0 => "nothing".to_owned(),
        1..=3 => named.join(", "),
        _ if set == SigSet::ALL => "all".to_owned(),
        _ => format!("{bits:#x}"),
    }
}

pub(super) fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

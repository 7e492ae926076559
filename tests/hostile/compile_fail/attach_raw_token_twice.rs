#![forbid(unsafe_code)]
//! A token as plain data is there once.
use portcullis::attach::RawAttached;

fn twice(raw: RawAttached) -> [RawAttached; 2] {
    [raw, raw]
}

fn forged() -> RawAttached {
    RawAttached::from_bits([0; 4])
}

fn main() {
    let _ = (twice, forged);
}

//! Uses the crossings on the calling thread, and leaves what is left to the thread's end.

use portcullis::all_threads::{ThreadSeat, registered};
use portcullis::signal;

static SEAT: ThreadSeat = ThreadSeat::new();

/// 0 if all went well.
// SAFETY: the host looks for this name, and calls it as it is.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_join() -> i32 {
    let joined = registered().join(&SEAT).map(std::mem::forget);
    i32::from(joined.is_err())
}

/// The same.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_subscribe(signal: i32) -> i32 {
    let stopped = signal::subscribe([signal]).map(|own| own.stop());
    i32::from(!matches!(stopped, Ok(Ok(_))))
}

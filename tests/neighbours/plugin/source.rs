//! Uses the crossings on the calling thread, and leaves what is left to the thread's end.

use portcullis::all_threads::{ThreadSeat, registered};
use portcullis::preempt::{Fenced, Gate, Gates, Hook, SuspendError, SystemBackend, ThreadRef};
use portcullis::signal;
use std::sync::Mutex;

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

static GATES: Gates<Fenced, SystemBackend> =
    Gates::new(Fenced, SystemBackend::new(Hook::nothing()));
static GATE: [Gate<SystemBackend>; 2] = [const { Gate::new() }; 2];
static NAMES: Mutex<[Option<ThreadRef<Fenced, SystemBackend>>; 2]> = Mutex::new([None; 2]);

/// The calling thread stays registered at this gate.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_register(at: usize) -> i32 {
    let Ok(own) = GATES.register(&GATE[at]) else { return 1 };
    NAMES.lock().unwrap()[at] = Some(own.thread());
    std::mem::forget(own);
    0
}

/// 0 if the thread at this gate stood still for a moment; 1 if it has ended.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_suspend(at: usize) -> i32 {
    let Some(name) = NAMES.lock().unwrap()[at] else { return 2 };
    match GATES.try_suspend(name).map(drop) {
        Ok(()) => 0,
        Err(SuspendError::Gone) => 1,
        Err(_) => 3,
    }
}

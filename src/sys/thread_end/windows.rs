//! Ends of threads on Windows: a callback of the image, which the loader runs in each thread that
//! ends. Microsoft, PE Format, "TLS Callback Functions" and "The .tls Section"; DllMain.
//!
//! Not fibre-local storage: its callback runs when a fibre is deleted, on the thread that deletes it,
//! which may be any other. A callback of the image has the parameters of a DLL's entry point and is
//! called like one: on DLL_THREAD_DETACH in the context of the thread that ends cleanly, with the
//! loader lock held, in the order of the array, also in threads that began before the image was
//! loaded. Not called in threads that are ended by force.
//!
//! On DLL_PROCESS_DETACH nothing is done. Then the process ends, and the other threads have ended in
//! the middle of whatever they did; or the library is unloaded, and all that it holds with it.
//!
//! The array is what the linker finds in the sections `.CRT$XL*`, by their names' order, between the
//! C runtime's `.CRT$XLA` and `.CRT$XLZ`; std puts its own, which frees thread-locals where they
//! are no part of the thread (windows-gnu), into `.CRT$XLB`. Ours is to come before.

use core::ffi::c_void;
use core::ptr;

use windows_sys::Win32::Foundation::{ERROR_NOT_ENOUGH_MEMORY, GetLastError};
use windows_sys::Win32::System::Threading::{
    TLS_OUT_OF_INDEXES, TlsAlloc, TlsFree, TlsGetValue, TlsSetValue,
};

use super::{Call, Errno};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering::*};

/// winnt.h
const DLL_THREAD_DETACH: u32 = 3;

type Callback = unsafe extern "system" fn(*mut c_void, u32, *mut c_void);

#[used]
#[unsafe(link_section = ".CRT$XLAP")]
static CALLBACK: Callback = on_event;

unsafe extern "C" {
    /// The image's TLS directory, of the C runtime: there if something refers to it.
    #[link_name = "_tls_used"]
    static TLS_USED: u8;
}

/// All the calls; each is found at its place from then on. A thread's own word has a bit for each that
/// it armed.
static CALLS: [AtomicPtr<Call>; usize::BITS as usize] =
    [const { AtomicPtr::new(ptr::null_mut()) }; usize::BITS as usize];

/// The index of the thread's own word, and one; 0 while there is none.
static INDEX: AtomicUsize = AtomicUsize::new(0);

/// As often as a call may arm another, as POSIX has it.
const ROUNDS: usize = 4;

fn last_error() -> Errno {
    // SAFETY: no preconditions.
    Errno(unsafe { GetLastError() } as i32)
}

fn index() -> Result<u32, Errno> {
    // ORDERING: Relaxed, here and below: the index is the system's, which orders its own by a lock.
    let known = INDEX.load(Relaxed);
    if known != 0 {
        return Ok(known as u32 - 1);
    }
    // SAFETY: no preconditions.
    let made = match unsafe { TlsAlloc() } {
        TLS_OUT_OF_INDEXES => return Err(last_error()),
        index => index as usize,
    };
    match INDEX.compare_exchange(0, made + 1, Relaxed, Relaxed) {
        Ok(_) => Ok(made as u32),
        Err(other) => {
            // SAFETY: made above, and used by nobody.
            unsafe { TlsFree(made as u32) };
            Ok(other as u32 - 1)
        }
    }
}

/// The call's place, the same each time.
pub(super) fn create(call: &Call) -> Result<usize, Errno> {
    // SAFETY: two statics of the image, which nobody writes. Read so that the linker keeps them.
    unsafe {
        (&raw const TLS_USED).read_volatile();
        (&raw const CALLBACK).read_volatile();
    }
    index()?;
    let own = ptr::from_ref(call).cast_mut();
    let free = |place: &AtomicPtr<Call>| {
        // ORDERING: Relaxed: who reads the call at its place has set it itself (`on_event`).
        place
            .compare_exchange(ptr::null_mut(), own, Relaxed, Relaxed)
            .map_or_else(|is| is == own, |_| true)
    };
    CALLS.iter().position(free).ok_or(Errno(ERROR_NOT_ENOUGH_MEMORY as i32))
}

/// Two that make one get the same.
pub(super) fn delete(_: usize) {}

pub(super) fn set(place: usize, _: &Call) -> Result<(), Errno> {
    let index = index()?;
    // SAFETY: an index of TlsAlloc, never freed since.
    let armed = unsafe { TlsGetValue(index) }.addr() | 1 << place;
    // SAFETY: as above.
    match unsafe { TlsSetValue(index, ptr::without_provenance(armed)) } {
        0 => Err(last_error()),
        _ => Ok(()),
    }
}

/// Handlers run in threads of their own, and may do what those may.
pub(super) fn is_set_in_handlers(_: usize) -> bool {
    true
}

unsafe extern "system" fn on_event(_: *mut c_void, reason: u32, _: *mut c_void) {
    // ORDERING: Relaxed: written before this thread armed, if it did.
    let index = INDEX.load(Relaxed);
    if reason != DLL_THREAD_DETACH || index == 0 {
        return;
    }
    for _ in 0..ROUNDS {
        // SAFETY: an index of TlsAlloc, never freed since.
        let armed = unsafe { TlsGetValue(index as u32 - 1) }.addr();
        // SAFETY: as above.
        unsafe { TlsSetValue(index as u32 - 1, ptr::null()) };
        let is_armed = |(place, _): &(usize, _)| armed >> place & 1 != 0;
        for (_, call) in CALLS.iter().enumerate().filter(is_armed) {
            // ORDERING: Relaxed: as above.
            // SAFETY: a bit is set by `set` alone, at a place that `create` gave to a call that lives
            // for ever (`arm`); this thread armed it, and ends.
            unsafe { (*call.load(Relaxed)).run() };
        }
        if armed == 0 {
            return;
        }
    }
}

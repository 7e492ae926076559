//! Faults on purpose: calls of the C library that this program has before the C library does, and that fail now and
//! then with what the system may say.
//!
//! Some are for threads that ask for them ([`faults`]): the standard library takes no failure of the same calls.
//! The rest goes to the system as it came. Async-signal-safe once [`arm`] has run.

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_void};
use std::mem::transmute;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::account::{COUNTS, add};
use super::random::SEED;

static ARMED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static FAULTS: Cell<bool> = const { Cell::new(false) };
}

/// From now on.
pub(crate) fn arm() {
    ARMED.store(true, Relaxed);
}

pub(crate) fn is_armed() -> bool {
    ARMED.load(Relaxed)
}

pub(crate) fn disarm() {
    ARMED.store(false, Relaxed);
}

/// This is to go on whatever fails in it.
pub(crate) fn faults<T>(body: impl FnOnce() -> T) -> T {
    let before = FAULTS.replace(true);
    let done = body();
    FAULTS.set(before);
    done
}

/// Whether the next one of so many fails.
fn fails(count: &AtomicU64, one_of: u64) -> bool {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    if !ARMED.load(Relaxed) {
        return false;
    }
    let drawn = DRAWN.fetch_add(1, Relaxed).wrapping_add(SEED.load(Relaxed));
    let mixed = (drawn ^ (drawn >> 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let fails = mixed % one_of == 0;
    if fails {
        add(count, 1);
    }
    fails
}

fn fails_here(count: &AtomicU64, one_of: u64) -> bool {
    FAULTS.get() && fails(count, one_of)
}

fn set_errno(errno: c_int) {
    // SAFETY: the calling thread's own.
    unsafe { *libc::__errno_location() = errno };
}

/// The C library's function of this name.
fn real(known: &AtomicUsize, name: &std::ffi::CStr) -> *const c_void {
    if known.load(Relaxed) == 0 {
        // SAFETY: a name that ends in zero.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
        known.store(found.expose_provenance(), Relaxed);
    }
    std::ptr::with_exposed_provenance(known.load(Relaxed))
}

type Syscall = unsafe extern "C" fn(c_long, usize, usize, usize, usize, usize, usize) -> c_long;

/// # Safety
///
/// As the C library's, which takes as many arguments as the call has: the others are whatever stands there, and go
/// on as that.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    let sleeps = number == libc::SYS_futex && b as c_int & 0x7f == libc::FUTEX_WAIT_BITSET;
    let sends = number == libc::SYS_tgkill || number == libc::SYS_rt_tgsigqueueinfo;
    if sleeps && fails(&COUNTS.interrupted, 8) {
        set_errno(libc::EINTR);
        return -1;
    }
    if sends && fails_here(&COUNTS.not_sent, 16) {
        set_errno(libc::EAGAIN);
        return -1;
    }
    // SAFETY: the C library's, of this type.
    let real: Syscall = unsafe { transmute(real(&REAL, c"syscall")) };
    // SAFETY: the caller's arguments.
    unsafe { real(number, a, b, c, d, e, f) }
}

type Life = extern "C" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const libc::pthread_attr_t,
    Life,
    *mut c_void,
) -> c_int;

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    life: Life,
    argument: *mut c_void,
) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    if fails_here(&COUNTS.not_created, 8) {
        return libc::EAGAIN;
    }
    // SAFETY: the C library's, of this type.
    let real: Create = unsafe { transmute(real(&REAL, c"pthread_create")) };
    // SAFETY: the caller's arguments.
    unsafe { real(thread, attributes, life, argument) }
}

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: libc::off_t,
) -> *mut c_void {
    if fails_here(&COUNTS.not_mapped, 4) {
        set_errno(libc::ENOMEM);
        return libc::MAP_FAILED;
    }
    // SAFETY: the caller's arguments, as the kernel has them.
    let mapped =
        unsafe { libc::syscall(libc::SYS_mmap, address, length, protection, flags, file, offset) };
    std::ptr::with_exposed_provenance_mut(mapped as usize)
}

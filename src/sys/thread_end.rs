//! A call at the end of a thread, by a thread-specific key; and one in the child of each fork.
//! man 3 pthread_key_create, pthread_atfork.

#[cfg(unix)]
use core::ffi::c_void;
use core::ptr;

use super::Errno;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering::*};

/// What to call: the same for every thread that asks.
#[derive(Debug)]
pub(crate) struct Call {
    data: AtomicPtr<()>,
    function: AtomicPtr<()>,
}

impl Call {
    const fn new() -> Self {
        Self { data: AtomicPtr::new(ptr::null_mut()), function: AtomicPtr::new(ptr::null_mut()) }
    }

    fn set(&self, data: *const (), function: unsafe fn(*const ())) {
        // ORDERING: Relaxed: always the same two; who runs it has set it, or learned of it by a
        // release of its own.
        self.data.store(data.cast_mut(), Relaxed);
        self.function.store(function as *mut (), Relaxed);
    }

    /// # Safety
    ///
    /// After `set`; where the function may be called with the data.
    unsafe fn run(&self) {
        // ORDERING: Relaxed: as in `set`.
        let (data, function) = (self.data.load(Relaxed), self.function.load(Relaxed));
        // SAFETY: only `set` stores there, and it stores such a function; the caller comes after it.
        let function = unsafe { core::mem::transmute::<*mut (), unsafe fn(*const ())>(function) };
        // SAFETY: what `set` was given for it, by callers who promise that the two fit together (`arm`,
        // `register`), and that this is where the function may be called.
        unsafe { function(data) }
    }
}

/// Has a call made at the end of each thread that asks for it. Kept in a static; there may be several.
///
/// | system | the call is made |
/// |---|---|
/// | Unix | by the destructor of a key, in the thread; again if a later destructor arms it once more, for as many rounds as the C library makes (4 or more) |
/// | Windows | by the loader, in the thread, with its lock held: the call waits for no thread, loads nothing |
/// | others | never |
///
/// Nor is it made when the process ends, or when a thread is ended by force.
#[derive(Debug)]
pub(crate) struct ThreadEnd {
    /// What `create` made, and one; 0 while there is nothing.
    key: AtomicUsize,
    call: Call,
}

impl ThreadEnd {
    pub(crate) const fn new() -> Self {
        Self { key: AtomicUsize::new(0), call: Call::new() }
    }

    /// Has the function called with `data` when the calling thread ends, once for all times that it
    /// asked before. Cheap when it did. Not async-signal-safe.
    ///
    /// # Safety
    ///
    /// `self` lives for ever. `data` and `function` are the same each time, and fit together: the
    /// function may be called with `data` at the end of any thread that armed it.
    pub(crate) unsafe fn arm(
        &self,
        data: *const (),
        function: unsafe fn(*const ()),
    ) -> Result<(), Errno> {
        self.call.set(data, function);
        set(self.key()?, &self.call)
    }

    /// The same in a signal handler, where the system can do that: true if it was done. Only after
    /// [`prepare`](Self::prepare). Async-signal-safe; keeps errno.
    ///
    /// A handler that runs in the thread's very last steps, after its destructors, arms in vain.
    ///
    /// # Safety
    ///
    /// As for [`arm`](Self::arm).
    #[allow(dead_code, reason = "for those whose handlers arm")]
    pub(crate) unsafe fn arm_in_handler(
        &self,
        data: *const (),
        function: unsafe fn(*const ()),
    ) -> bool {
        match self.known() {
            Some(key) if is_set_in_handlers(key) => {
                self.call.set(data, function);
                set(key, &self.call).is_ok()
            }
            _ => false,
        }
    }

    /// Gets from the system what arming needs, so that handlers can arm. Not async-signal-safe.
    #[allow(dead_code, reason = "as above")]
    pub(crate) fn prepare(&'static self) -> Result<(), Errno> {
        self.key().map(drop)
    }

    fn known(&self) -> Option<usize> {
        // ORDERING: Acquire: from `key`: what the system keeps of the key was written by the thread that made it,
        // and pthread_setspecific reads it without any order. Weakened: litmus/key_is_made.
        self.key.load(Acquire).checked_sub(1)
    }

    fn key(&self) -> Result<usize, Errno> {
        if let Some(key) = self.known() {
            return Ok(key);
        }
        let made = create(&self.call)?;
        // ORDERING: Release: to `known`. Acquire: as there, from who was quicker.
        match self.key.compare_exchange(0, made + 1, Release, Acquire) {
            Ok(_) => Ok(made),
            Err(other) => {
                delete(made);
                Ok(other - 1)
            }
        }
    }
}

cfg_if::cfg_if! {
    if #[cfg(unix)] {
        unsafe extern "C" fn ended(call: *mut c_void) {
            // SAFETY: only `set` stores under a key of `create`, and it stores a call that lives for
            // ever (`arm`); the thread that armed it ends.
            unsafe { (*call.cast::<Call>()).run() };
        }

        fn create(_: &Call) -> Result<usize, Errno> {
            super::pin::pin();
            let mut key = 0;
            // SAFETY: the key is a local; `ended` takes what `set` stores.
            match unsafe { libc::pthread_key_create(&raw mut key, Some(ended)) } {
                0 => Ok(key as usize),
                errno => Err(Errno(errno)),
            }
        }

        fn delete(key: usize) {
            // SAFETY: made by `create` in the caller, `key`, which told nobody of it.
            unsafe { libc::pthread_key_delete(key as libc::pthread_key_t) };
        }

        fn set(key: usize, call: &Call) -> Result<(), Errno> {
            let value = ptr::from_ref(call).cast();
            // SAFETY: made by `create`; `key` deletes those only that it told nobody of.
            match unsafe { libc::pthread_setspecific(key as libc::pthread_key_t, value) } {
                0 => Ok(()),
                errno => Err(Errno(errno)),
            }
        }
    } else if #[cfg(windows)] {
        mod windows;
        use windows::{create, delete, is_set_in_handlers, set};
    } else {
        // Nobody tells of a thread's end here: what is bound stays in use.
        fn create(_: &Call) -> Result<usize, Errno> {
            Ok(0)
        }
        fn delete(_: usize) {}
        fn set(_: usize, _: &Call) -> Result<(), Errno> {
            Ok(())
        }
        fn is_set_in_handlers(_: usize) -> bool {
            false
        }
    }
}

cfg_if::cfg_if! {
    if #[cfg(windows)] {
    } else if #[cfg(all(target_os = "linux", target_env = "gnu"))] {
        /// glibc keeps the first PTHREAD_KEY_2NDLEVEL_SIZE values (nptl/descr.h: 32) in the thread's
        /// descriptor, where storing one is three plain stores: nptl/pthread_setspecific.c,
        /// `__pthread_setspecific`. For the others it may call calloc.
        fn is_set_in_handlers(key: usize) -> bool {
            key < 32
        }
    } else if #[cfg(all(target_os = "linux", target_env = "musl"))] {
        /// musl's src/thread/pthread_setspecific.c stores two words of the thread. The table of a
        /// thread is part of it (src/thread/pthread_create.c), that of the first one is there once a
        /// key or a thread was made (`__pthread_key_create`).
        fn is_set_in_handlers(_: usize) -> bool {
            true
        }
    } else if #[cfg(target_os = "android")] {
        /// bionic's libc/bionic/pthread_key.cpp, `pthread_setspecific`, stores two words of the thread
        /// since Android 6 (API 23, its commit 5e2bd719d); before it took a lock. There is no constant
        /// of the one it runs on; the property is read from memory that is mapped.
        fn is_set_in_handlers(_: usize) -> bool {
            let mut value = [0_u8; libc::PROP_VALUE_MAX as usize];
            let name = c"ro.build.version.sdk";
            // SAFETY: a C string, and room for PROP_VALUE_MAX bytes, which is what it writes at most.
            unsafe { libc::__system_property_get(name.as_ptr(), value.as_mut_ptr().cast()) };
            let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
            digits.fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0')) >= 23
        }
    } else if #[cfg(unix)] {
        /// FreeBSD's allocates the thread's table at first use (lib/libthr/thread/thr_spec.c); of the
        /// others it is not known.
        fn is_set_in_handlers(_: usize) -> bool {
            false
        }
    }
}

/// A call in the child of each fork of the C library; linked into the list of all of them.
#[derive(Debug)]
pub(crate) struct InChild {
    call: Call,
    next: AtomicPtr<InChild>,
}

static FIRST: AtomicPtr<InChild> = AtomicPtr::new(ptr::null_mut());

impl InChild {
    pub(crate) const fn new() -> Self {
        Self { call: Call::new(), next: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Has the function called with `data` in each child. Not async-signal-safe.
    ///
    /// # Safety
    ///
    /// Once. `self` lives for ever. `data` and `function` fit together.
    pub(crate) unsafe fn register(&self, data: *const (), function: unsafe fn(*const ())) {
        self.call.set(data, function);
        let own = ptr::from_ref(self).cast_mut();
        // ORDERING: Relaxed: a guess, confirmed below.
        let mut first = FIRST.load(Relaxed);
        loop {
            // ORDERING: Relaxed: published by the exchange.
            self.next.store(first, Relaxed);
            // ORDERING: Release: the call and the link, to `run_all`, which acquires. Failure
            // Relaxed: a guess.
            match FIRST.compare_exchange(first, own, Release, Relaxed) {
                Ok(_) => break,
                Err(now) => first = now,
            }
        }
        // Whoever links the first one; the system keeps what it is told.
        #[cfg(unix)]
        if first.is_null() {
            super::pin::pin();
            // SAFETY: the function lives for ever.
            unsafe { libc::pthread_atfork(None, None, Some(run_all)) };
        }
    }
}

/// Async-signal-safe, as are the calls.
#[cfg(unix)]
extern "C" fn run_all() {
    // ORDERING: Acquire: what `register` published; the links are ordered with it.
    let mut next = FIRST.load(Acquire);
    // SAFETY: only `register` links, and what it links lives for ever.
    while let Some(one) = unsafe { next.as_ref() } {
        // SAFETY: set before it was linked (`register`), for just this place: a child.
        unsafe { one.call.run() };
        // ORDERING: Acquire: as above.
        next = one.next.load(Acquire);
    }
}

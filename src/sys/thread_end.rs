//! A call at the end of a thread, by a thread-specific key; and one in the child of each fork.
//! man 3 pthread_key_create, pthread_atfork.

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
    /// After `set`; where the function may be called.
    unsafe fn run(&self) {
        // ORDERING: Relaxed: as in `set`.
        let (data, function) = (self.data.load(Relaxed), self.function.load(Relaxed));
        // SAFETY: stored by `set` as such a function.
        let function = unsafe { core::mem::transmute::<*mut (), unsafe fn(*const ())>(function) };
        // SAFETY: what `set` was given for it.
        unsafe { function(data) }
    }
}

/// A key, made at first use. The same call for every thread.
#[derive(Debug)]
pub(crate) struct ThreadEnd {
    /// The key and one; 0 while there is none.
    key: AtomicUsize,
    call: Call,
}

impl ThreadEnd {
    pub(crate) const fn new() -> Self {
        Self { key: AtomicUsize::new(0), call: Call::new() }
    }

    /// Has the function called with `data` when the calling thread ends, once for all times that it
    /// asked before. Not async-signal-safe.
    ///
    /// # Safety
    ///
    /// `self` lives for ever. `data` and `function` are the same each time, and fit together.
    pub(crate) unsafe fn arm(
        &self,
        data: *const (),
        function: unsafe fn(*const ()),
    ) -> Result<(), Errno> {
        self.call.set(data, function);
        let key = self.key()?;
        set(key, (&raw const self.call).cast())
    }

    fn key(&self) -> Result<usize, Errno> {
        // ORDERING: Relaxed, here and below: the key is the system's, which orders its own.
        let known = self.key.load(Relaxed);
        if known != 0 {
            return Ok(known - 1);
        }
        let made = create()?;
        match self.key.compare_exchange(0, made + 1, Relaxed, Relaxed) {
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
            // SAFETY: the value that `arm` set, alive for ever; the thread that armed it ends.
            unsafe { (*call.cast::<Call>()).run() };
        }

        fn create() -> Result<usize, Errno> {
            let mut key = 0;
            // SAFETY: the key is a local; `ended` takes what `set` is given.
            match unsafe { libc::pthread_key_create(&raw mut key, Some(ended)) } {
                0 => Ok(key as usize),
                errno => Err(Errno(errno)),
            }
        }

        fn delete(key: usize) {
            // SAFETY: made by `create`, and used by nobody.
            unsafe { libc::pthread_key_delete(key as libc::pthread_key_t) };
        }

        fn set(key: usize, value: *const c_void) -> Result<(), Errno> {
            // SAFETY: made by `create`, never deleted since.
            match unsafe { libc::pthread_setspecific(key as libc::pthread_key_t, value) } {
                0 => Ok(()),
                errno => Err(Errno(errno)),
            }
        }
    } else if #[cfg(windows)] {
        use windows_sys::Win32::Foundation::GetLastError;
        use windows_sys::Win32::System::Threading as win;

        unsafe extern "system" fn ended(call: *const c_void) {
            // SAFETY: the value that `arm` set, alive for ever. Fibre-local, so called when the
            // fibre is deleted or its thread ends.
            unsafe { (*call.cast::<Call>()).run() };
        }

        fn last_error() -> Errno {
            // SAFETY: no preconditions.
            Errno(unsafe { GetLastError() } as i32)
        }

        fn create() -> Result<usize, Errno> {
            // SAFETY: `ended` takes what `set` is given.
            match unsafe { win::FlsAlloc(Some(ended)) } {
                win::FLS_OUT_OF_INDEXES => Err(last_error()),
                index => Ok(index as usize),
            }
        }

        fn delete(index: usize) {
            // SAFETY: made by `create`, and used by nobody.
            unsafe { win::FlsFree(index as u32) };
        }

        fn set(index: usize, value: *const c_void) -> Result<(), Errno> {
            // SAFETY: made by `create`, never freed since.
            match unsafe { win::FlsSetValue(index as u32, value) } {
                0 => Err(last_error()),
                _ => Ok(()),
            }
        }
    } else {
        // Nobody tells of a thread's end here: what is bound stays in use.
        fn create() -> Result<usize, Errno> {
            Ok(0)
        }
        fn delete(_: usize) {}
        fn set(_: usize, _: *const c_void) -> Result<(), Errno> {
            Ok(())
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
    // SAFETY: what is linked lives for ever.
    while let Some(one) = unsafe { next.as_ref() } {
        // SAFETY: registered, and this is a child.
        unsafe { one.call.run() };
        // ORDERING: Acquire: as above.
        next = one.next.load(Acquire);
    }
}

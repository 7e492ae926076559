//! A library with a copy of this crate of its own: beside ours, and unloaded while it is in use.

use std::ffi::{CStr, CString, c_void};
use std::mem::transmute_copy;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::sync::{Barrier, Once, mpsc};

use libc::SIGUSR1;
use portcullis::preempt::{Fenced, Gate, Gates, Hook, SuspendError, SystemBackend};

use super::common::*;
use super::library::build;

/// Its path; built once.
fn library() -> PathBuf {
    static BUILT: Once = Once::new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin");
    if is_harness() {
        BUILT.call_once(|| _ = build("plugin", "tests/neighbours/plugin/source.rs"));
    }
    folder.join("target/debug/libplugin.so")
}

fn load(library: &Path) -> *mut c_void {
    let path = CString::new(library.as_os_str().as_bytes()).unwrap();
    // SAFETY: a path that ends in zero; the library has no constructors.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null());
    handle
}

/// # Safety
///
/// The handle is [`load`]'s, not closed yet, and `F` the type of the function of that name.
unsafe fn find<F: Copy>(handle: *mut c_void, name: &CStr) -> F {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: as the caller promises.
    let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!found.is_null());
    // SAFETY: as the caller promises; both are one address.
    unsafe { transmute_copy(&found) }
}

/// Its thread ends, the process forks, and a signal comes that was its own, when it is unloaded.
#[test]
fn unloaded_while_it_is_in_use() {
    let library = library();
    isolated_open("plugin::unloaded_while_it_is_in_use", 60, move || {
        for subscribes in [false, true] {
            let handle = load(&library);
            // SAFETY: of the library; these are their types in its source.
            let join: extern "C" fn() -> i32 = unsafe { find(handle, c"plugin_join") };
            // SAFETY: as above.
            let subscribe: extern "C" fn(i32) -> i32 = unsafe { find(handle, c"plugin_subscribe") };
            let (name, joined) = mpsc::channel();
            let (wake, woken) = mpsc::channel::<()>();
            let thread = std::thread::spawn(move || {
                name.send(join()).unwrap();
                _ = woken.recv();
                // It ends, and that is told to what was loaded.
            });
            assert_eq!(joined.recv().unwrap(), 0);
            if subscribes {
                assert_eq!(subscribe(SIGUSR1), 0);
            }
            // SAFETY: from dlopen; nothing of it is called here any more.
            assert_eq!(unsafe { libc::dlclose(handle) }, 0);
            drop(wake);
            thread.join().unwrap();
        }
        assert_eq!(wait_for(fork(|| 7)), Ended::Exited(7));
        set_disposition(SIGUSR1, Disposition::simple(libc::SIG_IGN));
        kill_self(SIGUSR1);
    });
}

const ROUNDS: usize = 1_500;

/// Two threads suspend each other, one by the one copy of this crate, the other by the other, which take
/// turns of their own.
#[test]
fn two_copies_suspend_each_other() {
    static GATES: Gates<Fenced, SystemBackend> =
        Gates::new(Fenced, SystemBackend::new(Hook::nothing()));
    static GATE: Gate<SystemBackend> = Gate::new();
    let library = library();
    isolated_open("plugin::two_copies_suspend_each_other", 60, move || {
        let handle = load(&library);
        // SAFETY: of the library; these are their types in its source.
        let register: extern "C" fn(usize) -> i32 = unsafe { find(handle, c"plugin_register") };
        // SAFETY: as above.
        let suspend: extern "C" fn(usize) -> i32 = unsafe { find(handle, c"plugin_suspend") };
        let (both, over) = (Barrier::new(2), Barrier::new(2));
        let (both, over) = (&both, &over);
        std::thread::scope(|scope| {
            let (name, named) = mpsc::channel();
            let ours = scope.spawn(move || {
                assert_eq!(register(0), 0);
                let name = named.recv().unwrap();
                both.wait();
                for _ in 0..ROUNDS {
                    assert_eq!(GATES.try_suspend(name).map(drop), Ok::<(), SuspendError>(()));
                }
                over.wait();
            });
            let theirs = scope.spawn(move || {
                let own = GATES.register(&GATE).unwrap();
                name.send(own.thread()).unwrap();
                both.wait();
                (0..ROUNDS).for_each(|_| assert_eq!(suspend(0), 0));
                over.wait();
            });
            ours.join().unwrap();
            theirs.join().unwrap();
        });
    });
}

/// A thread's first signal of the library's comes while it has the allocator's lock: where the library's
/// thread-locals were made at their first use, by that allocator, it would wait for itself.
#[test]
fn threads_are_called_in_the_allocator() {
    let library = library();
    isolated_open("plugin::threads_are_called_in_the_allocator", 60, move || {
        let handle = load(&library);
        // SAFETY: of the library; this is its type in its source.
        let call: extern "C" fn() -> i32 = unsafe { find(handle, c"plugin_call_everyone") };
        let over = AtomicBool::new(false);
        let begun = AtomicU32::new(0);
        for _ in 0..300 {
            over.store(false, Relaxed);
            begun.store(0, Relaxed);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    // Of sizes for which it has the lock.
                    scope.spawn(|| {
                        begun.fetch_add(1, Relaxed);
                        while !over.load(Relaxed) {
                            // SAFETY: freed at once, or null.
                            unsafe {
                                let memory = [2_000, 30_000].map(|size| libc::malloc(size));
                                memory.iter().for_each(|memory| libc::free(*memory));
                            }
                        }
                    });
                }
                while begun.load(Relaxed) < 2 {
                    std::thread::yield_now();
                }
                assert!(call() >= 1);
                over.store(true, Relaxed);
            });
        }
    });
}

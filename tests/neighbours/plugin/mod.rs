//! A library that was loaded, used us, and is unloaded.

use std::ffi::{CStr, CString, c_void};
use std::mem::transmute;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc;

use libc::SIGUSR1;

use super::common::*;
use super::library;

/// Its thread ends, the process forks, and a signal comes that was its own, when it is unloaded.
#[test]
fn unloaded_while_it_is_in_use() {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin/target/debug/libplugin.so");
    if is_harness() {
        library::build("plugin", "tests/neighbours/plugin/source.rs");
    }
    isolated_open("plugin::unloaded_while_it_is_in_use", 60, move || {
        let path = CString::new(library.as_os_str().as_bytes()).unwrap();
        for subscribes in [false, true] {
            // SAFETY: the library has no constructors, and the functions these types.
            let (handle, join, subscribe) = unsafe {
                let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
                assert!(!handle.is_null());
                let find = |name: &CStr| {
                    let found = libc::dlsym(handle, name.as_ptr());
                    assert!(!found.is_null());
                    found
                };
                let join = transmute::<*mut c_void, extern "C" fn() -> i32>(find(c"plugin_join"));
                let subscribe = find(c"plugin_subscribe");
                (handle, join, transmute::<*mut c_void, extern "C" fn(i32) -> i32>(subscribe))
            };
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

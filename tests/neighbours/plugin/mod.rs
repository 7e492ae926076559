//! A library that was loaded, used us, and is unloaded.

use std::ffi::{CStr, CString, c_void};
use std::fs;
use std::mem::transmute;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use libc::SIGUSR1;

use super::common::*;

/// Builds it in a folder of these tests, of what the tests are built of: nothing is fetched.
fn build(folder: &Path) {
    let root = env!("CARGO_MANIFEST_DIR");
    let manifest = format!(
        "[package]\nname = \"plugin\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [lib]\ncrate-type = [\"cdylib\"]\npath = \"{root}/tests/neighbours/plugin/source.rs\"\n\
         [dependencies]\nportcullis = {{ path = \"{root}\" }}\n[workspace]\n"
    );
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::copy(Path::new(root).join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    // As it is by itself, not as these tests are built.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().ends_with("RUSTFLAGS") {
            cargo.env_remove(name);
        }
    }
    let built = cargo
        .args(["build", "--offline", "--quiet", "--target-dir", "target"])
        .current_dir(folder)
        .env_remove("CARGO_BUILD_TARGET")
        .status()
        .unwrap();
    assert!(built.success());
}

/// Its thread ends, the process forks, and a signal comes that was its own, when it is unloaded.
#[test]
fn unloaded_while_it_is_in_use() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin");
    let library = folder.join("target/debug/libplugin.so");
    if is_harness() {
        build(&folder);
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

//! Go, which preempts by SIGURG and has a handler for every signal: as the host, and loaded by one.

use std::ffi::{CStr, CString, c_int, c_void};
use std::mem::transmute;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::thread;

use libc::{SIGUSR1, SIGUSR2};
use portcullis::signal;

use super::common::*;
use super::hosts::*;
use super::pn;

fn build(more: &[&str], source: &Path, output: &Path) {
    let mut go = Command::new("go");
    go.arg("build").args(more).arg("-o").arg(output).arg(source);
    go.env("GOCACHE", scratch("go-cache")).env("GO111MODULE", "off").env("GOFLAGS", "");
    // Nothing is looked for elsewhere.
    go.env("GOPATH", scratch("go-path")).env("GOTOOLCHAIN", "local").env("GOPROXY", "off");
    go.env("CGO_ENABLED", "1")
        .env("CGO_CFLAGS", format!("-I{}", self::source("library").display()));
    if more.is_empty() {
        let library = library();
        let library = library.display();
        go.env("CGO_LDFLAGS", format!("-L{library} -lpn -Wl,-rpath,{library}"));
    }
    succeeds(&mut go);
}

/// Goroutines allocate, Go collects and preempts, while threads of it are called, suspended and attached; and
/// both are told of a signal.
#[test]
fn host() {
    if !have("go", "version", "a host in Go") {
        return;
    }
    let program = scratch("go").join("host");
    build(&[], &source("go/host.go"), &program);
    assert!(succeeds(&mut bounded(&program, 120)).contains("done"));
}

/// What it offers.
struct Guest {
    start: extern "C" fn(),
    allocate: extern "C" fn(),
    collect: extern "C" fn(c_int) -> c_int,
    notify: extern "C" fn(c_int),
    told: extern "C" fn() -> c_int,
    stop: extern "C" fn(),
}

impl Guest {
    fn load(path: &Path) -> Self {
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a library of Go, whose constructors start its runtime; the functions have these types.
        unsafe {
            let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            assert!(!handle.is_null(), "{:?}", CStr::from_ptr(libc::dlerror()));
            let find = |name: &CStr| {
                let found = libc::dlsym(handle, name.as_ptr());
                assert!(!found.is_null(), "{name:?}");
                found
            };
            Self {
                start: transmute::<*mut c_void, extern "C" fn()>(find(c"guest_start")),
                allocate: transmute::<*mut c_void, extern "C" fn()>(find(c"guest_allocate")),
                collect: transmute::<*mut c_void, extern "C" fn(c_int) -> c_int>(find(
                    c"guest_collect",
                )),
                notify: transmute::<*mut c_void, extern "C" fn(c_int)>(find(c"guest_notify")),
                told: transmute::<*mut c_void, extern "C" fn() -> c_int>(find(c"guest_told")),
                stop: transmute::<*mut c_void, extern "C" fn()>(find(c"guest_stop")),
            }
        }
    }
}

/// Calls the function of Go that it is given.
unsafe extern "C" fn allocate(function: *mut c_void) {
    // SAFETY: `guest_allocate`, as it was put in.
    unsafe { transmute::<*mut c_void, extern "C" fn()>(function)() };
}

/// Go's runtime comes up after us, and puts its handlers over ours: of SIGURG at once, of others when they are
/// asked for.
#[test]
fn guest() {
    let library = scratch("go").join("libguest.so");
    if is_harness() {
        if !have("go", "version", "a library in Go") {
            return;
        }
        build(&["-buildmode=c-shared"], &source("go/guest.go"), &library);
    }
    isolated_within("go::guest", 120, || {
        let mut before = signal::subscribe([SIGUSR1]).unwrap();
        assert!(pn::pn_call_all() >= 0);
        let guest = Guest::load(&library);
        (guest.start)();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let collects = scope.spawn(|| (guest.collect)(20));
            for _ in 0..2 {
                scope.spawn(|| {
                    let function = guest.allocate as *mut c_void;
                    while !over.load(Acquire) {
                        // SAFETY: `allocate` is given what it asks for.
                        assert_eq!(unsafe { pn::pn_work(50, Some(allocate), function) }, 0);
                    }
                });
            }
            for _ in 0..100 {
                assert!(pn::pn_call_all() >= 3);
            }
            let mut stopped = 0;
            while stopped < 50 {
                let still = pn::pn_stop_world();
                assert!(still >= 0, "who is suspended stands still");
                stopped += still;
                thread::yield_now();
            }
            assert!(collects.join().unwrap() >= 20, "Go has collected");
            over.store(true, Release);
        });
        // Nobody has asked Go for these.
        for _ in 0..20 {
            kill_self(SIGUSR1);
            assert_eq!(before.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        }
        // Go hands on nothing that it was asked for. Who subscribes has ours put over Go's, which is told too.
        (guest.notify)(SIGUSR1);
        let mut after = signal::subscribe([SIGUSR1]).unwrap();
        for _ in 0..20 {
            kill_self(SIGUSR1);
            assert_eq!((guest.told)(), SIGUSR1);
            for both in [&mut before, &mut after] {
                assert_eq!(both.recv_timeout(SOON).unwrap().signal, SIGUSR1);
            }
        }
        before.stop().unwrap();
        after.stop().unwrap();
        kill_self(SIGUSR1);
        assert_eq!((guest.told)(), SIGUSR1, "it goes on without us");
        // Go's first.
        (guest.notify)(SIGUSR2);
        let mut after = signal::subscribe([SIGUSR2]).unwrap();
        kill_self(SIGUSR2);
        assert_eq!((guest.told)(), SIGUSR2);
        assert_eq!(after.recv_timeout(SOON).unwrap().signal, SIGUSR2);
        assert!(pn::pn_call_all() >= 0);
        (guest.stop)();
    });
}

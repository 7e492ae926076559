//! Threads that can never answer.

use std::ffi::c_void;
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::*};

use portcullis::Errno;
use portcullis::all_threads::{Call, CallError, Operation, call_everyone, linux};

use super::common::*;

fn everyone() -> Result<u32, CallError> {
    static RAN: AtomicU32 = AtomicU32::new(0);
    RAN.store(0, Relaxed);
    let report = call_everyone(Call::new(Operation::count(&RAN)))?;
    assert_eq!(RAN.load(Relaxed), report.others + 1);
    Ok(report.others)
}

/// linux/io_uring.h, struct io_uring_params: 120 bytes, the flags third.
#[repr(C)]
struct Params {
    entries: [u32; 2],
    flags: u32,
    rest: [u32; 27],
}

/// Workers of io_uring are in the list of threads, and handle no signals.
#[test]
fn the_kernels_own_workers() {
    isolated_open("threads::the_kernels_own_workers", 30, || {
        const SQPOLL: u32 = 1 << 1;
        let mut params = Params { entries: [0; 2], flags: SQPOLL, rest: [0; 27] };
        // SAFETY: the parameters are a local of that size.
        let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, &raw mut params) };
        if ring < 0 {
            println!("left out: no io_uring here");
            return;
        }
        let listed = std::fs::read_dir("/proc/self/task").unwrap().count();
        let others = everyone().unwrap() as usize;
        assert!(others + 1 < listed, "{others} of {listed}: its poller is not one of them");
        linux::set_no_new_privs().unwrap();
        // SAFETY: the ring is this test's.
        unsafe { libc::close(ring as i32) };
    });
}

/// The first thread has ended, others go on: it stays in the list.
#[test]
fn the_first_thread_has_ended() {
    isolated_open("threads::the_first_thread_has_ended", 30, || {
        let child = fork(|| {
            extern "C" fn goes_on(_: *mut c_void) -> *mut c_void {
                while !std::fs::read_to_string("/proc/self/stat").unwrap().contains(") Z ") {
                    std::thread::yield_now();
                }
                exit(if everyone() == Ok(0) { 7 } else { 8 })
            }
            // SAFETY: the thread needs nothing of this one, which ends alone.
            unsafe {
                let mut thread = zeroed();
                let made =
                    libc::pthread_create(&raw mut thread, ptr::null(), goes_on, ptr::null_mut());
                assert_eq!(made, 0);
                libc::syscall(libc::SYS_exit, 0);
            }
            9
        });
        assert_eq!(wait_for(child), Ended::Exited(7));
    });
}

/// /proc shows the numbers of another namespace: refused, instead of looked for again and again.
#[test]
fn proc_of_another_pid_namespace() {
    isolated_open("threads::proc_of_another_pid_namespace", 30, || {
        let child = fork(|| {
            // SAFETY: no memory is passed.
            if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
                println!("left out: no new pid namespace here");
                return 7;
            }
            // The first of the namespace; /proc is of the old one.
            let inner = fork(|| match everyone() {
                Err(CallError::System(Errno(libc::ESRCH | libc::ENOENT))) => 7,
                Ok(0) if std::fs::read_link("/proc/self").is_err() => 7,
                other => {
                    eprintln!("{other:?}");
                    8
                }
            });
            match wait_for(inner) {
                Ended::Exited(code) => code,
                _ => 9,
            }
        });
        assert_eq!(wait_for(child), Ended::Exited(7));
    });
}

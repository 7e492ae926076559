//! io_uring through its crate: threads of the kernel's in the list of the process's own.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;

use io_uring::{IoUring, opcode, squeue, types};
use portcullis::all_threads::linux;

use super::common::*;
use super::hosts::left_out;
use super::pn;

/// None where there is no io_uring.
fn ring(polled: bool) -> Option<IoUring> {
    let mut builder = IoUring::builder();
    if polled {
        // Its poller stays awake for as many milliseconds.
        builder.setup_sqpoll(60_000);
    }
    builder.build(8).inspect_err(|refused| left_out("io_uring", &refused.to_string())).ok()
}

/// Has it done; what came of it.
///
/// # Safety
///
/// What the entry points to is valid until then.
unsafe fn done(ring: &mut IoUring, entry: squeue::Entry) -> i32 {
    // SAFETY: as the caller promises.
    unsafe { push(ring, entry) };
    ring.submit_and_wait(1).unwrap();
    ring.completion().next().unwrap().result()
}

/// # Safety
///
/// What the entry points to is valid until it is done.
unsafe fn push(ring: &mut IoUring, entry: squeue::Entry) {
    // SAFETY: as the caller promises.
    unsafe { ring.submission().push(&entry) }.unwrap();
    ring.submit().unwrap();
}

/// Whether the process has a thread of the kernel's that is called so.
fn is_there(kind: &str) -> bool {
    let mut tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.any(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with(kind))
    })
}

fn pipe() -> (File, File) {
    let mut ends: [RawFd; 2] = [0; 2];
    // SAFETY: two descriptors, each owned by one file from here on.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    }
}

/// A poller, and workers of both kinds, one of them in the middle of a read: not called, not waited for, and as they
/// were afterwards.
#[test]
fn pollers_and_workers() {
    isolated_open("rings::pollers_and_workers", 30, || {
        let (Some(mut polled), Some(mut plain)) = (ring(true), ring(false)) else { return };
        let (from, mut to) = pipe();
        let mut read = [0_u8; 4];
        // Unbounded: a pipe, from which there is nothing to be read yet.
        let wait = opcode::Read::new(types::Fd(from.as_raw_fd()), read.as_mut_ptr(), 4);
        let wait = wait.build().flags(squeue::Flags::ASYNC);
        // SAFETY: the buffer is a local, which outlives the read: it is done below.
        unsafe { push(&mut plain, wait) };
        // Bounded: a file. The worker stays for a while when it is done.
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        let mut bounded = IoUring::new(8).unwrap();
        let mut start = [0_u8; 4];
        let look = opcode::Read::new(types::Fd(file.as_raw_fd()), start.as_mut_ptr(), 4);
        // SAFETY: the buffer is a local, and it is done when this returns.
        let looked = unsafe { done(&mut bounded, look.build().flags(squeue::Flags::ASYNC)) };
        assert_eq!((looked, &start), (4, b"\x7fELF"));

        // Both are there once they have been made.
        while !["iou-sqp", "iou-wrk"].iter().all(|kind| is_there(kind)) {
            std::thread::yield_now();
        }
        let others = pn::pn_call_all();
        let listed = fs::read_dir("/proc/self/task").unwrap().count() as i32;
        assert!(others >= 0 && others < listed - 1, "{others} of {listed}");
        for _ in 0..50 {
            assert_eq!(pn::pn_call_all(), others);
        }
        linux::set_keep_capabilities(true).unwrap();
        linux::set_no_new_privs().unwrap();
        linux::barrier().unwrap();

        // SAFETY: no memory is passed.
        assert_eq!(unsafe { done(&mut polled, opcode::Nop::new().build()) }, 0);
        to.write_all(b"done").unwrap();
        plain.submit_and_wait(1).unwrap();
        assert_eq!(plain.completion().next().unwrap().result(), 4);
        assert_eq!(&read, b"done");
    });
}

/// Opens it by the ring: 0 or an error.
fn open(ring: &mut IoUring, path: &std::ffi::CStr) -> i32 {
    let entry = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr());
    // SAFETY: the path is borrowed, and it is done when this returns.
    let opened = unsafe { done(ring, entry.flags(libc::O_RDONLY).build()) };
    if opened >= 0 {
        // SAFETY: it was opened here.
        unsafe { libc::close(opened) };
    }
    opened.min(0)
}

/// A ring whose requests a thread of the kernel's takes keeps the rights that it was made with; one whose requests
/// the thread itself hands in does not, nor does a ring that is made later.
#[test]
fn rights_of_before() {
    isolated_open("rings::rights_of_before", 30, || {
        if uid() != 0 {
            left_out("rights of a ring", "it takes root");
            return;
        }
        let (Some(mut polled), Some(mut plain)) = (ring(true), ring(false)) else { return };
        let path = std::env::temp_dir().join(format!("portcullis-ring-{}", std::process::id()));
        File::create(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        assert_eq!((open(&mut polled, &name), open(&mut plain, &name)), (0, 0));
        let nobody = 65_534;
        linux::setresuid(nobody, nobody, 0).unwrap();
        let refused = -libc::EACCES;
        assert_eq!(File::open(&path).map(drop).unwrap_err().raw_os_error(), Some(-refused));
        assert_eq!(open(&mut plain, &name), refused);
        assert_eq!(open(&mut polled, &name), 0, "as before");
        if let Some(mut later) = ring(true) {
            assert_eq!(open(&mut later, &name), refused);
        }
        linux::setresuid(0, 0, 0).unwrap();
        fs::remove_file(&path).unwrap();
    });
}

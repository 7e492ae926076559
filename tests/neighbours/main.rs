//! A process that is not ours alone: handlers, threads and sandboxes of others beside this crate. What
//! is assumed of them, and what happens when it does not hold, is listed in `docs/neighbours.md`.
//!
//! Bounded: fixed counts; each test is a process of its own with an alarm.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/library.rs"]
mod library;

mod barrier;
mod children;
mod faults;
mod forks;
mod handlers;
mod interrupts;
mod plugin;
mod sinks;
mod stacks;
mod stoppers;
mod threads;

use std::ffi::{c_int, c_void};
use std::mem::zeroed;
use std::ptr;

/// The disposition in force.
fn now(signal: c_int) -> libc::sigaction {
    // SAFETY: all zeros is storage for one, filled by the call.
    unsafe {
        let mut now: libc::sigaction = zeroed();
        assert_eq!(libc::sigaction(signal, ptr::null(), &raw mut now), 0);
        now
    }
}

/// Puts another in place, and returns what was there: as any library may.
fn set(signal: c_int, action: usize, flags: c_int) -> libc::sigaction {
    // SAFETY: all zeros is a valid sigaction; what is put in place fits its flags, as the tests see to.
    unsafe {
        let (mut new, mut old): (libc::sigaction, libc::sigaction) = zeroed();
        (new.sa_sigaction, new.sa_flags) = (action, flags);
        assert_eq!(libc::sigaction(signal, &raw const new, &raw mut old), 0);
        old
    }
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

fn function(handler: Handler) -> usize {
    handler as *const () as usize
}

/// Calls what a library found in the place of its handler, as it should.
fn call_old(old: usize, signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if old != libc::SIG_DFL && old != libc::SIG_IGN {
        // SAFETY: a handler of three arguments, as ours is.
        unsafe { std::mem::transmute::<usize, Handler>(old)(signal, info, context) };
    }
}

/// From now on these system calls fail with EPERM, in every thread.
fn forbid(numbers: &[libc::c_long]) {
    let filter = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // linux/bpf_common.h, linux/seccomp.h: load the number; equal to one: an error; else: allowed.
    let mut filters = vec![filter(0x20, 0, 0, 0)];
    for number in numbers {
        filters.push(filter(0x15, 0, 1, *number as u32));
        filters.push(filter(0x06, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32));
    }
    filters.push(filter(0x06, 0, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: filters.len() as u16, filter: filters.as_mut_ptr() };
    // SAFETY: the instructions are a local's; they let everything through but those calls.
    unsafe { portcullis::all_threads::linux::seccomp(&program) }.unwrap();
}

fn gettid() -> libc::pid_t {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_gettid) as libc::pid_t }
}

fn tgkill(thread: libc::pid_t, signal: c_int) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) == 0 }
}

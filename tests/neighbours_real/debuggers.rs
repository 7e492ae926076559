//! Who traces this process: sees each signal before it is handled, stops threads, and lets them go on.

use std::ffi::c_long;
use std::io::{Read, Write};
use std::process::Stdio;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::*};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use libc::SIGUSR1;
use portcullis::all_threads::{Call, CallError, Operation, call_everyone, linux};
use portcullis::note::Deadline;
use portcullis::signal;

use super::common::*;
use super::hosts::*;
use super::pn;

fn gettid() -> libc::pid_t {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_gettid) as libc::pid_t }
}

/// man 2 ptrace; numbers alone are passed.
fn ptrace(request: libc::c_uint, thread: libc::pid_t, data: c_long) -> bool {
    // SAFETY: none of the requests made here reads or writes this process's memory.
    unsafe { libc::ptrace(request, thread, ptr::null_mut::<u8>(), data) == 0 }
}

/// Calls, suspensions and subscriptions, a fixed number of each.
fn busy() {
    let mut subscription = signal::subscribe([SIGUSR1]).unwrap();
    static ROUNDS: AtomicU64 = AtomicU64::new(0);
    static OVER: AtomicU32 = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while OVER.load(Relaxed) == 0 {
                    // SAFETY: there is nothing to call.
                    assert_eq!(unsafe { pn::pn_work(20, None, ptr::null_mut()) }, 0);
                    ROUNDS.fetch_add(1, Relaxed);
                }
            });
        }
        for _ in 0..50 {
            assert!(pn::pn_call_all() >= 2);
            // A thread that comes is traced too.
            thread::spawn(|| ()).join().unwrap();
            kill_self(SIGUSR1);
            assert_eq!(subscription.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        }
        linux::set_no_new_privs().unwrap();
        let mut stopped = 0;
        while stopped < 50 {
            let still = pn::pn_stop_world();
            assert!(still >= 0, "who is suspended stands still");
            stopped += still;
        }
        OVER.store(1, Relaxed);
    });
    assert!(ROUNDS.load(Relaxed) > 0);
    subscription.stop().unwrap();
}

/// Makes this thread the tracer of the child's threads, none of which makes one meanwhile, and of those to come.
fn seize(child: libc::pid_t) {
    const ALL: c_long = (libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_EXITKILL) as c_long;
    for entry in std::fs::read_dir(format!("/proc/{child}/task")).unwrap() {
        let thread = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        assert!(ptrace(libc::PTRACE_SEIZE, thread, ALL), "{}", std::io::Error::last_os_error());
    }
}

/// Reads until the tracer or the traced one prints that it is ready.
fn until_it_tells(output: &mut impl Read) {
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains(TELLS) {
        let mut some = [0; 256];
        let read = output.read(&mut some).unwrap();
        assert_ne!(read, 0, "the other process has ended");
        said.extend_from_slice(&some[..read]);
    }
}

/// Lets the threads of a seized child run until it has ended; how many signals were handed on, and how the child
/// ended.
fn trace(child: libc::pid_t) -> (u32, i32) {
    let mut handed_on = 0;
    loop {
        let mut status = 0;
        // SAFETY: the status is a local.
        let thread = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        if thread == -1 {
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINTR));
            continue;
        }
        if !libc::WIFSTOPPED(status) {
            if thread == child {
                return (handed_on, status);
            }
            continue;
        }
        // A stop of the tracer's own says so in the upper half; else it is by a signal on its way.
        let on_its_way = status >> 16 == 0;
        handed_on += u32::from(on_its_way);
        let signal = if on_its_way { libc::WSTOPSIG(status) } else { 0 };
        // One that was killed meanwhile is gone.
        _ = ptrace(libc::PTRACE_CONT, thread, c_long::from(signal));
    }
}

/// A tracer that hands every signal on, as gdb does with those that it is told to pass.
#[test]
fn traced() {
    isolated_open("debuggers::traced", 60, || {
        if role() == "traced" {
            println!("{TELLS}");
            // It is told when it is traced.
            _ = std::io::stdin().read(&mut [0]);
            return busy();
        }
        let mut helper = bare_command("debuggers::traced", "traced");
        let mut helper =
            Helper(helper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        let child = helper.0.id() as libc::pid_t;
        let mut output = helper.0.stdout.take().unwrap();
        until_it_tells(&mut output);
        seize(child);
        helper.0.stdin.take().unwrap().write_all(b"!").unwrap();
        let (handed_on, status) = trace(child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
        assert!(handed_on > 100, "only {handed_on} signals");
        // There is nobody left to be waited for.
        std::mem::forget(helper);
    });
}

/// gdb, from the start of the program to its end.
#[test]
fn gdb() {
    if role() == "traced" {
        return isolated_open("debuggers::gdb", 90, busy);
    }
    if !have("gdb", "--version", "gdb") {
        return;
    }
    let child = bare_command("debuggers::gdb", "traced");
    let mut gdb = bounded("gdb", 120);
    gdb.args(["-nx", "-batch", "-return-child-result"]);
    // It stops at signals that programs seldom use.
    for signal in ["SIGUSR1", "SIG57", "SIG58", "SIG59"] {
        gdb.args(["-ex", &format!("handle {signal} nostop noprint pass")]);
    }
    gdb.args(["-ex", "run", "--args"]);
    gdb.arg(child.get_program()).args(child.get_args());
    for (name, value) in child.get_envs() {
        gdb.env(name, value.unwrap_or_default());
    }
    let said = succeeds(gdb.stdin(Stdio::null()));
    assert!(said.contains("exited normally"), "{said}");
}

/// One thread is stopped by a tracer and stays so: a call with a deadline names it, and goes on when it does.
#[test]
fn one_that_is_stopped() {
    isolated_open("debuggers::one_that_is_stopped", 60, || {
        if role() == "tracer" {
            return stop_and_let_go(number("THREAD") as libc::pid_t);
        }
        // Where a system lets only those trace that a program names (Yama): any.
        // SAFETY: no memory is passed.
        unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
        static NUMBER: AtomicI32 = AtomicI32::new(0);
        let (wake, woken) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            NUMBER.store(gettid(), Release);
            _ = woken.recv();
        });
        while NUMBER.load(Acquire) == 0 {
            thread::yield_now();
        }
        let stopped = NUMBER.load(Acquire);
        let name = "debuggers::one_that_is_stopped";
        let mut tracer = bare_command(name, "tracer");
        tracer.env("THREAD", stopped.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut tracer = Helper(tracer.spawn().unwrap());
        // It says so when the thread stands.
        let mut output = tracer.0.stdout.take().unwrap();
        until_it_tells(&mut output);

        let ran = AtomicU32::new(0);
        let deadline = Deadline::after(Duration::from_millis(200));
        let report = call_everyone(Call::new(Operation::count(&ran)).until(&deadline)).unwrap();
        assert_eq!((report.abandoned, report.missing), (1, Some(stopped as usize)));
        assert!(!report.is_complete());
        let unreachable = Err(CallError::Unreachable(stopped as usize));
        let deadline = Deadline::after(Duration::from_millis(200));
        assert_eq!(linux::until(&deadline).set_no_new_privs(), unreachable);
        // Without a deadline it is given up as well.
        let report = call_everyone(Call::new(Operation::barrier())).unwrap();
        assert_eq!((report.abandoned, report.missing), (1, Some(stopped as usize)));

        drop(tracer.0.stdin.take());
        drop(output);
        assert!(tracer.finish().success());
        assert!(pn::pn_call_all() >= 1);
        linux::set_no_new_privs().unwrap();
        drop(wake);
        thread.join().unwrap();
    });
}

/// Until the other end of standard input is closed.
fn stop_and_let_go(thread: libc::pid_t) {
    assert!(ptrace(libc::PTRACE_SEIZE, thread, 0), "{}", std::io::Error::last_os_error());
    assert!(ptrace(libc::PTRACE_INTERRUPT, thread, 0));
    let mut status = 0;
    // SAFETY: the status is a local.
    assert_eq!(unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) }, thread);
    assert!(libc::WIFSTOPPED(status));
    println!("{TELLS}{thread}");
    _ = std::io::stdin().read(&mut [0]);
    assert!(ptrace(libc::PTRACE_DETACH, thread, 0));
}

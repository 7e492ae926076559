//! CPython, whose handlers note a signal for the interpreter and hand none on.

use super::hosts::*;

/// Loaded before the program starts: see docs/neighbours.md of a thread's first look at a thread-local.
fn python(what: &str) {
    if !have("python3", "--version", "Python") {
        return;
    }
    let library = library().join("libpn.so");
    let mut python = bounded("python3", 120);
    python.arg(source("python/host.py")).arg(&library).arg(what).env("LD_PRELOAD", &library);
    assert!(succeeds(&mut python).contains("done"));
}

/// Threads of Python's are called, suspended and attached while it collects.
#[test]
fn operations() {
    python("operations");
}

/// Ctrl-C: an exception, and a delivery.
#[test]
fn interrupt() {
    python("interrupt");
    python("interrupt_before");
}

/// `signal.signal` over ours, and ours over that.
#[test]
fn replaced() {
    python("replaced");
}

/// `os.fork`: the child hears its own signals, the parent none of them.
#[test]
fn forked() {
    python("forked");
}

/// `faulthandler`, of a signal that both have, and of a fault.
#[test]
fn faults() {
    python("faults");
}

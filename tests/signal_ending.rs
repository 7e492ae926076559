//! Ending well, waiting for one signal, and job control: each in a process that dies or stops by real signals.
#![cfg(all(unix, not(loom)))]

mod common;

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::ExitStatus;
use std::time::Duration;

use common::*;
use libc::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR1};
use portcullis::Signal;
use portcullis::signal::{self, SignalError};

const NEVER: Duration = Duration::from_secs(100_000);

fn status(name: &str, role_of_it: &str) -> ExitStatus {
    command(name, role_of_it).status().expect("the test binary runs again")
}

fn for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

/// The first signal is told, and the second one ends the process, whatever the program does.
#[test]
fn the_second_signal_ends_the_process() {
    const NAME: &str = "the_second_signal_ends_the_process";
    if is_harness() {
        assert_eq!(status(NAME, "hangs").signal(), Some(SIGTERM));
        return;
    }
    isolated(NAME, || {
        let ending = signal::graceful(NEVER).unwrap();
        assert!(!ending.is_asked() && ending.asked_by().is_none());
        kill_self(SIGINT);
        let delivery = ending.wait();
        assert_eq!(delivery.name(), Signal::SIGINT);
        assert!(ending.is_asked());
        assert_eq!(ending.asked_by(), Some(delivery));
        kill_self(SIGTERM);
        for_ever();
    });
}

/// So does the deadline, by the signal that had come.
#[test]
fn the_deadline_ends_the_process() {
    const NAME: &str = "the_deadline_ends_the_process";
    if is_harness() {
        assert_eq!(status(NAME, "hangs").signal(), Some(SIGHUP));
        return;
    }
    isolated(NAME, || {
        let ending = signal::graceful_by([SIGHUP], Some(Duration::from_millis(1))).unwrap();
        kill_self(SIGHUP);
        ending.wait();
        for_ever();
    });
}

/// A program that is done in time dies by the signal, for its shell, or goes on without a deadline.
#[test]
fn who_is_done_in_time() {
    const NAME: &str = "who_is_done_in_time";
    if is_harness() {
        assert_eq!(status(NAME, "dies").signal(), Some(SIGINT));
        assert_eq!(status(NAME, "goes on").code(), Some(0));
        return;
    }
    isolated(NAME, || {
        let ending = signal::graceful(NEVER).unwrap();
        kill_self(SIGINT);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(ending.asked()).signal, SIGINT);
        if role() == "dies" {
            panic!("{}", ending.die());
        }
        drop(ending);
    });
}

#[test]
fn refused() {
    isolated("refused", || {
        let harmless = signal::graceful_by([SIGTERM, SIGCHLD], None);
        assert_eq!(harmless.err(), Some(SignalError::NotFatal(SIGCHLD)));
        let unstoppable = signal::wait_for([Signal::SIGKILL]);
        assert_eq!(unstoppable, Err(SignalError::Unstoppable(libc::SIGKILL)));
    });
}

/// It is given up when it has come, and when others take it away.
#[test]
fn waits_for_one() {
    isolated("waits_for_one", || {
        let before = disposition(SIGUSR1).unwrap();
        let pid = std::process::id();
        let waits = std::thread::spawn(move || {
            while disposition(SIGUSR1).unwrap() == before {
                std::thread::yield_now();
            }
            // SAFETY: this process.
            assert_eq!(unsafe { libc::kill(pid.cast_signed(), SIGUSR1) }, 0);
        });
        let before = disposition(SIGUSR1).unwrap();
        assert_eq!(signal::wait_for([SIGUSR1]).unwrap().name(), Signal::SIGUSR1);
        waits.join().unwrap();
        assert_eq!(disposition(SIGUSR1).unwrap(), before);
        let takes = std::thread::spawn(move || {
            while disposition(SIGUSR1).unwrap() == before {
                std::thread::yield_now();
            }
            signal::reset([SIGUSR1]).unwrap();
        });
        assert_eq!(signal::wait_for([SIGUSR1]), Err(SignalError::TakenAway));
        takes.join().unwrap();
    });
}

/// Stopped, and continued, as by a shell: it is SIGTSTP that has stopped it, and it is caught again afterwards.
#[test]
fn stopped_and_continued() {
    const NAME: &str = "stopped_and_continued";
    if is_harness() {
        let mut helper = command(NAME, "stops");
        // A group of its own, which this process could continue: else the system stops nobody by SIGTSTP.
        helper.process_group(0);
        let mut helper = Helper(helper.spawn().unwrap());
        let pid = helper.0.id().cast_signed();
        for _ in 0..3 {
            let mut status = 0;
            // SAFETY: the status is a local.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) }, pid);
            assert!(libc::WIFSTOPPED(status), "{status:#x}");
            assert_eq!(libc::WSTOPSIG(status), SIGTSTP);
            // SAFETY: a child that was not waited for.
            assert_eq!(unsafe { libc::kill(pid, libc::SIGCONT) }, 0);
        }
        assert_eq!(helper.0.wait().unwrap().code(), Some(0));
        return;
    }
    isolated(NAME, || {
        let mut stops = signal::subscribe([SIGTSTP]).unwrap();
        for _ in 0..3 {
            kill_self(SIGTSTP);
            assert_eq!(stops.recv_timeout(SOON).unwrap().name(), Signal::SIGTSTP);
            signal::suspend().unwrap();
        }
        assert_eq!(stops.try_recv(), Ok(None));
    });
}

//! tokio's child processes. It hears of their ends by pidfd_open(2), and where it may not, by SIGCHLD, for
//! which it puts a handler in place by the crate signal-hook-registry, for good.

use std::process::ExitStatus;

use libc::SIGCHLD;
use portcullis::signal::{self, Subscription};
use tokio::process::Command;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal as tokios};

use super::common::*;
use super::pn;

/// From now on every thread is told that there is no pidfd_open(2), as older kernels say.
fn without_pidfd() {
    let filter = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // linux/bpf_common.h, linux/seccomp.h: load the number; equal to one: an error; else: allowed.
    let mut filters = [
        filter(0x20, 0, 0, 0),
        filter(0x15, 0, 1, libc::SYS_pidfd_open as u32),
        filter(0x06, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        filter(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filters.len() as u16, filter: filters.as_mut_ptr() };
    // SAFETY: the instructions are a local's; they let everything through but that call.
    unsafe { portcullis::all_threads::linux::seccomp(&program) }.unwrap();
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A child that ends by itself, with this.
async fn child(code: i32) -> ExitStatus {
    let status = Command::new("sh").args(["-c", &format!("exit {code}")]).status();
    tokio::time::timeout(SOON, status).await.expect("tokio hears of its end").unwrap()
}

fn children(runtime: &Runtime, ours: Option<&mut Subscription>) {
    runtime.block_on(async {
        let mut ours = ours;
        for code in 0..20 {
            assert_eq!(child(code).await.code(), Some(code));
            if let Some(ours) = &mut ours {
                let told = tokio::time::timeout(SOON, ours.recv_async()).await;
                assert_eq!(told.expect("ours is told").unwrap().signal, SIGCHLD);
            }
        }
        // Several at once: each is found, though their signals merge.
        let all: Vec<_> = (0..10).map(|code| tokio::spawn(child(code))).collect();
        for (code, one) in all.into_iter().enumerate() {
            assert_eq!(one.await.unwrap().code(), Some(code as i32));
        }
    });
}

/// The same without tokio.
fn std_children(ours: &mut Subscription) {
    for code in 0..3 {
        let mut sh = std::process::Command::new("sh");
        let status = sh.args(["-c", &format!("exit {code}")]).status().unwrap();
        assert_eq!(status.code(), Some(code));
        assert_eq!(ours.recv_timeout(SOON).unwrap().signal, SIGCHLD);
    }
}

/// What came before is of no interest.
fn empty(ours: &mut Subscription) {
    while ours.try_recv().unwrap().is_some() {}
}

fn in_either_order() {
    // Ours before tokio's.
    let mut ours = signal::subscribe([SIGCHLD]).unwrap();
    let first = runtime();
    children(&first, Some(&mut ours));
    assert!(pn::pn_call_all() >= 0);
    // Ours goes first.
    drop(ours);
    children(&first, None);
    // Ours after tokio's, which goes first.
    let mut ours = signal::subscribe([SIGCHLD]).unwrap();
    children(&first, Some(&mut ours));
    drop(first);
    empty(&mut ours);
    std_children(&mut ours);
    // Another runtime, beside the same subscription; tokio's own subscription too.
    let second = runtime();
    empty(&mut ours);
    children(&second, Some(&mut ours));
    second.block_on(async {
        let mut theirs = tokios(SignalKind::child()).unwrap();
        empty(&mut ours);
        for code in 0..5 {
            assert_eq!(child(code).await.code(), Some(code));
            tokio::time::timeout(SOON, theirs.recv()).await.expect("tokio's is told").unwrap();
            let told = tokio::time::timeout(SOON, ours.recv_async()).await;
            assert!(told.expect("ours is told").is_some());
        }
    });
    ours.stop().unwrap();
    drop(ours);
    children(&second, None);
}

#[test]
fn by_pidfd() {
    isolated_open("children::by_pidfd", 60, in_either_order);
}

#[test]
fn by_the_signal() {
    isolated_open("children::by_the_signal", 60, || {
        without_pidfd();
        in_either_order();
        assert_ne!(disposition(SIGCHLD).unwrap().action, libc::SIG_DFL, "tokio's, for good");
    });
}

/// While there is nobody else's, SIGCHLD does after ours what it did before: children stay to be waited for.
#[test]
fn ours_alone() {
    isolated_open("children::ours_alone", 60, || {
        let before = disposition(SIGCHLD).unwrap();
        let mut ours = signal::subscribe([SIGCHLD]).unwrap();
        std_children(&mut ours);
        assert_eq!(ours.stop().unwrap().foreign, []);
        assert_eq!(disposition(SIGCHLD).unwrap(), before);
    });
}

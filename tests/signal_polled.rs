//! Subscriptions in event loops: a descriptor that is polled by poll(2) itself.
#![cfg(all(unix, not(loom)))]

mod common;

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::thread;

use common::*;
use libc::{SIGUSR1, SIGUSR2};
use portcullis::signal::{self, Builder, Polled, RecvError};

/// Whether it is ready, after so many milliseconds at the most.
fn ready(polled: &Polled, milliseconds: i32) -> bool {
    let fd = polled.as_raw_fd();
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: one entry, a local.
        match unsafe { libc::poll(&raw mut entry, 1, milliseconds) } {
            -1 => assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINTR)),
            ready => return ready == 1,
        }
    }
}

const LONG: i32 = 20_000;

#[test]
fn ready_until_drained() {
    isolated("ready_until_drained", || {
        let mut polled = signal::subscribe([SIGUSR1, SIGUSR2]).unwrap().polled().unwrap();
        assert_eq!(polled.as_fd().as_raw_fd(), polled.as_raw_fd());
        assert!(!ready(&polled, 0), "nothing has come");
        for _ in 0..100 {
            kill_self(SIGUSR1);
            kill_self(SIGUSR2);
            let mut seen = [false; 2];
            while seen != [true; 2] {
                assert!(ready(&polled, LONG));
                while let Some(delivery) = polled.try_recv().unwrap() {
                    seen[usize::from(delivery.signal == SIGUSR2)] = true;
                }
            }
            // The receiver may have one of the bell's rings before it: for nothing, and once.
            while ready(&polled, 0) {
                assert_eq!(polled.try_recv(), Ok(None));
            }
        }
        // Stopped, it is ready for good.
        polled.stop().unwrap();
        for _ in 0..3 {
            assert!(ready(&polled, LONG));
            assert_eq!(polled.try_recv(), Err(RecvError::Stopped));
        }
    });
}

/// Level-triggered loops may take one at a time.
#[test]
fn ready_while_something_is_left() {
    isolated("ready_while_something_is_left", || {
        let mut polled = Builder::new().subscribe([SIGUSR1, SIGUSR2]).unwrap().polled().unwrap();
        for _ in 0..100 {
            kill_self(SIGUSR1);
            kill_self(SIGUSR2);
            let mut left = 2;
            while left > 0 {
                assert!(ready(&polled, LONG), "{left} are left");
                left -= usize::from(polled.try_recv().unwrap().is_some());
            }
        }
    });
}

/// Nothing is lost in a storm: what was sent last is found.
#[test]
fn in_a_storm() {
    static OVER: AtomicBool = AtomicBool::new(false);
    isolated("in_a_storm", || {
        let mut polled = signal::subscribe([SIGUSR1, SIGUSR2]).unwrap().polled().unwrap();
        let sender = thread::spawn(|| {
            for _ in 0..5_000 {
                kill_self(SIGUSR1);
            }
            OVER.store(true, Release);
            kill_self(SIGUSR2);
        });
        'all: loop {
            assert!(ready(&polled, LONG));
            while let Some(delivery) = polled.try_recv().unwrap() {
                if delivery.signal == SIGUSR2 {
                    break 'all;
                }
            }
        }
        assert!(OVER.load(Acquire));
        sender.join().unwrap();
    });
}

/// What was there before it was made counts, and exec closes it.
#[test]
fn made_late_closed_by_exec() {
    isolated("made_late_closed_by_exec", || {
        let subscribed = signal::subscribe([SIGUSR1]).unwrap();
        kill_self(SIGUSR1);
        let mut polled = subscribed.polled().unwrap();
        assert!(ready(&polled, LONG));
        assert_eq!(polled.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        let fd = polled.as_raw_fd();
        // SAFETY: it only asks.
        let flags = unsafe { [libc::fcntl(fd, libc::F_GETFD), libc::fcntl(fd, libc::F_GETFL)] };
        assert!(flags[0] & libc::FD_CLOEXEC != 0 && flags[1] & libc::O_NONBLOCK != 0);
        drop(polled);
        // SAFETY: it only asks.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, -1, "left open");
    });
}

/// The child's descriptor is its own: it hears of its own signals, and takes none of the parent's rings.
#[test]
fn parted_by_a_fork() {
    isolated("parted_by_a_fork", || {
        let mut polled = signal::subscribe([SIGUSR1]).unwrap().polled().unwrap();
        // SAFETY: the child ends by itself.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let silent = !ready(&polled, 0);
            kill_self(SIGUSR1);
            let own = ready(&polled, LONG) && polled.try_recv().is_ok_and(|it| it.is_some());
            // SAFETY: no preconditions.
            unsafe { libc::_exit(i32::from(!silent) * 2 + i32::from(!own)) };
        }
        let mut status = 0;
        // SAFETY: the status is a local.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert!(!ready(&polled, 0), "the child's");
        kill_self(SIGUSR1);
        assert!(ready(&polled, LONG));
        assert!(polled.try_recv().unwrap().is_some());
    });
}

/// With feature `futures-core` a subscription is a stream that ends when it is stopped.
#[cfg(feature = "futures-core")]
#[test]
fn a_stream() {
    use futures_core::Stream;
    use std::pin::Pin;

    isolated("a_stream", || {
        let mut stream = signal::subscribe([SIGUSR1]).unwrap();
        let stopper = stream.stopper();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut next =
            || runtime.block_on(std::future::poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)));
        kill_self(SIGUSR1);
        assert_eq!(next().unwrap().signal, SIGUSR1);
        stopper.stop().unwrap();
        assert_eq!(next(), None);
    });
}

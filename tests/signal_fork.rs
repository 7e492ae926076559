//! Forks in a storm: the child's subscriptions work and are its own, the parent loses nothing.
//!
//! Bounded: 200 forks; each test is a process of its own with an alarm of 60 s, each child of 10 s.
#![cfg(all(any(target_os = "linux", target_os = "android", target_os = "freebsd"), not(loom)))]

mod common;

use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use libc::SIGUSR1;
use portcullis::signal::{self, Builder, RecvError, Subscription};

const FORKS: usize = 200;

fn realtime(at: i32) -> i32 {
    libc::SIGRTMIN() + 1 + at
}

/// Sends until told to end, then says how many real-time signals there were.
fn storm() {
    let target = parent();
    let mut queued = 0;
    while !told_to_end() {
        for _ in 0..16 {
            kill(target, SIGUSR1).unwrap();
        }
        queue(target, realtime(0), queued).unwrap();
        queued += 1;
    }
    println!("{TELLS}{queued}");
}

/// In the child: what the parent had is emptied, then there is only what the child is sent.
fn use_inherited(subscription: &mut Subscription, capacity: usize) -> i32 {
    alarm(10);
    let mut emptied = 0;
    while let Ok(Some(_)) = subscription.try_recv() {
        emptied += 1;
        // What was pending in the queue at the fork may come on top of a full mailbox.
        assert!(emptied <= 2 * capacity + 130, "the parent's signals go on here");
    }
    for signal in [SIGUSR1, realtime(0)] {
        // The kernel's queue is the user's, and the parent's signals fill it.
        if signal == SIGUSR1 {
            kill_self(signal)
        } else {
            queue(pid(), signal, 1).unwrap()
        }
        match subscription.recv_timeout(SOON) {
            Ok(got) if got.signal == signal && got.origin.is_some_and(|o| o.pid == pid()) => {}
            other => {
                eprintln!("{other:?}");
                return 2;
            }
        }
    }
    // Asynchronously, too: the thread sleeps when the signal comes.
    let own = pid();
    let sender = fork(move || i32::from(kill(own, SIGUSR1).is_err()));
    match subscription.recv_timeout(SOON) {
        Ok(got) if got.origin.is_some_and(|o| o.pid == sender) => {}
        _ => return 3,
    }
    if wait_for(sender) != Ended::Exited(0) || subscription.try_recv() != Ok(None) {
        return 4;
    }
    match subscription.stop() {
        Ok(stopped) if stopped.foreign.is_empty() => {}
        _ => return 5,
    }
    i32::from(subscription.recv() != Err(RecvError::Stopped))
}

#[test]
fn two_hundred_forks_in_a_storm() {
    let name = "two_hundred_forks_in_a_storm";
    isolated_within(name, 60, || {
        if role() == "storm" {
            return storm();
        }
        limit_queue();
        const CAPACITY: usize = 16;
        let mut inherited =
            Builder::new().capacity(CAPACITY).subscribe([SIGUSR1, realtime(0)]).unwrap();
        let mut own = Builder::new().capacity(1 << 20).subscribe([SIGUSR1, realtime(0)]).unwrap();
        let stopper = own.stopper();
        let (told, queued) = thread::scope(|scope| {
            let reader = masked_thread(scope, || {
                let queued = own.iter().filter(|delivery| delivery.signal == realtime(0));
                queued.filter(|delivery| delivery.origin.is_some()).count() as u64
            });
            let storms = [(); 2].map(|()| Helper::telling(name, "storm"));
            while signal::counts(SIGUSR1).unwrap().received < 100 {
                thread::yield_now();
            }
            for at in 0..FORKS {
                let ended = wait_for(fork(|| use_inherited(&mut inherited, CAPACITY)));
                assert_eq!(ended, Ended::Exited(0), "child {at}");
            }
            let queued = storms.map(Helper::told).iter().sum::<u64>();
            // This thread, which takes all signals, took the last before it saw the sender's end.
            stopper.stop().unwrap();
            inherited.stop().unwrap();
            (reader.join().unwrap(), queued)
        });
        let overflow = signal::overflow();
        assert_eq!(told + overflow, queued, "the parent has all of its own");
        assert_eq!(own.dropped(), 0);
        eprintln!("two_hundred_forks_in_a_storm: {queued} real-time signals, {overflow} merged");
    });
}

/// The thread that calls a sink is not there in the child, and neither is its call.
#[test]
fn a_fork_while_a_sink_is_called() {
    isolated("a_fork_while_a_sink_is_called", || {
        let (tell, told) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let sink = Builder::new().sink([SIGUSR1], move |_| {
            tell.send(()).unwrap();
            let _ = held.recv();
        });
        let sink = sink.unwrap();
        kill_self(SIGUSR1);
        told.recv_timeout(SOON).unwrap();
        let child = fork(|| {
            let start = Instant::now();
            let stopped = sink.stop().is_ok();
            i32::from(!stopped || start.elapsed() > Duration::from_secs(1))
        });
        assert_eq!(wait_for(child), Ended::Exited(0));
        drop(release);
        sink.stop().unwrap();
    });
}

/// Forks when it is woken.
struct Forks(AtomicI32);

impl Wake for Forks {
    fn wake(self: Arc<Self>) {
        // SAFETY: the child goes on with what it inherited, as the test wants it, and leaves.
        self.0.store(unsafe { libc::fork() }, Relaxed);
    }
}

/// A waker that forks on the thread that has the receiver's part: the child's goes on without it.
#[test]
fn a_waker_that_forks() {
    isolated("a_waker_that_forks", || {
        let mut polled = signal::subscribe([SIGUSR1]).unwrap();
        let mut leads = signal::subscribe([SIGUSR1]).unwrap();
        let task = Arc::new(Forks(AtomicI32::new(-1)));
        let waker = Waker::from(Arc::clone(&task));
        assert!(polled.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        let own = std::process::id();
        thread::scope(|scope| {
            masked_thread(scope, || {
                thread::sleep(SETTLE);
                kill_self(SIGUSR1);
            });
            let received = leads.recv_timeout(SOON);
            if std::process::id() != own {
                alarm(10);
                // The signal was in the mailbox before the fork; and the child has a life of its own.
                let before = received.is_ok();
                kill_self(SIGUSR1);
                let after = leads.recv_timeout(SOON).is_ok() && leads.stop().is_ok();
                // SAFETY: no preconditions.
                unsafe { libc::_exit(if before && after { 0 } else { 1 }) };
            }
            assert_eq!(received.unwrap().signal, SIGUSR1);
        });
        let start = Instant::now();
        while task.0.load(Relaxed) == -1 {
            assert!(start.elapsed() < SOON, "woken");
            thread::yield_now();
        }
        assert_eq!(wait_for(task.0.load(Relaxed)), Ended::Exited(0));
        kill_self(SIGUSR1);
        assert_eq!(leads.recv_timeout(SOON).unwrap().signal, SIGUSR1);
    });
}

//! The ways to wait: blocked, with a deadline, in a task, several at once, on a lent thread.
//!
//! Bounded: each test is a process of its own with an alarm of 30 s.
#![cfg(all(unix, not(loom)))]

mod common;

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use common::*;
use libc::{SIGTERM, SIGUSR1, SIGUSR2};
use portcullis::signal::{self, Builder, RecvError, SignalError};

/// Each of four threads gets each of the signals, which come one at a time.
#[test]
fn four_blocked_subscribers() {
    isolated("four_blocked_subscribers", || {
        const ROUNDS: usize = 2000;
        let got = AtomicUsize::new(0);
        let all: Vec<_> = (0..4).map(|_| signal::subscribe([SIGUSR1]).unwrap()).collect();
        let stoppers: Vec<_> = all.iter().map(signal::Subscription::stopper).collect();
        thread::scope(|scope| {
            for mut subscription in all {
                let got = &got;
                masked_thread(scope, move || {
                    let merged = subscription.iter().map(|delivery| {
                        got.fetch_add(1, Release);
                        delivery.coalesced
                    });
                    assert_eq!(merged.sum::<u32>(), 0);
                });
            }
            for round in 1..=ROUNDS {
                kill_self(SIGUSR1);
                while got.load(Acquire) < round * 4 {
                    thread::yield_now();
                }
            }
            stoppers.iter().for_each(|stopper| drop(stopper.stop()));
        });
        assert_eq!(got.load(Relaxed), ROUNDS * 4);
    });
}

/// One thread receives its signal and goes; the other, which waits for another signal at that moment or is about
/// to, gets that.
#[test]
fn who_goes_leaves_the_rest_to_who_waits() {
    isolated("who_goes_leaves_the_rest_to_who_waits", || {
        const ROUNDS: usize = 5000;
        let subscriptions = [SIGUSR1, SIGUSR2].map(|signal| signal::subscribe([signal]).unwrap());
        let [start, started] = &[(); 2].map(|()| Barrier::new(3));
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            for mut subscription in subscriptions {
                let tell = tell.clone();
                masked_thread(scope, move || {
                    for _ in 0..ROUNDS {
                        start.wait();
                        started.wait();
                        tell.send(subscription.recv().unwrap().signal).unwrap();
                    }
                });
            }
            for _ in 0..ROUNDS {
                start.wait();
                kill_self(SIGUSR1);
                started.wait();
                assert_eq!(told.recv(), Ok(SIGUSR1));
                kill_self(SIGUSR2);
                assert_eq!(told.recv(), Ok(SIGUSR2));
            }
        });
    });
}

#[test]
fn a_blocked_receiver_is_stopped_from_another_thread() {
    isolated("a_blocked_receiver_is_stopped_from_another_thread", || {
        for _ in 0..500 {
            let mut subscriptions =
                [SIGUSR1, SIGUSR2].map(|signal| signal::subscribe([signal]).unwrap());
            let stoppers = subscriptions.each_ref().map(signal::Subscription::stopper);
            thread::scope(|scope| {
                let waits = subscriptions.each_mut().map(|s| scope.spawn(|| s.recv()));
                thread::yield_now();
                stoppers.iter().for_each(|stopper| assert!(stopper.stop().is_ok()));
                for wait in waits {
                    assert_eq!(wait.join().unwrap(), Err(RecvError::Stopped));
                }
            });
        }
    });
}

#[test]
fn a_deadline_is_kept_and_not_early() {
    isolated("a_deadline_is_kept_and_not_early", || {
        let mut leads = signal::subscribe([SIGUSR1]).unwrap();
        let mut follows = signal::subscribe([SIGUSR1]).unwrap();
        for nanos in [0, 1, 999_999, 1_000_000, 20_000_000] {
            let timeout = Duration::from_nanos(nanos);
            thread::scope(|scope| {
                for subscription in [&mut leads, &mut follows] {
                    scope.spawn(move || {
                        let start = Instant::now();
                        assert_eq!(subscription.recv_timeout(timeout), Err(RecvError::TimedOut));
                        let took = start.elapsed();
                        assert!(took >= timeout && took < timeout + SOON, "{took:?}");
                    });
                }
            });
        }
        kill_self(SIGUSR1);
        for subscription in [&mut leads, &mut follows] {
            assert_eq!(subscription.recv_timeout(Duration::ZERO).map(|d| d.signal), Ok(SIGUSR1));
            assert_eq!(subscription.try_recv(), Ok(None));
        }
        // A timeout of for ever is one.
        kill_self(SIGUSR1);
        assert_eq!(leads.recv_timeout(Duration::MAX).unwrap().signal, SIGUSR1);
    });
}

/// The one that leads times out; another asleep takes over and misses nothing.
#[test]
fn the_lead_passes_on() {
    isolated("the_lead_passes_on", || {
        let mut stays = signal::subscribe([SIGUSR1]).unwrap();
        let mut leaves = signal::subscribe([SIGUSR2]).unwrap();
        for round in 0..300 {
            thread::scope(|scope| {
                let stays = masked_thread(scope, || stays.recv_timeout(SOON));
                let timeout = Duration::from_micros(round);
                let left = leaves.recv_timeout(timeout);
                assert_eq!(left, Err(RecvError::TimedOut));
                kill_self(SIGUSR1);
                assert_eq!(stays.join().unwrap().unwrap().signal, SIGUSR1);
            });
        }
    });
}

struct Unpark(Thread, AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Release);
        self.0.unpark();
    }
}

fn block_on<R>(future: impl Future<Output = R>) -> R {
    let waker = Waker::from(Arc::new(Unpark(thread::current(), AtomicUsize::new(0))));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park_timeout(SOON),
        }
    }
}

#[test]
fn a_task_is_woken() {
    isolated("a_task_is_woken", || {
        let mut subscription = signal::subscribe([SIGUSR1]).unwrap();
        let unpark = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&unpark));
        let mut cx = Context::from_waker(&waker);
        for round in 1..=1000 {
            assert!(subscription.poll_recv(&mut cx).is_pending());
            kill_self(SIGUSR1);
            while unpark.1.load(Acquire) < round {
                thread::park_timeout(SOON);
            }
            match subscription.poll_recv(&mut cx) {
                Poll::Ready(Some(delivery)) => assert_eq!(delivery.signal, SIGUSR1),
                other => panic!("woken for {other:?}"),
            }
        }
        assert!(subscription.poll_recv(&mut cx).is_pending());
        subscription.stop().unwrap();
        assert_eq!(unpark.1.load(Acquire), 1001, "a stop wakes it as well");
        assert_eq!(subscription.poll_recv(&mut cx), Poll::Ready(None));
    });
}

#[test]
fn asynchronous_and_blocked_by_turns() {
    isolated("asynchronous_and_blocked_by_turns", || {
        let mut subscription = signal::subscribe([SIGUSR1]).unwrap();
        let own = pid();
        for round in 0..100 {
            thread::scope(|scope| {
                // To the process, while this thread waits.
                scope.spawn(move || kill(own, SIGUSR1).unwrap());
                let got = match round % 3 {
                    0 => block_on(subscription.recv_async()),
                    1 => subscription.recv().ok(),
                    _ => subscription.iter().next(),
                };
                assert_eq!(got.unwrap().signal, SIGUSR1);
            });
        }
        subscription.stop().unwrap();
        assert_eq!(block_on(subscription.recv_async()), None);
    });
}

/// The lent thread may come too late, as nothing tells when it is the receiver: then it is told,
/// and another process tries.
#[test]
fn a_lent_thread_receives_until_shutdown() {
    let name = "a_lent_thread_receives_until_shutdown";
    const LATE: i32 = 3;
    isolated(name, || {
        if role() == "lend" {
            exit(if lend() { 0 } else { LATE });
        }
        let codes = (0..50).map(|_| Helper::start(name, "lend", &[]).finish().code());
        let in_time = codes.inspect(|code| assert!(matches!(code, Some(0 | LATE)), "{code:?}"));
        assert!(in_time.filter(|code| *code == Some(0)).count() > 0, "each came too late");
    });
}

fn lend() -> bool {
    thread::scope(|scope| {
        let (about_to, lends) = mpsc::channel();
        let lent = masked_thread(scope, move || {
            about_to.send(()).unwrap();
            signal::run_receiver()
        });
        lends.recv().unwrap();
        thread::yield_now();
        let (tell, told) = mpsc::channel();
        let sink = Builder::new().sink([SIGUSR1, SIGTERM], move |delivery| {
            tell.send((delivery.signal, thread::current().id())).unwrap();
        });
        let sink = sink.unwrap();
        assert_eq!(signal::run_receiver(), Err(SignalError::ReceiverTaken));
        let mut on_lent = true;
        for signal in [SIGUSR1, SIGTERM] {
            kill_self(signal);
            let (got, thread) = told.recv_timeout(SOON).unwrap();
            assert_eq!(got, signal);
            on_lent &= thread == lent.thread().id();
        }
        sink.stop().unwrap();
        signal::shutdown();
        assert_eq!(lent.join().unwrap().is_ok(), on_lent);
        on_lent
    })
}

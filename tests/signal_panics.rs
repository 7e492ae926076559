//! Wakers, sinks and payloads that panic: whoever fires them survives, all others are served, and
//! the owner is told.
//!
//! Bounded: each test is a process of its own with an alarm of 30 s.
#![cfg(all(unix, not(loom)))]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;

use common::*;
use libc::{SIGUSR1, SIGUSR2};
use portcullis::signal::{self, Builder, Panic, SignalError, StopError, Stopped, Subscription};

/// A task: counts how often it was woken, and panics then or when it goes, if it is to.
struct Task {
    woken: Arc<AtomicUsize>,
    wake_panics: bool,
    drop_panics: bool,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Relaxed);
        assert!(!self.wake_panics, "a wake that panics");
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        assert!(!self.drop_panics, "a task that panics when it goes");
    }
}

fn task(wake_panics: bool, drop_panics: bool) -> (Waker, Arc<AtomicUsize>) {
    let woken = Arc::default();
    let task = Task { woken: Arc::clone(&woken), wake_panics, drop_panics };
    (Waker::from(Arc::new(task)), woken)
}

/// Polls, with nothing there yet. The subscription alone holds the task then.
fn hand_over(subscription: &mut Subscription, waker: Waker) {
    assert!(subscription.poll_recv(&mut Context::from_waker(&waker)).is_pending());
}

fn wait_for(count: &AtomicUsize, at_least: usize) {
    let start = std::time::Instant::now();
    while count.load(Relaxed) < at_least {
        assert!(start.elapsed() < SOON, "{} of {at_least}", count.load(Relaxed));
        thread::yield_now();
    }
}

/// A value that panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

fn panic_of(stopped: Result<Stopped, StopError>) -> Panic {
    match stopped {
        Err(StopError::SinkPanicked(panic) | StopError::WakerPanicked(panic)) => panic,
        other => panic!("{other:?}"),
    }
}

/// The receiver is there and does its work.
fn assert_served() {
    let mut plain = signal::subscribe([SIGUSR2]).unwrap();
    let (tell, told) = mpsc::channel();
    let sink = Builder::new().sink([SIGUSR2], move |d| tell.send(d.signal).unwrap()).unwrap();
    kill_self(SIGUSR2);
    assert_eq!(told.recv_timeout(SOON), Ok(SIGUSR2));
    assert_eq!(plain.recv_timeout(SOON).unwrap().signal, SIGUSR2);
    sink.stop().unwrap();
    plain.stop().unwrap();
}

/// Every second of so many that more than one trip under the lock is needed for them.
#[test]
fn wakes_that_panic() {
    isolated("wakes_that_panic", || {
        let mut all: Vec<_> = (0..41)
            .map(|at| {
                let mut subscription = signal::subscribe([SIGUSR1]).unwrap();
                let (waker, woken) = task(at % 2 == 0, false);
                hand_over(&mut subscription, waker);
                (subscription, woken)
            })
            .collect();
        kill_self(SIGUSR1);
        for (at, (subscription, woken)) in all.iter_mut().enumerate() {
            wait_for(woken, 1);
            let (waker, _) = task(false, false);
            let received = subscription.poll_recv(&mut Context::from_waker(&waker));
            let Poll::Ready(Some(delivery)) = received else { panic!("{at}: {received:?}") };
            assert_eq!(delivery.signal, SIGUSR1);
        }
        assert_served();
        for (at, (subscription, woken)) in all.iter().enumerate() {
            assert_eq!(woken.load(Relaxed), 1);
            if at % 2 == 0 {
                let Err(error) = subscription.stop() else { panic!("{at}: not told") };
                assert!(error.to_string().contains("a wake that panics"), "{error}");
                assert!(matches!(error, StopError::WakerPanicked(_)));
            }
            assert_eq!(subscription.stop().unwrap(), Stopped::default(), "{at}: told once");
        }
        assert_eq!(disposition(SIGUSR1).unwrap().action, libc::SIG_DFL);
    });
}

#[test]
fn a_waker_that_panics_when_replaced_woken_by_stop_or_dropped() {
    isolated("a_waker_that_panics_when_replaced_woken_by_stop_or_dropped", || {
        // Replaced by the next poll, which is not disturbed.
        let mut replaced = signal::subscribe([SIGUSR1]).unwrap();
        hand_over(&mut replaced, task(false, true).0);
        hand_over(&mut replaced, task(false, false).0);
        assert_eq!(panic_of(replaced.stop()).message(), "a task that panics when it goes");
        // Woken by the stop itself, which tells it.
        let mut stopped = signal::subscribe([SIGUSR1]).unwrap();
        hand_over(&mut stopped, task(true, false).0);
        assert_eq!(panic_of(stopped.stop()).message(), "a wake that panics");
        // Both at once: the task goes with the wake.
        let mut both = signal::subscribe([SIGUSR1]).unwrap();
        hand_over(&mut both, task(false, true).0);
        kill_self(SIGUSR1);
        assert_served();
        assert_eq!(both.try_recv().unwrap().unwrap().signal, SIGUSR1);
        assert_eq!(panic_of(both.stop()).message(), "a task that panics when it goes");
        // Dropped, in order and while its thread unwinds: nobody is told, nothing ends.
        let mut dropped = signal::subscribe([SIGUSR1]).unwrap();
        hand_over(&mut dropped, task(false, true).0);
        drop(dropped);
        let mut unwound = signal::subscribe([SIGUSR1]).unwrap();
        hand_over(&mut unwound, task(true, false).0);
        let payload = catch_unwind(AssertUnwindSafe(move || {
            let _held = unwound;
            panic_any(7_u8);
        }));
        assert_eq!(payload.unwrap_err().downcast_ref(), Some(&7_u8));
        assert_served();
        assert_eq!(disposition(SIGUSR1).unwrap().action, libc::SIG_DFL);
    });
}

/// That is the panic of the task that polls, and loses nothing.
#[test]
fn a_waker_that_panics_when_cloned() {
    const TABLE: RawWakerVTable =
        RawWakerVTable::new(|_| panic!("a clone that panics"), |_| {}, |_| {}, |_| {});
    isolated("a_waker_that_panics_when_cloned", || {
        let mut subscription = signal::subscribe([SIGUSR1]).unwrap();
        // SAFETY: the functions touch no data.
        let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) };
        let mut poll = || subscription.poll_recv(&mut Context::from_waker(&waker)).is_pending();
        assert!(catch_unwind(AssertUnwindSafe(&mut poll)).is_err());
        kill_self(SIGUSR1);
        assert!(catch_unwind(AssertUnwindSafe(&mut poll)).is_err());
        assert_eq!(subscription.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        assert_served();
        subscription.stop().unwrap();
    });
}

#[test]
fn captures_that_panic_when_dropped() {
    isolated("captures_that_panic_when_dropped", || {
        // By the stop.
        let bomb = Bomb("captured");
        let sink = Builder::new().sink([SIGUSR1], move |_| _ = &bomb).unwrap();
        assert_eq!(panic_of(sink.stop()).message(), "captured");
        assert_eq!(sink.stop().unwrap(), Stopped::default());
        // By the receiver, after the sink has panicked itself: the first panic is told.
        let (tell, told) = mpsc::channel();
        let bomb = Bomb("captured");
        let sink = Builder::new().sink([SIGUSR1], move |_| {
            tell.send(()).unwrap();
            let _ = &bomb;
            panic!("called");
        });
        let sink = sink.unwrap();
        kill_self(SIGUSR1);
        told.recv_timeout(SOON).unwrap();
        assert_eq!(panic_of(sink.stop()).message(), "called");
        assert_served();
        // By the drop of the handle, in order and while its thread unwinds.
        let bomb = Bomb("captured");
        drop(Builder::new().sink([SIGUSR1], move |_| _ = &bomb).unwrap());
        let payload = catch_unwind(|| {
            let bomb = Bomb("captured");
            let _held = Builder::new().sink([SIGUSR1], move |_| _ = &bomb).unwrap();
            panic_any(7_u8);
        });
        assert_eq!(payload.unwrap_err().downcast_ref(), Some(&7_u8));
        // By the receiver, the handle having gone while the sink ran.
        let (tell, told) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let bomb = Bomb("captured");
        let sink = Builder::new().sink([SIGUSR1], move |_| {
            let _ = &bomb;
            tell.send(()).unwrap();
            let _ = held.recv();
        });
        let sink = sink.unwrap();
        kill_self(SIGUSR1);
        told.recv_timeout(SOON).unwrap();
        drop(sink);
        drop(release);
        assert_served();
        assert_eq!(disposition(SIGUSR1).unwrap().action, libc::SIG_DFL);
    });
}

#[test]
fn a_payload_that_panics_when_dropped() {
    isolated("a_payload_that_panics_when_dropped", || {
        let sink = || {
            let (tell, told) = mpsc::channel();
            let sink = Builder::new().sink([SIGUSR1], move |_| {
                tell.send(()).unwrap();
                panic_any(Bomb("payload"));
            });
            let sink = sink.unwrap();
            kill_self(SIGUSR1);
            told.recv_timeout(SOON).unwrap();
            sink
        };
        let panic = panic_of(sink().stop());
        assert_eq!(panic.message(), "(no text)");
        std::mem::forget(panic.into_payload());
        drop(sink().stop());
        drop(sink());
        let payload = catch_unwind(|| {
            let _held = (sink(), sink().stop());
            panic_any(7_u8);
        });
        assert_eq!(payload.unwrap_err().downcast_ref(), Some(&7_u8));
        assert_served();
    });
}

/// The program's own thread as the receiver outlives all of it, and returns in order.
#[test]
fn a_lent_thread_survives() {
    isolated("a_lent_thread_survives", || {
        // Of two one is taken; once the other was refused the part has its owner.
        let (ended, end) = mpsc::channel();
        let lends = [(); 2].map(|()| {
            let ended = ended.clone();
            thread::spawn(move || ended.send((thread::current().id(), signal::run_receiver())))
        });
        let (refused, why) = end.recv_timeout(SOON).unwrap();
        assert_eq!(why, Err(SignalError::ReceiverTaken));
        let lent = lends.iter().map(|lent| lent.thread().id()).find(|id| *id != refused).unwrap();
        let (tell, told) = mpsc::channel();
        let bomb = Bomb("captured");
        let sink = Builder::new().sink([SIGUSR1], move |_| {
            let _ = &bomb;
            tell.send(thread::current().id()).unwrap();
            panic_any(Bomb("payload"));
        });
        let sink = sink.unwrap();
        let mut polled = signal::subscribe([SIGUSR1]).unwrap();
        let (waker, woken) = task(true, false);
        hand_over(&mut polled, waker);
        kill_self(SIGUSR1);
        assert_eq!(told.recv_timeout(SOON), Ok(lent));
        wait_for(&woken, 1);
        assert_served();
        panic_of(sink.stop());
        panic_of(polled.stop());
        signal::shutdown();
        assert_eq!(end.recv_timeout(SOON), Ok((lent, Ok(()))));
    });
}

/// More threads than are woken in one trip under the lock.
#[test]
fn twenty_threads_asleep() {
    isolated("twenty_threads_asleep", || {
        let all: Vec<_> = (0..20).map(|_| signal::subscribe([SIGUSR1]).unwrap()).collect();
        thread::scope(|scope| {
            let threads: Vec<_> = all
                .into_iter()
                .map(|mut own| scope.spawn(move || own.recv_timeout(SOON).unwrap().signal))
                .collect();
            thread::sleep(SETTLE);
            kill_self(SIGUSR1);
            for thread in threads {
                assert_eq!(thread.join().unwrap(), SIGUSR1);
            }
        });
        assert_eq!(signal::counts(SIGUSR1).unwrap().received, 1);
    });
}

#[test]
fn a_detached_sink_stays() {
    isolated("a_detached_sink_stays", || {
        let (tell, told) = mpsc::channel();
        let sink = Builder::new().sink([SIGUSR1], move |d| tell.send(d.signal).unwrap()).unwrap();
        sink.detach();
        for _ in 0..3 {
            kill_self(SIGUSR1);
            assert_eq!(told.recv_timeout(SOON), Ok(SIGUSR1));
        }
        signal::reset([SIGUSR1]).unwrap();
        assert_eq!(disposition(SIGUSR1).unwrap().action, libc::SIG_DFL);
    });
}

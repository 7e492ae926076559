//! Wrong numbers, wrong times, and sinks that misbehave: a typed error, and nothing has changed.
//!
//! Bounded: each test is a process of its own with an alarm of 30 s; the numbers are the ends of
//! each range and every class.
#![cfg(all(unix, not(loom)))]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use libc::{SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH};
use portcullis::signal::{
    self, Builder, MAX_CAPACITY, RecvError, STOP_PATIENCE, SignalError, SinkHandle, StopError,
    Stopped,
};

const NONE: [i32; 0] = [];

fn bad() -> Vec<(i32, SignalError)> {
    let range = [-1, 0, 1000, i32::MIN, i32::MAX].map(|s| (s, SignalError::OutOfRange(s)));
    let unstoppable = [libc::SIGKILL, libc::SIGSTOP].map(|s| (s, SignalError::Unstoppable(s)));
    let synchronous = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL]
        .map(|s| (s, SignalError::Synchronous(s)));
    let mut all = [range.as_slice(), &unstoppable, &synchronous].concat();
    if cfg!(any(target_os = "linux", target_os = "android")) {
        all.extend((32..libc::SIGRTMIN()).map(|s| (s, SignalError::ReservedByLibc(s))));
        all.push((65, SignalError::OutOfRange(65)));
    }
    all
}

fn all_dispositions() -> Vec<Option<Disposition>> {
    (1..65).map(|signal| disposition(signal).ok()).collect()
}

#[test]
fn bad_numbers() {
    isolated("bad_numbers", || {
        let before = all_dispositions();
        for (signal, error) in bad() {
            // Behind a good one, which has to stay as it was.
            let set = [SIGUSR1, signal];
            assert_eq!(signal::subscribe(set).err(), Some(error));
            assert_eq!(Builder::new().sink(set, |_| {}).err(), Some(error));
            assert_eq!(signal::reset(set), Err(error));
            assert_eq!(signal::ignore(set), Err(error));
            assert_eq!(signal::is_ignored(signal), Err(error));
            assert_eq!(signal::counts(signal), Err(error));
            assert_eq!(signal::die_by(signal), error);
            assert!(error.to_string().contains(&signal.to_string()), "{error}");
            assert_eq!(all_dispositions(), before, "after signal {signal}");
        }
        assert_eq!(signal::subscribe(NONE).err(), Some(SignalError::NoSignals));
        assert_eq!(signal::reset(NONE), Err(SignalError::NoSignals));
        assert_eq!(signal::ignore(NONE), Err(SignalError::NoSignals));
        let none = Builder::new().capacity(0);
        assert_eq!(none.subscribe([SIGUSR1]).err(), Some(SignalError::NoCapacity));
        assert_eq!(none.sink([SIGUSR1], |_| {}).err(), Some(SignalError::NoCapacity));
        for large in [MAX_CAPACITY + 1, usize::MAX / 64, usize::MAX] {
            let (builder, error) =
                (Builder::new().capacity(large), SignalError::CapacityTooLarge(large));
            assert_eq!(builder.subscribe([SIGUSR1]).err(), Some(error));
            assert_eq!(builder.sink([SIGUSR1], |_| {}).err(), Some(error));
        }
        let largest = Builder::new().capacity(MAX_CAPACITY).subscribe([SIGUSR1]).unwrap();
        largest.stop().unwrap();
        assert_eq!(all_dispositions(), before);
        // And all is well for a good one, named twice.
        let mut good = signal::subscribe([SIGUSR1, SIGUSR1]).unwrap();
        kill_self(SIGUSR1);
        assert_eq!(good.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        assert_eq!(good.try_recv(), Ok(None));
    });
}

#[test]
fn stopped_twice_received_late_shut_down() {
    isolated("stopped_twice_received_late_shut_down", || {
        let before = disposition(SIGUSR1).unwrap();
        let mut subscription = signal::subscribe([SIGUSR1]).unwrap();
        assert_eq!(signal::run_receiver(), Err(SignalError::ReceiverTaken));
        kill_self(SIGUSR1);
        for _ in 0..2 {
            assert_eq!(subscription.stop().unwrap(), Stopped::default());
        }
        assert_eq!(subscription.recv().unwrap().signal, SIGUSR1, "accepted before the stop");
        assert_eq!(subscription.recv(), Err(RecvError::Stopped));
        assert_eq!(subscription.try_recv(), Err(RecvError::Stopped));
        let stopper = subscription.stopper();
        drop(subscription);
        assert_eq!(stopper.stop().unwrap(), Stopped::default());

        let mut last = signal::subscribe([SIGUSR1]).unwrap();
        let mut asleep = signal::subscribe([SIGUSR2]).unwrap();
        kill_self(SIGUSR1);
        thread::scope(|scope| {
            let waits = scope.spawn(|| asleep.recv());
            signal::shutdown();
            assert_eq!(waits.join().unwrap(), Err(RecvError::ShutDown));
        });
        signal::shutdown();
        assert_eq!(disposition(SIGUSR1).unwrap(), before);
        assert_eq!(last.recv().unwrap().signal, SIGUSR1);
        assert_eq!(last.recv(), Err(RecvError::ShutDown));
        assert_eq!(last.recv_timeout(SETTLE), Err(RecvError::ShutDown));
        assert_eq!(last.stop().unwrap(), Stopped::default());
        assert_eq!(signal::subscribe([SIGUSR1]).err(), Some(SignalError::ShutDown));
        assert_eq!(Builder::new().sink([SIGUSR1], |_| {}).err(), Some(SignalError::ShutDown));
        assert_eq!(signal::reset([SIGUSR1]), Err(SignalError::ShutDown));
        assert_eq!(signal::ignore([SIGUSR1]), Err(SignalError::ShutDown));
        assert_eq!(signal::run_receiver(), Err(SignalError::ShutDown));
        assert_eq!(signal::counts(SIGUSR1).unwrap().received, 2);
    });
}

/// A sink, and a subscription of the same signal that goes on.
#[test]
fn a_sink_that_panics() {
    isolated("a_sink_that_panics", || {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let sink = Builder::new().sink([SIGUSR1], move |_| {
            counted.fetch_add(1, Relaxed);
            panic!("as the test wants it");
        });
        let sink = sink.unwrap();
        let mut other = signal::subscribe([SIGUSR1]).unwrap();
        for _ in 0..3 {
            kill_self(SIGUSR1);
            assert_eq!(other.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        }
        let Err(error) = sink.stop() else { panic!("the panic is handed out") };
        assert!(error.to_string().contains("as the test wants it"), "{error}");
        let StopError::SinkPanicked(panic) = error else { panic!("{error:?}") };
        assert_eq!(panic.message(), "as the test wants it");
        let payload = panic.into_payload();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"as the test wants it"));
        assert_eq!(calls.load(Relaxed), 1);
        assert_eq!(sink.dropped(), 2);
        assert_eq!(sink.stop().unwrap(), Stopped::default(), "once");
        kill_self(SIGUSR1);
        assert_eq!(other.recv_timeout(SOON).unwrap().signal, SIGUSR1);
    });
}

#[test]
fn a_sink_that_stops_itself_and_subscribes_another() {
    isolated("a_sink_that_stops_itself_and_subscribes_another", || {
        let own: Arc<Mutex<Option<SinkHandle>>> = Arc::default();
        let (tell, told) = mpsc::channel();
        let handle = Arc::clone(&own);
        let sink = Builder::new().sink([SIGUSR1], move |delivery| {
            let further = tell.clone();
            let next = Builder::new().sink([SIGUSR2], move |second| {
                further.send((second.signal, None)).unwrap();
            });
            let stopped = handle.lock().unwrap().as_ref().unwrap().stop().unwrap();
            tell.send((delivery.signal, Some((next.unwrap(), stopped)))).unwrap();
        });
        *own.lock().unwrap() = Some(sink.unwrap());
        kill_self(SIGUSR1);
        let (signal, next) = told.recv_timeout(SOON).unwrap();
        let (next, stopped) = next.unwrap();
        assert_eq!((signal, stopped), (SIGUSR1, Stopped::default()));
        assert_eq!(disposition(SIGUSR1).unwrap().action, libc::SIG_DFL);
        kill_self(SIGUSR2);
        assert_eq!(told.recv_timeout(SOON).unwrap().0, SIGUSR2);
        next.stop().unwrap();
        own.lock().unwrap().take().unwrap().stop().unwrap();
    });
}

#[test]
fn a_sink_that_does_not_return() {
    isolated("a_sink_that_does_not_return", || {
        let (tell, told) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let sink = Builder::new().sink([SIGUSR1], move |_| {
            tell.send(()).unwrap();
            let _ = held.recv();
        });
        let sink = sink.unwrap();
        let mut other = signal::subscribe([SIGUSR1]).unwrap();
        kill_self(SIGUSR1);
        told.recv_timeout(SOON).unwrap();
        kill_self(SIGUSR1);
        // No receiver is free, and `try_recv` and `stop` need none.
        let start = Instant::now();
        assert_eq!(other.try_recv().unwrap().unwrap().signal, SIGUSR1);
        other.stop().unwrap();
        assert_eq!(other.try_recv().unwrap().unwrap().signal, SIGUSR1);
        signal::subscribe([SIGHUP]).unwrap().stop().unwrap();
        signal::ignore([SIGWINCH]).unwrap();
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());

        let start = Instant::now();
        assert!(matches!(sink.stop(), Err(StopError::SinkBusy)));
        let took = start.elapsed();
        assert!((STOP_PATIENCE..STOP_PATIENCE * 2).contains(&took), "{took:?}");
        assert_eq!(disposition(SIGUSR1).unwrap().action, libc::SIG_DFL, "given up all the same");
        assert_eq!(sink.dropped(), 1);
        drop(release);
        // It returns now, and was not called for what came after.
        sink.stop().unwrap();
        assert!(told.try_recv().is_err());
    });
}

/// `stop` returns once the last call has, on whichever thread that is.
#[test]
fn a_stopped_sink_has_had_its_last_call() {
    isolated("a_stopped_sink_has_had_its_last_call", || {
        for _ in 0..200 {
            let calls = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&calls);
            let sink = Builder::new().sink([SIGUSR1], move |delivery| {
                counted.fetch_add(1 + delivery.coalesced as usize, Relaxed);
            });
            let sink = sink.unwrap();
            (0..3).for_each(|_| kill_self(SIGUSR1));
            sink.stop().unwrap();
            assert_eq!(calls.load(Relaxed), 3);
        }
    });
}

#[test]
fn ten_thousand_subscriptions() {
    isolated("ten_thousand_subscriptions", || {
        let start = Instant::now();
        let mut all: Vec<_> = (0..10_000).map(|_| signal::subscribe([SIGUSR1]).unwrap()).collect();
        let subscribed = start.elapsed();
        kill_self(SIGUSR1);
        for subscription in &mut all {
            assert_eq!(subscription.recv_timeout(SOON).unwrap().signal, SIGUSR1);
        }
        let received = start.elapsed() - subscribed;
        drop(all);
        let dropped = start.elapsed() - subscribed - received;
        eprintln!(
            "ten_thousand_subscriptions: made in {subscribed:.1?}, received in {received:.1?}, \
             dropped in {dropped:.1?}"
        );
        assert_eq!(disposition(SIGUSR1).unwrap(), Disposition::simple(libc::SIG_DFL));
        assert_eq!(signal::counts(SIGUSR1).unwrap().received, 1);
    });
}

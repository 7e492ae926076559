//! Signals. Safe code has no kill(2): a child process of its own sends them.

use std::cell::Cell;
use std::mem::forget;
use std::panic::catch_unwind;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use portcullis::signal::{self, Builder, RecvError, SignalError, StopError, Subscription};

use super::alone;

const USR1: i32 = 10;
const USR2: i32 = 12;
const SOON: Duration = Duration::from_secs(20);

fn kill(signal: i32) {
    let process = std::process::id().to_string();
    let sent = Command::new("kill").args([&format!("-{signal}"), &process]).status().unwrap();
    assert!(sent.success());
}

/// Whatever happened before, who subscribes receives.
#[track_caller]
fn assert_alive() {
    let mut subscription = signal::subscribe([USR2]).unwrap();
    kill(USR2);
    assert_eq!(subscription.recv_timeout(SOON).unwrap().signal, USR2);
    let (tell, told) = channel();
    let sink = Builder::new().sink([USR2], move |_| tell.send(()).unwrap()).unwrap();
    kill(USR2);
    told.recv_timeout(SOON).unwrap();
    sink.stop().unwrap();
    subscription.stop().unwrap();
}

fn quietly() {
    std::panic::set_hook(Box::new(|_| ()));
}

#[test]
fn capacities_that_nothing_holds() {
    alone("signals::capacities_that_nothing_holds", || {
        for (capacity, refused) in [
            (0, SignalError::NoCapacity),
            (usize::MAX, SignalError::CapacityTooLarge(usize::MAX)),
            (signal::MAX_CAPACITY + 1, SignalError::CapacityTooLarge(signal::MAX_CAPACITY + 1)),
        ] {
            let builder = Builder::new().capacity(capacity);
            assert_eq!(builder.subscribe([USR2]).map(drop), Err(refused));
            assert_eq!(builder.sink([USR2], |_| ()).map(drop), Err(refused));
        }
        assert_alive();
    });
}

#[test]
fn numbers_that_are_no_signals() {
    alone("signals::numbers_that_are_no_signals", || {
        for number in [0, -1, 9, 19, 11, 7, 8, 4, 32, 33, 65, 1000, i32::MAX, i32::MIN] {
            let refusals = [
                signal::subscribe([USR2, number]).map(drop),
                Builder::new().sink([number], |_| ()).map(drop),
                signal::ignore([number]),
                signal::reset([number]),
                signal::is_ignored(number).map(drop),
                signal::counts(number).map(drop),
            ];
            for refused in refusals {
                assert!(refused.unwrap_err().to_string().contains(&number.to_string()));
            }
            let _ = signal::die_by(number);
        }
        assert_eq!(signal::subscribe([0; 0]).map(drop), Err(SignalError::NoSignals));
        assert_alive();
    });
}

/// The numbers come from code that panics, subscribes and shuts nothing.
#[test]
fn numbers_from_hostile_iterators() {
    alone("signals::numbers_from_hostile_iterators", || {
        quietly();
        let panics = || (0..3).map(|at| if at < 2 { USR2 } else { panic!("half-way") });
        catch_unwind(|| signal::subscribe(panics()).map(drop)).unwrap_err();
        catch_unwind(|| signal::ignore(panics())).unwrap_err();
        let nested = (0..2).map(|_| {
            assert_alive();
            USR2
        });
        drop(signal::subscribe(nested).unwrap());
        assert_alive();
    });
}

/// Panics when it is woken, and when it is dropped.
struct Explodes(AtomicU32);

impl Wake for Explodes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
        panic!("woken");
    }
}

impl Drop for Explodes {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("dropped");
        }
    }
}

#[test]
fn wakers_that_panic() {
    alone("signals::wakers_that_panic", || {
        quietly();
        let mut subscription = signal::subscribe([USR1]).unwrap();
        let waker = Waker::from(Arc::new(Explodes(AtomicU32::new(0))));
        assert!(matches!(subscription.poll_recv(&mut Context::from_waker(&waker)), Poll::Pending));
        kill(USR1);
        assert_eq!(subscription.recv_timeout(SOON).unwrap().signal, USR1);
        assert_alive();
        let told = subscription.stop();
        assert!(matches!(told, Ok(_) | Err(StopError::WakerPanicked(_))), "{told:?}");
        forget(waker);
        assert_alive();
    });
}

/// Panics when it is dropped.
struct Mine;

impl Drop for Mine {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("dropped");
        }
    }
}

#[test]
fn sinks_that_panic_everywhere() {
    alone("signals::sinks_that_panic_everywhere", || {
        quietly();
        let mine = Mine;
        let sink = Builder::new().sink([USR1], move |_| {
            let _ = &mine;
            std::panic::panic_any(Mine);
        });
        let sink = sink.unwrap();
        kill(USR1);
        assert_alive();
        match sink.stop() {
            Err(StopError::SinkPanicked(panic)) => assert!(!panic.to_string().is_empty()),
            other => panic!("{other:?}"),
        }
        let mine = Mine;
        drop(Builder::new().sink([USR1], move |_| _ = &mine).unwrap());
        assert_alive();
    });
}

/// A sink stops itself, subscribes, and drops what is its own.
#[test]
fn sinks_that_call_back() {
    alone("signals::sinks_that_call_back", || {
        let (tell, told) = channel();
        let (give, given) = channel::<signal::Stopper>();
        let sink = Builder::new().sink([USR1], move |_| {
            let stopper = given.recv().unwrap();
            stopper.stop().unwrap();
            stopper.stop().unwrap();
            drop(signal::subscribe([USR2]).unwrap());
            tell.send(()).unwrap();
        });
        let sink = sink.unwrap();
        give.send(sink.stopper()).unwrap();
        kill(USR1);
        told.recv_timeout(SOON).unwrap();
        sink.stop().unwrap();
        assert_alive();
    });
}

#[test]
fn handles_forgotten() {
    alone("signals::handles_forgotten", || {
        for _ in 0..20 {
            forget(signal::subscribe([USR1]).unwrap());
            forget(Builder::new().capacity(1).sink([USR1], |_| ()).unwrap());
            let mut subscription = signal::subscribe([USR1]).unwrap();
            forget(Box::pin(subscription.recv_async()));
            let _ = subscription.iter();
            drop(subscription);
        }
        kill(USR1);
        assert_alive();
    });
}

fn waits(mut subscription: Subscription) -> thread::JoinHandle<RecvError> {
    thread::spawn(move || subscription.recv().unwrap_err())
}

#[test]
fn stopped_twice_and_by_others() {
    alone("signals::stopped_twice_and_by_others", || {
        let subscription = signal::subscribe([USR1]).unwrap();
        let stoppers: Vec<_> = (0..8).map(|_| subscription.stopper()).collect();
        let waiting = waits(subscription);
        let stops = stoppers.into_iter().map(|one| thread::spawn(move || one.stop().map(drop)));
        stops.collect::<Vec<_>>().into_iter().for_each(|one| one.join().unwrap().unwrap());
        assert_eq!(waiting.join().unwrap(), RecvError::Stopped);
        assert_alive();
    });
}

#[test]
fn a_second_receiver() {
    alone("signals::a_second_receiver", || {
        assert_alive();
        for _ in 0..3 {
            assert_eq!(signal::run_receiver(), Err(SignalError::ReceiverTaken));
        }
        assert_alive();
    });
}

#[test]
fn used_after_shutdown() {
    alone("signals::used_after_shutdown", || {
        let waiting = waits(signal::subscribe([USR1]).unwrap());
        let mut kept = signal::subscribe([USR1]).unwrap();
        signal::shutdown();
        signal::shutdown();
        assert_eq!(waiting.join().unwrap(), RecvError::ShutDown);
        assert!(matches!(kept.try_recv(), Err(RecvError::ShutDown | RecvError::Stopped)));
        kept.stop().unwrap();
        let refused = [
            signal::subscribe([USR1]).map(drop),
            signal::ignore([USR1]),
            signal::reset([USR1]),
            signal::run_receiver(),
        ];
        assert!(refused.into_iter().all(|done| done == Err(SignalError::ShutDown)));
    });
}

thread_local! {
    static LAST: Cell<Option<Subscription>> = const { Cell::new(None) };
}

#[test]
fn subscriptions_in_thread_locals() {
    alone("signals::subscriptions_in_thread_locals", || {
        for _ in 0..20 {
            thread::spawn(|| LAST.set(Some(signal::subscribe([USR1]).unwrap()))).join().unwrap();
        }
        assert_alive();
    });
}

//! What sinks and wakers start.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use libc::{SIGHUP, SIGUSR1};
use portcullis::signal::{self, Builder};

use super::common::*;

/// Of the calling thread, of one that it starts, and of a child.
fn masks() -> [String; 3] {
    fn of(status: String) -> String {
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        line.trim().to_string()
    }
    let own = || of(std::fs::read_to_string("/proc/thread-self/status").unwrap());
    let child = std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
    let child = of(String::from_utf8(child.stdout).unwrap());
    [own(), std::thread::spawn(own).join().unwrap(), child]
}

/// Threads and children that are started in a sink or a waker hear signals as those of who subscribed do, what is
/// subscribed to included.
#[test]
fn what_they_start_is_not_deaf() {
    struct Sends(Mutex<mpsc::Sender<[String; 3]>>);
    impl Wake for Sends {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().send(masks()).unwrap();
        }
    }
    isolated("sinks::what_they_start_is_not_deaf", || {
        // One that is masked by who subscribes stays so.
        set_mask(1 << libc::SIGTTOU);
        let expected = masks();
        assert!(expected.iter().all(|mask| u64::from_str_radix(mask, 16) == Ok(1 << 21)));
        let (tell, told) = mpsc::channel();
        let from_sink = tell.clone();
        let sink = move |_: &signal::Delivery| from_sink.send(masks()).unwrap();
        let sink = Builder::new().sink([SIGUSR1], sink).unwrap();
        let mut subscription = signal::subscribe([SIGHUP]).unwrap();
        let waker = Waker::from(Arc::new(Sends(Mutex::new(tell))));
        assert!(subscription.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        for signal in [SIGUSR1, SIGHUP] {
            kill_self(signal);
            assert_eq!(told.recv_timeout(SOON).unwrap(), expected);
        }
        sink.stop().unwrap();
    });
}

/// A supervisor: what is subscribed to ends what a sink has started, as it would have anywhere.
#[test]
fn a_child_of_a_sink_ends_as_any_other() {
    isolated("sinks::a_child_of_a_sink_ends_as_any_other", || {
        let (tell, told) = mpsc::channel();
        let sink = Builder::new().sink([SIGHUP, libc::SIGTERM], move |delivery| {
            if delivery.signal == SIGHUP {
                tell.send(std::process::Command::new("sleep").arg("1000").spawn().unwrap())
                    .unwrap();
            }
        });
        let sink = sink.unwrap();
        kill_self(SIGHUP);
        let mut child = told.recv_timeout(SOON).unwrap();
        // SAFETY: the child was not waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        sink.stop().unwrap();
    });
}

/// All threads of this process run by turns.
fn one_processor() {
    // SAFETY: a set of the system's size, of one processor that the caller may use.
    unsafe {
        let mut only: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut only);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&only), &raw const only), 0);
    }
}

/// A sink hears what is subscribed to, and the system gives it to the sink's thread: what was sent before a stop is
/// in the mailbox nevertheless.
#[test]
fn stop_beside_a_sink() {
    const ROUNDS: u32 = 500;
    isolated("sinks::stop_beside_a_sink", || {
        // What one thread is given it takes when the other waits.
        one_processor();
        // The rounds that a sink has begun, and those that are over.
        static BEGUN: AtomicU32 = AtomicU32::new(0);
        static OVER: AtomicU32 = AtomicU32::new(0);
        let sink = Builder::new().sink([SIGHUP], |_| {
            let round = BEGUN.fetch_add(1, Release);
            while OVER.load(Acquire) == round {
                std::thread::yield_now();
            }
        });
        let sink = sink.unwrap();
        let open = mask();
        for round in 0..ROUNDS {
            kill_self(SIGHUP);
            while BEGUN.load(Acquire) == round {
                std::thread::yield_now();
            }
            let mut subscription = signal::subscribe([SIGUSR1]).unwrap();
            // The one that took the last is given the next: the sink's, as no other can.
            set_mask(open | 1 << SIGUSR1);
            kill_self(SIGUSR1);
            // The receiver is in the sink, and serves nobody who sleeps.
            while subscription.try_recv().unwrap().is_none() {
                std::thread::yield_now();
            }
            set_mask(open);
            kill_self(SIGUSR1);
            subscription.stop().unwrap();
            let delivery = subscription.try_recv().unwrap();
            assert_eq!(delivery.map(|it| it.signal), Some(SIGUSR1), "round {round}");
            OVER.store(round + 1, Release);
        }
        sink.stop().unwrap();
    });
}

/// No thread can be made: said, and nothing has changed. A lent one receives.
#[test]
fn no_thread_to_be_had() {
    isolated("sinks::no_thread_to_be_had", || {
        let (tell, told) = mpsc::channel::<()>();
        let subscribes = std::thread::spawn(move || {
            told.recv().unwrap();
            // As soon as the thread is lent.
            let sink = loop {
                let sink = Builder::new().sink([SIGUSR1], |_| signal::shutdown());
                match sink {
                    Ok(sink) => break sink,
                    Err(refused) => assert_eq!(refused, signal::SignalError::NoThread),
                }
            };
            kill_self(SIGUSR1);
            sink.detach();
        });
        let (none, nobody) = (libc::rlimit { rlim_cur: 0, rlim_max: 0 }, 65_534);
        // The first user is above the limit.
        // SAFETY: the limit is a local; rights are given up.
        unsafe {
            assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &raw const none), 0);
            libc::setresuid(nobody, nobody, nobody);
        }
        let refused = signal::subscribe([SIGUSR1]).map(drop);
        assert_eq!(refused, Err(signal::SignalError::NoThread));
        assert_eq!(disposition(SIGUSR1).unwrap().action, libc::SIG_DFL);
        tell.send(()).unwrap();
        signal::run_receiver().unwrap();
        subscribes.join().unwrap();
    });
}

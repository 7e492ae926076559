//! What sinks and wakers start.

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

/// Threads and children that are started in a sink or a waker hear signals as those of who subscribed do, but
/// for those that are subscribed to.
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
        // What is subscribed to is for other threads; all else is heard.
        let subscribed = 1_u64 << (SIGUSR1 - 1) | 1 << (SIGHUP - 1) | 1 << 21;
        let expected = expected.map(|_| format!("{subscribed:016x}"));
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

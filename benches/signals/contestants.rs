//! Everything that can receive a signal, behind one interface: start it, see it called, stop it.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Arc, Once};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

use portcullis::note::{Note, Park};
use portcullis::signal::{self, Builder, Delivery, Subscription};

use crate::os;

/// Deliveries since the last [`reset`].
pub(crate) static DELIVERED: AtomicU64 = AtomicU64::new(0);
/// Signals that ours reports as merged into one of those; the others do not say.
pub(crate) static MERGED: AtomicU64 = AtomicU64::new(0);
/// When the last one was received; only while [`TIMING`].
pub(crate) static RECEIVED_AT: AtomicU64 = AtomicU64::new(0);
static TIMING: AtomicBool = AtomicBool::new(false);

fn ours_delivered(main: &Thread, delivery: &Delivery) {
    MERGED.fetch_add(u64::from(delivery.coalesced), Relaxed);
    delivered(main);
}

/// A delivery has reached the program's code.
fn delivered(main: &Thread) {
    if TIMING.load(Relaxed) {
        RECEIVED_AT.store(os::now(), Relaxed);
        DELIVERED.fetch_add(1, Release);
        main.unpark();
    } else {
        DELIVERED.fetch_add(1, Relaxed);
    }
}

pub(crate) fn reset(timing: bool) {
    TIMING.store(timing, SeqCst);
    DELIVERED.store(0, SeqCst);
    MERGED.store(0, SeqCst);
}

/// Ends what was started, and waits for its threads.
pub(crate) type Running = Box<dyn FnOnce()>;

pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) signal: i32,
    /// Whether it can have several subscribers of its own accord.
    pub(crate) many: bool,
    /// Starts so many subscribers. Its threads mask all signals.
    start: fn(i32, usize, Thread) -> Running,
}

impl Contestant {
    pub(crate) fn start(&self, subscribers: usize) -> Running {
        let main = thread::current();
        os::masked(|| (self.start)(self.signal, subscribers, main))
    }
}

/// The one that the others are compared with.
pub(crate) const REFERENCE: &str = "ctrlc";

pub(crate) fn all() -> Vec<Contestant> {
    let ours = libc::SIGHUP;
    let new = |name, signal, many, start| Contestant { name, signal, many, start };
    vec![
        new("sigwaitinfo thread", libc::SIGVTALRM, false, start_sigwait),
        new("bare handler, futex", libc::SIGTTIN, false, start_note),
        new(REFERENCE, libc::SIGINT, false, start_ctrlc),
        new("ours, blocked recv", ours, true, start_recv),
        new("ours, recv beside a sink", ours, true, start_recv_beside_sink),
        new("ours, sink", ours, true, start_sink),
        new("ours, async", ours, true, start_async),
        new("signal-hook, iterator", libc::SIGUSR1, true, start_hook_iterator),
        new("signal-hook, pipe", libc::SIGURG, true, start_hook_pipe),
        new("tokio, current thread", libc::SIGUSR2, true, start_tokio),
    ]
}

fn join_all(threads: Vec<JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("a receiver ends well"));
}

fn start_sigwait(signal: i32, _: usize, main: Thread) -> Running {
    let ended = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&ended);
    let thread = thread::spawn(move || {
        let set = os::set_of(signal);
        loop {
            os::sigwaitinfo(&set);
            if theirs.load(SeqCst) {
                return;
            }
            delivered(&main);
        }
    });
    Box::new(move || {
        ended.store(true, SeqCst);
        os::kill(os::pid(), signal);
        join_all(vec![thread]);
    })
}

/// A handler that does nothing but wake one thread: the floor of whatever sleeps on a futex.
fn start_note(signal: i32, _: usize, main: Thread) -> Running {
    static NOTE: Note = Note::new();
    extern "C" fn wake(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        NOTE.wake();
    }
    os::install(signal, wake);
    let ended = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&ended);
    let thread = thread::spawn(move || {
        loop {
            NOTE.sleep(None);
            NOTE.clear();
            if theirs.load(SeqCst) {
                return;
            }
            delivered(&main);
        }
    });
    Box::new(move || {
        ended.store(true, SeqCst);
        NOTE.wake();
        join_all(vec![thread]);
    })
}

fn start_ctrlc(_: i32, _: usize, main: Thread) -> Running {
    // It cannot be stopped, so it starts once.
    static ONCE: Once = Once::new();
    ONCE.call_once(|| ctrlc::set_handler(move || delivered(&main)).expect("SIGINT is free"));
    Box::new(|| ())
}

fn start_recv(signal: i32, subscribers: usize, main: Thread) -> Running {
    let start = |_| {
        let mut subscription = signal::subscribe([signal]).expect("subscribed");
        let (stopper, main) = (subscription.stopper(), main.clone());
        let receive = move || subscription.iter().for_each(|d| ours_delivered(&main, &d));
        (stopper, thread::spawn(receive))
    };
    let (stoppers, threads): (Vec<_>, Vec<_>) = (0..subscribers).map(start).unzip();
    Box::new(move || {
        stoppers.iter().for_each(|stopper| drop(stopper.stop()));
        join_all(threads);
    })
}

fn start_recv_beside_sink(signal: i32, subscribers: usize, main: Thread) -> Running {
    let sink = Builder::new().sink([libc::SIGIO], |_| ()).expect("subscribed");
    let running = start_recv(signal, subscribers, main);
    Box::new(move || {
        running();
        drop(sink);
    })
}

fn start_sink(signal: i32, subscribers: usize, main: Thread) -> Running {
    let start = |_| {
        let main = main.clone();
        Builder::new().sink([signal], move |d| ours_delivered(&main, d)).expect("subscribed")
    };
    let sinks: Vec<_> = (0..subscribers).map(start).collect();
    Box::new(move || drop(sinks))
}

struct Unparker(Thread);

impl Wake for Unparker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unparker(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

fn start_async(signal: i32, subscribers: usize, main: Thread) -> Running {
    async fn receive(mut subscription: Subscription, main: Thread) {
        while let Some(delivery) = subscription.recv_async().await {
            ours_delivered(&main, &delivery);
        }
    }
    let start = |_| {
        let subscription = signal::subscribe([signal]).expect("subscribed");
        let (stopper, main) = (subscription.stopper(), main.clone());
        (stopper, thread::spawn(move || block_on(receive(subscription, main))))
    };
    let (stoppers, threads): (Vec<_>, Vec<_>) = (0..subscribers).map(start).unzip();
    Box::new(move || {
        stoppers.iter().for_each(|stopper| drop(stopper.stop()));
        join_all(threads);
    })
}

fn start_hook_iterator(signal: i32, subscribers: usize, main: Thread) -> Running {
    let start = |_| {
        let mut signals = signal_hook::iterator::Signals::new([signal]).expect("registered");
        let (handle, main) = (signals.handle(), main.clone());
        (handle, thread::spawn(move || signals.forever().for_each(|_| delivered(&main))))
    };
    let (handles, threads): (Vec<_>, Vec<_>) = (0..subscribers).map(start).unzip();
    Box::new(move || {
        handles.iter().for_each(|handle| handle.close());
        join_all(threads);
    })
}

fn start_hook_pipe(signal: i32, subscribers: usize, main: Thread) -> Running {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    let start = |_| {
        let (mut reader, writer) = UnixStream::pair().expect("a pair");
        let end = reader.try_clone().expect("a second handle");
        let id = signal_hook::low_level::pipe::register(signal, writer).expect("registered");
        let main = main.clone();
        let receive = move || {
            // What has piled up is one delivery, as with signal-hook's own iterator.
            let mut bytes = [0; 1024];
            while reader.read(&mut bytes).is_ok_and(|read| read > 0) {
                delivered(&main);
            }
        };
        ((id, end), thread::spawn(receive))
    };
    let (ends, threads): (Vec<_>, Vec<_>) = (0..subscribers).map(start).unzip();
    Box::new(move || {
        for (id, end) in ends {
            signal_hook::low_level::unregister(id);
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
        join_all(threads);
    })
}

fn start_tokio(number: i32, subscribers: usize, main: Thread) -> Running {
    use tokio::signal::unix::{SignalKind, signal};

    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let (ready, started) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            for _ in 0..subscribers {
                let mut stream = signal(SignalKind::from_raw(number)).expect("registered");
                let main = main.clone();
                tokio::spawn(async move {
                    while stream.recv().await.is_some() {
                        delivered(&main);
                    }
                });
            }
            ready.send(()).expect("the starter waits");
            let _ = ended.await;
        });
    });
    started.recv().expect("the runtime starts");
    Box::new(move || {
        let _ = end.send(());
        join_all(vec![thread]);
    })
}

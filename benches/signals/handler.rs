//! What a signal costs the thread that takes it, and what `send` costs without the kernel.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use portcullis::signal::{self, Builder, SinkHandle, Subscription};
use portcullis::sigqueue::{Event, Origin, SignalQueue};

use crate::{os, stats};

/// Standard signals that may be sent directly, to measure many sends at once.
const DIRECT: std::ops::Range<i32> = 1..32;
/// In which a receiver falls asleep again.
const SETTLE: Duration = Duration::from_micros(20);

/// One way to take a signal: does it so many times, and answers with the nanoseconds.
struct Case {
    name: &'static str,
    run: Box<dyn FnMut(u64) -> u64>,
}

/// Times `measured` alone, `after` each time; the clock's own cost is in it, as it is in all.
fn timed(
    name: &'static str,
    mut measured: impl FnMut() + 'static,
    mut after: impl FnMut() + 'static,
) -> Case {
    let run = move |times| {
        let mut sum = 0;
        for _ in 0..times {
            let start = os::now();
            measured();
            sum += os::now() - start;
            after();
        }
        sum
    };
    Case { name, run: Box::new(run) }
}

fn settle() {
    thread::sleep(SETTLE);
}

/// Drained as soon as written, by the thread that raises.
fn hook_pipe(name: &'static str, signal: i32, drained: bool) -> Case {
    let (mut reader, writer) = UnixStream::pair().expect("a pair");
    signal_hook::low_level::pipe::register(signal, writer).expect("registered");
    let drain = move || {
        if drained {
            let _ = reader.read(&mut [0; 64]);
        } else {
            // Only owned: the pipe fills up.
            let _ = &reader;
        }
    };
    timed(name, move || os::raise(signal), drain)
}

fn hook_pipe_asleep(signal: i32) -> Case {
    let (mut reader, writer) = UnixStream::pair().expect("a pair");
    signal_hook::low_level::pipe::register(signal, writer).expect("registered");
    os::masked(|| thread::spawn(move || while reader.read(&mut [0; 64]).is_ok() {}));
    timed("signal-hook, pipe, reader asleep", move || os::raise(signal), settle)
}

/// The receiver's thread inside a sink until dropped: not asleep as far as the queue knows, and
/// without a timer of its own that would interrupt what is measured.
struct Awake {
    _end: Sender<()>,
    _sink: SinkHandle,
}

impl Awake {
    fn new() -> Self {
        let (end, ended) = channel::<()>();
        let (enter, entered) = channel();
        let sink = move |_: &_| {
            let _ = enter.send(());
            let _ = ended.recv();
        };
        let sink = Builder::new().sink([libc::SIGIO], sink).expect("subscribed");
        os::raise(libc::SIGIO);
        entered.recv().expect("the sink is called");
        // In this order: the sink's stop waits for its call.
        Self { _end: end, _sink: sink }
    }
}

/// Ours, with the receiver in a state that lasts for one run.
fn ours_awake(name: &'static str, drained: bool) -> Case {
    let run = move |times| {
        let awake = Awake::new();
        let mut own: Subscription = signal::subscribe([libc::SIGHUP]).expect("subscribed");
        os::raise(libc::SIGHUP);
        let drain = move || {
            if drained {
                let _ = own.try_recv();
            }
        };
        let sum = (timed(name, || os::raise(libc::SIGHUP), drain).run)(times);
        drop(awake);
        sum
    };
    Case { name, run: Box::new(run) }
}

fn ours_asleep() -> Case {
    let name = "ours, receiver asleep";
    let run = move |times| {
        let subscription = signal::subscribe([libc::SIGHUP]).expect("subscribed");
        settle();
        let sum = (timed(name, || os::raise(libc::SIGHUP), settle).run)(times);
        drop(subscription);
        sum
    };
    Case { name, run: Box::new(run) }
}

fn tokio_asleep() -> Case {
    use tokio::signal::unix::{SignalKind, signal};
    let (ready, started) = channel();
    // The runtime ends with the case: it would be woken for every other one's signals.
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    os::masked(|| {
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let mut stream = signal(SignalKind::user_defined2()).expect("registered");
                ready.send(()).expect("the starter waits");
                tokio::select! {
                    () = async { while stream.recv().await.is_some() {} } => {}
                    _ = ended => {}
                }
            });
        })
    });
    started.recv().expect("the runtime starts");
    let raise = move || {
        let _kept = &end;
        os::raise(libc::SIGUSR2);
    };
    timed("tokio, runtime asleep", raise, settle)
}

fn raised() -> Vec<Case> {
    os::install_empty(libc::SIGALRM);
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(libc::SIGPROF, flag).expect("registered");
    vec![
        timed(EMPTY, || os::raise(libc::SIGALRM), || ()),
        ours_awake("ours, receiver awake", true),
        ours_awake("ours, coalesced", false),
        ours_asleep(),
        timed("signal-hook, flag", || os::raise(libc::SIGPROF), || ()),
        hook_pipe(HOOK_PIPE, libc::SIGTTOU, true),
        hook_pipe("signal-hook, pipe, full", libc::SIGTTIN, false),
        hook_pipe_asleep(libc::SIGTSTP),
        tokio_asleep(),
    ]
}

const EMPTY: &str = "empty handler";
const HOOK_PIPE: &str = "signal-hook, pipe, drained";
const CLOCK: &str = "the clock alone";

/// `SignalQueue::send` without a kernel; one time is one send.
fn direct() -> Vec<Case> {
    let awake = |times: u64| {
        let queue = SignalQueue::new();
        DIRECT.for_each(|signal| queue.enable(signal).expect("in range"));
        let mut receiver = queue.receiver().expect("the only one");
        let (mut sum, each) = (0, DIRECT.len() as u64);
        for _ in 0..times.div_ceil(each) {
            let start = os::now();
            DIRECT.for_each(|signal| _ = queue.send(signal, Origin::UNKNOWN));
            sum += os::now() - start;
            DIRECT.for_each(|_| assert!(matches!(receiver.recv(None, || ()), Event::Signal(_))));
        }
        sum * times / (times.div_ceil(each) * each)
    };
    let coalesced = |times: u64| {
        let queue = SignalQueue::new();
        queue.enable(10).expect("in range");
        let start = os::now();
        (0..times).for_each(|_| _ = queue.send(10, Origin::UNKNOWN));
        os::now() - start
    };
    vec![
        Case { name: "send, receiver awake", run: Box::new(awake) },
        Case { name: "send, coalesced", run: Box::new(coalesced) },
        Case { name: "send, receiver asleep", run: Box::new(direct_asleep) },
    ]
}

/// A thread that is asleep in `recv` at each send; the wake-up is in it.
fn direct_asleep(times: u64) -> u64 {
    let (queue, received) = (SignalQueue::new(), AtomicU64::new(0));
    queue.enable(10).expect("in range");
    let mut sum = 0;
    thread::scope(|scope| {
        let receive = || {
            let mut receiver = queue.receiver().expect("the only one");
            while let Event::Signal(_) = receiver.recv(None, || ()) {
                received.fetch_add(1, SeqCst);
            }
        };
        os::masked(|| scope.spawn(receive));
        for at in 0..times {
            settle();
            let start = os::now();
            let _ = queue.send(10, Origin::UNKNOWN);
            sum += os::now() - start;
            while received.load(SeqCst) <= at {
                thread::yield_now();
            }
        }
        queue.close();
    });
    sum
}

/// All of them, once: registrations add up.
pub(crate) struct Cases {
    raised: Vec<Case>,
    direct: Vec<Case>,
}

impl Cases {
    pub(crate) fn new() -> Self {
        Self { raised: raised(), direct: direct() }
    }
}

pub(crate) fn criterion(criterion: &mut criterion::Criterion, cases: &mut Cases) {
    for (name, cases) in [("raise", &mut cases.raised), ("send", &mut cases.direct)] {
        let mut group = criterion.benchmark_group(name);
        for case in cases {
            // The time is spent on waiting for the receiver to sleep, which criterion does not see.
            let quick = if case.name.contains("asleep") { 20 } else { 1 };
            group.warm_up_time(Duration::from_millis(200 / quick));
            group.measurement_time(Duration::from_millis(800 / quick));
            group.bench_function(case.name, |bencher| {
                bencher.iter_custom(|times| Duration::from_nanos((case.run)(times)));
            });
        }
        group.finish();
    }
}

/// The same once more, in turns.
pub(crate) fn table(rounds: usize, cases: Cases) {
    const EACH: u64 = 250;
    let Cases { raised: mut cases, direct } = cases;
    cases.extend(direct);
    cases.push(timed(CLOCK, || (), || ()));
    let mut samples = vec![Vec::new(); cases.len()];
    for case in &mut cases {
        (case.run)(EACH);
    }
    for _ in 0..rounds * 2 {
        for (case, samples) in cases.iter_mut().zip(&mut samples) {
            samples.push((case.run)(EACH) * 10 / EACH);
        }
    }
    let medians: Vec<u64> = samples.iter_mut().map(|samples| stats::summary(samples).0).collect();
    let of = |name| cases.iter().position(|case| case.name == name).map_or(0, |at| medians[at]);
    let hook = of(HOOK_PIPE).saturating_sub(of(EMPTY));
    let row = |(case, median): (&Case, &u64)| {
        // `send` needs no kernel, so nothing is taken off.
        let off = if case.name.starts_with("send") { 0 } else { of(EMPTY) };
        let net = median.saturating_sub(off);
        let nanos = |tenths: u64| format!("{:.1}", tenths as f64 / 10.0);
        vec![case.name.to_string(), nanos(*median), nanos(net), stats::ratio(net, hook)]
    };
    let rows: Vec<_> = cases.iter().zip(&medians).map(row).collect();
    let title = "a. the cost of a signal to the thread that takes it (ns)";
    stats::table(title, &["", "mean", "over empty", "to pipe"], &rows);
}

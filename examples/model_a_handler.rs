//! A signal handler of one's own, explored by the model checker: every place where the signal can
//! land, every interleaving of the threads.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo run --release --features loom --example model_a_handler
//! ```
//!
//! The program under test hands signals from its handler to a thread by a
//! [`SignalQueue`](portcullis::sigqueue::SignalQueue), with the numbers that it has on Linux: 10 is
//! SIGUSR1, 40 a real-time signal. Numbers that are never used cost the exploration nothing.

#[cfg(all(loom, feature = "loom"))]
mod explored {
    use std::sync::Arc;

    use portcullis::model::atomic::{AtomicU32, Ordering::Relaxed};
    use portcullis::model::{Bound, Disposition, Kernel, Model, sig, thread};
    use portcullis::sigqueue::{Event, Origin, Sent, SignalQueue};

    /// What the program keeps: a handler counts, then sends.
    struct Program {
        queue: SignalQueue,
        work: AtomicU32,
    }

    fn start(kernel: Kernel, signal: i32) -> Arc<Program> {
        let program = Arc::new(Program { queue: SignalQueue::new(), work: AtomicU32::new(0) });
        program.queue.enable(signal).expect("the number is one of the system's");
        let theirs = Arc::clone(&program);
        let handler = move |signal| {
            theirs.work.fetch_add(1, Relaxed);
            let sent = theirs.queue.send(signal, Origin::new(0, 7, 0, 0));
            assert!(matches!(sent, Sent::Accepted | Sent::Coalesced), "{sent:?}");
        };
        kernel.sigaction(signal, Disposition::handler(handler));
        program
    }

    /// Receives until `sends` signals are accounted for.
    fn receive(program: &Program, signal: i32, sends: u32) {
        let mut receiver = program.queue.receiver().expect("there is no other");
        let mut seen = 0;
        while seen < sends {
            let Event::Signal(batch) = receiver.recv(None, || {}) else { panic!("not closed") };
            assert_eq!(batch.signal(), signal);
            seen += batch.coalesced()
                + batch.inspect(|origin| assert!(origin.is_some())).count() as u32;
        }
        assert_eq!(seen, sends);
        // What the handler wrote before it sent is seen, although it is written Relaxed.
        assert_eq!(program.work.load(Relaxed), sends);
    }

    /// A signal on a worker wakes the receiver, wherever in the worker it lands.
    fn one_signal() {
        Model::new("one_signal").actors(2).bound(Bound::At(3)).check(|| {
            let kernel = Kernel::new().at_most(1);
            let program = start(kernel, sig::USR1);
            let worker = thread::spawn("worker", move || kernel.raise(sig::USR1));
            receive(&program, sig::USR1, 1);
            worker.join();
        });
    }

    /// Real-time signals of one number are queued: both origins arrive.
    fn two_realtime_signals() {
        const SIGNAL: i32 = 40;
        Model::new("two_realtime_signals").actors(2).bound(Bound::At(3)).check(|| {
            let kernel = Kernel::new().at_most(2);
            let program = start(kernel, SIGNAL);
            let worker = thread::spawn("worker", move || {
                kernel.raise(SIGNAL);
                kernel.raise(SIGNAL);
            });
            receive(&program, SIGNAL, 2);
            worker.join();
        });
    }

    pub(super) fn run() {
        one_signal();
        two_realtime_signals();
    }
}

#[cfg(all(loom, feature = "loom"))]
fn main() {
    explored::run();
}

#[cfg(not(all(loom, feature = "loom")))]
fn main() {
    println!(
        "RUSTFLAGS=\"--cfg loom\" cargo run --release --features loom --example model_a_handler"
    );
}

//! Several signals pending at once: which is taken first, and whose handler runs first. The same is checked of the
//! system in `sys/tests/order.rs`.

use crate::loom_tests::{Control, Model};
use crate::model::{Disposition, Handler, How, Kernel, Outcome, SigSet, Signal, sig, thread};
use crate::sync::AtomicU32;
use crate::sync::Ordering::Relaxed;
use std::cell::RefCell;
use std::rc::Rc;

/// Two standard signals, one that an instruction may cause, and two real-time ones.
const LOW: Signal = sig::USR2;
const HIGH: Signal = sig::TERM;
const FAULT: Signal = 31;
const QUEUED: Signal = 50;
const QUEUED_HIGH: Signal = 51;

/// What ran, in order: a signal and its value as its handler is entered, then the signal and `END` as it returns.
type Log = Rc<RefCell<Vec<(Signal, usize)>>>;
const END: usize = 99;

/// Handlers that write the log, each with the mask that `mask` has for it.
fn logged(kernel: Kernel, signals: &[Signal], mask: impl Fn(Signal) -> SigSet) -> Log {
    let log = Log::default();
    for &signal in signals {
        let mine = Rc::clone(&log);
        let handler = Handler::with_info(move |signal, info| {
            mine.borrow_mut().push((signal, info.value));
            mine.borrow_mut().push((signal, END));
        });
        kernel.sigaction(signal, handler.mask(mask(signal)));
    }
    log
}

/// What runs of `signals` that came while they were masked, in this order; none masks another.
fn ran(signals: &[Signal]) -> Vec<Signal> {
    let kernel = Kernel::new();
    let log = logged(kernel, signals, |_| SigSet::EMPTY);
    let before = kernel.sigmask(How::Block, SigSet::of(signals));
    signals.iter().for_each(|&signal| kernel.raise(signal));
    kernel.sigmask(How::Set, before);
    log.borrow().iter().filter(|(_, value)| *value != END).map(|(signal, _)| *signal).collect()
}

/// Claim: the lowest number is taken first, standard before real-time, those of faults before all; and as each is
/// interrupted by the next before its first instruction, the last one taken runs first.
/// Actors: one. Fails if they are taken as they were posted (`kernel::taken_as_posted`). Of a friendly system: POSIX
/// leaves open which is taken first, so a hostile one does as it likes (`kernel::hostile_order`).
#[test]
fn pending_order() {
    Model::new("kernel::pending_order").actors(1).hostile(0).check(|| {
        let all = [QUEUED_HIGH, QUEUED, HIGH, LOW, FAULT];
        assert_eq!(ran(&all), [QUEUED_HIGH, QUEUED, HIGH, LOW, FAULT]);
        assert_eq!(ran(&[LOW, FAULT, QUEUED_HIGH, HIGH, QUEUED]), all);
    });
}

/// Passes: `kernel::pending_order`.
#[test]
fn taken_as_posted() {
    Control::new("kernel::taken_as_posted", "left: [15, 12] /  right: [12, 15]").actors(1).check(
        || {
            assert_eq!(ran(&[LOW, HIGH]), [LOW, HIGH]);
        },
    );
}

/// Claim: of one real-time number the oldest comes first, and the next before the code below goes on; what a
/// handler masks waits until it has returned.
/// Actors: one.
#[test]
fn queued_and_masked() {
    Model::new("kernel::queued_and_masked").actors(1).check(|| {
        let kernel = Kernel::new();
        let mask = |signal| SigSet::of(if signal == LOW { &[HIGH] } else { &[] });
        let log = logged(kernel, &[LOW, HIGH, QUEUED], mask);
        let before = kernel.sigmask(How::Block, SigSet::of(&[LOW, HIGH, QUEUED]));
        for (signal, value) in [(QUEUED, 7), (QUEUED, 3), (HIGH, 1), (LOW, 2)] {
            assert!(kernel.queue(thread::current(), signal, value));
        }
        kernel.sigmask(How::Set, before);
        let queued = [(QUEUED, 7), (QUEUED, END), (QUEUED, 3), (QUEUED, END)];
        let rest = [(LOW, 2), (LOW, END), (HIGH, 1), (HIGH, END)];
        assert_eq!(*log.borrow(), [queued, rest].concat());
    });
}

/// Claim: what was sent to the thread is taken before what was sent to the process, whatever the numbers.
/// Actors: one. Of a friendly system, as `kernel::pending_order`.
#[test]
fn own_before_the_process() {
    Model::new("kernel::own_before_the_process").actors(1).hostile(0).check(|| {
        let kernel = Kernel::new();
        let log = logged(kernel, &[LOW, HIGH], |_| SigSet::EMPTY);
        let before = kernel.sigmask(How::Block, SigSet::of(&[LOW, HIGH]));
        kernel.kill(LOW);
        kernel.raise(HIGH);
        kernel.sigmask(How::Set, before);
        assert_eq!(log.borrow()[0], (LOW, 0), "taken last, so it runs first");
    });
}

/// Whether the handler of a signal runs that is pending beside one that ends the process.
fn beside_a_death(signal: Signal, deadly: Signal) -> bool {
    let kernel = Kernel::new().may_die();
    let alive = Rc::new(RefCell::new(false));
    let mine = Rc::clone(&alive);
    kernel.sigaction(signal, Disposition::handler(move |_| *mine.borrow_mut() = kernel.alive()));
    let before = kernel.sigmask(How::Block, SigSet::of(&[signal, deadly]));
    kernel.raise(signal);
    kernel.raise(deadly);
    kernel.sigmask(How::Set, before);
    assert_eq!(kernel.outcome(), Outcome::DiedOf(deadly));
    alive.take()
}

/// Claim: a default action of one that is taken later comes before the handlers of the earlier ones.
/// Actors: one. Fails if a handler runs as soon as it is taken (`kernel::handled_before_the_death`).
#[test]
fn death_before_the_handler() {
    Model::new("kernel::death_before_the_handler").actors(1).check(|| {
        assert!(!beside_a_death(sig::USR1, sig::TERM));
        assert!(!beside_a_death(sig::TERM, sig::USR1));
    });
}

/// Passes: `kernel::death_before_the_handler`.
#[test]
fn handled_before_the_death() {
    Control::new("kernel::handled_before_the_death", "the handler of a dead process")
        .actors(1)
        .check(|| assert!(beside_a_death(sig::USR1, sig::TERM), "the handler of a dead process"));
}

/// Claim: two that are sent to a running thread run in either order: as they came, or, if both have come when it
/// looks, the higher number first.
/// Actors: sender, target. Exhaustive.
#[test]
fn two_in_flight() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let all = std::sync::Arc::clone(&seen);
    Model::new("kernel::two_in_flight").actors(2).check(move || {
        let kernel = Kernel::new().at_most(2);
        let log = logged(kernel, &[LOW, HIGH], |_| SigSet::EMPTY);
        let sender = thread::spawn("sender", move || {
            kernel.tgkill(thread::main(), LOW);
            kernel.tgkill(thread::main(), HIGH);
        });
        let word = AtomicU32::new(0);
        word.load(Relaxed);
        word.load(Relaxed);
        sender.join();
        let order: Vec<_> = log.borrow().iter().step_by(2).map(|(signal, _)| *signal).collect();
        all.lock().unwrap().insert(order);
    });
    assert_eq!(*seen.lock().unwrap(), [vec![LOW, HIGH], vec![HIGH, LOW]].into());
}

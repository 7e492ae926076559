//! Foreign threads: Go's needm and dropm before each of their fixes.

use std::sync::Arc;

use super::super::attach::host::{SETXID, Setxid};
use super::needm::{Go, Order, handler};
use super::{Control, Model};
use crate::model::{Handler, How, Kernel, SigSet, sig, thread, violation};
use crate::sync::{AtomicU32, Ordering::Relaxed};

mod list;

/// A foreign thread calls in once, and a signal lands anywhere in it.
fn one_call(order: Order, records: u32) {
    let kernel = Kernel::new().at_most(1);
    let go = Arc::new(Go::new(kernel, order, records));
    kernel.sigaction(sig::USR1, handler(&go));
    let sender = thread::spawn("sender", move || kernel.tgkill(thread::main(), sig::USR1));
    let needed = go.needm();
    go.dropm(needed);
    sender.join();
    assert_eq!(kernel.sigmask(How::Block, SigSet::EMPTY), SigSet::EMPTY, "the mask");
    if go.in_use() != 0 {
        violation("a record in use that nobody holds");
    }
}

/// The order since 368c4011, with a record for the handler, passes what the controls below fail.
#[test]
fn go_368c4011_order() {
    Model::new("historical::go_368c4011_order").actors(2).check(|| one_call(Order::S4, 2));
}

/// The same call, with a signal that is sent when the record is taken and the list unlocked.
fn signal_when_taken(order: Order, records: u32) {
    let kernel = Kernel::new().at_most(1);
    let go = Arc::new(Go::new(kernel, order, records));
    kernel.sigaction(sig::USR1, handler(&go));
    let mut sender = None;
    let needed = go.needm_with(|| {
        let send = move || kernel.tgkill(thread::main(), sig::USR1);
        sender = Some(thread::spawn("sender", send));
    });
    sender.into_iter().for_each(thread::JoinHandle::join);
    go.dropm(needed);
}

/// The order since 368c4011 passes that too, with no record but the thread's own.
#[test]
fn go_368c4011_signal_when_taken() {
    Model::new("historical::go_368c4011_signal_when_taken")
        .actors(2)
        .check(|| signal_when_taken(Order::S4, 1));
}

/// golang/go#12277 (B1): nothing is masked, and `g` says "attached" before there is a stack. The
/// list is unlocked by then, so what is found is not B4.
/// Passes: `attach::signal_anywhere_in_attach`.
#[test]
fn go12277_handler_on_wrong_stack() {
    Control::new("historical::go12277_handler_on_wrong_stack", "handler on the wrong stack")
        .actors(2)
        .check(|| signal_when_taken(Order::BeforeS1, 2));
}

/// golang/go#42207 (B4, i): the signal lands between the lock of the list and its unlock.
/// Passes: `attach::signal_anywhere_in_attach`, `extra_list::handler_takes_from_reserve`.
#[test]
fn go42207_signal_inside_lock() {
    Control::new("historical::go42207_signal_inside_lock", "self-deadlock")
        .actors(2)
        .check(|| one_call(Order::BeforeS4, 2));
}

/// golang/go#42207 (B4, ii): the signal lands when the last record is taken and nothing is masked:
/// the only thread that would make another is the one interrupted.
/// Passes: `attach::signal_anywhere_in_attach`: the reserve.
#[test]
fn go42207_signal_after_last_record() {
    let reason = "the handler waits for the record that its own thread took";
    Control::new("historical::go42207_signal_after_last_record", reason).actors(1).check(|| {
        let kernel = Kernel::new().at_most(1);
        let go = Arc::new(Go::new(kernel, Order::BeforeS4, 1));
        kernel.sigaction(sig::USR1, handler(&go));
        go.needm_with(|| kernel.raise(sig::USR1));
    });
}

/// The same instant in the order since 368c4011: the signal waits until the thread is attached.
#[test]
fn go_368c4011_masks_the_last_record() {
    Model::new("historical::go_368c4011_masks_the_last_record").actors(1).check(|| {
        let kernel = Kernel::new().at_most(1);
        let go = Arc::new(Go::new(kernel, Order::S4, 1));
        kernel.sigaction(sig::USR1, handler(&go));
        let needed = go.needm_with(|| kernel.raise(sig::USR1));
        go.dropm(needed);
    });
}

/// f8e64186's own dropm (B2): the mask is restored while the list is locked.
/// Passes: `attach::signal_anywhere_in_detach`.
#[test]
fn s1_detach_restores_mask_too_early() {
    Control::new("historical::s1_detach_restores_mask_too_early", "self-deadlock")
        .actors(2)
        .check(|| one_call(Order::S1, 2));
}

/// Two foreign threads with masks of their own share a record, one after the other.
fn two_masks(order: Order) {
    let kernel = Kernel::new().at_most(0);
    let go = Arc::new(Go::new(kernel, order, 1));
    let call = move |go: &Go, own: SigSet| {
        kernel.sigmask(How::Set, own);
        let needed = go.needm();
        go.dropm(needed);
        if kernel.sigmask(How::Block, SigSet::EMPTY) != own {
            violation("the mask of another thread was restored");
        }
    };
    let theirs = Arc::clone(&go);
    let other = thread::spawn("other", move || call(&theirs, SigSet::of(&[sig::USR2])));
    call(&go, SigSet::EMPTY);
    other.join();
}

/// B3: the mask is read from the record after it was given, when another thread has it.
/// Passes: `attach::recycle_to_new_thread`, and `attach::signal_anywhere_in_detach`.
#[test]
fn mask_read_from_shared_record() {
    Control::new(
        "historical::mask_read_from_shared_record",
        "the mask of another thread was restored",
    )
    .actors(2)
    .check(|| two_masks(Order::MaskFromRecord));
}

/// The same with the mask read before.
#[test]
fn mask_read_before_the_record_is_given() {
    Model::new("historical::mask_read_before_the_record_is_given")
        .actors(2)
        .apart()
        .check(|| two_masks(Order::S4));
}

/// A thread is done with the runtime, and its host takes its signal stack away.
fn stack_taken_away(detaches: bool) {
    let kernel = Kernel::new().at_most(1);
    let go = Arc::new(Go::new(kernel, Order::S4, 2));
    kernel.sigaction(sig::USR1, handler(&go));
    let needed = go.needm();
    if detaches {
        go.dropm(needed)
    } else {
        go.keep(needed)
    }
    let _ = kernel.sigaltstack(None);
    kernel.raise(sig::USR1);
}

/// golang/go#13881 (B5): cgocallback never calls dropm, so the thread is taken for attached.
/// Passes: `attach::signal_anywhere_in_detach`.
#[test]
fn go13881_no_detach() {
    Control::new("historical::go13881_no_detach", "handler on the wrong stack")
        .actors(1)
        .check(|| stack_taken_away(false));
}

/// The same with dropm.
#[test]
fn go13881_detached() {
    Model::new("historical::go13881_detached").actors(1).check(|| stack_taken_away(true));
}

/// A thread with a stack of its own calls in; then one without, with the same record. Both take a
/// signal.
fn one_stack_each(order: Order) {
    let kernel = Kernel::new().at_most(1);
    let go = Arc::new(Go::new(kernel, order, 1));
    let busy = Arc::new(AtomicU32::new(0));
    kernel.sigaction(
        sig::USR1,
        Handler::new(move |_| {
            let stack = kernel.altstack().expect("each thread has one here");
            let bit = 1 << (stack % 32);
            if busy.fetch_or(bit, Relaxed) & bit != 0 {
                violation("two handlers on one stack");
            }
            busy.fetch_and(!bit, Relaxed);
        })
        .onstack(),
    );
    let _ = kernel.sigaltstack(Some(1));
    let needed = go.needm();
    go.dropm(needed);
    let theirs = Arc::clone(&go);
    let other = thread::spawn("other", move || {
        let needed = theirs.needm();
        kernel.raise(sig::USR1);
        theirs.dropm(needed);
    });
    kernel.raise(sig::USR1);
    other.join();
}

/// golang/go#22930 (B7): a record keeps the stack that it adopted, and brings it to the next
/// thread.
/// Passes: `attach::two_handlers_two_stacks`.
#[test]
fn go22930_two_handlers_one_altstack() {
    Control::new("historical::go22930_two_handlers_one_altstack", "two handlers on one stack")
        .actors(2)
        .check(|| one_stack_each(Order::AdoptedStackKept));
}

/// The same with the record's own stack back in its place.
#[test]
fn go_292558be_stack_put_back() {
    Model::new("historical::go_292558be_stack_put_back")
        .actors(2)
        .check(|| one_stack_each(Order::S4));
}

/// C calls the runtime, which calls C, which calls the runtime; the inner call is over, and a
/// signal lands in the outer one.
fn nested_call(says_in_c_always: bool) {
    let kernel = Kernel::new().at_most(1);
    let go = Arc::new(Go::new(kernel, Order::S4, 2));
    kernel.sigaction(sig::USR1, handler(&go));
    let needed = go.needm();
    // The inner callback enters and leaves.
    go.set_in_c(&needed, false);
    go.set_in_c(&needed, says_in_c_always);
    kernel.raise(sig::USR1);
    go.dropm(needed);
}

/// golang/go#72870 (B21): leaving a callback says "in C", whoever called it.
/// Passes: `attach::external_is_put_back`.
#[test]
fn go72870_in_external_flag_wrong() {
    let reason = "the handler took the runtime's code for foreign code";
    Control::new("historical::go72870_in_external_flag_wrong", reason)
        .actors(1)
        .check(|| nested_call(true));
}

/// The same since 577bb3d0ce: only leaving the outermost one does.
#[test]
fn go_577bb3d0_outermost_only() {
    Model::new("historical::go_577bb3d0_outermost_only").actors(1).check(|| nested_call(false));
}

/// B22: the record says "in C" until after the signals are open.
/// Passes: `attach::signal_anywhere_in_attach`: one word says all, and is stored masked.
#[test]
fn flag_cleared_too_late() {
    let reason = "the handler waits for the record that its own thread took";
    Control::new("historical::flag_cleared_too_late", reason)
        .actors(2)
        .check(|| signal_when_taken(Order::FlagClearedLate, 1));
}

/// A thread ends with all but these signals masked, as mexit had it, while another calls setxid.
fn exit_against_setxid(open: SigSet) {
    let kernel = Kernel::new().at_most(1);
    let libc = Arc::new(Setxid::new());
    let theirs = Arc::clone(&libc);
    kernel.sigaction(SETXID, Handler::new(move |_| theirs.answer()));
    let theirs = Arc::clone(&libc);
    let ends = thread::spawn("ends", move || {
        kernel.sigmask(How::Block, SigSet::ALL.minus(open));
        theirs.thread_ends();
    });
    libc.call(kernel, ends.id());
    ends.join();
}

/// golang/go#42494 (B26): a thread that ends with everything masked never answers setxid.
/// Passes: `attach::exit_answers_setxid`, `attach::open_signal_in_transition`.
#[test]
fn go42494_exit_with_setxid_blocked() {
    Control::new("historical::go42494_exit_with_setxid_blocked", "deadlock")
        .actors(2)
        .stands("main", "futex wait: sleeps 2 at note.rs")
        .stands("ends", "futex wait: sleeps 2 at note.rs")
        .check(|| exit_against_setxid(SigSet::EMPTY));
}

/// The same since b0b0d98283: the C library's own signals stay open.
#[test]
fn go_b0b0d982_leaves_setxid_open() {
    Model::new("historical::go_b0b0d982_leaves_setxid_open")
        .actors(2)
        .check(|| exit_against_setxid(SigSet::of(&[SETXID])));
}

/// golang/go#56243 (B24): a thread that ends gives its record away and uses it once more.
/// Passes: `attach::recycle_to_new_thread`.
#[test]
fn go56243_record_freed_in_use() {
    Control::new("historical::go56243_record_freed_in_use", "Causality violation")
        .actors(2)
        .stands("other", "cell write at needm.rs")
        .check(|| two_masks(Order::UsedAfterGiven));
}

//! Others' signals of the number by which we interrupt threads.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::super::all_threads::host::World;
use super::super::{Bound, Control, Model};
use super::host::{MARK, Neighbour, interrupter};
use crate::model::{Disposition, Handler, Kernel, SigSet, thread};
use crate::note::{Note, Park};

/// When the other owner of the signal comes, and whether there is another signal for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Before,
    /// While ours is being put in place, its signal after that.
    Meanwhile,
    /// At any time after that.
    After,
    /// Before us, and of the other signals too: one is shared.
    OfAll,
}

/// Ours as it would be if it took what is marked for its own alone, and shared the signal.
fn only_if_not_ours(kernel: Kernel, entry: impl Fn() + 'static) {
    let before = Rc::new(RefCell::new(Disposition::Default));
    let found = Rc::clone(&before);
    let handler = Handler::with_info(move |signal, info| {
        entry();
        let found = found.borrow().clone();
        if let (Disposition::Handler(found), true) = (found, info.value != MARK) {
            found.call(signal, info);
        }
    });
    *before.borrow_mut() = kernel.sigaction(2, handler.mask(SigSet::ALL));
}

/// We interrupt a thread, as another owner of the signal does, which waits until it is told.
fn two_owners(owner: Owner, is_shipped: bool) {
    let kernel = Kernel::new().at_most(4);
    let [answered, told, over, looked] = [(); 4].map(|()| Arc::new(Note::new()));
    let note = Arc::clone(&told);
    let theirs = Neighbour::telling(kernel, move || note.wake());
    if matches!(owner, Owner::Before | Owner::OfAll) {
        theirs.put(2);
    }
    if owner == Owner::OfAll {
        Neighbour::new(kernel).put(3);
    }
    let (note, runs) = (Arc::clone(&answered), Rc::new(Cell::new(0)));
    let count = Rc::clone(&runs);
    let entry = move || {
        count.set(count.get() + 1);
        note.wake();
    };
    let ours = match is_shipped {
        true => Some(interrupter(kernel, entry)),
        false => {
            only_if_not_ours(kernel, entry);
            None
        }
    };
    let end = Arc::clone(&over);
    let target = thread::spawn("target", move || end.sleep(None));
    let to = target.id();
    let ask = || {
        let chosen = ours.as_ref().map_or(2, |ours| {
            ours.interrupts.look().unwrap();
            ours.interrupts.chosen()
        });
        looked.wake();
        kernel.queue(to, chosen, MARK);
        answered.sleep(None);
        answered.clear();
    };
    if owner == Owner::After {
        ask();
    }
    let (other, ready) = (theirs.clone(), Arc::clone(&looked));
    let neighbour = thread::spawn("neighbour", move || {
        match owner {
            Owner::Before | Owner::OfAll => {}
            Owner::Meanwhile => {
                other.put(2);
                ready.sleep(None);
            }
            Owner::After => other.put(2),
        }
        kernel.tgkill(to, 2);
        told.sleep(None);
    });
    ask();
    neighbour.join();
    over.wake();
    target.join();
    if owner == Owner::Before {
        assert_eq!((runs.get(), theirs.calls()), (1, 1), "neither is told of the other's");
    }
}

/// Claim: of two owners of one signal, which merges, each is told of its own, whenever the other one comes.
/// One that was there before us is told of nothing else, unless it has all signals that we know.
/// Actors: one that interrupts, another owner that waits until it is told, the thread that both interrupt,
/// its handlers. Bound 2. Fails, as a deadlock, if a signal of ours stands for one of theirs and is not handed
/// on; if what comes while ours is put in place is not looked at; or if it is shared though another is free.
/// Shipped: `sys/interrupts.rs`, `sys/record.rs`. Mirrored: the signal's value, for `sys/own.rs`. On the real
/// kernel: `neighbours::interrupts::{a_neighbour_before_us, a_neighbour_after_us}`.
#[test]
fn two_owners_one_signal() {
    for owner in [Owner::Before, Owner::Meanwhile, Owner::After, Owner::OfAll] {
        Model::new(format!("neighbours::two_owners_one_signal: {owner:?}"))
            .actors(3)
            .bound(Bound::At(2))
            .check(move || two_owners(owner, true));
    }
}

/// Passes: `neighbours::two_owners_one_signal`.
#[test]
fn chained_only_if_not_ours() {
    Control::new("neighbours::chained_only_if_not_ours", "deadlock")
        .actors(3)
        .bound(Bound::At(2))
        .stands("target", "futex wait: sleeps 2 at note.rs")
        .stands("neighbour", "futex wait: sleeps 2 at note.rs")
        .check(|| two_owners(Owner::OfAll, false));
}

/// A thread that sleeps is asked, and asked again as it has not answered; somebody else has a handler for
/// the signal.
fn asked_again(tells_own: bool) {
    let kernel = Kernel::new().at_most(2);
    let world = World::new(kernel);
    let theirs = Neighbour::new(kernel);
    theirs.put(3);
    let all = &world.statics().all;
    let ours = interrupter(kernel, || _ = all.on_signal());
    ours.table.tells_own.set(tells_own);
    ours.interrupts.put(3).unwrap();
    all.reach().signal.set((3, MARK));
    let over = Arc::new(Note::new());
    let end = Arc::clone(&over);
    let other = super::super::all_threads::beside(&world, move |_, _| _ = end.sleep(None));
    // The first time it is only noted that nobody has answered.
    all.reach().looks.set(2);
    assert_eq!(world.call(0).others, 1);
    over.wake();
    other.join();
    assert_eq!((world.kept(0), world.kept(1)), (1, 1), "once each");
    assert_eq!(theirs.calls(), 0, "taken for somebody else's");
    world.see(&[0, 1]);
}

/// Claim: a thread that is asked again while it answers runs the operation once; the second signal, which
/// comes when the call is over, does nothing, and is not taken for somebody else's.
/// Actors: the caller, a thread, its handlers. Bound 3. Fails if nothing tells ours from others': that
/// a thread which has begun is not asked again is not enough, for it may begin before it is.
/// Shipped: `all_threads`, `sys/interrupts.rs`. Mirrored: that a wait is over before anybody answers; the
/// signal's value, for `sys/own.rs`. On the real kernel: `all_threads::all_threads_syscall_signals`,
/// `preempt_misuse::a_handler_that_was_there_before`.
#[test]
fn asked_again_while_answering() {
    Model::new("neighbours::asked_again_while_answering")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| asked_again(true));
}

/// Passes: `neighbours::asked_again_while_answering`.
#[test]
fn asked_again_without_a_mark() {
    Control::new("neighbours::asked_again_without_a_mark", "taken for somebody else's")
        .actors(3)
        .bound(Bound::At(3))
        .check(|| asked_again(false));
}

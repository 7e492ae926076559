//! Tokens that are dropped out of order.

use super::super::Model;
use super::host::Shared;
use crate::attach::{Binding, Misuse, ThreadState};
use crate::extra_list::RecordCounts;
use crate::model::{Kernel, sig, thread};

/// A thread that a signal may interrupt anywhere while it has tokens and drops them so.
fn interrupted(misordered: u32, body: impl FnOnce(&Shared) + 'static) {
    let kernel = Kernel::new().at_most(1);
    let shared = Shared::new(kernel, 1);
    kernel.sigaction(sig::USR1, shared.handler(kernel));
    let theirs = shared.clone();
    let other = thread::spawn("other", move || body(&theirs));
    kernel.try_tgkill(other.id(), sig::USR1);
    other.join();
    let counts = shared.lot().counts();
    let total = counts.total;
    assert_eq!(counts, RecordCounts { total, spare: total, in_use: 0, waiting: 0 });
    assert_eq!(shared.lot().misuse(), Misuse { misordered, abandoned: 0 });
}

/// Claim: the depth counts the tokens that are alive: the thread is inside until the last of them has gone, and
/// then it has no record, in whichever order they go.
/// Actors: a thread, its handler, a sender. Exhaustive. If a token that goes out of order puts back what it found
/// it fails as a thread that still has a record.
#[test]
fn inner_token_goes_first() {
    Model::new("attach::inner_token_goes_first").actors(2).check(|| {
        interrupted(2, |shared| {
            let outer = shared.attach(Binding::Unbound);
            let [middle, inner] = [(); 2].map(|()| shared.attach(Binding::Unbound));
            drop(middle);
            assert_eq!(shared.lot().state(), ThreadState::Inside);
            drop(inner);
            assert_eq!(shared.lot().state(), ThreadState::Inside);
            drop(outer);
            assert_eq!(shared.lot().state(), ThreadState::Unknown, "it still has a record");
        });
    });
}

/// Claim: a bound thread is outside the runtime when the last token has gone, in whichever order they went.
/// Actors: a thread, its handler, a sender. Exhaustive. If the last one leaves INSIDE in the word it fails as a
/// thread that still runs the runtime's code.
#[test]
fn bound_tokens_cross() {
    Model::new("attach::bound_tokens_cross").actors(2).check(|| {
        interrupted(2, |shared| {
            let [outer, inner] = [(); 2].map(|()| shared.attach(Binding::Bound));
            drop(outer);
            assert_eq!(shared.lot().state(), ThreadState::Inside);
            drop(inner);
            assert_eq!(shared.lot().state(), ThreadState::External, "in the runtime for ever");
        });
    });
}

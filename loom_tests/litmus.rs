//! Each happens-before edge alone, once right and once with each side weakened.
//!
//! A weakened one must fail: loom then reports an access that nothing orders ("Causality
//! violation"), or the assertion that names what was not seen. The shapes are those of the shipped
//! operations: the same read-modify-writes on one word, with the orderings as parameters.
//!
//! Beside each stands the test of `litmus/` that asks herd7 the same; both verdicts are in `docs/litmus.md`.

use std::sync::Arc;

use super::support::Payload;
use super::{Control, Model};
use crate::model::{Handler, Kernel, sig, thread};
use crate::sync::Ordering::{self, AcqRel, Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, AtomicU64};

/// What nothing orders is plain data, which the main thread gets at.
fn weakened(edge: &str, part: &str, reason: &str) -> Control {
    let control = Control::new(format!("{edge}::{part}"), reason).actors(2);
    if reason == "Causality violation" { control.stands("main", "cell ") } else { control }
}

/// One right pairing and two weakened ones of a shape.
macro_rules! edge {
    (
        $(#[$doc:meta])*
        $name:ident: $shape:path,
        right($release:ident, $acquire:ident), reason $reason:literal
    ) => {
        $(#[$doc])*
        mod $name {
            use super::*;
            const NAME: &str = concat!("litmus::", stringify!($name));

            #[test]
            fn right() {
                Model::new(format!("{NAME}::right")).actors(2).check(|| $shape($release, $acquire));
            }
            #[test]
            fn without_release() {
                weakened(NAME, "without_release", $reason)
                    .check(|| $shape(Relaxed, $acquire));
            }
            #[test]
            fn without_acquire() {
                weakened(NAME, "without_acquire", $reason)
                    .check(|| $shape($release, Relaxed));
            }
        }
    };
}

/// Data, then `publish`; whoever `observe`s it reads the data.
fn pass(
    publish: impl FnOnce(&AtomicU64) + 'static,
    observe: impl FnOnce(&AtomicU64) -> bool + 'static,
) {
    let shared = Arc::new((Payload::new(), AtomicU64::new(0)));
    let theirs = Arc::clone(&shared);
    let publisher = thread::spawn("publisher", move || {
        theirs.0.set(7);
        publish(&theirs.1);
    });
    if observe(&shared.1) {
        assert_eq!(shared.0.get(), 7);
    }
    publisher.join();
}

fn swap_then_load(release: Ordering, acquire: Ordering) {
    pass(
        move |word| {
            word.swap(1, release);
        },
        move |word| word.load(acquire) == 1,
    );
}

fn swap_then_failed_exchange(release: Ordering, acquire: Ordering) {
    pass(
        move |word| {
            word.swap(1, release);
        },
        move |word| word.compare_exchange(0, 2, Relaxed, acquire) == Err(1),
    );
}

fn exchange_then_exchange(release: Ordering, acquire: Ordering) {
    pass(
        move |word| {
            let _ = word.compare_exchange(0, 1, release, Relaxed);
        },
        move |word| word.compare_exchange(1, 0, acquire, Relaxed).is_ok(),
    );
}

fn add_then_exchange(release: Ordering, acquire: Ordering) {
    pass(
        move |word| {
            word.fetch_or(1, release);
        },
        move |word| word.compare_exchange(1, 0, acquire, Relaxed).is_ok(),
    );
}

fn clear_bit_then_load(release: Ordering, acquire: Ordering) {
    pass(
        move |word| {
            word.fetch_or(2, Relaxed);
            word.fetch_and(!2, release);
            word.fetch_or(4, Relaxed);
        },
        move |word| word.load(acquire) == 4,
    );
}

edge! {
    /// Note E1: `wake` -> the load in `sleep`. herd7: `note_wake_load`.
    note_wake_publishes: swap_then_load, right(Release, Acquire), reason "Causality violation"
}
edge! {
    /// Note E1: `wake` -> the failed compare-exchange at the start of `sleep`, and in giving up.
    /// herd7: `note_wake_failed_exchange`.
    note_wake_before_sleep: swap_then_failed_exchange, right(Release, Acquire),
    reason "Causality violation"
}
edge! {
    /// Queue E1: the compare-exchange of `send` -> that of `take`. herd7: `queue_send_take`.
    send_take: exchange_then_exchange, right(AcqRel, Acquire), reason "Causality violation"
}
edge! {
    /// Queue E5: the drop of a batch -> `wait_quiet`, through a send of the same number between.
    /// herd7: `queue_wait_quiet`.
    quiet_after_batch: clear_bit_then_load, right(Release, Acquire), reason "Causality violation"
}
edge! {
    /// Queue E2, and E6, E4: fetch-or or compare-exchange -> compare-exchange. herd7: `queue_fixup`.
    announce_consume: add_then_exchange, right(AcqRel, Acquire), reason "Causality violation"
}
edge! {
    /// Queue E6: what was set up before `enable` -> a `send` that accepts. herd7: `queue_enable`.
    enable_publishes: exchange_then_exchange, right(Release, AcqRel), reason "Causality violation"
}
edge! {
    /// Queue E4: one guest's last access -> the next guest's first. herd7: `queue_guests`.
    guest_hands_over: exchange_then_exchange, right(AcqRel, AcqRel), reason "Causality violation"
}

/// E2's use: the owner that consumed SENDING finds the slot pending by a relaxed load.
fn announced_slot_is_seen(release: Ordering, acquire: Ordering) {
    let shared = Arc::new((AtomicU64::new(0), AtomicU32::new(0)));
    let theirs = Arc::clone(&shared);
    let sender = thread::spawn("sender", move || {
        let _ = theirs.0.compare_exchange(0, 1, Release, Relaxed);
        theirs.1.fetch_or(1, release);
    });
    if shared.1.compare_exchange(1, 0, acquire, Relaxed).is_ok() {
        assert_eq!(shared.0.load(Relaxed), 1, "announced, and not seen to be pending");
    }
    sender.join();
}

edge! {
    /// Queue E2: as the scan relies on it. herd7: `queue_announce`.
    scan_after_announcement: announced_slot_is_seen, right(AcqRel, Acquire),
    reason "announced, and not seen to be pending"
}

/// Note E2's use: a wake-up wiped out by `clear` still tells its reason.
fn cleared_wake_tells(release: Ordering, acquire: Ordering) {
    let shared = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let theirs = Arc::clone(&shared);
    let waker = thread::spawn("waker", move || {
        theirs.0.fetch_or(1, Relaxed);
        theirs.1.swap(1, release);
    });
    let wiped_out = shared.1.swap(0, acquire) == 1;
    let reason = shared.0.load(Relaxed);
    waker.join();
    assert!(!wiped_out || reason == 1, "a wake-up was wiped out and its reason not seen");
}

edge! {
    /// Note E2: `wake` -> `clear`. herd7: `note_clear`.
    note_clear_is_a_swap: cleared_wake_tells, right(Release, Acquire), reason "wiped out"
}

/// Records E1: a record's last reading is over before it is written again.
fn reuse(release: Ordering, acquire: Ordering) {
    let shared = Arc::new((Payload::new(), AtomicU64::new(0)));
    let theirs = Arc::clone(&shared);
    let reader = thread::spawn("reader", move || {
        theirs.0.get();
        theirs.1.fetch_or(1, release);
    });
    if shared.1.fetch_and(!1, acquire) == 1 {
        shared.0.set(9);
    }
    reader.join();
}

edge! {
    /// Records E1: `give` -> `take` of the same record. herd7: `records_reuse`.
    record_reuse: reuse, right(Release, Acquire), reason "Causality violation"
}

fn store_then_exchange(release: Ordering, acquire: Ordering) {
    pass(
        move |word| word.store(1, release),
        move |word| word.compare_exchange(1, 2, acquire, Relaxed).is_ok(),
    );
}

fn store_then_load(release: Ordering, acquire: Ordering) {
    pass(move |word| word.store(1, release), move |word| word.load(acquire) == 1);
}

fn add_then_load(release: Ordering, acquire: Ordering) {
    pass(
        move |word| {
            word.fetch_add(1, release);
        },
        move |word| word.load(acquire) == 1,
    );
}

fn exchange_then_load(release: Ordering, acquire: Ordering) {
    pass(
        move |word| {
            let _ = word.compare_exchange(0, 1, release, Relaxed);
        },
        move |word| word.load(acquire) == 1,
    );
}

edge! {
    /// List E1: a number freed by a store -> the compare-exchange that takes it. herd7: `list_number`.
    number_reuse: store_then_exchange, right(Release, Acquire), reason "Causality violation"
}
edge! {
    /// List E2: the bell -> the load that a wait begins with. herd7: `list_bell`.
    bell_explains: add_then_load, right(Release, Acquire), reason "Causality violation"
}
edge! {
    /// List E3: a record made and counted -> who reads the counts. herd7: `list_created`.
    count_publishes: exchange_then_load, right(Release, Acquire), reason "Causality violation"
}

/// Gate E1 without a fence: each side writes its own word, then reads the other's.
fn look_against_claim(release: Ordering, acquire: Ordering) {
    let own = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let theirs = Arc::clone(&own);
    let thread = thread::spawn("thread", move || {
        theirs.0.store(1, Relaxed);
        theirs.1.compare_exchange(0, 0, release, Relaxed).is_ok()
    });
    let claimed = own.1.compare_exchange(0, 1, acquire, Relaxed).is_ok();
    let seen = own.0.load(Relaxed) == 1;
    let out = thread.join();
    assert!(!claimed || seen || !out, "out, and not seen to be out");
}

/// The same by plain accesses, where the one that claims runs a barrier on the other.
fn look_against_barrier(heavy: bool) {
    let kernel = Kernel::new().at_most(1);
    let own = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let theirs = Arc::clone(&own);
    let claims = thread::spawn("claims", move || {
        theirs.1.store(1, Relaxed);
        if heavy {
            kernel.membarrier();
        }
        theirs.0.load(Relaxed) == 1
    });
    own.0.store(1, Relaxed);
    let out = own.1.load(Relaxed) == 0;
    let seen = claims.join();
    assert!(seen || !out, "out, and not seen to be out");
}

/// herd7: `gate_asymmetric`.
#[test]
fn heavy_barrier() {
    Model::new("litmus::heavy_barrier").actors(2).check(|| look_against_barrier(true));
}

/// Passes: `litmus::heavy_barrier`.
/// herd7: `gate_asymmetric`.
#[test]
fn no_heavy_barrier() {
    Control::new("litmus::no_heavy_barrier", "not seen to be out")
        .actors(2)
        .check(|| look_against_barrier(false));
}

edge! {
    /// Gate E1: going out -> who claims later, by read-modify-writes of one word. herd7: `gate_fenced`.
    look_then_claim: look_against_claim, right(Release, Acquire), reason "not seen to be out"
}
edge! {
    /// Gate E2: release -> who claims next. herd7: `gate_release_claim`.
    release_then_claim: exchange_then_exchange, right(Release, Acquire), reason "Causality violation"
}
edge! {
    /// The handshake: a thread stops -> who asked it to. herd7: `stop_publishes`.
    stop_publishes: exchange_then_load, right(Release, Acquire), reason "Causality violation"
}
edge! {
    /// The handshake: who resumes -> the thread. herd7: `stop_resumes`.
    resume_publishes: store_then_load, right(Release, Acquire), reason "Causality violation"
}
edge! {
    /// Requests: acknowledged -> who asked. herd7: `request_acknowledged`.
    acknowledged_publishes: exchange_then_load, right(Release, Acquire), reason "Causality violation"
}

edge! {
    /// All threads E1: the question -> who runs it. herd7: `call_question`.
    question_publishes: exchange_then_exchange, right(Release, Acquire), reason "Causality violation"
}
edge! {
    /// All threads E2: an answer -> who waits for all. herd7: `call_answer`.
    answer_publishes: add_then_load, right(Release, Acquire), reason "Causality violation"
}
edge! {
    /// All threads E3: the bell -> who waits for the turn. herd7: `call_bell`.
    bell_publishes: add_then_load, right(Release, Acquire), reason "Causality violation"
}
edge! {
    /// All threads E4: let go -> the thread as it becomes busy. herd7: `seat_let_go`.
    let_go_publishes: clear_bit_then_load, right(Release, Acquire), reason "Causality violation"
}

/// A signal passes nothing on: its handler finds what it was sent for if it reads the newest value.
fn signal_then_look(by_exchange: bool) {
    let kernel = Kernel::new().at_most(1);
    let (word, late) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU32::new(0)));
    let (theirs, old) = (Arc::clone(&word), Arc::clone(&late));
    let handle = move |_| {
        let seen = if by_exchange { theirs.fetch_or(0, Relaxed) } else { theirs.load(Relaxed) };
        old.fetch_or(u32::from(seen == 0), Relaxed);
    };
    kernel.sigaction(sig::USR1, Handler::new(handle));
    let asks = thread::spawn("asks", move || {
        word.compare_exchange(0, 1, Release, Relaxed).unwrap();
        kernel.tgkill(thread::main(), sig::USR1);
    });
    asks.join();
    assert_eq!(late.load(Relaxed), 0, "older than the signal");
}

/// herd7: `handler_reads_by_exchange`.
#[test]
fn handler_reads_by_exchange() {
    Model::new("litmus::handler_reads_by_exchange").actors(2).check(|| signal_then_look(true));
}

/// Passes: `litmus::handler_reads_by_exchange`.
/// herd7: `handler_reads_by_load`.
#[test]
fn handler_reads_by_load() {
    Control::new("litmus::handler_reads_by_load", "older than the signal")
        .actors(2)
        .check(|| signal_then_look(false));
}

/// Queue E1 for a coalesced send: the first makes the slot pending, the second is merged. The main
/// thread knows, by a word that orders nothing, that the second's send is over, and takes.
fn coalesced(by_exchange: bool) {
    let shared = Arc::new((Payload::new(), AtomicU64::new(0), AtomicU32::new(0)));
    let theirs = Arc::clone(&shared);
    let first = thread::spawn("first", move || {
        let _ = theirs.1.compare_exchange(0, 1, AcqRel, Relaxed);
    });
    let theirs = Arc::clone(&shared);
    let second = thread::spawn("second", move || {
        theirs.0.set(7);
        let pending = theirs.1.load(Relaxed) == 1;
        let merged = match (pending, by_exchange) {
            (true, true) => theirs.1.compare_exchange(1, 1, AcqRel, Relaxed).is_ok(),
            (look, _) => look,
        };
        theirs.2.store(u32::from(merged), Relaxed);
    });
    if shared.2.load(Relaxed) == 1 {
        assert_eq!(shared.1.swap(0, Acquire), 1);
        assert_eq!(shared.0.get(), 7);
    }
    first.join();
    second.join();
}

/// A coalesced send that is a read-modify-write passes on what its handler wrote.
/// herd7: `queue_coalesced`.
#[test]
fn coalesced_is_an_exchange() {
    Model::new("litmus::coalesced_is_an_exchange").actors(3).check(|| coalesced(true));
}

/// One that only looks passes on nothing. Passes: `litmus::coalesced_is_an_exchange`.
/// herd7: `queue_coalesced_by_a_look`.
#[test]
fn coalesced_by_a_look() {
    Control::new("litmus::coalesced_by_a_look", "Causality violation")
        .actors(3)
        .stands("main", "cell read at litmus.rs")
        .check(|| coalesced(false));
}

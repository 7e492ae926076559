//! Go's own tests of threads made by C, on this crate, ten times over: threads of foreign.c call
//! in, signals rain on them, and each handler checks the stack that it runs on and what its attach
//! tells it (`foreign::attach_here_and`).
//!
//! Bounded: fixed counts; each test is a process of its own with an alarm of 30 s.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;
mod foreign;

use std::ffi::{c_int, c_long, c_void};
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};

use common::*;
use foreign::*;
use portcullis::attach::{AttachKind, Binding, ThreadState};

fn seen(state: usize) -> u64 {
    HANDLED[state].load(Relaxed)
}

/// Bound, with time between its calls.
extern "C" fn call_and_yield(_: *mut c_void) -> c_long {
    visit(&attach(Binding::Bound));
    std::thread::yield_now();
    1
}

/// TestNeedmDeadlock: ten threads send to one, which calls in again and again.
#[test]
fn needm_deadlock() {
    isolated("needm_deadlock", || {
        begin(RECORDS);
        let rain = |function, rounds| {
            let plan = Plan::new(1, rounds, function);
            let calls = Plan { senders: 10, signals: 1000, go_on: 1, ..plan }.run();
            assert!(calls >= rounds);
            calls
        };
        // A handler may come late, when the other threads have sent all they had.
        let mut calls = [rain(call_unbound, 100), rain(call_and_yield, 100)];
        while HANDLED.iter().any(|count| count.load(Relaxed) == 0) {
            calls[0] += rain(call_unbound, 100);
            calls[1] += rain(call_and_yield, 100);
        }
        assert_clean();
        eprintln!("needm_deadlock: {calls:?} calls, handlers {HANDLED:?}");
    });
}

/// Which record each call had.
static STAYS: Mutex<Vec<(usize, u32)>> = Mutex::new(Vec::new());

fn note(binding: Binding) -> AttachKind {
    let token = attach(binding);
    visit(&token);
    STAYS.lock().unwrap().push((token.index(), token.generation()));
    token.how()
}

extern "C" fn note_unbound(_: *mut c_void) -> c_long {
    c_long::from(note(Binding::Unbound) == AttachKind::Attached)
}

extern "C" fn note_bound(_: *mut c_void) -> c_long {
    c_long::from(note(Binding::Bound) == AttachKind::Attached)
}

/// TestEnsureDropM: threads that come one after another have the same record.
#[test]
fn ensure_drop_m() {
    isolated("ensure_drop_m", || {
        begin(RECORDS);
        for function in [note_unbound as Callback, note_bound] {
            STAYS.lock().unwrap().clear();
            for _ in 0..20 {
                assert_eq!(Plan::new(1, 1, function).run(), 1);
                assert_eq!(THREADS.counts().in_use, 0, "given back when the thread has ended");
            }
            let stays = STAYS.lock().unwrap();
            let first = stays[0];
            let expected: Vec<_> = (0..20).map(|at| (first.0, first.1 + at)).collect();
            assert_eq!(*stays, expected);
        }
        assert_clean();
    });
}

thread_local! {
    static OWN: std::cell::Cell<Option<(usize, u32)>> = const { std::cell::Cell::new(None) };
}

extern "C" fn keep_bound(_: *mut c_void) -> c_long {
    let token = attach(Binding::Bound);
    visit(&token);
    let stay = (token.index(), token.generation());
    let before = OWN.replace(Some(stay));
    assert_eq!(token.how() == AttachKind::Attached, before.is_none());
    assert_eq!(before.unwrap_or(stay), stay);
    drop(token);
    assert_eq!(THREADS.state(), ThreadState::External);
    1
}

/// TestEnsureBindM: a bound thread has one record all its life.
#[test]
fn ensure_bind_m() {
    isolated("ensure_bind_m", || {
        begin(RECORDS);
        let plan = Plan { senders: 2, signals: 100, ..Plan::new(20, 1000, keep_bound) };
        assert_eq!(plan.run(), 20_000);
        assert_clean();
    });
}

extern "C" fn call_and_walk(_: *mut c_void) -> c_long {
    let token = attach(Binding::Unbound);
    visit(&token);
    // What a collector does: looks at every thread, its own among them.
    for _ in 0..2 {
        assert!(THREADS.counts().in_use > 0);
        let own = THREADS.records().filter(|(_, record)| ptr::eq(*record, token.record()));
        assert_eq!(own.count(), 1);
    }
    1
}

/// TestCgoCallbackGC: many threads; the counts are right during and after.
#[test]
fn callback_counts() {
    isolated("callback_counts", || {
        begin(64);
        assert_eq!(THREADS.counts().in_use, 0);
        assert_eq!(Plan::new(1000, 1, call_and_walk).run(), 1000);
        assert_clean();
        assert!(THREADS.counts().total <= RESERVE + 64);
    });
}

extern "C" fn allocate(_: *mut c_void) -> c_long {
    (0..100)
        .map(|size| {
            // SAFETY: what was allocated is freed.
            unsafe {
                let memory = libc::malloc(8 << (size % 16));
                libc::free(std::hint::black_box(memory));
                c_long::from(!memory.is_null())
            }
        })
        .sum()
}

/// TestRaceSignal: threads that the runtime does not know are interrupted in malloc.
#[test]
fn race_signal() {
    isolated("race_signal", || {
        begin(RECORDS);
        let plan = Plan { senders: 10, signals: 1000, ..Plan::new(100, 10, allocate) };
        assert_eq!(plan.run(), 100_000);
        assert_eq!((seen(1), seen(2)), (0, 0), "nobody called in but handlers");
        assert!(seen(0) > 1000);
        assert_clean();
        eprintln!("race_signal: {} handlers", seen(0));
    });
}

static FENCED: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

fn protect(access: c_int) {
    // SAFETY: one page of this test, mapped before.
    assert_eq!(unsafe { libc::mprotect(FENCED.load(Relaxed), 4096, access) }, 0);
}

/// Opens the page, so that the access is made again and goes through.
extern "C" fn open_page(_: c_int) {
    // Not by `protect`: a handler does not panic.
    // SAFETY: as in `protect`.
    unsafe { libc::mprotect(FENCED.load(Relaxed), 4096, libc::PROT_READ | libc::PROT_WRITE) };
    attach_here();
}

fn fault() {
    protect(libc::PROT_NONE);
    // SAFETY: the page is this test's, and the handler opens it.
    unsafe { ptr::write_volatile(FENCED.load(Relaxed).cast::<u8>(), 1) };
}

/// The thread has its stack of this size: faults outside, inside, and called out.
extern "C" fn faults(adopted: *mut c_void) -> c_long {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap();
    note_host_stack();
    let host = stack_now().ss_sp;
    fault();
    let mut token = attach(Binding::Unbound);
    let same = stack_now().ss_sp == host;
    assert_eq!(same, !adopted.is_null(), "a stack that is large enough is kept, no other");
    visit(&token);
    fault();
    let external = token.external();
    fault();
    drop(external);
    drop(token);
    fault();
    1
}

extern "C" fn swap_stacks(_: *mut c_void) -> c_long {
    // SAFETY: no preconditions.
    let frame = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    let large = 64 * 1024 + frame;
    // A byte less than what is adopted: the handlers still have room to attach.
    let small = frame.max(libc::MINSIGSTKSZ) + 8 * 1024 - 1;
    let sizes = [0, large, 0, large, small, 0, large];
    for size in sizes {
        let adopted = ptr::without_provenance_mut(usize::from(size == large));
        assert_eq!((foreign().own_stack)(size, faults, adopted), 1, "{size}: the stack is back");
    }
    1
}

/// TestSigStackSwapping: threads without and with a stack of their own have the same records, one
/// after the other; each faults in a callback.
#[test]
fn sig_stack_swapping() {
    isolated("sig_stack_swapping", || {
        begin(RECORDS);
        let (access, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: new memory, wherever the system likes.
        let page = unsafe { libc::mmap(ptr::null_mut(), 4096, access, flags, -1, 0) };
        FENCED.store(page, Relaxed);
        handle(libc::SIGSEGV, open_page);
        for threads in [1, 1, 1, 1, 1, 1, 10] {
            assert_eq!(Plan::new(threads, 1, swap_stacks).run(), c_long::from(threads));
        }
        assert_eq!(handled(), 16 * 7 * 4);
        assert_clean();
    });
}

extern "C" fn crash(attached: *mut c_void) -> c_long {
    let token = (!attached.is_null()).then(|| attach(Binding::Unbound));
    raise_here(libc::SIGUSR1);
    raise_here(libc::SIGSEGV);
    drop(token);
    1
}

/// TestCgoExternalThreadSignal: a signal that is not ours does to a thread of C what it always did.
#[test]
fn external_thread_signal() {
    isolated("external_thread_signal", || {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the limit is a local.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
        set_disposition(libc::SIGSEGV, Disposition::simple(libc::SIG_DFL));
        begin(RECORDS);
        foreign();
        for at in 0..20 {
            let child = fork(|| {
                let argument = ptr::without_provenance_mut(at % 2);
                Plan { argument, ..Plan::new(1, 1, crash) }.run() as i32
            });
            assert_eq!(wait_for(child), Ended::Killed(libc::SIGSEGV));
        }
        assert_clean();
    });
}

extern "C" fn answer(_: *mut c_void) -> c_long {
    let token = attach(Binding::Unbound);
    visit(&token);
    123
}

/// TestCallbackInAnotherThread: the thread's result is the callback's.
#[test]
fn callback_in_another_thread() {
    isolated("callback_in_another_thread", || {
        begin(RECORDS);
        (0..10).for_each(|_| assert_eq!(Plan::new(1, 1, answer).run(), 123));
        assert_clean();
    });
}

/// How the thread that is cancelled has its record.
extern "C" fn enter(how: *mut c_void) -> c_long {
    match how.addr() {
        0 => drop(attach(Binding::Bound)),
        // Only the first token is left by the way out.
        _ if THREADS.state() != ThreadState::Unknown => drop(attach(Binding::Bound)),
        1 => std::mem::forget(attach(Binding::Unbound)),
        _ => {
            let mut token = attach(Binding::Bound);
            std::mem::forget(token.external());
            std::mem::forget(token);
        }
    }
    1
}

/// Test6997: a thread that is cancelled while it has a record gives it back.
#[test]
fn cancelled_while_attached() {
    isolated("cancelled_while_attached", || {
        begin(RECORDS);
        let mut forgotten = 0;
        for at in 0..10 {
            for how in 0..3 {
                for place in CANCEL_AT {
                    let argument = ptr::without_provenance_mut(how);
                    assert_eq!((foreign().cancel)(place, enter, argument), 0, "{how} {place}");
                    forgotten += u32::from(how > 0);
                    assert_eq!(THREADS.counts().in_use, 0, "{how}, {place}, turn {at}");
                }
            }
        }
        assert_eq!(THREADS.misuse().abandoned, forgotten);
        assert_eq!(THREADS.misuse().misordered, 0);
    });
}

/// How many threads came to `setgid_and_end`.
static CAME: AtomicU32 = AtomicU32::new(0);

extern "C" fn setgid_and_end(_: *mut c_void) -> c_long {
    let even = CAME.fetch_add(1, Relaxed) % 2 == 0;
    visit(&attach(if even { Binding::Bound } else { Binding::Unbound }));
    1 + c_long::from((foreign().setgid)(1))
}

/// TestSetgidStress: the C library signals every thread and waits for each, while they attach,
/// detach and end; none of them may keep it waiting.
#[test]
fn setgid_stress() {
    isolated("setgid_stress", || {
        begin(RECORDS);
        foreign();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // The library's lock is not fair: without a pause for whoever creates a thread,
                // none would be created for seconds.
                while !over.load(Acquire) {
                    let came = CAME.load(Relaxed);
                    assert_eq!((foreign().setgid)(4), 0);
                    while CAME.load(Relaxed) == came && !over.load(Acquire) {
                        std::thread::yield_now();
                    }
                }
            });
            for _ in 0..10 {
                let plan = Plan::new(50, 1, setgid_and_end);
                assert_eq!(Plan { senders: 1, signals: 10, ..plan }.run(), 50);
            }
            over.store(true, Release);
        });
        assert_clean();
    });
}

/// What a destructor found and left.
static ENDED: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);

/// In a destructor: binds, calls in, and is interrupted.
extern "C" fn at_the_end(_: *mut c_void) -> c_long {
    for binding in [Binding::Unbound, Binding::Bound, Binding::Bound] {
        visit(&attach(binding));
        raise_here(libc::SIGUSR1);
    }
    HELD.fetch_add(usize::from(THREADS.is_attached()), Relaxed);
    ENDED.fetch_add(1, Relaxed);
    0
}

/// Four times is as often as POSIX has destructors called.
extern "C" fn leave_a_destructor(calls: *mut c_void) -> c_long {
    match calls.addr() {
        0 => {}
        1 => visit(&attach(Binding::Unbound)),
        _ => visit(&attach(Binding::Bound)),
    }
    assert_eq!((foreign().at_end)(4), 0);
    0
}

/// TestDestructorCallback: destructors that run before and after ours attach again, on threads
/// that never did before, too.
fn destructors(before: bool) {
    begin(RECORDS);
    if before {
        assert_eq!((foreign().make_key)(at_the_end, ptr::null_mut()), 0);
    }
    // The first thread to attach makes our key.
    drop(attach(Binding::Unbound));
    if !before {
        assert_eq!((foreign().make_key)(at_the_end, ptr::null_mut()), 0);
    }
    for calls in 0..3 {
        let argument = ptr::without_provenance_mut(calls);
        let plan = Plan { argument, ..Plan::new(10, 1, leave_a_destructor) };
        (0..10).for_each(|_| assert_eq!(plan.run(), 0));
    }
    assert_eq!(ENDED.load(Relaxed), 3 * 100 * 4);
    assert!(HELD.load(Relaxed) > 0 || !before, "those before ours keep what they bind");
    assert_clean();
}

#[test]
fn destructor_before_ours() {
    isolated("destructor_before_ours", || destructors(true));
}

#[test]
fn destructor_after_ours() {
    isolated("destructor_after_ours", || destructors(false));
}

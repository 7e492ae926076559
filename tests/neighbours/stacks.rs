//! Signal stacks: what nests on them, and whose they are.

use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::hint::{black_box, spin_loop};
use std::mem::zeroed;
use std::ops::Range;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::*};
use std::thread;

use libc::{SIGUSR1, SIGUSR2};
use portcullis::all_threads::{Call, Operation, ThreadSeat, call_everyone, registered};
use portcullis::attach::{Binding, Runtime, SystemHost, Threads};
use portcullis::preempt::{Fenced, Gate, Gates, Hook, SystemBackend, ThreadRef};
use portcullis::thread_slot;

use super::common::*;
use super::{function, gettid, set, tgkill};

static GATES: Gates<Fenced, SystemBackend> =
    Gates::new(Fenced, SystemBackend::new(Hook::nothing()));
static GATE: [Gate<SystemBackend>; 1] = [const { Gate::new() }; 1];
static SEATS: [ThreadSeat; 1] = [const { ThreadSeat::new() }; 1];

type Name = ThreadRef<Fenced, SystemBackend>;

/// The thread that is to be interrupted is in the innermost of its own handlers.
static INSIDE: AtomicBool = AtomicBool::new(false);
static OVER: AtomicBool = AtomicBool::new(false);

/// Has all that a signal's frame may have to save in use, where the processor has it.
fn use_wide_registers() {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has them; all that is written is named.
        unsafe { asm!("vpternlogd zmm31, zmm31, zmm31, 0xff", out("xmm31") _) };
        // SAFETY: as above.
        unsafe { asm!("vpternlogd zmm0, zmm0, zmm0, 0xff", out("xmm0") _) };
    }
}

/// A program's handler, with something of its own on the stack; interrupted by the next one.
extern "C" fn outer(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    let locals = black_box([1_u8; 512]);
    use_wide_registers();
    assert!(tgkill(gettid(), SIGUSR2));
    black_box(locals);
}

/// Stays until the signals of this crate have come.
extern "C" fn inner(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    let locals = black_box([2_u8; 512]);
    use_wide_registers();
    INSIDE.store(true, Release);
    while !OVER.load(Acquire) {
        spin_loop();
    }
    black_box(locals);
}

fn handle() {
    for (signal, handler) in [(SIGUSR1, outer as super::Handler), (SIGUSR2, inner)] {
        set(signal, function(handler), libc::SA_ONSTACK | libc::SA_SIGINFO | libc::SA_RESTART);
    }
}

/// The calling thread, between its registration and its end, in the inner of two handlers.
fn two_deep(tell: impl FnOnce(Name)) {
    let member = registered().join(&SEATS[0]).unwrap();
    let own = GATES.register(&GATE[0]).unwrap();
    tell(own.thread());
    assert!(tgkill(gettid(), SIGUSR1));
    drop((own, member));
}

/// Stops it there, and has it called: the third frame on its stack.
fn interrupt(thread: Name) {
    while !INSIDE.load(Acquire) {
        thread::yield_now();
    }
    static RAN: AtomicU32 = AtomicU32::new(0);
    for round in 1..=10 {
        drop(GATES.try_suspend(thread).unwrap());
        let one = registered().call(&SEATS, Call::new(Operation::count(&RAN))).unwrap();
        let all = call_everyone(Call::new(Operation::barrier())).unwrap();
        assert!(one.others == 1 && all.others >= 1);
        // The caller has no seat, and runs it too.
        assert_eq!(RAN.load(Relaxed), 2 * round);
    }
    INSIDE.store(false, Relaxed);
    OVER.store(true, Release);
}

/// On a thread of std's, whose signal stack holds two frames.
#[test]
fn three_deep_on_a_thread_of_std() {
    isolated_open("stacks::three_deep_on_a_thread_of_std", 30, || {
        handle();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || two_deep(|id| tell.send(id).unwrap()));
        interrupt(told.recv().unwrap());
        thread.join().unwrap();
    });
}

/// A thread of C with the smallest stack that there is.
fn small_thread(body: extern "C" fn(*mut c_void) -> *mut c_void) -> libc::pthread_t {
    // SAFETY: all zeros is storage for both.
    let (mut name, mut attributes): (libc::pthread_t, libc::pthread_attr_t) = unsafe { zeroed() };
    // SAFETY: no preconditions.
    let least = unsafe { libc::sysconf(libc::_SC_THREAD_STACK_MIN) }.max(16 * 1024) as usize;
    // SAFETY: both are locals; the function takes any argument.
    unsafe {
        assert_eq!(libc::pthread_attr_init(&raw mut attributes), 0);
        assert_eq!(libc::pthread_attr_setstacksize(&raw mut attributes, least), 0);
        let made =
            libc::pthread_create(&raw mut name, &raw const attributes, body, ptr::null_mut());
        assert_eq!(made, 0);
        libc::pthread_attr_destroy(&raw mut attributes);
    }
    name
}

fn join(name: libc::pthread_t) {
    // SAFETY: a thread of `small_thread`, joined once.
    assert_eq!(unsafe { libc::pthread_join(name, ptr::null_mut()) }, 0);
}

/// The calling thread's signal stack.
fn stack() -> Option<Range<usize>> {
    // SAFETY: all zeros is a valid stack_t; a null new stack only asks.
    let now = unsafe {
        let mut now: libc::stack_t = zeroed();
        assert_eq!(libc::sigaltstack(ptr::null(), &raw mut now), 0);
        now
    };
    let base = now.ss_sp.addr();
    (now.ss_flags & libc::SS_DISABLE == 0).then_some(base..base + now.ss_size)
}

static TOLD: Mutex<Option<(Name, Range<usize>)>> = Mutex::new(None);

fn told() -> (Name, Range<usize>) {
    loop {
        if let Some(told) = TOLD.lock().unwrap().take() {
            return told;
        }
        thread::yield_now();
    }
}

fn tell(id: Name) {
    let stack = stack().expect("a thread that registered has one");
    *TOLD.lock().unwrap() = Some((id, stack));
}

fn is_mapped(stack: &Range<usize>) -> bool {
    let mut there = [0_u8; 64];
    // SAFETY: room for one byte a page; the address is only looked up.
    let done = unsafe {
        libc::mincore(stack.start as *mut c_void, stack.len(), there.as_mut_ptr().cast())
    };
    done == 0
}

/// On a thread of 16 KiB, which has none: it gets one, and gives it back as it ends.
#[test]
fn three_deep_on_a_small_thread() {
    isolated_open("stacks::three_deep_on_a_small_thread", 30, || {
        extern "C" fn body(_: *mut c_void) -> *mut c_void {
            assert_eq!(stack(), None);
            two_deep(tell);
            assert!(stack().is_some(), "until it ends");
            ptr::null_mut()
        }
        handle();
        let name = small_thread(body);
        let (id, stack) = told();
        interrupt(id);
        assert!(is_mapped(&stack));
        join(name);
        assert!(!is_mapped(&stack));
    });
}

struct Toy;
impl Runtime for Toy {
    type Record = ();
    fn create(&self, index: usize) -> Option<()> {
        (index < 2).then_some(())
    }
    fn reset(&self, (): &(), _: u32) {}
}
thread_slot!(Slot);
static THREADS: Threads<Toy, SystemHost<Slot>, 2> = Threads::new(Toy, SystemHost::new(), 0);

/// A record's stack is the record's: who registers while attached keeps one of his own when he detaches.
#[test]
fn three_deep_after_a_detach() {
    isolated_open("stacks::three_deep_after_a_detach", 30, || {
        extern "C" fn body(_: *mut c_void) -> *mut c_void {
            let token = THREADS.attach(Binding::Unbound).unwrap();
            let records = stack().unwrap();
            let own = GATES.register(&GATE[0]).unwrap();
            drop(token);
            assert_ne!(stack().unwrap(), records);
            drop(own);
            two_deep(tell);
            // And the other way round: it is not taken away from who registered before.
            let before = stack();
            drop(THREADS.attach(Binding::Unbound).unwrap());
            assert_eq!(stack(), before);
            // Bound to the thread's end, with both to be given back there.
            std::mem::forget(THREADS.attach(Binding::Bound).unwrap());
            ptr::null_mut()
        }
        THREADS.create().unwrap();
        handle();
        let name = small_thread(body);
        let (id, stack) = told();
        interrupt(id);
        join(name);
        assert!(!is_mapped(&stack));
        assert_eq!(THREADS.counts().in_use, 0);
    });
}

/// Threads that are none of ours keep what they have: std's 8 KiB hold a handler of the program's and one
/// of ours above it, a small thread's own stack as well.
#[test]
fn two_deep_on_threads_of_others() {
    isolated_open("stacks::two_deep_on_threads_of_others", 30, || {
        static READY: AtomicI32 = AtomicI32::new(0);
        extern "C" fn body(_: *mut c_void) -> *mut c_void {
            READY.fetch_add(1, Release);
            assert!(tgkill(gettid(), SIGUSR2));
            ptr::null_mut()
        }
        handle();
        let name = small_thread(body);
        let thread = thread::spawn(|| _ = body(ptr::null_mut()));
        while READY.load(Acquire) < 2 || !INSIDE.load(Acquire) {
            thread::yield_now();
        }
        for _ in 0..10 {
            let report = call_everyone(Call::new(Operation::barrier())).unwrap();
            assert!(report.others >= 2);
        }
        OVER.store(true, Release);
        join(name);
        thread.join().unwrap();
    });
}

//! Alternate stacks, masks and ends of threads as the system really has them.

use std::mem::zeroed;
use std::ptr;
use std::thread;

use super::posix::{forked, set};
use crate::sync::{AtomicUsize, Ordering::*};
use crate::sys::*;

// ORDERING: Relaxed everywhere in this file: each thread looks at what it did itself, or joins.

/// The calling thread's alternate stack: where and how large, if it has one.
fn current() -> Option<(usize, usize)> {
    // SAFETY: all zeros is a valid stack_t.
    let mut now: libc::stack_t = unsafe { zeroed() };
    // SAFETY: a null new stack only asks.
    assert_eq!(unsafe { libc::sigaltstack(ptr::null(), &raw mut now) }, 0);
    (now.ss_flags & libc::SS_DISABLE == 0).then_some((now.ss_sp.addr(), now.ss_size))
}

/// Has the calling thread use this memory, or no alternate stack.
fn register(memory: Option<&mut [u8]>) {
    // SAFETY: all zeros is a valid stack_t.
    let mut new: libc::stack_t = unsafe { zeroed() };
    match memory {
        Some(memory) => (new.ss_sp, new.ss_size) = (memory.as_mut_ptr().cast(), memory.len()),
        None => new.ss_flags = libc::SS_DISABLE,
    }
    // SAFETY: the memory outlives its registration in these tests.
    assert_eq!(unsafe { libc::sigaltstack(&raw const new, ptr::null_mut()) }, 0);
}

/// A thread of the C library's, without the alternate stack that Rust's have.
fn bare_thread(body: fn()) {
    extern "C" fn run(body: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: the function that was passed.
        unsafe { std::mem::transmute::<*mut libc::c_void, fn()>(body)() };
        ptr::null_mut()
    }
    // SAFETY: zeroed storage for the name of a thread.
    let mut name: libc::pthread_t = unsafe { zeroed() };
    // SAFETY: the function takes what it is passed; the thread is joined.
    unsafe {
        let made = libc::pthread_create(&raw mut name, ptr::null(), run, body as *mut _);
        assert_eq!(made, 0);
        assert_eq!(libc::pthread_join(name, ptr::null_mut()), 0);
    }
}

#[test]
fn a_thread_without_a_stack_gets_one_and_has_none_again() {
    bare_thread(|| {
        assert_eq!(current(), None);
        let own = Altstack::new().unwrap();
        // SAFETY: of this thread alone, which leaves it below.
        let entered = unsafe { own.enter() };
        assert_eq!(current(), Some((own.range().start, own.range().len())));
        // SAFETY: entered on this thread.
        unsafe { own.leave(entered) };
        assert_eq!(current(), None);
        // SAFETY: no thread has it any more.
        unsafe { own.free() };
    });
}

#[test]
fn a_large_stack_is_kept_and_a_small_one_put_back() {
    bare_thread(|| {
        let own = Altstack::new().unwrap();
        let mut memory = vec![0; needed()];
        let large = Some((memory.as_ptr().addr(), memory.len()));
        register(Some(&mut memory));
        // SAFETY: of this thread alone, which leaves it below.
        let entered = unsafe { own.enter() };
        assert!(matches!(entered, Entered::Adopted));
        assert_eq!(current(), large);
        // SAFETY: entered on this thread.
        unsafe { own.leave(entered) };
        assert_eq!(current(), large);

        let small = needed() - 1;
        let expected = Some((memory.as_ptr().addr(), small));
        register(Some(&mut memory[..small]));
        // SAFETY: of this thread alone, which leaves it below.
        let entered = unsafe { own.enter() };
        assert_eq!(current(), Some((own.range().start, own.range().len())));
        // SAFETY: entered on this thread.
        unsafe { own.leave(entered) };
        assert_eq!(current(), expected);
        register(None);
        // SAFETY: no thread has it any more.
        unsafe { own.free() };
    });
}

#[test]
fn a_stack_that_somebody_changed_meanwhile_is_left_alone() {
    bare_thread(|| {
        let own = Altstack::new().unwrap();
        let mut theirs = vec![0; needed()];
        for (change, expected) in [
            (Some(theirs.len()), Some((theirs.as_ptr().addr(), theirs.len()))),
            // As Rust's threads do at their end, before they unmap it.
            (None, None),
        ] {
            let mut small = vec![0; needed() - 1];
            register(Some(&mut small));
            // SAFETY: of this thread alone, which leaves it below.
            let entered = unsafe { own.enter() };
            register(change.map(|_| &mut theirs[..]));
            // SAFETY: entered on this thread.
            unsafe { own.leave(entered) };
            assert_eq!(current(), expected);
            register(None);
        }
        // SAFETY: no thread has it any more.
        unsafe { own.free() };
    });
}

static IN_HANDLER: AtomicUsize = AtomicUsize::new(0);

/// Enters on the stack in force, which cannot be changed, and keeps errno.
extern "C" fn enters(_: i32) {
    let own = Altstack::new().unwrap();
    let before = current();
    // SAFETY: the thread's own.
    unsafe { *errno::location() = libc::EDOM };
    // SAFETY: of this thread alone, which leaves it below.
    let entered = unsafe { own.enter() };
    let adopted = matches!(entered, Entered::Adopted);
    // SAFETY: entered on this thread.
    unsafe { own.leave(entered) };
    let kept = errno::get() == libc::EDOM && current() == before;
    // SAFETY: no thread has it any more.
    unsafe { own.free() };
    IN_HANDLER.store(usize::from(adopted && kept), Relaxed);
}

#[test]
fn a_handler_on_the_stack_in_force_keeps_it() {
    bare_thread(|| {
        // Too small to be adopted, were it not in use.
        let mut memory = vec![0; needed() - 1];
        register(Some(&mut memory));
        let signal = super::unused_signal();
        set(signal, enters as *const () as usize, libc::SA_ONSTACK);
        // SAFETY: the calling thread exists.
        assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), signal) }, 0);
        assert_eq!(IN_HANDLER.load(Relaxed), 1);
        register(None);
    });
}

#[test]
fn the_guard_page_is_one() {
    let ended = forked(|| {
        let own = Altstack::new().unwrap();
        let (first, last) = (own.range().start as *mut u8, own.range().end - 1);
        // SAFETY: the first and last byte of the stack.
        unsafe { first.write_volatile(1) };
        // SAFETY: as above.
        unsafe { (last as *mut u8).write_volatile(1) };
        // SAFETY: none. This is to end the process.
        unsafe { first.wrapping_sub(1).write_volatile(1) };
        99
    });
    assert!([1000 + libc::SIGSEGV, 1000 + libc::SIGBUS].contains(&ended), "{ended}");
}

#[test]
fn a_stack_holds_what_the_processor_needs() {
    let own = Altstack::new().unwrap();
    #[cfg(target_os = "linux")]
    {
        // SAFETY: no preconditions.
        let told = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
        assert!(needed() >= told + 8192 && own.range().len() >= told + 32 * 1024);
    }
    assert!(own.range().len() >= needed());
    // SAFETY: no thread has it any more.
    unsafe { own.free() };
}

#[cfg(target_os = "linux")]
#[test]
fn the_c_librarys_signals_stay_open() {
    let masked = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let before = masked();
    let blocked = AllBlocked::new();
    let bit = |signal: i32| 1_u64 << (signal - 1);
    let open = !masked();
    drop(blocked);
    assert_eq!(masked(), before);
    // SIGKILL and SIGSTOP cannot be masked; 32 and 33 are for cancellation and setuid, 34 is musl's.
    let reserved = [32, 33].map(bit).into_iter().fold(0, |set, one| set | one);
    let unmaskable = bit(libc::SIGKILL) | bit(libc::SIGSTOP);
    let musls = if cfg!(target_env = "musl") { bit(34) } else { 0 };
    // A failing instruction does not wait.
    let faults = masks::FAULTS.map(bit).into_iter().fold(0, |set, one| set | one);
    assert_eq!(open, reserved | unmaskable | musls | faults);
}

static ENDED: AtomicUsize = AtomicUsize::new(0);

fn count(counter: *const ()) {
    // SAFETY: the counters of these tests live for ever.
    unsafe { &*counter.cast::<AtomicUsize>() }.fetch_add(1, Relaxed);
}

#[test]
fn a_threads_end_is_told_once() {
    static END: ThreadEnd = ThreadEnd::new();
    static OTHER: ThreadEnd = ThreadEnd::new();
    static OTHERS: AtomicUsize = AtomicUsize::new(0);
    let armed = || {
        // SAFETY: for ever, and the same each time.
        unsafe { END.arm((&raw const ENDED).cast(), count) }.unwrap();
    };
    let threads: Vec<_> = (0..8)
        .map(|index| {
            thread::spawn(move || {
                armed();
                armed();
                if index % 2 == 0 {
                    // SAFETY: as above.
                    unsafe { OTHER.arm((&raw const OTHERS).cast(), count) }.unwrap();
                }
                assert_eq!(ENDED.load(Relaxed) / 100, 0);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    thread::spawn(|| ()).join().unwrap();
    assert_eq!((ENDED.load(Relaxed), OTHERS.load(Relaxed)), (8, 4));
}

static IN_HANDLER_END: ThreadEnd = ThreadEnd::new();
static ARMED_IN_HANDLER: AtomicUsize = AtomicUsize::new(0);

/// Arms, says whether it did, and keeps errno.
extern "C" fn arms(_: i32) {
    // SAFETY: the thread's own.
    unsafe { *errno::location() = libc::EDOM };
    // SAFETY: for ever, and the same each time.
    let armed =
        unsafe { IN_HANDLER_END.arm_in_handler((&raw const ENDED_IN_HANDLER).cast(), count) };
    let kept = errno::get() == libc::EDOM;
    ARMED_IN_HANDLER.store(usize::from(armed) + if kept { 0 } else { 100 }, Relaxed);
}

static ENDED_IN_HANDLER: AtomicUsize = AtomicUsize::new(0);

/// What a handler says on a thread that never armed, and how often the thread's end was told.
fn armed_in_a_handler() -> (usize, usize) {
    let before = ENDED_IN_HANDLER.load(Relaxed);
    bare_thread(|| {
        // SAFETY: the calling thread exists.
        assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), REALTIME_MIN + 19) }, 0);
    });
    (ARMED_IN_HANDLER.load(Relaxed), ENDED_IN_HANDLER.load(Relaxed) - before)
}

/// In a process of its own: keys are the process's.
#[test]
fn a_handler_arms_where_that_is_safe() {
    let ended = forked(|| {
        set(REALTIME_MIN + 19, arms as *const () as usize, 0);
        let unprepared = armed_in_a_handler();
        IN_HANDLER_END.prepare().unwrap();
        IN_HANDLER_END.prepare().unwrap();
        let prepared = armed_in_a_handler();
        let again = armed_in_a_handler();
        i32::from(unprepared == (0, 0)) * 100
            + (prepared.0 * 10 + prepared.1) as i32
            + i32::from(again != prepared) * 1000
    });
    let safe = cfg!(any(target_env = "gnu", target_env = "musl"));
    assert_eq!(ended, if safe { 111 } else { 100 });
}

/// Beyond the values that glibc keeps in the thread itself, storing one may allocate.
#[cfg(target_env = "gnu")]
#[test]
fn a_handler_does_not_arm_where_that_may_allocate() {
    let ended = forked(|| {
        let mut key = 0;
        // SAFETY: keys without destructors, of a process that ends.
        while unsafe { libc::pthread_key_create(&raw mut key, None) } == 0 && key < 31 {}
        set(REALTIME_MIN + 19, arms as *const () as usize, 0);
        IN_HANDLER_END.prepare().unwrap();
        let in_handler = armed_in_a_handler();
        // SAFETY: for ever, and the same each time.
        unsafe { IN_HANDLER_END.arm((&raw const ENDED_IN_HANDLER).cast(), count) }.unwrap();
        i32::from(in_handler == (0, 0))
    });
    assert_eq!(ended, 1);
}

#[test]
fn when_keys_are_exhausted_that_is_an_error() {
    let ended = forked(|| {
        static END: ThreadEnd = ThreadEnd::new();
        let mut key = 0;
        // SAFETY: keys without destructors, of a process that ends.
        while unsafe { libc::pthread_key_create(&raw mut key, None) } == 0 {}
        // SAFETY: for ever.
        let result = unsafe { END.arm((&raw const ENDED).cast(), count) };
        i32::from(result == Err(Errno(libc::EAGAIN)))
    });
    assert_eq!(ended, 1);
}

#[test]
fn each_child_of_a_fork_is_told() {
    let ended = forked(|| {
        static FIRST: (InChild, AtomicUsize) = (InChild::new(), AtomicUsize::new(0));
        static SECOND: (InChild, AtomicUsize) = (InChild::new(), AtomicUsize::new(0));
        for (in_child, counter) in [&FIRST, &SECOND] {
            // SAFETY: once, for ever.
            unsafe { in_child.register(ptr::from_ref(counter).cast(), count) };
        }
        let told = || (FIRST.1.load(Relaxed) * 10 + SECOND.1.load(Relaxed)) as i32;
        let child = forked(told);
        let grandchild = forked(move || forked(told));
        child * 10 + grandchild + told()
    });
    // The child was told once, the grandchild twice, the parent never.
    assert_eq!(ended, 11 * 10 + 22);
}

//! A record has one owner, wherever its thread forks or gives it up.
//!
//! Bounded: one fork a test; each test is a process of its own with an alarm of 30 s.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::thread;

use common::*;
use portcullis::attach::{Binding, RawAttached, Runtime, SystemHost, Threads};
use portcullis::extra_list::Replenish;

/// Forks in its hooks, if it is told to.
struct Forks;

static FORKS_IN: AtomicUsize = AtomicUsize::new(0);
const CREATE: usize = 1;
const RESET: usize = 2;
static FORKED_CHILD: AtomicUsize = AtomicUsize::new(0);
static FORKED: AtomicBool = AtomicBool::new(false);

fn forks_in(hook: usize) -> bool {
    if FORKS_IN.compare_exchange(hook, 0, Relaxed, Relaxed).is_err() {
        return false;
    }
    // SAFETY: the child goes on from here.
    let child = unsafe { libc::fork() };
    FORKED_CHILD.store(child as usize, Relaxed);
    FORKED.store(child == 0, Relaxed);
    child == 0
}

impl Runtime for Forks {
    type Record = AtomicUsize;
    fn create(&self, index: usize) -> Option<AtomicUsize> {
        if index == 0 && forks_in(CREATE) {
            alarm(20);
            assert_eq!(FORKING.create(), Ok(Replenish::Created(1)), "by the child in the hook");
            FORKING.records().next().unwrap().1.store(77, Relaxed);
        }
        Some(AtomicUsize::new(1000))
    }
    fn reset(&self, _: &AtomicUsize, _: u32) {
        if forks_in(RESET) {
            alarm(20);
        }
    }
}

portcullis::thread_slot!(ForkingSlot);
static FORKING: Threads<Forks, SystemHost<ForkingSlot>, 8> =
    Threads::new(Forks, SystemHost::new(), 0);

/// In the child the record that is being made when it was forked does not come over one that it makes itself.
#[test]
fn a_fork_while_a_record_is_made() {
    isolated("a_fork_while_a_record_is_made", || {
        FORKS_IN.store(CREATE, Relaxed);
        let made = FORKING.create();
        if FORKED.load(Relaxed) {
            let kept = FORKING.records().next().unwrap().1.load(Relaxed);
            exit(if kept == 77 && FORKING.attach(Binding::Unbound).is_ok() { 7 } else { 8 });
        }
        assert_eq!(made, Ok(Replenish::Created(1)));
        assert_eq!(wait_for(FORKED_CHILD.load(Relaxed) as i32), Ended::Exited(7));
    });
}

/// In the child the record that is being reset when it was forked is its thread's, and nobody else's.
#[test]
fn a_fork_while_a_record_is_reset() {
    isolated("a_fork_while_a_record_is_reset", || {
        FORKING.create().unwrap();
        FORKS_IN.store(RESET, Relaxed);
        let token = FORKING.attach(Binding::Unbound).unwrap();
        let counts = FORKING.counts();
        assert_eq!(counts.in_use, 1);
        let own = token.index();
        let other = thread::spawn(|| FORKING.attach(Binding::Unbound).unwrap().index());
        assert_ne!(other.join().unwrap(), own);
        drop(token);
        assert_eq!(FORKING.counts().in_use, 0);
        if FORKED.load(Relaxed) {
            exit(7);
        }
        assert_eq!(wait_for(FORKED_CHILD.load(Relaxed) as i32), Ended::Exited(7));
    });
}

static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static KEPT: RefCell<Option<RawAttached>> = const { RefCell::new(None) };
}

/// Gives up a token that it did not take, on the record's own stack.
extern "C" fn gives_up(_: c_int) {
    let given = KEPT.with(|kept| kept.take()).map(|raw| FORKING.detach_raw(raw).is_ok());
    GIVEN_UP.fetch_add(usize::from(given == Some(true)), Relaxed);
}

/// A record whose stack the thread runs on is not given away: the thread keeps both until it ends.
#[test]
fn given_up_on_the_records_own_stack() {
    isolated("given_up_on_the_records_own_stack", || {
        FORKING.create().unwrap();
        let mut action = Disposition::simple(gives_up as *const () as usize);
        action.flags |= libc::SA_ONSTACK;
        set_disposition(libc::SIGUSR2, action);
        let number = thread::spawn(|| {
            no_stack();
            let token = FORKING.attach(Binding::Unbound).unwrap();
            let (number, stack) = (token.index(), stack_in_force());
            assert!(!stack.is_null());
            KEPT.with(|kept| kept.replace(Some(token.into_raw())));
            // SAFETY: the calling thread exists.
            unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
            assert_eq!(GIVEN_UP.load(Relaxed), 1);
            assert_eq!(stack_in_force(), stack);
            let other = thread::spawn(|| {
                no_stack();
                let token = FORKING.attach(Binding::Unbound).unwrap();
                (token.index(), stack_in_force() as usize)
            });
            let (others, its_stack) = other.join().unwrap();
            assert!(others != number && its_stack != stack as usize);
            number
        })
        .join()
        .unwrap();
        // It came back when the thread ended.
        assert_eq!(FORKING.counts().in_use, 0);
        let again: Vec<_> = (0..2).map(|_| FORKING.attach(Binding::Unbound).unwrap()).collect();
        assert!(again.iter().any(|token| token.index() == number));
    });
}

fn stack_in_force() -> *mut c_void {
    // SAFETY: all zeros is storage for one, filled by the call.
    unsafe {
        let mut now: libc::stack_t = std::mem::zeroed();
        libc::sigaltstack(ptr::null(), &raw mut now);
        if now.ss_flags & libc::SS_DISABLE == 0 { now.ss_sp } else { ptr::null_mut() }
    }
}

fn no_stack() {
    // SAFETY: all zeros with this flag is no stack; std frees its own at the thread's end by its address.
    unsafe {
        let mut none: libc::stack_t = std::mem::zeroed();
        none.ss_flags = libc::SS_DISABLE;
        libc::sigaltstack(&raw const none, ptr::null_mut());
    }
}

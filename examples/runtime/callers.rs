//! Threads of C, which know nothing of the runtime: they call it, are called out of it and call back, and end.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::thread;
use std::time::Duration;

use portcullis::preempt::RegisterError;
use portcullis::world::EnterError;

use super::account::{COUNTS, add, wrong};
use super::people::is_over;
use super::queue::{build, nodes, verify};
use super::random::Random;
use super::shim::faults;
use super::threads::{self, Own, Runs, tell_name, world};

/// As many at once.
const THREADS: usize = 4;

/// Into the world, unless there is no slot, or the system refuses what a thread needs there.
pub(crate) fn enter() -> Option<Own> {
    match faults(|| world().birth().and_then(threads::enter)) {
        Ok(own) => {
            add(&COUNTS.entries, 1);
            return Some(own);
        }
        Err(EnterError::Full(_) | EnterError::ShuttingDown) => add(&COUNTS.refused, 1),
        Err(EnterError::Register(RegisterError::System(errno))) if errno.0 == libc::ENOMEM => {
            add(&COUNTS.refused, 1);
        }
        Err(error) => wrong(&format!("a thread of C did not enter: {error}")),
    }
    None
}

/// What C calls: a thread of its own, or of somebody's.
extern "C" fn callback(random: &mut Random) {
    let Some(mut own) = enter() else { return };
    let depth = 2 + random.below(6) as u32;
    let tree = build(&mut own, depth);
    if random.below(8) == 0 {
        tell_name(&own, false);
        own.outside(|outside| {
            foreign_code(random);
            add(&COUNTS.callbacks, 1);
            outside.called(|inside| _ = build(inside, depth));
        });
    }
    if verify(&mut own, tree) != nodes(depth) {
        wrong("a caller's tree has another number of nodes");
    }
}

fn foreign_code(random: &mut Random) {
    // SAFETY: no preconditions.
    unsafe { libc::usleep(random.below(50) as libc::useconds_t) };
}

/// The life of a thread that C has made.
extern "C" fn life(part: *mut c_void) -> *mut c_void {
    let mut random = Random::new(part.addr() as u64);
    for _ in 0..random.below(200) {
        callback(&mut random);
        foreign_code(&mut random);
    }
    ptr::null_mut()
}

/// A thread of C's; `None` if the system has none to give.
pub(crate) fn make(
    life: extern "C" fn(*mut c_void) -> *mut c_void,
    part: usize,
) -> Option<libc::pthread_t> {
    let mut thread = MaybeUninit::uninit();
    let part = ptr::without_provenance_mut(part);
    // SAFETY: `life` takes a number.
    let made = unsafe { libc::pthread_create(thread.as_mut_ptr(), ptr::null(), life, part) };
    // SAFETY: it was made, so it was named.
    (made == 0).then(|| unsafe { thread.assume_init() })
}

pub(crate) fn join(thread: libc::pthread_t) {
    // SAFETY: one of `make`, joined once.
    if unsafe { libc::pthread_join(thread, ptr::null_mut()) } == 0 {
        add(&COUNTS.born, 1);
    }
}

/// Makes such threads until all is over, and sees them end.
pub(crate) fn maker() {
    let mut part = 1000;
    let mut threads = std::collections::VecDeque::new();
    while !is_over() {
        part += 1;
        match faults(|| make(life, part)) {
            Some(thread) => threads.push_back(thread),
            None => thread::sleep(Duration::from_millis(1)),
        }
        if threads.len() >= THREADS {
            threads.pop_front().into_iter().for_each(join);
        }
    }
    threads.into_iter().for_each(join);
}

//! The same under faults: signals for whichever thread, threads that end in the middle, no slot left, signals that
//! are masked, and calls that fail ([`shim`](super::shim)).

use std::cell::Cell;
use std::ffi::c_void;
use std::fs;
use std::mem::forget;
use std::ptr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use portcullis::signal::Builder;
use portcullis::world::EnterError;

use super::account::{COUNTS, add};
use super::callers::{enter, join, make};
use super::people::{is_over, spawn};
use super::queue::{build, verify};
use super::random::Random;
use super::shim;
use super::threads::{Own, Runs, world};

/// Slots that may be lost for good, to threads that end without leaving.
pub(crate) const LOST: u64 = 8;

/// All that brings faults; ends when all is over.
pub(crate) fn begin(own: &mut Own) -> Vec<JoinHandle<()>> {
    let heard = Builder::new().sink([libc::SIGUSR2], |_| add(&COUNTS.heard, 1));
    heard.expect("there is such a signal").detach();
    shim::arm();
    vec![spawn(own, masks), thread::spawn(rain), thread::spawn(ends), thread::spawn(uses_up)]
}

/// Signals for whichever thread of the process: ours, subscribed to, ignored.
fn rain() {
    const SIGNALS: [i32; 4] = [libc::SIGURG, libc::SIGUSR2, libc::SIGWINCH, libc::SIGCHLD];
    let mut random = Random::new(201);
    while !is_over() {
        let tasks = fs::read_dir("/proc/self/task").expect("it is there");
        let names = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
        for name in names.collect::<Vec<libc::pid_t>>() {
            let signal = SIGNALS[random.below(4) as usize];
            // SAFETY: a thread of this process, or none by now.
            let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), name, signal) };
            add(&COUNTS.rained, u64::from(sent == 0));
            thread::sleep(Duration::from_micros(random.below(200)));
        }
    }
}

/// A thread that takes no signals for a while, now and then: who suspends it waits, or is refused.
fn masks(own: &mut Own) {
    let mut random = Random::new(202);
    while !is_over() {
        // SAFETY: sets that are locals.
        unsafe {
            let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            let tree = build(own, 6);
            own.outside(|_| thread::sleep(Duration::from_micros(random.below(300))));
            verify(own, tree);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        }
        add(&COUNTS.masked, 1);
        own.outside(|_| thread::sleep(Duration::from_micros(random.below(2000))));
    }
}

/// Takes every slot that there is, for a moment.
fn uses_up() {
    let mut random = Random::new(203);
    while !is_over() {
        let mut births = Vec::new();
        let refused = loop {
            match world().birth() {
                Ok(birth) => births.push(birth),
                Err(refused) => break refused,
            }
        };
        add(&COUNTS.used_up, u64::from(matches!(refused, EnterError::Full(_))));
        thread::sleep(Duration::from_micros(random.below(200)));
        // Each is another thread's, or nobody's.
        drop(births);
        thread::sleep(Duration::from_micros(random.below(5000)));
    }
}

thread_local! {
    static KEPT: Cell<Option<Own>> = const { Cell::new(None) };
}

/// A thread of C that ends with its member kept where the thread's end drops it.
extern "C" fn keeps(_: *mut c_void) -> *mut c_void {
    if let Some(mut own) = enter() {
        _ = build(&mut own, 5);
        KEPT.set(Some(own));
    }
    ptr::null_mut()
}

/// One that ends inside, without leaving.
extern "C" fn forgets(_: *mut c_void) -> *mut c_void {
    if let Some(mut own) = enter() {
        _ = build(&mut own, 5);
        forget(own);
    }
    ptr::null_mut()
}

/// One that ends outside.
extern "C" fn forgets_outside(_: *mut c_void) -> *mut c_void {
    if let Some(mut own) = enter() {
        _ = build(&mut own, 5);
        forget(own.external());
        forget(own);
    }
    ptr::null_mut()
}

/// Threads that end in the middle.
fn ends() {
    let (mut lost, mut random) = (0, Random::new(204));
    while !is_over() {
        let life = match random.below(64) {
            at @ (0 | 1) if lost < LOST => {
                lost += 1;
                [forgets, forgets_outside][at as usize]
            }
            _ => keeps,
        };
        shim::faults(|| make(life, 0)).into_iter().for_each(join);
        add(&COUNTS.ended, 1);
        thread::sleep(Duration::from_micros(random.below(3000)));
    }
}

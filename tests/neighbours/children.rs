//! Children: of each way to make one, from each place, whatever they do then. The table is in
//! `docs/neighbours.md`.

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::*};
use std::thread;

use libc::{SIGTERM, SIGUSR1, SIGUSR2};
use portcullis::signal::{self, Subscription};

use super::common::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Main,
    Handler,
    Sink,
    AtExit,
    Destructor,
}
use Place::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Fork,
    /// man 2 vfork: the child has the parent's memory, and may only become another program or end.
    Vfork,
    PosixSpawn,
    /// Without the C library's hooks, and without sharing anything.
    Clone,
}
use Way::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Continues,
    Executes,
    Exits,
}
use Then::*;

/// Ends with 7.
const PROGRAM: [&CStr; 3] = [c"sh", c"-c", c"exit 7"];

fn arguments() -> [*mut libc::c_char; 4] {
    let mut list = [ptr::null_mut(); 4];
    list.iter_mut().zip(PROGRAM).for_each(|(place, text)| *place = text.as_ptr().cast_mut());
    list
}

fn becomes_it() -> ! {
    // SAFETY: the list ends in a null; none of the two outlives the process's image.
    unsafe { libc::execv(c"/bin/sh".as_ptr(), arguments().as_ptr().cast()) };
    exit(102)
}

static IN_CHILD: AtomicBool = AtomicBool::new(false);

/// 0 in the child.
fn make(way: Way) -> i32 {
    match way {
        // SAFETY: what the child does is up to its row: nothing that another thread's lock could hold up.
        Fork => unsafe { libc::fork() },
        // SAFETY: as above; no flag shares anything, so it goes on with a copy of this stack.
        Clone => unsafe {
            libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0_usize, 0_usize, 0_usize, 0_usize) as i32
        },
        Vfork | PosixSpawn => unreachable!("has a way of its own"),
    }
}

/// man 2 vfork, as a C program uses it: nothing of this frame is changed by the child.
fn vforked(then: Then) -> i32 {
    // SAFETY: the child ends or becomes another program here.
    #[expect(deprecated, reason = "programs of others use it")]
    match unsafe { libc::vfork() } {
        0 if then == Executes => becomes_it(),
        0 => exit(7),
        child => child,
    }
}

fn spawned() -> i32 {
    let mut child = 0;
    // SAFETY: the lists end in a null; no attributes.
    let made = unsafe {
        libc::posix_spawn(
            &raw mut child,
            c"/bin/sh".as_ptr(),
            ptr::null(),
            ptr::null(),
            arguments().as_ptr(),
            [ptr::null_mut()].as_ptr(),
        )
    };
    assert_eq!(made, 0);
    child
}

static WELL: AtomicU32 = AtomicU32::new(0);
static ROW: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
const WAYS: [Way; 4] = [Fork, Vfork, PosixSpawn, Clone];
const THENS: [Then; 3] = [Continues, Executes, Exits];

/// Makes the child of the row; here if this is the parent, or a child that continues.
fn child() {
    let (way, then) = (WAYS[ROW[0].load(Relaxed) as usize], THENS[ROW[1].load(Relaxed) as usize]);
    let child = match way {
        Vfork => vforked(then),
        PosixSpawn => spawned(),
        _ => make(way),
    };
    match (child, then) {
        (0, Executes) => becomes_it(),
        (0, Exits) => exit(7),
        (0, Continues) => {
            IN_CHILD.store(true, Relaxed);
            alarm(20);
        }
        (child, _) => {
            WELL.fetch_add(u32::from(wait_for(child) == Ended::Exited(7)), Relaxed);
        }
    }
}

struct AtEnd;
impl Drop for AtEnd {
    fn drop(&mut self) {
        child();
    }
}

thread_local! {
    static LATE: AtEnd = const { AtEnd };
}

/// In a child that continues: it has what is sent to it, and nothing of the parent's.
fn goes_on(kept: &mut Subscription) {
    if IN_CHILD.load(Relaxed) {
        kill_self(SIGUSR1);
        let got = kept.recv_timeout(SOON).unwrap();
        let sender = got.origin.map(|origin| origin.pid);
        exit(if (got.signal, sender) == (SIGUSR1, Some(pid())) { 7 } else { 8 });
    }
}

/// Has `child` called there. Returns in the parent.
fn from(place: Place, kept: &mut Subscription) {
    match place {
        Main => child(),
        Handler => kill_self(SIGUSR2),
        Sink => {
            let sink = signal::Builder::new().sink([SIGUSR2], |_| {
                child();
                // Its thread is the child's only one: as it returns, the child ends.
                if IN_CHILD.load(Relaxed) {
                    exit(7);
                }
            });
            kill_self(SIGUSR2);
            while WELL.load(Relaxed) == 0 {
                thread::yield_now();
            }
            _ = sink.unwrap().stop();
        }
        AtExit => {
            extern "C" fn at_exit() {
                child();
                exit(if IN_CHILD.load(Relaxed) || WELL.load(Relaxed) == 1 { 7 } else { 8 });
            }
            let ending = fork(|| {
                // SAFETY: the function lives for ever.
                assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
                // SAFETY: as a program ends.
                unsafe { libc::exit(9) }
            });
            WELL.fetch_add(u32::from(wait_for(ending) == Ended::Exited(7)), Relaxed);
        }
        Destructor => {
            thread::spawn(|| {
                LATE.with(|_| ());
                // A child that continues ends with its only thread, and a thread's end is no error.
            })
            .join()
            .unwrap();
        }
    }
    goes_on(kept);
}

/// Whether there is such a row.
fn is_possible(place: Place, way: Way, then: Then) -> bool {
    match way {
        Vfork => then != Continues,
        PosixSpawn => then == Executes,
        // Such a child has no thread that the module knows of: it may use nothing here.
        Clone => then != Continues,
        // Of a thread that ends there is nothing that could go on.
        Fork => !(place == Destructor && then == Continues),
    }
}

extern "C" fn handler(_: i32) {
    child();
}

/// Each child comes to its end, and the parent goes on hearing its signals.
#[test]
fn each_from_everywhere() {
    isolated("children::each_from_everywhere", each);
}

fn each() {
    let mut kept = signal::subscribe([SIGUSR1]).unwrap();
    for place in [Main, Handler, Sink, AtExit, Destructor] {
        // A handler that was there before a subscription is called beside it.
        let there = if place == Handler { handler as *const () as usize } else { libc::SIG_DFL };
        set_disposition(SIGUSR2, Disposition::simple(there));
        for (way, then) in (0..4).flat_map(|way| (0..3).map(move |then| (way, then))) {
            if !is_possible(place, WAYS[way], THENS[then]) {
                continue;
            }
            ROW[0].store(way as u32, Relaxed);
            ROW[1].store(then as u32, Relaxed);
            WELL.store(0, Relaxed);
            from(place, &mut kept);
            let row = (place, WAYS[way], THENS[then]);
            assert_eq!(WELL.load(Relaxed), 1, "{row:?}");
            kill_self(SIGUSR1);
            assert_eq!(kept.recv_timeout(SOON).map(|got| got.signal), Ok(SIGUSR1), "{row:?}");
        }
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// A daemon: its parent, and that one's, have ended; it never calls the module again.
#[test]
fn a_daemon_hears_its_signals() {
    isolated_open("children::a_daemon_hears_its_signals", 30, || {
        static HEARD: AtomicI32 = AtomicI32::new(0);
        let mut pipe = [0; 2];
        // SAFETY: room for two.
        assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
        let told = move |number: i32| {
            // SAFETY: four bytes of a local.
            unsafe { libc::write(pipe[1], (&raw const number).cast(), 4) };
        };
        let _sink = signal::Builder::new().sink([SIGTERM], move |_| {
            HEARD.store(1, Relaxed);
            told(-1);
            exit(7);
        });
        let middle = fork(|| {
            // SAFETY: no preconditions.
            unsafe { libc::setsid() };
            fork(|| {
                alarm(20);
                told(pid());
                loop {
                    // SAFETY: no preconditions.
                    unsafe { libc::pause() };
                }
            });
            0
        });
        assert_eq!(wait_for(middle), Ended::Exited(0));
        let told = || {
            let mut number = 0_i32;
            // SAFETY: room for four bytes.
            let read = unsafe { libc::read(pipe[0], (&raw mut number).cast(), 4) };
            assert_eq!(read, 4);
            number
        };
        kill(told(), SIGTERM).unwrap();
        assert_eq!((told(), HEARD.load(Relaxed)), (-1, 0));
    });
}

/// Who wants children of one thread has them; their signals wait.
#[test]
fn children_of_one_thread() {
    isolated_open("children::children_of_one_thread", 30, || {
        static HEARD: AtomicU32 = AtomicU32::new(0);
        let sink = signal::Builder::new().sink([SIGUSR2], |_| _ = HEARD.fetch_add(1, Release));
        let _sink = sink.unwrap();
        let child = fork(|| (threads() == 2).into());
        assert_eq!(wait_for(child), Ended::Exited(1), "one that calls the sink");
        signal::follow_forks(false);
        let child = fork(|| {
            if threads() != 1 {
                return 8;
            }
            // SAFETY: no memory is passed.
            let entered = unsafe { libc::unshare(libc::CLONE_NEWUSER) };
            let refused = std::io::Error::last_os_error().raw_os_error();
            if entered != 0 && refused == Some(libc::EINVAL) {
                return 9;
            }
            kill_self(SIGUSR2);
            if HEARD.load(Acquire) != 0 {
                return 10;
            }
            let _other = signal::subscribe([SIGUSR1]).unwrap();
            while HEARD.load(Acquire) == 0 {
                thread::yield_now();
            }
            7
        });
        assert_eq!(wait_for(child), Ended::Exited(7));
    });
}

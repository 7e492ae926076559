//! Threads that can never answer.

use std::ffi::c_void;
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use portcullis::Errno;
use portcullis::all_threads::{
    Call, CallError, Operation, ThreadSeat, call_everyone, linux, registered,
};
use portcullis::note::Deadline;

use super::common::*;
use super::{forbid, function, gettid, set, tgkill};

fn everyone() -> Result<u32, CallError> {
    static RAN: AtomicU32 = AtomicU32::new(0);
    RAN.store(0, Relaxed);
    let report = call_everyone(Call::new(Operation::count(&RAN)))?;
    assert_eq!(RAN.load(Relaxed), report.others + 1);
    Ok(report.others)
}

/// linux/io_uring.h, struct io_uring_params: 120 bytes, the flags third.
#[repr(C)]
struct Params {
    entries: [u32; 2],
    flags: u32,
    rest: [u32; 27],
}

/// Workers of io_uring are in the list of threads, and handle no signals.
#[test]
fn the_kernels_own_workers() {
    isolated_open("threads::the_kernels_own_workers", 30, || {
        const SQPOLL: u32 = 1 << 1;
        let mut params = Params { entries: [0; 2], flags: SQPOLL, rest: [0; 27] };
        // SAFETY: the parameters are a local of that size.
        let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, &raw mut params) };
        if ring < 0 {
            println!("left out: no io_uring here");
            return;
        }
        let listed = std::fs::read_dir("/proc/self/task").unwrap().count();
        let others = everyone().unwrap() as usize;
        assert!(others + 1 < listed, "{others} of {listed}: its poller is not one of them");
        linux::set_no_new_privs().unwrap();
        // SAFETY: the ring is this test's.
        unsafe { libc::close(ring as i32) };
    });
}

/// A thread that sleeps under this mask, until it is told to go on.
fn asleep(mask: fn()) -> (libc::pid_t, impl FnOnce()) {
    let (name, named) = mpsc::channel();
    let (wake, woken) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        mask();
        name.send(gettid()).unwrap();
        _ = woken.recv();
    });
    (named.recv().unwrap(), move || {
        drop(wake);
        thread.join().unwrap();
    })
}

/// What the kernel keeps for the thread.
fn status(thread: libc::pid_t, field: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().to_string()
}

/// Who masks all that can be masked by the C library's functions (its own timer and marker threads) is
/// reached as that reaches it; and it goes on to reach them too.
#[test]
fn all_masked_by_the_c_library() {
    isolated_open("threads::all_masked_by_the_c_library", 30, || {
        let (masked, over) = asleep(|| set_mask(!0));
        for _ in 0..3 {
            assert!(everyone().unwrap() >= 1);
            // SAFETY: no memory is passed; the group stays.
            assert_eq!(unsafe { libc::setgid(libc::getgid()) }, 0);
        }
        linux::set_no_new_privs().unwrap();
        assert_eq!(status(masked, "NoNewPrivs:"), "1");
        let user = libc::uid_t::MAX;
        linux::setresuid(user, user, user).unwrap();
        // Those of threads that have joined, too.
        static SEATS: [ThreadSeat; 1] = [const { ThreadSeat::new() }; 1];
        over();
        let (name, named) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let _member = registered().join(&SEATS[0]).unwrap();
            set_mask(!0);
            name.send(()).unwrap();
            _ = woken.recv();
        });
        named.recv().unwrap();
        let report = registered().call(&SEATS, Call::new(Operation::barrier())).unwrap();
        assert_eq!((report.others, report.missing), (1, None));
        drop(wake);
        thread.join().unwrap();
    });
}

/// Who calls is interrupted again and again, as by a collector that stops it, and sooner than it has waited long
/// enough to look after a thread that does not answer. Between two it has a moment: who is sent signals faster than
/// it handles them comes no further.
#[test]
fn a_caller_that_is_interrupted() {
    extern "C" fn theirs(_: i32, _: *mut libc::siginfo_t, _: *mut c_void) {}
    isolated_open("threads::a_caller_that_is_interrupted", 30, || {
        static OVER: AtomicU32 = AtomicU32::new(0);
        set(libc::SIGUSR1, function(theirs), libc::SA_SIGINFO | libc::SA_RESTART);
        let (_, over) = asleep(|| set_mask(!0));
        let caller = gettid();
        let interrupts = thread::spawn(move || {
            while OVER.load(Relaxed) == 0 {
                assert!(tgkill(caller, libc::SIGUSR1));
                (0..1_000).for_each(|_| std::hint::spin_loop());
            }
        });
        for _ in 0..10 {
            assert!(everyone().unwrap() >= 2);
        }
        OVER.store(1, Relaxed);
        interrupts.join().unwrap();
        over();
    });
}

/// Who masks everything by the system call itself is not reached: rights are set on no thread, and a call
/// names it.
#[test]
fn all_masked() {
    isolated_open("threads::all_masked", 60, || {
        let (masked, over) = asleep(mask_all_raw);
        let unreachable = Err(CallError::Unreachable(masked as usize));
        assert_eq!(linux::set_no_new_privs(), unreachable);
        let soon = Deadline::after(Duration::from_millis(50));
        assert_eq!(linux::until(&soon).set_no_new_privs(), unreachable);
        for thread in [gettid(), masked] {
            assert_eq!(status(thread, "NoNewPrivs:"), "0");
        }
        let report = call_everyone(Call::new(Operation::barrier())).unwrap();
        assert_eq!((report.abandoned, report.missing), (1, Some(masked as usize)));
        over();
        linux::set_no_new_privs().unwrap();
    });
}

/// The user's queue of signals is full: real-time ones are refused, and a neighbour's handler for SIGURG has
/// threads interrupted by such a one.
#[test]
fn no_room_for_signals() {
    extern "C" fn theirs(_: i32, _: *mut libc::siginfo_t, _: *mut c_void) {}
    isolated_open("threads::no_room_for_signals", 30, || {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let (_, over) = asleep(|| ());
        // SAFETY: the limit is a local.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const none) }, 0);
        for neighbour in [false, true] {
            if neighbour {
                set(libc::SIGURG, function(theirs), libc::SA_SIGINFO);
            }
            for _ in 0..3 {
                assert!(everyone().unwrap() >= 1);
            }
        }
        over();
    });
}

/// A sandbox forbids signals to threads: told before anything is done.
#[test]
fn signals_to_threads_are_forbidden() {
    isolated_open("threads::signals_to_threads_are_forbidden", 30, || {
        let (_, over) = asleep(|| ());
        forbid(&[libc::SYS_tgkill, libc::SYS_rt_tgsigqueueinfo]);
        assert_eq!(everyone(), Err(CallError::System(Errno(libc::EPERM))));
        assert_eq!(linux::set_keep_capabilities(true), Err(CallError::System(Errno(libc::EPERM))));
        // SAFETY: no memory is passed.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_KEEPCAPS) }, 0);
        over();
    });
}

/// Where /proc is not to be read, or another namespace's, a thread that is slow has not ended: what it runs
/// stays until it is done.
#[test]
fn slow_where_there_is_no_proc() {
    isolated_open("threads::slow_where_there_is_no_proc", 30, || {
        static SEATS: [ThreadSeat; 1] = [const { ThreadSeat::new() }; 1];
        let empty = std::env::temp_dir().join(format!("portcullis-{}", std::process::id()));
        std::fs::create_dir(&empty).unwrap();
        let entered = std::os::unix::fs::chroot(&empty);
        if let Err(refused) = &entered {
            println!("left out: {refused}");
        } else {
            assert!(!std::path::Path::new("/proc").exists());
        }
        let (name, named) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let _member = registered().join(&SEATS[0]).unwrap();
            name.send(gettid()).unwrap();
            _ = woken.recv();
        });
        let slow = named.recv().unwrap();
        let (begun, done) = (AtomicU32::new(0), AtomicU32::new(0));
        let run = || {
            if gettid() == slow {
                begun.fetch_add(1, Relaxed);
                // Long enough for several looks after it.
                thread::sleep(Duration::from_millis(100));
                done.fetch_add(1, Relaxed);
            }
            Ok(0)
        };
        // SAFETY: it makes system calls, and changes what it borrows by atomics.
        let operation = unsafe { Operation::new(&run) };
        let report = registered().call(&SEATS, Call::new(operation)).unwrap();
        assert_eq!((report.others, report.gone), (1, 0));
        assert_eq!((begun.load(Relaxed), done.load(Relaxed)), (1, 1), "it has not gone on");
        drop(wake);
        thread.join().unwrap();
    });
}

/// A thread runs the operation and ends, and another one gets its number in the same call, whose creator has not
/// run it.
#[test]
fn a_number_that_is_used_again() {
    isolated_open("threads::a_number_that_is_used_again", 30, || {
        // man 7 pid_namespaces: the next number is one more.
        const LAST: &str = "/proc/sys/kernel/ns_last_pid";
        if let Err(refused) = std::fs::write(LAST, std::fs::read(LAST).unwrap_or_default()) {
            println!("left out: {LAST}: {refused}");
            return;
        }
        static RAN: AtomicU32 = AtomicU32::new(0);
        let (name, named) = mpsc::channel();
        let first = thread::spawn(move || {
            name.send(gettid()).unwrap();
            while RAN.load(Relaxed) == 0 {
                thread::yield_now();
            }
        });
        let number = named.recv().unwrap();
        let (ready, is_ready) = mpsc::channel();
        let creator = thread::spawn(move || {
            mask_all_raw();
            ready.send(()).unwrap();
            first.join().unwrap();
            // Old enough to be told from the next: the system counts in hundredths of a second.
            thread::sleep(Duration::from_millis(50));
            // It is listed until it is gone for good; another process may be given it meanwhile, and live on.
            let second = (0..10_000).find_map(|_| {
                std::fs::write(LAST, (number - 1).to_string()).unwrap();
                let (name, named) = mpsc::channel();
                let second = thread::spawn(move || {
                    let me = gettid();
                    name.send(me).unwrap();
                    set_mask(0);
                    while me == number && RAN.load(Relaxed) < 2 {
                        thread::yield_now();
                    }
                });
                (named.recv().unwrap() == number).then_some(second)
            });
            set_mask(0);
            let had = second.is_some();
            second.into_iter().for_each(|second| second.join().unwrap());
            had
        });
        is_ready.recv().unwrap();
        let run = || {
            RAN.fetch_add(u32::from(gettid() == number), Relaxed);
            Ok(0)
        };
        // SAFETY: a system call and an atomic.
        let operation = unsafe { Operation::new(&run) };
        let report = call_everyone(Call::new(operation)).unwrap();
        if creator.join().unwrap() {
            assert!(report.is_complete());
            assert_eq!(RAN.load(Relaxed), 2, "each of the two");
        } else {
            println!("left out: another process has the number");
        }
    });
}

/// The first thread has ended, others go on: it stays in the list.
#[test]
fn the_first_thread_has_ended() {
    isolated_open("threads::the_first_thread_has_ended", 30, || {
        let child = fork(|| {
            extern "C" fn goes_on(_: *mut c_void) -> *mut c_void {
                while !std::fs::read_to_string("/proc/self/stat").unwrap().contains(") Z ") {
                    std::thread::yield_now();
                }
                exit(if everyone() == Ok(0) { 7 } else { 8 })
            }
            // SAFETY: the thread needs nothing of this one, which ends alone.
            unsafe {
                let mut thread = zeroed();
                let made =
                    libc::pthread_create(&raw mut thread, ptr::null(), goes_on, ptr::null_mut());
                assert_eq!(made, 0);
                libc::syscall(libc::SYS_exit, 0);
            }
            9
        });
        assert_eq!(wait_for(child), Ended::Exited(7));
    });
}

/// /proc shows the numbers of another namespace: refused, instead of looked for again and again.
#[test]
fn proc_of_another_pid_namespace() {
    isolated_open("threads::proc_of_another_pid_namespace", 30, || {
        let child = fork(|| {
            // SAFETY: no memory is passed.
            if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
                println!("left out: no new pid namespace here");
                return 7;
            }
            // The first of the namespace; /proc is of the old one.
            let inner = fork(|| match everyone() {
                Err(CallError::System(Errno(libc::ESRCH | libc::ENOENT))) => 7,
                Ok(0) if std::fs::read_link("/proc/self").is_err() => 7,
                other => {
                    eprintln!("{other:?}");
                    8
                }
            });
            match wait_for(inner) {
                Ended::Exited(code) => code,
                _ => 9,
            }
        });
        assert_eq!(wait_for(child), Ended::Exited(7));
    });
}

/// The process is stopped and goes on, as by a freezer or a debugger that stops all: nobody is given up for the time
/// that passed meanwhile.
#[test]
fn all_are_stopped_meanwhile() {
    /// Longer than a call without a deadline waits for who cannot be reached.
    const STOPPED: Duration = Duration::from_millis(2_200);
    isolated_open("threads::all_are_stopped_meanwhile", 60, || {
        if role() == "stopped" {
            let over = AtomicU32::new(0);
            return thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| while over.load(Relaxed) == 0 {});
                }
                println!("{TELLS}");
                while !told_to_end() {
                    let report = call_everyone(Call::new(Operation::barrier())).unwrap();
                    assert!(report.is_complete(), "{report:?}");
                }
                over.store(1, Relaxed);
            });
        }
        let mut stopped = bare_command("threads::all_are_stopped_meanwhile", "stopped");
        stopped.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut stopped = Helper(stopped.spawn().unwrap());
        let mut output = stopped.0.stdout.take().unwrap();
        let read = std::io::Read::read(&mut output, &mut [0; 4096]).unwrap();
        assert_ne!(read, 0, "it has ended");
        // From now on it is in the middle of calls.
        for _ in 0..2 {
            kill(stopped.0.id() as i32, libc::SIGSTOP).unwrap();
            thread::sleep(STOPPED);
            kill(stopped.0.id() as i32, libc::SIGCONT).unwrap();
        }
        drop(stopped.0.stdin.take());
        std::io::copy(&mut output, &mut std::io::sink()).unwrap();
        assert!(stopped.finish().success());
    });
}

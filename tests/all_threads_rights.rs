//! Rights that the kernel keeps for each thread, changed on all: ids, groups, capabilities, Landlock,
//! seccomp.
//!
//! Bounded: fixed counts; each test is a process of its own with an alarm.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]

mod common;
#[path = "common/crowd.rs"]
mod crowd;

use std::{fs, io, thread};

use common::*;
use crowd::Threads;
use portcullis::all_threads::{CallError, Errno, linux};

/// What one line of each thread's status says, by its number.
fn statuses(key: &str) -> Vec<(String, String)> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let of = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let text = fs::read_to_string(entry.path().join("status")).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some((entry.file_name().to_string_lossy().into(), line[key.len()..].trim().to_string()))
    };
    tasks.filter_map(of).collect()
}

/// One step of [`setuid_etc`], with the line of /proc that shows it.
type Step = (fn() -> Result<(), CallError>, &'static str, &'static str);

/// TestSetuidEtc, with its 21 calls, as root.
const STEPS: [Step; 21] = [
    (|| linux::setegid(1), "Gid:", "0\t1\t0\t1"),
    (|| linux::setegid(0), "Gid:", "0\t0\t0\t0"),
    (|| linux::seteuid(1), "Uid:", "0\t1\t0\t1"),
    (|| linux::setuid(0), "Uid:", "0\t0\t0\t0"),
    (|| linux::setgid(1), "Gid:", "1\t1\t1\t1"),
    (|| linux::setgid(0), "Gid:", "0\t0\t0\t0"),
    (|| linux::setgroups(&[0, 1, 2, 3]), "Groups:", "0 1 2 3"),
    (|| linux::setgroups(&[3, 2, 1]), "Groups:", "1 2 3"),
    (|| linux::setgroups(&[]), "Groups:", ""),
    (|| linux::setregid(101, 0), "Gid:", "101\t0\t0\t0"),
    (|| linux::setregid(0, 102), "Gid:", "0\t102\t102\t102"),
    (|| linux::setregid(0, 0), "Gid:", "0\t0\t0\t0"),
    (|| linux::setreuid(1, 0), "Uid:", "1\t0\t0\t0"),
    (|| linux::setreuid(0, 2), "Uid:", "0\t2\t2\t2"),
    (|| linux::setreuid(0, 0), "Uid:", "0\t0\t0\t0"),
    (|| linux::setresgid(1, 0, 2), "Gid:", "1\t0\t2\t0"),
    (|| linux::setresgid(0, 2, 1), "Gid:", "0\t2\t1\t2"),
    (|| linux::setresgid(0, 0, 0), "Gid:", "0\t0\t0\t0"),
    (|| linux::setresuid(1, 0, 2), "Uid:", "1\t0\t2\t0"),
    (|| linux::setresuid(0, 2, 1), "Uid:", "0\t2\t1\t2"),
    (|| linux::setresuid(0, 0, 0), "Uid:", "0\t0\t0\t0"),
];

#[test]
fn setuid_etc() {
    isolated_open("setuid_etc", 30, || {
        if uid() != 0 {
            eprintln!("setuid_etc: left out, for it takes root");
            return;
        }
        let mut threads = Threads::new();
        for turn in 0..10 {
            for (at, (step, key, expected)) in STEPS.iter().enumerate() {
                threads.add(|| 0);
                // killAThread.
                let ends = thread::spawn(|| {});
                step().unwrap_or_else(|error| panic!("turn {turn}, step {at}: {error}"));
                ends.join().unwrap();
                for (thread, shown) in statuses(key) {
                    assert_eq!(shown, *expected, "turn {turn}, step {at}, thread {thread}");
                }
            }
        }
        threads.end();
    });
}

/// A file that a thread opens by its path; 1 if it may.
fn may_open() -> i32 {
    i32::from(fs::File::open("/proc/self/status").is_ok())
}

/// Landlock on every thread, which then forbids /proc too: the next call fails by a typed error.
#[test]
fn landlock() {
    #[repr(C)]
    struct Ruleset {
        handled_access_fs: u64,
    }
    const READ_FILE: u64 = 1 << 2;
    const READ_DIR: u64 = 1 << 3;
    isolated_open("landlock", 30, || {
        let rules = Ruleset { handled_access_fs: READ_FILE | READ_DIR };
        // SAFETY: the attributes are a local of this size.
        let ruleset =
            unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const rules, 8, 0) };
        if ruleset < 0 {
            eprintln!("landlock: left out: {}", io::Error::last_os_error());
            return;
        }
        let mut threads = Threads::new();
        (0..20).for_each(|_| threads.add(may_open));
        assert!(threads.all().iter().all(|may| *may == 1));
        linux::landlock_restrict(ruleset as i32).unwrap();
        assert!(threads.all().iter().all(|may| *may == 0));
        let next = linux::set_keep_capabilities(true);
        assert_eq!(next, Err(CallError::System(Errno(libc::EACCES))));
        threads.end();
    });
}

/// Capabilities taken from all threads, for good where they are not permitted any more.
#[test]
fn capabilities() {
    const CHOWN: u64 = 1;
    const KILL: u64 = 1 << 5;
    fn shown(key: &str) -> Vec<u64> {
        let hex = |(_, shown): (String, String)| u64::from_str_radix(&shown, 16).unwrap();
        statuses(key).into_iter().map(hex).collect()
    }
    isolated_open("capabilities", 30, || {
        let permitted = shown("CapPrm:")[0];
        if permitted & (CHOWN | KILL) != CHOWN | KILL {
            eprintln!("capabilities: left out, for it takes root");
            return;
        }
        let mut threads = Threads::new();
        (0..20).for_each(|_| threads.add(|| 0));
        let each = |key, set| assert_eq!(shown(key), vec![set; statuses(key).len()], "{key}");
        let mut sets = linux::Capabilities { effective: KILL, permitted, inheritable: CHOWN };
        linux::capset(sets).unwrap();
        each("CapEff:", KILL);
        each("CapPrm:", permitted);
        each("CapInh:", CHOWN);
        sets = linux::Capabilities { permitted: KILL, inheritable: 0, ..sets };
        linux::capset(sets).unwrap();
        each("CapPrm:", KILL);
        each("CapInh:", 0);
        // What is gone does not come back, on any thread.
        sets.permitted = permitted;
        assert_eq!(linux::capset(sets), Err(CallError::First(Errno(libc::EPERM))));
        each("CapPrm:", KILL);
        threads.end();
    });
}

/// Where the kernel restricts all threads itself it is asked to, once. Here another process's answers
/// stand for those of such a kernel (Linux 7.0).
#[test]
fn landlock_by_the_kernel() {
    isolated_open("landlock_by_the_kernel", 30, || {
        let Some(listener) = kernel::listen() else {
            eprintln!("landlock_by_the_kernel: left out: {}", io::Error::last_os_error());
            return;
        };
        let kernel = thread::spawn(move || {
            let version = kernel::answer(listener, 8);
            let restricted = kernel::answer(listener, 0);
            // A further one would wait for an answer, and the alarm come.
            (version, restricted)
        });
        let mut threads = Threads::new();
        (0..20).for_each(|_| threads.add(|| 0));
        linux::landlock_restrict(77).unwrap();
        let (version, restricted) = kernel.join().unwrap();
        assert_eq!(version, (libc::SYS_landlock_create_ruleset, [0, 0, 1]));
        assert_eq!(restricted, (libc::SYS_landlock_restrict_self, [77, 8, 0]));
        assert!(statuses("NoNewPrivs:").iter().all(|(_, shown)| shown == "1"));
        threads.end();
    });
}

/// Landlock's system calls of this process, answered by one of its threads: man 2 seccomp_unotify.
mod kernel {
    use std::ffi::{c_long, c_ulong};
    use std::mem::zeroed;

    // linux/seccomp.h
    const RECEIVE: c_ulong = 0xc050_2100;
    const SEND: c_ulong = 0xc018_2101;

    /// What takes all system calls from here on but Landlock's two past the listener.
    pub(crate) fn listen() -> Option<i32> {
        let op = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let is = |number: c_long, jt, jf| {
            op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jt, jf, number as u32)
        };
        let mut filter = [
            op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            is(libc::SYS_landlock_create_ruleset, 1, 0),
            is(libc::SYS_landlock_restrict_self, 0, 1),
            op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
            op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: the filter is a local; it lets through what the program needs.
        let listener = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program)
        };
        i32::try_from(listener).ok().filter(|listener| *listener >= 0)
    }

    /// The next one and its first arguments, answered by this.
    pub(crate) fn answer(listener: i32, value: i64) -> (c_long, [u64; 3]) {
        // SAFETY: all zeros is what the kernel asks for; both are locals of the types it is told.
        unsafe {
            let mut asked: libc::seccomp_notif = zeroed();
            assert_eq!(libc::ioctl(listener, RECEIVE, &raw mut asked), 0);
            let mut answer: libc::seccomp_notif_resp = zeroed();
            (answer.id, answer.val) = (asked.id, value);
            assert_eq!(libc::ioctl(listener, SEND, &raw mut answer), 0);
            let [first, second, third, ..] = asked.data.args;
            (c_long::from(asked.data.nr), [first, second, third])
        }
    }
}

/// A filter on every thread by one call.
#[test]
fn seccomp() {
    fn refused() -> i32 {
        errno_of(|| {
            // SAFETY: no memory is passed.
            unsafe { libc::syscall(libc::SYS_getppid) as i32 }
        })
    }
    isolated_open("seccomp", 30, || {
        let mut threads = Threads::new();
        (0..20).for_each(|_| threads.add(refused));
        let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        let refuse = libc::SECCOMP_RET_ERRNO | libc::EDOM as u32;
        let mut filter = [
            op((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, 0),
            op(
                (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
                0,
                1,
                libc::SYS_getppid as u32,
            ),
            op((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, refuse),
            op((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        linux::set_no_new_privs().unwrap();
        // SAFETY: the filter lets all through but getppid.
        unsafe { linux::seccomp(&program) }.unwrap();
        assert!(threads.all().iter().all(|errno| *errno == libc::EDOM));
        threads.end();
    });
}

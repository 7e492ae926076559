//! Children, events and the system's calls, for the tests on the real kernel.
//!
//! Dispositions belong to the whole process, so each test that touches them runs in a process of
//! its own: the test binary once more, with this one test ([`isolated`]). An alarm ends it. All
//! its signals meet the thread of the test, as the other, of the test harness, masks them: one
//! that a thread sends to its own process has been handled when `kill` returns.
#![allow(dead_code, reason = "no test uses all of it")]

use std::ffi::CString;
use std::io::{self, Read};
use std::mem::zeroed;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::ptr;
use std::time::Duration;

/// Long enough for anything that has to happen.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Long enough to see that something does not happen.
pub(crate) const SETTLE: Duration = Duration::from_millis(100);

/// What tells that the body of a test ran to its end: no test of that name would succeed, too.
const RAN: i32 = 42;
const CHILD: &str = "PORTCULLIS_CHILD";
pub(crate) const TELLS: &str = "told: ";
const UNMASK: &str = "PORTCULLIS_UNMASK";
const ROLE: &str = "PORTCULLIS_ROLE";

/// Runs `body` in a process of its own. `name` is the test's.
pub(crate) fn isolated(name: &str, body: impl FnOnce()) {
    isolated_within(name, 30, body);
}

pub(crate) fn isolated_within(name: &str, seconds: u32, body: impl FnOnce()) {
    if std::env::var(CHILD).as_deref() == Ok(name) {
        alarm(seconds);
        if std::env::var_os(UNMASK).is_some() {
            set_mask(0);
        }
        body();
        end_of_body();
    }
    let status = command(name, "").status().expect("the test binary runs again");
    assert_eq!(status.code(), Some(RAN), "{name}: {status}");
}

/// Whether this is the process that starts the others.
pub(crate) fn is_harness() -> bool {
    std::env::var_os(CHILD).is_none()
}

/// Whoever starts a role goes by what it says and does.
fn end_of_body() -> ! {
    std::process::exit(if role().is_empty() { RAN } else { 0 })
}

/// The same where all threads are to be reached: the harness's masks nothing.
pub(crate) fn isolated_open(name: &str, seconds: u32, body: impl FnOnce()) {
    if std::env::var(CHILD).as_deref() == Ok(name) {
        alarm(seconds);
        body();
        end_of_body();
    }
    let status = bare_command(name, "").status().expect("the test binary runs again");
    assert_eq!(status.code(), Some(RAN), "{name}: {status}");
}

/// This binary once more, with one test, in a role of it.
pub(crate) fn bare_command(name: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
    command.args(["--exact", name, "--nocapture", "--test-threads=1", "--quiet"]);
    command.env(CHILD, name).env(ROLE, role).stdout(Stdio::null());
    command
}

/// The same, with only the thread of the test open to signals.
pub(crate) fn command(name: &str, role: &str) -> Command {
    let mut command = bare_command(name, role);
    command.env(UNMASK, "1");
    // SAFETY: setting the mask is all that happens between fork and exec.
    unsafe {
        command.pre_exec(|| {
            set_mask(!0);
            Ok(())
        })
    };
    command
}

/// Which part this process has in its test; empty for the main one.
pub(crate) fn role() -> String {
    std::env::var(ROLE).unwrap_or_default()
}

/// A number handed to a process in a role.
pub(crate) fn number(name: &str) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).expect("the number was handed on")
}

/// A process in a role that is ended with the test. Its standard input is a pipe of ours.
pub(crate) struct Helper(pub(crate) Child);

impl Helper {
    pub(crate) fn start(name: &str, role: &str, numbers: &[(&str, u64)]) -> Self {
        let numbers = numbers.iter().map(|(key, value)| (*key, value.to_string()));
        let mut command = command(name, role);
        command.envs(numbers).stdin(Stdio::piped());
        Self(command.spawn().expect("a helper starts"))
    }

    /// One whose output is read by [`told`](Self::told).
    pub(crate) fn telling(name: &str, role: &str) -> Self {
        let mut command = command(name, role);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a helper starts"))
    }

    /// Closes the pipe ([`told_to_end`]) and waits; the number that it printed after [`TELLS`].
    pub(crate) fn told(mut self) -> u64 {
        drop(self.0.stdin.take());
        let mut text = String::new();
        let output = self.0.stdout.as_mut().expect("its output is a pipe");
        output.read_to_string(&mut text).expect("its output is text");
        assert!(self.finish().success());
        let number = text.lines().find_map(|line| line.split(TELLS).nth(1)?.parse().ok());
        number.expect("it told its number")
    }

    /// Closes the pipe ([`told_to_end`]) and waits.
    pub(crate) fn finish(mut self) -> ExitStatus {
        self.0.wait().expect("a helper is waited for")
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the other end of standard input was closed.
pub(crate) fn told_to_end() -> bool {
    let mut input = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd, valid for the call.
    unsafe { libc::poll(&raw mut input, 1, 0) == 1 }
}

/// Runs `f` in a thread that takes no signals, so that they meet the others.
pub(crate) fn masked_thread<'scope, R: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    f: impl FnOnce() -> R + Send + 'scope,
) -> std::thread::ScopedJoinHandle<'scope, R> {
    let before = mask();
    set_mask(!0);
    let handle = scope.spawn(f);
    set_mask(before);
    handle
}

/// A program to become: this binary in a role, with nothing left to allocate after a fork.
pub(crate) struct Image {
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    pub(crate) fn new(name: &str, role: &str, extra: &[(&str, u64)]) -> Self {
        let text = |text: String| CString::new(text).expect("no zero inside");
        let path = std::env::current_exe().expect("this binary has a path");
        let path = path.into_os_string().into_string().expect("a path of plain text");
        let arguments =
            [path.as_str(), "--exact", name, "--nocapture", "--test-threads=1", "--quiet"];
        let mut environment = vec![format!("{CHILD}={name}"), format!("{ROLE}={role}")];
        environment.extend(extra.iter().map(|(key, value)| format!("{key}={value}")));
        Self {
            arguments: arguments.into_iter().map(|a| text(a.to_owned())).collect(),
            environment: environment.into_iter().map(text).collect(),
        }
    }

    /// Becomes it; 102 if that fails.
    pub(crate) fn exec(&self) -> ! {
        let list = |texts: &[CString]| -> [*const libc::c_char; 16] {
            std::array::from_fn(|at| texts.get(at).map_or(ptr::null(), |text| text.as_ptr()))
        };
        let (arguments, environment) = (list(&self.arguments), list(&self.environment));
        // SAFETY: both lists end with a null pointer: they are longer than what is in them.
        unsafe { libc::execve(arguments[0], arguments.as_ptr(), environment.as_ptr()) };
        exit(102)
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub(crate) fn alarm(seconds: u32) {
    // SAFETY: no preconditions.
    unsafe { libc::alarm(seconds) };
}

pub(crate) fn pid() -> i32 {
    // SAFETY: no preconditions.
    unsafe { libc::getpid() }
}

pub(crate) fn parent() -> i32 {
    // SAFETY: no preconditions.
    unsafe { libc::getppid() }
}

pub(crate) fn uid() -> u32 {
    // SAFETY: no preconditions.
    unsafe { libc::getuid() }
}

pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no preconditions.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// To this process.
pub(crate) fn kill_self(signal: i32) {
    kill(pid(), signal).expect("a signal to oneself is accepted");
}

/// Queues a signal with a value, and again for as long as the kernel's queue is full.
#[cfg(not(any(target_vendor = "apple", target_os = "openbsd")))]
pub(crate) fn queue(pid: i32, signal: i32, value: usize) -> io::Result<()> {
    let value = libc::sigval { sival_ptr: ptr::without_provenance_mut(value) };
    loop {
        // SAFETY: no preconditions.
        match check(unsafe { libc::sigqueue(pid, signal, value) }) {
            Err(full) if full.raw_os_error() == Some(libc::EAGAIN) => std::thread::yield_now(),
            done => return done.map(drop),
        }
    }
}

/// Ends the process at once, as a forked child has to.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: no preconditions.
    unsafe { libc::_exit(code) }
}

/// Forks; the child ends with what `child` returns, 101 if it panics.
pub(crate) fn fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the C library keeps its allocator usable in the child; the closures take no lock
    // that another thread of the parent could hold.
    let forked = check(unsafe { libc::fork() }).expect("fork");
    if forked == 0 {
        exit(catch_unwind(AssertUnwindSafe(child)).unwrap_or(101));
    }
    forked
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(i32),
    Killed(i32),
}

pub(crate) fn wait_for(child: i32) -> Ended {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is valid for the call.
        match check(unsafe { libc::waitpid(child, &raw mut status, 0) }) {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            done => {
                assert_eq!(done.expect("waitpid"), child);
                break;
            }
        }
    }
    if libc::WIFSIGNALED(status) {
        Ended::Killed(libc::WTERMSIG(status))
    } else {
        Ended::Exited(libc::WEXITSTATUS(status))
    }
}

/// A disposition as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disposition {
    pub(crate) action: usize,
    pub(crate) flags: i32,
    /// One bit for each signal of the mask.
    pub(crate) mask: u128,
}

impl Disposition {
    pub(crate) fn simple(action: usize) -> Self {
        Self { action, flags: 0, mask: 0 }
    }

    /// Without the flag that the C library adds of its own accord.
    fn shown(mut self) -> Self {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            self.flags &= !0x0400_0000;
        }
        self
    }
}

fn members(set: &libc::sigset_t) -> u128 {
    // SAFETY: the set is valid; numbers out of range answer -1.
    (1..128).filter(|s| unsafe { libc::sigismember(set, *s) } == 1).fold(0, |all, s| all | 1 << s)
}

fn set_of(members: u128) -> libc::sigset_t {
    // SAFETY: all zeros is storage for a set, emptied next.
    let mut set: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: the set is a local.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in (1..128).filter(|s| members >> s & 1 != 0) {
        // SAFETY: as above.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

pub(crate) fn disposition(signal: i32) -> io::Result<Disposition> {
    // SAFETY: all zeros is a valid sigaction.
    let mut now: libc::sigaction = unsafe { zeroed() };
    // SAFETY: a null new action only asks.
    check(unsafe { libc::sigaction(signal, ptr::null(), &raw mut now) })?;
    let (action, flags) = (now.sa_sigaction, now.sa_flags);
    Ok(Disposition { action, flags, mask: members(&now.sa_mask) }.shown())
}

pub(crate) fn set_disposition(signal: i32, new: Disposition) {
    // SAFETY: all zeros is a valid sigaction.
    let mut action: libc::sigaction = unsafe { zeroed() };
    (action.sa_sigaction, action.sa_flags) = (new.action, new.flags);
    action.sa_mask = set_of(new.mask);
    // SAFETY: tests set SIG_DFL, SIG_IGN and handlers that are async-signal-safe.
    check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })
        .expect("sigaction");
}

/// The calling thread's signal mask.
pub(crate) fn mask() -> u128 {
    // SAFETY: all zeros is storage for a set, filled next.
    let mut now: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: a null new set only asks.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), &raw mut now) };
    members(&now)
}

pub(crate) fn set_mask(members: u128) {
    let set = set_of(members);
    // SAFETY: the set is a local.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) };
}

/// Masks even those signals that the C library keeps for itself.
#[cfg(target_os = "linux")]
pub(crate) fn mask_all_raw() {
    let all = [!0_u64; 2];
    let (how, none) = (libc::SIG_SETMASK, ptr::null_mut::<u64>());
    let size = libc::SIGRTMAX() as usize / 8;
    // SAFETY: a set of the kernel's size, a local.
    let done = unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, all.as_ptr(), none, size) };
    assert_eq!(done, 0);
}

pub(crate) fn errno_of(call: impl FnOnce() -> i32) -> i32 {
    assert_eq!(call(), -1, "the call fails");
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Makes this process the leader of a process group of its own.
pub(crate) fn lead_group() {
    // SAFETY: no preconditions.
    check(unsafe { libc::setpgid(0, 0) }).expect("a group of its own");
}

/// Has the kernel queue few signals for this process: it searches its queue from end to end.
pub(crate) fn limit_queue() {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
        // SAFETY: the pointer is valid for the call.
        check(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const limit) })
            .expect("limit");
    }
}

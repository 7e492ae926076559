//! A signal at every instruction of attach and detach: the thread is stepped through them by
//! ptrace(2), to where the signal is sent to it. And how many system calls they make.
//!
//! Each step has a child of its own, forked from this process: stepped from a first breakpoint,
//! signalled, run to its end; the child checks what its handler found. Masked, the signal comes
//! later: it is counted where, and always comes once.
//!
//! Bounded: every instruction where there are no more than `STEPS`, else every n-th, which is said.
#![cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(loom)))]
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, unused_imports))]

mod common;
mod foreign;

#[cfg(not(target_arch = "x86_64"))]
#[test]
fn steps_are_taken_on_x86_64_only() {
    eprintln!("attach_steps: left out: the breakpoint and the registers are those of x86_64");
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::mem::zeroed;
    use std::ptr;
    use std::sync::atomic::{AtomicI32, Ordering::*};
    use std::time::Instant;

    use libc::{SIGSTOP, SIGTRAP, SIGUSR1, c_int, pid_t};
    use portcullis::attach::{Binding, ThreadState};

    use crate::common::*;
    use crate::foreign::*;

    /// How many are stepped through in each test, about.
    const STEPS: u64 = 500_000;

    /// Where the tracer takes over, and where it lets go.
    #[inline(never)]
    fn breakpoint() {
        // SAFETY: a trap that the tracer takes; no register changes.
        unsafe { std::arch::asm!("int3") };
    }

    fn trace(request: u32, pid: pid_t, data: usize) -> i64 {
        // SAFETY: requests without memory; the process is a stopped child.
        unsafe { libc::ptrace(request, pid, ptr::null_mut::<u8>(), data) }
    }

    fn trace_into<T>(request: u32, pid: pid_t, size: usize) -> T {
        // SAFETY: for these requests all zeros is valid; the kernel fills no more than it has.
        unsafe {
            let mut got: T = zeroed();
            assert_eq!(libc::ptrace(request, pid, size, &raw mut got), 0);
            got
        }
    }

    /// How a thread that is traced has stopped, or ended.
    #[derive(Debug, PartialEq, Eq)]
    enum Stop {
        Breakpoint,
        Step,
        Call,
        Signal(c_int),
        Ended(Ended),
    }

    fn wait_stop(pid: pid_t) -> Stop {
        let mut status = 0;
        // SAFETY: the status is a local.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }, pid);
        match () {
            () if libc::WIFEXITED(status) => Stop::Ended(Ended::Exited(libc::WEXITSTATUS(status))),
            () if libc::WIFSIGNALED(status) => Stop::Ended(Ended::Killed(libc::WTERMSIG(status))),
            () => match libc::WSTOPSIG(status) {
                SIGTRAP => {
                    let info: libc::siginfo_t = trace_into(libc::PTRACE_GETSIGINFO, pid, 0);
                    // The breakpoint's trap is the kernel's own (SI_KERNEL).
                    if info.si_code == 0x80 { Stop::Breakpoint } else { Stop::Step }
                }
                call if call == SIGTRAP | 0x80 => Stop::Call,
                signal => Stop::Signal(signal),
            },
        }
    }

    fn masks(pid: pid_t, signal: c_int) -> bool {
        let mask: u64 = trace_into(libc::PTRACE_GETSIGMASK, pid, 8);
        mask >> (signal - 1) & 1 != 0
    }

    fn address(pid: pid_t) -> u64 {
        trace_into::<libc::user_regs_struct>(libc::PTRACE_GETREGS, pid, 0).rip
    }

    /// A child that stops for its tracer, then does `body`, and ends well if `check` says so.
    fn traced(body: impl FnOnce(), check: impl FnOnce() -> bool) -> pid_t {
        let child = fork(|| {
            alarm(10);
            trace(libc::PTRACE_TRACEME, 0, 0);
            // SAFETY: no preconditions.
            unsafe { libc::raise(SIGSTOP) };
            body();
            i32::from(!check())
        });
        assert_eq!(wait_stop(child), Stop::Signal(SIGSTOP));
        trace(libc::PTRACE_SETOPTIONS, child, OPTIONS as usize);
        child
    }

    const OPTIONS: c_int = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;

    /// What became of the signal sent at a step.
    #[derive(Debug, PartialEq, Eq)]
    enum Landed {
        AtOnce,
        Deferred,
    }

    /// One instruction; false at the breakpoint.
    fn step(child: pid_t) -> bool {
        trace(libc::PTRACE_SINGLESTEP, child, 0);
        match wait_stop(child) {
            Stop::Step => true,
            Stop::Breakpoint => false,
            other => panic!("{other:?}"),
        }
    }

    fn interrupt_at(at: u64, scenario: Scenario) -> Landed {
        let child = traced(scenario.body, scenario.check);
        trace(libc::PTRACE_CONT, child, 0);
        assert_eq!(wait_stop(child), Stop::Breakpoint);
        for _ in 0..at {
            assert!(step(child), "{}: shorter than it was", scenario.name);
        }
        let (masked, place) = (masks(child, SIGUSR1), address(child));
        // SAFETY: a thread of this process's child.
        unsafe { libc::syscall(libc::SYS_tgkill, child, child, SIGUSR1) };
        let (mut came, mut at_once) = (0, false);
        let (mut signal, mut go_on) = (0, libc::PTRACE_SINGLESTEP);
        loop {
            trace(go_on, child, signal as usize);
            // Not by the place alone: block and unblock end with the same instruction.
            let first = go_on == libc::PTRACE_SINGLESTEP;
            (signal, go_on) = (0, libc::PTRACE_CONT);
            match wait_stop(child) {
                Stop::Signal(SIGUSR1) => {
                    at_once = first && address(child) == place;
                    (came, signal) = (came + 1, SIGUSR1);
                }
                Stop::Signal(other) => signal = other,
                Stop::Breakpoint | Stop::Step => {}
                Stop::Ended(ended) => {
                    assert_eq!(ended, Ended::Exited(0), "{}, step {at}", scenario.name);
                    break;
                }
                other => panic!("step {at}: {other:?}"),
            }
        }
        assert_eq!((came, at_once), (1, !masked), "{}, step {at}", scenario.name);
        if masked { Landed::Deferred } else { Landed::AtOnce }
    }

    #[derive(Clone, Copy)]
    struct Scenario {
        name: &'static str,
        body: fn(),
        check: fn() -> bool,
    }

    /// As the child was before, and one handler ran.
    fn as_before() -> bool {
        let stack = stack_now();
        assert_clean();
        mask() == 0
            && handled() == 1
            && stack.ss_flags == libc::SS_DISABLE
            && THREADS.state() == ThreadState::Unknown
    }

    fn without_stack() {
        // SAFETY: all zeros is a valid stack_t.
        let mut none: libc::stack_t = unsafe { zeroed() };
        none.ss_flags = libc::SS_DISABLE;
        // SAFETY: the thread runs on its own stack.
        assert_eq!(unsafe { libc::sigaltstack(&raw const none, ptr::null_mut()) }, 0);
        note_host_stack();
    }

    fn between(body: impl FnOnce()) {
        breakpoint();
        body();
        breakpoint();
    }

    /// How many instructions it takes, undisturbed.
    fn length(scenario: Scenario) -> u64 {
        let child = traced(scenario.body, || true);
        trace(libc::PTRACE_CONT, child, 0);
        assert_eq!(wait_stop(child), Stop::Breakpoint);
        let mut steps = 0;
        while step(child) {
            steps += 1;
        }
        trace(libc::PTRACE_CONT, child, 0);
        assert_eq!(wait_stop(child), Stop::Ended(Ended::Exited(0)));
        steps
    }

    /// Interrupts a scenario at all of its steps, or at every n-th.
    fn interrupt_everywhere(scenario: Scenario) {
        let start = Instant::now();
        let length = length(scenario);
        // Each is stepped to from the first.
        let every = (length * length / 2).div_ceil(STEPS);
        let (mut at_once, mut later) = (0, 0);
        for step in (0..length).step_by(every as usize) {
            match interrupt_at(step, scenario) {
                Landed::AtOnce => at_once += 1,
                Landed::Deferred => later += 1,
            }
        }
        let took = start.elapsed();
        eprintln!(
            "{}: {length} instructions, a signal at every {every}. of them: {at_once} were handled \
             at once, {later} later; {took:.1?}",
            scenario.name,
        );
        assert!(at_once > 0);
    }

    fn pair() {
        visit(&attach(Binding::Unbound));
    }

    fn bare_pair() {
        drop(attach(Binding::Unbound));
    }

    #[test]
    fn every_step_of_the_first_attach() {
        isolated("x86_64::every_step_of_the_first_attach", || {
            begin(8);
            let body = || {
                without_stack();
                between(bare_pair);
            };
            let name = "first attach, makes a key and a record";
            interrupt_everywhere(Scenario { name, body, check: as_before });
        });
    }

    #[test]
    fn every_step_of_a_pair() {
        isolated("x86_64::every_step_of_a_pair", || {
            begin(8);
            let body = || {
                without_stack();
                pair();
                between(bare_pair);
            };
            interrupt_everywhere(Scenario { name: "unbound", body, check: as_before });
        });
    }

    #[test]
    fn every_step_of_bound_and_nested() {
        isolated("x86_64::every_step_of_bound_and_nested", || {
            begin(8);
            let body = || {
                without_stack();
                visit(&attach(Binding::Bound));
                between(|| {
                    let mut outer = attach(Binding::Bound);
                    let external = outer.external();
                    drop(attach(Binding::Unbound));
                    drop(external);
                });
            };
            let check = || {
                let bound = (THREADS.state(), THREADS.counts().in_use, mask(), handled());
                THREADS.shutdown();
                bound == (ThreadState::External, 1, 0, 1) && faults().is_empty()
            };
            interrupt_everywhere(Scenario { name: "bound again, out, nested", body, check });
        });
    }

    static CHILD: AtomicI32 = AtomicI32::new(-1);

    extern "C" fn fork_and_attach(_: c_int) {
        // SAFETY: the interrupted code holds no lock of the C library.
        CHILD.store(unsafe { libc::fork() }, Relaxed);
        if CHILD.load(Relaxed) == 0 {
            alarm(10);
            // Nobody traces it.
            handle(SIGTRAP, pass);
        }
        attach_here();
    }

    extern "C" fn pass(_: c_int) {}

    /// The handler forks: both go on from there and end well.
    #[test]
    fn a_fork_at_every_step() {
        isolated("x86_64::a_fork_at_every_step", || {
            begin(8);
            handle(SIGUSR1, fork_and_attach);
            let body = || {
                without_stack();
                between(bare_pair);
            };
            let check = || {
                drop(attach(Binding::Bound));
                let child = CHILD.load(Relaxed);
                let counts = THREADS.counts();
                (counts.in_use, counts.waiting, mask(), handled()) == (1, 0, 0, 1)
                    && counts.total == RESERVE + 2
                    && faults().is_empty()
                    && (child == 0 || wait_for(child) == Ended::Exited(0))
            };
            interrupt_everywhere(Scenario { name: "first attach, the handler forks", body, check });
        });
    }

    /// System calls of the child between its breakpoints.
    fn calls(body: fn()) -> usize {
        let child = traced(body, || true);
        let go_on = |request| {
            trace(request, child, 0);
            wait_stop(child)
        };
        assert_eq!(go_on(libc::PTRACE_CONT), Stop::Breakpoint);
        let mut stops = 0;
        loop {
            match go_on(libc::PTRACE_SYSCALL) {
                Stop::Call => stops += 1,
                Stop::Breakpoint => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(go_on(libc::PTRACE_CONT), Stop::Ended(Ended::Exited(0)));
        // Each stops when it is entered and when it is left.
        assert_eq!(stops % 2, 0);
        stops / 2
    }

    /// As few as are claimed; and `getppid` to show that they are counted at all.
    #[test]
    fn system_calls() {
        isolated("x86_64::system_calls", || {
            begin(8);
            let first = calls(|| {
                without_stack();
                // The key is made and the second record is there: what another thread does once.
                std::thread::spawn(pair).join().unwrap();
                between(bare_pair);
            });
            let again = calls(|| {
                without_stack();
                pair();
                between(bare_pair);
            });
            let bound = calls(|| {
                drop(attach(Binding::Bound));
                between(|| {
                    let mut outer = attach(Binding::Bound);
                    let external = outer.external();
                    drop(attach(Binding::Unbound));
                    drop(external);
                });
            });
            let nothing = calls(|| between(|| ()));
            let one = calls(|| {
                between(|| {
                    // SAFETY: no preconditions.
                    unsafe { libc::getppid() };
                });
            });
            eprintln!(
                "system calls: first pair {first}, unbound again {again}, bound again {bound}"
            );
            assert_eq!((nothing, one), (0, 1));
            assert_eq!((first, again, bound), (6, 6, 0));
        });
    }
}

//! Threads made in C, and a toy runtime whose handlers check what they find, for the tests of
//! `attach` on the real kernel.
//!
//! A handler cannot panic: what it finds wrong it counts, and [`assert_clean`] tells at the end.
#![allow(dead_code, reason = "no test uses all of it")]

use std::cell::Cell;
use std::env::consts;
use std::ffi::{CStr, CString, c_int, c_long, c_void};
use std::mem::zeroed;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::{env, fs, process, ptr};

use portcullis::attach::{AsyncSignalSafe, Misuse, Threads};
use portcullis::attach::{
    AttachError, AttachKind, Attached, Binding, Runtime, SystemHost, ThreadState,
};
use portcullis::extra_list::RecordCounts;

pub(crate) type Callback = extern "C" fn(*mut c_void) -> c_long;

/// What the threads of [`Foreign::run`] do.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) function: Callback,
    pub(crate) argument: *mut c_void,
    pub(crate) rounds: c_long,
    /// How many each sender sends to each thread.
    pub(crate) signals: c_long,
    pub(crate) threads: c_int,
    pub(crate) senders: c_int,
    pub(crate) signal: c_int,
    /// Not zero: threads call on until the last signal was sent.
    pub(crate) go_on: c_int,
}

impl Plan {
    pub(crate) fn new(threads: c_int, rounds: c_long, function: Callback) -> Self {
        let (argument, signal) = (ptr::null_mut(), libc::SIGUSR1);
        Self { function, argument, rounds, signals: 0, threads, senders: 0, signal, go_on: 0 }
    }

    pub(crate) fn run(&self) -> c_long {
        (foreign().run)(self)
    }
}

/// Where [`Foreign::cancel`] ends its thread.
pub(crate) const CANCEL_AT: [c_int; 3] = [0, 1, 2];

/// The functions of `foreign.c`.
#[derive(Debug)]
pub(crate) struct Foreign {
    run: extern "C" fn(*const Plan) -> c_long,
    pub(crate) cancel: extern "C" fn(c_int, Callback, *mut c_void) -> c_int,
    pub(crate) own_stack: extern "C" fn(usize, Callback, *mut c_void) -> c_int,
    pub(crate) setgid: extern "C" fn(c_long) -> c_int,
    pub(crate) make_key: extern "C" fn(Callback, *mut c_void) -> c_int,
    pub(crate) at_end: extern "C" fn(c_int) -> c_int,
    pub(crate) at_unload: extern "C" fn(Callback, *mut c_void),
    pub(crate) jump: extern "C" fn(c_int, Callback) -> c_int,
}

/// Compiles and loads it, once in a process.
pub(crate) fn foreign() -> &'static Foreign {
    static LOADED: OnceLock<Foreign> = OnceLock::new();
    LOADED.get_or_init(load)
}

fn compile(library: &Path) {
    let target = format!("{}-unknown-linux-gnu", consts::ARCH);
    // All that a build script would be told by its environment.
    let mut build = cc::Build::new();
    build.target(&target).host(&target).opt_level(2).debug(false).cargo_metadata(false);
    let mut command = build.get_compiler().to_command();
    command.args(["-shared", "-fPIC", "-pthread", "-Wall", "-Wextra", "-Werror", "-o"]);
    command.arg(library).arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/foreign.c"));
    let status = command.status().expect("there is a C compiler");
    assert!(status.success(), "{command:?}: {status}");
}

fn load() -> Foreign {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(process::id().to_string());
    fs::create_dir_all(&folder).expect("a folder of its own");
    let library = folder.join("foreign.so");
    compile(&library);
    let path = CString::new(library.as_os_str().as_bytes()).expect("no zero inside");
    // SAFETY: a path that ends in zero; the library has no constructors.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null(), "{path:?} is loaded");
    fs::remove_dir_all(&folder).expect("its own folder");
    // SAFETY: each has the type that foreign.c gives it.
    unsafe {
        Foreign {
            run: function(handle, c"foreign_run"),
            cancel: function(handle, c"foreign_cancel"),
            own_stack: function(handle, c"foreign_own_stack"),
            setgid: function(handle, c"foreign_setgid"),
            make_key: function(handle, c"foreign_make_key"),
            at_end: function(handle, c"foreign_at_end"),
            at_unload: function(handle, c"foreign_at_unload"),
            jump: function(handle, c"foreign_jump"),
        }
    }
}

/// # Safety
///
/// `F` is the type of the function of that name.
unsafe fn function<F: Copy>(handle: *mut c_void, name: &CStr) -> F {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: a handle that dlopen returned, never closed.
    let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?} is there");
    // SAFETY: as the caller promises; both are one address.
    unsafe { std::mem::transmute_copy(&address) }
}

/// So many signals may be handled at a time on threads that the runtime does not know.
pub(crate) const RESERVE: usize = 128;
pub(crate) const RECORDS: usize = 512;
/// How many of them may be made.
static LIMIT: AtomicUsize = AtomicUsize::new(RECORDS);

#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The thread, while it says so; 0 after a reset.
    pub(crate) owner: AtomicUsize,
    generation: AtomicUsize,
    /// Its alternate stack, once seen.
    stack: AtomicUsize,
}

pub(crate) struct Toy;

impl Runtime for Toy {
    type Record = Record;
    fn create(&self, index: usize) -> Option<Record> {
        (index < LIMIT.load(Relaxed)).then(Record::default)
    }
    fn reset(&self, record: &Record, generation: u32) {
        record.owner.store(0, Relaxed);
        record.generation.store(generation as usize, Relaxed);
    }
}

// SAFETY: two stores.
unsafe impl AsyncSignalSafe for Toy {}

portcullis::thread_slot!(pub(crate) Slot);
pub(crate) type Token = Attached<Toy, SystemHost<Slot>, RECORDS>;
pub(crate) static THREADS: Threads<Toy, SystemHost<Slot>, RECORDS> =
    Threads::new(Toy, SystemHost::new(), RESERVE as u16);

/// What went wrong, by its place in [`FAULTS`].
#[derive(Debug, Clone, Copy)]
enum Fault {
    Refused,
    InTransition,
    Result,
    State,
    Stack,
    StackBack,
    Owner,
    Errno,
}

const KINDS: [Fault; 8] = [
    Fault::Refused,
    Fault::InTransition,
    Fault::Result,
    Fault::State,
    Fault::Stack,
    Fault::StackBack,
    Fault::Owner,
    Fault::Errno,
];
static FAULTS: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];

/// Handlers that ran, by the state that they interrupted: unknown, external, inside.
pub(crate) static HANDLED: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

pub(crate) fn handled() -> u64 {
    HANDLED.iter().map(|count| count.load(Relaxed)).sum()
}

fn check(right: bool, fault: Fault) {
    if !right {
        FAULTS[fault as usize].fetch_add(1, Relaxed);
    }
}

thread_local! {
    /// The alternate stack that this thread had before it attached, if it said so.
    static HOST: Cell<usize> = const { Cell::new(0) };
}

/// Names the calling thread while it lives.
pub(crate) fn thread_id() -> usize {
    HOST.with(|host| ptr::from_ref(host).addr())
}

pub(crate) fn stack_now() -> libc::stack_t {
    // SAFETY: all zeros is storage for one, filled next.
    let mut now: libc::stack_t = unsafe { zeroed() };
    // SAFETY: a null new stack only asks.
    unsafe { libc::sigaltstack(ptr::null(), &raw mut now) };
    now
}

/// Remembers the calling thread's alternate stack as the host's, for its handlers.
pub(crate) fn note_host_stack() {
    let now = stack_now();
    let enabled = now.ss_flags & libc::SS_DISABLE == 0;
    HOST.set(if enabled { now.ss_sp.addr() } else { 0 });
}

/// The stack is the record's own, always the same, or the host's.
fn is_due(record: &Record, stack: &libc::stack_t) -> bool {
    let base = stack.ss_sp.addr();
    let enabled = stack.ss_flags & libc::SS_DISABLE == 0 && base != 0;
    let learned = || match record.stack.compare_exchange(0, base, Relaxed, Relaxed) {
        Ok(_) => true,
        Err(known) => known == base,
    };
    enabled && (base == HOST.get() || learned())
}

/// The runtime's code: the record is clean when it is new, and this thread's all the while.
pub(crate) fn visit(token: &Token) {
    let (record, id) = (token.record(), thread_id());
    let found = record.owner.swap(id, Relaxed);
    // A handler may come before the owner has put down its name.
    let fresh = found == 0 && (token.how() == AttachKind::Attached || token.was_inside());
    check(fresh || found == id && token.how() == AttachKind::Nested, Fault::Owner);
    check(record.generation.load(Relaxed) == token.generation() as usize, Fault::Owner);
    check(THREADS.state() == ThreadState::Inside, Fault::State);
    check(is_due(record, &stack_now()), Fault::Stack);
    check(record.owner.load(Relaxed) == id, Fault::Owner);
}

/// The place of its errno, kept as the handler found it.
struct Errno(c_int);

impl Errno {
    const OURS: c_int = 4321;
    fn set() -> Self {
        let before = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        // SAFETY: the calling thread's own.
        unsafe { *libc::__errno_location() = Self::OURS };
        Self(before)
    }
}

impl Drop for Errno {
    fn drop(&mut self) {
        // SAFETY: as above.
        let place = unsafe { &mut *libc::__errno_location() };
        check(*place == Self::OURS, Fault::Errno);
        *place = self.0;
    }
}

/// A handler of any signal: attaches, and checks that it found and got what the tables in
/// `portcullis::attach` say.
pub(crate) extern "C" fn handler(_: c_int) {
    attach_here();
}

/// The body of it; the token is given to `inside`.
pub(crate) fn attach_here_and(inside: impl FnOnce(&Token)) {
    let stack = stack_now();
    let _errno = Errno::set();
    let before = THREADS.state();
    let at = match before {
        ThreadState::Unknown => 0,
        ThreadState::External => 1,
        _ => 2,
    };
    if let Some(record) = THREADS.current() {
        let here = (&raw const stack).addr();
        let within = here.wrapping_sub(stack.ss_sp.addr()) < stack.ss_size;
        check(within && stack.ss_flags & libc::SS_ONSTACK != 0, Fault::Stack);
        check(is_due(record, &stack), Fault::Stack);
    }
    check(before != ThreadState::InTransition, Fault::InTransition);
    match THREADS.attach_in_handler() {
        Err(AttachError::InTransition) => check(false, Fault::InTransition),
        Err(_) => check(false, Fault::Refused),
        Ok(token) => {
            let nested = before != ThreadState::Unknown;
            check((token.how() == AttachKind::Nested) == nested, Fault::Result);
            check(token.was_inside() == (before == ThreadState::Inside), Fault::Result);
            let named = token.record().owner.load(Relaxed);
            visit(&token);
            inside(&token);
            token.record().owner.store(named, Relaxed);
            check(token.detach().is_ok(), Fault::Result);
        }
    }
    check(THREADS.state() == before, Fault::State);
    let after = stack_now();
    let same = (after.ss_sp, after.ss_size, after.ss_flags)
        == (stack.ss_sp, stack.ss_size, stack.ss_flags);
    check(same, Fault::StackBack);
    HANDLED[at].fetch_add(1, Relaxed);
}

pub(crate) fn attach_here() {
    attach_here_and(|_| ());
}

/// Has the signal handled, all others masked meanwhile.
pub(crate) fn handle(signal: c_int, handler: extern "C" fn(c_int)) {
    // SAFETY: all zeros is a valid sigaction.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the set is a local's.
    unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    // SAFETY: the handlers of these tests are async-signal-safe.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }, 0);
}

/// To the calling thread alone.
pub(crate) fn raise_here(signal: c_int) {
    // SAFETY: the calling thread exists.
    assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), signal) }, 0);
}

/// The runtime begins, with room for so many threads at a time, and SIGUSR1 calls in.
pub(crate) fn begin(ordinary: usize) {
    LIMIT.store((RESERVE + ordinary).min(RECORDS), Relaxed);
    THREADS.create().expect("memory for the first records");
    handle(libc::SIGUSR1, handler);
    note_host_stack();
}

pub(crate) fn attach(binding: Binding) -> Token {
    THREADS.attach(binding).expect("a record")
}

/// Calls in from C, once.
pub(crate) extern "C" fn call_unbound(_: *mut c_void) -> c_long {
    visit(&attach(Binding::Unbound));
    1
}

/// Calls in from C; the record stays with the thread.
pub(crate) extern "C" fn call_bound(_: *mut c_void) -> c_long {
    visit(&attach(Binding::Bound));
    1
}

/// What handlers found wrong, and how often.
pub(crate) fn faults() -> Vec<impl std::fmt::Debug> {
    let counts = KINDS.into_iter().map(|kind| (kind, FAULTS[kind as usize].load(Relaxed)));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// No record is held, no thread was left out, and no handler found fault.
#[track_caller]
pub(crate) fn assert_clean() {
    let found = faults();
    assert!(found.is_empty(), "{found:?}");
    let RecordCounts { total, spare, in_use, waiting, .. } = THREADS.counts();
    assert_eq!((in_use, waiting, spare), (0, 0, total));
    assert_eq!(THREADS.misuse(), Misuse::default());
    let mut stacks: Vec<usize> = THREADS
        .records()
        .map(|(_, record)| record.stack.load(Relaxed))
        .filter(|s| *s > 0)
        .collect();
    let seen = stacks.len();
    stacks.sort_unstable();
    stacks.dedup();
    assert_eq!(stacks.len(), seen, "two records share a stack");
}

/// A token in the form that C passes on, given up.
pub(crate) fn detach_raw(raw: portcullis::attach::RawAttached) {
    let done = THREADS.detach_raw(raw);
    assert!(done.is_ok(), "{done:?}");
}

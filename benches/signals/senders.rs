//! Two other processes that send signals on command.
//!
//! They are forked before there is any other thread, and share one page with this process.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};

use crate::os;

/// What all processes see.
#[derive(Default)]
pub(crate) struct Shared {
    /// When the last single signal was sent.
    pub(crate) stamp: AtomicU64,
    /// While set, senders in a storm go on.
    storming: AtomicBool,
    /// Signals sent in storms.
    pub(crate) sent: AtomicU64,
    /// Senders in a storm.
    busy: AtomicU64,
}

pub(crate) struct Senders {
    pub(crate) shared: &'static Shared,
    commands: Vec<UnixStream>,
}

const ONE: u8 = 1;
const STORM: u8 = 2;

impl Senders {
    /// Forks them. Only while this process has one thread.
    pub(crate) fn start(count: usize) -> std::io::Result<Self> {
        let shared = shared_page()?;
        let mut commands = Vec::new();
        let target = os::pid();
        for _ in 0..count {
            let (reader, writer) = UnixStream::pair()?;
            // SAFETY: there is no other thread, so the child may do anything.
            if unsafe { libc::fork() } == 0 {
                drop(writer);
                // The earlier senders' sockets have to close with the parent.
                drop(commands);
                serve(reader, target, shared);
                std::process::exit(0);
            }
            commands.push(writer);
        }
        Ok(Self { shared, commands })
    }

    /// Has the first send one signal; `stamp` then says when.
    pub(crate) fn send(&mut self, signal: i32) {
        self.command(0, ONE, signal);
    }

    /// Has all of them send the signal until [`calm`](Self::calm).
    pub(crate) fn storm(&mut self, signal: i32) {
        self.shared.sent.store(0, SeqCst);
        self.shared.storming.store(true, SeqCst);
        self.shared.busy.store(self.commands.len() as u64, SeqCst);
        (0..self.commands.len()).for_each(|at| self.command(at, STORM, signal));
    }

    pub(crate) fn calm(&self) {
        self.shared.storming.store(false, SeqCst);
        while self.shared.busy.load(SeqCst) > 0 {
            std::thread::yield_now();
        }
    }

    fn command(&mut self, to: usize, what: u8, signal: i32) {
        let command = [what, signal as u8];
        while let Err(error) = self.commands[to].write_all(&command) {
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "a sender is gone");
        }
    }
}

fn shared_page() -> std::io::Result<&'static Shared> {
    let size = size_of::<Shared>();
    // SAFETY: a fresh mapping overlaps nothing.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the page is aligned, large enough, of zeros, which are valid, and never unmapped.
    Ok(unsafe { &*page.cast::<Shared>() })
}

fn serve(mut commands: UnixStream, target: i32, shared: &Shared) {
    let mut command = [0; 2];
    while commands.read_exact(&mut command).is_ok() {
        let signal = i32::from(command[1]);
        if command[0] == ONE {
            shared.stamp.store(os::now(), SeqCst);
            os::kill(target, signal);
            continue;
        }
        while shared.storming.load(Relaxed) {
            (0..16).for_each(|_| os::kill(target, signal));
            shared.sent.fetch_add(16, Relaxed);
        }
        shared.busy.fetch_sub(1, SeqCst);
    }
}

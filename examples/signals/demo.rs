//! Storms and races from child processes, and the account of what became of every signal.

use std::error::Error;
use std::io::{Read, Write, stdout};
use std::os::unix::process::{ExitStatusExt, parent_id};
use std::process::{Child, Command, Stdio, exit, id};
use std::time::{Duration, Instant};
use std::{env, hint, thread};

use libc::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use portcullis::signal::{self, Builder};

pub(crate) const STORM: &str = "--storm-sender";
pub(crate) const RACE: &str = "--stop-race";

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const SENDERS: usize = 2;
const STANDARD: [i32; 2] = [SIGUSR1, SIGUSR2];
/// Of each sender and each standard signal; real-time ones are a tenth of it.
const STORM_LENGTH: usize = 50_000;
const QUEUED: usize = STORM_LENGTH / 10;

const RACED: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
const RACERS: u64 = 60;
/// Tries of one racer, which ends at the first that it dies of.
const TRIES: usize = 20;
/// In which a signal that was sent must have been delivered or have killed the racer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What became of all signals of one number.
#[derive(Default)]
struct Account {
    name: &'static str,
    sent: u64,
    delivered: u64,
    coalesced: u64,
    /// `None` where the kernel merges nothing.
    kernel: Option<u64>,
    dropped: u64,
    defaulted: u64,
}

impl Account {
    fn missing(&self) -> i64 {
        let found = self.delivered + self.coalesced + self.kernel.unwrap_or(0) + self.defaulted;
        self.sent as i64 - found as i64
    }
}

pub(crate) fn run() -> Outcome {
    let start = Instant::now();
    println!("1. {SENDERS} processes send storms of SIGUSR1, SIGUSR2 and a real-time signal");
    let mut accounts = stormed()?;
    println!("2. {RACERS} processes race stop() against a signal: delivered, or it kills");
    accounts.extend(raced()?);

    println!();
    let head = ["signal", "sent", "delivered", "coalesced", "by kernel", "dropped*", "defaulted"];
    println!("{}", head.map(|text| format!("{text:>10}")).concat());
    for account in &accounts {
        let kernel = account.kernel.map_or("-".into(), |merged| merged.to_string());
        let Account { name, sent, delivered, coalesced, dropped, defaulted, .. } = account;
        println!(
            "{name:>10}{sent:>10}{delivered:>10}{coalesced:>10}{kernel:>10}{dropped:>10}{defaulted:>10}"
        );
    }
    println!("coalesced: merged with a pending one of the same number in our queue");
    println!("by kernel: merged by the kernel before we saw it, = sent - received - coalesced");
    println!(
        "dropped*:  had no room with a second subscriber, of capacity {LAZY}, that reads nothing"
    );
    println!("defaulted: arrived after stop() and did what it does by default: killed the process");
    println!("all in {:.1?}", start.elapsed());
    let missing: i64 = accounts.iter().map(Account::missing).sum();
    if missing != 0 || accounts.iter().any(|account| account.missing() != 0) {
        println!("{missing} SIGNALS MISSING");
        exit(1);
    }
    println!(
        "nothing is missing: every signal was delivered, merged into one that was, or defaulted"
    );
    Ok(())
}

fn again(arguments: [&str; 2]) -> Outcome<Child> {
    let mut command = Command::new(env::current_exe()?);
    Ok(command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
}

fn kill(pid: u32, signal: i32) -> Outcome {
    // SAFETY: no preconditions.
    if unsafe { libc::kill(pid as i32, signal) } == -1 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))] {
        /// The storm's real-time signal.
        fn realtime() -> Option<i32> {
            Some(libc::SIGRTMIN() + 1)
        }
        /// Handed out by the kernel after all others.
        fn sentinel() -> i32 {
            libc::SIGRTMIN() + 2
        }
        /// Queues a signal with a value, and again for as long as the kernel has no room.
        fn queue(pid: u32, signal: i32, value: usize) -> Outcome {
            let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(value) };
            // SAFETY: no preconditions.
            while unsafe { libc::sigqueue(pid as i32, signal, value) } == -1 {
                let error = std::io::Error::last_os_error();
                if error.raw_os_error() != Some(libc::EAGAIN) {
                    return Err(error.into());
                }
                thread::yield_now();
            }
            Ok(())
        }
    } else {
        fn realtime() -> Option<i32> {
            None
        }
        fn sentinel() -> i32 {
            SIGTERM
        }
        fn queue(pid: u32, signal: i32, _value: usize) -> Outcome {
            kill(pid, signal)
        }
    }
}

/// A child process: sends its share of the storm to its parent.
pub(crate) fn storm(sender: usize) -> Outcome {
    let target = parent_id();
    for at in 0..STORM_LENGTH {
        for signal in STANDARD {
            kill(target, signal)?;
        }
        match realtime() {
            Some(signal) if at % 10 == 0 => queue(target, signal, (sender << 24) | (at / 10))?,
            _ => {}
        }
    }
    Ok(())
}

/// The capacity of the subscriber that does not read.
const LAZY: usize = 8;

/// Receives the storm. This thread takes the signals too: it is the only one without a mask.
fn stormed() -> Outcome<Vec<Account>> {
    let storm = STANDARD.into_iter().chain(realtime());
    let mut all = Builder::new().capacity(1 << 18).subscribe(storm.clone().chain([sentinel()]))?;
    let lazy = Builder::new().capacity(LAZY).subscribe(storm)?;
    let senders: Vec<Child> =
        (0..SENDERS).map(|at| again([STORM, &at.to_string()])).collect::<Outcome<_>>()?;
    let waiter = {
        // Blocks all signals for the thread that it starts.
        let masked = Masked::new();
        let waiter = thread::spawn(move || -> Result<(), String> {
            for mut sender in senders {
                let status = sender.wait().map_err(|error| error.to_string())?;
                if !status.success() {
                    return Err(format!("a sender failed: {status}"));
                }
            }
            queue(id(), sentinel(), 0).map_err(|error| error.to_string())
        });
        drop(masked);
        waiter
    };
    let mut received = Vec::new();
    let mut overflow_of_sentinel = 0;
    for delivery in &mut all {
        if delivery.signal == sentinel() {
            // It may itself have found the queue full.
            overflow_of_sentinel = u64::from(delivery.origin.is_none());
            break;
        }
        received.push(delivery);
    }
    // One look at all signals goes upwards, so the last of the lower ones may be still to come.
    all.stop()?;
    received.extend(all.iter().filter(|delivery| delivery.signal != sentinel()));
    lazy.stop()?;
    waiter.join().map_err(|_| "the waiting thread panicked")??;

    let mut accounts = Vec::new();
    for (signal, name) in STANDARD.into_iter().zip(["USR1", "USR2"]) {
        let counts = signal::counts(signal)?;
        let sent = (SENDERS * STORM_LENGTH) as u64;
        let mine = received.iter().filter(|delivery| delivery.signal == signal);
        let delivered = mine.clone().count() as u64;
        let coalesced: u64 = mine.map(|delivery| u64::from(delivery.coalesced)).sum();
        let kernel = sent.checked_sub(counts.received + counts.coalesced);
        let kernel = Some(kernel.ok_or("more received than sent")?);
        let dropped = counts.dropped;
        accounts.push(Account { name, sent, delivered, coalesced, kernel, dropped, defaulted: 0 });
    }
    if let Some(signal) = realtime() {
        let mine = received.iter().filter(|delivery| delivery.signal == signal);
        let delivered = mine.clone().count() as u64;
        // Those without origin stand for all that found the queue full.
        let untold = mine.filter(|delivery| delivery.origin.is_none()).count() as u64;
        let coalesced = signal::overflow() - overflow_of_sentinel - untold;
        let (sent, dropped) = ((SENDERS * QUEUED) as u64, signal::counts(signal)?.dropped);
        accounts.push(Account {
            name: "RTMIN+1",
            sent,
            delivered,
            coalesced,
            dropped,
            ..Account::default()
        });
    }
    Ok(accounts)
}

/// A child process: stops while a signal arrives, until one arrives too late and kills it.
///
/// It writes `s` for a signal sent, `d` for one delivered.
pub(crate) fn race(seed: u64) -> Outcome {
    let signal = RACED[seed as usize % RACED.len()];
    // A shell has what it runs in the background ignore INT.
    // SAFETY: the default needs no handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..TRIES {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (early, late) = ((random >> 40) & 0xfff, random >> 52);
        let mut subscription = signal::subscribe([signal])?;
        let stopper = subscription.stopper();
        let racer = thread::spawn(move || {
            (0..early).for_each(|_| hint::spin_loop());
            stopper.stop().map(drop)
        });
        stdout().write_all(b"s")?;
        stdout().flush()?;
        (0..late).for_each(|_| hint::spin_loop());
        kill(id(), signal)?;
        let start = Instant::now();
        loop {
            if let Ok(Some(_)) = subscription.try_recv() {
                break;
            }
            if start.elapsed() > PATIENCE {
                return Err("a signal was neither delivered nor did it kill".into());
            }
            thread::yield_now();
        }
        stdout().write_all(b"d")?;
        stdout().flush()?;
        racer.join().map_err(|_| "the racing thread panicked")??;
    }
    Ok(())
}

fn raced() -> Outcome<Vec<Account>> {
    let mut accounts: Vec<Account> =
        ["INT", "TERM", "HUP"].map(|name| Account { name, ..Account::default() }).into();
    for seed in 0..RACERS {
        let mut racer = again([RACE, &seed.to_string()])?;
        let mut told = Vec::new();
        if let Some(mut pipe) = racer.stdout.take() {
            pipe.read_to_end(&mut told)?;
        }
        let at = seed as usize % RACED.len();
        let ended = racer.wait()?.signal();
        let told = |what| told.iter().filter(|byte| **byte == what).count() as u64;
        accounts[at].sent += told(b's');
        accounts[at].delivered += told(b'd');
        accounts[at].defaulted += u64::from(ended == Some(RACED[at]));
    }
    Ok(accounts)
}

/// All signals masked in this thread, until dropped.
struct Masked(libc::sigset_t);

impl Masked {
    fn new() -> Self {
        // SAFETY: all zeros is storage for a set, filled next.
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { std::mem::zeroed() };
        // SAFETY: both sets are locals.
        unsafe {
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        }
        Self(before)
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        // SAFETY: the set was written by `new`.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}

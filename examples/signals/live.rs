//! Printing what arrives until two Ctrl-Cs come within a second.

use std::error::Error;
use std::process;
use std::time::{Duration, Instant};

use libc::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use portcullis::signal::{self, Delivery, Origin};

const TWICE_WITHIN: Duration = Duration::from_secs(1);
const NAMES: [(i32, &str); 6] = [
    (SIGINT, "SIGINT"),
    (SIGTERM, "SIGTERM"),
    (SIGHUP, "SIGHUP"),
    (SIGUSR1, "SIGUSR1"),
    (SIGUSR2, "SIGUSR2"),
    (SIGWINCH, "SIGWINCH"),
];

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let mut wanted = Vec::new();
    for (number, name) in NAMES {
        // As nohup(1) or a shell's background has it: whoever ignores it for us means it.
        if signal::is_ignored(number)? {
            println!("{name} is ignored by whoever started this process, and stays so");
        } else {
            wanted.push(number);
        }
    }
    let mut subscription = signal::subscribe(wanted.iter().copied())?;
    let pid = process::id();
    println!("process {pid} prints the signals it receives");
    println!("  press Ctrl-C once: it is printed; twice within a second: SIGINT ends the process");
    println!("  change the window's size, or elsewhere: kill -USR1 {pid}, -USR2, -HUP, -TERM");

    let mut interrupted: Option<Instant> = None;
    while let Ok(delivery) = subscription.recv() {
        println!("{}", described(&delivery));
        if delivery.signal != SIGINT {
            continue;
        }
        if delivery.coalesced > 0 || interrupted.is_some_and(|at| at.elapsed() < TWICE_WITHIN) {
            println!("twice: giving the signals back, and dying by SIGINT");
            subscription.stop()?;
            return Err(signal::die_by(SIGINT).into());
        }
        println!("once more within a second to end the process");
        interrupted = Some(Instant::now());
    }
    Ok(())
}

fn described(delivery: &Delivery) -> String {
    let name = NAMES.iter().find(|(number, _)| *number == delivery.signal).map(|(_, name)| *name);
    let mut text = format!("{:<8} ({})", name.unwrap_or("signal"), delivery.signal);
    match delivery.origin {
        Some(Origin { code, pid, uid, .. }) => {
            text += &format!(" from pid {pid}, uid {uid}, code {code}: {}", meaning(code, pid));
        }
        None => text += " from somebody unknown: too many came at once",
    }
    if delivery.coalesced > 0 {
        text += &format!(", and {} more like it", delivery.coalesced);
    }
    text
}

fn meaning(code: i32, pid: i32) -> &'static str {
    match code {
        libc::SI_USER if pid == 0 => "sent from outside this pid namespace",
        libc::SI_USER => "sent by kill",
        libc::SI_QUEUE => "sent by sigqueue",
        _ if code > 0 => "sent by the kernel, as for a key",
        _ => "sent in another way",
    }
}

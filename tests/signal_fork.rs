//! Forks in a storm: the child's subscriptions work and are its own, the parent loses nothing.
//!
//! Bounded: 200 forks; each test is a process of its own with an alarm of 60 s, each child of 10 s.
#![cfg(all(any(target_os = "linux", target_os = "android", target_os = "freebsd"), not(loom)))]

mod common;

use std::thread;

use common::*;
use libc::SIGUSR1;
use portcullis::signal::{self, Builder, RecvError, Subscription};

const FORKS: usize = 200;

fn realtime(at: i32) -> i32 {
    libc::SIGRTMIN() + 1 + at
}

/// Sends until told to end, then says how many real-time signals there were.
fn storm(report: i32) {
    let target = parent();
    let mut queued = 0;
    while !told_to_end() {
        for _ in 0..16 {
            kill(target, SIGUSR1).unwrap();
        }
        queue(target, realtime(0), queued).unwrap();
        queued += 1;
    }
    queue(target, realtime(report), queued).unwrap();
}

/// In the child: what the parent had is emptied, then there is only what the child is sent.
fn use_inherited(subscription: &mut Subscription, capacity: usize) -> i32 {
    alarm(10);
    let mut emptied = 0;
    while let Ok(Some(_)) = subscription.try_recv() {
        emptied += 1;
        // What was pending in the queue at the fork may come on top of a full mailbox.
        assert!(emptied <= 2 * capacity + 130, "the parent's signals go on here");
    }
    for signal in [SIGUSR1, realtime(0)] {
        // The kernel's queue is the user's, and the parent's signals fill it.
        queue(pid(), signal, 1).unwrap();
        match subscription.recv_timeout(SOON) {
            Ok(got) if got.signal == signal && got.origin.is_some_and(|o| o.pid == pid()) => {}
            other => {
                eprintln!("{other:?}");
                return 2;
            }
        }
    }
    // Asynchronously, too: the thread sleeps when the signal comes.
    let own = pid();
    let sender = fork(move || i32::from(kill(own, SIGUSR1).is_err()));
    match subscription.recv_timeout(SOON) {
        Ok(got) if got.origin.is_some_and(|o| o.pid == sender) => {}
        _ => return 3,
    }
    if wait_for(sender) != Ended::Exited(0) || subscription.try_recv() != Ok(None) {
        return 4;
    }
    match subscription.stop() {
        Ok(stopped) if stopped.foreign.is_empty() => {}
        _ => return 5,
    }
    i32::from(subscription.recv() != Err(RecvError::Stopped))
}

#[test]
fn two_hundred_forks_in_a_storm() {
    let name = "two_hundred_forks_in_a_storm";
    isolated_within(name, 60, || {
        if role() == "storm" {
            return storm(number("REPORT") as i32);
        }
        limit_queue();
        const CAPACITY: usize = 16;
        let reports = [realtime(1), realtime(2)];
        let mut inherited =
            Builder::new().capacity(CAPACITY).subscribe([SIGUSR1, realtime(0)]).unwrap();
        let set = [SIGUSR1, realtime(0)].into_iter().chain(reports);
        let mut own = Builder::new().capacity(1 << 20).subscribe(set).unwrap();
        let start = |at: i32| Helper::start(name, "storm", &[("REPORT", at as u64)]);
        let (told, queued) = thread::scope(|scope| {
            let reader = masked_thread(scope, || {
                let (mut told, mut queued, mut missing) = (0, 0, reports.len());
                while missing > 0 {
                    let delivery = own.recv().unwrap();
                    let origin = delivery.origin;
                    if reports.contains(&delivery.signal) {
                        queued += origin.unwrap().value;
                        missing -= 1;
                    } else if delivery.signal == realtime(0) {
                        told += usize::from(origin.is_some());
                    }
                }
                // A look at all signals goes upwards, and may have passed the last of them.
                own.stop().unwrap();
                let rest = own.iter().filter(|rest| rest.signal == realtime(0));
                (told + rest.filter(|rest| rest.origin.is_some()).count(), queued)
            });
            let storms = [start(1), start(2)];
            while signal::counts(SIGUSR1).unwrap().received < 100 {
                thread::yield_now();
            }
            for at in 0..FORKS {
                let ended = wait_for(fork(|| use_inherited(&mut inherited, CAPACITY)));
                assert_eq!(ended, Ended::Exited(0), "child {at}");
            }
            storms.into_iter().for_each(|storm| assert!(storm.finish().success()));
            reader.join().unwrap()
        });
        let overflow = signal::overflow() as usize;
        assert_eq!(told + overflow, queued, "the parent has all of its own");
        assert_eq!(own.dropped(), 0);
        eprintln!("two_hundred_forks_in_a_storm: {queued} real-time signals, {overflow} merged");
    });
}

//! A sandbox that forbids membarrier(2) after the gate was made: threads whose gate rests on it are not
//! suspended, for it cannot be seen whether they are outside.

use std::sync::LazyLock;

use portcullis::preempt::{
    Asymmetric, Fenced, Gate, Gates, Hook, SuspendError, SystemBackend, Target,
};

use super::common::*;
use super::forbid;

static ASYMMETRIC: LazyLock<Option<Gates<Asymmetric, SystemBackend>>> =
    LazyLock::new(|| Some(Gates::new(Asymmetric::new()?, SystemBackend::new(Hook::nothing()))));
static FENCED: Gates<Fenced, SystemBackend> =
    Gates::new(Fenced, SystemBackend::new(Hook::nothing()));
static GATES: [Gate<SystemBackend>; 2] = [const { Gate::new() }; 2];

#[test]
fn membarrier_is_forbidden_later() {
    isolated_open("barrier::membarrier_is_forbidden_later", 30, || {
        let Some(gates) = &*ASYMMETRIC else {
            println!("left out: no membarrier here");
            return;
        };
        let (tell, names) = std::sync::mpsc::channel();
        let (over, end) = std::sync::mpsc::channel::<()>();
        let fenced = tell.clone();
        let asymmetric = std::thread::spawn(move || {
            let own = gates.register(&GATES[0]).unwrap();
            tell.send((Some(own.thread()), None)).unwrap();
            _ = end.recv();
            drop(own);
        });
        let (over_too, end) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            let own = FENCED.register(&GATES[1]).unwrap();
            fenced.send((None, Some(own.thread()))).unwrap();
            _ = end.recv();
            drop(own);
        });
        let told = [names.recv().unwrap(), names.recv().unwrap()];
        let one = told.iter().find_map(|(one, _)| *one).unwrap();
        let another = told.iter().find_map(|(_, another)| *another).unwrap();
        drop(gates.try_suspend(one).unwrap());
        forbid(&[libc::SYS_membarrier]);
        let refused =
            |done| matches!(done, Err(SuspendError::NoBarrier(errno)) if errno.0 == libc::EPERM);
        for _ in 0..3 {
            assert!(refused(gates.try_suspend(one).map(drop)));
            assert!(refused(gates.request(one).map(drop)));
            let mut targets = [Target::new(one)];
            let stopped = gates.stop_all(&mut targets);
            assert_eq!(stopped.stopped().count(), 0);
            drop(stopped);
            assert!(refused(targets[0].outcome()));
        }
        // It is free to go out, and those that need no barrier are stopped as before.
        drop(FENCED.try_suspend(another).unwrap());
        drop((over, over_too));
        asymmetric.join().unwrap();
        other.join().unwrap();
    });
}

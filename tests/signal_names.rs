//! Signals by name, and the first real-time one, on the real system.
#![cfg(all(unix, not(loom)))]

mod common;

use common::*;
use portcullis::signal::{self, Builder, SignalError};
use portcullis::{Signal, UnknownSignal};

/// What is shown is what is read, for every number that there is.
#[test]
fn every_signal_round_trips() {
    let all = (1..=200).filter_map(Signal::new);
    let mut seen = 0;
    for signal in all {
        assert_eq!(signal.to_string().parse(), Ok(signal));
        assert_eq!(format!("{signal:?}"), signal.to_string());
        assert_eq!(Signal::try_from(i32::from(signal)), Ok(signal));
        assert_eq!(signal, signal.raw());
        if let Some(name) = signal.name() {
            assert!(name.starts_with("SIG") && signal.realtime_offset().is_none());
            assert_eq!(name[3..].to_lowercase().parse(), Ok(signal));
            seen += 1;
        }
    }
    assert!(seen >= 28, "{seen} names");
    for raw in [i32::MIN, -1, 0, 1000, i32::MAX] {
        assert_eq!(Signal::new(raw), None);
        assert_eq!(Signal::try_from(raw), Err(UnknownSignal::Number(raw)));
        assert_eq!(raw.to_string().parse::<Signal>(), Err(UnknownSignal::Number(raw)));
    }
    for text in
        ["", "SIG", "SIGSIGINT", "SIGFOO", "INT ", "RTMIN-1", "RTMIN+", "RTMIN++1", "RTMIN+99", "é"]
    {
        assert_eq!(text.parse::<Signal>(), Err(UnknownSignal::Name), "{text}");
    }
}

#[test]
fn names_are_the_systems() {
    assert_eq!(Signal::SIGINT, libc::SIGINT);
    assert_eq!(Signal::SIGTERM.raw(), libc::SIGTERM);
    assert_eq!(format!("{:<8}|{:>8}", Signal::SIGINT, Signal::SIGHUP), "SIGINT  |  SIGHUP");
    match Signal::new(libc::SIGHUP).unwrap() {
        Signal::SIGHUP => {}
        other => panic!("{other}"),
    }
    let error = signal::subscribe([Signal::SIGKILL]).unwrap_err();
    assert_eq!(error, SignalError::Unstoppable(libc::SIGKILL));
    assert!(error.to_string().starts_with("SIGKILL (9) "), "{error}");
}

/// Numbers, names and whatever else is one of the system's numbers are taken alike.
#[test]
fn numbers_and_names_are_taken_alike() {
    isolated("numbers_and_names_are_taken_alike", || {
        let mut both = signal::subscribe([libc::SIGUSR1, libc::SIGUSR2]).unwrap();
        let mut one = Builder::new().subscribe([Signal::SIGUSR1]).unwrap();
        let kind = tokio::signal::unix::SignalKind::user_defined2();
        let mut kinds = signal::subscribe(Some(kind.as_raw_value())).unwrap();
        kill_self(libc::SIGUSR1);
        kill_self(libc::SIGUSR2);
        let names = [0; 2].map(|_| both.recv_timeout(SOON).unwrap().name());
        assert_eq!(names, [Signal::SIGUSR1, Signal::SIGUSR2]);
        let delivery = one.recv_timeout(SOON).unwrap();
        assert_eq!(delivery.to_string(), format!("SIGUSR1 from process {}", std::process::id()));
        assert_eq!(kinds.recv_timeout(SOON).unwrap().name(), Signal::SIGUSR2);
        assert_eq!(signal::is_ignored(Signal::SIGUSR1), Ok(false));
        assert!(signal::counts(Signal::SIGUSR1).unwrap().received >= 1);
    });
}

/// The C library lets a program have SIGRTMIN, whatever its number: it is caught, and queued with its values.
#[cfg(target_os = "linux")]
#[test]
fn the_first_realtime_signal() {
    isolated("the_first_realtime_signal", || {
        let first = Signal::realtime(0).unwrap();
        assert_eq!(first, libc::SIGRTMIN());
        assert_eq!(first.to_string(), "SIGRTMIN");
        let last = Signal::new(libc::SIGRTMAX()).unwrap();
        assert_eq!("SIGRTMAX".parse(), Ok(last));
        let mut caught = signal::subscribe([first, last]).unwrap();
        for value in 0..10_usize {
            let value = libc::sigval { sival_ptr: core::ptr::without_provenance_mut(value) };
            // SAFETY: this process.
            assert_eq!(unsafe { libc::sigqueue(libc::getpid(), first.raw(), value) }, 0);
        }
        for value in 0..10 {
            let delivery = caught.recv_timeout(SOON).unwrap();
            assert_eq!((delivery.name(), delivery.origin.map(|it| it.value)), (first, Some(value)));
            assert_eq!(delivery.coalesced, 0);
        }
        // Those below it are the C library's.
        for reserved in 32..libc::SIGRTMIN() {
            assert_eq!(
                signal::subscribe([reserved]).err(),
                Some(SignalError::ReservedByLibc(reserved))
            );
            assert_eq!(Signal::new(reserved).unwrap().to_string(), reserved.to_string());
        }
        caught.stop().unwrap();
        // It acts by default again.
        assert!(disposition(first.raw()).is_ok());
    });
}

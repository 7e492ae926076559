//! Every error of the crate: for `?` in a function that returns a boxed error, anyhow's or `io::Error`.
#![cfg(all(unix, not(loom)))]

use std::error::Error;
use std::io::{self, ErrorKind};

use portcullis::{
    Errno, UnknownSignal, all_threads, attach, extra_list, preempt, signal, sigqueue, world,
};

/// What anyhow and `Box<dyn Error + Send + Sync>` ask for.
fn is_at_home<E: Error + Send + Sync + 'static>() {
    fn turns_into<E: Error + Send + Sync + 'static>(error: E) -> Box<dyn Error + Send + Sync> {
        error.into()
    }
    let _: fn(E) -> Box<dyn Error + Send + Sync> = turns_into::<E>;
}

/// And what a function asks for that returns `io::Result`.
fn is_at_home_in_io<E: Error + Send + Sync + 'static + Into<io::Error>>() {
    is_at_home::<E>();
}

#[test]
fn every_error_is_send_and_sync() {
    is_at_home_in_io::<Errno>();
    is_at_home_in_io::<UnknownSignal>();
    is_at_home_in_io::<signal::SignalError>();
    is_at_home_in_io::<signal::RecvError>();
    is_at_home_in_io::<signal::StopError>();
    is_at_home_in_io::<sigqueue::NoSuchSignal>();
    is_at_home_in_io::<sigqueue::ReceiverRefused>();
    is_at_home_in_io::<attach::AttachError>();
    is_at_home_in_io::<attach::CreateError>();
    // Gives a token back, which is its thread's, so it is as movable as that; here one that may move.
    is_at_home::<attach::DetachError<()>>();
    is_at_home_in_io::<extra_list::TakeError>();
    is_at_home_in_io::<extra_list::NotInUse>();
    is_at_home_in_io::<preempt::RegisterError>();
    is_at_home_in_io::<preempt::SuspendError>();
    is_at_home_in_io::<preempt::ExitError>();
    is_at_home_in_io::<preempt::host::BackendError>();
    is_at_home_in_io::<all_threads::CallError>();
    is_at_home_in_io::<all_threads::JoinError>();
    is_at_home_in_io::<all_threads::SpawnError>();
    is_at_home_in_io::<world::EnterError>();
    is_at_home_in_io::<world::StopError>();
    is_at_home_in_io::<world::HandshakeError>();
    // These hold those threads that stand already, or name those that have not left, of one world.
    is_at_home::<world::StopByError<(), preempt::Fenced, preempt::SystemBackend>>();
    is_at_home::<world::ShutdownError<(), preempt::Fenced, preempt::SystemBackend>>();
}

/// Those that are missing above would not be missed: every name in the sources is in the list.
#[test]
fn the_list_is_whole() {
    let here = include_str!("errors.rs");
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.extend((entry.file_name() != "model").then_some(path));
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            for line in text.lines().filter(|line| line.starts_with("impl")) {
                let Some((_, rest)) = line.split_once("Error for ") else { continue };
                if !line.contains("error::Error for") && !line.starts_with("impl Error for") {
                    continue;
                }
                let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap();
                found += 1;
                assert!(here.contains(name), "{name} is not in tests/errors.rs");
            }
        }
    }
    assert!(found >= 20, "{found} were found");
}

#[test]
fn what_the_system_says_has_its_name() {
    for (raw, name) in [(libc::EPERM, "EPERM"), (libc::EAGAIN, "EAGAIN"), (libc::EINVAL, "EINVAL")]
    {
        let errno = Errno::new(raw);
        assert!(errno.to_string().starts_with(name), "{errno}");
        let signal = signal::SignalError::System { signal: 10, errno };
        assert!(signal.to_string().contains(name), "{signal}");
        assert_eq!(signal.source().map(ToString::to_string), Some(errno.to_string()));
        assert_eq!(io::Error::from(signal).kind(), io::Error::from_raw_os_error(raw).kind());
        for error in [
            io::Error::from(attach::AttachError::ThreadEnd(errno)),
            attach::CreateError::System(errno).into(),
            preempt::RegisterError::System(errno).into(),
            preempt::SuspendError::Refused(errno).into(),
            preempt::host::BackendError::Refused(errno).into(),
            all_threads::CallError::System(errno).into(),
            all_threads::JoinError::System(errno).into(),
        ] {
            assert_eq!(error.raw_os_error(), Some(raw), "{error}");
        }
    }
    assert_eq!(Errno::new(9999).to_string(), "errno 9999");
}

/// Nothing can die by those: they are told from what the system refuses.
#[test]
fn signals_that_do_not_kill() {
    for signal in [libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, libc::SIGCONT, libc::SIGTSTP] {
        let error = signal::die_by(signal);
        assert_eq!(error, signal::SignalError::NotFatal(signal));
        assert!(error.to_string().contains("does not end a process"), "{error}");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidInput);
    }
}

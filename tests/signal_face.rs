//! The public face of `signal`, `sigqueue`, `note` and `Errno`: which types may cross threads, what
//! errors say, what they become.
#![cfg(all(unix, not(loom)))]

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use portcullis::Errno;
use portcullis::note::{Deadline, Note, Waited};
use portcullis::signal::{
    Builder, Delivery, Panic, RecvError, SignalCounts, SignalError, SinkHandle, StopError, Stopped,
    Stopper, Subscription,
};
use portcullis::sigqueue::{
    Batch, Event, NoSuchSignal, Origin, Quiet, Receiver, ReceiverRefused, Sent, SignalQueue, Wakeup,
};

fn send_and_sync<T: Send + Sync>() {}
fn error<T: Error + Send + Sync + 'static>()
where
    io::Error: From<T>,
{
}

/// A receiver may move to another thread, as it is its one owner's; a batch may, too.
#[test]
fn types_cross_threads() {
    send_and_sync::<(SignalQueue, Receiver<'_>, Batch<'_>, Event<'_, Note>)>();
    send_and_sync::<(Origin, Sent, Quiet, Wakeup, Note, Deadline, Waited)>();
    send_and_sync::<(Subscription, SinkHandle, Stopper, Builder, Panic)>();
    send_and_sync::<(Delivery, SignalCounts, Stopped)>();
    fn sends<T: Send>(_: T) {}
    let future = |subscription: &mut Subscription| sends(subscription.recv_async());
    let _ = future;
}

#[test]
fn errors_are_errors() {
    error::<SignalError>();
    error::<RecvError>();
    error::<StopError>();
    error::<ReceiverRefused>();
    error::<NoSuchSignal>();
    error::<Errno>();
    let refused = SignalError::System { signal: 10, errno: Errno::new(libc::EPERM) };
    let source = refused.source().and_then(|source| source.downcast_ref::<Errno>());
    assert_eq!(source, Some(&Errno(libc::EPERM)));
    let kind = |error: SignalError| io::Error::from(error).kind();
    assert_eq!(kind(refused), ErrorKind::PermissionDenied);
    assert_eq!(kind(SignalError::OutOfRange(0)), ErrorKind::InvalidInput);
    assert_eq!(kind(SignalError::NoMemory), ErrorKind::OutOfMemory);
    assert_eq!(io::Error::from(RecvError::TimedOut).kind(), ErrorKind::TimedOut);
    assert_eq!(io::Error::from(StopError::SinkBusy).kind(), ErrorKind::TimedOut);
    assert_eq!(io::Error::from(ReceiverRefused::Closed).kind(), ErrorKind::BrokenPipe);
    assert_eq!(io::Error::from(NoSuchSignal(0)).kind(), ErrorKind::InvalidInput);
    let system = io::Error::from(Errno::new(libc::ENOENT));
    assert_eq!(system.raw_os_error(), Some(libc::ENOENT));
    assert!(refused.to_string().contains("EPERM (1): operation not permitted"), "{refused}");
}

#[test]
fn error_numbers_have_names() {
    for (raw, text) in [
        (libc::EINVAL, "EINVAL (22): invalid argument"),
        (libc::ESRCH, "ESRCH (3): no such process or thread"),
        (4711, "errno 4711"),
        (0, "errno 0"),
        (-1, "errno -1"),
    ] {
        assert_eq!(Errno::new(raw).to_string(), text);
        assert_eq!(Errno::new(raw).raw(), raw);
    }
}

#[test]
fn deadlines_tell_what_is_left() {
    let past = Deadline::after(Duration::ZERO);
    assert_eq!((past.left(), past.has_passed()), (Some(Duration::ZERO), true));
    let hour = Duration::from_secs(3600);
    let future = Deadline::after(hour);
    let left = future.left().unwrap();
    assert!(left <= hour && left > hour - Duration::from_secs(60), "{left:?}");
    assert!(!future.has_passed());
    let never = Deadline::after(Duration::MAX);
    assert_eq!((never.left(), never.has_passed()), (None, false));
}

//! The public face of `attach` and `extra_list`: which types may cross threads, what errors say, what they
//! become.
#![cfg(all(unix, not(loom)))]

use std::error::Error;
use std::io::{self, ErrorKind};

use portcullis::Errno;
use portcullis::attach::host::{Callback, Slot, SlotOwner};
use portcullis::attach::{
    AttachError, AttachKind, Binding, CreateError, DetachError, Misuse, RawAttached, Runtime,
    SystemHost, ThreadState, Threads,
};
use portcullis::extra_list::{
    ExtraList, NotInUse, Permit, RecordCounts, Replenish, TakeError, Taker, Ticket,
};

struct Toy;
impl Runtime for Toy {
    type Record = ();
    fn create(&self, _: usize) -> Option<()> {
        Some(())
    }
    fn reset(&self, (): &(), _: u32) {}
}
portcullis::thread_slot!(Own);

fn send_and_sync<T: Send + Sync>() {}
fn error<T: Error + Send + Sync + 'static>(error: &T) {
    assert!(error.to_string().len() > 10, "{error}");
}

/// Tokens, guards, masks and stacks do not: `tests/hostile/compile_fail`.
#[test]
fn types_cross_threads() {
    send_and_sync::<(Threads<Toy, SystemHost<Own>, 4>, SystemHost<Own>, Own)>();
    send_and_sync::<(RawAttached, AttachKind, Binding, Misuse, ThreadState)>();
    send_and_sync::<(Callback, Slot, SlotOwner)>();
    send_and_sync::<(ExtraList<4>, Permit<'_, 4>, Ticket, RecordCounts, Replenish, Taker)>();
}

#[test]
fn errors_are_errors() {
    for refused in [
        AttachError::Full,
        AttachError::NoRecords,
        AttachError::AllReserved,
        AttachError::InCreate,
        AttachError::SlotsTaken,
        AttachError::ShuttingDown,
        AttachError::InTransition,
        AttachError::TooDeep,
    ] {
        error(&refused);
        assert_eq!(io::Error::from(refused).raw_os_error(), None);
    }
    let end = AttachError::ThreadEnd(Errno::new(libc::EAGAIN));
    assert!(end.source().is_some() && end.to_string().contains("EAGAIN"));
    assert_eq!(io::Error::from(end).raw_os_error(), Some(libc::EAGAIN));
    let large = CreateError::ReserveTooLarge { reserve: 7, most: 4 };
    assert!(large.to_string().contains('7') && large.to_string().contains('4'));
    assert_eq!(io::Error::from(large).kind(), ErrorKind::InvalidInput);
    error(&CreateError::SlotsTaken);
    error(&DetachError::NotLast(()));
    error(&DetachError::NotAttached(()));
    for refused in [
        TakeError::Empty,
        TakeError::NoRecords,
        TakeError::AllReserved,
        TakeError::TimedOut,
        TakeError::Closed,
    ] {
        error(&refused);
    }
    error(&NotInUse(Ticket { index: 1, generation: 2 }));
}

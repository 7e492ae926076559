//! The console's events without a console: the handler's own decision.

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT,
};

use crate::sync::{AtomicU32, Ordering::*};
use crate::sys::console::{Answer, answer};
use crate::sys::*;

static VERDICT: AtomicU32 = AtomicU32::new(0);
static SEEN: AtomicU32 = AtomicU32::new(0);

fn entry(signal: i32, origin: RawOrigin) -> Verdict {
    // ORDERING: Relaxed: one thread.
    SEEN.store(signal as u32 * 100 + origin.code as u32, Relaxed);
    [Verdict::Handled, Verdict::Ignored, Verdict::Unwanted][VERDICT.load(Relaxed) as usize]
}

#[test]
fn only_three_signals_exist() {
    for signal in -2..=130 {
        let standard = [2, 15, 21].contains(&signal);
        let expected = if standard { Class::Standard } else { Class::OutOfRange };
        assert_eq!(classify(signal), expected, "{signal}");
        assert_eq!(is_ignored(signal).is_ok(), standard);
    }
    assert!(install(9, entry).is_err() && restore(9).is_err() && set_default(9).is_err());
    assert_eq!(die_by(9), Errno(87));
}

/// In one test: the dispositions are the process's.
#[test]
fn events_are_answered_by_the_disposition() {
    assert_eq!(answer(CTRL_C_EVENT), Answer::PassOn);
    for signal in [2, 15, 21] {
        install(signal, entry).unwrap();
        install(signal, entry).unwrap();
    }
    let table = [
        (CTRL_C_EVENT, 2, Answer::Done),
        (CTRL_BREAK_EVENT, 21, Answer::Done),
        (CTRL_CLOSE_EVENT, 15, Answer::DoneAndStay),
        (CTRL_LOGOFF_EVENT, 15, Answer::DoneAndStay),
        (CTRL_SHUTDOWN_EVENT, 15, Answer::DoneAndStay),
    ];
    for (event, signal, handled) in table {
        for (verdict, expected) in [(0, handled), (1, Answer::Done), (2, Answer::PassOn)] {
            // ORDERING: Relaxed, here and below: one thread.
            VERDICT.store(verdict, Relaxed);
            assert_eq!(answer(event), expected, "{event}");
            assert_eq!(SEEN.load(Relaxed), signal * 100 + event);
        }
    }
    assert_eq!(answer(3), Answer::PassOn);

    assert_eq!(restore(2), Ok(Restored::Previous));
    assert_eq!(answer(CTRL_C_EVENT), Answer::PassOn);
    set_ignored(2).unwrap();
    assert_eq!((answer(CTRL_C_EVENT), is_ignored(2)), (Answer::Done, Ok(true)));
    install(2, entry).unwrap();
    assert_eq!((answer(CTRL_C_EVENT), is_ignored(2)), (Answer::PassOn, Ok(false)));
    restore(2).unwrap();
    assert_eq!(is_ignored(2), Ok(true));
    set_default(2).unwrap();
    assert_eq!((answer(CTRL_C_EVENT), is_ignored(2)), (Answer::PassOn, Ok(false)));
    set_default(15).unwrap();
    set_default(21).unwrap();
}

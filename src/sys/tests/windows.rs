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

static ENDED: AtomicU32 = AtomicU32::new(0);
static END: ThreadEnd = ThreadEnd::new();

/// Counts, and remembers on which thread.
fn ended(on: *const ()) {
    // ORDERING: Relaxed, here and below: each thread is joined.
    ENDED.fetch_add(1, Relaxed);
    // SAFETY: of `arm`.
    unsafe { &*on.cast::<AtomicU32>() }.store(thread_id() as u32, Relaxed);
}

static ON: AtomicU32 = AtomicU32::new(0);

fn arm() {
    // SAFETY: for ever, and the same each time.
    unsafe { END.arm((&raw const ON).cast(), ended) }.unwrap();
}

#[test]
fn a_deleted_fibre_is_not_the_end_of_a_thread() {
    use std::sync::mpsc::channel;
    use windows_sys::Win32::System::Threading::{
        ConvertThreadToFiber, CreateFiber, DeleteFiber, SwitchToFiber,
    };

    /// Switches back to whoever made it; never returns.
    unsafe extern "system" fn other(first: *mut core::ffi::c_void) {
        arm();
        loop {
            // SAFETY: a fibre of this thread, which waits in `SwitchToFiber`.
            unsafe { SwitchToFiber(first) };
        }
    }

    let (fibre, fibres) = channel::<usize>();
    let (go, wait) = channel::<()>();
    let thread = std::thread::spawn(move || {
        // SAFETY: the thread is no fibre yet.
        let first = unsafe { ConvertThreadToFiber(core::ptr::null()) };
        arm();
        // SAFETY: the fibre is this thread's, and deleted after it was left.
        let second = unsafe { CreateFiber(0, Some(other), first) };
        // SAFETY: as above.
        unsafe { SwitchToFiber(second) };
        fibre.send(second.expose_provenance()).unwrap();
        wait.recv().unwrap();
        thread_id()
    });
    let second: usize = fibres.recv().unwrap();
    // SAFETY: nobody runs it, and nobody will.
    unsafe { DeleteFiber(core::ptr::with_exposed_provenance_mut(second)) };
    assert_eq!(ENDED.load(Relaxed), 0);
    go.send(()).unwrap();
    let ended = thread.join().unwrap();
    assert_eq!((ENDED.load(Relaxed), ON.load(Relaxed) as usize), (1, ended));
}

#[test]
fn a_threads_end_is_told_once() {
    static FIRST: (ThreadEnd, AtomicU32) = (ThreadEnd::new(), AtomicU32::new(0));
    static SECOND: (ThreadEnd, AtomicU32) = (ThreadEnd::new(), AtomicU32::new(0));
    fn count(counter: *const ()) {
        // SAFETY: of `arm`.
        unsafe { &*counter.cast::<AtomicU32>() }.fetch_add(1, Relaxed);
    }
    fn arm((end, counter): &'static (ThreadEnd, AtomicU32)) {
        // SAFETY: for ever, and the same each time.
        unsafe { end.arm(core::ptr::from_ref(counter).cast(), count) }.unwrap();
    }
    let threads: Vec<_> = (0..8)
        .map(|index| {
            std::thread::spawn(move || {
                arm(&FIRST);
                arm(&FIRST);
                if index % 2 == 0 {
                    arm(&SECOND);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    std::thread::spawn(|| ()).join().unwrap();
    assert_eq!((FIRST.1.load(Relaxed), SECOND.1.load(Relaxed)), (8, 4));
}

/// Thread-locals that are no part of the thread are freed by a callback that comes after ours.
#[test]
fn what_a_thread_keeps_is_there_at_its_end() {
    static SEEN: AtomicU32 = AtomicU32::new(0);
    static END: ThreadEnd = ThreadEnd::new();
    std::thread_local! {
        static KEPT: AtomicU32 = const { AtomicU32::new(0) };
    }
    fn look(seen: *const ()) {
        // ORDERING: Relaxed, here and below: the thread's own, and it is joined.
        let kept = KEPT.with(|kept| kept.load(Relaxed));
        // SAFETY: of `arm`.
        unsafe { &*seen.cast::<AtomicU32>() }.store(kept, Relaxed);
    }
    let thread = std::thread::spawn(|| {
        KEPT.with(|kept| kept.store(7, Relaxed));
        // SAFETY: for ever, and the same each time.
        unsafe { END.arm((&raw const SEEN).cast(), look) }.unwrap();
    });
    thread.join().unwrap();
    assert_eq!(SEEN.load(Relaxed), 7);
}

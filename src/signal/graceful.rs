//! Ending well: the first signal asks, the second one ends the process.

use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::set::SignalSet;
use super::table::Delivery;
use super::{Builder, SignalError, SinkHandle, die_by, reset, subscribe};
use crate::sync::{AtomicBool, Ordering::*};
use crate::sys;

/// What asks a program to end: SIGINT and SIGTERM, on Windows SIGBREAK too.
const ENDING: &[i32] = if cfg!(windows) { &[2, 15, 21] } else { &[2, 15] };

/// Waits for one of these signals, and gives them up again. One that comes before this is called does what it did
/// before; one that comes after it has returned, too.
///
/// ```no_run
/// # #[cfg(unix)] {
/// use portcullis::{Signal, signal};
///
/// let delivery = signal::wait_for([Signal::SIGINT, Signal::SIGTERM])?;
/// println!("ends by {delivery}");
/// # }
/// # Ok::<(), portcullis::signal::SignalError>(())
/// ```
///
/// # Errors
/// A [`SignalError`]; [`SignalError::TakenAway`] if others have reset or ignored them all meanwhile.
pub fn wait_for(
    signals: impl IntoIterator<Item = impl Into<i32>>,
) -> Result<Delivery, SignalError> {
    let received = subscribe(signals)?.recv();
    received.map_err(|error| match error {
        super::RecvError::ShutDown => SignalError::ShutDown,
        _ => SignalError::TakenAway,
    })
}

/// Has the first SIGINT or SIGTERM ask the program to end, which then has so long to do so: when that time is over,
/// or at the second one, the process dies by the signal for real.
///
/// ```no_run
/// use std::time::Duration;
/// use portcullis::signal;
///
/// let ending = signal::graceful(Duration::from_secs(10))?;
/// while !ending.is_asked() {
///     // The program's work; or `ending.wait()`, or `ending.asked().await`.
/// }
/// // Put things in order here. Then as if by the signal, so that a shell stops its script:
/// Err(ending.die())?
/// # ; Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`graceful_by`].
pub fn graceful(within: Duration) -> Result<Ending, SignalError> {
    graceful_by(ENDING.iter().copied(), Some(within))
}

/// The same by other signals, and without a deadline if that is `None`.
///
/// From the first signal on, the default action of all of them is in force, whoever else subscribed to them, as
/// after [`reset`](super::reset): so it is the system that ends the process at the second one, whatever this program
/// does then. In the child of a fork the same holds of the child's own signals.
///
/// # Errors
/// A [`SignalError`]; [`SignalError::NotFatal`] of a signal whose default action does not end a process.
pub fn graceful_by(
    signals: impl IntoIterator<Item = impl Into<i32>>,
    within: Option<Duration>,
) -> Result<Ending, SignalError> {
    let signals = SignalSet::new(signals)?;
    if let Some(harmless) = signals.iter().find(|signal| !sys::ends_process(*signal)) {
        return Err(SignalError::NotFatal(harmless));
    }
    let shared = Arc::new(Shared::default());
    let theirs = Arc::clone(&shared);
    let sink = Builder::new().sink(signals.iter(), move |delivery| {
        // ORDERING: Relaxed: by the sink itself, one call after the other.
        if theirs.asked.load(Relaxed) {
            // It had come before the default action was back.
            die_by(delivery.signal);
        }
        // Refused, the next one comes here.
        let _ = reset(signals.iter());
        theirs.ask(*delivery);
        if let Some(within) = within {
            let (theirs, signal) = (Arc::clone(&theirs), delivery.signal);
            let deadline = thread::Builder::new().name("portcullis-deadline".into());
            // Without a thread to be had the program has all the time that it takes.
            let _ = deadline.spawn(move || {
                if !theirs.is_over_within(within) {
                    die_by(signal);
                }
            });
        }
    })?;
    Ok(Ending { shared, _sink: sink })
}

#[derive(Debug, Default)]
struct Shared {
    /// The same as in the state, to be looked at often.
    asked: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    delivery: Option<Delivery>,
    wakers: Vec<Waker>,
    /// The program needs no deadline any more.
    over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, delivery: Delivery) {
        let wakers = {
            let mut state = self.state();
            state.delivery = Some(delivery);
            core::mem::take(&mut state.wakers)
        };
        // ORDERING: Release: what the sink has seen, to `is_asked`.
        self.asked.store(true, Release);
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn is_over_within(&self, within: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.state(), within, |state| !state.over);
        waited.unwrap_or_else(PoisonError::into_inner).0.over
    }
}

/// Whether and by what the program is asked to end. Dropped, it asks no more, and there is no deadline.
#[derive(Debug)]
#[must_use = "dropped, it does not ask: the signals end the process at once"]
pub struct Ending {
    shared: Arc<Shared>,
    /// Stopped when it is dropped.
    _sink: SinkHandle,
}

impl Ending {
    /// Whether a signal has come.
    pub fn is_asked(&self) -> bool {
        // ORDERING: Acquire: from `ask`.
        self.shared.asked.load(Acquire)
    }

    /// The signal that has come first.
    pub fn asked_by(&self) -> Option<Delivery> {
        self.shared.state().delivery
    }

    /// Waits for the signal.
    pub fn wait(&self) -> Delivery {
        let mut state = self.shared.state();
        loop {
            if let Some(delivery) = state.delivery {
                return delivery;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the signal in a task, on any executor.
    pub async fn asked(&self) -> Delivery {
        core::future::poll_fn(|cx| self.poll_asked(cx)).await
    }

    fn poll_asked(&self, cx: &mut Context<'_>) -> Poll<Delivery> {
        let mut state = self.shared.state();
        match state.delivery {
            Some(delivery) => Poll::Ready(delivery),
            None => {
                state.wakers.retain(|waker| !waker.will_wake(cx.waker()));
                state.wakers.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Ends the process by the signal that has come: see [`die_by`](super::die_by). By SIGTERM if none has.
    ///
    /// # Errors
    /// It returns only if that did not end the process.
    pub fn die(self) -> SignalError {
        die_by(self.asked_by().map_or(15, |delivery| delivery.signal))
    }

    /// For the life of the process.
    pub fn detach(self) {
        // One that is never dropped asks for ever.
        core::mem::forget(self);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.changed.notify_all();
    }
}

/// Stops the process as SIGTSTP would that nobody had caught (Ctrl-Z), and returns when it goes on (`fg`, SIGCONT):
/// for programs that catch SIGTSTP to leave the terminal in order first, and draw again afterwards. Subscriptions
/// stay as they are.
///
/// ```no_run
/// # #[cfg(unix)] {
/// use portcullis::{Signal, signal};
///
/// let mut stops = signal::subscribe([Signal::SIGTSTP])?;
/// while stops.recv().is_ok() {
///     // Leave the alternate screen, show the cursor.
///     signal::suspend()?;
///     // Enter it again and draw: the terminal may have another size.
/// }
/// # }
/// # Ok::<(), portcullis::signal::SignalError>(())
/// ```
///
/// A process that no shell could continue (of an orphaned process group) is not stopped; then this returns at once.
///
/// # Errors
/// [`SignalError::System`].
#[cfg(unix)]
pub fn suspend() -> Result<(), SignalError> {
    let signal = libc::SIGTSTP;
    // Others change no disposition meanwhile, and no child is forked.
    super::global::HUB
        .locked(|_, _| sys::stop_by(signal))
        .map_err(|errno| SignalError::System { signal, errno })
}

//! Suspending threads, as Windows does it.

use super::deliver;
use super::futex::{rouse_all, sleep, wake};
use super::kernel::{Call, Kernel, Outcome};
use super::lanes::Detail;
use super::state::{Run, touch};
use super::thread::ThreadId;
use core::panic::Location;

/// Where a suspended thread sleeps, and where those sleep who wait for it to stop. No object of
/// a program lies at such an address.
fn stop_address(slot: usize) -> usize {
    1 + slot
}
fn context_address(slot: usize) -> usize {
    101 + slot
}

impl Kernel {
    /// `SuspendThread`: asks for `thread` to stop, and returns. The thread may take some more
    /// steps; [`Kernel::thread_context`] waits until it has stopped. Suspensions are counted.
    #[track_caller]
    pub fn suspend(self, thread: ThreadId) {
        let call = Call::enter(Location::caller());
        touch(&call.words.lines[thread.0]);
        call.run.borrow().threads[thread.0].suspended += 1;
        deliver::interrupt(&call.run, thread.0);
        let name = call.run.borrow().threads[thread.0].name.clone();
        call.leave("suspend", Detail::Text(format!("\"{name}\"")));
    }

    /// `GetThreadContext`: waits until `thread`, which was suspended, has stopped. What the
    /// thread wrote is then visible, as its registers would be.
    #[track_caller]
    pub fn thread_context(self, thread: ThreadId) {
        let call = Call::enter(Location::caller());
        touch(&call.words.lines[thread.0]);
        while !stopped(&call.run, thread.0) {
            sleep(&call.run, call.me, context_address(thread.0), None);
        }
        let name = call.run.borrow().threads[thread.0].name.clone();
        call.leave("thread context", Detail::Text(format!("\"{name}\"")));
    }

    /// `ResumeThread`: takes one suspension back; after the last, `thread` goes on.
    #[track_caller]
    pub fn resume(self, thread: ThreadId) {
        let call = Call::enter(Location::caller());
        touch(&call.words.lines[thread.0]);
        let left = {
            let target = &mut call.run.borrow().threads[thread.0];
            assert!(target.suspended > 0, "resumed more often than suspended");
            target.suspended -= 1;
            target.suspended
        };
        if left == 0 {
            wake(&call.run, stop_address(thread.0));
        }
        let name = call.run.borrow().threads[thread.0].name.clone();
        call.leave("resume", Detail::Text(format!("\"{name}\", {left} left")));
    }

    /// `ExitProcess`: ends the other threads first; only then does a suspension of the caller
    /// that is under way act. Nobody is left to resume it: the process neither runs nor ends,
    /// which is [`Outcome::Ghost`].
    ///
    /// As with every death, the threads go on so that the execution ends in order.
    #[track_caller]
    pub fn exit_process(self, code: i32) {
        let call = Call::enter(Location::caller());
        touch(&call.words.shared);
        touch(&call.words.lines[call.me]);
        let suspended = call.run.borrow().threads[call.me].suspended > 0;
        let outcome = if suspended { Outcome::Ghost } else { Outcome::Exited(code) };
        deliver::settle(&call.run, call.me, outcome);
        call.leave("exit process", Detail::Text(format!("{outcome:?}")));
    }
}

/// Stops the calling thread for as long as it is suspended; called when an interruption arrives.
pub(super) fn hold(run: &Run, me: usize, at: &'static Location<'static>) {
    while run.borrow().threads[me].suspended > 0 {
        run.row(me, "= stopped", Detail::Nothing, at);
        rouse_all(run, context_address(me));
        sleep(run, me, stop_address(me), None);
        run.row(me, "= resumed", Detail::Nothing, at);
    }
}

/// A thread that goes to sleep while its suspension is under way has stopped.
pub(super) fn asleep(run: &Run, me: usize) {
    let suspended = run.borrow().threads[me].suspended > 0;
    if suspended {
        rouse_all(run, context_address(me));
    }
}

fn stopped(run: &Run, slot: usize) -> bool {
    let inner = run.borrow();
    inner.threads[slot].exited || inner.sleepers.iter().any(|sleeper| sleeper.slot == slot)
}

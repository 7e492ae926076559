//! Suspending threads, as Windows does it.

use super::deliver;
use super::futex::{interrupt, rouse_all, sleep, wake};
use super::kernel::{Call, Kernel, Outcome};
use super::lanes::Detail;
use super::state::{Run, touch};
use super::thread::ThreadId;
use core::panic::Location;
use core::sync::atomic::Ordering;
use loom::sync::atomic::{AtomicU32, fence};

/// Where a suspended thread sleeps, and where those sleep who wait for it to stop. No object of
/// a program lies at such an address.
fn stop_address(slot: usize) -> usize {
    1 + slot
}
fn context_address(slot: usize) -> usize {
    101 + slot
}
fn barrier_address(slot: usize) -> usize {
    201 + slot
}

/// A handle of a thread: a value that is given out again once it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadHandle(usize);

impl Kernel {
    /// A handle of `thread`: the lowest value that is not in use.
    #[track_caller]
    pub fn open_thread(self, thread: ThreadId) -> ThreadHandle {
        let call = Call::enter(Location::caller());
        touch(&call.words.shared);
        let value = {
            let handles = &mut call.run.borrow().handles;
            let free = handles.iter().position(Option::is_none);
            let value = free.unwrap_or(handles.len());
            handles.resize(handles.len().max(value + 1), None);
            handles[value] = Some(thread);
            value
        };
        call.leave("open thread", Detail::Number(value as u64));
        ThreadHandle(value)
    }

    /// Closes it: its value may come to name another thread.
    #[track_caller]
    pub fn close_thread(self, handle: ThreadHandle) {
        let call = Call::enter(Location::caller());
        touch(&call.words.shared);
        call.run.borrow().handles[handle.0] = None;
        call.leave("close handle", Detail::Number(handle.0 as u64));
    }

    /// The thread that the value names now.
    #[must_use]
    pub fn thread_of(self, handle: ThreadHandle) -> Option<ThreadId> {
        let run = Run::expect();
        touch(&run.words().expect("booted").shared);
        run.borrow().handles[handle.0]
    }

    /// `SuspendThread`: asks for `thread` to stop, and returns. The thread may take some more
    /// steps; [`Kernel::thread_context`] waits until it has stopped. Suspensions are counted. False
    /// if the thread has ended.
    #[track_caller]
    pub fn suspend(self, thread: ThreadId) -> bool {
        let call = Call::enter(Location::caller());
        touch(&call.words.lines[thread.0]);
        let there = !call.run.borrow().threads[thread.0].exited;
        if there {
            call.run.borrow().threads[thread.0].suspended += 1;
            call.run.asks(call.me, thread.0);
            deliver::interrupt(&call.run, thread.0);
        }
        let name = call.run.borrow().threads[thread.0].name.clone();
        call.leave("suspend", Detail::Text(format!("\"{name}\", there: {there}")));
        there
    }

    /// `membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)`, `FlushProcessWriteBuffers`: returns once every
    /// other thread of the process has run a full barrier since it was called, wherever each was then.
    #[track_caller]
    pub fn membarrier(self) {
        let call = Call::enter(Location::caller());
        fence(Ordering::SeqCst);
        let others: Vec<usize> = {
            let inner = call.run.borrow();
            let process = inner.threads[call.me].process;
            let of = |slot: usize| inner.threads[slot].mask_in(process).is_some();
            let there = |&slot: &usize| slot != call.me && of(slot);
            (0..inner.threads.len()).filter(there).collect()
        };
        for &slot in &others {
            touch(&call.words.lines[slot]);
            call.run.borrow().threads[slot].barrier = true;
            call.run.asks(call.me, slot);
            deliver::interrupt(&call.run, slot);
            interrupt(&call.run, slot);
        }
        for slot in others {
            while owes_barrier(&call.run, slot) {
                if !pay_barrier(&call.run, call.me, call.at) {
                    sleep(&call.run, call.me, barrier_address(slot), None);
                }
            }
        }
        fence(Ordering::SeqCst);
        call.leave("membarrier", Detail::Nothing);
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
        meet(&call.words.lines[thread.0]);
        let name = call.run.borrow().threads[thread.0].name.clone();
        call.leave("thread context", Detail::Text(format!("\"{name}\"")));
    }

    /// `ResumeThread`: takes one suspension back; after the last, `thread` goes on.
    #[track_caller]
    pub fn resume(self, thread: ThreadId) {
        let call = Call::enter(Location::caller());
        meet(&call.words.lines[thread.0]);
        let left = {
            let target = &mut call.run.borrow().threads[thread.0];
            assert!(target.suspended > 0, "resumed more often than suspended");
            target.suspended -= 1;
            target.suspended
        };
        if left == 0 {
            call.run.tells(call.me, thread.0);
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

/// Stops the calling thread for as long as it is suspended; called when an interruption arrives, and after a sleep.
pub(super) fn hold(run: &Run, me: usize, at: &'static Location<'static>) {
    loop {
        exchange(run, me);
        // Who waits for the barrier waits for a stopped thread's too.
        if pay_barrier(run, me, at) {
            continue;
        }
        // A suspension is of the parent's thread, whose part in the child goes on.
        if run.borrow().threads[me].suspended == 0 || !run.borrow().threads[me].away.is_empty() {
            break;
        }
        run.row_asked(me, "= stopped", at);
        rouse_all(run, context_address(me));
        sleep(run, me, stop_address(me), None);
        run.row_told(me, "= resumed", at);
    }
}

/// What a thread did before it fell asleep is seen by who has it suspended then, and what that one did
/// by the thread when it is awake, in models that say that they suspend.
pub(super) fn exchange(run: &Run, me: usize) {
    if let Some(words) = run.words().filter(|_| run.borrow().suspending) {
        meet(&words.lines[me]);
    }
}

/// Two that do this know all of each other.
fn meet(line: &AtomicU32) {
    line.fetch_add(0, Ordering::AcqRel);
}

/// A thread that goes to sleep while its suspension is under way has stopped.
pub(super) fn asleep(run: &Run, me: usize) {
    let suspended = run.borrow().threads[me].suspended > 0;
    if suspended {
        rouse_all(run, context_address(me));
    }
    if run.borrow().threads[me].exited {
        rouse_all(run, barrier_address(me));
    }
}

/// Runs the barrier that others wait for; false if nobody does. A thread is not to fall asleep owing one: nobody
/// would wake it for that.
pub(super) fn pay_barrier(run: &Run, me: usize, at: &'static Location<'static>) -> bool {
    let owed = core::mem::take(&mut run.borrow().threads[me].barrier);
    if owed {
        fence(Ordering::SeqCst);
        run.row_asked(me, "= barrier", at);
        rouse_all(run, barrier_address(me));
    }
    owed
}

fn owes_barrier(run: &Run, slot: usize) -> bool {
    let thread = &run.borrow().threads[slot];
    thread.barrier && !thread.exited
}

fn stopped(run: &Run, slot: usize) -> bool {
    let inner = run.borrow();
    inner.threads[slot].exited || inner.sleepers.iter().any(|sleeper| sleeper.slot == slot)
}

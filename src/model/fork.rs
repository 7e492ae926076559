//! Fork: a snapshot in which only the forking thread lives on.

use super::deliver;
use super::kernel::{Call, Kernel, Outcome};
use super::lanes::Detail;
use super::state::{Away, Process, touch};
use core::panic::Location;

impl Kernel {
    /// Forks: runs `child` as a new process in which only the calling thread lives, then goes
    /// on as the parent; returns what became of the child.
    ///
    /// The child has the parent's dispositions and the caller's mask, altstack and handlers in
    /// progress; nothing is pending in it. loom cannot copy memory, so what `child` does to
    /// shared memory, the parent sees: pass it a copy of what the protocol keeps there, taken
    /// right before. Other threads run on meanwhile, in the parent, as they do on a real system; what they send to
    /// the calling thread waits until it goes on as the parent.
    #[track_caller]
    pub fn fork(self, child: impl FnOnce()) -> Outcome {
        let call = Call::enter(Location::caller());
        // The real call begins anew if a signal is pending.
        deliver::leaving(&call.run, &call.words, call.me, call.at);
        let before = {
            let mut inner = call.run.borrow();
            let parent = inner.threads[call.me].process;
            let mut process = Process::new();
            process.dispositions.clone_from(&inner.processes[parent].dispositions);
            inner.processes.push(process);
            let child = inner.processes.len() - 1;
            let thread = &mut inner.threads[call.me];
            let pending = core::mem::take(&mut thread.pending);
            let (mask, rung) = (thread.mask, core::mem::take(&mut thread.rung));
            thread.away.push(Away { process: parent, mask, pending, posted: 0, rung });
            thread.process = child;
            (thread.altstack, thread.locks.len())
        };
        call.run.row(call.me, "fork: child runs", Detail::Nothing, call.at);
        child();
        // Orders the return with every post to the thread.
        touch(&call.words.lines[call.me]);
        let (altstack, locks) = before;
        let (outcome, posted) = {
            let mut inner = call.run.borrow();
            let child = inner.threads[call.me].process;
            let thread = &mut inner.threads[call.me];
            let parent = thread.away.pop().expect("pushed above");
            thread.process = parent.process;
            thread.pending = parent.pending;
            thread.rung = parent.rung;
            thread.mask = parent.mask;
            thread.altstack = altstack;
            thread.locks.truncate(locks);
            (inner.processes[child].outcome, parent.posted)
        };
        for _ in 0..posted {
            deliver::interrupt(&call.run, call.me);
        }
        super::suspend::hold(&call.run, call.me, call.at);
        call.leave("fork: back in the parent", Detail::Text(format!("child {outcome:?}")));
        outcome
    }

    /// Forks, and goes on as the child. Nothing is copied, and there is no parent any more: for the one
    /// thread that uses the memory in question, what it shares with others, which stay in the parent, is
    /// no more than ways to wait for each other.
    #[track_caller]
    pub fn become_child(self) {
        let call = Call::enter(Location::caller());
        {
            let mut inner = call.run.borrow();
            let parent = inner.threads[call.me].process;
            let mut process = Process::new();
            process.dispositions.clone_from(&inner.processes[parent].dispositions);
            inner.processes.push(process);
            let child = inner.processes.len() - 1;
            let thread = &mut inner.threads[call.me];
            thread.pending.clear();
            thread.process = child;
        }
        call.leave("fork: the child goes on", Detail::Nothing);
    }
}

//! Fork: a snapshot in which only the forking thread lives on.

use super::kernel::{Call, Kernel, Outcome};
use super::lanes::Detail;
use super::state::Process;
use core::panic::Location;

impl Kernel {
    /// Forks: runs `child` as a new process in which only the calling thread lives, then goes
    /// on as the parent; returns what became of the child.
    ///
    /// The child has the parent's dispositions and the caller's mask, altstack and handlers in
    /// progress; nothing is pending in it. loom cannot copy memory, so what `child` does to
    /// shared memory, the parent sees: pass it a copy of what the protocol keeps there, taken
    /// right before. Other threads run on meanwhile, in the parent, as they do on a real system.
    #[track_caller]
    pub fn fork(self, child: impl FnOnce()) -> Outcome {
        let call = Call::enter(Location::caller());
        let parent = {
            let mut inner = call.run.borrow();
            let parent = inner.threads[call.me].process;
            let mut process = Process::new();
            process.dispositions.clone_from(&inner.processes[parent].dispositions);
            inner.processes.push(process);
            let child = inner.processes.len() - 1;
            let thread = &mut inner.threads[call.me];
            let pending = core::mem::take(&mut thread.pending);
            let locks = thread.locks.len();
            thread.process = child;
            (parent, pending, thread.mask, thread.altstack, locks)
        };
        call.run.row(call.me, "fork: child runs", Detail::Nothing, call.at);
        child();
        let (process, pending, mask, altstack, locks) = parent;
        let outcome = {
            let mut inner = call.run.borrow();
            let child = inner.threads[call.me].process;
            let thread = &mut inner.threads[call.me];
            thread.process = process;
            thread.pending.splice(0..0, pending);
            thread.mask = mask;
            thread.altstack = altstack;
            thread.locks.truncate(locks);
            inner.processes[child].outcome
        };
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

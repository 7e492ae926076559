//! A runtime whose world is stopped: what its threads own is a payload each, which they write while they are
//! inside, and which a stopper writes, all of them. loom fails what nothing orders.

use core::ops::RangeInclusive;
use std::sync::Arc;

use super::super::preempt::host::{Process, Simulated, Way};
use super::super::support::Payload;
use crate::model::thread::{self, JoinHandle};
use crate::model::{Handler, Kernel, SigSet, sig};
use crate::note::Deadline;
use crate::preempt::host::{Backend, Barrier};
use crate::world::{Birth, Member, Slot, Stop, StopByError, World, WorldOf};

pub(super) type Ours<B> = Member<Payload, B, Simulated>;
pub(super) type Unborn<B> = Birth<Payload, B, Simulated>;
pub(super) type Stops<B> = Stop<Payload, B, Simulated>;
pub(super) type Refused<B> = StopByError<Payload, B, Simulated>;

/// Has the `static` of one execution.
pub(super) struct Runtime<B: Barrier + 'static>(Arc<World<Payload, B, Simulated>>);

fn of<B: Barrier, const N: usize>(barrier: B, backend: Simulated) -> Runtime<B> {
    let slots = core::array::from_fn(|_| Slot::new(Payload::new()));
    let world: Arc<WorldOf<Payload, B, Simulated, N>> =
        Arc::new(World::new(barrier, backend, slots));
    Runtime(world)
}

impl<B: Barrier> Clone for Runtime<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Barrier + 'static> Runtime<B> {
    pub(super) fn new(slots: usize, kernel: Kernel, barrier: B) -> Self {
        Self::suspending(slots, kernel, Way::Signal, barrier)
    }

    pub(super) fn suspending(slots: usize, kernel: Kernel, way: Way, barrier: B) -> Self {
        let kernel = if way == Way::System { kernel.suspending() } else { kernel };
        let backend = Simulated::new(Process::new(), None, kernel, way);
        let runtime = match slots {
            1 => of::<B, 1>(barrier, backend),
            _ => of::<B, 2>(barrier, backend),
        };
        let theirs = runtime.clone();
        let handler = Handler::new(move |_| theirs.on_signal()).mask(SigSet::ALL);
        kernel.sigaction(sig::USR1, handler);
        runtime
    }

    /// The backend's handler.
    fn on_signal(&self) {
        let backend = self.world().gates().backend();
        // SAFETY: the calling thread's own, which the statics of the execution outlive; of this backend.
        if let Some(gate) = unsafe { (*backend.here()).gate::<Simulated>() } {
            // SAFETY: its thread's, in the handler, which masks all.
            unsafe { gate.on_signal(backend, core::ptr::null_mut()) };
        }
    }

    pub(super) fn world(&self) -> &'static World<Payload, B, Simulated> {
        // SAFETY: longer than true: whoever uses it has a clone, and members go before that.
        unsafe { &*Arc::as_ptr(&self.0) }
    }

    /// A thread that stops the world, and finds so many threads.
    pub(super) fn stopper(&self, threads: RangeInclusive<usize>) -> JoinHandle<()> {
        let theirs = self.clone();
        thread::spawn("stopper", move || {
            let count = theirs.collect(&theirs.stop());
            assert!(threads.contains(&count), "{count} threads");
        })
    }

    /// Waits for the others, outside, and leaves: nobody stops the world then.
    pub(super) fn leave(&self, mut own: Ours<B>, others: impl IntoIterator<Item = JoinHandle<()>>) {
        let external = own.external();
        others.into_iter().for_each(JoinHandle::join);
        drop(external);
        drop(own);
        self.assert_open();
    }

    pub(super) fn enter(&self) -> Ours<B> {
        self.world().enter().unwrap()
    }

    pub(super) fn stop(&self) -> Stops<B> {
        self.world().stop().unwrap()
    }

    pub(super) fn stop_until(&self, deadline: &Deadline) -> Result<Stops<B>, Refused<B>> {
        self.world().stop_by(deadline)
    }

    /// By who has the world stopped: everything is his.
    pub(super) fn write_all(&self) {
        self.world().records().for_each(work);
    }

    /// The same; how many threads there are.
    pub(super) fn collect<W>(&self, stop: &Stop<Payload, B, Simulated, W>) -> usize {
        self.write_all();
        stop.threads().count()
    }

    /// Nobody stops it any more.
    pub(super) fn assert_open(&self) {
        let shut = self.0.slots().iter().any(|slot| slot.gate().claim_word().kernel_read() != 0);
        assert!(!shut, "the world is shut");
    }
}

/// Inside: writes what is its own, as nobody stops the world.
pub(super) fn work(record: &Payload) {
    record.set(record.get() + 1);
}

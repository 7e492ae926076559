//! A process of the simulated kernel whose handlers are those that ship (`sys/handlers.rs`,
//! `sys/interrupts.rs`, `sys/record.rs`), among handlers of others.
//!
//! Mirrored, and not shipped source: [`Table`], for the system calls of `sys/unix.rs` and `sys/stop.rs`, without
//! masks and flags; the verdict of `signal/global.rs`.

use std::cell::{Cell, RefCell};
use std::rc::{self, Rc};
use std::sync::{Arc, Weak};

use crate::model::{
    Disposition, Handler, How, Info, Kernel as Sim, Outcome, SigSet, Signal, thread,
};
use crate::note::Deadline;
use crate::signal::Stopped;
use crate::signal::hub::{Hub, Kernel};
use crate::signal::mailbox::Key;
use crate::signal::set::SignalSet;
use crate::sigqueue::{Origin, Sent};
use crate::sys::handlers::{self, Handlers, Restore};
use crate::sys::interrupts::{Interrupts, Marked};
use crate::sys::record::{self, LEVELS, Own};
use crate::sys::{Errno, Restored, Verdict};

const DEFAULT: usize = libc::SIG_DFL;
const IGNORE: usize = libc::SIG_IGN;

/// What ours queues with a signal, and nobody else.
pub(super) const MARK: usize = 77;

/// The kernel's dispositions, numbered as the shipped source has them.
pub(super) struct Table {
    sim: Sim,
    /// Those seen so far: the first has number 2.
    seen: RefCell<Vec<Handler>>,
    ours: RefCell<Vec<Handler>>,
    own: [Own; 4],
    /// Whether own signals are told from others'.
    pub(super) tells_own: Cell<bool>,
}

impl Table {
    pub(super) fn new(sim: Sim) -> Self {
        Self {
            sim,
            seen: RefCell::default(),
            ours: RefCell::default(),
            own: core::array::from_fn(|_| Own::new()),
            tells_own: Cell::new(true),
        }
    }

    /// Our handlers.
    pub(super) fn set_ours(&self, handler: impl Fn(usize) -> Handler) {
        *self.ours.borrow_mut() = (0..LEVELS).map(|at| handler(at).mask(SigSet::ALL)).collect();
    }

    fn number(&self, handler: &Handler) -> usize {
        let mut seen = self.seen.borrow_mut();
        let at = seen.iter().position(|known| known == handler);
        2 + at.unwrap_or_else(|| {
            seen.push(handler.clone());
            seen.len() - 1
        })
    }

    fn numbered(&self, found: &Disposition) -> record::Disposition {
        let action = match found {
            Disposition::Default => DEFAULT,
            Disposition::Ignore => IGNORE,
            Disposition::Handler(handler) => self.number(handler),
        };
        record::Disposition::simple(action)
    }

    fn named(&self, action: usize) -> Disposition {
        match action {
            DEFAULT => Disposition::Default,
            IGNORE => Disposition::Ignore,
            number => self.seen.borrow()[number - 2].clone().into(),
        }
    }

    fn change(&self, signal: Signal, new: Disposition) -> record::Disposition {
        let old = self.sim.sigaction(signal, new);
        self.numbered(&old)
    }

    fn handler(&self, level: usize) -> Handler {
        self.ours.borrow()[level].clone()
    }
}

impl handlers::Table for Rc<Table> {
    type Given = Info;
    type Found = record::Disposition;

    fn query(&self, signal: i32) -> Result<record::Disposition, Errno> {
        Ok(self.numbered(&self.sim.sigaction_query(signal)))
    }
    fn put_ours(
        &self,
        signal: i32,
        level: usize,
        _: &record::Disposition,
    ) -> Result<record::Disposition, Errno> {
        Ok(self.change(signal, self.handler(level).into()))
    }
    fn action(&self, found: &record::Disposition) -> usize {
        found.action
    }
    fn ours(&self, level: usize) -> usize {
        self.number(&self.handler(level))
    }
    fn disposition(&self, found: &record::Disposition) -> record::Disposition {
        *found
    }
    unsafe fn call(&self, it: &record::Disposition, signal: i32, given: Info) {
        match self.named(it.action) {
            Disposition::Handler(handler) => handler.call(signal, given),
            other => panic!("{other:?} was called"),
        }
    }
    fn context(&self, given: Info) -> usize {
        given.context
    }
    fn own<R>(&self, look: impl FnOnce(&Own) -> R) -> R {
        look(&self.own[thread::current().number()])
    }
}

impl Restore for Rc<Table> {
    unsafe fn put(
        &self,
        signal: i32,
        new: &record::Disposition,
    ) -> Result<record::Disposition, Errno> {
        Ok(self.change(signal, self.named(new.action)))
    }
    fn acts_by_default(&self, _: i32) -> bool {
        true
    }
    fn redeliver(&self, signal: i32, given: Info) {
        self.sim.queue(thread::current(), signal, given.value);
    }
}

impl Marked for Rc<Table> {
    const FIRST: i32 = 2;
    const OTHERS: &'static [i32] = &[3];

    fn is_own(&self, given: Info) -> bool {
        self.tells_own.get() && given.value == MARK
    }
}

/// What is wrong with a control.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Design {
    Shipped,
    /// Nobody asks what is in force: ours is put in place once, and what it replaced put back.
    TrustsForEver,
    /// A signal that is not wanted is sent again, whoever is in force.
    RaisesAgain,
}

/// The hub's system.
pub(super) struct System {
    sim: Sim,
    design: Design,
    core: Rc<Core>,
    replaced: RefCell<Option<Disposition>>,
}

struct Core {
    table: Rc<Table>,
    handlers: Handlers<Rc<Table>>,
}

// SAFETY: the threads of a model are coroutines of one real thread.
unsafe impl Send for System {}
// SAFETY: as above.
unsafe impl Sync for System {}

impl Kernel for System {
    fn install(&self, signal: i32) -> Result<(), Errno> {
        if self.design == Design::Shipped {
            return self.core.handlers.install(signal);
        }
        let old = self.sim.sigaction(signal, self.core.table.handler(0));
        *self.replaced.borrow_mut() = Some(old);
        Ok(())
    }
    fn look_again(&self, signal: i32) -> Result<(), Errno> {
        match self.design {
            Design::Shipped => self.core.handlers.install(signal),
            _ => Ok(()),
        }
    }
    fn look(&self, signal: i32) {
        if self.design == Design::Shipped {
            self.core.handlers.look(signal);
        }
    }
    fn restore(&self, signal: i32) -> Result<Restored, Errno> {
        if self.design == Design::Shipped {
            return self.core.handlers.restore(signal);
        }
        let old = self.replaced.borrow_mut().take().expect("it was installed");
        self.sim.sigaction(signal, old);
        Ok(Restored::Previous)
    }
    fn set_default(&self, signal: i32) -> Result<(), Errno> {
        self.core.handlers.set_simple(signal, DEFAULT)
    }
    fn set_ignored(&self, signal: i32) -> Result<(), Errno> {
        self.core.handlers.set_simple(signal, IGNORE)
    }
    fn in_child_late(&self, begin: &mut dyn FnMut(usize)) {
        let before = self.sim.sigmask(How::Block, SigSet::ALL);
        begin(crate::sys::thread_id());
        self.sim.sigmask(How::Set, before);
    }
}

/// One process with a hub, and others' handlers.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) sim: Sim,
    pub(super) hub: Arc<Hub<System>>,
}

/// Runs by itself, or beside the hub: a handler that counts its calls and goes on to the one it found.
#[derive(Clone)]
pub(super) struct Neighbour {
    sim: Sim,
    calls: Rc<Cell<u32>>,
    found: Rc<RefCell<Disposition>>,
    handler: Handler,
}

impl Neighbour {
    pub(super) fn new(sim: Sim) -> Self {
        Self::telling(sim, || {})
    }

    /// Its handler does this too.
    pub(super) fn telling(sim: Sim, tell: impl Fn() + 'static) -> Self {
        let (calls, found) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Disposition::Default)));
        let (count, before) = (Rc::clone(&calls), Rc::clone(&found));
        let handler = Handler::with_info(move |signal, info| {
            count.set(count.get() + 1);
            tell();
            let before = before.borrow().clone();
            if let Disposition::Handler(before) = before {
                before.call(signal, info);
            }
        });
        Self { sim, calls, found, handler: handler.mask(SigSet::ALL) }
    }

    /// Puts its handler over whatever is there.
    pub(super) fn put(&self, signal: Signal) {
        // As programs do that go on to it: it is known before theirs can run.
        *self.found.borrow_mut() = self.sim.sigaction_query(signal);
        let old = self.sim.sigaction(signal, self.handler.clone());
        *self.found.borrow_mut() = old;
    }

    /// Takes itself out, as libraries do: what it found is there again.
    pub(super) fn leave(&self, signal: Signal) {
        let found = self.found.borrow().clone();
        self.sim.sigaction(signal, found);
    }

    pub(super) fn is_in_force(&self, signal: Signal) -> bool {
        self.sim.sigaction_query(signal) == self.handler.clone().into()
    }

    pub(super) fn calls(&self) -> u32 {
        self.calls.get()
    }
}

pub(super) fn process(sim: Sim, design: Design) -> Process {
    let table = Rc::new(Table::new(sim));
    let handlers = Handlers::new(Rc::clone(&table));
    let core = Rc::new(Core { table, handlers });
    let hub = Arc::new_cyclic(|hub: &Weak<Hub<System>>| {
        let ours = |level| ours(hub.clone(), Rc::downgrade(&core), sim, design, level);
        core.table.set_ours(ours);
        Hub::new(System { sim, design, core, replaced: RefCell::default() })
    });
    Process { sim, hub }
}

fn ours(
    hub: Weak<Hub<System>>,
    core: rc::Weak<Core>,
    sim: Sim,
    design: Design,
    level: usize,
) -> Handler {
    Handler::with_info(move |signal, info| {
        let hub = hub.upgrade().expect("the hub outlives its handlers");
        let entry = || match hub.on_signal(signal, Origin::UNKNOWN) {
            Sent::Accepted | Sent::Coalesced | Sent::Noted => Verdict::Handled,
            Sent::Ignored => Verdict::Ignored,
            Sent::Unwanted => Verdict::Unwanted,
        };
        if design == Design::RaisesAgain {
            if entry() == Verdict::Unwanted {
                sim.raise(signal);
            }
            return;
        }
        core.upgrade().expect("as above").handlers.handle(signal, level, info, entry);
    })
}

impl Process {
    pub(super) fn subscribe(&self, signal: i32) -> Key {
        self.hub.subscribe(SignalSet::new([signal]).unwrap(), 4, None).unwrap().0
    }

    pub(super) fn stop(&self, key: Key) -> Stopped {
        let patience = Deadline::after(core::time::Duration::ZERO);
        self.hub.stop(key, &patience).unwrap()
    }

    /// Delivered to the subscription, received or not.
    pub(super) fn delivered(&self, key: Key) -> u32 {
        self.hub.locked(|table, _| table.mailboxes.get(key).unwrap().items.len() as u32)
    }

    pub(super) fn died(&self) -> u32 {
        u32::from(self.sim.outcome() != Outcome::Running)
    }
}

/// Ours among others' for the signals by which threads are interrupted.
pub(super) struct Interrupter {
    pub(super) table: Rc<Table>,
    pub(super) interrupts: Interrupts<Rc<Table>>,
}

/// Its handler runs this entry.
pub(super) fn interrupter(sim: Sim, entry: impl Fn() + 'static) -> Rc<Interrupter> {
    let entry = Rc::new(entry);
    Rc::new_cyclic(|ours: &rc::Weak<Interrupter>| {
        let (ours, table) = (ours.clone(), Rc::new(Table::new(sim)));
        table.set_ours(|level| {
            let (ours, entry) = (ours.clone(), Rc::clone(&entry));
            Handler::with_info(move |signal, info| {
                let ours = ours.upgrade().expect("it outlives its handler");
                ours.interrupts.handle(signal, level, info, || entry());
            })
        });
        Interrupter { interrupts: Interrupts::new(Rc::clone(&table)), table }
    })
}

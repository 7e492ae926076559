//! Subscriptions against a plain reference model, on a system that only remembers.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use proptest::prelude::*;

use crate::signal::Stopped;
use crate::signal::hub::{Hub, Kernel};
use crate::signal::set::SignalSet;
use crate::signal::{RecvError, mailbox::Key};
use crate::sigqueue::{Origin, Sent};
use crate::sys::{Deadline, Errno, Restored};

/// Two that every system lets be caught.
const SIGNALS: [i32; 2] = if cfg!(windows) { [2, 15] } else { [1, 14] };
const CAPACITY: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disposition {
    Default,
    Ignored,
    Ours,
    /// Put there by somebody else.
    Foreign,
}

/// The dispositions of a process.
#[derive(Debug, Clone, Default)]
struct System(Rc<RefCell<BTreeMap<i32, Disposition>>>);

impl System {
    fn get(&self, signal: i32) -> Disposition {
        *self.0.borrow().get(&signal).unwrap_or(&Disposition::Default)
    }
    fn set(&self, signal: i32, disposition: Disposition) {
        self.0.borrow_mut().insert(signal, disposition);
    }
}

impl Kernel for System {
    fn install(&self, signal: i32) -> Result<(), Errno> {
        self.set(signal, Disposition::Ours);
        Ok(())
    }
    fn restore(&self, signal: i32) -> Result<Restored, Errno> {
        if self.get(signal) != Disposition::Ours {
            return Ok(Restored::Foreign);
        }
        self.set(signal, Disposition::Default);
        Ok(Restored::Previous)
    }
    fn set_default(&self, signal: i32) -> Result<(), Errno> {
        self.set(signal, Disposition::Default);
        Ok(())
    }
    fn set_ignored(&self, signal: i32) -> Result<(), Errno> {
        self.set(signal, Disposition::Ignored);
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Action {
    /// To the signals of the mask.
    Subscribe(usize),
    Stop(usize),
    Drop(usize),
    Reset(usize),
    Ignore(usize),
    Send(usize, i32),
    Deliver,
    Receive(usize),
    Steal(usize),
}

fn action() -> impl Strategy<Value = Action> {
    let (signal, handle) = (0..SIGNALS.len(), 0..4_usize);
    prop_oneof![
        3 => (1..4_usize).prop_map(Action::Subscribe),
        2 => handle.clone().prop_map(Action::Stop),
        1 => handle.clone().prop_map(Action::Drop),
        1 => signal.clone().prop_map(Action::Reset),
        1 => signal.clone().prop_map(Action::Ignore),
        6 => (signal.clone(), 1..1000).prop_map(|(signal, pid)| Action::Send(signal, pid)),
        2 => Just(Action::Deliver),
        3 => handle.prop_map(Action::Receive),
        1 => signal.prop_map(Action::Steal),
    ]
}

/// One subscription as anybody would write it.
#[derive(Debug, Default)]
struct Box_ {
    signals: Vec<i32>,
    items: VecDeque<(i32, i32, u32)>,
    dropped: u64,
}

#[derive(Debug, Default)]
struct Reference {
    boxes: BTreeMap<Key, Box_>,
    pending: BTreeMap<i32, (i32, u32)>,
}

impl Reference {
    fn subscribers(&self, signal: i32) -> usize {
        self.boxes.values().filter(|subscriber| subscriber.signals.contains(&signal)).count()
    }

    fn deliver(&mut self, signal: i32) {
        let Some((pid, merged)) = self.pending.remove(&signal) else {
            return;
        };
        for subscriber in self.boxes.values_mut().filter(|b| b.signals.contains(&signal)) {
            if subscriber.items.len() == CAPACITY {
                subscriber.dropped += 1;
            } else {
                subscriber.items.push_back((signal, pid, merged));
            }
        }
    }

    /// Gives up the signals; the ones whose disposition somebody else holds.
    fn stop(&mut self, key: Key, system: &System) -> Vec<i32> {
        let mut foreign = Vec::new();
        for signal in SIGNALS {
            if !self.boxes.get(&key).is_some_and(|subscriber| subscriber.signals.contains(&signal))
            {
                continue;
            }
            if self.subscribers(signal) == 1 && system.get(signal) != Disposition::Ours {
                foreign.push(signal);
            }
            self.deliver(signal);
            self.boxes.get_mut(&key).unwrap().signals.retain(|other| *other != signal);
        }
        foreign
    }

    fn strike_all(&mut self, signal: i32) {
        self.deliver(signal);
        self.boxes.values_mut().for_each(|b| b.signals.retain(|other| *other != signal));
    }
}

struct Pair {
    system: System,
    hub: Hub<System>,
    reference: Reference,
    keys: Vec<Key>,
}

impl Pair {
    fn key(&self, at: usize) -> Option<Key> {
        self.keys.get(at % self.keys.len().max(1)).copied()
    }

    fn stop(&mut self, key: Key) {
        let foreign = self.reference.stop(key, &self.system);
        let patience = Deadline::after(core::time::Duration::ZERO);
        let stopped = self.hub.stop(key, &patience).unwrap();
        assert_eq!(stopped, Stopped { foreign, refused: Vec::new() });
    }

    fn send(&mut self, signal: i32, pid: i32) {
        if self.system.get(signal) != Disposition::Ours {
            return;
        }
        let sent = self.hub.on_signal(signal, Origin { pid, ..Origin::UNKNOWN });
        match self.reference.pending.get_mut(&signal) {
            Some((_, merged)) => {
                *merged += 1;
                assert_eq!(sent, Sent::Coalesced);
            }
            None => {
                self.reference.pending.insert(signal, (pid, 0));
                assert_eq!(sent, Sent::Accepted);
            }
        }
    }

    fn receive(&mut self, key: Key) {
        SIGNALS.iter().for_each(|signal| self.reference.deliver(*signal));
        let subscriber = self.reference.boxes.get_mut(&key).unwrap();
        let expected = match subscriber.items.pop_front() {
            Some(item) => Some(Ok(item)),
            None if subscriber.signals.is_empty() => Some(Err(RecvError::Stopped)),
            None => None,
        };
        let received = self.hub.try_recv(key);
        let plain = received.map(|r| r.map(|d| (d.signal, d.origin.unwrap().pid, d.coalesced)));
        assert_eq!(plain, expected);
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Subscribe(mask) => {
                let signals = SIGNALS.iter().enumerate().filter(|(at, _)| mask >> at & 1 != 0);
                let signals: Vec<i32> = signals.map(|(_, signal)| *signal).collect();
                let set = SignalSet::new(signals.iter().copied()).unwrap();
                let key = self.hub.subscribe(set, CAPACITY, None).unwrap().0;
                self.reference.boxes.insert(key, Box_ { signals, ..Box_::default() });
                self.keys.push(key);
            }
            Action::Stop(at) => self.key(at).map_or((), |key| self.stop(key)),
            Action::Drop(at) => {
                let Some(key) = self.key(at) else { return };
                self.stop(key);
                self.hub.forget(key);
                self.reference.boxes.remove(&key);
                self.keys.retain(|other| *other != key);
            }
            Action::Reset(at) | Action::Ignore(at) => {
                let ignored = matches!(action, Action::Ignore(_));
                self.hub.set_disposition(SIGNALS[at], ignored).unwrap();
                self.reference.strike_all(SIGNALS[at]);
                let late = if ignored { Sent::Ignored } else { Sent::Unwanted };
                assert_eq!(self.hub.on_signal(SIGNALS[at], Origin::UNKNOWN), late);
            }
            Action::Send(at, pid) => self.send(SIGNALS[at], pid),
            Action::Deliver => {
                self.hub.deliver_all(None);
                SIGNALS.iter().for_each(|signal| self.reference.deliver(*signal));
            }
            Action::Receive(at) => self.key(at).map_or((), |key| self.receive(key)),
            Action::Steal(at) => {
                if self.reference.subscribers(SIGNALS[at]) != 0 {
                    self.system.set(SIGNALS[at], Disposition::Foreign);
                }
            }
        }
        for (key, subscriber) in &self.reference.boxes {
            let dropped = self.hub.locked(|table, _| table.mailboxes.get(*key).unwrap().dropped);
            assert_eq!(dropped, subscriber.dropped);
        }
        for signal in SIGNALS {
            let ours = self.system.get(signal) == Disposition::Ours;
            assert!(!ours || self.reference.subscribers(signal) != 0, "ours with no subscriber");
        }
    }
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn hub_is_the_reference(actions in prop::collection::vec(action(), 1..80)) {
        let system = System::default();
        let hub = Hub::new(system.clone());
        let mut pair = Pair { system, hub, reference: Reference::default(), keys: Vec::new() };
        for action in actions {
            pair.apply(action);
        }
        for at in (0..pair.keys.len()).rev() {
            pair.apply(Action::Drop(at));
        }
        pair.hub.queue.assert_no_record_in_use();
    }
}

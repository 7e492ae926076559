//! A world as one writes it first: one mutex, one condition variable, and a flag to poll.

use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Condvar, Mutex};

#[derive(Default)]
pub(crate) struct Naive {
    stopping: AtomicBool,
    inside: Mutex<usize>,
    changed: Condvar,
}

impl Naive {
    pub(crate) fn come_in(&self) {
        let mut inside = self.inside.lock().unwrap();
        while self.stopping.load(Relaxed) {
            inside = self.changed.wait(inside).unwrap();
        }
        *inside += 1;
    }

    pub(crate) fn go_out(&self) {
        *self.inside.lock().unwrap() -= 1;
        if self.stopping.load(Relaxed) {
            self.changed.notify_all();
        }
    }

    #[inline]
    pub(crate) fn poll(&self) {
        if self.stopping.load(Relaxed) {
            self.go_out();
            self.come_in();
        }
    }

    pub(crate) fn stop(&self) {
        let mut inside = self.inside.lock().unwrap();
        self.stopping.store(true, Relaxed);
        while *inside > 0 {
            inside = self.changed.wait(inside).unwrap();
        }
    }

    pub(crate) fn open(&self) {
        let inside = self.inside.lock().unwrap();
        self.stopping.store(false, Relaxed);
        drop(inside);
        self.changed.notify_all();
    }
}

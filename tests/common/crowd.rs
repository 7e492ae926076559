//! Threads that answer.

use std::sync::mpsc;
use std::thread;

/// Threads that each do what they are told and say what came of it.
pub(crate) struct Threads {
    tell: Vec<mpsc::Sender<()>>,
    heard: mpsc::Receiver<i32>,
    handles: Vec<thread::JoinHandle<()>>,
    say: mpsc::Sender<i32>,
}

impl Threads {
    pub(crate) fn new() -> Self {
        let (say, heard) = mpsc::channel();
        Self { tell: Vec::new(), heard, handles: Vec::new(), say }
    }

    /// One more, which answers by this.
    pub(crate) fn add(&mut self, answer: fn() -> i32) {
        let (tell, told) = mpsc::channel();
        let say = self.say.clone();
        self.tell.push(tell);
        self.handles.push(thread::spawn(move || {
            for () in told {
                say.send(answer()).unwrap();
            }
        }));
    }

    pub(crate) fn all(&self) -> Vec<i32> {
        self.tell.iter().for_each(|tell| tell.send(()).unwrap());
        self.heard.iter().take(self.tell.len()).collect()
    }

    pub(crate) fn end(self) {
        drop(self.tell);
        self.handles.into_iter().for_each(|handle| handle.join().unwrap());
    }
}

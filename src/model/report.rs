//! What a failing execution says: its reason, its number, its lanes.

use super::state::Run;
use super::{check, lanes};
use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Once};

/// Exit code of a child process whose control failed as a control should.
pub(super) const FOUND: i32 = 86;
/// Marks in what such a child prints.
pub(super) const BEGIN: &str = "-- control found --";
pub(super) const END: &str = "-- end of control --";

thread_local! {
    static WATCHED: RefCell<Option<Watched>> = const { RefCell::new(None) };
}

struct Watched {
    name: String,
    executions: Arc<AtomicUsize>,
    /// What is to be known of how the execution came to be.
    note: String,
    reported: bool,
}

/// While it lives, the first panic on this system thread is reported as the model's failure.
pub(super) struct Watch;

impl Watch {
    pub(super) fn start(name: &str, executions: Arc<AtomicUsize>) -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if !report(info) {
                    previous(info);
                }
            }));
        });
        let name = name.to_owned();
        WATCHED.set(Some(Watched { name, executions, note: String::new(), reported: false }));
        Self
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.set(None);
        Run::end();
    }
}

/// Says how the executions that follow come to be.
pub(super) fn note(note: &str) {
    WATCHED.with_borrow_mut(|watched| {
        watched.as_mut().expect("an exploration").note = note.to_owned();
    });
}

/// Whether the exploration on this system thread has had a failure.
pub(super) fn reported() -> bool {
    WATCHED.with_borrow(|watched| watched.as_ref().is_some_and(|watched| watched.reported))
}

/// True if the panic was a model's.
fn report(info: &PanicHookInfo<'_>) -> bool {
    WATCHED.with_borrow_mut(|watched| {
        let Some(watched) = watched else { return false };
        // loom ends the other threads of a failed execution by unwinding them.
        if core::mem::replace(&mut watched.reported, true) {
            return true;
        }
        let reason = reason(info);
        let executions = watched.executions.load(Relaxed);
        let lanes = Run::current().and_then(|run| run.try_borrow().map(|i| lanes::render(&i)));
        let lanes = lanes.unwrap_or_default();
        let at = info.location().map(|at| at.to_string()).unwrap_or_default();
        let note = &watched.note;
        if super::control::in_child() {
            let reason = reason.replace('\n', " / ");
            check::say(&format!("{BEGIN}\n{executions}\n{reason}\n{at}\n{note}\n{lanes}{END}"));
            // The test harness must not see this: the exit code is the answer.
            std::process::exit(FOUND);
        }
        let name = &watched.name;
        let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
        check::say(&format!(
            "model {name}: FAILED in execution {executions}{note}: {reason}\n  at {at}\n{lanes}"
        ));
        true
    })
}

fn reason(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("panic without a message");
    if text.starts_with("deadlock; threads") {
        return "deadlock: every thread is asleep".to_owned();
    }
    if text.starts_with("Model exceeded maximum number of branches") {
        return "no progress (branch limit)".to_owned();
    }
    text.trim().to_owned()
}

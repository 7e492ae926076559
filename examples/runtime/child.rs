//! The child of a fork: its world has one thread, and is its own. It collects, looks at all that tasks have, and
//! executes another program.

use std::ptr;

use super::account::{COUNTS, add, get, wrong};
use super::collector::collect;
use super::queue::{QUEUE, Task, verify};
use super::threads::{Own, Runs, Stands, world};

/// What a child ends with that could not execute the other program.
const NOT_EXECUTED: i32 = 3;
const NOT_WELL: i32 = 4;

/// By a thread that is inside: nobody has the world stopped, or changes a tree of the queue.
pub(crate) fn fork_and_execute(own: &mut Own) {
    let held = own.hold();
    let queue = QUEUE.tasks.lock().expect("nobody panics with it");
    // SAFETY: what the child uses of what others may have had: the allocator, which the C library keeps usable,
    // and the queue, which this thread has.
    let child = unsafe { libc::fork() };
    // SAFETY: the only thread of the child, first of all; it was in the middle of none of that.
    let reset = (child == 0).then(|| unsafe { world().reset_after_fork() });
    drop(queue);
    drop(held);
    match (child, reset) {
        (_, Some(reset)) => {
            let ended = if reset.is_ok() && is_well(own) { execute() } else { NOT_WELL };
            // SAFETY: no preconditions.
            unsafe { libc::_exit(ended) }
        }
        (-1, _) => add(&COUNTS.not_forked, 1),
        (child, _) => match own.outside(|_| wait_for(child)) {
            0 => add(&COUNTS.children, 1),
            status => wrong(&format!("a child ended with {status:#x}")),
        },
    }
}

/// In the child. It takes no lock that another thread may have had.
fn is_well(own: &mut Own) -> bool {
    // SAFETY: no preconditions. A child that hangs is one that is not well.
    unsafe { libc::alarm(20) };
    let before = get(&COUNTS.wrong);
    let alone = own.stopped(|stands| match stands {
        Stands::All(stop) => stop.threads().count() == 1,
        Stands::Some(_) => false,
    });
    collect(own);
    let mut tasks = Vec::new();
    while let Some(task) = QUEUE.pop(own) {
        tasks.push(task);
        if tasks.len() == 4 {
            break;
        }
    }
    let whole =
        |own: &mut Own, task: &Task| task.tree.map_or(0, |tree| verify(own, tree)) == task.nodes;
    alone && tasks.iter().all(|task| whole(own, task)) && get(&COUNTS.wrong) == before
}

fn execute() -> i32 {
    let program = c"/bin/true".as_ptr();
    // SAFETY: both lists end with a null pointer.
    unsafe { libc::execv(program, [program, ptr::null()].as_ptr()) };
    NOT_EXECUTED
}

fn wait_for(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: a child of this process, and a local. A signal may end the wait early.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } != child {}
    status
}

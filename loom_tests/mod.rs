//! The models.

pub(crate) use crate::model::{Bound, Control, Model};

pub(crate) mod all_threads;
mod attach;
mod extra_list;
mod fork;
mod found;
mod go;
mod guest;
mod historical;
mod hostile;
mod kernel;
mod litmus;
#[cfg(unix)]
mod neighbours;
mod note;
mod preempt;
mod sigqueue;
#[cfg(all(test, target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
mod stacks;
mod stop;
mod support;
mod world;

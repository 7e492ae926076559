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
mod kernel;
mod litmus;
#[cfg(unix)]
mod neighbours;
mod note;
mod preempt;
mod sigqueue;
mod stop;
mod support;

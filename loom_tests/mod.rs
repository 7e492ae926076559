//! The models.

pub(crate) use crate::model::{Bound, Control, Model};

mod kernel;
mod fork;
mod go;
mod historical;
mod litmus;
mod note;
mod sigqueue;
mod stop;
mod support;

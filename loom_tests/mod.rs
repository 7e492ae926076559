//! The models.

pub(crate) use crate::model::{Bound, Control, Model};

mod kernel;
mod sigqueue;
mod stop;
mod support;

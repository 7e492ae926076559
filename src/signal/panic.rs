//! What user code panicked with, kept until its owner asks.

use core::any::Any;
use core::fmt;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// What a sink or a waker panicked with.
///
/// The text can be read from any thread; the payload itself, which need not be `Sync`, is handed
/// out once. A payload that panics when it is dropped does so for nobody.
pub struct Panic {
    message: Cow<'static, str>,
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Panic {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        let fixed = payload.downcast_ref::<&'static str>().map(|text| Cow::Borrowed(*text));
        let made = || payload.downcast_ref::<String>().map(|text| Cow::Owned(text.clone()));
        let message = fixed.or_else(made).unwrap_or(Cow::Borrowed("(no text)"));
        Self { message, payload: Mutex::new(Some(payload)) }
    }

    /// The text of the panic; `(no text)` if it was made without one (`std::panic::panic_any`).
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The value of the panic, for `std::panic::resume_unwind` or a downcast.
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        // It is there until this or the drop takes it.
        self.take().unwrap_or_else(|| Box::new("(no text)"))
    }

    fn take(&self) -> Option<Box<dyn Any + Send>> {
        self.payload.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        let payload = self.take();
        // What a payload's own drop panics with is not dropped: that could go on for ever.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        dropped.unwrap_or_else(core::mem::forget);
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message).finish()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Runs the user's code; its panic ends here. What it was doing is the user's to see to.
pub(crate) fn caught<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(f)).map_err(Panic::new)
}

//! The calling test once more, in a process of its own.

use std::process::{Command, Stdio};

/// A run of the calling test alone, told by `variable` that it is one; its output is piped. `None`
/// outside of libtest, which names a test's thread after it.
pub(super) fn command(variable: &str, value: &str) -> Option<Command> {
    let thread = std::thread::current();
    let test = thread.name().filter(|&name| name != "main")?;
    let mut command = Command::new(std::env::current_exe().ok()?);
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(variable, value)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Some(command)
}

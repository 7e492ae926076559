//! libpsx, in a process of its own: see libpsx.c.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

const HELPER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/libpsx");

/// A process with so many idle threads.
pub(crate) struct Psx {
    child: Child,
    numbers: Option<ChildStdin>,
    told: BufReader<ChildStdout>,
}

impl Psx {
    /// Whether there is a C compiler, and the library.
    pub(crate) fn build() -> bool {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/all_threads/libpsx.c");
        let flags = ["-O2", "-o", HELPER, source, "-lpsx", "-lpthread", "-Wl,-wrap,pthread_create"];
        let built = Command::new("cc").args(flags).stderr(Stdio::null()).status();
        built.is_ok_and(|status| status.success())
    }

    /// `None` if it does not reach its threads.
    pub(crate) fn new(threads: usize) -> Option<Self> {
        let mut child = Command::new(HELPER)
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let told = BufReader::new(child.stdout.take()?);
        let mut psx = Self { numbers: child.stdin.take(), child, told };
        (psx.number() == 1).then_some(psx)
    }

    fn number(&mut self) -> u64 {
        let mut line = String::new();
        self.told.read_line(&mut line).expect("it is text");
        line.trim().parse().expect("it is a number")
    }

    /// How long so many calls take.
    pub(crate) fn calls(&mut self, count: u64) -> Duration {
        let numbers = self.numbers.as_mut().expect("it is closed by the end only");
        writeln!(numbers, "{count}").expect("it reads");
        Duration::from_nanos(self.number())
    }
}

impl Drop for Psx {
    fn drop(&mut self) {
        self.numbers.take();
        let _ = self.child.wait();
    }
}

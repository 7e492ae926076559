//! Starting programs in other languages.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::library;

/// Whether this program is there and answers; else a word says what is left out.
pub(crate) fn have(program: &str, question: &str, what: &str) -> bool {
    let answer = Command::new(program).arg(question).output();
    let there = answer.is_ok_and(|answer| answer.status.success());
    if !there {
        left_out(what, &format!("no {program} here"));
    }
    there
}

/// Not by a macro: that would be kept back for a test that passes.
pub(crate) fn left_out(what: &str, why: &str) {
    _ = writeln!(std::io::stderr(), "left out: {what}: {why}");
}

/// The folder with libpn.so.
pub(crate) fn library() -> PathBuf {
    library::build("pn", "tests/neighbours_real/library/source.rs")
}

/// Of these tests.
pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/neighbours_real").join(path)
}

/// A folder for what is made here.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// This, ended by force after so many seconds: hosts have handlers for an alarm.
pub(crate) fn bounded(program: impl Into<OsString>, seconds: u32) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", &seconds.to_string()]).arg(program.into());
    command
}

/// Runs it; what it had to say is shown unless it ends as it should.
pub(crate) fn ends_with(command: &mut Command, code: i32) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [said, errors] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert_eq!(status.code(), Some(code), "{command:?}: {status}\n{said}\n{errors}");
    said + &errors
}

pub(crate) fn succeeds(command: &mut Command) -> String {
    ends_with(command, 0)
}

/// A program or library of C, with libpn.so.
pub(crate) fn compile(source: &Path, output: &Path, library: &Path, more: &[&str]) {
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-g", "-Wall", "-Werror", "-pthread"]).arg("-I").arg(self::source("library"));
    cc.arg(source).arg("-o").arg(output).args(more);
    cc.arg("-L").arg(library).arg("-lpn").arg(format!("-Wl,-rpath,{}", library.display()));
    succeeds(&mut cc);
}

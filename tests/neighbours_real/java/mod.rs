//! OpenJDK, which faults on purpose and ends at SIGTERM by a handler of its own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::hosts::*;

/// The folder of what is compiled; none where there is no JDK.
fn built() -> Option<&'static PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let there = have("javac", "-version", "Java") && have("java", "-version", "Java");
        there.then(|| {
            let folder = scratch("java");
            succeeds(Command::new("javac").arg("-d").arg(&folder).arg(source("java/Host.java")));
            let told =
                succeeds(Command::new("java").args(["-XshowSettings:properties", "-version"]));
            let home = told.lines().find_map(|line| line.trim().strip_prefix("java.home = "));
            let headers = format!("-I{}/include", home.expect("it says where it is"));
            let more = ["-shared", "-fPIC", &headers, &format!("{headers}/linux")];
            compile(&source("java/host.c"), &folder.join("libhost.so"), &library(), &more);
            folder
        })
    };
    BUILT.get_or_init(build).as_ref()
}

/// Loaded before the program starts: see docs/neighbours.md of a thread's first look at a thread-local.
fn java(folder: &PathBuf, what: &str) -> Command {
    let mut java = bounded("java", 120);
    // C1 leaves out the checks for null for good, where C2 would put them back; a short stack is full sooner.
    java.args(["-XX:TieredStopAtLevel=1", "-Xss256k", "-Xmx64m", "-cp"]).arg(folder);
    java.arg(format!("-Djava.library.path={}", folder.display())).args(["Host", what]);
    java.env("LD_PRELOAD", library().join("libpn.so"));
    java
}

/// Java's threads allocate, stop for the collector, fault and overflow, and are called, suspended and attached
/// meanwhile.
#[test]
fn operations() {
    let Some(folder) = built() else { return };
    assert!(succeeds(&mut java(folder, "operations")).contains("done"));
}

/// A subscription alone keeps the JVM from ending at SIGTERM; afterwards it ends as it does.
#[test]
fn termination() {
    let Some(folder) = built() else { return };
    let said = ends_with(&mut java(folder, "termination"), 128 + libc::SIGTERM);
    assert!(said.contains("done\nhook"), "{said}");
}

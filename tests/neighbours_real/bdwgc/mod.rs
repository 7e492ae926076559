//! bdwgc, which stops the threads that it knows by signals of its own.

mod suspenders;

use std::path::Path;

use super::hosts::*;

/// What its program says, whose suspender is a thread that bdwgc stops ("its"), or one that it does not know.
fn host(suspender: &str) {
    if !Path::new("/usr/include/gc.h").exists() {
        return left_out("bdwgc", "no libgc-dev here");
    }
    let program = scratch("bdwgc").join(suspender);
    compile(&source("bdwgc/host.c"), &program, &library(), &["-lgc"]);
    let mut program = bounded(&program, 120);
    assert!(succeeds(program.arg(suspender)).contains("done"));
}

/// Its threads allocate, are stopped and collected, and are called, suspended and attached meanwhile.
#[test]
fn operations() {
    host("nobodys");
}

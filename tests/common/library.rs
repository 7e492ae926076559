//! A shared library of a folder of these tests, for tests that load one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Builds it of this source and this crate, of what the tests are built of: nothing is fetched. The folder of
/// `lib{name}.so`.
pub(crate) fn build(name: &str, source: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [lib]\ncrate-type = [\"cdylib\"]\npath = \"{root}/{source}\"\n\
         [dependencies]\nportcullis = {{ path = \"{root}\" }}\n[workspace]\n"
    );
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::copy(Path::new(root).join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    // As it is by itself, not as these tests are built.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().ends_with("RUSTFLAGS") {
            cargo.env_remove(name);
        }
    }
    let built = cargo
        .args(["build", "--offline", "--quiet", "--target-dir", "target"])
        .current_dir(&folder)
        .env_remove("CARGO_BUILD_TARGET")
        .status()
        .unwrap();
    assert!(built.success());
    folder.join("target/debug")
}

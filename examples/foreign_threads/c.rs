//! The C code, compiled when it is needed and loaded as a library.

use std::error::Error;
use std::ffi::{CStr, CString, c_int, c_long, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::{env, fs, process};

pub(crate) type Callback = extern "C" fn(*mut c_void);
type Failure = Box<dyn Error + Send + Sync>;

/// The functions of `foreign.c`.
#[derive(Debug)]
#[allow(dead_code, reason = "not everybody uses all of it")]
pub(crate) struct Foreign {
    pub(crate) run: extern "C" fn(c_int, c_long, Callback, *mut c_void) -> c_int,
    pub(crate) cancel: extern "C" fn(Callback, *mut c_void) -> c_int,
    pub(crate) destructor: extern "C" fn(Callback, Callback, c_int, *mut c_void) -> c_int,
    pub(crate) own_stack: extern "C" fn(usize, c_long, Callback, *mut c_void) -> c_int,
    pub(crate) setgid: extern "C" fn(c_long) -> c_int,
}

/// Loads it once in a process.
///
/// # Panics
///
/// If there is no C compiler, with a word about it.
pub(crate) fn foreign() -> &'static Foreign {
    static LOADED: OnceLock<Foreign> = OnceLock::new();
    LOADED.get_or_init(|| load().unwrap_or_else(|error| panic!("foreign.c: {error}")))
}

fn compile() -> Result<PathBuf, Failure> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/foreign_threads/foreign.c");
    let library = env::temp_dir().join(format!("portcullis-foreign-{}.so", process::id()));
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    // All that a build script would be told by its environment.
    let compiler = cc::Build::new()
        .target(&target)
        .host(&target)
        .opt_level(2)
        .debug(false)
        .cargo_metadata(false)
        .try_get_compiler()?;
    let mut command = compiler.to_command();
    command.args(["-shared", "-fPIC", "-Wall", "-Wextra", "-pthread", source, "-o"]).arg(&library);
    let status = command.status().map_err(|error| format!("a C compiler is needed: {error}"))?;
    if status.success() { Ok(library) } else { Err(format!("{command:?}: {status}").into()) }
}

fn load() -> Result<Foreign, Failure> {
    let library = compile()?;
    let path = CString::new(library.as_os_str().as_bytes())?;
    // SAFETY: a path that ends in zero; the library has no constructors.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    fs::remove_file(&library)?;
    if handle.is_null() {
        return Err("the library cannot be loaded".into());
    }
    // SAFETY: each has the type that foreign.c gives it.
    unsafe {
        Ok(Foreign {
            run: function(handle, c"foreign_run")?,
            cancel: function(handle, c"foreign_cancel")?,
            destructor: function(handle, c"foreign_destructor")?,
            own_stack: function(handle, c"foreign_own_stack")?,
            setgid: function(handle, c"foreign_setgid")?,
        })
    }
}

/// # Safety
///
/// `F` is the type of the function of that name.
unsafe fn function<F: Copy>(handle: *mut c_void, name: &CStr) -> Result<F, Failure> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: a handle that dlopen returned, never closed.
    let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
    if address.is_null() {
        return Err(format!("{name:?} is not in it").into());
    }
    // SAFETY: as the caller promises; both are one address.
    Ok(unsafe { std::mem::transmute_copy(&address) })
}

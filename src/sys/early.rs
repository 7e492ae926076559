//! Thread-locals that are memory of the thread from its first instruction to its last, also in a library that
//! dlopen(3) loaded: of the initial-exec model. U. Drepper, ELF Handling For Thread-Local Storage, 4.4.6
//! (x86-64); glibc elf/dl-reloc.c, `_dl_try_allocate_static_tls`.
//!
//! What `thread_local!` makes is of the general model, where glibc gives a thread that memory when it looks at
//! it first, and calls malloc for that: a handler that interrupted malloc waits for ever. glibc keeps room for
//! a library's few words of the other model; were it used up, dlopen(3) would say so.
//!
//! The compiler has no word for the model. So what is asked of the linker is written out, on glibc for the two
//! processors that most programs run on. Elsewhere it is `thread_local!`: with musl a library's are there once
//! it is loaded; others see `docs/neighbours.md`.

/// What all zeros is a value of, and nothing is done to at the end of a thread.
///
/// # Safety
///
/// As it says.
pub(crate) unsafe trait Zeroed: Sized {
    const CHECKED: () = assert!(!core::mem::needs_drop::<Self>());
}

/// Whether thread-locals so declared are there from a thread's first instruction, however this library was
/// loaded.
pub(crate) const OWN_IS_MEMORY: bool = cfg!(all(
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(miri, target_abi = "x32", target_abi = "ilp32")),
)) || cfg!(target_env = "musl");

/// Declares a function that returns where the calling thread has its own value of a type that is
/// [`Zeroed`]; the same until the thread ends. Null where thread-locals are made of keys (OpenBSD, Android),
/// once the thread has ended so far that this one is gone. Async-signal-safe. The symbol is one that nothing else has.
macro_rules! early_local {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($symbol:literal) -> $type:ty = $blank:expr;) => {
        cfg_if::cfg_if! {
            if #[cfg(all(
                target_os = "linux",
                target_env = "gnu",
                target_pointer_width = "64",
                any(target_arch = "x86_64", target_arch = "aarch64"),
                not(any(miri, target_abi = "x32", target_abi = "ilp32")),
            ))] {
                $(#[$meta])*
                // The definition is part of it: a second copy of it would be refused by the linker.
                #[inline(never)]
                $vis fn $name() -> *const $type {
                    const _: $type = $blank;
                    let () = <$type as $crate::sys::early::Zeroed>::CHECKED;
                    let place: *const $type;
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: reads the thread's pointer, and from the table of the library what the loader
                    // has put there for the symbol: room of this size and alignment, all zeros at first.
                    #[allow(named_asm_labels, reason = "it names memory, not code")]
                    unsafe {
                        core::arch::asm!(
                            concat!(".pushsection .tbss.", $symbol, ",\"awT\",@nobits"),
                            ".balign {align}",
                            concat!($symbol, ":"),
                            ".zero {size}",
                            ".popsection",
                            "mov {place}, qword ptr fs:[0]",
                            concat!("add {place}, qword ptr [rip + ", $symbol, "@gottpoff]"),
                            place = out(reg) place,
                            align = const align_of::<$type>(),
                            size = const size_of::<$type>(),
                            options(nomem, nostack),
                        );
                    }
                    #[cfg(target_arch = "aarch64")]
                    // SAFETY: as above.
                    #[allow(named_asm_labels, reason = "it names memory, not code")]
                    unsafe {
                        core::arch::asm!(
                            concat!(".pushsection .tbss.", $symbol, ",\"awT\",@nobits"),
                            ".balign {align}",
                            concat!($symbol, ":"),
                            ".zero {size}",
                            ".popsection",
                            "mrs {place}, tpidr_el0",
                            concat!("adrp {offset}, :gottprel:", $symbol),
                            concat!("ldr {offset}, [{offset}, :gottprel_lo12:", $symbol, "]"),
                            "add {place}, {place}, {offset}",
                            place = out(reg) place,
                            offset = out(reg) _,
                            align = const align_of::<$type>(),
                            size = const size_of::<$type>(),
                            options(nomem, nostack, preserves_flags),
                        );
                    }
                    place
                }
            } else {
                $(#[$meta])*
                $vis fn $name() -> *const $type {
                    let () = <$type as $crate::sys::early::Zeroed>::CHECKED;
                    std::thread_local! {
                        static OWN: $type = const { $blank };
                    }
                    OWN.try_with(core::ptr::from_ref).unwrap_or(core::ptr::null())
                }
            }
        }
    };
}
pub(crate) use early_local;

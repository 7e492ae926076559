//! Orderings, and what is one step weaker.

/// The ordering that an expression names.
pub fn named(expr: &syn::Expr) -> Option<&'static str> {
    let syn::Expr::Path(path) = expr else { return None };
    let last = path.path.segments.last()?.ident.to_string();
    ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"].into_iter().find(|name| *name == last)
}

pub fn is_operation(name: &str) -> bool {
    matches!(
        name,
        "load" | "store" | "swap" | "compare_exchange" | "compare_exchange_weak" | "fence"
    ) || name.starts_with("fetch_")
}

/// `which` is 1 for a compare-exchange's order on failure.
pub fn weaker(operation: &str, which: usize, order: &str) -> &'static [&'static str] {
    match (order, operation) {
        ("SeqCst", _) => &["AcqRel"],
        ("AcqRel", _) => &["Acquire", "Release"],
        // The weakest fences are none: dropping the statement is the mutant.
        (_, "fence") | ("Relaxed", _) => &[],
        ("Release", _) if which == 1 => &[],
        _ => &["Relaxed"],
    }
}

//! Medians and tables.

/// The value below which `share` of the sorted samples lie.
pub(crate) fn quantile(sorted: &[u64], share: f64) -> u64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// Sorts, and answers with the median, the 99th percentile and the maximum.
pub(crate) fn summary(samples: &mut [u64]) -> (u64, u64, u64) {
    samples.sort_unstable();
    (quantile(samples, 0.5), quantile(samples, 0.99), quantile(samples, 1.0))
}

pub(crate) fn micros(nanos: u64) -> String {
    format!("{:.2}", nanos as f64 / 1000.0)
}

pub(crate) fn ratio(of: u64, to: u64) -> String {
    if to == 0 { "-".into() } else { format!("{:.2}", of as f64 / to as f64) }
}

/// Prints a table of plain text.
pub(crate) fn table(title: &str, head: &[&str], rows: &[Vec<String>]) {
    println!("\n{title}");
    print_row(head.iter().copied());
    rows.iter().for_each(|row| print_row(row.iter().map(String::as_str)));
}

fn print_row<'a>(mut cells: impl Iterator<Item = &'a str>) {
    print!("  {:<34}", cells.next().unwrap_or(""));
    cells.for_each(|cell| print!("{cell:>12}"));
    println!();
}

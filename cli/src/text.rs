//! Numbers as people read them, and output that survives a closed pipe.

use std::io::{self, Write};

/// Writes one line to standard output; the error of a reader that went away comes back as such.
pub fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Writes one line to standard error.
pub fn complain(line: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{line}")
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let mut value = value.max(0.0);
    let mut unit = 0;
    // 999.5 would be printed as 1000 of the smaller unit.
    while value >= base - 0.5 && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", units[unit])
}

/// Bytes in decimal units: `1.31 MB`.
pub fn bytes(count: u64) -> String {
    scaled(
        count as f64,
        1000.0,
        &["B", "kB", "MB", "GB", "TB", "PB", "EB"],
    )
}

/// Bytes in binary units, as memory is sold: `16.0 MiB`.
pub fn memory(count: u64) -> String {
    scaled(
        count as f64,
        1024.0,
        &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"],
    )
}

/// Bytes a second in decimal units: `2.00 MB/s`.
pub fn rate(bytes_per_second: f64) -> String {
    scaled(
        bytes_per_second.round(),
        1000.0,
        &["B/s", "kB/s", "MB/s", "GB/s", "TB/s"],
    )
}

/// A count with a comma every three digits: `912,331`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A time span given in seconds: `0.3 s`, `12 s`, `3 min 20 s`, `2 h 13 min`, `5 d 3 h`.
pub fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// A bar of `width` cells, filled to `fraction` (clamped to 0..=1).
pub fn bar(fraction: f64, width: usize) -> String {
    let fraction = if fraction.is_finite() {
        fraction.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let filled = (fraction * width as f64).round() as usize;
    format!("[{}{}]", "#".repeat(filled), ".".repeat(width - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.00 kB");
        assert_eq!(bytes(999_999), "1.00 MB");
        assert_eq!(memory(16 << 20), "16.0 MiB");
        assert_eq!(memory(u64::MAX), "16.0 EiB");
        assert_eq!(rate(1_999_900.0), "2.00 MB/s");
        assert_eq!(rate(-3.0), "0 B/s");
        assert_eq!(count(0), "0");
        assert_eq!(count(912_331), "912,331");
        assert_eq!(count(1_000_000), "1,000,000");
    }

    #[test]
    fn spans_read_well() {
        assert_eq!(span(0.26), "0.3 s");
        assert_eq!(span(59.9), "59 s");
        assert_eq!(span(200.0), "3 min 20 s");
        assert_eq!(span(8000.0), "2 h 13 min");
        assert_eq!(span(450_000.0), "5 d 5 h");
        assert_eq!(span(f64::NAN), "0.0 s");
    }

    #[test]
    fn the_bar_stays_within_its_width() {
        assert_eq!(bar(0.5, 4), "[##..]");
        assert_eq!(bar(7.0, 4), "[####]");
        assert_eq!(bar(-1.0, 4), "[....]");
        assert_eq!(bar(f64::NAN, 4), "[....]");
    }
}

//! Sizes, rates and times as people write them in configuration files.
//!
//! ```text
//! "16 MiB"  "64KiB"  "1.5 GB"  "4096"      sizes, in bytes
//! "40 MB/s" "16 Mbit/s" "2 MiB/s" "500"    rates, in bytes a second
//! "100 ms"  "2.5 s"  "1 min"   "10"        times; a bare number is seconds
//! ```
//! Units are case-insensitive, except that the `i` decides: `KiB` is 1024 bytes, `kB` is 1000.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use thiserror::Error;

/// Why a size or a rate could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// There is no number at the start.
    #[error("`{0}` does not start with a number; write for instance `16 MiB`")]
    NoNumber(String),
    /// The number has too many digits, or two decimal points.
    #[error("`{0}` is not a number that can be used; write for instance `1.5 MiB`")]
    BadNumber(String),
    /// The unit is unknown.
    #[error("`{unit}` in `{text}` is not a unit; use B, kB, MB, GB, KiB, MiB or GiB{per_second}")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The part that was not understood.
        unit: String,
        /// What a rate may have besides.
        per_second: &'static str,
    },
    /// The unit is none of time.
    #[error("`{unit}` in `{text}` is not a unit of time; use ms, s or min")]
    UnknownTimeUnit {
        /// The whole text.
        text: String,
        /// The part that was not understood.
        unit: String,
    },
    /// The value does not fit in 64 bits.
    #[error("`{0}` is too large")]
    TooLarge(String),
    /// The value is no whole number of bytes.
    #[error("`{0}` is not a whole number of bytes")]
    Fraction(String),
    /// The value is no whole number of milliseconds.
    #[error("`{0}` is not a whole number of milliseconds")]
    TimeFraction(String),
}

const BYTE_UNITS: [(&str, u64); 12] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1_000),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];
/// Units of bits, for rates only: a noise source's data sheet gives Mbit/s.
const BIT_UNITS: [(&str, u64); 4] = [
    ("bit", 1),
    ("kbit", 1_000),
    ("mbit", 1_000_000),
    ("gbit", 1_000_000_000),
];
/// Units of time, in milliseconds.
const TIME_UNITS: [(&str, u64); 4] = [("", 1000), ("ms", 1), ("s", 1000), ("min", 60_000)];
/// More decimals than this say nothing about a number of bytes.
const MAX_DECIMALS: usize = 9;

/// A size, a rate or a time as it stands in a configuration file: text with a unit, or a whole number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount(String);

impl Amount {
    /// The size, in bytes.
    ///
    /// # Errors
    /// As [`parse_size`].
    pub fn size(&self) -> Result<u64, UnitError> {
        parse_size(&self.0)
    }

    /// The time.
    ///
    /// # Errors
    /// As [`parse_time`].
    pub fn time(&self) -> Result<Duration, UnitError> {
        parse_time(&self.0)
    }

    /// The text as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Amount {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string such as \"16 MiB\" or a whole number")
            }
            fn visit_i64<E>(self, number: i64) -> Result<Amount, E> {
                Ok(Amount(number.to_string()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Amount, E> {
                Ok(Amount(number.to_string()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Amount, E> {
                Ok(Amount(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Reads a size in bytes, such as `16 MiB`, `64 KiB`, `1.5 GB` or `4096`.
///
/// # Errors
/// [`UnitError`] says which part was not understood and how to write it.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let scale = find(&BYTE_UNITS, unit).ok_or_else(|| unknown(text, unit, ""))?;
    number.times(scale, 1, text)
}

/// Reads a rate in bytes a second, such as `40 MB/s`, `16 Mbit/s` or `500000`.
///
/// # Errors
/// [`UnitError`] says which part was not understood and how to write it.
pub fn parse_rate(text: &str) -> Result<u64, UnitError> {
    const HINT: &str = ", each with `/s`, or Mbit/s";
    let (number, unit) = split(text)?;
    let Some(per_second) = unit.strip_suffix("/s").map(str::trim_end) else {
        if unit.is_empty() {
            return number.times(1, 1, text);
        }
        return Err(unknown(text, unit, HINT));
    };
    if let Some(scale) = find(&BIT_UNITS, per_second) {
        return number.times(scale, 8, text);
    }
    let scale = find(&BYTE_UNITS, per_second).ok_or_else(|| unknown(text, unit, HINT))?;
    number.times(scale, 1, text)
}

/// Reads a time, such as `100 ms`, `2.5 s`, `1 min` or `10` (seconds).
///
/// # Errors
/// [`UnitError`] says which part was not understood and how to write it.
pub fn parse_time(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    let scale = find(&TIME_UNITS, unit).ok_or_else(|| UnitError::UnknownTimeUnit {
        text: text.trim().to_owned(),
        unit: unit.to_owned(),
    })?;
    number
        .times(scale, 1, text)
        .map(Duration::from_millis)
        .map_err(|error| match error {
            UnitError::Fraction(text) => UnitError::TimeFraction(text),
            other => other,
        })
}

fn find(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    let found = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit));
    found.map(|(_, scale)| *scale)
}

fn unknown(text: &str, unit: &str, per_second: &'static str) -> UnitError {
    UnitError::UnknownUnit {
        text: text.trim().to_owned(),
        unit: unit.to_owned(),
        per_second,
    }
}

/// A decimal number: `digits / 10^decimals`.
struct Number {
    digits: u64,
    decimals: u32,
}

impl Number {
    /// `self * multiplier / divisor`, if it is a whole number of 64 bits.
    fn times(&self, multiplier: u64, divisor: u64, text: &str) -> Result<u64, UnitError> {
        let product = u128::from(self.digits) * u128::from(multiplier);
        let divisor = u128::from(divisor) * 10_u128.pow(self.decimals);
        if !product.is_multiple_of(divisor) {
            return Err(UnitError::Fraction(text.trim().to_owned()));
        }
        u64::try_from(product / divisor).map_err(|_| UnitError::TooLarge(text.trim().to_owned()))
    }
}

/// Splits `1.5 MiB` into the number and the unit.
fn split(text: &str) -> Result<(Number, &str), UnitError> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '_')))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(UnitError::NoNumber(text.to_owned()));
    }
    let bad = || UnitError::BadNumber(text.to_owned());
    let number = number.replace('_', "");
    let (whole, decimals) = match number.split_once('.') {
        Some((whole, decimals)) => (whole, decimals.trim_end_matches('0')),
        None => (number.as_str(), ""),
    };
    if decimals.contains('.') || decimals.len() > MAX_DECIMALS {
        return Err(bad());
    }
    let digits = format!("{whole}{decimals}").parse().map_err(|_| bad())?;
    let decimals = u32::try_from(decimals.len()).map_err(|_| bad())?;
    Ok((Number { digits, decimals }, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            (" 16 MiB ", 16 << 20),
            ("64KiB", 64 << 10),
            ("64 kib", 64 << 10),
            ("1.5 GB", 1_500_000_000),
            ("1_000 B", 1000),
            ("0.5 KiB", 512),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn rates() {
        for (text, bytes) in [
            ("40 MB/s", 40_000_000),
            ("2MiB/s", 2 << 20),
            ("16 Mbit/s", 2_000_000),
            ("240 mbit/s", 30_000_000),
            ("500", 500),
            ("5 b/s", 5),
        ] {
            assert_eq!(parse_rate(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, ms) in [
            ("100 ms", 100),
            ("2.5s", 2500),
            ("1 MIN", 60_000),
            ("10", 10_000),
            ("0.001", 1),
            ("0", 0),
        ] {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for (text, word) in [
            ("1 h", "`h` in `1 h` is not a unit of time; use ms"),
            ("0.5 ms", "whole number of milliseconds"),
            ("soon", "does not start with a number"),
            ("18446744073709551615 s", "too large"),
        ] {
            let error = parse_time(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, word) in [
            ("", "does not start with a number"),
            ("MiB", "does not start with a number"),
            ("-1 MiB", "does not start with a number"),
            ("1.2.3 MiB", "not a number"),
            ("16 MiX", "`MiX` in `16 MiX` is not a unit"),
            ("16 MB/s", "is not a unit"),
            ("0.3 B", "whole number"),
            ("99999999999 GiB", "too large"),
            ("99999999999999999999999", "not a number"),
        ] {
            let error = parse_size(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
        let error = parse_rate("40 MB").unwrap_err().to_string();
        assert!(error.contains("/s"), "{error}");
        assert!(parse_rate("1 bit/s").is_err());
    }
}

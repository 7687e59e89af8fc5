//! Days of the calendar of keys, in UTC.

use std::fmt;
use std::str::FromStr;

/// Microseconds of a day.
const DAY_US: u64 = 86_400_000_000;
/// The last day that has a name here: 9999-12-31.
const LAST: u32 = 2_932_896;

/// A day in UTC: days since 1970-01-01. Its text is the date of ISO 8601, such as `2027-01-31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(u32);

impl Day {
    /// The day in which a time lies, in microseconds since the Unix epoch.
    #[must_use]
    pub fn of_us(now_us: u64) -> Self {
        let day = u32::try_from(now_us / DAY_US).unwrap_or(LAST);
        Day(day.min(LAST))
    }

    /// The day that this many days since 1970-01-01 have gone before.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        (number <= LAST).then_some(Day(number))
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// The day `days` later, if it has a name.
    #[must_use]
    pub fn later(self, days: u32) -> Option<Self> {
        Day::from_number(self.0.checked_add(days)?)
    }

    /// Days from `self` to `other`; none if `other` is before.
    #[must_use]
    pub fn until(self, other: Self) -> Option<u32> {
        other.0.checked_sub(self.0)
    }

    /// Days from `other` to `self`, less than 0 if `other` is later.
    #[must_use]
    pub fn days_after(self, other: Self) -> i64 {
        i64::from(self.0) - i64::from(other.0)
    }

    /// The first microsecond of the day.
    #[must_use]
    pub fn start_us(self) -> u64 {
        u64::from(self.0) * DAY_US
    }

    /// The first microsecond after the day.
    #[must_use]
    pub fn end_us(self) -> u64 {
        self.start_us() + DAY_US
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut year, mut days) = (1970, self.0);
        while days >= 365 + leap(year) {
            days -= 365 + leap(year);
            year += 1;
        }
        let mut month = 1;
        for length in lengths(year) {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        write!(f, "{year:04}-{month:02}-{:02}", days + 1)
    }
}

/// The text is no date from 1970-01-01 to 9999-12-31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a day is written as YYYY-MM-DD, such as 2027-01-31, from 1970 on")]
pub struct NoDay;

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, NoDay> {
        let digits = |from: usize, to: usize| {
            let part = text
                .get(from..to)
                .filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
            part.and_then(|part| part.parse::<u32>().ok()).ok_or(NoDay)
        };
        let dash = |at: usize| text.as_bytes().get(at) == Some(&b'-');
        if text.len() != 10 || !dash(4) || !dash(7) {
            return Err(NoDay);
        }
        let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
        let lengths = lengths(year);
        let index = month.checked_sub(1).and_then(|m| usize::try_from(m).ok());
        let length = index.and_then(|i| lengths.get(i)).ok_or(NoDay)?;
        if year < 1970 || day == 0 || day > *length {
            return Err(NoDay);
        }
        let years: u32 = (1970..year).map(|year| 365 + leap(year)).sum();
        let months: u32 = lengths.iter().zip(1..month).map(|(length, _)| length).sum();
        Ok(Day(years + months + day - 1))
    }
}

/// The days that a year has beyond 365.
fn leap(year: u32) -> u32 {
    u32::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)))
}

/// The lengths of a year's months.
fn lengths(year: u32) -> [u32; 12] {
    [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_reads_back() {
        let mut before = String::new();
        for number in (0..80_000).chain(LAST - 800..=LAST) {
            let day = Day(number);
            let text = day.to_string();
            assert_eq!(text.parse(), Ok(day));
            assert!(text > before || number == LAST - 800, "{text}");
            before = text;
        }
        assert_eq!(before, "9999-12-31");
        assert_eq!(Day(LAST).later(1), None);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_799, "2000-02-29"),
            (4_107_542_400, "2100-03-01"),
            (1_795_651_200, "2026-11-26"),
        ] {
            assert_eq!(Day::of_us(seconds * 1_000_000).to_string(), text);
        }
        let day: Day = "2026-11-26".parse().unwrap();
        assert_eq!(Day::of_us(day.end_us() - 1), day);
        assert_eq!(Day::of_us(day.end_us()), day.later(1).unwrap());
        assert_eq!(day.until(day.later(30).unwrap()), Some(30));
        assert_eq!(Day::of_us(u64::MAX).number(), LAST);
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2026-11-31",
            "2025-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "1969-12-31",
            "2026-1-01",
            "2026/11/26",
            "+026-11-26",
            "2026-11-26 ",
            "２026-11-2",
        ] {
            assert_eq!(text.parse::<Day>(), Err(NoDay), "{text:?}");
        }
    }
}

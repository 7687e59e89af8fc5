//! Calendars: a pair of keys for each of many days.
//!
//! Each day is a pair of its own: another X-Wing key, another pre-shared key, another id. So whoever steals a gateway's file
//! gets nothing of the days whose keys it has destroyed, and neither end needs a step from one day's keys to the next.
//!
//! ```text
//! # Comments and empty lines are passed over.
//! format qrng-calendar-1
//! role gateway
//! day 2026-11-26 1f2e3d4c 64 hex digits 64 hex digits
//! day 2026-11-27 ...
//! ```
//!
//! A line is the date (UTC), the key id, the private key (role collector: the public key, 2432 digits), the pre-shared key. The days
//! follow one another without a gap. A gateway destroys a past day's secrets by writing [`ERASED`] over every digit of both,
//! in place: the line keeps its length, its date and its id, and a line of which only a part was overwritten is a destroyed one.

use super::file::{self, Lines};
use super::{CollectorKey, Day, GatewayKey, KeyError, KeyId, PRIVATE_LEN, PSK_LEN, Role};
use crate::session::suite;
use rand_core::CryptoRng;
use std::ops::Range;
use zeroize::Zeroizing;

pub(super) const FORMAT: &str = "qrng-calendar-1";

/// What takes the place of each digit of a secret that is destroyed.
pub const ERASED: u8 = b'x';

/// The most days of a calendar: three years. A collector's file is then 2.8 MB long.
pub const MOST_DAYS: u32 = 1098;

/// So few days of keys left are worth a warning.
const FEW_DAYS: i64 = 14;

/// That the keys named by `what` end soon, or have ended, and what to do; none if there is time.
#[must_use]
pub fn ends_soon(what: &str, last: Day, today: Day) -> Option<String> {
    let when = match last.days_after(today) {
        ..0 => format!("{what} ended on {last}, and there is no key for today"),
        0 => format!("{what} end today, {last}"),
        left if left < FEW_DAYS => format!("{what} end in {left} days, on {last}"),
        _ => return None,
    };
    Some(format!(
        "{when}: make a new calendar with `qrng keygen --days N`"
    ))
}

/// The keys of a collector's file: one, or one for each day.
#[derive(Debug)]
pub struct CollectorKeys(Vec<CollectorKey>);

/// The keys of a gateway's file: one, or one for each day that is not destroyed.
#[derive(Debug)]
pub struct GatewayKeys {
    /// The keys that there are.
    pub keys: Vec<GatewayKey>,
    /// The lines of a calendar, the destroyed ones included; none of a file with a single key.
    pub days: Vec<CalendarDay>,
}

/// A line of a gateway's calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarDay {
    /// The day.
    pub day: Day,
    /// The id in the file.
    pub key_id: KeyId,
    /// Where the digits of its two secrets are in the file, in bytes.
    pub secrets: [Range<usize>; 2],
    /// Whether they have been destroyed.
    pub destroyed: bool,
}

impl CollectorKeys {
    /// Reads the text of a collector's key file of either format.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong in which line, and how to mend it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let Some(lines) = open(text, Role::Collector)? else {
            return Ok(CollectorKeys(vec![CollectorKey::parse(text)?]));
        };
        let mut keys = Vec::new();
        for line in lines {
            let (day, stated) = (line.day, line.key_id);
            let secrets = line.secrets()?;
            let key = CollectorKey::new(&secrets.key, secrets.psk, Some(day))?;
            super::check_id(stated, key.key_id())?;
            keys.push(key);
        }
        Ok(CollectorKeys(keys))
    }

    /// Replaces the pre-shared key of every day. The key ids change with it.
    #[must_use]
    pub fn with_psk(self, psk: &Zeroizing<[u8; PSK_LEN]>) -> Self {
        let keys = self.0.into_iter().map(|key| key.with_psk(psk.clone()));
        CollectorKeys(keys.collect())
    }

    /// The key to use at a time: that of the day, or the nearest one where the calendar has none.
    #[must_use]
    pub fn at(&self, now_us: u64) -> &CollectorKey {
        let today = Day::of_us(now_us);
        let days = self.first().day().zip(Some(today));
        let index = days.and_then(|(first, today)| first.until(today));
        let index = index.map_or(0, |days| days as usize).min(self.0.len() - 1);
        &self.0[index]
    }

    /// Why there is no key for a time, in words for the operator; none if there is one.
    #[must_use]
    pub fn missing(&self, now_us: u64) -> Option<String> {
        let (today, first, last) = (Day::of_us(now_us), self.first().day()?, self.last_day()?);
        if today < first {
            return Some(format!(
                "its keys begin on {first} and today is {today} (UTC); compare the clock, or make a calendar \
                 with `qrng keygen --days N --from {today}`"
            ));
        }
        (today > last).then(|| {
            format!(
                "its keys ended on {last} and today is {today} (UTC); compare the clock, or make a new calendar with \
                 `qrng keygen --days N`"
            )
        })
    }

    /// The last day that there is a key for; none for a key that is for every day.
    #[must_use]
    pub fn last_day(&self) -> Option<Day> {
        self.0.last().and_then(CollectorKey::day)
    }

    /// The day of the key with this id; none if it is for every day, or not here.
    #[must_use]
    pub fn day_of(&self, id: KeyId) -> Option<Day> {
        self.0.iter().find(|key| key.key_id() == id)?.day()
    }

    fn first(&self) -> &CollectorKey {
        // There is always one: a calendar without days is refused.
        &self.0[0]
    }
}

impl From<CollectorKey> for CollectorKeys {
    fn from(key: CollectorKey) -> Self {
        CollectorKeys(vec![key])
    }
}

impl GatewayKeys {
    /// Reads the text of a gateway's key file of either format.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong in which line, and how to mend it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let Some(lines) = open(text, Role::Gateway)? else {
            let (keys, days) = (vec![GatewayKey::parse(text)?], Vec::new());
            return Ok(GatewayKeys { keys, days });
        };
        let series = lines[0].key_id;
        let (mut keys, mut days) = (Vec::new(), Vec::new());
        for line in lines {
            let day = line.named();
            if !day.destroyed {
                let secrets = line.secrets()?;
                let name = "private-key";
                let mut private = Box::new(Zeroizing::new([0; PRIVATE_LEN]));
                private.copy_from_slice(&secrets.key);
                let key = GatewayKey::new(private, secrets.psk);
                let mut key = key.ok_or(KeyError::Unusable { name })?;
                super::check_id(day.key_id, key.key_id())?;
                key.day = Some(day.day);
                key.series = series;
                keys.push(key);
            }
            days.push(day);
        }
        Ok(GatewayKeys { keys, days })
    }

    /// Replaces the pre-shared key of every day. The key ids change with it.
    #[must_use]
    pub fn with_psk(self, psk: &Zeroizing<[u8; PSK_LEN]>) -> Self {
        let keys = self.keys.into_iter().map(|key| key.with_psk(psk.clone()));
        GatewayKeys {
            keys: keys.collect(),
            days: self.days,
        }
    }
}

/// A line of a calendar, whose secrets have not been looked at yet.
struct Line<'t> {
    role: Role,
    number: usize,
    day: Day,
    key_id: KeyId,
    key: &'t str,
    psk: &'t str,
    place: [Range<usize>; 2],
}

/// The secrets of a line.
struct Secrets {
    key: Zeroizing<Vec<u8>>,
    psk: Zeroizing<[u8; PSK_LEN]>,
}

impl Line<'_> {
    fn named(&self) -> CalendarDay {
        let erased = |text: &str| text.bytes().any(|b| b == ERASED);
        CalendarDay {
            day: self.day,
            key_id: self.key_id,
            secrets: self.place.clone(),
            destroyed: self.role == Role::Gateway && (erased(self.key) || erased(self.psk)),
        }
    }

    fn secrets(&self) -> Result<Secrets, KeyError> {
        let (role, line) = (self.role, self.number);
        let mut secrets = Secrets {
            key: Zeroizing::new(vec![0; role.key_len()]),
            psk: Zeroizing::new([0; PSK_LEN]),
        };
        let parts: [(&'static str, &str, &mut [u8]); 2] = [
            (role.key_name(), self.key, &mut secrets.key),
            ("psk", self.psk, &mut *secrets.psk),
        ];
        for (name, text, out) in parts {
            let digits = out.len() * 2;
            file::read_hex(text, out).ok_or(KeyError::Hex { line, name, digits })?;
            if file::is_constant(out) {
                return Err(KeyError::Unusable { name });
            }
        }
        Ok(secrets)
    }
}

/// The lines of a calendar for `wanted`, at least one; none if the text is of the other format.
fn open(text: &str, wanted: Role) -> Result<Option<Vec<Line<'_>>>, KeyError> {
    let mut entries = Lines::of(text);
    match entries.next() {
        Some(first) if first.entry() == Some(("format", FORMAT)) => {}
        _ => return Ok(None),
    }
    let role = entries.next();
    let role = role.and_then(|line| Some((line.number, line.entry()?)));
    match role {
        Some((number, ("role", name))) => file::check_role(Some((number, name)), wanted)?,
        _ => return Err(KeyError::Missing { name: "role" }),
    }
    let mut lines: Vec<Line<'_>> = Vec::new();
    for entry in entries {
        let number = entry.number;
        let line = day(entry, wanted).ok_or(KeyError::Day { line: number })?;
        let follows = lines
            .last()
            .is_none_or(|last| last.day.later(1) == Some(line.day));
        if !follows || lines.len() >= MOST_DAYS as usize {
            return Err(KeyError::Days { line: number });
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(KeyError::Missing { name: "day" });
    }
    Ok(Some(lines))
}

fn day<'t>(entry: file::Entry<'t>, role: Role) -> Option<Line<'t>> {
    let rest = entry.text.strip_prefix("day ")?;
    let mut words = rest.split(' ');
    let mut next = || words.next();
    let (date, id, key, psk) = (next()?, next()?, next()?, next()?);
    if next().is_some() {
        return None;
    }
    let mut key_id = KeyId([0; 4]);
    file::read_hex(id, &mut key_id.0)?;
    let end = entry.start + entry.text.len();
    let middle = end - psk.len();
    Some(Line {
        role,
        number: entry.number,
        day: date.parse().ok()?,
        key_id,
        key,
        psk,
        place: [middle - 1 - key.len()..middle - 1, middle..end],
    })
}

/// The two files of a calendar.
pub struct CalendarFiles {
    /// The text of the gateway's.
    pub gateway: Zeroizing<String>,
    /// The text of the collector's.
    pub collector: Zeroizing<String>,
    /// The key id of the first day.
    pub first: KeyId,
    /// The last day.
    pub last: Day,
}

/// Makes a calendar of `days` days from `from` on; none if there are none, more than [`MOST_DAYS`], or days without a name.
pub fn generate_calendar(from: Day, days: u32, rng: &mut impl CryptoRng) -> Option<CalendarFiles> {
    if !(1..=MOST_DAYS).contains(&days) {
        return None;
    }
    let last = from.later(days - 1)?;
    let (mut gateway, mut collector) = (begin(Role::Gateway, days), begin(Role::Collector, days));
    let mut first = None;
    for number in 0..days {
        let day = from.later(number)?;
        let mut psk = Zeroizing::new([0; PSK_LEN]);
        rng.fill_bytes(&mut *psk);
        let (private, public) = suite::key_pair(rng);
        let private = suite::private_to_bytes(&private);
        let public = suite::public_to_bytes(&public);
        let id = KeyId::derive(&psk, &public);
        first.get_or_insert(id);
        write_day(&mut gateway, day, id, &*private, &psk);
        write_day(&mut collector, day, id, &public, &psk);
    }
    Some(CalendarFiles {
        gateway,
        collector,
        first: first?,
        last,
    })
}

fn begin(role: Role, days: u32) -> Zeroizing<String> {
    // Room for all of it: growing would leave copies behind.
    let line = 2 * (role.key_len() + PSK_LEN) + 32;
    let mut text = Zeroizing::new(String::with_capacity(days as usize * line + 512));
    text.push_str(&format!(
        "# Keys of the qrng {role}, one a day, made by `qrng keygen`. They are secret: keep the file's mode 0600.\n\
         format {FORMAT}\nrole {role}\n"
    ));
    text
}

fn write_day(text: &mut String, day: Day, id: KeyId, key: &[u8], psk: &[u8; PSK_LEN]) {
    use std::fmt::Write;
    // Writing to a String cannot fail.
    let _ = write!(text, "day {day} {id} ");
    file::write_hex(text, key);
    text.push(' ');
    file::write_hex(text, psk);
    text.push('\n');
}

#[cfg(test)]
mod tests;

//! Logging to standard error: text for people, JSON lines for machines.
//!
//! | Form | One message |
//! |---|---|
//! | text | `[2026-11-26T01:02:03Z INFO ] a session begins: ...` |
//! | text, read by the journal (sd-daemon(3)) | `<6>a session begins: ...` |
//! | `json` | `{"time":"2026-11-26T01:02:03.004Z","level":"info","process":"qrng-gateway","target":"qrng_gateway","message":"..."}`, with the message's keys and values beside |

use std::env;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, Ordering};

use env_logger::fmt::Formatter;
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, Record};
use nix::sys::stat::fstat;
use serde::Deserialize;
use serde_json::{Map, json};

/// The environment variable that chooses the form, before any configuration.
pub const FORMAT_VARIABLE: &str = "QRNG_LOG_FORMAT";

/// The form of the log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// The section `[log]` of a configuration.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// The form; the environment variable `QRNG_LOG_FORMAT` overrides it.
    pub format: LogFormat,
}

/// The present form: 0 text, 1 text for the journal, 2 JSON.
static FORM: AtomicU8 = AtomicU8::new(TEXT);
const TEXT: u8 = 0;
const JOURNAL: u8 = 1;
const JSON: u8 = 2;

impl LogFormat {
    /// Its name, as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    /// The one that is used now.
    pub fn now() -> Self {
        match FORM.load(Ordering::Relaxed) {
            JSON => Self::Json,
            _ => Self::Text,
        }
    }

    /// Has all that is logged from now on take this form.
    fn start(self) {
        let form = match self {
            Self::Json => JSON,
            Self::Text if is_read_by_the_journal() => JOURNAL,
            Self::Text => TEXT,
        };
        FORM.store(form, Ordering::Relaxed);
    }
}

impl LogConfig {
    /// Has all that is logged from now on take the form that is set, unless the environment has set another.
    pub fn apply(self) {
        if from_environment().is_none() {
            self.format.start();
        }
    }
}

/// Starts logging to standard error: level `info`, or what the variable `QRNG_LOG` says
/// (`debug`, `warn`, `qrng_gateway=debug`, ...), in the form that `QRNG_LOG_FORMAT` says (`text`, `json`). There is nothing
/// below `debug`: a library's messages there may hold what it carries, and are not compiled in (feature `max_level_debug` of
/// `log`).
pub fn init_log() {
    let form = from_environment();
    form.and_then(Result::ok).unwrap_or_default().start();
    let process = process();
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("QRNG_LOG", "info"))
        .format(move |to, record| match FORM.load(Ordering::Relaxed) {
            JSON => writeln!(
                to,
                "{}",
                object(&to.timestamp_millis().to_string(), &process, record)
            ),
            JOURNAL => journal(to, record),
            _ => text(to, record),
        })
        .init();
    if let Some(Err(wrong)) = from_environment() {
        log::warn!("{FORMAT_VARIABLE} is {wrong:?}, which is no form; give \"text\" or \"json\"");
    }
}

/// What the environment says, if anything; or what is wrong with it.
fn from_environment() -> Option<Result<LogFormat, String>> {
    let text = env::var(FORMAT_VARIABLE).ok().filter(|t| !t.is_empty())?;
    Some(match text.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(text),
    })
}

/// What this process is called.
fn process() -> String {
    let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let name = name.trim();
    if env::args()
        .next()
        .is_some_and(|first| first == "qrng-sender")
    {
        return "qrng-sender".to_owned();
    }
    name.to_owned()
}

/// Whether standard error goes to the journal: `JOURNAL_STREAM` has its device and inode (systemd.exec(5)).
fn is_read_by_the_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    fstat(io::stderr().as_fd()).is_ok_and(|it| stream == format!("{}:{}", it.st_dev, it.st_ino))
}

fn text(to: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let words = record.args().to_string().replace('\n', "\n    ");
    writeln!(to, "[{} {:5}] {words}", to.timestamp(), record.level())
}

/// Each line is an entry of the journal, so each has the level.
fn journal(to: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let level = syslog(record.level());
    let mut all = String::new();
    for line in record.args().to_string().lines() {
        let _ = writeln!(all, "<{level}>{line}");
    }
    to.write_all(all.as_bytes())
}

/// The level's number in syslog(3).
const fn syslog(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// One line, without its end: strings are escaped, so a message cannot begin another.
fn object(time: &str, process: &str, record: &Record<'_>) -> String {
    let mut fields = Fields(Map::new());
    // It fails by our own visitor alone, which does not.
    let _ = record.key_values().visit(&mut fields);
    let own = [
        ("time", json!(time)),
        ("level", json!(record.level().as_str().to_ascii_lowercase())),
        ("process", json!(process)),
        ("target", json!(record.target())),
        ("message", json!(record.args().to_string())),
    ];
    // Ours come last: no key takes their place.
    fields
        .0
        .extend(own.map(|(key, value)| (key.to_owned(), value)));
    serde_json::Value::Object(fields.0).to_string()
}

struct Fields(Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = match (value.to_u64(), value.to_i64(), value.to_bool()) {
            (Some(number), ..) => json!(number),
            (_, Some(number), _) => json!(number),
            (_, _, Some(truth)) => json!(truth),
            _ => json!(value.to_string()),
        };
        self.0.insert(key.to_string(), value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_object_whatever_it_says() {
        let pairs = [("key", Value::from("a\"b")), ("epoch", Value::from(7_u64))];
        let words = format_args!("one\ntwo \"three\"");
        let record = Record::builder()
            .args(words)
            .level(Level::Warn)
            .target("qrng")
            .key_values(&pairs)
            .build();
        let line = object("2026-11-26T00:00:00.000Z", "qrng-gateway", &record);
        assert!(!line.contains('\n'), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = json!({
            "time": "2026-11-26T00:00:00.000Z", "level": "warn", "process": "qrng-gateway", "target": "qrng",
            "message": "one\ntwo \"three\"", "key": "a\"b", "epoch": 7,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn no_key_takes_the_place_of_a_field() {
        let pairs = [("level", Value::from("none"))];
        let record = Record::builder()
            .args(format_args!("x"))
            .level(Level::Error)
            .key_values(&pairs)
            .build();
        let value: serde_json::Value = serde_json::from_str(&object("", "", &record)).unwrap();
        assert_eq!(value["level"], "error");
    }

    #[test]
    fn levels_are_those_of_syslog() {
        let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug];
        assert_eq!(levels.map(syslog), [3, 4, 6, 7]);
    }
}

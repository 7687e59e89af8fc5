//! The log: lines for people or JSON objects, and what it tells of requests. Never a key, a query or a random byte.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::config::{Log, Requests};
use crate::front::Caller;
use crate::server::Peer;

/// The target of lines that are JSON objects already.
const REQUEST: &str = "request";

static JSON: AtomicBool = AtomicBool::new(false);

/// Starts the log on standard error: lines for people, until [`set_json`]. Level `info`, or what `QRNG_LOG` says.
pub fn init() {
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("QRNG_LOG", "info"))
        .format(|out, record| {
            let now = out.timestamp_millis();
            let words = record.args().to_string();
            if !JSON.load(Ordering::Relaxed) {
                return writeln!(out, "[{now} {:5}] {words}", record.level());
            }
            let mut line = match serde_json::from_str(&words) {
                Ok(Value::Object(line)) if record.target() == REQUEST => line,
                _ => serde_json::Map::from_iter([("message".to_owned(), words.into())]),
            };
            line.insert("time".into(), now.to_string().into());
            line.insert(
                "level".into(),
                record.level().as_str().to_lowercase().into(),
            );
            writeln!(out, "{}", Value::Object(line))
        })
        .init();
}

/// From now on each line is a JSON object.
pub fn set_json(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// Microseconds since the Unix epoch.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros() as u64)
}

/// What is to be told of a request when it has been answered.
pub struct Told(Option<Words>);

struct Words {
    json: bool,
    all: bool,
    method: String,
    path: String,
    peer: String,
    caller: Option<Caller>,
}

impl Told {
    /// Notes what the log will need. The query is no part of it: keys may stand there.
    pub fn new(log: Log, parts: &Parts, peer: &Peer, caller: Option<&Caller>) -> Self {
        if log.requests == Requests::None {
            return Self(None);
        }
        // Of requests that succeed nothing is told by default, so this is all that they cost.
        Self(Some(Words {
            json: log.json,
            all: log.requests == Requests::All,
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            peer: peer.to_string(),
            caller: caller.cloned(),
        }))
    }

    /// Tells how the request was answered.
    pub fn tell(self, id: &HeaderValue, status: StatusCode, time: Duration) {
        let Some(words) = self.0 else {
            return;
        };
        if !words.all && status.as_u16() < 400 {
            return;
        }
        let id = id.to_str().unwrap_or("-");
        let ms = time.as_micros() as f64 / 1000.0;
        let caller = match &words.caller {
            Some(Caller::Local(uid)) => format!("user {uid}"),
            Some(Caller::Key(name)) => format!("key {name}"),
            Some(Caller::Certificate(name)) => format!("certificate {name}"),
            Some(Caller::Anonymous) | None => "no key".to_owned(),
        };
        // Of a user of this host one says it all.
        let who = match words.peer == caller {
            true => caller.clone(),
            false => format!("{} {caller}", words.peer),
        };
        if words.json {
            let line = json!({
                "request_id": id, "method": words.method, "path": words.path, "status": status.as_u16(),
                "milliseconds": ms, "peer": words.peer, "caller": caller,
            });
            log::info!(target: REQUEST, "{line}");
        } else {
            // What a client wrote must not look like lines of this log.
            log::info!(
                target: REQUEST,
                "{id} {who} {} {:?} {} {ms:.1} ms",
                words.method, words.path, status.as_u16()
            );
        }
    }
}

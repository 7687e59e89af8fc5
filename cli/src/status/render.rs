//! Status documents as text for people: one aspect a line, the label first.

use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Sample;
use super::document::{Collector, Combining, Confinement, Gateway, KeyFile, Session, User};
use super::health::{self, Lines};
use super::source;
use crate::text;

/// Users that are shown, those with most bytes.
const USERS_SHOWN: usize = 8;

/// Cells of the fill bar.
const BAR_WIDTH: usize = 30;

fn line(out: &mut String, label: &str, words: &str) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\n  {label:<9} {words}");
}

fn lines(out: &mut String, lines: Lines) {
    for (label, words) in lines {
        line(out, label, &words);
    }
}

/// The growth of a counter in bytes (or packets) a second between two samples.
///
/// `None` without an earlier sample, and when the counter went back (the daemon was restarted).
pub fn per_second<T>(
    now: &Sample<T>,
    before: Option<&Sample<T>>,
    of: fn(&T) -> u64,
) -> Option<f64> {
    let before = before?;
    let seconds = now.taken.duration_since(before.taken).as_secs_f64();
    let growth = of(&now.document).checked_sub(of(&before.document))?;
    (seconds > 0.0).then(|| growth as f64 / seconds)
}

/// The gateway's state; `before` gives the rates.
pub fn gateway(mount: &Path, now: &Sample<Gateway>, before: Option<&Sample<Gateway>>) -> String {
    let it = &now.document;
    let mut out = headline(
        "gateway",
        &it.state,
        &format!("{} ", mount.display()),
        &it.version,
        it.uptime_seconds,
    );
    for reason in &it.reasons {
        line(&mut out, "because", reason);
    }
    if it.is_latched_at_collector() {
        let words = format!("on the collector's host, {}", remedy("collector"));
        line(&mut out, "remedy", &words);
    } else if it.is_latched() {
        line(&mut out, "remedy", &remedy("gateway"));
    }
    lines(&mut out, not_confined(&it.confinement));
    line(&mut out, "buffer", &buffer(it));
    let rates = [
        per_second(now, before, |it| it.bytes.admitted),
        per_second(now, before, |it| it.bytes.served),
        per_second(now, before, |it| it.bytes.overflow()),
    ];
    if let [Some(came), Some(went), Some(over)] = rates.map(|rate| rate.map(text::rate)) {
        let words = format!("in {came}   out {went}   overflow {over}");
        line(&mut out, "rates", &words);
    }
    line(&mut out, "bytes", &bytes(it));
    line(&mut out, "packets", &packets(it));
    line(&mut out, "rejected", &rejected(it));
    for file in &it.keys {
        line(&mut out, "keys", &key_file(file));
    }
    line(&mut out, "session", &session(it));
    for source in &it.sources {
        lines(&mut out, source::reported(source));
    }
    if it.sources.is_empty() && !it.kinds.is_empty() {
        line(&mut out, "source", &it.kinds.join(", "));
    }
    lines(&mut out, here(health::lines(it.health.as_ref())));
    lines(&mut out, health::alarms(&it.alarms));
    for user in it.users.list.iter().take(USERS_SHOWN) {
        line(&mut out, "user", &user_words(user));
    }
    if it.users.list.len() > USERS_SHOWN {
        let more = it.users.list.len() - USERS_SHOWN;
        line(&mut out, "users", &format!("{more} more: see --json"));
    }
    if it.readers.waiting > 0 {
        line(
            &mut out,
            "readers",
            &format!("{} waiting for bytes", text::count(it.readers.waiting)),
        );
    }
    out
}

/// One user: what it has had, what it had to wait for, and what is left for today.
fn user_words(it: &User) -> String {
    let name = match (&it.name, it.uid) {
        (Some(name), _) => name.clone(),
        (None, Some(uid)) => uid.to_string(),
        (None, None) => "others".to_owned(),
    };
    let mut words = format!(
        "{name}   {} ({:.1} %)   waited {} times",
        text::bytes(it.bytes),
        it.percent,
        text::count(it.waits)
    );
    if it.weight > 1 {
        let _ = write!(words, "   weight {}", it.weight);
    }
    if let Some(left) = it.quota_left_bytes {
        let _ = write!(words, "   {} left today", text::bytes(left));
    }
    words
}

/// Which processes are not confined, if there are such.
fn not_confined(it: &Confinement) -> Lines {
    let free = it.missing();
    let words = format!("{} NOT CONFINED: off-insecure", free.join(" and "));
    (!free.is_empty())
        .then_some(("insecure", words))
        .into_iter()
        .collect()
}

/// The same lines, told apart from what the collector says of its sources.
fn here(lines: Lines) -> Lines {
    lines
        .into_iter()
        .map(|(label, words)| (label, format!("at this gateway: {words}")))
        .collect()
}

fn remedy(daemon: &str) -> String {
    format!(
        "find out what is wrong with the noise source, then: qrng clear --{daemon} RUNTIME-DIRECTORY"
    )
}

fn headline(who: &str, state: &str, place: &str, version: &str, uptime: f64) -> String {
    let state = if state.is_empty() { "unknown" } else { state };
    format!(
        "{who} {place}{}   version {version}, up {}",
        state.to_uppercase(),
        text::span(uptime)
    )
}

fn buffer(it: &Gateway) -> String {
    let buffer = &it.buffer;
    let fraction = if buffer.capacity_bytes == 0 {
        0.0
    } else {
        buffer.fill_bytes as f64 / buffer.capacity_bytes as f64
    };
    let mut words = format!(
        "{} {:.0} % of {}",
        text::bar(fraction, BAR_WIDTH),
        (fraction * 100.0).floor(),
        text::memory(buffer.capacity_bytes)
    );
    if !buffer.overflow_policy.is_empty() {
        let _ = write!(words, ", {} when full", buffer.overflow_policy);
    }
    if let Some(set) = buffer
        .set_capacity_bytes
        .filter(|&set| set > buffer.capacity_bytes)
    {
        let _ = write!(words, ", {} when memory is not short", text::memory(set));
    }
    if buffer.locked_bytes == Some(0) {
        words.push_str(", not locked in memory");
    }
    words
}

fn bytes(it: &Gateway) -> String {
    let bytes = &it.bytes;
    let mut words = format!(
        "{} admitted   {} served   {} destroyed   {} overflowed",
        text::bytes(bytes.admitted),
        text::bytes(bytes.served),
        text::bytes(bytes.destroyed),
        text::bytes(bytes.overflow())
    );
    for (count, what) in [(bytes.withheld, "withheld"), (bytes.generated, "generated")] {
        if count > 0 {
            let _ = write!(words, "   {} {what}", text::bytes(count));
        }
    }
    words
}

fn packets(it: &Gateway) -> String {
    let packets = &it.packets;
    format!(
        "{} admitted   {} lost   {} dropped by the socket   {} announcements",
        text::count(packets.admitted),
        text::count(packets.lost),
        text::count(packets.socket_drops),
        text::count(packets.announcements)
    )
}

/// Packets refused, all reasons together.
pub fn rejected_total(it: &Gateway) -> u64 {
    it.rejected
        .values()
        .fold(0, |sum, n| sum.saturating_add(*n))
}

fn rejected(it: &Gateway) -> String {
    let mut reasons: Vec<_> = it.rejected.iter().filter(|(_, n)| **n > 0).collect();
    if reasons.is_empty() {
        return "none".to_owned();
    }
    reasons.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let list: Vec<String> = reasons
        .iter()
        .map(|(reason, n)| format!("{reason} {}", text::count(**n)))
        .collect();
    format!("{} ({})", text::count(rejected_total(it)), list.join(", "))
}

fn key_file(it: &KeyFile) -> String {
    let key = it.key_id.as_deref().unwrap_or("none for today");
    let mut words = format!("{key} in {}", it.file);
    words.push_str(&days(it.last_day.as_deref(), it.days_left));
    if it.destroyed > 0 {
        let _ = write!(words, ", {} destroyed", text::count(it.destroyed));
    }
    words
}

/// How long there are keys, of a calendar.
fn days(last: Option<&str>, left: Option<i64>) -> String {
    match (last, left) {
        (Some(last), Some(left)) => format!(", one a day until {last}, {left} days left"),
        _ => String::new(),
    }
}

fn session(it: &Gateway) -> String {
    let mut words = match &it.session {
        Some(session) => session_words(session),
        None => "none yet".to_owned(),
    };
    if let Some(age) = it.last_verified_age_seconds {
        let _ = write!(words, ", last packet {} ago", text::span(age));
    }
    if let Some(skew) = it.clock_skew_seconds {
        let _ = write!(words, ", clock skew {skew:+.3} s");
    }
    words
}

fn session_words(session: &Session) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros() as u64;
    let key = match &session.key_id {
        serde_json::Value::String(id) => id.clone(),
        serde_json::Value::Number(id) => id
            .as_u64()
            .map_or_else(|| id.to_string(), |id| format!("{id:08x}")),
        _ => "unknown".to_owned(),
    };
    let age = now.saturating_sub(session.epoch) as f64 / 1e6;
    format!("key {key}, {} old", text::span(age))
}

/// The collector's state; `before` gives the rates.
pub fn collector(now: &Sample<Collector>, before: Option<&Sample<Collector>>) -> String {
    let it = &now.document;
    let mut out = headline("collector", &it.state, "", &it.version, it.uptime_seconds);
    for reason in &it.reasons {
        line(&mut out, "because", reason);
    }
    if it.is_latched() {
        line(&mut out, "remedy", &remedy("collector"));
    }
    lines(&mut out, not_confined(&it.confinement));
    for warning in &it.warnings {
        line(&mut out, "WARNING", warning);
    }
    for source in it.all_sources() {
        lines(&mut out, source::acquired(source));
    }
    if let Some(combining) = &it.combining {
        line(&mut out, "combined", &combined(combining));
    }
    let rates = [
        per_second(now, before, |it| it.source.bytes_acquired),
        per_second(now, before, |it| {
            it.gateways.iter().map(|gateway| gateway.sent_bytes).sum()
        }),
    ];
    if let [Some(acquired), Some(sent)] = rates.map(|rate| rate.map(text::rate)) {
        let words = format!("acquired {acquired}   sent {sent}, with packet headers");
        line(&mut out, "rates", &words);
    }
    for gateway in &it.gateways {
        let whom = format!(
            "{} at {}, key {}{}   {} packets",
            gateway.name,
            gateway.address,
            gateway.key_id,
            days(gateway.last_key_day.as_deref(), gateway.key_days_left),
            text::count(gateway.sealed_packets),
        );
        match &gateway.push {
            None => {
                let words = format!(
                    "{whom}   {} sent   {} datagrams failed",
                    text::bytes(gateway.sent_bytes),
                    text::count(gateway.failed_datagrams)
                );
                line(&mut out, "sends to", &words);
            }
            Some(push) => {
                let words = format!(
                    "{whom}   {} pushed   {} wait   {} dropped",
                    text::count(push.packets),
                    text::bytes(push.queued),
                    text::count(push.dropped)
                );
                line(&mut out, "pushes to", &words);
            }
        }
    }
    out
}

fn combined(it: &Combining) -> String {
    let mut words = format!("by {}, {} working", it.method, it.sources_working);
    if let Some(stopped) = &it.stopped {
        let _ = write!(words, "   STOPPED: {stopped}");
    }
    words
}

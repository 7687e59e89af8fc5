//! What the health tests say, in a status document.
//!
//! The document may hold it or not, for one source or for several, whole or in part: what is there is shown.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;

use crate::text;

/// The health of one source in numbers.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Health {
    source: Option<String>,
    state: Option<String>,
    examined_bytes: Option<u64>,
    passed_bytes: Option<u64>,
    intermittent_alarms: Option<u64>,
    permanent_alarms: Option<u64>,
    findings: BTreeMap<String, [u64; 2]>,
    min_entropy_per_byte: Option<f64>,
    last_alarm: Option<Alarm>,
}

/// A failed test.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Alarm {
    source: Option<String>,
    test: String,
    tier: String,
    statistic: Option<f64>,
    limit: Option<f64>,
    at_us: Option<u64>,
}

/// Lines of a status: labels and words.
pub type Lines = Vec<(&'static str, String)>;

/// What a `health` field says: one summary, a list of them, or a map of them by source.
pub fn lines(health: Option<&Value>) -> Lines {
    let mut lines = Lines::new();
    match health {
        Some(Value::Array(all)) => all.iter().for_each(|one| add(&mut lines, one)),
        Some(Value::Object(map)) if map.contains_key("state") => {
            add(&mut lines, &Value::Object(map.clone()));
        }
        Some(Value::Object(map)) => map.values().for_each(|one| add(&mut lines, one)),
        _ => {}
    }
    lines
}

fn add(lines: &mut Lines, value: &Value) {
    // Another version's health that this one does not understand is left out.
    let Ok(health) = Health::deserialize(value) else {
        return;
    };
    let words = summary(&health);
    if !words.is_empty() {
        lines.push(("health", words));
    }
    if let Some(alarm) = &health.last_alarm {
        lines.push(("alarm", alarm_words(alarm, health.source.as_deref())));
    }
}

/// What an `alarms` field says: sentences, or alarms in numbers.
pub fn alarms(alarms: &[Value]) -> Lines {
    let words = alarms.iter().filter_map(|value| match value {
        Value::String(words) => Some(words.clone()),
        value => Alarm::deserialize(value)
            .ok()
            .filter(|alarm| !alarm.test.is_empty())
            .map(|alarm| alarm_words(&alarm, None)),
    });
    words.map(|words| ("alarm", words)).collect()
}

fn summary(health: &Health) -> String {
    let mut parts = Vec::new();
    parts.extend(health.state.clone());
    if let Some(examined) = health.examined_bytes {
        parts.push(format!("{} examined", text::bytes(examined)));
        let held = health
            .passed_bytes
            .map(|passed| examined.saturating_sub(passed));
        if let Some(held @ 1..) = held {
            parts.push(format!("{} of them not passed on", text::bytes(held)));
        }
    }
    match (health.intermittent_alarms, health.permanent_alarms) {
        (None, None) => {}
        (passing, lasting) => {
            let (passing, lasting) = (passing.unwrap_or(0), lasting.unwrap_or(0));
            parts.push(match passing.saturating_add(lasting) {
                0 => "no alarm".into(),
                _ => format!(
                    "{} intermittent and {} permanent alarms{}",
                    text::count(passing),
                    text::count(lasting),
                    by_test(&health.findings)
                ),
            });
        }
    }
    if let Some(entropy) = health.min_entropy_per_byte {
        parts.push(format!("min-entropy at most {entropy:.2} of 8 bits a byte"));
    }
    parts.join(", ")
}

/// In brackets, how often which test failed.
fn by_test(findings: &BTreeMap<String, [u64; 2]>) -> String {
    let words: Vec<_> = findings
        .iter()
        .map(|(test, [passing, lasting])| {
            format!("{test} {}", text::count(passing.saturating_add(*lasting)))
        })
        .collect();
    match words.as_slice() {
        [] => String::new(),
        words => format!(" ({})", words.join(", ")),
    }
}

fn alarm_words(alarm: &Alarm, known: Option<&str>) -> String {
    let mut words = format!("{} alarm of the {} test", alarm.tier, alarm.test);
    if let Some(source) = alarm.source.as_deref().filter(|s| !s.is_empty())
        && known != Some(source)
    {
        words.push_str(&format!(" on {source}"));
    }
    if let (Some(statistic), Some(limit)) = (alarm.statistic, alarm.limit) {
        words.push_str(&format!(": {statistic} against a limit of {limit}"));
    }
    if let Some(at_us) = alarm.at_us {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_micros() as u64;
        let age = now.saturating_sub(at_us) as f64 / 1e6;
        words.push_str(&format!(", {} ago", text::span(age)));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use qrng::health;

    /// The very document that the daemons write.
    fn latched() -> Value {
        let alarm = health::Alarm {
            source: "card 0".into(),
            test: health::Test::ChiSquare,
            tier: health::Tier::Permanent,
            statistic: 900.5,
            limit: 451.25,
            sample: 65_536,
            lag: None,
            at_us: 0,
        };
        let settings = health::Settings::new("card 0");
        let mut summary = health::Monitor::new(settings).unwrap().summary();
        summary.state = health::State::Latched;
        summary.examined_bytes = 5_000_000;
        summary.passed_bytes = 4_900_000;
        summary.permanent_alarms = 1;
        summary.findings = [
            (health::Test::Bias, [2, 0]),
            (health::Test::ChiSquare, [0, 1]),
        ]
        .into();
        summary.min_entropy_per_byte = Some(6.5);
        summary.last_alarm = Some(alarm);
        serde_json::to_value(summary).unwrap()
    }

    #[test]
    fn what_the_daemons_write_is_told() {
        let one = lines(Some(&latched()));
        assert_eq!(
            one[0],
            (
                "health",
                "latched, 5.00 MB examined, 100 kB of them not passed on, 0 intermittent and 1 permanent alarms \
                 (bias 2, chi-square 1), min-entropy at most 6.50 of 8 bits a byte"
                    .to_owned()
            )
        );
        let (label, words) = &one[1];
        assert_eq!(*label, "alarm");
        assert!(
            words.starts_with(
                "permanent alarm of the chi-square test: 900.5 against a limit of 451.25, "
            ),
            "{words}"
        );
        assert_eq!(
            lines(Some(&serde_json::json!([latched(), latched()]))).len(),
            4
        );
        assert_eq!(lines(Some(&serde_json::json!({"a": latched()}))).len(), 2);
        let listed = alarms(&[latched()["last-alarm"].clone(), Value::from("in words")]);
        assert!(listed[0].1.contains("test on card 0: 900.5"), "{listed:?}");
        assert_eq!(listed[1].1, "in words");
    }

    #[test]
    fn what_is_not_there_or_not_understood_is_left_out() {
        assert!(lines(None).is_empty());
        for odd in ["null", "7", "{}", "[1,[],null]", r#"{"state":7}"#] {
            assert!(
                lines(Some(&serde_json::from_str(odd).unwrap())).is_empty(),
                "{odd}"
            );
        }
        let partly = serde_json::json!({"state": "starting", "a-later-field": [1]});
        assert_eq!(lines(Some(&partly)), [("health", "starting".to_owned())]);
        assert!(alarms(&[Value::Null, serde_json::json!({})]).is_empty());
    }
}

//! What the daemons say of a noise source, in lines of a status.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::document::{Acquired, Conditioning, Part, Source};
use super::health::{self, Lines};
use crate::text;

/// A source as the gateway knows it from the collector's reports.
pub fn reported(it: &Source) -> Lines {
    let mut lines = vec![("source", described(it))];
    lines.extend(numbers("sensors", &it.sensors));
    lines.extend(health::lines(it.health.as_ref()));
    lines
}

/// A source as the collector itself knows it.
pub fn acquired(it: &Acquired) -> Lines {
    let source = Source {
        kind: it.kind.clone(),
        name: it.name.clone(),
        serial: it.serial.clone(),
        state: it.state.clone(),
        ..Source::default()
    };
    let mut lines = vec![("source", described(&source))];
    lines.extend(it.error.clone().map(|error| ("because", error)));
    lines.extend(numbers("failures", &it.faults));
    lines.extend(it.parts.iter().map(|part| ("part", of_part(part))));
    if let Some(conditioning) = &it.conditioning
        && !matches!(conditioning.method.as_str(), "" | "none")
    {
        lines.push(("refined", conditioned(conditioning)));
    }
    lines.extend(numbers("sensors", &it.sensors));
    lines.extend(health::lines(it.health.as_ref()));
    lines
}

fn of_part(part: &Part) -> String {
    let mut words = format!("{}, gave {}", part.name, text::bytes(part.bytes));
    if let Some((label, numbers)) = numbers("failures", &part.faults) {
        let _ = write!(words, ", {label}: {numbers}");
    }
    if let Some(error) = &part.error {
        let _ = write!(words, "   FAILS: it {error}");
    }
    words
}

/// One line of named numbers, if there are any.
fn numbers(label: &'static str, numbers: &BTreeMap<String, u64>) -> Option<(&'static str, String)> {
    let words: Vec<_> = numbers
        .iter()
        .map(|(name, number)| format!("{name} {}", text::count(*number)))
        .collect();
    (!words.is_empty()).then(|| (label, words.join(", ")))
}

fn described(source: &Source) -> String {
    let mut words = if source.name.is_empty() || source.name == source.kind {
        source.kind.clone()
    } else {
        format!("{} ({})", source.name, source.kind)
    };
    if let Some(serial) = &source.serial {
        let _ = write!(words, ", serial {serial}");
    }
    if let Some(serde_json::Value::String(state)) = &source.state {
        let _ = write!(words, ", {state}");
    }
    if let Some(age) = source.age_seconds {
        let _ = write!(words, ", reported {} ago", text::span(age));
    }
    if source.kind.contains("simul") {
        words.push_str("   NOT QUANTUM: for trials only");
    }
    words
}

fn conditioned(it: &Conditioning) -> String {
    match (it.min_entropy_per_bit_before, it.min_entropy_per_bit_after) {
        (Some(before), Some(after)) => format!(
            "by {}: min-entropy claimed {before} of a bit before, {after} after",
            it.method
        ),
        _ => format!("by {}", it.method),
    }
}

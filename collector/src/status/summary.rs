//! The collector's state in a word, and why.

use qrng::report::State;

use crate::source::Part;
use crate::stats::{SourceStats, Stats};

/// The collector's state in a word: what its source does; `silent` if it runs and gives nothing. Of
/// several sources the worst says it, unless the others go on: that is `degraded`, and so is a source
/// with a part that fails.
pub(super) fn state(stats: &Stats, rate: u64) -> &'static str {
    let states = stats.sources().iter().map(|s| s.condition().state);
    let badness = |state: &State| match state {
        State::Latched => 4,
        State::Failed => 3,
        State::Ended => 2,
        State::Starting => 1,
        State::Running | State::Unknown => 0,
    };
    let worst = states.max_by_key(badness).unwrap_or(State::Running);
    match (worst, rate) {
        (State::Running, 0) => "silent",
        (State::Running, _) if stats.sources().iter().any(has_failed_part) => "degraded",
        (State::Latched | State::Failed | State::Ended, 1..) if stats.sources().len() > 1 => {
            "degraded"
        }
        (other, _) => other.name(),
    }
}

fn has_failed_part(source: &SourceStats) -> bool {
    source.parts().iter().any(|part| part.error.is_some())
}

/// Why less comes than could, in words: one for each source that gives nothing, or each part of one.
pub(super) fn reasons(stats: &Stats) -> Vec<String> {
    let mut reasons = Vec::new();
    for source in stats.sources() {
        match reason(source) {
            Some(reason) => reasons.push(reason),
            None => reasons.extend(reasons_of_parts(source)),
        }
    }
    let stopped = stats.combined().and_then(|combined| combined.stopped);
    reasons.extend(stopped.map(|reason| format!("nothing is combined: {reason}")));
    reasons
}

fn reason(source: &SourceStats) -> Option<String> {
    let (name, condition) = (&source.identity().name, source.condition());
    match condition.state {
        State::Latched => {
            let alarm = source.health().and_then(|health| health.last_alarm);
            Some(match alarm {
                Some(alarm) => format!("{alarm}; latched until an operator clears it"),
                None => format!("source {name}: latched until an operator clears it"),
            })
        }
        State::Failed => {
            let error = condition.error.unwrap_or_default();
            Some(format!("source {name}: {error}"))
        }
        _ => None,
    }
}

fn reasons_of_parts(source: &SourceStats) -> Vec<String> {
    let name = &source.identity().name;
    let told = |part: Part| {
        let error = part.error?;
        Some(format!("source {name}: {} {error}", part.name))
    };
    source.parts().into_iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use qrng::report::Kind;

    use super::*;
    use crate::source::Identity;

    #[test]
    fn a_part_that_fails_degrades_its_source() {
        let stats = sources(&[State::Running]);
        let source = &stats.sources()[0];
        let mut parts = vec![Part::new("https://a".into()), Part::new("https://b".into())];
        source.parts_are(parts.clone());
        assert_eq!(state(&stats, 1), "running");
        parts[1].error = Some("answers 503".into());
        source.parts_are(parts);
        assert_eq!(state(&stats, 1), "degraded");
        assert_eq!(state(&stats, 0), "silent");
        assert_eq!(reasons(&stats), ["source card: https://b answers 503"]);
        source.failed("all fail".into());
        assert_eq!(state(&stats, 0), "failed");
        assert_eq!(reasons(&stats), ["source card: all fail"]);
    }

    fn sources(states: &[State]) -> Stats {
        let identity = Identity {
            kind: Kind::Usb,
            name: "card".into(),
            serial: None,
        };
        let stats = Stats::new(vec![identity; states.len()]);
        for (source, state) in stats.sources().iter().zip(states) {
            source.is(*state);
        }
        stats
    }

    #[test]
    fn a_running_source_without_bytes_is_silent() {
        let one = |of, rate| state(&sources(&[of]), rate);
        assert_eq!(one(State::Running, 0), "silent");
        assert_eq!(one(State::Running, 1), "running");
        assert_eq!(one(State::Ended, 0), "ended");
        assert_eq!(one(State::Failed, 0), "failed");
        assert_eq!(one(State::Latched, 0), "latched");
    }

    #[test]
    fn of_several_sources_the_worst_counts() {
        let two = |other, rate| state(&sources(&[State::Running, other]), rate);
        assert_eq!(two(State::Running, 1), "running");
        assert_eq!(two(State::Latched, 0), "latched");
        assert_eq!(two(State::Latched, 1), "degraded");
        let stats = sources(&[State::Running, State::Latched]);
        stats.sources()[0].failed("gone".into());
        assert_eq!(
            reasons(&stats),
            [
                "source card: gone",
                "source card: latched until an operator clears it"
            ]
        );
    }
}

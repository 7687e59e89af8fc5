//! Keys of the day, as the status shows them and the log tells them.

use qrng::keys::{Day, KeyId, ends_soon};
use serde::Serialize;

use crate::counters::GatewayCounters;

/// The key of a gateway's session.
#[derive(Serialize)]
pub(super) struct KeyStatus {
    key_id: String,
    /// The day that it is for, if it is of a calendar.
    key_day: Option<String>,
    /// The last day that there is a key for.
    last_key_day: Option<String>,
    /// Days after today that there are keys for; less than 0 if there is none for today.
    key_days_left: Option<i64>,
}

impl KeyStatus {
    /// Of a gateway whose key at the start was `first`, by what the sender told last.
    pub(super) fn new(first: &str, told: &GatewayCounters, today: Day) -> Self {
        let last = told.last_day.and_then(Day::from_number);
        let day = told.day.and_then(Day::from_number);
        Self {
            key_id: match told.key {
                0 => first.to_owned(),
                number => KeyId::from_number(number).to_string(),
            },
            key_day: day.map(|day| day.to_string()),
            last_key_day: last.map(|last| last.to_string()),
            key_days_left: last.map(|last| last.days_after(today)),
        }
    }
}

/// What an operator should know of the keys for a gateway.
pub(super) fn reason(name: &str, told: &GatewayCounters, today: Day) -> Option<String> {
    let last = Day::from_number(told.last_day?)?;
    ends_soon(&format!("the keys for gateway {name}"), last, today)
}

/// What was told of the keys, so that it is logged once.
#[derive(Default)]
pub(super) struct Log {
    reasons: Vec<String>,
    keys: Vec<u32>,
}

impl Log {
    /// Logs new reasons, and keys that have changed. `gateways` are their names, and what the sender told of each.
    pub(super) fn look<'g>(
        &mut self,
        reasons: Vec<String>,
        gateways: impl Iterator<Item = (&'g str, &'g GatewayCounters)>,
    ) {
        for reason in reasons
            .iter()
            .filter(|reason| !self.reasons.contains(reason))
        {
            log::warn!("{reason}");
        }
        self.reasons = reasons;
        let before = std::mem::take(&mut self.keys);
        for (number, (name, told)) in gateways.enumerate() {
            let changed = before
                .get(number)
                .is_some_and(|&key| key != 0 && key != told.key);
            if changed && let Some(day) = told.day.and_then(Day::from_number) {
                log::info!(
                    "gateway {name}: key {} of {day}",
                    KeyId::from_number(told.key)
                );
            }
            self.keys.push(told.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;

    #[test]
    fn a_calendar_is_told_by_its_days_and_a_single_key_by_its_id() {
        let day = |text: &str| text.parse::<Day>().unwrap();
        let mut told = Counters::new(1).gateways.remove(0);
        let today = day("2026-11-26");
        let status = KeyStatus::new("1f2e3d4c", &told, today);
        assert_eq!(
            serde_json::to_value(&status).unwrap(),
            serde_json::json!({
                "key_id": "1f2e3d4c", "key_day": null, "last_key_day": null, "key_days_left": null,
            })
        );
        assert_eq!(reason("lab", &told, today), None);
        told.key = 7;
        told.day = Some(today.number());
        told.last_day = Some(day("2026-12-01").number());
        let status = KeyStatus::new("1f2e3d4c", &told, today);
        assert_eq!(
            serde_json::to_value(&status).unwrap(),
            serde_json::json!({
                "key_id": "00000007", "key_day": "2026-11-26", "last_key_day": "2026-12-01", "key_days_left": 5,
            })
        );
        let reason = |today| reason("lab", &told, day(today)).unwrap_or_default();
        assert!(
            reason("2026-11-26").contains("the keys for gateway lab end in 5 days, on 2026-12-01")
        );
        assert!(reason("2026-12-02").contains("no key for today"));
        assert_eq!(reason("2026-11-17"), "");
    }
}

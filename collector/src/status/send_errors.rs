//! Errors of sending in the log: summed up, because a network that is down stays so for long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often they are logged at most.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The errors that were logged: how many of each name, and when.
#[derive(Default)]
pub(super) struct SendErrors {
    told: BTreeMap<String, u64>,
    at: Option<Instant>,
}

impl SendErrors {
    /// Logs which there were since the last time; all there ever were are `errors`.
    pub(super) fn log(&mut self, now: Instant, errors: &BTreeMap<String, u64>) {
        for (name, count) in self.news(now, errors) {
            log::warn!("{count} datagrams could not be sent: {name}");
        }
    }

    /// How many of each came since the last time; nothing within [`LOG_EVERY`] of it.
    fn news(&mut self, now: Instant, errors: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
        if self.at.is_some_and(|at| now - at < LOG_EVERY) {
            return Vec::new();
        }
        let before = |name: &String| self.told.get(name).copied().unwrap_or(0);
        let news: Vec<_> = errors
            .iter()
            .map(|(name, count)| (name.clone(), count - before(name)))
            .filter(|(_, more)| *more > 0)
            .collect();
        if !news.is_empty() {
            self.told.clone_from(errors);
            self.at = Some(now);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_sending_are_summed_up() {
        let errors = |count: u64| BTreeMap::from([("ENETUNREACH".to_owned(), count)]);
        let news = |count: u64| vec![("ENETUNREACH".to_owned(), count)];
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut told = SendErrors::default();
        assert!(told.news(at(0), &BTreeMap::new()).is_empty());
        assert_eq!(told.news(at(1), &errors(3)), news(3));
        for second in 2..11 {
            assert!(told.news(at(second), &errors(3 + second)).is_empty());
        }
        assert_eq!(told.news(at(11), &errors(20)), news(17));
        // The first after a quiet time is told at once.
        assert!(told.news(at(30), &errors(20)).is_empty());
        assert_eq!(told.news(at(31), &errors(21)), news(1));
    }
}

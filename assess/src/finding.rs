//! One check's result, and how many P-values make one verdict.

use crate::special::binomial_tail;

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that good random bytes would not show.
    Passed,
    /// Good random bytes look like this with at most the stated probability.
    Failed,
    /// Too little data for this check.
    NotRun,
}

impl Verdict {
    /// As a word.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "FAILED",
            Verdict::NotRun => "not run",
        }
    }
}

/// One check's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What was checked.
    pub name: String,
    /// Where the check is defined.
    pub source: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The probability that good bytes look at least as odd; none where the check gives no probability.
    pub p: Option<f64>,
    /// What was seen, in a few words.
    pub seen: String,
}

impl Finding {
    /// A check that gives one probability, which fails below `alpha`.
    pub(crate) fn of_p(name: &str, source: &str, p: f64, alpha: f64, seen: String) -> Self {
        let verdict = if p < alpha {
            Verdict::Failed
        } else {
            Verdict::Passed
        };
        Self {
            name: name.into(),
            source: source.into(),
            verdict,
            p: Some(p),
            seen,
        }
    }

    /// A check that had too little data.
    pub(crate) fn not_run(name: &str, source: &str, why: &str) -> Self {
        Self {
            name: name.into(),
            source: source.into(),
            verdict: Verdict::NotRun,
            p: None,
            seen: why.into(),
        }
    }
}

/// The P-values of one test: a row of them for each sequence.
#[derive(Debug, Clone, Default)]
pub(crate) struct PValues {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Default)]
struct Part {
    count: u64,
    /// Below 1 %.
    low: u64,
    least: Option<f64>,
}

impl PValues {
    pub fn add(&mut self, row: &[f64]) {
        self.parts
            .resize_with(self.parts.len().max(row.len()), Part::default);
        for (part, &p) in self.parts.iter_mut().zip(row) {
            part.count += 1;
            part.low += u64::from(p < 0.01);
            part.least = Some(part.least.map_or(p, |least| least.min(p)));
        }
    }

    pub fn count(&self) -> u64 {
        self.parts.iter().map(|part| part.count).sum()
    }

    /// One P-value of all: good bytes give at most `x` with probability of at most `x`, however the single ones depend
    /// on each other within a sequence. None if there are none.
    ///
    /// Two questions, each good for half of the probability: is one P-value too small for being the least of so many,
    /// and are too many of one part below 1 %?
    pub fn combined(&self) -> Option<f64> {
        let least = self
            .parts
            .iter()
            .filter_map(|part| part.least)
            .reduce(f64::min)?;
        let least = least * self.count() as f64;
        let tails = self
            .parts
            .iter()
            .map(|part| binomial_tail(part.count, part.low, 0.01));
        let many = tails.fold(1.0, f64::min) * self.parts.len() as f64;
        Some((2.0 * least.min(many)).min(1.0))
    }

    /// How many there were and how low they went.
    pub fn seen(&self) -> String {
        let low: u64 = self.parts.iter().map(|part| part.low).sum();
        let least = self
            .parts
            .iter()
            .filter_map(|part| part.least)
            .fold(1.0, f64::min);
        match self.count() {
            1 => format!("P-value {least:.4}"),
            n => format!(
                "{n} P-values, {:.2} % below 0.01, the least {}",
                100.0 * low as f64 / n as f64,
                show_p(least)
            ),
        }
    }
}

/// A probability for a reader.
pub(crate) fn show_p(p: f64) -> String {
    if p >= 0.001 {
        format!("{p:.4}")
    } else if p < 1e-300 {
        "0".into()
    } else {
        format!("{p:.1e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tiny_value_fails_and_so_do_many_low_ones() {
        let mut values = PValues::default();
        assert_eq!(values.combined(), None);
        (0..100).for_each(|i| values.add(&[(f64::from(i) + 0.5) / 100.0]));
        assert!(values.combined().unwrap() > 0.5);
        let mut tiny = values.clone();
        tiny.add(&[1e-12]);
        assert!(tiny.combined().unwrap() < 1e-9);
        (0..15).for_each(|_| values.add(&[0.005]));
        assert!(values.combined().unwrap() < 1e-9);
    }

    #[test]
    fn probabilities_for_readers() {
        assert_eq!(show_p(0.25), "0.2500");
        assert_eq!(show_p(1.23e-7), "1.2e-7");
        assert_eq!(show_p(0.0), "0");
    }
}
